"""Pictures as files."""

import io
import os
from pathlib import Path

from PIL import Image

from groundling.files import write

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that a picture's name stands for, as PIL calls it; ValueError for a name of another kind."""
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"cannot save a picture as {path.name!r}; a name in {', '.join(FORMATS)} fits")
    return kind


def save(image: Image.Image, path: str | os.PathLike[str]) -> Path:
    """Write a picture in one step, in the format of its name; ValueError for a name of another kind."""
    kind = format_of(path)
    data = io.BytesIO()
    image.save(data, kind, **({} if kind == "PNG" else {"quality": 92}))
    return write(Path(path), data.getvalue())
