"""One DiCO step: ours against the habits of the method's published code, at equal output.

    PYTHONPATH=gpu-workers python bench/dico_step.py                  # the built-in model's sizes
    PYTHONPATH=gpu-workers python bench/dico_step.py --sizes paper    # ViT-L/14, vocabulary 49,409

The other path keeps the autograd graph through the search, recomputes cross-attention keys and
values per token and beam, keeps its beams in Python lists, runs the frozen tower for the policy
and again for the reference, holds the reference as a second full model, pads reward texts to the
evaluator's context, scores every caption against every image and takes the log-softmax over the
whole vocabulary. Each row is a process of its own on the same weights; the candidates must be
equal and the losses to 1e-4, otherwise there is no table.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from dico.captioner import Captioner, KeyValue, pad_captions
from dico.evaluators.clip import PAC_S_WEIGHT
from dico.objective import dico_loss
from dico.scale.config import load_config
from dico.scale.models import Evaluator, make_evaluator
from dico.scale.step import DicoSettings, on_policy_sum
from dico.towers.vit import VisionTransformer, VitConfig
from torch import Tensor, nn

PATHS = ("ours", "ours-no-cache", "habits")
LABELS = {
    "ours": "ours, cached features",
    "ours-no-cache": "ours, tower run once a step",
    "habits": "the habits",
}


@dataclass
class Setting:
    """What all paths start from.

    `features` are the tower's, `image_embeddings` the evaluator's, both computed before the clock
    starts; the habits use neither. `second_tower` belongs to the habits' second model.
    """

    policy: Captioner
    reference: Captioner
    tower: nn.Module
    second_tower: nn.Module
    clip: Evaluator
    pixel_values: Tensor
    features: Tensor
    image_embeddings: Tensor
    settings: DicoSettings


Step = Callable[[Setting], tuple[list[list[list[int]]], Tensor]]


def built_in(options: argparse.Namespace, device: torch.device) -> Setting:
    """The version that ships, on pictures of noise: what is drawn does not change the cost."""
    from dico.base_version import BaseVersion

    base = BaseVersion.open(options.base, device)
    side = base.image_size
    return setting(base.captioner, base.tower, base.clip, side, options, device)


def paper(options: argparse.Namespace, device: torch.device) -> Setting:
    """arXiv:2408.14547's sizes, random weights; the reward's CLIP shares the captioner's tower."""
    config = load_config(Path(__file__).parent.parent / "gpu-workers/configs/paper-vit-l14.json")
    assert isinstance(config.tower, VitConfig)
    torch.manual_seed(0)
    tower = VisionTransformer(config.tower).to(device).eval().requires_grad_(False)
    captioner = Captioner(config.captioner).to(device).eval()
    clip = make_evaluator(config, tower, None).to(device).eval().requires_grad_(False)
    return setting(captioner, tower, clip, 224, options, device)


@torch.no_grad()
def setting(
    reference: Captioner,
    tower: nn.Module,
    clip: Evaluator,
    side: int,
    options: argparse.Namespace,
    device: torch.device,
) -> Setting:
    """The policy is the reference a little moved, so that loss and gradient are not trivial."""
    generator = torch.Generator().manual_seed(1)
    policy = copy.deepcopy(reference)
    for parameter in policy.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.add_(noise.to(device) * 0.02 * parameter.abs().mean())
    pixels = torch.randn(options.images, 3, side, side, generator=generator).to(device)
    features = tower(pixels)
    embeddings = clip.embed_images(features)
    settings = DicoSettings(max_new_tokens=options.tokens)
    reference.requires_grad_(False)
    policy.requires_grad_(True)
    second = copy.deepcopy(tower) if options.path == "habits" else nn.Identity()
    return Setting(policy, reference, tower, second, clip, pixels, features, embeddings, settings)


def ours(given: Setting) -> tuple[list[list[list[int]]], Tensor]:
    """The step of `dico.scale`, from cached features and evaluator embeddings."""

    def reward(labels: Tensor) -> Tensor:
        images = given.image_embeddings[..., None]  # [B, d, 1]
        texts = given.clip.embed_texts(labels).view(len(images), -1, images.shape[1])
        return PAC_S_WEIGHT * (texts @ images).squeeze(-1)

    part = on_policy_sum(given.policy, given.reference, given.features, reward, given.settings)
    found = [[list(candidate.tokens) for candidate in image] for image in part.candidates]
    return found, part.loss / len(given.features)


def ours_no_cache(given: Setting) -> tuple[list[list[list[int]]], Tensor]:
    """The same where every image is new: the tower runs once and serves everything."""
    with torch.no_grad():
        given.features = given.tower(given.pixel_values)
        given.image_embeddings = given.clip.embed_images(given.features)
    return ours(given)


def habits(given: Setting) -> tuple[list[list[list[int]]], Tensor]:
    """The same step as it is commonly written."""
    beams, policy, clip = given.settings.num_beams, given.policy, given.clip
    features = given.tower(given.pixel_values)
    hidden = policy.encode(features).repeat_interleave(beams, dim=0)  # [B * K, S, d]
    found, kept = search_with_graph(policy, hidden, given.settings)
    captions = [tokens for image in found for tokens in image]
    shape = (len(found), beams)
    logps = full_log_softmax(policy, hidden, captions).view(shape)
    with torch.no_grad():
        again = given.second_tower(given.pixel_values)
        second_hidden = given.reference.encode(again).repeat_interleave(beams, dim=0)
        reference_logps = full_log_softmax(given.reference, second_hidden, captions).view(shape)
        labels = pad_captions(captions, policy.config)[1]
        room = clip.config.max_tokens - labels.shape[1]
        padded = nn.functional.pad(labels, (0, room), value=policy.config.pad_id)
        images = clip.embed_images(features)
        similarity = images @ clip.embed_texts(padded.to(images.device)).T  # [B, B * K]
        rewards = torch.stack(
            [similarity[i, i * beams : (i + 1) * beams] for i in range(len(images))]
        )
    result = dico_loss(
        logps, reference_logps, PAC_S_WEIGHT * rewards,
        beta=given.settings.beta, tau=given.settings.tau,
    )  # fmt: skip
    del kept
    return found, result.loss


def search_with_graph(
    captioner: Captioner, hidden: Tensor, settings: DicoSettings
) -> tuple[list[list[list[int]]], list[Tensor]]:
    """Beam search by the rules of `dico.search`, in Python lists and with gradient.

    Returns:
        Tokens of each image's candidates, and what holds the graph until the step is over.
    """
    config, beams = captioner.config, settings.num_beams
    images, vocab = len(hidden) // beams, config.vocab_size
    last = torch.full((len(hidden), 1), config.bos_id, device=hidden.device)
    sums = hidden.new_full((images, beams), -math.inf)
    sums[:, 0] = 0.0
    past: list[KeyValue] | None = None
    live: list[list[list[int]]] = [[[] for _ in range(beams)] for _ in range(images)]
    finished: list[list[tuple[float, list[int]]]] = [[] for _ in range(images)]
    done = [False] * images
    kept: list[Tensor] = []
    for length in range(1, settings.max_new_tokens + 1):
        cross = captioner.cross_cache(hidden)  # anew for each token, and for each beam
        states, past = captioner.decode_states(last, cross, past)
        logps = captioner.logits(states[:, -1]).log_softmax(dim=-1)
        scores = (sums[..., None] + logps.view(images, beams, vocab)).flatten(1)
        top_scores, top = scores.topk(2 * beams, dim=1)
        kept += [logps, top_scores]
        rows: list[int] = []
        tokens: list[int] = []
        columns: list[list[int]] = []
        for image in range(images):
            grown: list[list[int]] = []
            columns.append([])
            for rank in range(2 * beams):
                beam, token = divmod(int(top[image, rank]), vocab)
                if token == config.eos_id:
                    if rank < beams and not done[image]:
                        score = float(top_scores[image, rank].detach()) / length
                        finished[image].append((score, live[image][beam]))
                elif len(grown) < beams:
                    grown.append([*live[image][beam], token])
                    rows.append(image * beams + beam)
                    tokens.append(token)
                    columns[image].append(rank)
            live[image] = grown
            finished[image] = sorted(finished[image], key=lambda each: -each[0])[:beams]
            best = float(top_scores[image, columns[image][0]].detach()) / length
            full = len(finished[image]) == beams
            done[image] = done[image] or (full and finished[image][-1][0] >= best)
        sums = top_scores.gather(1, torch.tensor(columns, device=hidden.device))
        index = torch.tensor(rows, device=hidden.device)
        past = [(key[index], value[index]) for key, value in past]
        last = torch.tensor(tokens, device=hidden.device)[:, None]
        if all(done):
            break
    found = [
        ([tokens for _, tokens in ended] + running)[:beams]
        for ended, running in zip(finished, live, strict=True)
    ]
    return found, kept


def full_log_softmax(captioner: Captioner, hidden: Tensor, captions: list[list[int]]) -> Tensor:
    """Summed log-probabilities [N] through the whole distribution, [N, T, V]."""
    input_ids, labels = (x.to(hidden.device) for x in pad_captions(captions, captioner.config))
    states, _ = captioner.decode_states(input_ids, captioner.cross_cache(hidden))
    logps = captioner.logits(states).log_softmax(dim=-1)
    picked = logps.gather(-1, labels[..., None]).squeeze(-1)
    return picked.masked_fill(labels == captioner.config.pad_id, 0.0).sum(dim=1)


STEPS: dict[str, Step] = {"ours": ours, "ours-no-cache": ours_no_cache, "habits": habits}


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Runs one path in this process."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    forget_peak(device)
    empty = peak_bytes(device)  # the libraries' own
    given = (built_in if options.sizes == "built-in" else paper)(options, device)
    if options.path == "ours":  # training from cached features needs no tower in memory
        given.tower = nn.Identity()
    forget_peak(device)
    optimiser = torch.optim.Adam(given.policy.parameters(), lr=1e-6, fused=True)
    seconds: list[float] = []
    cpu_seconds: list[float] = []
    first: dict[str, object] = {}
    with profiled(options):
        for _ in range(options.repeats):
            started, cpu_started = now(device), time.process_time()
            found, loss = STEPS[options.path](given)
            optimiser.zero_grad()
            loss.backward()
            if not first:
                gradients = [p.grad.norm() for p in given.policy.parameters() if p.grad is not None]
                norm = float(torch.stack(gradients).norm())
                first = {"candidates": found, "loss": float(loss.detach()), "gradient": norm}
            optimiser.step()
            seconds.append(now(device) - started)
            cpu_seconds.append(time.process_time() - cpu_started)
    return first | {
        "seconds": statistics.median(seconds),
        "cpu_seconds": statistics.median(cpu_seconds),
        "peak_bytes": peak_bytes(device) - empty,
        "clock": "seconds" if device.type == "cuda" else "cpu_seconds",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else cpu_name(),
    }


def now(device: torch.device) -> float:
    """Seconds, after everything that was started on the device has ended."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def forget_peak(device: torch.device) -> None:
    """Starts the peak of memory anew, so that making the weights does not count."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int:
    """The most memory held since: allocated by PyTorch on CUDA, resident in RAM on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text()
    return next(
        int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")
    )


def cpu_name() -> str:
    """The processor, as the kernel calls it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((x.split(": ")[1] for x in lines if x.startswith("model name")), "CPU")


@contextmanager
def profiled(options: argparse.Namespace) -> Iterator[None]:
    """With --profile, prints where the time of the steps inside went, on stderr."""
    if not options.profile:
        yield
        return
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        yield
    table = profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=25)
    print(table, file=sys.stderr)


def main() -> None:
    """Runs every path in a process of its own, compares their output, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", choices=["built-in", "paper"], default="built-in")
    parser.add_argument("--base", type=Path, default=Path("models/scenes-base"))
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=29, help="at most, EOS included (29)")
    parser.add_argument("--repeats", type=int, default=3, help="steps; the median counts (3)")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--path", choices=PATHS, help="run this one only and print its JSON")
    options = parser.parse_args()
    if options.path:
        print(json.dumps(measure(options)))
        return
    arguments = [
        *("--sizes", options.sizes, "--base", str(options.base), "--images", str(options.images)),
        *("--tokens", str(options.tokens), "--repeats", str(options.repeats)),
        *(["--profile"] if options.profile else []),
    ]
    results = {}
    for path in PATHS:
        print(f"{path} ...", file=sys.stderr)
        command = [sys.executable, __file__, *arguments, "--path", path]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results[path] = json.loads(done.stdout)
    report(results, options)


def report(results: dict[str, dict[str, Any]], options: argparse.Namespace) -> None:
    """Prints the comparison, then the table; ends with status 1 where the outputs differ."""
    first, other = results["ours"], results["habits"]
    count = sum(len(image) for image in first["candidates"])
    lengths = [len(tokens) for image in first["candidates"] for tokens in image]
    same = all(result["candidates"] == first["candidates"] for result in results.values())
    difference = max(abs(result["loss"] - first["loss"]) for result in results.values())
    print(
        f"{options.sizes} sizes, {options.images} images x {count // options.images} beams, "
        f"candidates of {statistics.mean(lengths):.1f} tokens, one thread, {first['device']}\n"
        f"candidates equal: {same} ({count}); loss {first['loss']:.6f} and {other['loss']:.6f}, "
        f"gradient norm {first['gradient']:.5f} and {other['gradient']:.5f}\n"
    )
    if not same or difference > 1e-4:
        sys.exit("the outputs differ: no table")
    # On a CPU that other programs use too, only CPU seconds compare.
    clock = first["clock"]
    print("| one DiCO step | seconds | CPU seconds | times faster | peak memory | times less |")
    print("|---|---|---|---|---|---|")
    for path, result in results.items():
        cells = (
            LABELS[path],
            f"{result['seconds']:.2f}",
            f"{result['cpu_seconds']:.2f}",
            f"{other[clock] / result[clock]:.1f}",
            f"{result['peak_bytes'] / 2**30:.2f} GiB",
            f"{other['peak_bytes'] / result['peak_bytes']:.1f}",
        )
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
