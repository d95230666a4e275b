"""Copies the tiny test version into a folder and adds an evaluator that knows nothing.

PYTHONPATH=gpu-workers python tests/loop/make-base.py FOLDER
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch
from dico.evaluators.clip import Clip, ClipConfig
from dico.evaluators.storage import save_evaluators

folder = Path(sys.argv[1])
shutil.copytree(Path(__file__).parents[1] / "fixtures" / "tiny-version", folder)
captioner = json.loads((folder / "training/config.json").read_text())["captioner"]
sizes = ("feature_width", "feature_tokens", "vocab_size", "max_tokens")
torch.manual_seed(0)
clip = Clip(ClipConfig(**{name: captioner[name] for name in sizes}, width=16, heads=2, ffn=16))
save_evaluators(folder / "training/evaluators.safetensors", clip, clip)
