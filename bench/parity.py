"""Captions of 64 drawings by PyTorch and by onnxruntime, for `bench/parity.ts` to compare with.

    python bench/parity.py --version models/scenes-base --out DIR

Writes PNG files, because JPEG decoders differ by a level, and expected.json with their tokens.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from dico.export.parity import OnnxCaptioner
from dico.export.training_state import load_training_state
from dico.pixels import load_pixels
from dico.pretraining.tower import HELD_OUT_SEED
from dico.search import beam_search
from scenes.composer import draw_scene
from scenes.sampler import sample_scene


def main() -> None:
    """Writes the pictures and every runtime's tokens, EOS left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", type=Path, default=Path("models/scenes-base"))
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    runtimes = {
        "onnx_fp32": OnnxCaptioner(options.version),
        "onnx_int8": OnnxCaptioner(options.version, quantized=True),
    }
    trained = (options.version / "training/model.safetensors").exists()
    tower, captioner = load_training_state(options.version) if trained else (None, None)
    expected = []
    for number in range(options.count):
        file = options.out / f"{number:03}.png"
        draw_scene(sample_scene(HELD_OUT_SEED + 700_000 + number), size=200).save(file)
        pixels = load_pixels(file.read_bytes(), 128)[None]
        tokens = {name: runtime.caption(pixels)[0][0].tokens for name, runtime in runtimes.items()}
        if tower is not None and captioner is not None:
            with torch.no_grad():
                states = captioner.encode(tower(torch.from_numpy(pixels)))
            tokens["pytorch"] = beam_search(captioner, states)[0][0].tokens
        expected.append({"file": file.name, "tokens": tokens})
    (options.out / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main()
