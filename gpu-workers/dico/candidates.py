"""Candidates: for each image the captions that DiCO ranks, scored once by everything frozen.

arXiv:2408.14547 generates them on-policy at each step; for thumbs a fixed list drawn from the
reference is the default, because it cannot drift to captions that no evaluator understands.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dico.captioner import Captioner, pad_captions, token_logps
from dico.evaluators.clip import Clip, pac_score
from dico.search import beam_search, sample


@dataclass(frozen=True)
class Candidates:
    """The captions of one image, K of them; every tensor's first axis is K, on the CPU.

    Attributes:
        tokens: Ids without BOS and EOS.
        reference_logps: Summed log-probabilities under the reference, EOS included, [K].
        scores: The evaluator's PAC-S, [K].
        states: Mean over tokens of the reference's decoder states, [K, d].
        top_logp: Log-probability of the reference's own best caption.
    """

    tokens: list[tuple[int, ...]]
    reference_logps: Tensor
    scores: Tensor
    states: Tensor
    top_logp: float


@dataclass(frozen=True)
class SequenceScores:
    """What one teacher-forced pass tells about captions: [N] and [N, d], and tokens counted [N]."""

    logps: Tensor
    mean_states: Tensor
    lengths: Tensor


def score_sequences(
    captioner: Captioner, encoder_hidden_states: Tensor, captions: list[list[int]]
) -> SequenceScores:
    """Teacher-forced pass over captions, with gradient where the captioner has it.

    Args:
        captioner: Policy or reference.
        encoder_hidden_states: [E, S, d].
        captions: N = E * K token lists without BOS and EOS, the K of an image adjacent.
    """
    input_ids, labels = pad_captions(captions, captioner.config)
    device = encoder_hidden_states.device
    input_ids, labels = input_ids.to(device), labels.to(device)
    cross = captioner.cross_cache(encoder_hidden_states)
    states, _ = captioner.decode_states(input_ids, cross)
    logps = token_logps(captioner.logits(states), labels, captioner.config.pad_id)
    counted = (labels != captioner.config.pad_id).float()  # [N, T]
    lengths = counted.sum(dim=1)
    mean_states = (states.float() * counted[..., None]).sum(dim=1) / lengths[:, None]
    return SequenceScores(logps.sum(dim=1), mean_states, lengths)


class CandidateMaker:
    """Draws and scores candidates with the frozen reference and evaluator."""

    def __init__(
        self,
        reference: Captioner,
        evaluator: Clip,
        *,
        beams: int = 8,
        samples: int = 16,
        within_nats: float = 6.0,
    ) -> None:
        """Args: reference, evaluator: in eval mode; the rest: how many, and how likely at least."""
        self._reference, self._evaluator = reference, evaluator
        self._beams, self._samples, self._within = beams, samples, within_nats

    @torch.no_grad()
    def draw(
        self, features: Tensor, extra: list[tuple[int, ...]], generator: torch.Generator
    ) -> Candidates:
        """Candidates of one image: beams and samples that are likely enough, and `extra`.

        Args:
            features: [1, S, F].
            extra: Captions that always join: those served and people's corrections.
            generator: Randomness of the samples.
        """
        hidden = self._reference.encode(features)
        found = beam_search(self._reference, hidden, num_beams=self._beams)[0]
        top = max(candidate.logp for candidate in found)
        if self._samples:
            found += sample(self._reference, hidden, samples=self._samples, generator=generator)[0]
        likely = {
            c.tokens: None
            for c in found
            if c.finished and c.tokens and c.logp >= top - self._within
        }
        return self.score(features, list(likely | dict.fromkeys(extra)), top)

    @torch.no_grad()
    def score(self, features: Tensor, tokens: list[tuple[int, ...]], top_logp: float) -> Candidates:
        """Scores given captions of one image, features [1, S, F], under everything frozen."""
        captions = [list(ids) for ids in tokens]
        scored = score_sequences(self._reference, self._reference.encode(features), captions)
        labels = pad_captions(captions, self._reference.config)[1].to(features.device)
        scores = pac_score(self._evaluator, features, labels)[0]
        return Candidates(
            tokens, scored.logps.cpu(), scores.cpu(), scored.mean_states.cpu(), top_logp
        )
