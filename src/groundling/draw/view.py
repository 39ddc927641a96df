"""The picture of an answer, opened again when the answer is to be drawn.

A path is opened again; an image or array is there while its owner keeps it; of bytes nothing is kept: an
answer must not keep megabytes alive.
"""

import os
import weakref
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageShow

from groundling.draw.asked import draw_answer, draw_mask, draw_phrases
from groundling.draw.labels import draw_detections, draw_grounding
from groundling.draw.saving import save
from groundling.pictures.images import MAX_PIXELS, ImageSource, open_image
from groundling.results import Answer, CaptionGrounding, Detections, Grounding, Segmentation, Shown


class View:
    """Draws answers on one picture; a `results.View`. Pickled, it keeps a path and no image."""

    def __init__(self, source: ImageSource, max_pixels: int = MAX_PIXELS) -> None:
        self.path: Path | None = None
        self.max_pixels = max_pixels
        self._held: Callable[[], ImageSource | None] = _nothing
        if isinstance(source, str | os.PathLike):
            self.path = Path(os.path.abspath(source))
        elif not isinstance(source, bytes):
            self._held = weakref.ref(source)

    def __reduce__(self) -> tuple[object, ...]:
        return _unpickled, (self.path, self.max_pixels)

    def draw(self, answer: Shown, image: ImageSource | None = None) -> Image.Image:
        """The picture with the answer on it; ValueError where it is gone, or has another size."""
        picture = open_image(self._source(image), self.max_pixels)
        match answer:
            case Grounding():
                return draw_grounding(picture, [answer])
            case Detections():
                return draw_detections(picture, answer)
            case CaptionGrounding():
                return draw_phrases(picture, answer)
            case Answer():
                return draw_answer(picture, answer)
            case Segmentation():
                return draw_mask(picture, answer)
        raise AssertionError(f"nobody draws a {type(answer).__name__}")

    def show(self, answer: Shown, image: ImageSource | None = None) -> None:
        """Open the drawn picture with what PIL finds to show it; ValueError where it finds nothing."""
        if not ImageShow.show(self.draw(answer, image), title="groundling"):
            raise ValueError("no program to show pictures was found here; save(path) writes the picture")

    def save(self, answer: Shown, path: str | os.PathLike[str], image: ImageSource | None = None) -> Path:
        """Write the drawn picture in the format of its name, never over the picture itself."""
        source = self._source(image)
        kept = [each for each in (source, self.path) if isinstance(each, str | os.PathLike)]
        return save(self.draw(answer, source), path, inputs=kept)

    def _source(self, image: ImageSource | None) -> ImageSource:
        """The picture that is given, else the one that was asked about."""
        found = next((each for each in (image, self.path, self._held()) if each is not None), None)
        if found is None:
            raise ValueError(
                "the picture of this answer is no longer at hand (bytes are not kept, and an image or array "
                "only while you keep it): give it once more, as in answer.save(path, image)"
            )
        return found


def _nothing() -> None:
    return None


def _unpickled(path: Path | None, max_pixels: int) -> View:
    return View(b"" if path is None else path, max_pixels)
