"""Batched, cached search gives what a plain search over one image gives."""

from __future__ import annotations

import pytest
import torch
from dico.captioner import Captioner, CaptionerConfig, pad_captions, token_logps
from dico.search import Candidate, beam_search, sample

CONFIG = CaptionerConfig(
    feature_width=12,
    feature_tokens=5,
    width=16,
    heads=2,
    encoder_layers=1,
    encoder_ffn=16,
    decoder_layers=2,
    decoder_ffn=16,
    vocab_size=23,
    max_tokens=12,
)


def random_captioner(seed: int) -> Captioner:
    torch.manual_seed(seed)
    captioner = Captioner(CONFIG).eval()
    with torch.no_grad():  # peaked enough that captions differ in length
        captioner.token_embedding.weight.mul_(8)
        captioner.decoder_positions.mul_(40)
    return captioner


def seeds(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


def plain_beam_search(
    captioner: Captioner, hidden: torch.Tensor, beams: int, steps: int, penalty: float
) -> list[Candidate]:
    """The same rules for one image, without cache or tensors."""
    live: list[tuple[list[int], float]] = [([], 0.0)]
    finished: list[Candidate] = []
    cross = captioner.cross_cache(hidden)
    for length in range(1, steps + 1):
        options: list[tuple[float, int, int]] = []
        for index, (tokens, total) in enumerate(live):
            states, _ = captioner.decode_states(torch.tensor([[CONFIG.bos_id, *tokens]]), cross)
            logps = captioner.logits(states[:, -1]).log_softmax(-1)[0]
            options += [(float(total + logps[t]), index, t) for t in range(CONFIG.vocab_size)]
        options.sort(key=lambda option: (-option[0], option[1] * CONFIG.vocab_size + option[2]))
        grown: list[tuple[list[int], float]] = []
        for rank, (total, index, token) in enumerate(options[: 2 * beams]):
            tokens = live[index][0]
            if token == CONFIG.eos_id:
                if rank < beams:
                    score = total / length**penalty
                    finished.append(Candidate(tuple(tokens), total, score, finished=True))
            elif len(grown) < beams:
                grown.append(([*tokens, token], total))
        finished = sorted(finished, key=lambda c: -c.score)[:beams]
        live = grown
        best = live[0][1] / length**penalty
        if len(finished) == beams and finished[-1].score >= best:
            return finished
    rest = [Candidate(tuple(t), s, s / steps**penalty, finished=False) for t, s in live]
    return finished + rest[: beams - len(finished)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("beams", "penalty"), [(1, 1.0), (3, 1.0), (5, 0.6)])
@torch.no_grad()
def test_batched_beam_search_equals_the_plain_one(seed: int, beams: int, penalty: float) -> None:
    captioner = random_captioner(seed)
    hidden = captioner.encode(torch.randn(4, 5, 12))
    batched = beam_search(
        captioner, hidden, num_beams=beams, max_new_tokens=10, length_penalty=penalty
    )
    for image in range(4):
        plain = plain_beam_search(captioner, hidden[image : image + 1], beams, 10, penalty)
        assert [c.tokens for c in batched[image]] == [c.tokens for c in plain]
        assert [c.finished for c in batched[image]] == [c.finished for c in plain]
        torch.testing.assert_close(
            [c.score for c in batched[image]], [c.score for c in plain], rtol=1e-4, atol=1e-4
        )


@torch.no_grad()
def test_search_meets_finished_and_unfinished_captions() -> None:
    """The comparison above would prove little if every caption ended alike."""
    ends: set[tuple[int, bool]] = set()
    for seed in range(6):
        captioner = random_captioner(seed)
        hidden = captioner.encode(torch.randn(4, 5, 12))
        for candidates in beam_search(captioner, hidden, num_beams=3, max_new_tokens=10):
            ends |= {(len(c.tokens), c.finished) for c in candidates}
    assert len({length for length, _ in ends}) > 3
    assert {finished for _, finished in ends} == {True, False}


@torch.no_grad()
def test_a_candidates_logp_is_its_teacher_forced_score() -> None:
    captioner = random_captioner(1)
    features = torch.randn(1, 5, 12)
    hidden = captioner.encode(features)
    searched = beam_search(captioner, hidden, num_beams=4, max_new_tokens=10)[0]
    drawn = sample(captioner, hidden, samples=4, generators=seeds(1), max_new_tokens=10)[0]
    for candidate in (c for c in searched + drawn if c.finished):
        input_ids, labels = pad_captions([list(candidate.tokens)], CONFIG)
        logps = token_logps(captioner(features, input_ids), labels, CONFIG.pad_id)
        assert float(logps.sum()) == pytest.approx(candidate.logp, abs=1e-4)


@torch.no_grad()
def test_samples_follow_the_models_distribution() -> None:
    captioner = random_captioner(3)
    hidden = captioner.encode(torch.randn(1, 5, 12))
    drawn = sample(captioner, hidden, samples=4000, generators=seeds(1), max_new_tokens=1)[0]
    states, _ = captioner.decode_states(torch.tensor([[0]]), captioner.cross_cache(hidden))
    expected = captioner.logits(states[:, -1]).softmax(-1)[0]
    ended = sum(c.finished for c in drawn) / 4000
    assert ended == pytest.approx(float(expected[CONFIG.eos_id]), abs=0.03)


@torch.no_grad()
def test_samples_of_an_image_do_not_depend_on_its_neighbours() -> None:
    captioner = random_captioner(4)
    hidden = captioner.encode(torch.randn(3, 5, 12))
    together = sample(captioner, hidden, samples=6, generators=seeds(3), max_new_tokens=10)
    for image in range(3):
        own = [torch.Generator().manual_seed(image)]
        alone = sample(
            captioner, hidden[image : image + 1], samples=6, generators=own, max_new_tokens=10
        )[0]
        assert [c.tokens for c in alone] == [c.tokens for c in together[image]]
        for one, other in zip(alone, together[image], strict=True):
            assert one.logp == pytest.approx(other.logp, abs=1e-5)
            assert one.finished == other.finished
    assert len({len(c.tokens) for own in together for c in own}) > 3  # rows were left out early


@torch.no_grad()
def test_openings_begin_with_the_likeliest_words_and_go_on_greedily() -> None:
    captioner = random_captioner(5)
    hidden = captioner.encode(torch.randn(2, 5, 12))
    drawn = sample(captioner, hidden, samples=2, openings=3, generators=seeds(2), max_new_tokens=10)
    cross = captioner.cross_cache(hidden[1:])

    def logits(tokens: tuple[int, ...]) -> torch.Tensor:
        states, _ = captioner.decode_states(torch.tensor([[CONFIG.bos_id, *tokens]]), cross)
        return captioner.logits(states[0, -1])

    openings = drawn[1][2:]
    assert [each.tokens[0] for each in openings] == logits(()).topk(3).indices.tolist()
    for opening in openings:
        whole = (*opening.tokens, *[CONFIG.eos_id] * opening.finished)
        for place in range(1, len(whole)):
            assert whole[place] == int(logits(whole[:place]).argmax())


@torch.no_grad()
def test_a_sample_that_gets_too_unlikely_is_given_up_and_the_others_stay() -> None:
    captioner = random_captioner(6)
    hidden = captioner.encode(torch.randn(2, 5, 12))
    every = sample(captioner, hidden, samples=40, generators=seeds(2), max_new_tokens=10)
    least = torch.tensor([-7.0, -9.0])
    likely = sample(
        captioner, hidden, samples=40, generators=seeds(2), max_new_tokens=10, at_least=least
    )
    for image, floor in enumerate(least.tolist()):
        wanted = [c.tokens for c in every[image] if c.finished and c.logp >= floor]
        kept = [c.tokens for c in likely[image] if c.finished and c.logp >= floor]
        assert 0 < len(wanted) < 40
        assert kept == wanted
