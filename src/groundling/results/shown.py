"""What every answer can do for people and for other programs: be drawn, be saved, be a table, be COCO.

An answer does not hold its picture, it holds a View of it: that opens the picture again and draws the answer.
Whoever makes an answer gives it a View, so that values need no drawing code.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from groundling.pictures.images import ImageSource
from groundling.pictures.masks import Rle
from groundling.results import coco, html
from groundling.results.found import Found

if TYPE_CHECKING:
    import os

    from PIL import Image


class View(Protocol):
    """The picture that an answer is about, and who draws answers: `groundling.draw.view` has one."""

    def draw(self, answer: "Shown", image: ImageSource | None = None) -> "Image.Image":
        """The picture with the answer on it; ValueError where it can no longer be had and is not given."""

    def show(self, answer: "Shown", image: ImageSource | None = None) -> None:
        """Open the drawn picture in a window or a notebook; ValueError where nothing can show it."""

    def save(self, answer: "Shown", path: "str | os.PathLike[str]", image: ImageSource | None = None) -> Path:
        """Write the drawn picture, never over the picture itself."""


@dataclass(frozen=True)
class Shown(ABC):
    """An answer about one picture; `view` is what it is drawn with, and no part of its value."""

    view: View | None = field(default=None, compare=False, repr=False, kw_only=True)

    @abstractmethod
    def found(self) -> Sequence[Found]:
        """All boxes of the answer, as they are drawn."""

    @abstractmethod
    def _heading(self) -> str:
        """What was asked and, in words, answered."""

    @abstractmethod
    def _footing(self) -> str:
        """What it took."""

    def seen_by(self, view: View | None) -> Self:
        """The same answer, drawn by this View."""
        return replace(self, view=view)

    def draw(self, image: ImageSource | None = None) -> "Image.Image":
        """The picture with this answer on it, as a new PIL image.

        The picture is opened again from its path, or taken from the image or array that was asked about while
        its owner keeps it. `image`: the picture, where neither can be had (of bytes nothing is kept).
        Raises ValueError where the picture is missing or has another size.
        """
        return self._view().draw(self, image)

    def show(self, image: ImageSource | None = None) -> None:
        """Open the drawn picture in a window, or in a notebook; arguments and errors as in `draw`."""
        self._view().show(self, image)

    def save(self, path: "str | os.PathLike[str]", image: ImageSource | None = None) -> Path:
        """Write the drawn picture as a PNG, JPEG or WebP, which its name says, and return its path.

        Never over the picture itself: that is a ValueError. Arguments and errors else as in `draw`.
        """
        return self._view().save(self, path, image)

    def to_supervision(self) -> Any:
        """`supervision.Detections` of the boxes: xyxy, confidence, class_id, and class_name in its data.

        Confidence is missing for a model that gives no scores. ValueError where supervision is not installed.
        """
        from groundling.results.supervised import detections

        return detections(self.found(), self._mask())

    def as_coco(self, image_id: int, category_ids: Mapping[str, int] | int) -> list[dict[str, object]]:
        """COCO's results format: image_id, category_id, bbox [x, y, width, height] and score of each box.

        category_ids: the id of each label, or one id for all. A model without scores says 1. ValueError for
        a label without an id, naming it.
        """
        return coco.results(self.found(), image_id, category_ids, self._mask())

    def _mask(self) -> Rle | None:
        """The mask of the only box, of an answer that has one."""
        return None

    def _view(self) -> View:
        if self.view is None:
            raise ValueError(
                "this answer was not made by a model, so it has no picture: draw it on one by a function of "
                "groundling.draw, such as draw_grounding(image, [answer])"
            )
        return self.view

    def _repr_html_(self) -> str:
        """What a notebook shows: the drawn picture, small, where it is at hand; else a table."""
        return html.page(self._heading(), self.found(), self._footing(), self.draw if self.view else None)
