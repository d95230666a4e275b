"""The preference judge: facts right minus facts wrong, and nothing for a broken sentence."""

from __future__ import annotations

from dataclasses import dataclass

from scenes.checker import check
from scenes.scene import Scene


@dataclass(frozen=True)
class Verdict:
    """One caption before the judge.

    Attributes:
        fluent: A sentence of the grammar that says nothing twice.
        right: Claims that hold.
        wrong: Claims that do not.
    """

    fluent: bool
    right: int
    wrong: int

    @property
    def score(self) -> int:
        """Right minus wrong; 0 where the caption is not fluent."""
        return self.right - self.wrong if self.fluent else 0

    def against(self, other: Verdict) -> float:
        """1 where this caption is preferred, .5 where neither is: fluency first, then facts."""
        mine, theirs = (self.fluent, self.score), (other.fluent, other.score)
        return 0.5 if mine == theirs else float(mine > theirs)


def judge(caption: str, scene: Scene) -> Verdict:
    """Holds a caption against the scene graph, which the evaluators never see."""
    found = check(caption, scene)
    return Verdict(found.grammatical and not found.repetition, found.n_right, found.n_wrong)
