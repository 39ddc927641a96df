"""Visual Genome's region descriptions: each a text that refers to one box.

    ROOT/region_descriptions.json   ROOT/image_data.json
    ROOT/VG_100K/*.jpg   ROOT/VG_100K_2/*.jpg   or ROOT/images/*.jpg

There is one split, "all". A box that sticks out of its image is cut at the edge, and one of which nothing is
left is left out; both are counted. Source: visualgenome.org, API readme.
"""

from collections.abc import Iterator
from pathlib import Path

from groundling import callers
from groundling.data.caption import Caption, whole
from groundling.data.image_folder import ImageFolder
from groundling.data.json_rows import Row, field, identity, number, rows, size_of
from groundling.data.sample import Box, DataError, DataWarning, Rejects, box_from_xywh, check_box

SPLIT = "all"


def stream(root: Path, split: str, rejects: Rejects, need_images: bool = True) -> Iterator[Caption]:
    """The regions, image by image; the file is never in memory as a whole."""
    if split != SPLIT:
        raise ValueError(f"Visual Genome has one split, {SPLIT!r}, not {split!r}")
    file = root / "region_descriptions.json"
    sizes = dict(rejects.usable(_named(root / "image_data.json"), _size))
    folder = ImageFolder.among([root / name for name in ("VG_100K", "VG_100K_2", "images")], look=need_images)
    regions = _Regions(sizes, folder)
    yield from rejects.usable(_region_rows(file, rejects), regions.caption)
    if regions.cut:
        message = f"{file}: {regions.cut} boxes stuck out of their image and were cut at its edge"
        callers.warn(message, DataWarning)


def splits(root: Path) -> list[str]:
    """The splits that there are."""
    return [SPLIT] if (root / "region_descriptions.json").is_file() else []


class _Regions:
    """Makes captions of regions, and counts the boxes that were cut."""

    def __init__(self, sizes: dict[str, tuple[int, int]], folder: ImageFolder) -> None:
        self._sizes = sizes
        self._folder = folder
        self.cut = 0

    def caption(self, row: Row) -> Caption:
        name = identity(row, "image_id")
        if name not in self._sizes:
            raise DataError(f"image {name} has no entry in image_data.json")
        box = box_from_xywh([number(row, key) for key in ("x", "y", "width", "height")])
        check_box(box)
        inside = _clipped(box, self._sizes[name])
        check_box(inside)
        self.cut += inside != box
        text, image = field(row, "phrase", str), self._folder.path(f"{name}.jpg")
        phrase = whole(text, [inside])
        return Caption(identity(row, "region_id"), image, text, (phrase,), referring=True)


def _named(file: Path) -> Iterator[tuple[str, object]]:
    return ((f"image {n}", row) for n, (_, row) in enumerate(rows(file)))


def _size(row: object) -> tuple[str, tuple[int, int]]:
    return identity(row, "image_id"), size_of(row)


def _region_rows(file: Path, rejects: Rejects) -> Iterator[tuple[str, Row]]:
    """Each region with the id of its image."""
    for n, (_, image) in enumerate(rows(file)):
        try:
            name, regions = identity(image, "id"), field(image, "regions", list)
        except DataError as error:
            rejects.add(f"entry {n}", error)
            continue
        for index, region in enumerate(regions):
            named = region if isinstance(region, dict) else {}
            yield f"image {name} region {named.get('region_id', index)}", {"image_id": name} | named


def _clipped(box: Box, size: tuple[int, int]) -> Box:
    width, height = size
    x1, y1, x2, y2 = box
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
