"""Candidates: for each image the captions that DiCO ranks, scored once by everything frozen.

arXiv:2408.14547 generates them on-policy at each step; for thumbs a fixed list drawn from the
reference is the default, because it cannot drift to captions that no evaluator understands.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dico.captioner import Captioner, pad_captions
from dico.evaluators.clip import Clip, pac_score
from dico.scoring import score_sequences
from dico.search import Candidate, beam_search, sample


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

    def with_more(self, more: Candidates) -> Candidates:
        """These and further candidates of the same image, none of which is here yet."""
        return Candidates(
            [*self.tokens, *more.tokens],
            torch.cat([self.reference_logps, more.reference_logps]),
            torch.cat([self.scores, more.scores]),
            torch.cat([self.states, more.states]),
            self.top_logp,
        )


class CandidateMaker:
    """Draws and scores candidates with the frozen reference and evaluator."""

    def __init__(
        self,
        reference: Captioner,
        evaluator: Clip,
        *,
        beams: int = 8,
        samples: int = 12,
        openings: int = 4,
        endings: int = 4,
        within_nats: float = 6.0,
    ) -> None:
        """Draws from the reference and keeps what is likely enough.

        Args:
            reference: In eval mode.
            evaluator: In eval mode.
            beams: Of the beam search, all kept.
            samples: Captions drawn at temperature 1.
            openings: Likeliest first words, each continued greedily: other ways to begin.
            endings: Beams of which every early end is tried: the same with a clause left out.
            within_nats: How much less likely than the best a candidate may be.
        """
        self._reference, self._evaluator = reference, evaluator
        self._beams, self._samples, self._within = beams, samples, within_nats
        self._openings, self._endings = openings, endings

    @torch.no_grad()
    def draw(
        self, features: Tensor, generators: list[torch.Generator]
    ) -> list[tuple[list[tuple[int, ...]], float]]:
        """Candidates of each image, and the log-probability of the reference's own best.

        Args:
            features: [B, S, F].
            generators: One for each image: what is sampled for it depends on no other.
        """
        hidden = self._reference.encode(features)
        beams = beam_search(self._reference, hidden, num_beams=self._beams)
        tops = [max(candidate.logp for candidate in own) for own in beams]
        least = [top - self._within for top in tops]
        others = sample(
            self._reference,
            hidden,
            samples=self._samples,
            openings=self._openings,
            generators=generators,
            at_least=torch.tensor(least, device=hidden.device),
        )
        ends = early_endings(self._reference, hidden, [own[: self._endings] for own in beams])
        found = [[*a, *b, *c] for a, b, c in zip(beams, others, ends, strict=True)]
        return [
            (_likely(own, floor), top) for own, floor, top in zip(found, least, tops, strict=True)
        ]

    def make(self, features: Tensor, generators: list[torch.Generator]) -> list[Candidates]:
        """`draw` and `score` together, for each image of [B, S, F]."""
        drawn = self.draw(features, generators)
        return [
            self.score(own, tokens, top)
            for own, (tokens, top) in zip(features.split(1), drawn, strict=True)
        ]

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


def _likely(candidates: list[Candidate], least: float) -> list[tuple[int, ...]]:
    """The different finished captions that are likely enough, in the order given."""
    kept = [c.tokens for c in candidates if c.finished and c.tokens and c.logp >= least]
    return list(dict.fromkeys(kept))


@torch.no_grad()
def early_endings(
    captioner: Captioner, encoder_hidden_states: Tensor, captions: list[list[Candidate]]
) -> list[list[Candidate]]:
    """Every caption that ends where a given one goes on: what it says with a clause left out.

    Beam search and samples rarely leave out what the model is sure of; a viewer who wants less
    can only be followed if such a caption is among the candidates.

    Args:
        captioner: In eval mode.
        encoder_hidden_states: [B, S, d].
        captions: Of each image; the finished ones are looked at.
    """
    found: list[list[Candidate]] = []
    for own, hidden in zip(captions, encoder_hidden_states.split(1), strict=True):
        whole = [list(each.tokens) for each in own if each.finished]
        ends = list(dict.fromkeys(tuple(ids[:end]) for ids in whole for end in range(1, len(ids))))
        logps = (
            score_sequences(captioner, hidden, [list(end) for end in ends]).logps if ends else []
        )
        found.append(
            [
                Candidate(end, float(logp), float(logp) / (len(end) + 1), finished=True)
                for end, logp in zip(ends, logps, strict=True)
            ]
        )
    return found
