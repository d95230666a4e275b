"""BLEU, ROUGE-L and CIDEr-D: by hand, beside pycocoevalcap, and the whole of COCO's chain."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from dico.metrics.bleu import bleu
from dico.metrics.cider import DocumentFrequencies, cider_d
from dico.metrics.overlap import overlap
from dico.metrics.rouge import rouge_l
from dico.metrics.tokenise import tokenise
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

FIXTURES = Path(__file__).parents[2] / "fixtures/metrics"
Corpus = tuple[list[list[str]], list[list[list[str]]]]


def words(*texts: str) -> list[list[str]]:
    return [text.split() for text in texts]


def random_corpus(seed: int, images: int = 40) -> Corpus:
    """Captions of few words, so that n-grams repeat; some empty, some with one human caption."""
    rng = random.Random(seed)
    lexicon = [f"w{n}" for n in range(12)]

    def caption() -> list[str]:
        return [rng.choice(lexicon) for _ in range(rng.choice([0, 1, 2, 3, 5, 8, 13, 21]))]

    human = [[caption() for _ in range(rng.randint(1, 6))] for _ in range(images)]
    said = [rng.choice([caption(), own[0], own[-1][::-1]]) for own in human]
    return said, human


def fixture() -> Corpus:
    annotations = json.loads((FIXTURES / "annotations.json").read_text())["annotations"]
    results = json.loads((FIXTURES / "results.json").read_text())
    human = [
        [tokenise(each["caption"]) for each in annotations if each["image_id"] == image["image_id"]]
        for image in results
    ]
    return [tokenise(each["caption"]) for each in results], human


def as_cocos(corpus: Corpus) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    said, human = corpus
    return (
        {row: [" ".join(each) for each in own] for row, own in enumerate(human)},
        {row: [" ".join(each)] for row, each in enumerate(said)},
    )


CORPORA = [fixture(), *(random_corpus(seed) for seed in range(5)), random_corpus(9, images=1)]


@pytest.mark.parametrize("corpus", CORPORA)
def test_bleu_equals_cocos_scorer(corpus: Corpus) -> None:
    expected = Bleu(4).compute_score(*as_cocos(corpus), verbose=0)[0]
    assert bleu(*corpus) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("corpus", CORPORA)
def test_rouge_equals_cocos_scorer_on_each_caption(corpus: Corpus) -> None:
    _, expected = Rouge().compute_score(*as_cocos(corpus))
    np.testing.assert_allclose(rouge_l(*corpus), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("corpus", CORPORA)
def test_cider_equals_cocos_scorer_on_each_caption(corpus: Corpus) -> None:
    _, expected = Cider().compute_score(*as_cocos(corpus))
    np.testing.assert_allclose(cider_d(*corpus), expected, atol=1e-9, rtol=0)


def test_the_fixture_gives_what_cocos_whole_chain_gives() -> None:
    annotations = json.loads((FIXTURES / "annotations.json").read_text())["annotations"]
    results = json.loads((FIXTURES / "results.json").read_text())
    expected = json.loads((FIXTURES / "expected.json").read_text())
    human = [
        [each["caption"] for each in annotations if each["image_id"] == image["image_id"]]
        for image in results
    ]
    figures = overlap([each["caption"] for each in results], human)
    for name, value in figures.items():
        assert value == pytest.approx(expected["figures"][name], abs=1e-3), name
    said, theirs = fixture()
    for metric, mine in (("rouge_l", rouge_l(said, theirs)), ("cider", cider_d(said, theirs))):
        np.testing.assert_allclose(mine, expected["each"][metric], atol=1e-3, rtol=0)


def test_bleu_by_hand() -> None:
    """Precisions 5/6, 3/5, 1/4; as long as the closest human caption, so no penalty."""
    said = words("the cat sat on the mat")
    human = [words("the cat is on the mat", "there is a cat on the mat today")]
    expected = [5 / 6, math.sqrt(5 / 6 * 3 / 5), (5 / 6 * 3 / 5 * 1 / 4) ** (1 / 3)]
    assert bleu(said, human)[:3] == pytest.approx(expected, abs=1e-8)


def test_bleu_counts_a_word_no_more_often_than_a_human_caption_does() -> None:
    said, human = words("the the the the"), [words("the cat the dog", "a b c d")]
    assert bleu(said, human)[0] == pytest.approx(2 / 4, abs=1e-8)


def test_bleu_punishes_brevity_by_the_closest_length() -> None:
    """2 words against 3 and 9: exp(1 - 3/2)."""
    said, human = words("a b"), [words("a b c", "a b c d e f g h i")]
    assert bleu(said, human)[0] == pytest.approx(math.exp(-0.5), abs=1e-8)


def test_rouge_by_hand() -> None:
    """Common subsequence "a c d" of 3; precision 3/4, recall 3/5, beta 1.2."""
    expected = 2.44 * (3 / 4) * (3 / 5) / (3 / 5 + 1.44 * 3 / 4)
    said, human = words("a c x d"), [words("a b c d e")]
    assert rouge_l(said, human).tolist() == pytest.approx([expected])


def test_rouge_takes_precision_and_recall_from_different_human_captions() -> None:
    said, human = words("a b c"), [words("a b c d e f", "a")]
    assert rouge_l(said, human).tolist() == [1.0]


def test_cider_by_hand() -> None:
    """Two images; a word of one image weighs log 2, one of both 0.

    The caption "a dog" of image 1 ("a dog runs"): unigrams "dog" log 2 against "dog", "runs":
    cosine 1/sqrt 2; bigrams "a dog" against "a dog", "dog runs": the same; no longer ones. One
    word shorter: exp(-1/72).
    """
    said, human = words("a dog", "a"), [words("a dog runs"), words("a cat")]
    expected = 10 * (2 / math.sqrt(2)) / 4 * math.exp(-1 / 72)
    assert cider_d(said, human).tolist() == pytest.approx([expected, 0.0])


def test_an_image_alone_has_a_cider_of_nothing() -> None:
    assert cider_d(words("a dog"), [words("a dog")]).tolist() == [0.0]


def test_a_fixed_table_gives_the_same_reward_whoever_is_in_the_batch() -> None:
    said, human = fixture()
    table = DocumentFrequencies.of(human)
    whole = table.score(said, human)
    order = [7, 3, 7, 50]
    part = table.score([said[n] for n in order], [human[n] for n in order])
    np.testing.assert_allclose(part, whole[order], atol=1e-12)
    np.testing.assert_allclose(cider_d(said, human), whole, atol=1e-12)


def test_a_fixed_table_scores_many_captions_of_an_image_and_words_it_never_saw() -> None:
    """A word that no image has weighs as one that one image has, so it costs cosine."""
    human = [words("a dog runs", "one dog"), words("a cat"), words("a bird")]
    table = DocumentFrequencies.of(human)
    before = table.score(words("a dog", "a cat"), [human[0], human[1]])
    table.score(words("a zebra sings a zebra song"), [human[2]])
    after = table.score(words("a dog", "a cat", "a dog zebra"), [human[0], human[1], human[0]])
    np.testing.assert_array_equal(after[:2], before)
    assert 0 < after[2] < after[0]


def test_no_two_word_pairs_share_a_name() -> None:
    """Pairs such as "ab c" and "a bc" differ, and so does every order of them."""
    said = words("ab c", "a bc", "c ab", "bc a")
    assert cider_d(said, [[own] for own in said])[0] == pytest.approx(10 * 2 / 4)
    mixed = [[own] for own in (said[1], said[0], said[3], said[2])]
    assert cider_d(said, mixed).tolist() == [0.0] * 4
