"""Thumbs to rewards: a small preference model, and what it adds to the evaluator's score."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from dico.candidates import Candidates

HASHED_WIDTH = 1024
# One feature for each further word, so that "short enough" can be learnt and not only "the shorter
# the better"; words beyond these are not counted.
LENGTHS = 32
WORDS_WIDTH = HASHED_WIDTH + LENGTHS
# How much sooner the regularisation lets length explain a thumb than any one other feature.
LENGTH_WEIGHT = 2.0
# Words that count as a caption's beginning.
BEGINNING = 3
# Below this spread a hashed word is so rare that standardising would only amplify it.
SMALLEST_SPREAD = 0.1
L2_GRID = (0.003, 0.01, 0.03, 0.1, 0.3)

EVALUATOR_UNIT = 0.05
LEAST_PREFERENCE = -4.0


@dataclass(frozen=True)
class RewardWeights:
    """How much each judge counts when candidates are ranked.

    Attributes:
        preference: Per nat of the log-probability of a thumbs-up, which is cut at -4.
        evaluator: Per .05 of PAC-S.
        unlikely: Taken off per nat below the reference's own best.
        correction_bonus: How far above the best candidate a person's correction stands.
    """

    preference: float = 12.0
    evaluator: float = 1.0
    unlikely: float = 0.5
    correction_bonus: float = 2.0


def hashed_words(text: str) -> Tensor:
    """Unigrams and bigrams of a caption, hashed, and a one for each word: [WORDS_WIDTH]."""
    words = ["^", *text.lower().split(), "$"]
    grams = [*words[1:-1], *(" ".join(pair) for pair in pairwise(words))]
    places = [zlib.crc32(gram.encode()) % HASHED_WIDTH for gram in grams]
    steps = range(HASHED_WIDTH, HASHED_WIDTH + min(len(words) - 2, LENGTHS))
    return torch.bincount(torch.tensor([*places, *steps]), minlength=WORDS_WIDTH).float()


def kinds_of_words(embeddings: Tensor) -> Tensor:
    """Which kinds of words a caption has anywhere, and which it begins with: [T, d] -> [3 d].

    Words that mean alike have embeddings alike, so a thumb on "small" also tells of "tiny".
    """
    least, most = embeddings.aminmax(dim=0)
    # Each further word widens all extremes. Normalised, they say what stands out and not how long
    # the caption is; else the shorter one would look the better, down to no caption at all.
    anywhere = torch.cat([most, -least])
    anywhere = F.layer_norm(anywhere, anywhere.shape)
    return torch.cat([anywhere, embeddings[:BEGINNING].mean(dim=0)])


def caption_features(
    texts: list[str], embeddings: Sequence[Tensor], states: Tensor, scores: Tensor
) -> Tensor:
    """What the preference model sees of K captions, [K, WORDS_WIDTH + 4 d + 1].

    Args:
        texts: The captions.
        embeddings: The reference's embedding of each token, [T, d] a caption, T at least 1.
        states: Mean over tokens of the reference's decoder states, [K, d].
        scores: The evaluator's, [K].
    """
    words = torch.stack([hashed_words(text) for text in texts])
    kinds = torch.stack([kinds_of_words(each) for each in embeddings])
    return torch.cat([words, kinds, states, scores[:, None]], dim=1)


@dataclass(frozen=True)
class PreferenceModel:
    """L2-regularised logistic regression on standardised caption features.

    Attributes:
        mean: Of the features, [F].
        spread: Their standard deviation, floored, over how much each feature counts, [F].
        weight: [F].
        bias: Scalar.
        auc: Area under the ROC curve in cross-validation by image; .5 says nothing was learnt.
        l2: The strength that cross-validation chose.
    """

    mean: Tensor
    spread: Tensor
    weight: Tensor
    bias: Tensor
    auc: float
    l2: float

    def logits(self, features: Tensor) -> Tensor:
        """Z of each caption, [K]: the log-odds of a thumbs-up."""
        return (features - self.mean) / self.spread @ self.weight + self.bias


def fit_preferences(
    features: Tensor,
    is_up: Tensor,
    image: Tensor,
    unlabelled: Tensor,
    weight: Tensor | None = None,
) -> PreferenceModel:
    """Fits the preference model; the regularisation is chosen by 5-fold cross-validation.

    Args:
        features: Rated captions, [N, F], from `caption_features`.
        is_up: Their thumbs, [N] bool; both values occur.
        image: Index of each one's image, [N]; an image's thumbs stay in one fold.
        unlabelled: Candidates that set the scale of each feature, [M, F].
        weight: How much each thumb counts, [N], 0-1; None means alike.

    Raises:
        ValueError: All thumbs are alike.
    """
    if bool(is_up.all()) or not bool(is_up.any()):
        raise ValueError("expected thumbs up and down, got only one of them")
    mean, spread = unlabelled.mean(dim=0), unlabelled.std(dim=0).clamp(min=SMALLEST_SPREAD)
    spread[HASHED_WIDTH:WORDS_WIDTH] /= LENGTH_WEIGHT
    x, y, fold = (features - mean) / spread, is_up.float(), image % 5
    weight = torch.ones(len(y)) if weight is None else weight
    best: tuple[float, float] | None = None
    predictions = torch.zeros(len(y))
    for l2 in L2_GRID:
        held_out = torch.zeros(len(y))
        for number in range(5):
            inside = fold != number
            if bool((~inside).any()) and 0 < float(y[inside].mean()) < 1:
                slope, bias = _logistic_regression(x[inside], y[inside], weight[inside], l2)
                held_out[~inside] = x[~inside] @ slope + bias
        loss = float(F.binary_cross_entropy_with_logits(held_out, y, weight))
        if best is None or loss < best[0]:
            best, predictions = (loss, l2), held_out
    assert best is not None
    slope, bias = _logistic_regression(x, y, weight, best[1])
    counted = weight > 0
    auc = roc_auc(predictions[counted], is_up[counted])
    return PreferenceModel(mean, spread, slope, bias, auc, best[1])


def _logistic_regression(x: Tensor, y: Tensor, weight: Tensor, l2: float) -> tuple[Tensor, Tensor]:
    slope = torch.zeros(x.shape[1], requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.LBFGS([slope, bias], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        fit = F.binary_cross_entropy_with_logits(x @ slope + bias, y, weight)
        loss = fit + 0.5 * l2 * slope.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return slope.detach(), bias.detach()


def roc_auc(scores: Tensor, is_positive: Tensor) -> float:
    """Probability that a positive scores above a negative; ties count half."""
    gap = scores[is_positive][:, None] - scores[~is_positive][None, :]
    return float(((gap > 0).float() + 0.5 * (gap == 0).float()).mean())


def rewards(
    candidates: Candidates,
    preference_logits: Tensor,
    corrections: set[tuple[int, ...]],
    weights: RewardWeights,
) -> Tensor:
    """Reward of each candidate, [K]: the evaluator, the preference, and staying likely.

    A person's correction always wins: it gets the highest reward and a bonus.
    """
    # A log-probability, as what is surely liked already need not be liked more: by the log-odds
    # the best caption for viewers who want at most nine words had four, and told of nothing.
    preference = F.logsigmoid(preference_logits).clamp(min=LEAST_PREFERENCE)
    unlikely = (candidates.top_logp - candidates.reference_logps).clamp(min=0)
    reward = (
        weights.evaluator * candidates.scores / EVALUATOR_UNIT
        + weights.preference * preference
        - weights.unlikely * unlikely
    )
    is_correction = torch.tensor([tokens in corrections for tokens in candidates.tokens])
    return torch.where(is_correction, reward.max() + weights.correction_bonus, reward)
