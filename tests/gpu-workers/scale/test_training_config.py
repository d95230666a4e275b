"""A configuration says every size, nothing that nobody reads, and fits together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dico.captioner import Captioner
from dico.scale.config import ConfigError, load_config, parse_config
from dico.towers.vit import VitConfig
from scale_examples import PUBLIC, config

PAPER = Path(__file__).parents[3] / "gpu-workers" / "configs" / "paper-vit-l14.json"


def test_the_papers_configuration_has_the_papers_numbers() -> None:
    paper = load_config(PAPER)
    assert isinstance(paper.tower, VitConfig)
    assert (paper.tower.feature_tokens, paper.tower.feature_width) == (257, 1024)
    assert (paper.xe.batch, paper.xe.micro_batch, paper.xe.learning_rate) == (1024, 64, 2.5e-4)
    assert (paper.dico.batch, paper.dico.micro_batch, paper.dico.learning_rate) == (16, 8, 1e-6)
    assert (paper.xe.max_steps, paper.dico.max_steps) == (10_000, 250_000)
    assert (paper.adam.beta1, paper.adam.beta2, paper.adam.weight_decay) == (0.9, 0.999, 0)
    assert (paper.objective.beta, paper.objective.tau) == (0.2, 300)
    assert (paper.objective.num_beams, paper.objective.max_new_tokens) == (5, 29)


def test_the_papers_captioner_has_the_papers_parameters() -> None:
    """48,680,960, less the encoder's 255 positions that no image reaches and two token types."""
    captioner = Captioner(load_config(PAPER).captioner)
    count = sum(parameter.numel() for parameter in captioner.parameters())
    assert count == 48_680_960 - (255 + 2) * 512


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sede": 1}, "unknown field 'sede'"),
        ({"xe": {"momentum": 0.9}}, "xe has an unknown field 'momentum'"),
        ({"seed": "1"}, "seed is not of type int"),
        ({"seed": True}, "seed is not of type int"),
        ({"precision": "fp16"}, "precision is one of fp32, bf16"),
        ({"tower": {"type": "mlp"}}, "type is one of vit, conv"),
        ({"tower": {"widths": [4, 4, 6]}}, "widths is a list of 4 numbers"),
        ({"tower": 3}, "type is one of vit, conv"),
        ({"captioner": {"feature_tokens": 5}}, "captioner.feature_tokens"),
        ({"captioner": {"heads": 3}}, "captioner.heads has to divide"),
        ({"evaluator": {"eos_id": 7}}, "differ in eos_id"),
        ({"evaluator": PUBLIC["evaluator"]}, "needs a vit tower with class_token"),
        ({**PUBLIC, "captioner": {"feature_tokens": 5, "vocab_size": 302}}, "vocab_size"),
        ({"evaluator": {"type": "clip"}}, "type is one of public-clip, scenes-clip"),
        ({"evaluator": {"max_tokens": 6}}, "evaluator.max_tokens is too small"),
        ({"xe": {"micro_batch": 3}}, "xe: micro_batch has to divide batch"),
        ({"dico": {"learning_rate": 0}}, "dico: learning_rate is positive"),
        ({"dico": {"learning_rate": float("inf")}}, "learning_rate is not of type float"),
        ({"adam": {"beta2": 1.0}}, "adam: beta1 and beta2"),
        ({"objective": {"num_beams": 1}}, "num_beams is at least 2"),
        ({"objective": []}, "objective is not an object"),
        ({"lanes": 0}, "lanes is at least 1"),
    ],
)
def test_an_odd_value_is_refused_with_one_sentence(changes: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as refused:
        parse_config(config(**changes))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("section", ["captioner", "xe", "objective", "tower"])
def test_a_size_that_is_left_out_is_refused(section: str) -> None:
    values = config()
    name = next(name for name in values[section] if name != "type")
    del values[section][name]
    with pytest.raises(ConfigError, match=f"lacks the field '{name}'"):
        parse_config(values)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"seed": NaN}', b"[" * 100_000])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.json"):
        load_config(tmp_path / "c.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.json")
