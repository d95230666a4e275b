"""Small random models for the tests of the export."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import torch
from dico.captioner import Captioner, CaptionerConfig, pad_captions, token_logps
from dico.tokenizer import Tokenizer
from dico.tower import Tower, TowerConfig
from PIL import Image

TOWER = TowerConfig(image_size=32, widths=(4, 8, 8, 12), num_kinds=7)
TOKENIZER = Tokenizer.train(["a cat and a dog on the sea", "two red birds"], vocab_size=290)
CONFIG = CaptionerConfig(
    feature_width=TOWER.feature_width,
    feature_tokens=TOWER.cells**2,
    width=24,
    heads=3,
    encoder_layers=2,
    encoder_ffn=32,
    decoder_layers=2,
    decoder_ffn=40,
    vocab_size=TOKENIZER.vocab_size,
)


def random_tower(seed: int = 0) -> Tower:
    """Not folded; its normalisations have seen something."""
    torch.manual_seed(seed)
    tower = Tower(TOWER)
    with torch.no_grad():
        for _ in range(5):
            tower(torch.randn(4, 3, 32, 32))
    return tower.eval()


def random_captioner(seed: int = 0, vocab_size: int = CONFIG.vocab_size) -> Captioner:
    """Peaked enough that captions differ between images."""
    torch.manual_seed(seed)
    captioner = Captioner(replace(CONFIG, vocab_size=vocab_size)).eval()
    with torch.no_grad():
        captioner.ln_f.weight.normal_()  # or the tied embedding would repeat its own input
        captioner.projection.weight.mul_(4)
        captioner.token_embedding.weight.mul_(15)
        captioner.decoder_positions.mul_(40)
        for name, weight in captioner.named_parameters():
            if name.endswith(("cross_output.weight", "attention_output.weight")):
                weight.mul_(5)
    return captioner


def taught_captioner(seed: int, tower: Tower, pixels: torch.Tensor) -> Captioner:
    """Half knows a random caption of each image, so that candidates end at many lengths."""
    captioner = random_captioner(seed, vocab_size=23)
    generator = np.random.default_rng(seed)
    captions = [
        generator.integers(3, 23, n).tolist() for n in generator.integers(0, 12, len(pixels))
    ]
    input_ids, labels = pad_captions(captions, captioner.config)
    with torch.no_grad():
        features = tower(pixels)
    optimiser = torch.optim.Adam(captioner.parameters(), lr=1e-2)
    for _ in range(80):
        loss = -token_logps(captioner(features, input_ids), labels, CONFIG.pad_id).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return captioner


def images(count: int, seed: int = 0) -> torch.Tensor:
    """Noise, each image in colours of its own."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 3, 32, 32, generator=generator)
    return 0.3 * noise + torch.randn(count, 3, 4, 4, generator=generator).repeat(1, 1, 8, 8)


def png(seed: int) -> bytes:
    rgb = np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    stored = io.BytesIO()
    Image.fromarray(rgb).save(stored, "PNG")
    return stored.getvalue()
