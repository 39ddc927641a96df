"""Visual Genome's region descriptions: each a text that refers to one box.

    ROOT/region_descriptions.json   ROOT/image_data.json
    ROOT/VG_100K/*.jpg   ROOT/VG_100K_2/*.jpg   or ROOT/images/*.jpg

There is one split, "all". Source: visualgenome.org, API readme.
"""

from collections.abc import Iterator
from pathlib import Path

from groundling.data.caption import Caption, whole
from groundling.data.fitting import Fitting
from groundling.data.image_folder import ImageFolder
from groundling.data.instances import sizes_of
from groundling.data.json_rows import Row, Size, field, identity, number, rows
from groundling.data.rejects import Rejects
from groundling.data.sample import DataError, box_from_xywh

SPLIT = "all"


def stream(root: Path, split: str, rejects: Rejects, need_images: bool = True) -> Iterator[Caption]:
    """The regions, image by image; the file is never in memory as a whole."""
    if split != SPLIT:
        raise ValueError(f"Visual Genome has one split, {SPLIT!r}, not {split!r}")
    file = root / "region_descriptions.json"
    sizes = sizes_of(root / "image_data.json", rejects)
    folder = ImageFolder.among([root / name for name in ("VG_100K", "VG_100K_2", "images")], look=need_images)
    regions = _Regions(sizes, folder, Fitting(rejects, need_images))
    yield from rejects.usable(_region_rows(file, rejects), regions.caption)


def splits(root: Path) -> list[str]:
    """The splits that there are."""
    return [SPLIT] if (root / "region_descriptions.json").is_file() else []


class _Regions:
    """Makes captions of regions: needs where images lie and which size they have."""

    def __init__(self, sizes: dict[str, Size | None], folder: ImageFolder, fitting: Fitting) -> None:
        self._sizes, self._folder, self._fitting = sizes, folder, fitting

    def caption(self, row: Row) -> Caption:
        name = identity(row, "image_id")
        if name not in self._sizes:
            raise DataError(f"image {name} has no entry in image_data.json")
        image, region = self._folder.path(f"{name}.jpg"), identity(row, "region_id")
        box = box_from_xywh([number(row, key) for key in ("x", "y", "width", "height")])
        inside = self._fitting.box(box, image, self._sizes[name], f"image {name} region {region}")
        text = field(row, "phrase", str)
        return Caption(region, image, text, (whole(text, [inside]),), referring=True)


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
