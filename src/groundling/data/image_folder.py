"""Where a dataset's images lie: one folder of several usual places, each listed once."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from groundling.data.sample import DataError


class ImageFolder:
    """Finds image files by name; a folder is listed once instead of asking the disk for every sample."""

    def __init__(self, folder: Path, checked: bool = True) -> None:
        self.folder, self.checked = folder, checked
        self._listed: dict[str, frozenset[str]] = {}

    @classmethod
    def first_with(cls, name: str, places: Sequence[Path]) -> "ImageFolder":
        """The first of `places` that holds the image `name`; FileNotFoundError that lists them if none does."""
        for place in places:
            if (place / name).is_file():
                return cls(place)
        looked = ", ".join(map(str, places))
        raise FileNotFoundError(f"image {name} is in none of: {looked}; put the dataset's images into one of them")

    @classmethod
    def unchecked(cls, folder: Path) -> "ImageFolder":
        """A folder whose files are not looked for: for work on the expressions alone."""
        return cls(folder, checked=False)

    def path(self, name: str) -> Path:
        """The path of the image; DataError if it is missing or the name leads out of the folder."""
        inner = PurePosixPath(name)
        if inner.is_absolute() or ".." in inner.parts or not inner.name:
            raise DataError(f"image name {name!r} leads out of the image folder")
        if not self.checked:
            return self.folder / inner
        parent = str(inner.parent)
        if parent not in self._listed:
            self._listed[parent] = _names(self.folder / parent)
        if inner.name not in self._listed[parent]:
            raise DataError(f"image {name} is not in {self.folder}")
        return self.folder / inner


def _names(folder: Path) -> frozenset[str]:
    return frozenset(os.listdir(folder)) if folder.is_dir() else frozenset()
