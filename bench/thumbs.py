"""What thumbs teach: approval and facts before and after DiCO, by taste and seed, without HTTP.

    PYTHONPATH=gpu-workers python bench/thumbs.py --base models/scenes-base --taste brief --seeds 3

A simulated viewer rates the base's captions of fresh scenes; a share of the thumbs is wrong. The
job is the one that the service runs; only the edge is left out. `--tastes-only` prints how often
the base already pleases each taste, and how often its best of 24 candidates does (the oracle).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

import torch
from dico.base_version import BaseVersion
from dico.captioner import Captioner
from dico.job import Progress, train
from dico.pixels import load_pixels
from dico.pretraining.tower import HELD_OUT_SEED
from dico.search import beam_search, sample
from scenes.checker import Shares, check, shares
from scenes.composer import draw_scene
from scenes.sampler import sample_scene
from scenes.scene import Scene
from scenes.tastes import TASTES, Taste, approves

Pictures = list[tuple[Scene, bytes, torch.Tensor]]


def pictures(base: BaseVersion, first: int, count: int) -> Pictures:
    """Scenes, their JPEG files and tower features [1, S, F]."""
    found: Pictures = []
    for number in range(first, first + count):
        scene = sample_scene(HELD_OUT_SEED + 2_000_000 + number)
        file = io.BytesIO()
        draw_scene(scene, size=256).save(file, "JPEG", quality=90)
        pixels = torch.from_numpy(load_pixels(file.getvalue(), base.image_size))
        found.append((scene, file.getvalue(), base.tower(pixels[None])))
    return found


@torch.no_grad()
def captions(base: BaseVersion, captioner: Captioner, seen: Pictures) -> list[str]:
    """The best caption of each picture."""
    return [
        base.tokenizer.decode(beam_search(captioner, captioner.encode(features))[0][0].tokens)
        for _, _, features in seen
    ]


def approval(taste: Taste, said: list[str], seen: Pictures) -> float:
    """Share of the captions that please."""
    return statistics.mean(
        approves(taste, caption, scene) for caption, (scene, _, _) in zip(said, seen, strict=True)
    )


@torch.no_grad()
def oracle(base: BaseVersion, taste: Taste, seen: Pictures) -> float:
    """Share of the pictures for which one of 24 candidates pleases."""
    generator = torch.Generator().manual_seed(1)
    pleased = 0
    for scene, _, features in seen:
        hidden = base.captioner.encode(features)
        found = beam_search(base.captioner, hidden, num_beams=8)[0]
        found += sample(base.captioner, hidden, samples=16, generator=generator)[0]
        texts = {base.tokenizer.decode(candidate.tokens) for candidate in found}
        pleased += any(approves(taste, text, scene) for text in texts)
    return pleased / len(seen)


def run_job(
    base: BaseVersion, taste: Taste, rated: Pictures, said: list[str], noise: float, seed: int
) -> tuple[Captioner, dict[str, object]]:
    """Thumbs on the given captions, then the service's own training."""
    viewer = random.Random(seed)
    examples = []
    for caption, (scene, file, _) in zip(said, rated, strict=True):
        up = approves(taste, caption, scene) != (viewer.random() < noise)
        digest = hashlib.sha256(file).hexdigest()
        split = "held_out" if int(digest[:8], 16) % 5 == 0 else "train"
        rating = {"caption": caption, "rating": "up" if up else "down", "correction": None}
        examples.append({"image": {"sha256": digest}, "split": split, "ratings": [rating]})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        for _, file, _ in rated:
            (folder / "images" / hashlib.sha256(file).hexdigest()).write_bytes(file)
        (folder / "dataset.json").write_text(json.dumps({"examples": examples}))
        job = {"seed": seed, "method": {"type": "dico", "dico": {"hyperparameters": {}}}}
        (folder / "job.json").write_text(json.dumps(job))
        trained = train(folder, base, Progress(folder / "progress.jsonl"))
    return trained.policy, trained.evaluation


def judged(said: list[str], seen: Pictures) -> Shares:
    """The checker's shares of captions."""
    checks = [check(c, scene) for c, (scene, _, _) in zip(said, seen, strict=True)]
    return shares(checks, [scene for scene, _, _ in seen])


def main() -> None:
    """Prints one row for each taste and seed, then means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, default=Path("models/scenes-base"))
    parser.add_argument("--taste", action="append", choices=sorted(TASTES))
    parser.add_argument("--thumbs", type=int, default=200)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--held-out", type=int, default=300)
    parser.add_argument("--tastes-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(True)
    base = BaseVersion.open(options.base, torch.device("cpu"))
    fresh = pictures(base, 1_000_000, options.held_out)
    before = captions(base, base.captioner, fresh)
    if options.tastes_only:
        for name in sorted(TASTES):
            taste = TASTES[name]
            rate = approval(taste, before, fresh)
            print(f"{name:16} base {rate:.3f}  oracle {oracle(base, taste, fresh[:100]):.2f}")
        return
    print("taste            seed  approval      facts wrong   grammatical   left out     seconds")
    for name in options.taste or ["brief", "preface-brief"]:
        taste, gains = TASTES[name], []
        for seed in range(1, options.seeds + 1):
            rated = pictures(base, seed * 10_000, options.thumbs)
            started = time.monotonic()
            policy, evaluation = run_job(
                base, taste, rated, captions(base, base.captioner, rated), options.noise, seed
            )
            seconds = time.monotonic() - started
            after = captions(base, policy, fresh)
            figures = judged(before, fresh), judged(after, fresh)
            rates = approval(taste, before, fresh), approval(taste, after, fresh)
            gains.append(rates[1] - rates[0])
            cells = [rates] + [
                (getattr(figures[0], field), getattr(figures[1], field))
                for field in ("facts_wrong", "grammatical", "kinds_left_out")
            ]
            row = "  ".join(f"{a:.3f} > {b:.3f}" for a, b in cells)
            print(f"{name:16} {seed:4}  {row}  {seconds:5.0f}", flush=True)
            if seed == 1:
                print(json.dumps(evaluation), *(f"  {t}" for t in after[:6]), sep="\n")
        spread = statistics.stdev(gains) if len(gains) > 1 else 0.0
        print(f"{name:16} mean  +{statistics.mean(gains):.3f} (sd {spread:.3f})", flush=True)


if __name__ == "__main__":
    main()
