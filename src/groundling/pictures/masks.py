"""Masks are bool arrays (height, width); COCO's run-length codes and polygons become them and come from them.

A run-length code counts pixels down the columns, left to right: first how many are off, then how many are
on, and so on. COCO writes the counts as a list ("uncompressed") or as a string ("compressed"): each count
from the fourth on less the one two before it, five bits a character, the sixth says that more follow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Polygon = Sequence[float]  # x1, y1, x2, y2, … in pixels
_Points = NDArray[np.int64]

_FINE = 5  # COCO traces polygons on a grid five times as fine as the pixels
_FIRST = ord("0")  # the character of five zero bits
_LONGEST = 60  # bits of a count
_MOST_PIXELS = 2**28  # of a mask that is read: some bytes of JSON can ask for any number
_FARTHEST = 2**31  # pixels from the image's corner to one of a polygon
_MORE, _SIGN, _FIVE_BITS = 0x20, 0x10, 0x1F


@dataclass(frozen=True)
class Rle:
    """A mask as run lengths: `counts` of pixels off, on, off, … down the columns of height × width pixels."""

    height: int
    width: int
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a mask has at least one pixel, given a size of {self.height}×{self.width}")
        if min(self.counts, default=0) < 0 or sum(self.counts) != self.height * self.width:
            raise ValueError(
                f"run lengths are of {sum(self.counts)} pixels, and the mask has {self.height}×{self.width}"
            )

    @property
    def area(self) -> int:
        """Pixels that are on."""
        return sum(self.counts[1::2])

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """The smallest box, xyxy in pixels, around all pixels that are on; None where none is."""
        on = decode(self)
        columns, rows = np.flatnonzero(on.any(axis=0)), np.flatnonzero(on.any(axis=1))
        if not len(columns):
            return None
        return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)

    def __repr__(self) -> str:
        share = self.area / (self.height * self.width)
        return f"Rle({self.height}×{self.width}, {self.area:,} pixels on, {share:.1%})"

    def as_dict(self, compressed: bool = True) -> dict[str, object]:
        """COCO's JSON: {"size": [height, width], "counts": a string, or a list}."""
        counts = _write(self.counts) if compressed else list(self.counts)
        return {"size": [self.height, self.width], "counts": counts}


MaskLike = Mask | Rle | Mapping[str, object]


def encode(mask: Mask) -> Rle:
    """The run-length code of a mask (height, width). ValueError for other shapes and for no bools."""
    height, width = as_mask(mask).shape
    pixels = mask.ravel(order="F")
    borders = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    counts = np.diff(np.concatenate(([0], borders, [pixels.size]))).tolist()
    return Rle(height, width, (0, *counts) if pixels[0] else tuple(counts))


def decode(rle: Rle) -> Mask:
    """The mask (height, width) of a run-length code."""
    on = np.arange(len(rle.counts)) % 2 == 1
    return np.repeat(on, rle.counts).reshape(rle.height, rle.width, order="F")


def read_rle(coco: Mapping[str, object]) -> Rle:
    """COCO's {"size", "counts"}, compressed or not, as an Rle. ValueError says what is wrong with it."""
    size, counts = coco.get("size"), coco.get("counts")
    if not isinstance(size, Sequence) or len(size) != 2 or not all(map(_is_whole, size)):
        raise ValueError(f"a run-length code has a size of [height, width], given {size!r}")
    _check_size(int(size[0]), int(size[1]))
    if isinstance(counts, bytes):
        counts = counts.decode("ascii", "replace")
    if isinstance(counts, str):
        return Rle(int(size[0]), int(size[1]), _read(counts))
    if not isinstance(counts, Sequence) or not all(map(_is_whole, counts)):
        raise ValueError("a run-length code has counts that are a string or a list of whole numbers")
    return Rle(int(size[0]), int(size[1]), tuple(map(int, counts)))


def as_mask(value: MaskLike) -> Mask:
    """The mask of a bool array, an Rle or COCO's JSON of one. ValueError for anything else."""
    if isinstance(value, Rle):
        return decode(value)
    if isinstance(value, Mapping):
        return decode(read_rle(value))
    if not isinstance(value, np.ndarray) or value.dtype != np.bool_ or value.ndim != 2 or not value.size:
        given = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"a mask is a bool array (height, width) or a run-length code, given {given}")
    return value


def from_polygons(polygons: Sequence[Polygon], height: int, width: int) -> Mask:
    """The pixels of all these polygons together, as COCO rasterises them; parts outside are cut off.

    A polygon is x1, y1, x2, y2, … in pixels, three points or more (ValueError for fewer). A polygon that
    crosses itself is filled by parity. Source: rleFrPoly of the COCO API.
    """
    _check_size(height, width)
    mask = np.zeros((height, width), dtype=np.bool_)
    for polygon in polygons:
        _fill(mask, _points(polygon))
    return mask


def _check_size(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise ValueError(f"a mask has at least one pixel, given a size of {height}×{width}")
    if height * width > _MOST_PIXELS:
        raise ValueError(f"a mask of {height}×{width} pixels is larger than {_MOST_PIXELS:,}")


def _points(polygon: Polygon) -> NDArray[np.float64]:
    flat = np.asarray(polygon, dtype=np.float64)
    if flat.ndim != 1 or flat.size < 6 or flat.size % 2 or not np.isfinite(flat).all():
        raise ValueError(
            "a polygon is a flat list x1, y1, x2, y2, … of finite numbers with three points or more, "
            f"given {flat.shape} numbers"
        )
    if np.abs(flat).max() > _FARTHEST:
        raise ValueError(
            f"a polygon has a corner at {flat[np.abs(flat).argmax()]:g} pixels, far from any image"
        )
    return flat.reshape(-1, 2)


def _fill(mask: Mask, points: NDArray[np.float64]) -> None:
    """Each place where the outline enters a column of pixel centres turns all pixels after it over."""
    height, width = mask.shape
    fine = np.trunc(points * _FINE + 0.5).astype(np.int64)
    x, y = _outline(fine, (_FINE * (width + 1), _FINE * (height + 1))).T
    column = (np.minimum(x[:-1], x[1:]) + 0.5) / _FINE - 0.5
    row = np.ceil(np.clip((np.minimum(y[:-1], y[1:]) + 0.5) / _FINE - 0.5, 0, height))
    crosses = (x[:-1] != x[1:]) & (column % 1 == 0) & (column >= 0) & (column <= width - 1)
    if not crosses.any():
        return
    first, last = int(column[crosses].min()), int(column[crosses].max())
    places = ((column[crosses] - first) * height + row[crosses]).astype(np.int64)
    pixels = (last - first + 1) * height
    turns = np.bincount(places, minlength=pixels)[:pixels]  # a row below the last is the next column's first
    inside = np.cumsum(turns) % 2 == 1
    mask[:, first : last + 1] |= inside.reshape(height, -1, order="F")


def _outline(corners: _Points, most: tuple[int, int]) -> _Points:
    """What `_trace` gives for one edge after the other; all at once where none leaves the image."""
    following = np.roll(corners, -1, axis=0)
    if (corners < -_FINE).any() or (corners > most).any():
        return np.concatenate(
            [_trace(start, end, most) for start, end in zip(corners, following, strict=True)]
        )
    span = np.abs(following - corners)
    upright = span[:, 1] > span[:, 0]
    turn = upright[:, None]  # (along, across) of each edge are (y, x) where it is upright
    start, end = (np.where(turn, ends[:, ::-1], ends) for ends in (corners, following))
    backwards = start[:, 0] > end[:, 0]
    low, high = np.where(backwards[:, None], (end, start), (start, end))
    steps = high[:, 0] - low[:, 0]
    points = np.where(steps > 0, steps + 1, 0)
    edge = np.repeat(np.arange(len(points)), points)
    t = np.arange(len(edge)) - np.repeat(np.cumsum(points) - points, points)
    t = np.where(backwards[edge], steps[edge] - t, t)
    slope = (high[:, 1] - low[:, 1]) / np.maximum(steps, 1)
    across = np.trunc(low[edge, 1] + slope[edge] * t + 0.5).astype(np.int64)
    traced = np.stack((low[edge, 0] + t, across), axis=1)
    return np.where(turn[edge], traced[:, ::-1], traced)


def _trace(start: _Points, end: _Points, most: tuple[int, int]) -> _Points:
    """Points (N, 2) of the fine grid from start to end, one for each step along the longer side.

    Steps farther than a pixel from the image, which ends a pixel before `most`, are left out: an edge that is
    above or below it enters the same columns there.
    """
    along = int(abs(end[1] - start[1]) > abs(end[0] - start[0]))  # 0 steps in x, 1 in y
    steps = abs(end[along] - start[along])
    if steps == 0:
        return np.empty((0, 2), dtype=np.int64)
    # Rounding depends on the end that is counted from, so an edge is traced from its lower end both ways.
    low, high = (start, end) if start[along] < end[along] else (end, start)
    first, last = np.clip((-_FINE - low[along], most[along] - low[along]), 0, steps)
    t = np.arange(first, last + 1)
    slope = (high[1 - along] - low[1 - along]) / steps
    traced = np.empty((len(t), 2), dtype=np.int64)
    traced[:, along] = low[along] + t
    traced[:, 1 - along] = np.trunc(low[1 - along] + slope * t + 0.5)
    if first > 0:
        traced = np.concatenate((_level(low[0], traced[0, 0], low[1], most[0]), traced))
    if last < steps:
        traced = np.concatenate((traced, _level(traced[-1, 0], high[0], high[1], most[0])))
    return traced if low is start else traced[::-1]


def _level(start: int, end: int, y: int, most: int) -> _Points:
    """Points (N, 2) from one x to another, no farther than a pixel from the image, at the same y."""
    begin, stop = np.clip((start, end), -_FINE, most)
    step = 1 if begin <= stop else -1
    x = np.arange(begin, stop + step, step)
    return np.stack((x, np.full_like(x, y)), axis=1)


def _write(counts: Sequence[int]) -> str:
    characters = []
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            bits = value & _FIVE_BITS
            value >>= 5
            more = value != (-1 if bits & _SIGN else 0)
            characters.append(chr(_FIRST + bits + (_MORE if more else 0)))
    return "".join(characters)


def _read(text: str) -> tuple[int, ...]:
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - _FIRST
        if not 0 <= bits < 2 * _MORE:
            raise ValueError(f"a compressed run-length code has no character {character!r}")
        if shift > _LONGEST:
            raise ValueError("a compressed run-length code has a count that no mask can have")
        value |= (bits & _FIVE_BITS) << shift
        shift += 5
        if not bits & _MORE:
            value -= (1 << shift) if bits & _SIGN else 0
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    if shift:
        raise ValueError("a compressed run-length code ends in the middle of a count")
    return tuple(counts)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
