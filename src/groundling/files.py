"""Files that are whole or not there: written beside their place, then renamed."""

import os
import tempfile
from pathlib import Path


def write(path: Path, data: bytes, prefix: str | None = None) -> Path:
    """Write a file in one step, and its folder where that is missing.

    `prefix` begins the name of the file that is not whole yet; without it, it is hidden and named alike.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix or f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
