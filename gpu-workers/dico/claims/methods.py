"""The methods that are compared: they differ in objective and reward, in nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from dico.dpo import Dpo
from dico.objective import Dico, Objective
from dico.scst import BeamMeanScst
from dico.xe import Xe

RewardName = Literal["none", "cider", "clip_s", "pac_s"]

# The paper's own (arXiv:2408.14547), for rewards on the scale of 2 * cosine.
BETA, TAU, BEAMS = 0.2, 300.0, 5
# Far above what a search by RefPAC-S takes: who breaks first when pressed equally hard?
PRESSED_RATES = (6e-4, 2e-3)


@dataclass(frozen=True)
class Method:
    """One way to train.

    Attributes:
        name: As the tables have it.
        reward: What ranks or weighs candidates.
        objective: What is minimised.
        rates_of: Method whose learning rate it takes; its own name where it has a search.
        learning_rate: Its own, where none is searched for it.
        candidates: Where they come from: the policy's beams at every step, the reference's beams
            once, or people.
        beams: Candidates of an image.
        train_encoder: Whether projection and encoder learn too.
    """

    name: str
    reward: RewardName
    objective: Objective
    rates_of: str
    candidates: Literal["policy", "reference", "people"] = "policy"
    beams: int = BEAMS
    train_encoder: bool = False
    learning_rate: float | None = None


# The common checkpoint, measured without any update.
START = "start"


def method_of(name: str) -> Method:
    """The method of that name; the checkpoint itself is cross-entropy with no updates."""
    start = Method(START, "none", Xe(), START, candidates="people")
    return next(each for each in (start, *compared(), *pressed(), *ablated()) if each.name == name)


def compared() -> list[Method]:
    """The table's methods."""
    return [
        Method("XE", "none", Xe(), "XE", candidates="people"),
        Method("SCST (CIDEr)", "cider", BeamMeanScst(), "SCST (CIDEr)"),
        Method("SCST (CLIP-S)", "clip_s", BeamMeanScst(), "SCST (CLIP-S)"),
        Method("SCST (PAC-S)", "pac_s", BeamMeanScst(), "SCST (PAC-S)"),
        Method("DPO (PAC-S)", "pac_s", Dpo(BETA), "DPO (PAC-S)"),
        _dico(""),
    ]


def pressed() -> list[Method]:
    """The methods that learn from an evaluator alone, all at the same learning rates."""
    return [
        replace(method, name=pressed_name(method.name, rate), learning_rate=rate)
        for rate in PRESSED_RATES
        for method in compared()
        if method.reward in ("clip_s", "pac_s")
    ]


def pressed_name(method: str, rate: float) -> str:
    """Of a compared method at one of the equal rates."""
    return f"{method}, rate {rate:g}"


def ablated() -> list[Method]:
    """DiCO with one thing changed; each takes DiCO's learning rate."""
    return [
        _dico("beta 0.05", objective=Dico(0.05, TAU)),
        _dico("beta 1", objective=Dico(1.0, TAU)),
        _dico("tau 0: gamma uniform", objective=Dico(BETA, 0.0)),
        _dico("tau 30", objective=Dico(BETA, 30.0)),
        _dico("K 2", beams=2),
        _dico("K 3", beams=3),
        _dico("K 8", beams=8),
        _dico("decoder + encoder", train_encoder=True),
        _dico("fixed candidates", candidates="reference"),
    ]


def _dico(
    change: str,
    *,
    objective: Objective | None = None,
    candidates: Literal["policy", "reference"] = "policy",
    beams: int = BEAMS,
    train_encoder: bool = False,
) -> Method:
    return Method(
        f"DiCO, {change}" if change else "DiCO (PAC-S)",
        "pac_s",
        objective or Dico(BETA, TAU),
        "DiCO (PAC-S)",
        candidates,
        beams,
        train_encoder,
    )
