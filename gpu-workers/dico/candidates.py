"""Candidates: for each image the captions that DiCO ranks, scored once by everything frozen.

arXiv:2408.14547 generates them on-policy at each step; for thumbs a fixed list drawn from the
reference is the default, because it cannot drift to captions that no evaluator understands.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dico.captioner import Captioner, KeyValue, pad_captions, token_logps
from dico.evaluators.clip import Clip, pac_score
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
        found = beam_search(self._reference, hidden, num_beams=self._beams)
        drawn: list[tuple[list[tuple[int, ...]], float]] = []
        for image, beams in enumerate(found):
            own = hidden[image : image + 1]
            top = max(candidate.logp for candidate in beams)
            every = list(beams)
            if self._samples:
                every += sample(
                    self._reference, own, samples=self._samples, generator=generators[image]
                )[0]
            if self._openings:
                every += other_openings(self._reference, own, self._openings)
            if self._endings:
                every += early_endings(self._reference, own, beams[: self._endings])
            likely = {
                c.tokens: None
                for c in every
                if c.finished and c.tokens and c.logp >= top - self._within
            }
            drawn.append((list(likely), top))
        return drawn

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


@torch.no_grad()
def early_endings(
    captioner: Captioner, encoder_hidden_states: Tensor, captions: list[Candidate]
) -> list[Candidate]:
    """Every caption that ends where a given one goes on: what it says with a clause left out.

    Beam search and samples rarely leave out what the model is sure of; a viewer who wants less
    can only be followed if such a caption is among the candidates.

    Args:
        captioner: In eval mode.
        encoder_hidden_states: Of one image, [1, S, d].
        captions: Finished ones of that image.
    """
    config = captioner.config
    whole = [list(caption.tokens) for caption in captions if caption.finished]
    if not whole:
        return []
    input_ids, labels = pad_captions(whole, config)
    device = encoder_hidden_states.device
    cross = captioner.cross_cache(encoder_hidden_states)
    states, _ = captioner.decode_states(input_ids.to(device), cross)
    logps = captioner.logits(states).float().log_softmax(dim=-1).cpu()  # [N, T, V]
    said = logps.gather(-1, labels[..., None]).squeeze(-1)  # [N, T]
    before = said.cumsum(dim=1) - said  # of the words before each position
    ends = before + logps[..., config.eos_id]
    return [
        Candidate(tuple(tokens[:length]), float(ends[row, length]), 0.0, finished=True)
        for row, tokens in enumerate(whole)
        for length in range(1, len(tokens))
    ]


@torch.no_grad()
def other_openings(
    captioner: Captioner, encoder_hidden_states: Tensor, count: int, max_new_tokens: int = 32
) -> list[Candidate]:
    """The likeliest first words of one image's captions, each continued greedily.

    Args:
        captioner: In eval mode.
        encoder_hidden_states: [1, S, d].
        count: First words.
        max_new_tokens: EOS included.
    """
    config = captioner.config
    device = encoder_hidden_states.device
    cross = captioner.cross_cache(encoder_hidden_states)
    past: list[KeyValue] | None = None
    last = torch.full((count, 1), config.bos_id, device=device)
    sums = torch.zeros(count, device=device)
    alive = torch.ones(count, dtype=torch.bool, device=device)
    chosen: list[Tensor] = []
    for step in range(max_new_tokens):
        states, past = captioner.decode_states(last, cross, past)
        logps = captioner.logits(states[:, -1]).float().log_softmax(dim=-1)
        if step == 0:  # the rows are still the same
            found = logps[0].topk(count)
            logp, last = found.values, found.indices[:, None]
        else:
            logp, last = logps.max(dim=-1, keepdim=True)
            logp = logp.squeeze(1)
        sums += logp.masked_fill(~alive, 0.0)
        chosen.append(last.masked_fill(~alive[:, None], config.pad_id))
        alive &= last.squeeze(1) != config.eos_id
        if not bool(alive.any()):
            break
    rows, logps_of = torch.cat(chosen, dim=1).tolist(), sums.tolist()
    return [
        Candidate(tuple(row[: row.index(config.eos_id)]), logp, 0.0, finished=True)
        for row, logp in zip(rows, logps_of, strict=True)
        if config.eos_id in row
    ]
