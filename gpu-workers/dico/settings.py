"""A job's method and what `auto` comes to for its size."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from dico.preferences import RewardWeights
from dico.update import Hyperparameters

Method = Literal["dico", "dpo", "sft", "scst"]
Value = TypeVar("Value")

# From so many thumbs on the preference model is good enough to judge what no list holds.
ON_POLICY_FROM = 2_000
FEWEST_STEPS = 60
EPOCHS = 3


@dataclass(frozen=True)
class Settings:
    """Everything that a job's method leaves open, settled.

    Attributes:
        method: The objective.
        candidates: Drawn per image from the reference, or per image and step on-policy.
        on_policy: Whether candidates come from the policy being trained.
        reward: What `scst` rewards: preference, clip_s, pac_s or cider.
        baseline: What `scst` compares with: mean or greedy.
        weights: Of the judges that rank candidates.
        update: Of the training loop.
    """

    method: Method
    candidates: int
    on_policy: bool
    reward: str
    baseline: str
    weights: RewardWeights
    update: Hyperparameters

    def flat(self) -> dict[str, float | bool | str]:
        """Every setting by name, as the learning report lists them."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        weights, update = own.pop("weights"), own.pop("update")
        weighted = {f"{name}_weight": value for name, value in dataclasses.asdict(weights).items()}
        return own | weighted | dataclasses.asdict(update)


def settle(method: dict[str, Any], images: int, thumbs: int) -> Settings:
    """Fills in what the job leaves to us.

    Args:
        method: The contract's `TrainingMethod`; bounds were checked at the border.
        images: To train on.
        thumbs: To learn from.
    """
    name: Method = method["type"]
    given = method.get(name, {}).get("hyperparameters", {})

    def choose(key: str, auto: Value) -> Value:
        value = given.get(key, "auto")
        return auto if value == "auto" else value

    update, weights = Hyperparameters(), RewardWeights()
    batch = choose("batch_size", update.batch)
    epochs = choose("n_epochs", None)
    steps = math.ceil((epochs or EPOCHS) * images / batch)
    return Settings(
        method=name,
        candidates=choose("candidates", 5 if name == "scst" else 24),
        on_policy=name == "scst" or choose("on_policy", thumbs >= ON_POLICY_FROM),
        reward=choose("reward", "preference"),
        baseline=choose("baseline", "mean"),
        weights=RewardWeights(
            preference=choose("preference_weight", weights.preference),
            evaluator=choose("evaluator_weight", weights.evaluator),
            unlikely=choose("unlikely_weight", weights.unlikely),
            correction_bonus=choose("correction_bonus", weights.correction_bonus),
        ),
        update=dataclasses.replace(
            update,
            beta=choose("beta", update.beta),
            tau=choose("tau", update.tau),
            losers=1 if name == "dpo" else choose("losers", update.losers),
            anchor=choose("anchor", update.anchor),
            batch=batch,
            learning_rate=choose("learning_rate", 1e-5 if name == "scst" else update.learning_rate),
            steps=steps if epochs else max(FEWEST_STEPS, steps),
        ),
    )
