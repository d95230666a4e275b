"""Which experiments answer which question of the table."""

from __future__ import annotations

from learning.experiments import Experiment

# Far from each other; the best captions of the base please them in 2 to 41 cases of a hundred.
TASTES = ("there", "medium", "brief", "setting-first")
# Further ones that the evaluator alone moves down, as it does "there" and "medium". Of the last two
# the best candidates of the base please in hardly more than half of the cases.
FURTHER_TASTES = ("preface", "place-only", "preface-brief", "size", "detailed")
PLANS = (
    "headline", "further-tastes", "drawn", "evaluator", "rounds", "corrections", "adversarial",
    "baselines", "thumbs", "noise",
)  # fmt: skip


def experiments_of(plan: str, tastes: list[str] | None, seeds: int) -> list[Experiment]:
    """The experiments of a plan, or of all plans, each once."""
    wanted = PLANS if plan == "all" else (plan,)
    found = [
        experiment
        for name in wanted
        for seed in range(1, seeds + 1)
        for taste in (tastes or (FURTHER_TASTES if name == "further-tastes" else TASTES))
        for experiment in _of(name, taste, seed)
    ]
    return list(dict.fromkeys(found))


def _of(plan: str, taste: str, seed: int) -> list[Experiment]:
    match plan:
        case "headline":
            return [Experiment(taste, seed)]
        case "further-tastes":
            headline, evaluator = _of("headline", taste, seed), _of("evaluator", taste, seed)
            return [*headline, *evaluator, Experiment(taste, seed, rounds=2)]
        case "drawn":
            return [Experiment(taste, seed, drawn=share) for share in (0.0, 0.25, 0.5)]
        case "evaluator":
            return [Experiment(taste, seed, recipe="evaluator alone")]
        case "rounds":
            return [Experiment(taste, seed, 400, rounds=4)]  # two rounds are its first two
        case "corrections":
            return [Experiment(taste, seed, corrections=0.2)]
        case "adversarial":
            return [Experiment(taste, seed, adversarial=0.3)]
        case "baselines":
            return [
                Experiment(taste, seed, recipe=name)
                for name in ("sft", "dpo", "kto-like", "rerank")
            ]
        case "thumbs":
            return [Experiment(taste, seed, count) for count in (50, 100, 200, 400, 800)]
        case "noise":
            return [Experiment(taste, seed, noise=share) for share in (0.0, 0.1, 0.2, 0.3)]
        case _:
            raise ValueError(f"no plan {plan}")
