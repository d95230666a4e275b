"""Which of the paper's claims hold in these runs, each with the numbers that say so.

One method is above another where it is so in every seed, and by more on average than the seeds
differ among themselves; one seed alone shows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean, stdev

from dico.claims.methods import PRESSED_RATES, pressed_name

# Method -> style -> metric -> one value for each seed.
Figures = dict[str, dict[str, dict[str, list[float]]]]

DICO, XE = "DiCO (PAC-S)", "XE"
DRIFTING = ("SCST (CLIP-S)", "SCST (PAC-S)")
FLUENCY = ("ungrammatical", "repetition", "bad_endings")
# Points of a share, by which fluency may move without being called drift.
FLUENCY_SLACK = 0.01
# Of XE's score, from which on a captioner counts as competitive.
COMPETITIVE = 0.95


@dataclass(frozen=True)
class Verdict:
    """One claim and what became of it.

    Attributes:
        claim: The letter of the issue and the claim in words.
        holds: "yes" where every comparison bears it out, "in part" where some do.
        because: The numbers.
    """

    claim: str
    holds: str
    because: str


def verdicts(figures: Figures) -> list[Verdict]:
    """Judges claims (a) to (d) seed by seed on both sets of styles."""
    styles = list(figures[DICO])
    return [_raises(figures, styles), _fluent(figures, styles), _aligned(figures, styles),
            _competitive(figures, styles)]  # fmt: skip


def _raises(figures: Figures, styles: list[str]) -> Verdict:
    parts: list[bool] = []
    said: list[str] = []
    for style in styles:
        for metric in ("clip_s", "pac_s"):
            ours, theirs = figures[DICO][style][metric], figures[XE][style][metric]
            parts.append(_above(ours, theirs))
            said.append(f"{metric} {spread(ours)} against {spread(theirs)} ({style})")
    return Verdict("(a) DiCO raises CLIP-S and PAC-S over XE", _holds(parts), "; ".join(said))


def _fluent(figures: Figures, styles: list[str]) -> Verdict:
    # Wherever an SCST is less fluent than XE, at its own rate or at an equal one, DiCO has to
    # stay as fluent as XE and to be more fluent than each SCST that does not.
    parts: list[bool] = []
    said: list[str] = []
    for named in _settings(figures):
        for style in styles:
            for metric in FLUENCY:
                xe = mean(_share(figures[XE][style], metric))
                ours = _share(figures[named[DICO]][style], metric)
                theirs = [_share(figures[named[name]][style], metric) for name in DRIFTING]
                drifted = [values for values in theirs if mean(values) > xe + FLUENCY_SLACK]
                stays = all(value <= xe + FLUENCY_SLACK for value in ours)
                if drifted or not stays:
                    parts += [stays, *(_above(values, ours) for values in drifted)]
                if drifted or not stays or named[DICO] == DICO:
                    listed = ", ".join(
                        f"{named[name]} {spread(values)}"
                        for name, values in zip((DICO, *DRIFTING), (ours, *theirs), strict=True)
                    )
                    said.append(f"{metric} XE {xe:.3f}, {listed} ({style})")
    if not parts:
        said.append("neither SCST drifted in these updates, so there is nothing to be better than")
    return Verdict(
        "(b) DiCO stays fluent where SCST on CLIP-S/PAC-S drifts",
        _holds(parts) if parts else "not shown",
        "; ".join(said),
    )


def _settings(figures: Figures) -> list[dict[str, str]]:
    """DiCO's and SCST's names in the figures, at their own rates and at the equal ones."""
    methods = (DICO, *DRIFTING)
    equal = [{name: pressed_name(name, rate) for name in methods} for rate in PRESSED_RATES]
    return [
        {name: name for name in methods},
        *(named for named in equal if figures.keys() >= set(named.values())),
    ]


def _aligned(figures: Figures, styles: list[str]) -> Verdict:
    parts: list[bool] = []
    said: list[str] = []
    for style in styles:
        ours = figures[DICO][style]["preferred_to_start"]
        others = {n: figures[n][style]["preferred_to_start"] for n in (XE, *DRIFTING)}
        parts += [_above(ours, theirs) for theirs in others.values()]
        listed = ", ".join(f"{name} {spread(values)}" for name, values in others.items())
        said.append(f"preferred to the start DiCO {spread(ours)}, {listed} ({style})")
    return Verdict("(c) DiCO aligns better with a preference judge", _holds(parts), "; ".join(said))


def _competitive(figures: Figures, styles: list[str]) -> Verdict:
    parts: list[bool] = []
    said: list[str] = []
    for style in styles:
        for metric in ("bleu_4", "rouge_l", "cider"):
            ours, theirs = figures[DICO][style][metric], figures[XE][style][metric]
            floor = COMPETITIVE * mean(theirs)
            parts.append(all(value >= floor for value in ours))
            said.append(f"{metric} {spread(ours)} against {spread(theirs)} ({style})")
    claim = f"(d) DiCO stays competitive on traditional metrics ({COMPETITIVE:.0%} of XE or more)"
    return Verdict(claim, _holds(parts), "; ".join(said))


def _share(metrics: dict[str, list[float]], metric: str) -> list[float]:
    if metric == "ungrammatical":
        return [1 - value for value in metrics["grammatical"]]
    return metrics[metric]


def _above(ours: list[float], theirs: list[float]) -> bool:
    gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
    return len(gaps) > 1 and min(gaps) > 0 and mean(gaps) > stdev(gaps)


def _holds(parts: list[bool]) -> str:
    return "yes" if all(parts) else "in part" if any(parts) else "no"


def spread(values: list[float]) -> str:
    """Mean and sample standard deviation over seeds."""
    deviation = stdev(values) if len(values) > 1 else 0.0
    return f"{mean(values):.3f} ± {deviation:.3f}"
