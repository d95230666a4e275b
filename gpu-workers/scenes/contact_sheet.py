"""One image with many pictures and their captions, for a person to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

_BACKGROUND: Colour = (250, 249, 246)
_INK: Colour = (34, 34, 34)
_FAINT: Colour = (130, 130, 130)
_MARGIN = 14


@dataclass(frozen=True)
class Cell:
    """A picture, the line above its captions, and the captions."""

    picture: Image.Image
    heading: str
    captions: Sequence[str]


def contact_sheet(cells: Sequence[Cell], *, columns: int = 4, width: int = 256) -> Image.Image:
    """Lays the cells out in rows, each as high as its longest captions need.

    Args:
        cells: What to show, at least one.
        columns: Pictures side by side.
        width: Width of a picture on the sheet, in pixels.
    """
    columns = min(columns, len(cells))
    text_size = max(12, width // 18)
    font = ImageFont.load_default(size=text_size)
    line_height = math.ceil(text_size * 1.3)
    texts = [_lines(cell, font, width) for cell in cells]
    rows = [range(at, min(at + columns, len(cells))) for at in range(0, len(cells), columns)]
    heights = [width + line_height * max(len(texts[index]) for index in row) for row in rows]

    sheet_width = _MARGIN + columns * (width + _MARGIN)
    sheet_height = _MARGIN + sum(height + 2 * _MARGIN for height in heights)
    sheet = Image.new("RGB", (sheet_width, sheet_height), _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    top = _MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, index in enumerate(row):
            left = _MARGIN + column * (width + _MARGIN)
            picture = cells[index].picture.convert("RGB").resize((width, width))
            sheet.paste(picture, (left, top))
            for number, (line, ink) in enumerate(texts[index]):
                y = top + width + 4 + number * line_height
                pen.text((left, y), line, font=font, fill=ink)
        top += height + 2 * _MARGIN
    return sheet


def _lines(
    cell: Cell, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> list[tuple[str, Colour]]:
    lines: list[tuple[str, Colour]] = [(cell.heading, _FAINT)]
    for caption in cell.captions:
        line = ""
        for word in caption.split():
            longer = f"{line} {word}" if line else word
            if line and font.getlength(longer) > width:
                lines.append((line, _INK))
                # Continued lines stand in, so that captions can be told apart.
                longer = f"   {word}"
            line = longer
        lines.append((line, _INK))
    return lines
