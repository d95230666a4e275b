"""Which thumbs may teach: viewers who contradict the others count less, or the job says no.

A job that learns from too little or from contradictions makes a worse captioner; it is refused
with a sentence that says why and what would help.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dico.preferences import fit_preferences, roc_auc

# Below this many thumbs on the training side nothing is learnt that held-out figures could see.
FEWEST_THUMBS = 16
FEWEST_OF_EACH = 3
# A viewer with fewer thumbs cannot be told from chance, and does little harm.
FEWEST_TO_JUDGE = 12
# Agreement with everybody else (AUC) at which a viewer's thumbs count for nothing, and wholly.
IGNORED_BELOW, TRUSTED_FROM = 0.35, 0.55
# Share of all thumbs that may stand against another thumb on the very same caption.
MOST_CONTRADICTED = 0.3


class Rejection(Exception):
    """Feedback that a job cannot learn from.

    Attributes:
        code: TOO_FEW_THUMBS, THUMBS_ALL_ALIKE, CONTRADICTORY_THUMBS or NOTHING_TO_LEARN.
        help: Sentences that say what would help.
        end_users: Viewers who contradict each other, if that is the reason.
    """

    def __init__(
        self, code: str, message: str, help: Sequence[str], end_users: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.code, self.help, self.end_users = code, list(help), list(end_users)


@dataclass(frozen=True)
class Thumb:
    """A thumb of the training side: who gave it, to which caption of which image."""

    image: int
    tokens: tuple[int, ...]
    is_up: bool
    end_user: str


@dataclass(frozen=True)
class EndUser:
    """A viewer with enough thumbs to be judged.

    Attributes:
        thumbs: How many they gave.
        agreement: AUC with which everybody else's thumbs predict theirs, 0-1.
        weight: How much each of their thumbs counts, 0-1.
    """

    end_user: str
    thumbs: int
    agreement: float
    weight: float


def require_enough(thumbs: Sequence[Thumb]) -> None:
    """Refuses what is too little or all of one kind.

    Raises:
        Rejection: TOO_FEW_THUMBS or THUMBS_ALL_ALIKE.
    """
    ups = sum(thumb.is_up for thumb in thumbs)
    downs = len(thumbs) - ups
    if thumbs and (ups == 0 or downs == 0):
        kind, other = ("up", "down") if downs == 0 else ("down", "up")
        raise Rejection(
            "THUMBS_ALL_ALIKE",
            f"All {len(thumbs)} thumbs to learn from are {kind}: nothing says what is better.",
            [
                f"At least {FEWEST_OF_EACH} thumbs {other} are needed.",
                "A correction of a caption that was not liked tells most.",
            ],
        )
    if len(thumbs) < FEWEST_THUMBS or min(ups, downs) < FEWEST_OF_EACH:
        lacking = {
            "thumbs": FEWEST_THUMBS - len(thumbs),
            "thumbs up": FEWEST_OF_EACH - ups,
            "thumbs down": FEWEST_OF_EACH - downs,
        }
        needed = [f"{count} more {name}" for name, count in lacking.items() if count > 0]
        raise Rejection(
            "TOO_FEW_THUMBS",
            f"There are {len(thumbs)} thumbs to learn from, {ups} up and {downs} down, beside "
            "those kept back to check the result.",
            [f"About {', '.join(needed)} would do; from 100 on, learning is reliable."],
        )


def require_consistency(thumbs: Sequence[Thumb]) -> None:
    """Refuses thumbs of which too many stand against another on the very same caption.

    Raises:
        Rejection: CONTRADICTORY_THUMBS, naming the viewers who contradict each other most.
    """
    by_caption: dict[tuple[int, tuple[int, ...]], list[Thumb]] = defaultdict(list)
    for thumb in thumbs:
        by_caption[thumb.image, thumb.tokens].append(thumb)
    against = 0
    pairs: Counter[tuple[str, str]] = Counter()
    for rated in by_caption.values():
        ups = [thumb.end_user for thumb in rated if thumb.is_up]
        downs = [thumb.end_user for thumb in rated if not thumb.is_up]
        against += 2 * min(len(ups), len(downs))
        for one in ups:
            for other in downs:
                pairs[min(one, other), max(one, other)] += 1
    if against <= MOST_CONTRADICTED * len(thumbs):
        return
    worst = pairs.most_common(5)
    (one, other), times = worst[0]
    raise Rejection(
        "CONTRADICTORY_THUMBS",
        f"{against} of {len(thumbs)} thumbs stand against another thumb on the same caption; "
        f"{_name(one)} and {_name(other)} disagree {times} times.",
        [
            *(f"{_name(a)} and {_name(b)} disagree on {n} captions." for (a, b), n in worst),
            "Leave out the thumbs of those whose taste the captions need not follow, "
            "or fine-tune a model for each group.",
        ],
        list(dict.fromkeys(name for pair, _ in worst for name in pair)),
    )


def weigh_end_users(
    thumbs: Sequence[Thumb], features: Tensor, unlabelled: Tensor
) -> tuple[Tensor, list[EndUser]]:
    """How much each thumb counts: a viewer whom everybody else predicts wrongly counts less.

    Args:
        thumbs: The training side's, N.
        features: What the preference model sees of their captions, [N, F].
        unlabelled: Candidates that set the features' scale, [M, F].

    Returns:
        Weights [N], 0-1, and the viewers who gave enough thumbs to be judged, most thumbs first.

    Raises:
        Rejection: CONTRADICTORY_THUMBS when nearly nobody agrees with anybody.
    """
    counts = Counter(thumb.end_user for thumb in thumbs)
    is_up = torch.tensor([thumb.is_up for thumb in thumbs])
    image = torch.tensor([thumb.image for thumb in thumbs])
    weight = torch.ones(len(thumbs))
    judged: list[EndUser] = []
    for name, count in counts.most_common(20):
        own = torch.tensor([thumb.end_user == name for thumb in thumbs])
        others = is_up[~own]
        if count < FEWEST_TO_JUDGE or int(others.sum()) < 5 or int((~others).sum()) < 5:
            continue
        if bool(is_up[own].all()) or not bool(is_up[own].any()):
            continue
        model = fit_preferences(features[~own], others, image[~own], unlabelled)
        agreement = roc_auc(model.logits(features[own]), is_up[own])
        # What the others' thumbs do not teach says nothing about who follows them.
        learnt = max(model.auc - 0.5, 0.0) * 2
        trust = (agreement - IGNORED_BELOW) / (TRUSTED_FROM - IGNORED_BELOW)
        counted = 1 - learnt * (1 - min(max(trust, 0.0), 1.0))
        weight[own] = counted
        judged.append(EndUser(name, count, agreement, round(counted, 3)))
    lost = 1 - float(weight.sum()) / len(thumbs)
    if lost > 0.5:
        odd = [each for each in judged if each.weight < 0.5]
        raise Rejection(
            "CONTRADICTORY_THUMBS",
            f"{len(odd)} viewers with more than half of the thumbs like what the others do not: "
            + ", ".join(_name(each.end_user) for each in odd[:5])
            + ".",
            [
                "Leave out the thumbs of one side, or fine-tune a model for each group.",
                "More viewers' thumbs would show which taste most share.",
            ],
            [each.end_user for each in odd],
        )
    return weight, judged


def _name(end_user: str) -> str:
    return f"“{end_user}”" if end_user else "a viewer without a name"
