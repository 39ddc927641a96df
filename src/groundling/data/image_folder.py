"""Where a dataset's images lie: each folder is listed once, instead of asking the disk for every sample.

A name that is there in another Unicode form is found: archives made on a Mac hold é as two characters.
"""

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from groundling import files
from groundling.data.sample import DataError
from groundling.pictures.images import ImageError, open_image, upright_size


class Listing:
    """Which files there are, from one listing a folder."""

    def __init__(self) -> None:
        self._names: dict[Path, dict[str, str]] = {}

    def has(self, file: Path) -> bool:
        """Whether there is an entry of this path, or of one that differs in its Unicode form alone."""
        return self.find(file) is not None

    def find(self, file: Path) -> Path | None:
        """The path as it is on the disk; None where there is no entry of it."""
        names = self._listed(file.parent)
        own = names.get(file.name)
        if own is None and not file.name.isascii():
            own = names.get(unicodedata.normalize("NFC", file.name))
        if own is not None:
            return file if own == file.name else file.parent / own
        return None if str(file.parent).isascii() else self._elsewhere(file)

    def _listed(self, folder: Path) -> dict[str, str]:
        """The names in a folder, and the composed form of those that are written otherwise."""
        if folder not in self._names:
            there = os.listdir(folder) if folder.is_dir() else []
            composed = {unicodedata.normalize("NFC", n): n for n in there if not n.isascii()}
            self._names[folder] = composed | {name: name for name in there}
        return self._names[folder]

    def _elsewhere(self, file: Path) -> Path | None:
        """The file in a folder whose own name is in another form."""
        folder = files.found(file.parent)
        return None if folder == file.parent else self.find(folder / file.name)


class Sizes:
    """The sizes of image files, from one look at each header: a tenth of a millisecond, not a decoding."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, int]] = {}

    def of(self, image: Path) -> tuple[int, int]:
        """The width and height of an image as it is seen; DataError for one that cannot be used."""
        if image not in self._known:
            self._known[image] = _looked_at(image, upright_size)
        return self._known[image]

    def decoded(self, image: Path) -> tuple[int, int]:
        """The same from its pixels: the header of a PNG may not say how it is turned."""
        self._known[image] = _looked_at(image, lambda path: open_image(path).size)
        return self._known[image]


def _looked_at(image: Path, look: Callable[[Path], tuple[int, int]]) -> tuple[int, int]:
    try:
        return look(image)
    except (ImageError, FileNotFoundError) as error:
        raise DataError(str(error)) from error


class ImageFolder:
    """Turns the image names of an annotation file into paths of files that exist."""

    def __init__(self, *folders: Path, look: bool = True) -> None:
        """The first of the folders that has an image is meant.

        With `look=False` no file is looked for: for work on the expressions alone.
        """
        assert folders
        self.folders = folders
        self._listing = Listing() if look else None
        self._paths: dict[str, Path] = {}  # several expressions are about one image

    @classmethod
    def holding(cls, names: Iterable[str], places: Sequence[Path]) -> "ImageFolder":
        """The first of `places` that holds one of the first hundred names; FileNotFoundError if none does."""
        some = list(islice(names, 100))
        for place in places:
            folder = cls(place)
            if any(folder._listing and folder._listing.has(place / name) for name in some):
                return folder
        example = f"images such as {some[0]}" if some else "the dataset's images"
        raise FileNotFoundError(f"found no {example}; looked in {', '.join(map(str, places))}")

    @classmethod
    def among(cls, places: Sequence[Path], look: bool = True) -> "ImageFolder":
        """All of `places` that there are; FileNotFoundError if there is none to look in."""
        there = [place for place in places if place.is_dir()]
        if look and not there:
            raise FileNotFoundError(f"found no folder of images; looked for {', '.join(map(str, places))}")
        return cls(*(there or places[:1]), look=look)

    def path(self, name: str) -> Path:
        """The path of an image; DataError if there is no such file or the name leads out of the folder."""
        if name not in self._paths:
            self._paths[name] = self._find(name)
        return self._paths[name]

    def _find(self, name: str) -> Path:
        inner = PurePosixPath(name)
        if inner.is_absolute() or ".." in inner.parts or not inner.name or "\0" in name:
            raise DataError(f"image name {name!r} leads out of the image folder")
        for folder in self.folders:
            found = self._listing.find(folder / inner) if self._listing else folder / inner
            if found is not None:
                return found
        raise DataError(f"image {name} is not in {' or '.join(map(str, self.folders))}")
