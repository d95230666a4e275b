"""A small brush: shapes in shares of the picture, lit by the time of day."""

from __future__ import annotations

import math
import random
from functools import lru_cache

from PIL import Image, ImageDraw

from scenes.scene import Time, Weather

Colour = tuple[int, int, int]
Point = tuple[float, float]

_LIGHT: dict[Time, tuple[float, float, float]] = {
    "day": (1.0, 1.0, 1.0),
    "night": (0.40, 0.44, 0.66),
    "dawn": (1.0, 0.88, 0.90),
    "sunset": (0.92, 0.70, 0.58),
}
_SKIES: dict[Time, tuple[Colour, Colour]] = {
    "day": ((78, 150, 236), (206, 232, 252)),
    "night": ((8, 12, 42), (46, 52, 108)),
    "dawn": ((146, 170, 224), (255, 220, 196)),
    "sunset": ((88, 52, 122), (255, 138, 66)),
}
_CLOUDS: dict[Time, Colour] = {
    "day": (252, 253, 255),
    "night": (62, 68, 110),
    "dawn": (255, 236, 232),
    "sunset": (246, 160, 134),
}


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """The colour `share` of the way from the first to the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def lit(colour: Colour, time: Time, weather: Weather = "clear") -> Colour:
    """A daylight colour as it looks at another time; rain and snow dull it."""
    light = _LIGHT[time]
    dull = 0.86 if weather in ("rain", "fog") else 1.0
    red, green, blue = (round(c * k * dull) for c, k in zip(colour, light, strict=True))
    return red, green, blue


def sky_colours(time: Time, weather: Weather) -> tuple[Colour, Colour]:
    """Colours of the sky overhead and at the horizon."""
    top, bottom = _SKIES[time]
    if weather == "clear":
        return top, bottom
    grey = lit((150, 158, 170), time)
    return blend(top, grey, 0.55), blend(bottom, grey, 0.45)


@lru_cache(maxsize=512)
def _ramp(top: Colour, bottom: Colour, height: int) -> Image.Image:
    """A column of colours from top to bottom, one pixel wide."""
    column = Image.new("RGB", (1, height))
    span = max(height - 1, 1)
    column.putdata([blend(top, bottom, y / span) for y in range(height)])
    return column


class Painter:
    """Draws on a square canvas in shares of its side; most colours are lit by the time of day."""

    def __init__(self, side: int, time: Time, weather: Weather, generator: random.Random) -> None:
        """A black canvas of `side` pixels."""
        self.side = side
        self.time: Time = time
        self.weather: Weather = weather
        self.generator = generator
        self.canvas = Image.new("RGB", (side, side))
        self._draw = ImageDraw.Draw(self.canvas)

    def colour(self, colour: Colour, vary: float = 0.0) -> Colour:
        """The colour in this light, each channel varied by up to a share of itself."""
        if vary:
            share = 1 + self.generator.uniform(-vary, vary)
            red, green, blue = (min(255, round(c * share)) for c in colour)
            colour = red, green, blue
        return lit(colour, self.time, self.weather)

    def ramp(self, top: float, bottom: float, first: Colour, second: Colour) -> None:
        """Fills a band with a vertical gradient of final colours."""
        start, end = round(top * self.side), round(bottom * self.side)
        if end <= start:
            return
        band = _ramp(first, second, end - start)
        self.canvas.paste(
            band.resize((self.side, end - start), Image.Resampling.NEAREST), (0, start)
        )

    def ground(self, top: float, bottom: float, colour: Colour) -> None:
        """A lit band that grows darker towards the viewer."""
        near = blend(colour, (0, 0, 0), 0.16)
        far = blend(colour, (255, 255, 255), 0.08)
        self.ramp(top, bottom, self.colour(far), self.colour(near))

    def rectangle(self, left: float, top: float, right: float, bottom: float, fill: Colour) -> None:
        """A filled rectangle in a final colour."""
        s = self.side
        self._draw.rectangle((left * s, top * s, right * s, max(bottom, top) * s), fill)

    def ellipse(self, x: float, y: float, width: float, height: float, fill: Colour) -> None:
        """A filled ellipse around its centre in a final colour."""
        s = self.side
        box = ((x - width / 2) * s, (y - height / 2) * s, (x + width / 2) * s, (y + height / 2) * s)
        self._draw.ellipse(box, fill)

    def ring(self, x: float, y: float, size: float, fill: Colour) -> None:
        """The outline of a circle."""
        s, r = self.side, size / 2
        box = ((x - r) * s, (y - r) * s, (x + r) * s, (y + r) * s)
        self._draw.ellipse(box, outline=fill, width=max(1, round(s * 0.006)))

    def polygon(self, points: list[Point], fill: Colour) -> None:
        """A filled polygon in a final colour."""
        s = self.side
        self._draw.polygon([(x * s, y * s) for x, y in points], fill)

    def line(self, points: list[Point], fill: Colour, width: float = 0.006) -> None:
        """A polyline in a final colour."""
        s = self.side
        scaled = [(x * s, y * s) for x, y in points]
        self._draw.line(scaled, fill, max(1, round(width * s)))

    def hills(self, base: float, height: float, fill: Colour, bottom: float = 1.0) -> None:
        """A softly rolling horizon filled down to `bottom`."""
        phases = [self.generator.uniform(0, 6.3) for _ in range(2)]
        points: list[Point] = [(0.0, bottom)]
        for step in range(21):
            x = step / 20
            wave = math.sin(x * 5 + phases[0]) * 0.65 + math.sin(x * 11 + phases[1]) * 0.35
            points.append((x, base - height * (wave + 1) / 2))
        self.polygon([*points, (1.0, bottom)], fill)

    def cloud(self, x: float, y: float, size: float, fill: Colour) -> None:
        """Three overlapping puffs on a flat base."""
        self.ellipse(x, y, size, size * 0.36, fill)
        self.ellipse(x - size * 0.12, y - size * 0.14, size * 0.44, size * 0.38, fill)
        self.ellipse(x + size * 0.16, y - size * 0.1, size * 0.36, size * 0.32, fill)

    def specks(self, top: float, colour: Colour, number: int, size: float = 0.012) -> None:
        """Scatters small lit dots below `top`."""
        fill = self.colour(colour)
        for _ in range(number):
            x, y = self.generator.random(), self.generator.uniform(top, 0.99)
            self.ellipse(x, y, size, size * 0.6, fill)

    def sky(self, horizon: float) -> None:
        """Sky down to the horizon with sun or moon, stars and clouds as the weather allows."""
        pick = self.generator
        top, bottom = sky_colours(self.time, self.weather)
        self.ramp(0, horizon, top, bottom)
        if self.time == "night" and self.weather != "fog":
            few = self.weather != "clear"
            for _ in range(8 if few else 26):
                size = pick.uniform(0.006, 0.014)
                self.ellipse(pick.random(), pick.random() * horizon, size, size, (240, 242, 226))
        if self.weather == "clear" or self.time == "night":
            self._lamp(horizon, top)
        cloudy = self.weather in ("rain", "snow")
        fill = _CLOUDS[self.time]
        if cloudy:
            fill = lit((118, 126, 140) if self.weather == "rain" else (196, 202, 212), self.time)
        for _ in range(5 if cloudy else pick.randint(0, 3)):
            size = pick.uniform(0.16, 0.3) * (1.5 if cloudy else 1.0)
            self.cloud(pick.random(), pick.uniform(0.05, horizon * 0.42), size, fill)

    def _lamp(self, horizon: float, top: Colour) -> None:
        """Sun or moon: high by day and night, large and low at dawn and sunset."""
        pick = self.generator
        x = pick.uniform(0.12, 0.88)
        if self.time == "day":
            self.ellipse(x, pick.uniform(0.09, 0.16), 0.11, 0.11, (255, 232, 120))
        elif self.time == "night":
            y = pick.uniform(0.1, 0.17)
            self.ellipse(x, y, 0.1, 0.1, (248, 242, 206))
            self.ellipse(x + 0.03, y - 0.018, 0.084, 0.084, blend(top, (46, 52, 108), y))
        else:
            glow = (255, 244, 196) if self.time == "dawn" else (255, 196, 84)
            self.ellipse(x, horizon - 0.01, 0.2, 0.2, glow)
