"""Two clouds of words: those the visual backbone listens to, and those of the fusion (LADS, Fig. 7)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from groundling.analyze import canvas
from groundling.analyze.words import WordScore, cloud
from groundling.draw import ink
from groundling.draw.ink import Rect

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.textpath import TextPath

PANEL = (500.0, 380.0)  # points
SMALLEST, LARGEST, MOST = 10.0, 46.0, 70


@dataclass(frozen=True)
class Placed:
    """A word of a cloud, its letters' height in points, and where it lies (points from the lower left)."""

    text: str
    size: float
    rect: Rect


def cloud_figure(scores: Sequence[WordScore], at_least: int) -> bytes:
    """Words sized by how much they lean to the backbone (left) or to fusion (right)."""
    drawn = canvas.figure((15, 6.4), constrained=False)
    panels = (("backbone", "Words the visual backbone listens to", ink.LAYER),
              ("fusion", "Words the fusion of image and words listens to", ink.FFN))  # fmt: skip
    for place, (part, title, colour) in enumerate(panels):
        axes = drawn.add_axes((0.01 + 0.5 * place, 0.06, 0.48, 0.86))
        axes.set_title(title, loc="left", fontsize=13, color=ink.INK, fontweight="bold")
        words = cloud(scores, "backbone" if part == "backbone" else "fusion", at_least, MOST)
        _draw(axes, layout([(word.text, abs(word.lean)) for word in words], PANEL), colour)
    note = "the larger a word, the more of the attention to it comes from this part than from the other one"
    times = "" if at_least == 1 else f"; words said at least {at_least} times"
    drawn.text(0.012, 0.02, note + times, fontsize=9, color=ink.QUIET)
    return canvas.png(drawn)


def layout(words: Sequence[tuple[str, float]], panel: tuple[float, float]) -> list[Placed]:
    """Words (text, weight), heaviest first, from the middle outwards without overlap, inside the panel.

    All shrink together until they fit; one that is still too long for the panel is left out.
    """
    found: list[Placed] = []
    for shrink in (1.0, 0.85, 0.72, 0.6, 0.5, 0.4):
        found = _place([(text, shrink * size) for text, size in _sizes(words)], panel)
        if len(found) == len(words):
            break
    return found


def _sizes(words: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Sizes from smallest to largest; the area of a word, not its height, follows its weight."""
    weights = np.array([weight for _, weight in words])
    span = float(np.ptp(weights)) if len(words) else 0.0
    rise = np.sqrt((weights - weights.min()) / span) if span > 0 else np.ones(len(words))
    return [
        (text, SMALLEST + (LARGEST - SMALLEST) * float(up)) for (text, _), up in zip(words, rise, strict=True)
    ]


def _place(words: Sequence[tuple[str, float]], panel: tuple[float, float]) -> list[Placed]:
    centres = _spots(panel)
    taken = np.zeros((0, 4))
    placed = []
    for text, size in words:
        box = letters(text, size).get_extents()
        half = np.array([box.width, box.height]) / 2 + 0.16 * size  # air between words
        rects = np.hstack([centres - half, centres + half])
        free = (rects[:, :2] >= 0).all(axis=1) & (rects[:, 2:] <= panel).all(axis=1)
        for left, bottom, right, top in taken:
            apart_x = (rects[:, 0] >= right) | (rects[:, 2] <= left)
            free &= apart_x | (rects[:, 1] >= top) | (rects[:, 3] <= bottom)
        if free.any():
            rect = rects[int(free.argmax())]
            taken = np.vstack([taken, rect])
            placed.append(
                Placed(text, size, (float(rect[0]), float(rect[1]), float(rect[2]), float(rect[3])))
            )
    return placed


def _spots(panel: tuple[float, float]) -> NDArray[np.float64]:
    """Points over the panel, the nearest to the middle first."""
    across, up = np.meshgrid(np.arange(0, panel[0], 3.0), np.arange(0, panel[1], 3.0))
    spots = np.stack([across.ravel(), up.ravel()], axis=1)
    distance = np.square((spots - np.array(panel) / 2) / np.array(panel)).sum(axis=1)
    return spots[np.argsort(distance, kind="stable")]


def letters(text: str, size: float) -> "TextPath":
    """The outlines of a word."""
    from matplotlib.textpath import TextPath

    return TextPath((0, 0), canvas.literal(text), size=size)


def _draw(axes: "Axes", words: Sequence[Placed], colour: str) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.transforms import Affine2D

    axes.set_xlim(0, PANEL[0])
    axes.set_ylim(0, PANEL[1])
    axes.set_aspect("equal")
    axes.set_axis_off()
    if not words:
        axes.text(PANEL[0] / 2, PANEL[1] / 2, "no word leans this way", ha="center", color=ink.QUIET)
    for place, word in enumerate(words):
        path = letters(word.text, word.size)
        box = path.get_extents()
        middle = (word.rect[0] + word.rect[2]) / 2, (word.rect[1] + word.rect[3]) / 2
        move = Affine2D().translate(middle[0] - (box.x0 + box.x1) / 2, middle[1] - (box.y0 + box.y1) / 2)
        alpha = 1.0 - 0.55 * place / len(words)
        axes.add_patch(PathPatch(path.transformed(move), facecolor=colour, linewidth=0, alpha=alpha))
