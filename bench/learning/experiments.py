"""One experiment: thumbs in, a policy out, judged on pictures that nobody rated."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dico.captioner import Captioner
from dico.data_set import Rating
from dico.job import Learnt, evaluate, learn_preferences, update
from dico.material import Material
from dico.quality import caption_both_ways, held_out_quality
from dico.screening import Rejection
from dico.settings import Settings, settle
from scenes.tastes import TASTES

from learning.baselines import reranked, train_kto_like
from learning.world import FRESH, Judgement, Shown, Viewers, World, captions, drawn_caption, judge

ROOT = Path(__file__).resolve().parents[2]
NODE = ROOT / "node_modules" / "node" / "bin" / "node"


@dataclass(frozen=True)
class Experiment:
    """What is varied; the rest is the service's default.

    Attributes:
        taste: Of the viewers, a key of `TASTES`.
        seed: Of pictures, thumbs and training.
        thumbs: In all.
        noise: Share of them that are wrong.
        recipe: See `RECIPES`.
        rounds: The thumbs come in so many portions, each on the last version's captions.
        adversarial: Share of the thumbs that one hostile viewer gives.
        corrections: Share of thumbs-down that come with a better caption.
        drawn: Share of the rated captions that were drawn at temperature 1, not the best.
    """

    taste: str
    seed: int
    thumbs: int = 200
    noise: float = 0.1
    recipe: str = "dico"
    rounds: int = 1
    adversarial: float = 0.0
    corrections: float = 0.0
    drawn: float = 0.5

    @property
    def name(self) -> str:
        """The recipe with what differs from its default."""
        extra = [
            f"{self.rounds} rounds" if self.rounds > 1 else "",
            f"{self.adversarial:.0%} adversarial" if self.adversarial else "",
            f"{self.corrections:.0%} corrected" if self.corrections else "",
            f"{self.drawn:.0%} drawn" if self.drawn != Experiment.drawn else "",
        ]
        return ", ".join([self.recipe, *(each for each in extra if each)])

    @property
    def pictures(self) -> tuple[int, int]:
        """The first of its rated pictures and how many there are."""
        return self.seed * 10_000, self.thumbs

    @property
    def file_name(self) -> str:
        """Of its row."""
        return f"{self.taste}-{self.name}-{self.thumbs}-{self.noise}-{self.seed}.json".replace(
            " ", "_"
        )


Says = Callable[[Sequence[Shown]], list[str]]


def base_says(shown: Sequence[Shown]) -> list[str]:
    """What serves before anything was learnt."""
    return [each.base_caption for each in shown]


def with_drawn(
    world: World,
    captioner: Captioner,
    shown: Sequence[Shown],
    said: Sequence[str],
    experiment: Experiment,
) -> list[str]:
    """The captions that are rated: some of them the captioner draws instead of what it says."""
    rng = random.Random(f"drawn/{experiment.seed}/{shown[0].sha256}")
    return [
        drawn_caption(world.base, captioner, each, rng.getrandbits(32))
        if rng.random() < experiment.drawn
        else best
        for each, best in zip(shown, said, strict=True)
    ]


def policy_says(world: World, policy: Captioner, shown: Sequence[Shown]) -> list[str]:
    """The captions of a trained policy."""
    return captions(world.base, policy, [each.features for each in shown])


@dataclass(frozen=True)
class Outcome:
    """What one job of an experiment came to.

    Attributes:
        says: The captions of pictures that it would serve; None where the thumbs were rejected.
        policy: What was trained; None where nothing was.
        verdict: "passed", "rejected" by the gate, or the code of the rejection.
        reasons: Of a rejection.
        seconds: From thumbs to policy, candidates included.
        evaluation: The job's held-out figures.
    """

    says: Says | None
    policy: Captioner | None
    verdict: str
    reasons: list[str]
    seconds: float
    evaluation: dict[str, Any] | None


def run_job(world: World, material: Material, experiment: Experiment, images: int) -> Outcome:
    """The service's own job on thumbs that are there already; the gate is the edge's."""
    started = time.monotonic()
    drawing = images * world.seconds_per_image
    settings = settings_of(experiment, images)
    try:
        learnt = learn_preferences(material, world.base)
        if experiment.recipe == RERANK:  # there is no version that a gate could judge
            seconds = time.monotonic() - started + drawing
            says = partial(reranked, world.base, learnt, settings)
            return Outcome(says, None, "passed", [], seconds, None)
        policy = train_policy(world, material, learnt, settings, experiment)
    except Rejection as rejection:
        seconds = time.monotonic() - started + drawing
        return Outcome(None, None, rejection.code, [str(rejection)], seconds, None)
    held_out = material.side("held_out")
    shown = caption_both_ways(
        world.base,
        policy,
        world.maker,
        learnt.preferences,
        [each.features for each in held_out],
    )
    quality = held_out_quality(world.base, policy, shown, held_out, experiment.seed)
    evaluation = evaluate(material, quality, learnt, world.base)
    seconds = time.monotonic() - started + drawing
    gate = gate_of(evaluation)
    says = partial(policy_says, world, policy)
    return Outcome(says, policy, gate["verdict"], gate["reasons"], seconds, evaluation)


def gate_of(evaluation: dict[str, Any]) -> dict[str, Any]:
    """What `edge/fine-tune/gate.ts` says of these figures."""
    done = subprocess.run(
        [NODE, ROOT / "bench/learning/gate.ts"],
        input=json.dumps(evaluation),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def settings_of(experiment: Experiment, images: int) -> Settings:
    """The service's `auto` settings, or the recipe's change to them."""
    hyperparameters = RECIPES[experiment.recipe]
    method = hyperparameters.get("type", "dico")
    given = {name: value for name, value in hyperparameters.items() if name != "type"}
    return settle({"type": method, method: {"hyperparameters": given}}, images, experiment.thumbs)


RERANK, KTO_LIKE = "rerank", "kto-like"
RECIPES: dict[str, dict[str, Any]] = {
    "dico": {},
    # The paper's reward: nothing but the evaluator, on the same lists.
    "evaluator alone": {"preference_weight": 0, "evaluator_weight": 1},
    "on-policy": {"on_policy": True},
    "sft": {"type": "sft"},
    "dpo": {"type": "dpo"},
    "no anchor": {"anchor": 0},
    KTO_LIKE: {},
    RERANK: {},
}


def train_policy(
    world: World,
    material: Material,
    learnt: Learnt,
    settings: Settings,
    experiment: Experiment,
) -> Captioner:
    """The service's update, or a baseline's."""
    if experiment.recipe == KTO_LIKE:
        return train_kto_like(material, world.base, settings, experiment.seed)
    return update(
        material, learnt, world.base, world.maker, settings, experiment.seed,
        checkpoint=None, on_step=lambda step: None,
    )  # fmt: skip


def run(world: World, experiment: Experiment, fresh: int) -> list[dict[str, Any]]:
    """Runs an experiment; one row for each round."""
    taste = TASTES[experiment.taste]
    unseen = world.pictures(FRESH, fresh)
    before = judge(world.base, taste, base_says(unseen), unseen)
    viewers = Viewers(
        taste,
        experiment.seed,
        experiment.noise,
        experiment.adversarial,
        experiment.corrections,
    )
    portion = experiment.thumbs // experiment.rounds
    shown: list[Shown] = []
    ratings: list[tuple[Rating, ...]] = []
    serving, policy, seconds = base_says, world.base.captioner, 0.0
    rows: list[dict[str, Any]] = []
    last: Judgement = before
    for number in range(experiment.rounds):
        new = world.pictures(experiment.pictures[0] + number * portion, portion)
        said = with_drawn(world, policy, new, serving(new), experiment)
        ratings += viewers.rate(new, said)
        shown += new
        outcome = run_job(world, world.material(shown, ratings), experiment, len(shown))
        seconds += outcome.seconds
        trained = last
        if outcome.says is not None:
            trained = judge(world.base, taste, outcome.says(unseen), unseen)
            if outcome.verdict == "passed":
                serving, policy, last = outcome.says, outcome.policy or policy, trained
        rows.append(
            row_of(experiment, number + 1, portion, before, last, trained, outcome, seconds)
        )
    return rows


def row_of(
    experiment: Experiment,
    number: int,
    portion: int,
    before: Judgement,
    served: Judgement,
    trained: Judgement,
    outcome: Outcome,
    seconds: float,
) -> dict[str, Any]:
    """The issue's columns, then what explains them; "after" is what serves after the gate."""
    kept = (
        "approval",
        "facts_right",
        "grammatical",
        "recall",
        "facts_wrong",
        "words",
        "pac_s",
    )
    sides = {"before": before, "after": served, "trained": trained}
    figures = {
        f"{name}_{side}": round(getattr(judgement, name), 4)
        for name in kept
        for side, judgement in sides.items()
    }
    evaluation = outcome.evaluation or {}
    return {
        "taste": experiment.taste,
        "seed": experiment.seed,
        "thumbs": number * portion,
        "noise": experiment.noise,
        "recipe": experiment.name,
        **figures,
        "seconds": round(seconds, 1),
        "round": number,
        "verdict": outcome.verdict,
        "reasons": outcome.reasons,
        "preference_auc": evaluation.get("preference_auc"),
        "predicted_approval": evaluation.get("predicted_approval"),
        "approval_gain": evaluation.get("approval_gain"),
        "log_ratio": evaluation.get("log_ratio"),
        "kl": evaluation.get("kl"),
        "end_users": [u for u in evaluation.get("end_users", []) if u["weight"] < 1],
    }
