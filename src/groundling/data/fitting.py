"""Boxes against their pictures: the one rule that every reader asks.

What sticks out of its picture is cut at the edge; what lies outside, has no area or is not finite is a
`BoxError`. The size that counts is the picture's own, upright, where its file is at hand; else the one that
its annotations declare. Where no box of a file is larger than a pixel, they are shares of their pictures.
"""

from pathlib import Path

from groundling.data.image_folder import Sizes
from groundling.data.rejects import Rejects
from groundling.data.sample import Box, DataError, check_box

Size = tuple[int, int]  # width, height

CUT = "boxes cut at the edge of their picture"
RESIZED = (
    "pictures that are not of the size their annotations declare; boxes are pixels of the picture as it is"
)
ROUNDING = 0.01  # pixels: a box that sticks out by less is cut without a word
SHARE = 1.01  # the largest coordinate of boxes in shares, which are rounded too
BELIEVED = 10_000  # pictures: after so many of the declared size, of the others one in ten is looked at


class Fitting:
    """Holds the boxes of a dataset against their pictures; what it does is noted in `rejects`.

    look: the pictures' files are at hand. Each is looked at once, its header alone.
    """

    def __init__(self, rejects: Rejects, look: bool = True, pixels: bool = True) -> None:
        """`pixels=False`: boxes are made of shares here, and are not looked at for being some."""
        self._rejects, self._look = rejects, look
        self._sizes = Sizes()
        self._known: dict[Path, Size | None] = {}
        self._as_declared = 0
        self._resized = False
        self._shares = _Shares()
        if pixels:
            rejects.at_end(self._shares.check)

    def in_pixels(self) -> None:
        """The file says that its boxes are pixels, however small they are."""
        self._shares.pixels = True

    def size(self, image: Path, declared: Size | None = None) -> Size | None:
        """The width and height of a picture; None where neither file nor annotations say it.

        DataError for a file that cannot be read as a picture.
        """
        if image not in self._known:
            self._known[image] = self._looked_up(image, declared)
        return self._known[image]

    def box(self, box: Box, image: Path, declared: Size | None = None, row: str = "") -> Box:
        """What of a box lies in its picture; `row` names it where it is cut.

        BoxError where there is nothing of it, DataError for a picture that cannot be read.
        """
        size = self.size(image, declared)
        self._shares.see(box, size)
        check_box(box)
        if size is None:
            return box
        if self._look and image.suffix.lower() not in (".jpg", ".jpeg") and not inside(box, size):
            size = self._known[image] = self._sizes.decoded(image)  # a header may not say how it is turned
        check_box(box, size)
        cut = clipped(box, size)
        check_box(cut, size)
        if not inside(box, size):
            self._rejects.note(CUT, row or image.name, f"{_short(box)} in {size[0]}x{size[1]} pixels")
        return cut

    def _looked_up(self, image: Path, declared: Size | None) -> Size | None:
        believed = self._as_declared > BELIEVED and not self._resized
        if not self._look or (declared and believed and len(self._known) % 10):
            return declared
        real = self._sizes.of(image)
        if declared and real == declared[::-1] != declared and image.suffix.lower() not in (".jpg", ".jpeg"):
            real = self._sizes.decoded(image)
        if declared and real != declared:
            self._resized = True
            given, is_ = ("{}x{}".format(*size) for size in (declared, real))
            self._rejects.note(RESIZED, image.name, f"{given} declared, {is_} is its size")
        self._as_declared += real == declared
        return real


class _Shares:
    """Whether all boxes of a file lie between 0 and 1, in pictures that are larger."""

    def __init__(self) -> None:
        self.boxes, self.first = 0, ""
        self.pixels = self.sized = False

    def see(self, box: Box, size: Size | None) -> None:
        """One more box."""
        self.pixels |= not is_small(box) or (size is not None and max(size) < 2 * SHARE)
        self.sized |= size is not None
        self.boxes += 1
        self.first = self.first or _short(box)

    def check(self, file: Path | str) -> None:
        """DataError where they all do."""
        if self.boxes and self.sized and not self.pixels:
            raise DataError(
                f"{file}: no box is larger than a pixel, such as {self.first}: they look like shares of the "
                "picture, 0 to 1; boxes are pixels, so multiply x by the picture's width and y by its height"
            )


def is_small(box: Box) -> bool:
    """Whether all numbers of a box could be shares of its picture."""
    return all(-SHARE <= value <= SHARE for value in box)


def inside(box: Box, size: Size) -> bool:
    """Whether a box lies in a picture of (width, height), but for rounding."""
    x1, y1, x2, y2 = box
    return min(x1, y1) >= -ROUNDING and x2 <= size[0] + ROUNDING and y2 <= size[1] + ROUNDING


def clipped(box: Box, size: Size) -> Box:
    """What of a box lies in a picture of (width, height)."""
    x1, y1, x2, y2 = box
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(size[0])), min(y2, float(size[1]))


def _short(box: Box) -> str:
    return f"({', '.join(f'{value:.6g}' for value in box)})"
