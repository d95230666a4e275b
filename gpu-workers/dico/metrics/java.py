"""METEOR and SPICE, which exist only as Java programs: run where they are, absent elsewhere.

Both come with the Python package pycocoevalcap; SPICE also needs Stanford CoreNLP 3.6.0 beside it.
Nothing here stands in for them under their name.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dico.metrics.ngrams import Tokens

Metric = Callable[[Sequence[Tokens], Sequence[Sequence[Tokens]]], NDArray[np.float64]]
_NEEDED = {
    "meteor": ("meteor/meteor-1.5.jar", "meteor/data/paraphrase-en.gz"),
    "spice": (
        "spice/spice-1.0.jar",
        "spice/lib/stanford-corenlp-3.6.0.jar",
        "spice/lib/stanford-corenlp-3.6.0-models.jar",
    ),
}


class JavaToolError(RuntimeError):
    """A Java program is there but does not give a score."""


def available() -> dict[str, Metric]:
    """Those of `meteor` and `spice` whose program, data and Java are on this machine."""
    return {name: metric for name, metric in _METRICS.items() if not missing(name)}


def missing(name: str) -> str:
    """What `meteor` or `spice` lacks on this machine; empty where it lacks nothing."""
    if shutil.which("java") is None:
        return "java is not on the path"
    package = find_spec("pycocoevalcap")
    if package is None or not package.submodule_search_locations:
        return "pycocoevalcap is not installed"
    folder = Path(package.submodule_search_locations[0])
    lacking = [path for path in _NEEDED[name] if not (folder / path).is_file()]
    return f"{lacking[0]} is not in pycocoevalcap" if lacking else ""


def meteor(
    candidates: Sequence[Tokens], human_captions: Sequence[Sequence[Tokens]]
) -> NDArray[np.float64]:
    """METEOR 1.5 (Denkowski and Lavie, 2014), 0-1: the corpus' figure, then one per caption.

    The corpus' figure comes from statistics summed over the captions and is not their mean.

    Returns:
        [1 + N].

    Raises:
        JavaToolError: The program stopped or answered something else than numbers.
    """
    return _run("meteor", candidates, human_captions)


def spice(
    candidates: Sequence[Tokens], human_captions: Sequence[Sequence[Tokens]]
) -> NDArray[np.float64]:
    """SPICE (arXiv:1607.08822), 0-1: the corpus' figure, which is the mean, then one per caption.

    Returns:
        [1 + N].

    Raises:
        JavaToolError: The program stopped or answered something else than numbers.
    """
    return _run("spice", candidates, human_captions)


_METRICS: dict[str, Metric] = {"meteor": meteor, "spice": spice}


def _run(
    name: str, candidates: Sequence[Tokens], human_captions: Sequence[Sequence[Tokens]]
) -> NDArray[np.float64]:
    reason = missing(name)
    if reason:
        raise JavaToolError(f"{name} cannot run: {reason}")
    scorer = getattr(import_module(f"pycocoevalcap.{name}.{name}"), name.capitalize())()
    said = {row: [" ".join(tokens)] for row, tokens in enumerate(candidates)}
    theirs = {row: [" ".join(each) for each in own] for row, own in enumerate(human_captions)}
    try:
        mean, each = scorer.compute_score(theirs, said)
        scores = [score["All"]["f"] if name == "spice" else score for score in each]
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError) as error:
        raise JavaToolError(f"{name} gave no score: {error}") from error
    return np.array([mean, *scores], np.float64)
