"""Beam search and sampling over a batch of images, cached and without gradient.

The rules are the edge's own (`captioner/beam-search.ts`), so both give the same tokens. Axes as in
`dico.captioner`: B images, K beams, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    def of(self, images: Tensor) -> _Finished:
        """Those of some images, chosen by a mask [B]."""
        return _Finished(
            self.scores[images], self.logps[images], self.tokens[images], self.lengths[images]
        )


@torch.no_grad()
def beam_search(
    captioner: Captioner,
    encoder_hidden_states: Tensor,
    *,
    num_beams: int = 5,
    max_new_tokens: int = 32,
    length_penalty: float = 1.0,
    cross: list[KeyValue] | None = None,
) -> list[list[Candidate]]:
    """The best `num_beams` captions of each image, best first.

    Args:
        captioner: In eval mode.
        encoder_hidden_states: [B, S, d].
        num_beams: K.
        max_new_tokens: Tokens generated at most, EOS included.
        length_penalty: Exponent of the length that divides a finished caption's score.
        cross: Of these images, from `Captioner.cross_cache`, where it is there already.

    Returns:
        For each image K candidates; unfinished ones only where fewer than K finished.
    """
    config = captioner.config
    device = encoder_hidden_states.device
    batch, beams, vocab = encoder_hidden_states.shape[0], num_beams, config.vocab_size
    cross = cross or captioner.cross_cache(encoder_hidden_states)
    past: list[KeyValue] | None = None
    last = torch.full((batch, 1), config.bos_id, device=device)  # the same for all beams
    tokens = torch.full((batch, beams, max_new_tokens), config.pad_id, device=device)
    sums = torch.full((batch, beams), -torch.inf, device=device)
    sums[:, 0] = 0.0  # of equal beginnings only one may be expanded
    finished = _Finished(
        scores=torch.full((batch, beams), -torch.inf, device=device),
        logps=torch.zeros(batch, beams, device=device),
        tokens=tokens.clone(),
        lengths=torch.zeros(batch, beams, dtype=torch.long, device=device),
    )
    image = torch.arange(batch, device=device)  # of the rows: those that are done are left out
    found: list[list[Candidate]] = [[] for _ in range(batch)]
    for length in range(1, max_new_tokens + 1):
        states, past = captioner.decode_states(last, cross, past)
        logps = captioner.logits(states[:, -1]).float().log_softmax(dim=-1)
        decoded = len(last) // len(sums)  # rows of an image: 1 at first, then K
        scores = (sums[..., None] + logps.view(-1, decoded, vocab)).flatten(1)  # [B, K * V]
        top_scores, top = scores.topk(2 * beams, dim=1)
        beam, token = top // vocab, top % vocab  # [B, 2K]
        is_end = token == config.eos_id

        first = beam[:, :beams]
        ended = finished_score(top_scores[:, :beams], length, length_penalty)
        ended = ended.masked_fill(~is_end[:, :beams], -torch.inf)
        index = first[..., None].expand(-1, -1, max_new_tokens)
        finished.add(ended, top_scores[:, :beams], tokens.gather(1, index), length)

        # Among 2K at most K end, so K live ones always remain; a stable sort keeps their order.
        live = is_end.to(torch.int8).sort(dim=1, stable=True).indices[:, :beams]
        sums, beam, token = (x.gather(1, live) for x in (top_scores, beam, token))
        tokens = tokens.gather(1, beam[..., None].expand(-1, -1, max_new_tokens))
        tokens[:, :, length - 1] = token
        first_row = torch.arange(len(beam), device=device)[:, None] * decoded
        rows = first_row + beam % decoded  # [B, K]
        done = finished.scores[:, -1] >= finished_score(sums[:, 0], length, length_penalty)
        if bool(done.any()):
            for place in done.nonzero().flatten().tolist():
                found[int(image[place])] = _finished_candidates(finished, place)
            if bool(done.all()):
                return found
            left = ~done
            image, sums, tokens, token, rows = (x[left] for x in (image, sums, tokens, token, rows))
            cross = [(key[left], value[left]) for key, value in cross]
            finished = finished.of(left)
        past = [(key[rows.flatten()], value[rows.flatten()]) for key, value in past]
        last = token.view(-1, 1)
    live_scores = finished_score(sums, max_new_tokens, length_penalty)
    for place, number in enumerate(image.tolist()):
        ended_early = _finished_candidates(finished, place)
        cut_off = _unfinished_candidates(tokens[place], sums[place], live_scores[place])
        found[number] = ended_early + cut_off[: beams - len(ended_early)]
    return found


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
    generators: Sequence[torch.Generator],
    openings: int = 0,
    at_least: Tensor | None = None,
    temperature: float = 1.0,
    max_new_tokens: int = 32,
) -> list[list[Candidate]]:
    """Draws captions of each image from the model's own distribution.

    Args:
        captioner: In eval mode.
        encoder_hidden_states: [B, S, d].
        samples: K captions of each image.
        generators: One for each image, on the CPU: what is drawn for an image depends on no other
            image, and a seed means the same on any device.
        openings: Further captions, not drawn: so many of the likeliest first words, each continued
            greedily.
        at_least: Log-probability below which a caption is given up, [B]; it comes back unfinished.
        temperature: Divides the logits before the softmax; > 0. `logp` is at temperature 1.
        max_new_tokens: Tokens generated at most, EOS included.

    Returns:
        For each image K samples, then the openings.
    """
    config = captioner.config
    device = encoder_hidden_states.device
    images, count = len(encoder_hidden_states), samples + openings
    if count == 0:
        return [[] for _ in range(images)]
    draws = torch.zeros(images, count, max_new_tokens)
    for own, generator in zip(draws, generators, strict=True):
        own[:samples] = torch.rand(samples, max_new_tokens, generator=generator)
    draws = draws.to(device)
    floor = torch.full((images,), -torch.inf, device=device) if at_least is None else at_least
    tokens = torch.full((images, count, max_new_tokens), config.pad_id, device=device)
    lengths = torch.zeros(images, count, dtype=torch.long, device=device)
    sums = torch.zeros(images, count, device=device)
    finished = torch.zeros(images, count, dtype=torch.bool, device=device)
    # Computed are the rows [B', K'] of these that still run.
    image = torch.arange(images, device=device)[:, None].expand(-1, count)
    row = torch.arange(count, device=device).expand(images, -1)
    running = torch.ones(images, count, dtype=torch.bool, device=device)
    cross = captioner.cross_cache(encoder_hidden_states)
    past: list[KeyValue] | None = None
    last = torch.full((images * count, 1), config.bos_id, device=device)
    for step in range(max_new_tokens):
        states, past = captioner.decode_states(last, cross, past)
        logits = captioner.logits(states[:, -1]).float().view(*row.shape, -1)
        logps = logits.log_softmax(dim=-1)  # [B', K', V]
        greedy = logps.argmax(dim=-1)
        if step == 0:  # the rows of an image are still the same
            greedy[:, samples:] = logps[:, 0].topk(openings, dim=-1).indices
        drawn = _draw((logits / temperature).softmax(dim=-1), draws[image, row, step])
        token = torch.where(row < samples, drawn, greedy)
        gained = logps.gather(-1, token[..., None]).squeeze(-1)
        sums[image, row] += gained.masked_fill(~running, 0.0)
        tokens[image, row, step] = token.masked_fill(~running, config.pad_id)
        lengths[image, row] += running
        ended = token == config.eos_id
        finished[image, row] |= ended & running
        running &= ~ended & (sums[image, row] >= floor[image])
        if not bool(running.any()):
            break
        left, most = running.any(dim=1), int(running.sum(dim=1).max())
        if most < row.shape[1] or not bool(left.all()):
            order = running.to(torch.int8).sort(dim=1, descending=True, stable=True).indices
            order = order[left, :most]
            place = torch.arange(row.numel(), device=device).view_as(row)
            place, image, row, token, running = (
                each[left].gather(1, order) for each in (place, image, row, token, running)
            )
            cross = [(key[left], value[left]) for key, value in cross]
            past = [(key[place.flatten()], value[place.flatten()]) for key, value in past]
        last = token.reshape(-1, 1)
    return [
        [_sampled(*each) for each in zip(*parts, strict=True)]
        for parts in zip(
            tokens.tolist(), lengths.tolist(), sums.tolist(), finished.tolist(), strict=True
        )
    ]


def _draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """The token at which the cumulative distribution passes a number in [0, 1): [..., V], [...]."""
    passed = probabilities.cumsum(dim=-1)
    point = (uniform * passed[..., -1])[..., None]  # the last is 1 but for rounding
    found = torch.searchsorted(passed, point, right=True).squeeze(-1)
    return found.clamp(max=probabilities.shape[-1] - 1)


def _sampled(tokens: list[int], length: int, logp: float, finished: bool) -> Candidate:
    return Candidate(tuple(tokens[: length - finished]), logp, logp / length, finished)
