"""Files that are whole or not there: written beside their place, then renamed."""

import io
import os
import tempfile
from pathlib import Path

from PIL import Image

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def save(image: Image.Image, path: str | os.PathLike[str]) -> Path:
    """Write a picture in one step, in the format of its name; ValueError for a name of another kind."""
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"cannot save a picture as {path.name!r}; a name in {', '.join(FORMATS)} fits")
    data = io.BytesIO()
    image.save(data, kind, **({} if kind == "PNG" else {"quality": 92}))
    return write(path, data.getvalue())


def write(path: Path, data: bytes) -> Path:
    """Write a file in one step, and its folder where that is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
