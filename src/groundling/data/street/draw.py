"""A scene's picture: textured background, far buildings, shadows, then the figures from far to near."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from groundling.data.street.figures import extent
from groundling.data.street.props import figure
from groundling.data.street.scenes import Box, Scene, StreetObject

SCALE = 2  # pictures are drawn this many times larger, then averaged
SKIES = ((186, 214, 240), (206, 226, 244), (240, 214, 190), (200, 204, 214), (170, 196, 226))
GROUNDS = ((176, 204, 150), (190, 188, 184), (214, 200, 172), (196, 214, 176), (172, 174, 178))


@functools.cache
def _noise() -> npt.NDArray[np.float32]:
    """A fixed tile of grain and soft blotches, taken at random offsets."""
    rng = np.random.default_rng(20)
    grain = rng.normal(0, 4, (1200, 1200))
    coarse = Image.fromarray(rng.normal(0, 9, (75, 75)).astype(np.float32))
    blotch = np.asarray(coarse.resize((1200, 1200), Image.Resampling.BICUBIC))
    noise: npt.NDArray[np.float32] = (grain + blotch).astype(np.float32)
    return noise


def render(scene: Scene) -> Image.Image:
    """The scene as an RGB picture of size x size pixels."""
    rng = np.random.default_rng([scene.seed, scene.index])
    large = scene.size * SCALE
    canvas = _background(scene, rng).resize((large, large), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(canvas, "RGBA")
    for thing in scene.objects:
        x1, _, x2, y2 = (value * SCALE for value in thing.frame)
        if thing.pose != "flying" and thing.category != "balloon" and thing.on is None:
            pen.ellipse((x1, y2 - (x2 - x1) * 0.08, x2, y2 + (x2 - x1) * 0.06), fill=(30, 30, 40, 70))
    pen = ImageDraw.Draw(canvas)
    for thing in scene.objects:
        paint(pen, thing)
    return canvas.reduce(SCALE)


def _background(scene: Scene, rng: np.random.Generator) -> Image.Image:
    size, line = scene.size, int(scene.horizon * scene.size)
    sky, ground = np.array(SKIES[rng.integers(len(SKIES))]), np.array(GROUNDS[rng.integers(len(GROUNDS))])
    pixels = np.empty((size, size, 3), np.float32)
    fade = np.linspace(0.0, 18.0, size, dtype=np.float32)[:, None, None]
    pixels[:line] = sky + fade[:line]
    pixels[line:] = ground - fade[line:]
    x = 0
    while x < size:  # far buildings, or hedges, in pale colours
        wide, high = int(size * rng.uniform(0.06, 0.16)), int(size * rng.uniform(0.02, 0.14))
        tone = rng.uniform(160, 205)
        pixels[max(0, line - high) : line, x : x + wide] = tone + rng.uniform(-14, 14, 3)
        x += wide
    if rng.random() < 0.6:  # a road across
        top = int(line + (size - line) * rng.uniform(0.2, 0.6))
        low = int(top + size * rng.uniform(0.1, 0.25))
        pixels[top:low] = 150 + rng.uniform(-10, 10)
        middle, dash = (top + low) // 2, max(2, size // 12)
        for start in range(0, size, 2 * dash):
            pixels[middle : middle + max(1, size // 96), start : start + dash] = 226
    left, top = rng.integers(0, 1200 - size, 2) if size < 1200 else (0, 0)
    pixels += _noise()[top : top + size, left : left + size, None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def paint(pen: ImageDraw.ImageDraw, thing: StreetObject, scale: int = SCALE, ink: int | None = None) -> None:
    """Draw one object's figure so that it fills its frame; all of it in `ink` where that is given."""
    shapes = figure(thing.look)
    x1, y1, x2, y2 = extent(shapes)
    left, top, right, bottom = (value * scale for value in thing.frame)
    grow_x, grow_y = (right - left - 1) / (x2 - x1), (bottom - top - 1) / (y2 - y1)
    for shape in shapes:
        points = [
            ((x2 - x if thing.facing == "left" else x - x1) * grow_x + left, (y - y1) * grow_y + top)
            for x, y in shape.points
        ]
        fill = shape.fill if ink is None else ink
        dark = tuple(int(value * 0.62) for value in shape.fill) if ink is None else ink
        if not shape.oval:
            pen.polygon(points, fill=fill, outline=dark)
            continue
        corners = _corners(points)
        if shape.rim:
            pen.ellipse(corners, outline=fill, width=max(2, round(shape.rim * grow_x)))
        else:
            pen.ellipse(corners, fill=fill, outline=dark)


def _corners(points: list[tuple[float, float]]) -> Box:
    (xa, ya), (xb, yb) = points
    return min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb)
