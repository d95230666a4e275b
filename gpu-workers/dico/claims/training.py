"""One run: from the common checkpoint to a trained captioner, its curves and its figures."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from dico.base_version import BaseVersion
from dico.captioner import Captioner
from dico.claims.candidates import source_of
from dico.claims.judges import Judges
from dico.claims.measure import curve_figures, measure
from dico.claims.methods import BETA, TAU, Method, method_of
from dico.claims.pictures import Pictures, captions_of, load_pictures
from dico.claims.plan import Run
from dico.update import Example, ExampleSource, Hyperparameters, dico_update

# Looks at the policy while it trains, on half of the validation scenes.
POINTS = 8
EXAMPLES = 3


def train_and_measure(run: Run, base: BaseVersion, pictures_file: Path) -> dict[str, Any]:
    """Trains one method with one seed; its record is plain JSON.

    Args:
        run: What to do; 0 steps measure the common checkpoint itself.
        base: The common checkpoint with its evaluators.
        pictures_file: Of `dico.claims.pictures.see_all`.
    """
    torch.manual_seed(run.seed)
    started = time.monotonic()
    method = method_of(run.method)
    train = load_pictures(pictures_file, "train")
    judges = Judges(base, train.human_captions)
    settings = Hyperparameters(
        beta=BETA,
        tau=TAU,
        losers=method.beams - 1,
        anchor=0.0,
        steps=run.steps,
        learning_rate=run.learning_rate,
        train_encoder=method.train_encoder,
    )
    validation = load_pictures(pictures_file, "validation")
    source = source_of(method, base, train, judges, settings, run.seed)
    curves = Curves(base, judges, method, validation.first(len(validation) // 2), settings)
    policy = dico_update(
        base.captioner,
        source if run.chooses_rate else curves.watching(source),
        settings,
        seed=run.seed,
        objective=method.objective,
    )
    rows: list[dict[str, Any]] = []
    examples: list[str] = []
    if run.chooses_rate:
        rows.append(_row("validation", base, policy, judges, validation, run.seed))
    else:
        curves.look(policy, run.steps)
        for name in ("seen", "held_out"):
            pictures = load_pictures(pictures_file, name)
            rows.append(_row(name, base, policy, judges, pictures, run.seed))
            examples += captions_of(base, policy, policy.encode(pictures.features[:EXAMPLES]))
    return asdict(run) | {
        "reward": method.reward,
        "rows": rows,
        "curves": curves.points,
        "examples": examples,
        "scores": [scorer.provenance.to_json() for scorer in (judges.clip_s, judges.pac_s)],
        "seconds": time.monotonic() - started,
    }


def _row(
    style: str,
    base: BaseVersion,
    policy: Captioner,
    judges: Judges,
    pictures: Pictures,
    seed: int,
) -> dict[str, Any]:
    return {"style": style, "metrics": measure(base, policy, judges, pictures, seed)}


class Curves:
    """Looks at the policy on the same few scenes eight times during training."""

    def __init__(
        self,
        base: BaseVersion,
        judges: Judges,
        method: Method,
        validation: Pictures,
        settings: Hyperparameters,
    ) -> None:
        self._base, self._judges, self._method = base, judges, method
        self._validation, self._every = validation, max(settings.steps // POINTS, 1)
        self.points: list[dict[str, float]] = []

    def watching(self, source: ExampleSource) -> ExampleSource:
        """The same examples; before some steps the policy is looked at."""

        def draw(policy: Captioner, step: int) -> list[Example]:
            if step % self._every == 0:
                self.look(policy, step)
            return source(policy, step)

        return draw

    def look(self, policy: Captioner, step: int) -> None:
        """Adds one point."""
        figures = curve_figures(
            self._base, policy, self._judges, self._method.reward, self._validation
        )
        self.points.append({"step": float(step)} | figures)
