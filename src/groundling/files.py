"""Files that are saved whole, never over what is being read; and the file that a path means."""

import errno
import os
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

Given = str | os.PathLike[str]


def write(path: Path, data: bytes, prefix: str | None = None, inputs: Iterable[Given] = ()) -> Path:
    """Write a file in one step, and its folder where that is missing; arguments as in `writing`."""
    with writing(path, prefix, inputs) as file:
        file.write(data)
    return path


def check_place(path: Path, inputs: Iterable[Given] = ()) -> None:
    """The error that `writing` this file would end in, before the work is done that would be lost."""
    path = _place(path, inputs)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    Path(temporary).unlink()


@contextmanager
def writing(path: Path, prefix: str | None = None, inputs: Iterable[Given] = ()) -> Iterator[BinaryIO]:
    """A file to write piece by piece; it takes its place when all went well, and is gone if not.

    `prefix` begins the name of the file that is not whole yet; without it, it is hidden and named alike.
    `inputs`: what the work reads; ValueError, as of `check_kept`, where it would be written over.
    """
    path = _place(path, inputs)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix or f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_kept(path: Given, inputs: Iterable[Given]) -> None:
    """ValueError where writing to `path` would lose one of the inputs.

    An input is a file under any of its names (links, another spelling, another letter case where the disk
    sees none), or whatever is there already in a folder; what does not exist is none.
    """
    if not os.path.exists(path):
        return
    for given in inputs:
        if os.path.isdir(given):
            if _lies_in(path, given):
                raise ValueError(
                    f"{path} lies in {given}, which is read here, and would be written over; "
                    "choose a place outside it"
                )
        elif same_file(path, given):
            what = "is" if os.fspath(path) == os.fspath(given) else f"is the same file as {given}, which is"
            raise ValueError(f"{path} {what} read here, and would be written over; choose another place")


def check_folder_kept(folder: Given, inputs: Iterable[Given]) -> None:
    """ValueError where replacing a whole folder would lose one of the inputs: files, or folders, in it."""
    if not os.path.exists(folder):
        return
    for given in inputs:
        if os.path.exists(given) and any(same_file(folder, place) for place in _upwards(given)):
            raise ValueError(
                f"{given} is read here, and lies in {folder}, which would be replaced; choose another folder"
            )


def found(path: Given) -> Path:
    """The path under which a file is there: as given, or written in another Unicode form.

    `é` is one character or two: archives made on a Mac hold the second where annotations say the first.
    Where nothing is there the path comes back as it was given.
    """
    path = Path(path)
    if os.path.lexists(path) or str(path).isascii():
        return path
    place = Path(path.anchor)
    for name in path.parts[1:] if path.anchor else path.parts:
        own = name if os.path.lexists(place / name) else _alike(place, name)
        if own is None:
            return path
        place /= own
    return place


def _alike(folder: Path, name: str) -> str | None:
    """The first name in a folder that is this one in another Unicode form."""
    wanted = unicodedata.normalize("NFC", name)
    with suppress(OSError):
        return next(
            (n for n in sorted(os.listdir(folder)) if unicodedata.normalize("NFC", n) == wanted), None
        )
    return None


def same_file(path: Given, other: Given) -> bool:
    """Whether two paths lead to one file or folder that is there; False for what cannot be a path."""
    with suppress(OSError, ValueError):  # ValueError: a null byte
        return os.path.samefile(path, other)
    return False


def _lies_in(path: Given, folder: Given) -> bool:
    """Whether a file is in a folder, there or further down, under this name or another one of its own."""
    if any(same_file(place, folder) for place in _upwards(path)):
        return True
    own = os.stat(path)
    if own.st_nlink == 1 or os.path.isdir(path):
        return False
    places = (os.path.join(top, name) for top, _, names in os.walk(folder) for name in names)
    return any(same_file(path, place) for place in places)


def _upwards(path: Given) -> list[Path]:
    """What a path names, and the folders that hold it."""
    real = Path(os.path.realpath(path))
    return [real, *real.parents]


def _place(path: Path, inputs: Iterable[Given]) -> Path:
    """Where a file is really written, its folder made: what a link names, and never in place of a device."""
    check_kept(path, inputs)
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "Is a pipe or a device, not a file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
