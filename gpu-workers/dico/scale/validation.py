"""What chooses the best captioner: scores of its captions of images that it does not train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dico.captioner import Captioner, pad_captions
from dico.evaluators.clip import PAC_S_WEIGHT
from dico.evaluators.scores import harmonic_mean
from dico.metrics.cider import cider_d
from dico.metrics.tokenise import tokenise
from dico.scale.devices import Devices
from dico.scale.features import Features
from dico.scale.lanes import Item
from dico.scale.models import Evaluator
from dico.scale.step import DicoSettings
from dico.search import beam_search
from dico.tokenizer import Tokenizer


@dataclass(frozen=True)
class _Scored:
    """One validation image: its caption, people's, and the evaluator's scores."""

    sha256: str
    caption: str
    human_captions: tuple[str, ...]
    pac_s: float
    ref_pac_s: float


@dataclass(frozen=True)
class Validation:
    """Validation images of this device and what scores captions of them.

    PAC-S is taken as the reward takes it, without the official prefix, and clamped at 0.
    """

    items: list[Item]
    features: Features
    evaluator: Evaluator
    tokenizer: Tokenizer
    settings: DicoSettings
    bf16: bool

    @torch.no_grad()
    def scores(self, policy: Captioner, devices: Devices, batch: int) -> dict[str, float]:
        """CIDEr-D (0-10), PAC-S and RefPAC-S, means over the images of all devices.

        Args:
            policy: In eval mode; its best beam is scored.
            devices: Each calls this at the same time.
            batch: Images of one forward pass.
        """
        own = [
            scored
            for start in range(0, len(self.items), batch)
            for scored in self._score(policy, self.items[start : start + batch])
        ]
        # One order for any number of devices, so that sums come out alike.
        found = sorted(
            (scored for part in devices.gather(own) for scored in part), key=lambda x: x.sha256
        )
        cider = cider_d(
            [tokenise(scored.caption) for scored in found],
            [[tokenise(text) for text in scored.human_captions] for scored in found],
        )
        return {
            "cider": float(cider.mean()),
            "pac_s": sum(scored.pac_s for scored in found) / len(found),
            "ref_pac_s": sum(scored.ref_pac_s for scored in found) / len(found),
        }

    def _score(self, policy: Captioner, items: Sequence[Item]) -> list[_Scored]:
        features = self.features.of(items, bf16=self.bf16)
        with torch.autocast(features.device.type, torch.bfloat16, enabled=self.bf16):
            found = beam_search(
                policy,
                policy.encode(features),
                num_beams=self.settings.num_beams,
                max_new_tokens=self.settings.max_new_tokens,
            )
            tokens = [list(candidates[0].tokens) for candidates in found]
            images = self.evaluator.embed_images(features).float()  # [B, d]
            captions = self._embed(tokens, policy)  # [B, d]
            human = self._embed(
                [self.tokenizer.encode(text) for item in items for text in item.captions],
                policy,
            ).split([len(item.captions) for item in items])
        pac_s = PAC_S_WEIGHT * (captions * images).sum(dim=1).clamp(min=0)
        nearest = torch.stack([(h @ c).max() for h, c in zip(human, captions, strict=True)])
        ref_pac_s = harmonic_mean(pac_s, nearest)
        return [
            _Scored(item.sha256, self.tokenizer.decode(ids), item.captions, float(p), float(r))
            for item, ids, p, r in zip(items, tokens, pac_s, ref_pac_s, strict=True)
        ]

    def _embed(self, captions: list[list[int]], policy: Captioner) -> Tensor:
        """Unit vectors [N, d], fp32, of captions cut where the evaluator reads no further."""
        most = self.evaluator.config.max_tokens - 1
        labels = pad_captions([ids[:most] for ids in captions], policy.config)[1]
        device = self.evaluator.token_embedding.weight.device
        return self.evaluator.embed_texts(labels.to(device)).float()
