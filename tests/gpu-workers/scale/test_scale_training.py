"""One configuration, one series of losses: however it is cut, spread, stopped and read."""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from dico.captioner import Captioner, CaptionerConfig
from dico.evaluators.public_clip import PublicClip
from dico.evaluators.public_storage import save_public_clip
from dico.scale.config import SharedClip, parse_config
from dico.scale.step import DicoSettings, count_targets, cross_entropy_sum, on_policy_sum
from dico.scale.training import learning_rate
from dico.towers.vit import VisionTransformer, VitConfig
from dico.train_cli import add_training_commands
from safetensors.torch import load_file, save_file
from scale_examples import PUBLIC, config, make_shards, write_tokenizer
from torch import Tensor

PACKAGE = Path(__file__).parents[3] / "gpu-workers"
SIZES = CaptionerConfig(feature_width=6, feature_tokens=4, width=8, heads=2, encoder_ffn=8,
                        decoder_ffn=8, vocab_size=17, max_tokens=9)  # fmt: skip


def status(arguments: list[str]) -> int:
    """Runs one command in this process."""
    parser = argparse.ArgumentParser()
    add_training_commands(parser.add_subparsers(required=True))
    parsed = parser.parse_args(arguments)
    return parsed.run(parsed)


class Training:
    """Runs `python -m dico train` on tiny shards; everything but the changes stays the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = make_shards(folder / "training", count=22, shards=4)
        self.validation = make_shards(folder / "validation", count=6, shards=2, first=500)
        self.tokenizer = write_tokenizer(folder / "tokenizer.json")

    def run(self, name: str, *options: str, **changes: Any) -> Path:
        """Trains in this process; returns the folder."""
        assert status(self.arguments(name, *options, **changes)) == 0
        return self.folder / name

    def arguments(self, name: str, *options: str, **changes: Any) -> list[str]:
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(config(**changes)))
        paths = {
            "--config": path, "--data": self.data, "--validation": self.validation,
            "--out": self.folder / name, "--tokenizer": self.tokenizer,
        }  # fmt: skip
        return ["train", *(str(part) for pair in paths.items() for part in pair), *options]


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    return Training(tmp_path_factory.mktemp("scale"))


@pytest.fixture(scope="module")
def whole(training: Training) -> Path:
    """Both stages, one process, one forward pass for each batch, never stopped."""
    return training.run("whole", "--steps", "7")


def log(folder: Path, stage: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / stage / "log.jsonl").read_text().splitlines()]


def series(folder: Path, stage: str, name: str = "loss") -> list[float]:
    return [line[name] for line in log(folder, stage)]


def assert_same_training(first: Path, second: Path) -> None:
    for stage in ("xe", "dico"):
        assert series(first, stage) == pytest.approx(series(second, stage), abs=1e-5)


def test_cross_entropy_learns_and_dico_starts_from_its_best(whole: Path) -> None:
    losses = series(whole, "xe")
    assert len(losses) == 7
    assert losses[-1] < losses[0] - 0.3
    first = log(whole, "dico")[0]
    assert first["loss"] == pytest.approx(0.6931472, abs=1e-6)
    assert first["margin"] == 0  # exactly: nothing drops out, policy and reference are equal
    assert first["kl"] == 0
    assert any(value != 0 for value in series(whole, "dico", "margin")[1:])


def test_a_batch_in_one_pass_and_in_eight_is_one_batch(training: Training, whole: Path) -> None:
    parts = {"xe": {"micro_batch": 1}, "dico": {"micro_batch": 1}}
    assert_same_training(training.run("cut", "--steps", "7", **parts), whole)


def two_processes(*arguments: str) -> list[str]:
    """Runs Python twice, as torchrun would; returns what each printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PACKAGE),
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, *arguments],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    printed = []
    for process in processes:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        printed.append(output)
    return printed


# The optimizer is what made PyTorch keep the group, and its threads, to the interpreter's end.
LEAVES_THE_GROUP = """
import weakref, torch, torch.distributed as dist
from dico.scale.devices import Devices
devices = Devices()
torch.optim.Adam([torch.zeros(1, requires_grad=True)])
print(devices.gather(devices.rank), devices.sum_numbers({"n": 1}))
group = weakref.ref(dist.group.WORLD)
devices.close()
print(group())
"""


def test_no_process_keeps_a_group_it_has_left() -> None:
    assert two_processes("-c", LEAVES_THE_GROUP) == ["[0, 1] {'n': 2.0}\nNone\n"] * 2


def test_two_processes_train_what_one_does(training: Training, whole: Path) -> None:
    parts = {"xe": {"micro_batch": 4}, "dico": {"micro_batch": 2}}
    two_processes("-m", "dico", *training.arguments("two", "--steps", "7", **parts))
    two = training.folder / "two"
    assert_same_training(two, whole)
    for name in ("validation_cider", "validation_ref_pac_s"):
        scores = [line[name] for line in log(two, "dico") if name in line]
        assert scores == pytest.approx(
            [line[name] for line in log(whole, "dico") if name in line], abs=1e-4
        )
        assert scores


def test_a_stopped_training_goes_on_bit_for_bit(training: Training, whole: Path) -> None:
    for stage, after in (("xe", 3), ("dico", 5)):
        stopped = training.run("stopped", "--stage", stage, "--steps", str(after))
        checkpoint = torch.load(stopped / stage / "checkpoint.pt", weights_only=True)
        assert checkpoint["step"] == after
        training.run("stopped", "--stage", stage, "--steps", "7", "--resume")
        assert series(stopped, stage) == series(whole, stage)
        ends = [
            torch.load(folder / stage / "checkpoint.pt", weights_only=True)
            for folder in (stopped, whole)
        ]
        assert ends[0]["positions"] == ends[1]["positions"]
        for name, weight in ends[0]["policy"].items():
            assert torch.equal(weight, ends[1]["policy"][name]), name


def test_reading_processes_and_a_full_feature_cache_change_nothing(
    training: Training, whole: Path
) -> None:
    cached = training.run(
        "cached", "--steps", "7", "--workers", "2", "--features", str(whole / "features")
    )
    for stage in ("xe", "dico"):
        assert series(cached, stage) == series(whole, stage)
    assert not (cached / "features").exists()


def test_the_best_captioner_is_the_one_that_validated_best(whole: Path) -> None:
    lines = [line for line in log(whole, "xe") if "validation_cider" in line]
    assert [line["step"] for line in lines] == [2, 5, 6]
    saved = torch.load(whole / "xe" / "checkpoint.pt", weights_only=True)
    assert saved["best"] == max(line["validation_cider"] for line in lines)
    best = load_file(whole / "xe" / "best.safetensors")
    assert {name.removeprefix("captioner.") for name in best} == set(saved["policy"])


def test_the_papers_kinds_of_parts_train_and_a_stored_clip_gives_the_rewards(
    training: Training, tmp_path: Path
) -> None:
    sizes = parse_config(config(**PUBLIC))
    assert isinstance(sizes.evaluator, SharedClip)
    assert isinstance(sizes.tower, VitConfig)
    torch.manual_seed(5)
    tower = VisionTransformer(sizes.tower)
    save_file({f"tower.{k}": v for k, v in tower.state_dict().items()}, tmp_path / "tower")
    clip = PublicClip(sizes.evaluator.whole(sizes.tower))
    save_public_clip(tmp_path / "clip", clip, with_vision=False)
    files = "--weights", str(tmp_path / "tower"), "--evaluators", str(tmp_path / "clip")
    random = training.run("random-clip", "--steps", "2", **PUBLIC)
    stored = training.run("stored-clip", "--steps", "2", *files, **PUBLIC)
    for folder in (random, stored):
        assert log(folder, "dico")[0]["margin"] == 0
    assert series(random, "dico", "reward") != series(stored, "dico", "reward")


def test_a_checkpoint_of_another_training_is_refused(
    training: Training, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = training.arguments(
        "other", "--stage", "xe", "--steps", "8", "--resume", xe={"batch": 4, "micro_batch": 4}
    )
    arguments[arguments.index("--out") + 1] = str(whole)
    assert status(arguments) == 2
    assert "has another batch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--stage", "dico"], "DiCO starts from a captioner"),
        (["--data", "/nowhere"], "has no .tar shards"),
        (["--weights", "/nowhere"], "no readable safetensors"),
        (["--evaluators", "/nowhere"], "holds no evaluators"),
        (["--tokenizer", "/nowhere"], "no tokenizer.json"),
        (["--config", "/nowhere"], "cannot be read"),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_status_two(
    training: Training, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    assert status(training.arguments("wrong", *options)) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert "Traceback" not in told


def test_the_rate_warms_up_and_then_stays() -> None:
    recipe = parse_config(config()).xe  # 40 steps, of which 2 warm up
    assert [learning_rate(recipe, step) for step in (0, 1, 2, 39)] == [0.005, 0.01, 0.01, 0.01]
    constant = parse_config(config()).dico
    assert learning_rate(constant, 0) == constant.learning_rate


def test_each_decoder_input_predicts_the_next_word_and_padding_counts_nowhere() -> None:
    """A captioner that answers with its input's successor pays nothing only if labels are shifted
    by one, and a longer neighbour in the batch, which brings padding, changes no caption's cost.
    """
    torch.manual_seed(0)
    captioner, features = Captioner(SIZES), torch.randn(2, 4, 6)
    short = cross_entropy_sum(captioner, features[:1], [[5, 6]])
    padded = cross_entropy_sum(captioner, features, [[5, 6], [7, 8, 9, 10, 11]])
    other = cross_entropy_sum(captioner, features[1:], [[7, 8, 9, 10, 11]])
    torch.testing.assert_close(padded, short + other)
    logits = captioner(features[:1], torch.tensor([[0, 5, 6]]))[0]
    by_hand = -sum(logits[i].log_softmax(-1)[word] for i, word in enumerate((5, 6, 1)))
    torch.testing.assert_close(short, by_hand)
    assert count_targets([[5, 6], [7, 8, 9, 10, 11]]) == 3 + 6


def test_a_caption_that_was_cut_off_is_scored_with_an_end() -> None:
    """One token at most: no candidate can be finished, so each gets its EOS before scoring."""
    torch.manual_seed(0)
    policy = Captioner(SIZES)
    reference = Captioner(SIZES)
    seen: list[Tensor] = []

    def reward(labels: Tensor) -> Tensor:
        seen.append(labels)
        return torch.arange(3.0).expand(2, 3)

    settings = DicoSettings(num_beams=3, max_new_tokens=1, tau=1)
    part = on_policy_sum(policy, reference, torch.randn(2, 4, 6), reward, settings)
    unfinished = [c for image in part.candidates for c in image if not c.finished]
    assert unfinished
    assert part.figures["unfinished"] == pytest.approx(len(unfinished) / 3)
    assert (seen[0] == SIZES.eos_id).sum(dim=1).tolist() == [1] * 6
