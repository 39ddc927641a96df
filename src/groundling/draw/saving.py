"""Pictures as files."""

import io
import os
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from groundling.files import Given, check_place, write

MOST = {"JPEG": 65_500, "WEBP": 16_383}  # pixels of a side
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that a picture's name stands for, as PIL calls it; ValueError for a name of another kind."""
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"cannot save a picture as {path.name!r}; its name should end in {', '.join(FORMATS)}"
        )
    return kind


def check_picture(path: str | os.PathLike[str], inputs: Iterable[Given] = ()) -> None:
    """The error that `save` would end in for this name, before a model runs for nothing."""
    format_of(path)
    check_place(Path(path), inputs)


def save(image: Image.Image, path: str | os.PathLike[str], inputs: Iterable[Given] = ()) -> Path:
    """Write a picture in one step, in the format of its name.

    `inputs` are files and folders that were read: none of them is written over. ValueError where one would
    be, for a name of another kind, and for a picture with a longer side than the format has.
    """
    kind = format_of(path)
    if max(image.size) > MOST.get(kind, max(image.size)):
        raise ValueError(
            f"a picture of {image.width}x{image.height} cannot be saved as {Path(path).name}: {kind} has at "
            f"most {MOST[kind]:,} pixels a side; save it as .png"
        )
    data = io.BytesIO()
    image.save(data, kind, **({} if kind == "PNG" else {"quality": 92}))
    return write(Path(path), data.getvalue(), inputs=inputs)
