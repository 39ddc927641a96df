"""PhraseCut: phrases, each with the boxes and masks of all it means.

    ROOT/refer_val.json (train, val, miniv, test)   ROOT/image_data_split.json   ROOT/images/2405722.jpg
Images are Visual Genome's; they may lie in ROOT/VG_100K and ROOT/VG_100K_2 too. An instance may have several
polygons, and has all of them here: MDETR's converter keeps the last one. `Caption.subsets` are those that
its `phrase_structure` says. Source: ChenyunWu/PhraseCutDataset.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from groundling.data.caption import Caption, whole
from groundling.data.fitting import Fitting
from groundling.data.image_folder import ImageFolder
from groundling.data.instances import sizes_of
from groundling.data.json_rows import Row, Size, checked, field, identity, optional, rows
from groundling.data.mask import LOST, Mask, usable_mask
from groundling.data.rejects import Rejects
from groundling.data.sample import DataError, box_from_xywh, check_split
from groundling.protocols.phrasecut_subsets import of_structure

_PREFIX = "refer_"
Sizes = Mapping[str, Size | None]


def stream(root: Path, split: str, rejects: Rejects, need_images: bool = True) -> Iterator[Caption]:
    """The phrases of a split, one after the other."""
    check_split(root, split, splits, "no PhraseCut")
    sizes = sizes_of(root / "image_data_split.json", rejects)
    folder = ImageFolder.among([root / name for name in ("images", "VG_100K", "VG_100K_2")], look=need_images)
    tasks = ((f"row {n}", row) for n, (_, row) in enumerate(rows(root / f"{_PREFIX}{split}.json")))
    fitting = Fitting(rejects, need_images)
    yield from rejects.usable(tasks, lambda row: _caption(row, sizes, folder, fitting, rejects))


def splits(root: Path) -> list[str]:
    """The splits that there are."""
    return sorted(file.stem.removeprefix(_PREFIX) for file in root.glob(f"{_PREFIX}*.json"))


def _caption(row: object, sizes: Sizes, folder: ImageFolder, fitting: Fitting, rejects: Rejects) -> Caption:
    name, task = identity(row, "image_id"), field(row, "task_id", str)
    if name not in sizes:
        raise DataError(f"image {name} has no entry in image_data_split.json")
    image, given = folder.path(f"{name}.jpg"), field(row, "instance_boxes", list)
    boxes = [fitting.box(box_from_xywh(box), image, sizes[name], f"task {task}") for box in given]
    if not boxes:
        raise DataError("instance_boxes is empty")
    text, structure = field(row, "phrase", str), optional(row, "phrase_structure", dict) or {}
    masks = _masks(row, len(boxes), f"task {task}", rejects)
    phrase = whole(text, boxes, masks, optional(structure, "name", str))
    return Caption(task, image, text, (phrase,), referring=True, subsets=_subsets(structure))


def _masks(row: object, boxes: int, name: str, rejects: Rejects) -> list[Mask]:
    """The mask of each box; none at all where one cannot be used: a part is not what the phrase means."""
    given = checked(row).get("Polygons")
    if not isinstance(given, list) or len(given) != boxes:
        rejects.note(LOST, name, "Polygons is not a list of as many instances as boxes")
        return []
    masks = [usable_mask(_polygons(polygons), name, rejects) for polygons in given]
    found = [mask for mask in masks if mask is not None]
    if len(found) < boxes:
        rejects.note(LOST, name, "an instance has no polygon that can be used")
    return found if len(found) == boxes else []


def _subsets(structure: Row) -> tuple[str, ...]:
    attributes, relations = (
        optional(structure, key, list) or [] for key in ("attributes", "relation_descriptions")
    )
    return of_structure(len(attributes), len(relations), optional(structure, "type", str))


def _polygons(instance: object) -> object:
    """All polygons of an instance as COCO has them; PhraseCut writes them as lists of corners [x, y]."""
    return [_flat(polygon) for polygon in instance] if isinstance(instance, list) else instance


def _flat(polygon: object) -> object:
    if not isinstance(polygon, list) or not all(isinstance(at, list) and len(at) == 2 for at in polygon):
        return polygon
    return [number for corner in polygon for number in corner]
