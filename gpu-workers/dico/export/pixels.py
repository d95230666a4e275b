"""Image bytes to pixel_values: the definition that the edge follows bit for bit."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

MEAN = STD = 0.5


def square_pixels(image: Image.Image, side: int) -> np.ndarray:
    """Turns, composites on white, resizes the shorter side (bicubic), cuts out the centre.

    Returns:
        uint8 [side, side, 3], RGB.
    """
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    width, height = image.size
    shorter = min(width, height)
    size = (side * width // shorter, side * height // shorter)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    resized = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, top, left + side, top + side)))


def normalise(rgb: np.ndarray) -> np.ndarray:
    """uint8 [..., H, W, 3] -> float32 [..., 3, H, W] in [-1, 1], each step in float32."""
    scaled = rgb.astype(np.float32) * np.float32(1 / 255)
    return np.moveaxis((scaled - np.float32(MEAN)) / np.float32(STD), -1, -3)


def pixel_values_of(image_bytes: bytes, side: int) -> np.ndarray:
    """Decodes one image: float32 [1, 3, side, side].

    Raises:
        PIL.UnidentifiedImageError: The bytes are no image.
    """
    with Image.open(io.BytesIO(image_bytes)) as image:
        return np.ascontiguousarray(normalise(square_pixels(image, side))[None])
