"""Where labels lie: near their boxes, off heads and things, off other labels; a line leads to one far away.

Each label takes the place of least trouble among those beside its box and on a grid over the picture. Trouble
is area: of boxes that it would cover, of other labels, and of details of the picture (a sky has none); and
distance from its box.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from groundling.data.sample import Box
from groundling.draw import ink
from groundling.draw.ink import Rect

LINES = 2  # of a label
ON_BOX, ON_LABEL, ON_DETAIL, AWAY = 3.0, 100.0, 1.0, 2.0  # trouble a pixel: of area; AWAY of letters' height
FINE = 128  # pixels of the longer side at which details are looked for
FAINT = 0.06  # of the whole range: a step between pixels that is still no detail, but noise

Rects = NDArray[np.float64]


@dataclass(frozen=True)
class Label:
    """Where a label lies, wholly inside the picture, and its lines."""

    rect: Rect
    lines: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Detail:
    """How much there is to see in any part of a picture: sums of edges, from 0 to 1 a pixel."""

    sums: NDArray[np.float64]  # (height + 1, width + 1) at the scale
    scale: float

    @classmethod
    def of(cls, picture: Image.Image) -> "Detail":
        """Of a picture before anything is drawn on it."""
        scale = min(1.0, FINE / max(picture.size))
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        pixels = (
            np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BOX)).astype(np.float64) / 255
        )
        down = np.abs(np.diff(pixels, axis=0, append=pixels[-1:])).max(axis=2)
        across = np.abs(np.diff(pixels, axis=1, append=pixels[:, -1:])).max(axis=2)
        edges = (8 * (np.maximum(down, across) - FAINT)).clip(0, 1)
        sums = np.zeros((size[1] + 1, size[0] + 1))
        sums[1:, 1:] = edges.cumsum(axis=0).cumsum(axis=1)
        return cls(sums, scale)

    def under(self, rects_N4: Rects) -> NDArray[np.float64]:
        """Detail under rectangles of the picture (N,), in pixels of it."""
        x1, y1, x2, y2 = np.round(rects_N4 * self.scale).astype(int).T
        x1, x2 = (x.clip(0, self.sums.shape[1] - 1) for x in (x1, x2))
        y1, y2 = (y.clip(0, self.sums.shape[0] - 1) for y in (y1, y2))
        sums = self.sums
        found: NDArray[np.float64] = sums[y2, x2] - sums[y1, x2] - sums[y2, x1] + sums[y1, x1]
        return found / self.scale**2


def place_labels(
    size: tuple[int, int],
    boxes: Sequence[Box],
    texts: Sequence[str],
    letters: int,
    detail: Detail | None = None,
) -> list[Label]:
    """A label for each box: inside the picture, off other labels and boxes where there is room, near it."""
    placed: list[Label] = []
    things = np.reshape(np.array(boxes, dtype=np.float64), (-1, 4))
    taken = np.zeros((0, 4))
    for box, text in zip(boxes, texts, strict=True):
        lines = ink.wrapped(text, letters, min(size[0] - 2 * pad(letters), 26 * letters), LINES)
        wide = max(ink.font(letters).getlength(line) for line in lines) + 2 * pad(letters)
        high = len(lines) * leading(letters) + pad(letters)
        places = _places(size, box, wide, high, max(2, round(letters / 7)))
        trouble = ON_BOX * _covered(places, things) + ON_LABEL * _covered(places, taken)
        trouble += AWAY * letters * _gaps(places, box)
        if detail is not None:
            trouble += ON_DETAIL * detail.under(places)
        best = places[int(trouble.argmin())]
        taken = np.vstack([taken, best])
        placed.append(Label((float(best[0]), float(best[1]), float(best[2]), float(best[3])), tuple(lines)))
    return placed


def pad(size: int) -> int:
    """Between a label's letters of this size and its edge, at the left and at the right."""
    return max(2, round(0.35 * size))


def leading(size: int) -> int:
    """From one line of a label to the next."""
    return round(1.25 * size)


def gap(a: Rect, b: Rect) -> float:
    """How far two rectangles are apart, across and down together; 0 where they touch."""
    return float(_gaps(np.array([a]), b)[0])


def nearest(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Of two ranges the numbers nearest to each other: the middle of what they share, if they share some."""
    low, high = max(a[0], b[0]), min(a[1], b[1])
    if low <= high:
        return (low + high) / 2, (low + high) / 2
    return (a[1], b[0]) if a[1] < b[0] else (a[0], b[1])


def _places(size: tuple[int, int], box: Box, wide: float, high: float, gap: int) -> Rects:
    """Above, below, right, left, inside the box, and on a grid, each moved inside the picture (N, 4)."""
    x1, y1, x2, y2 = box
    middle = (x1 + x2 - wide) / 2
    corners = [(x1 - gap, y1 - gap - high), (x2 + gap - wide, y1 - gap - high), (middle, y1 - gap - high)]
    corners += [(x1 - gap, y2 + gap), (x2 + gap - wide, y2 + gap), (middle, y2 + gap)]
    corners += [(x2 + gap, y1), (x1 - gap - wide, y1), (x2 + gap, y2 - high), (x1 - gap - wide, y2 - high)]
    corners += [(x1, y1), (x1, y2 - high)]
    across, down = np.meshgrid(_grid(size[0] - wide, high), _grid(size[1] - high, high / 2))
    starts = np.vstack([np.array(corners), np.stack([across.ravel(), down.ravel()], axis=1)])
    extent = np.array([wide, high])
    starts = starts.clip(0, np.maximum(0, np.array(size) - extent))
    return np.hstack([starts, np.minimum(starts + extent, size)])


def _grid(room: float, step: float) -> NDArray[np.float64]:
    """From 0 to the room, about a step apart, and no more than 40."""
    return np.linspace(0, max(0.0, room), max(2, min(40, round(room / step) + 1)))


def _covered(places_N4: Rects, rects_M4: Rects) -> NDArray[np.float64]:
    """Area that each place shares with the rectangles, together (N,)."""
    low = np.maximum(places_N4[:, None, :2], rects_M4[None, :, :2])
    high = np.minimum(places_N4[:, None, 2:], rects_M4[None, :, 2:])
    found: NDArray[np.float64] = (high - low).clip(min=0).prod(axis=2).sum(axis=1)
    return found


def _gaps(rects_N4: Rects, box: Rect) -> NDArray[np.float64]:
    x1, y1, x2, y2 = rects_N4.T
    across = np.maximum(x1 - box[2], box[0] - x2).clip(min=0)
    found: NDArray[np.float64] = across + np.maximum(y1 - box[3], box[1] - y2).clip(min=0)
    return found
