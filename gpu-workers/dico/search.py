"""Beam search and sampling over a batch of images, cached and without gradient.

The rules are the edge's own (`captioner/beam-search.ts`), so both give the same tokens. Axes as in
`dico.captioner`: B images, K beams, T tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dico.captioner import Captioner, KeyValue


@dataclass(frozen=True)
class Candidate:
    """One generated caption.

    Attributes:
        tokens: Ids without BOS, and without EOS where the caption is finished.
        logp: Sum of the tokens' log-probabilities, EOS included.
        score: `logp / length ** length_penalty`, the length counting EOS; ranks the candidates.
        finished: Whether the model ended it with EOS itself.
    """

    tokens: tuple[int, ...]
    logp: float
    score: float
    finished: bool


@dataclass
class _Finished:
    """The K best finished captions of each image so far, best first."""

    scores: Tensor  # [B, K]
    logps: Tensor  # [B, K]
    tokens: Tensor  # [B, K, T]
    lengths: Tensor  # [B, K]

    def add(self, scores: Tensor, logps: Tensor, tokens: Tensor, length: int) -> None:
        """Merges K new ones, score -inf where there is none; the earlier of equals stays first."""
        keep = self.scores.shape[1]
        lengths = torch.full_like(self.lengths, length)
        merged, order = torch.cat([self.scores, scores], dim=1).sort(
            dim=1, descending=True, stable=True
        )
        order = order[:, :keep]
        self.scores = merged[:, :keep]
        self.logps = torch.cat([self.logps, logps], dim=1).gather(1, order)
        self.lengths = torch.cat([self.lengths, lengths], dim=1).gather(1, order)
        index = order[..., None].expand(-1, -1, tokens.shape[2])
        self.tokens = torch.cat([self.tokens, tokens], dim=1).gather(1, index)


@torch.no_grad()
def beam_search(
    captioner: Captioner,
    encoder_hidden_states: Tensor,
    *,
    num_beams: int = 5,
    max_new_tokens: int = 32,
    length_penalty: float = 1.0,
) -> list[list[Candidate]]:
    """The best `num_beams` captions of each image, best first.

    Args:
        captioner: In eval mode.
        encoder_hidden_states: [B, S, d].
        num_beams: K.
        max_new_tokens: Tokens generated at most, EOS included.
        length_penalty: Exponent of the length that divides a finished caption's score.

    Returns:
        For each image K candidates; unfinished ones only where fewer than K finished.
    """
    config = captioner.config
    device = encoder_hidden_states.device
    batch, beams, vocab = encoder_hidden_states.shape[0], num_beams, config.vocab_size
    cross = captioner.cross_cache(encoder_hidden_states)
    past: list[KeyValue] | None = None
    last = torch.full((batch * beams, 1), config.bos_id, device=device)
    tokens = torch.full((batch, beams, max_new_tokens), config.pad_id, device=device)
    sums = torch.full((batch, beams), -torch.inf, device=device)
    sums[:, 0] = 0.0  # every beam starts as the same empty caption; only one may be expanded
    finished = _Finished(
        scores=torch.full((batch, beams), -torch.inf, device=device),
        logps=torch.zeros(batch, beams, device=device),
        tokens=tokens.clone(),
        lengths=torch.zeros(batch, beams, dtype=torch.long, device=device),
    )
    first_row = torch.arange(batch, device=device)[:, None] * beams  # [B, 1]
    done = torch.zeros(batch, dtype=torch.bool, device=device)
    for length in range(1, max_new_tokens + 1):
        states, past = captioner.decode_states(last, cross, past)
        logps = captioner.logits(states[:, -1]).float().log_softmax(dim=-1)
        scores = (sums[..., None] + logps.view(batch, beams, vocab)).flatten(1)  # [B, K * V]
        top_scores, top = scores.topk(2 * beams, dim=1)
        beam, token = top // vocab, top % vocab  # [B, 2K]
        is_end = token == config.eos_id

        first = beam[:, :beams]
        ended = finished_score(top_scores[:, :beams], length, length_penalty)
        ended = ended.masked_fill(~is_end[:, :beams] | done[:, None], -torch.inf)
        index = first[..., None].expand(-1, -1, max_new_tokens)
        finished.add(ended, top_scores[:, :beams], tokens.gather(1, index), length)

        # Among 2K at most K end, so K live ones always remain; a stable sort keeps their order.
        live = is_end.to(torch.int8).sort(dim=1, stable=True).indices[:, :beams]
        sums, beam, token = (x.gather(1, live) for x in (top_scores, beam, token))
        tokens = tokens.gather(1, beam[..., None].expand(-1, -1, max_new_tokens))
        tokens[:, :, length - 1] = token
        rows = (first_row + beam).flatten()
        past = [(key[rows], value[rows]) for key, value in past]
        last = token.view(-1, 1)
        done |= finished.scores[:, -1] >= finished_score(sums[:, 0], length, length_penalty)
        if bool(done.all()):
            break
    live_scores = finished_score(sums, max_new_tokens, length_penalty)
    return [
        _finished_candidates(finished, image)
        + _unfinished_candidates(tokens[image], sums[image], live_scores[image])[
            : int(torch.isinf(finished.scores[image]).sum())
        ]
        for image in range(batch)
    ]


def finished_score(logps: Tensor, length: int, length_penalty: float) -> Tensor:
    """Log-probability sums to ranking scores, in fp32."""
    return logps / length**length_penalty


def _finished_candidates(finished: _Finished, image: int) -> list[Candidate]:
    rows = zip(
        finished.tokens[image].tolist(),
        finished.lengths[image].tolist(),
        finished.logps[image].tolist(),
        finished.scores[image].tolist(),
        strict=True,
    )
    return [
        Candidate(tuple(tokens[: length - 1]), logp, score, finished=True)
        for tokens, length, logp, score in rows
        if score != -torch.inf
    ]


def _unfinished_candidates(tokens: Tensor, sums: Tensor, scores: Tensor) -> list[Candidate]:
    rows = zip(tokens.tolist(), sums.tolist(), scores.tolist(), strict=True)
    return [Candidate(tuple(row), logp, score, finished=False) for row, logp, score in rows]


@torch.no_grad()
def sample(
    captioner: Captioner,
    encoder_hidden_states: Tensor,
    *,
    samples: int,
    generator: torch.Generator,
    temperature: float = 1.0,
    max_new_tokens: int = 32,
) -> list[list[Candidate]]:
    """Draws `samples` captions of each image from the model's own distribution.

    Args:
        captioner: In eval mode.
        encoder_hidden_states: [B, S, d].
        samples: K.
        generator: Source of randomness, on the CPU, so that a seed means the same on any device.
        temperature: Divides the logits before the softmax; > 0. `logp` is at temperature 1.
        max_new_tokens: Tokens generated at most, EOS included.
    """
    config = captioner.config
    device = encoder_hidden_states.device
    rows = encoder_hidden_states.shape[0] * samples
    cross = captioner.cross_cache(encoder_hidden_states)
    past: list[KeyValue] | None = None
    last = torch.full((rows, 1), config.bos_id, device=device)
    sums = torch.zeros(rows, device=device)
    alive = torch.ones(rows, dtype=torch.bool, device=device)
    drawn: list[Tensor] = []
    for _ in range(max_new_tokens):
        states, past = captioner.decode_states(last, cross, past)
        logits = captioner.logits(states[:, -1]).float()
        probabilities = (logits / temperature).softmax(dim=-1).cpu()
        token = torch.multinomial(probabilities, 1, generator=generator).to(device)  # [N, 1]
        logp = logits.log_softmax(dim=-1).gather(1, token).squeeze(1)
        sums += logp.masked_fill(~alive, 0.0)
        drawn.append(token.masked_fill(~alive[:, None], config.pad_id))
        alive &= token.squeeze(1) != config.eos_id
        if not bool(alive.any()):
            break
        last = token
    sequences, logps = torch.cat(drawn, dim=1).tolist(), sums.tolist()
    candidates = [
        _sampled(row, logp, config.eos_id) for row, logp in zip(sequences, logps, strict=True)
    ]
    return [candidates[start : start + samples] for start in range(0, rows, samples)]


def _sampled(row: list[int], logp: float, eos_id: int) -> Candidate:
    if eos_id not in row:
        return Candidate(tuple(row), logp, logp / len(row), finished=False)
    length = row.index(eos_id) + 1
    return Candidate(tuple(row[: length - 1]), logp, logp / length, finished=True)
