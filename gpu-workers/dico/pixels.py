"""Image bytes to pixel_values: the one definition, which the edge follows bit for bit.

Files come from outside: they are hostile until they are read, so size, pixels and formats have
limits, the same as the edge's.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

MEAN = STD = 0.5
MAX_IMAGE_BYTES = 10_000_000
MAX_PIXELS = 40_000_000
FORMATS = ("JPEG", "PNG", "WEBP")


class ImageError(ValueError):
    """The bytes are not an image within the limits."""


def load_pixels(image_bytes: bytes, side: int) -> np.ndarray:
    """Decodes one image: float32 [3, side, side].

    Raises:
        ImageError: Unreadable, of another format, or beyond the limits.
    """
    if len(image_bytes) > MAX_IMAGE_BYTES:
        raise ImageError("the file is too large")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(image_bytes), formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ImageError("the image has too many pixels")
                return np.ascontiguousarray(normalise(square_pixels(image, side)))
    except ImageError:
        raise
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError) as error:
        raise ImageError("the image cannot be read") from error


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
