"""Masks of a scene's objects: the pixels that show each one, and their outlines as polygons.

A polygon runs along pixel edges, an edge at the right or bottom of a region pulled in by INSET, so that both
ways to fill one give the mask back: PhraseCut's, which cuts coordinates down to pixel numbers and fills with
the outline, and COCO's, which fills between edges.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from groundling.data.street.draw import SCALE, paint
from groundling.data.street.scenes import Box, Scene

Mask = npt.NDArray[np.bool_]  # (height, width)
Loop = list[tuple[int, int]]  # corners x, y on the pixel grid; what is inside lies on the right hand
Polygon = list[tuple[float, float]]
INSET = 0.05


def masks(scene: Scene) -> dict[int, Mask]:
    """The visible pixels of each object, by its id: those of which it fills at least half.

    Where two objects share a pixel evenly the nearer has it: no pixel belongs to two.
    """
    canvas = Image.new("L", (scene.size * SCALE, scene.size * SCALE))
    pen = ImageDraw.Draw(canvas)
    for number, thing in enumerate(scene.objects, 1):
        paint(pen, thing, ink=number)
    fine = np.asarray(canvas).reshape(scene.size, SCALE, scene.size, SCALE)
    taken = np.zeros((scene.size, scene.size), np.bool_)
    found: dict[int, Mask] = {}
    for number, thing in reversed(list(enumerate(scene.objects, 1))):
        rows, columns = _around(thing.box)
        mask = np.zeros_like(taken)
        mask[rows, columns] = (fine[rows, :, columns] == number).sum((1, 3)) * 2 >= SCALE**2
        found[thing.id] = mask & ~taken
        taken |= mask
    return {thing.id: found[thing.id] for thing in scene.objects}


def _around(box: Box) -> tuple[slice, slice]:
    """Rows and columns of a box, with room for an outline."""
    x1, y1, x2, y2 = box
    return slice(max(0, int(y1) - 2), int(y2) + 3), slice(max(0, int(x1) - 2), int(x2) + 3)


def polygons(mask: Mask) -> list[Polygon]:
    """Polygons without holes that together cover the mask; what has a hole is cut in two across it."""
    loops = list(_loops(mask))
    hole = next((loop for loop in loops if _area(loop) < 0), None)
    if hole is None:
        return [_inset(loop) for loop in loops]
    rows = [y for _, y in hole]
    middle = (min(rows) + max(rows)) // 2
    upper, lower = mask.copy(), mask.copy()
    upper[middle:], lower[:middle] = False, False
    return polygons(upper) + polygons(lower)


def _loops(mask: Mask) -> Iterator[Loop]:
    """The closed lines between the mask and the rest; pixels that touch at a corner only are apart."""
    steps = _steps(mask)
    while steps:
        place = start = next(iter(steps))
        heading, loop = (0, 0), Loop()
        while place != start or not loop or _right(heading) in steps.get(place, ()):
            ways = steps[place]
            way = _right(heading) if _right(heading) in ways else ways[0]
            if way != heading:
                loop.append(place)
            ways.remove(way)
            if not ways:
                del steps[place]
            place, heading = (place[0] + way[0], place[1] + way[1]), way
        yield loop


def _right(heading: tuple[int, int]) -> tuple[int, int]:
    """The turn to the right: on around the same pixel."""
    return -heading[1], heading[0]


def _steps(mask: Mask) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Unit steps along the edges of the mask by where they start, clockwise around each pixel."""
    wide = np.pad(mask, 1)
    inside = wide[1:-1, 1:-1]
    edges = (
        (inside & ~wide[:-2, 1:-1], (0, 0), (1, 0)),  # along the top, to the right
        (inside & ~wide[1:-1, 2:], (1, 0), (0, 1)),  # along the right, down
        (inside & ~wide[2:, 1:-1], (1, 1), (-1, 0)),
        (inside & ~wide[1:-1, :-2], (0, 1), (0, -1)),
    )
    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for edge, (dx, dy), way in edges:
        rows, columns = np.nonzero(edge)
        for x, y in zip((columns + dx).tolist(), (rows + dy).tolist(), strict=True):
            steps.setdefault((x, y), []).append(way)
    return steps


def _area(loop: Loop) -> float:
    """Twice the area inside, negative around a hole."""
    return sum(xa * yb - xb * ya for (xa, ya), (xb, yb) in zip(loop, loop[1:] + loop[:1], strict=True))


def _inset(loop: Loop) -> Polygon:
    """The loop with its right and bottom edges pulled in."""
    before, after = loop[-1:] + loop[:-1], loop[1:] + loop[:1]
    return [
        (x - INSET if yb > ya else x, y - INSET if xb < xa else y)  # on the way down, on the way back left
        for (xa, ya), (x, y), (xb, yb) in zip(before, loop, after, strict=True)
    ]
