"""PhraseCut: phrases, each with the boxes and masks of all it means.

    ROOT/refer_val.json (train, val, miniv, test)   ROOT/image_data_split.json   ROOT/images/2405722.jpg
Images are Visual Genome's; they may lie in ROOT/VG_100K and ROOT/VG_100K_2 too. An instance may have several
polygons, and has all of them here: MDETR's converter keeps the last one. `Caption.subsets` are those that
its `phrase_structure` says. Source: ChenyunWu/PhraseCutDataset.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from groundling.data.caption import Caption, whole
from groundling.data.image_folder import ImageFolder
from groundling.data.json_rows import Row, field, identity, optional, rows, size_of
from groundling.data.mask import Mask, mask_from
from groundling.data.sample import DataError, Rejects, box_from_xywh, check_box, check_split
from groundling.protocols.phrasecut_subsets import of_structure

_PREFIX = "refer_"
Sizes = Mapping[str, tuple[int, int]]


def stream(root: Path, split: str, rejects: Rejects, need_images: bool = True) -> Iterator[Caption]:
    """The phrases of a split, one after the other."""
    check_split(root, split, splits, "no PhraseCut")
    sizes = dict(rejects.usable(_image_rows(root / "image_data_split.json"), _size))
    folder = ImageFolder.among([root / name for name in ("images", "VG_100K", "VG_100K_2")], look=need_images)
    tasks = ((f"row {n}", row) for n, (_, row) in enumerate(rows(root / f"{_PREFIX}{split}.json")))
    yield from rejects.usable(tasks, lambda row: _caption(row, sizes, folder))


def splits(root: Path) -> list[str]:
    """The splits that there are."""
    return sorted(file.stem.removeprefix(_PREFIX) for file in root.glob(f"{_PREFIX}*.json"))


def _image_rows(file: Path) -> Iterator[tuple[str, object]]:
    return ((f"{file.name} row {n}", row) for n, (_, row) in enumerate(rows(file)))


def _size(row: object) -> tuple[str, tuple[int, int]]:
    return identity(row, "image_id"), size_of(row)


def _caption(row: object, sizes: Sizes, folder: ImageFolder) -> Caption:
    name = identity(row, "image_id")
    if name not in sizes:
        raise DataError(f"image {name} has no entry in image_data_split.json")
    boxes = [box_from_xywh(box) for box in field(row, "instance_boxes", list)]
    for box in boxes:
        check_box(box, sizes[name])
    if not boxes:
        raise DataError("instance_boxes is empty")
    masks = [_mask(polygons) for polygons in field(row, "Polygons", list)]
    if not masks:
        raise DataError("Polygons is empty")
    text, structure = field(row, "phrase", str), optional(row, "phrase_structure", dict) or {}
    phrase = whole(text, boxes, masks, optional(structure, "name", str))
    image, task = folder.path(f"{name}.jpg"), field(row, "task_id", str)
    return Caption(task, image, text, (phrase,), referring=True, subsets=_subsets(structure))


def _subsets(structure: Row) -> tuple[str, ...]:
    attributes, relations = (
        optional(structure, key, list) or [] for key in ("attributes", "relation_descriptions")
    )
    return of_structure(len(attributes), len(relations), optional(structure, "type", str))


def _mask(polygons: object) -> Mask:
    """All polygons of an instance, which PhraseCut writes as lists of corners [x, y]."""
    if not isinstance(polygons, list) or not all(isinstance(polygon, list) for polygon in polygons):
        raise DataError("the polygons of an instance are not a list of lists of corners")
    return mask_from([[number for corner in polygon for number in _corner(corner)] for polygon in polygons])


def _corner(corner: object) -> list[object]:
    if not isinstance(corner, list) or len(corner) != 2:
        raise DataError(f"corner {corner!r} of a polygon is not x, y")
    return corner
