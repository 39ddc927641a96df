"""Files that are whole or not there: written beside their place, then renamed."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write(path: Path, data: bytes, prefix: str | None = None) -> Path:
    """Write a file in one step, and its folder where that is missing; `prefix` as in `writing`."""
    with writing(path, prefix) as file:
        file.write(data)
    return path


def check_place(path: Path) -> None:
    """The OSError that writing this file would end in, before the work is done that would be lost."""
    path = _place(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    Path(temporary).unlink()


@contextmanager
def writing(path: Path, prefix: str | None = None) -> Iterator[BinaryIO]:
    """A file to write piece by piece; it takes its place when all went well, and is gone if not.

    `prefix` begins the name of the file that is not whole yet; without it, it is hidden and named alike.
    """
    path = _place(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix or f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _place(path: Path) -> Path:
    """Where a file is really written, its folder made: what a link names, and never in place of a device."""
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "Is a pipe or a device, not a file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
