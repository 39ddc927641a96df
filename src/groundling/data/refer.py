"""RefCOCO, RefCOCO+, RefCOCOg and RefCLEF in the official REFER layout.

    ROOT/refcoco/   refs(unc).p refs(google).p instances.json    ROOT/refcoco+/  refs(unc).p instances.json
    ROOT/refcocog/  refs(umd).p refs(google).p instances.json    ROOT/refclef/   refs(unc).p …
    ROOT/images/mscoco/images/train2014/*.jpg   ROOT/images/saiapr_tc-12/*.jpg   or simply ROOT/images/*.jpg

A ref is one object with one or more sentences; each sentence is a sample. Source of the rules:
lichengunc/refer.
"""

import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from groundling.data import json_rows, pickles
from groundling.data.fitting import Fitting
from groundling.data.image_folder import ImageFolder
from groundling.data.instances import LISTS, TWICE, UNUSED, Once, row_name
from groundling.data.json_rows import Key, as_key, checked, declared_size, entries, field, key
from groundling.data.rejects import Rejects
from groundling.data.sample import Box, DataError, Dataset, Sample, Thing, box_from_xywh

# Who split each dataset; the first that is there is read when nobody is named.
DATASETS = {
    "refcoco": ("unc", "google"),
    "refcoco+": ("unc",),
    "refcocog": ("umd", "google"),
    "refclef": ("unc", "berkeley"),
}

STREET = "street scenes"  # what a result calls the dataset that is drawn in this layout
DRAWN = "Groundling street scenes"  # how its annotations describe themselves

Row = Mapping[str, Any]
_BAD_ROW = (DataError, KeyError, TypeError, AttributeError)  # what a row of the wrong form raises


def read(
    root: Path,
    dataset: str,
    split: str,
    by: str | None = None,
    need_images: bool = True,
    rejects: Rejects | None = None,
) -> Dataset:
    """The samples of one split, and all annotated objects of its images.

    `by` is who made the split (unc, google, umd, berkeley). Rows that cannot be used are left out with a
    DataWarning that counts and names them. With `need_images=False` image files are not looked for: for work
    on the expressions. Raises FileNotFoundError for missing files, ValueError for an unknown dataset or split
    (naming those that exist) and DataError for files that cannot be read.
    """
    file = _refs_file(Path(root), dataset, by)
    refs = _of_split(_load_refs(file), split, file)
    rejects = Rejects() if rejects is None else rejects
    instances = _Instances(file.parent / "instances.json", rejects, Fitting(rejects, need_images))
    folder = _image_folder(Path(root), dataset, instances.image_names(refs), need_images)
    samples, images = list[Sample](), dict[Key, Path]()
    for ref, index, sentence in _sentences(refs):
        try:
            samples.append(_sample(ref, sentence, instances, folder))
            images[key(instances.annotations.get(key(ref, "ann_id")), "image_id")] = samples[-1].image
        except _BAD_ROW as error:
            rejects.add(f"ref {reprlib.repr(ref.get('ref_id'))} sentence {index}", _told(error))
    objects = Rejects("objects")
    things = instances.things(images, objects)
    rejects.report(file, kept=len(samples))
    if objects.count:
        objects.report(instances.file, kept=sum(map(len, things.values())))
    name = STREET if instances.drawn else f"{dataset}({_by(file)})"
    return Dataset(name, split, tuple(samples), things, rejects.count)


def splits(root: Path, dataset: str) -> list[str]:
    """The splits that there are, by those who are named in the dataset, as in "refcoco(google)"."""
    name, _, by = dataset.removesuffix(")").partition("(")
    file = _refs_file(root, name, by or None)
    return sorted({str(ref["split"]) for ref in _load_refs(file)})


class _Instances:
    """instances.json by id: images, annotations, and the names of categories."""

    def __init__(self, file: Path, rejects: Rejects, fitting: Fitting) -> None:
        self.file, self._rejects, self._fitting = file, rejects, fitting
        self.images, self.annotations = Once[Row]("image"), Once[Row]("annotation")
        self._categories = Once[str]("category")
        content = json_rows.load(file)
        missing = [name for name in LISTS if not isinstance(content, dict) or name not in content]
        if missing:
            raise DataError(f"{file}: not a COCO instances file (it has no {', '.join(missing)})")
        info = content.get("info")
        self.drawn = isinstance(info, Mapping) and info.get("description") == DRAWN
        for name in LISTS:
            listed = content[name] if isinstance(content[name], list) else entries(name, content[name])
            for row in listed:
                self._add(name, row)

    def _add(self, name: str, row: object) -> None:
        try:
            if name == "categories":
                self._categories.put(key(row, "id"), field(row, "name", str))
            else:
                kept = self.images if name == "images" else self.annotations
                kept.put(key(row, "id"), checked(row))
        except DataError as error:
            if str(error) != TWICE:  # the same again, as in some copies of the official file
                self._rejects.note(UNUSED, row_name(name, row), str(error))

    def image_name(self, ref: Row) -> str:
        """The image of a ref: by its id, or else by the ref's own file name less its trailing _<object>."""
        number = as_key(ref.get("image_id"))
        image = None if number is None else self.images.first(number)
        if image is not None:
            return field(image, "file_name", str)
        if "file_name" not in ref:
            raise DataError(f"image {ref.get('image_id')} has no entry")
        return re.sub(r"^((?:COCO_[a-z]+\d{4}_)?\d+)_\d+(\.\w+)$", r"\1\2", ref["file_name"])

    def image_names(self, refs: Iterable[Row]) -> Iterator[str]:
        """The images of those refs that have one."""
        for ref in refs:
            with suppress(*_BAD_ROW):
                yield self.image_name(ref)

    def category(self, annotation: Row) -> str | None:
        """The name of what an annotation is of, where the file has it."""
        number = as_key(annotation.get("category_id"))
        return None if number is None else self._categories.find(number)

    def box(self, annotation: Row, image: Path) -> Box:
        """The part of the box of an annotation that lies in its image."""
        number = key(annotation, "image_id")
        entry = self.images.find(number)
        declared = None if entry is None else declared_size(entry)
        box = box_from_xywh(annotation["bbox"])
        return self._fitting.box(box, image, declared, f"annotation {annotation.get('id')}")

    def check_image(self, annotation: Row) -> None:
        """DataError where it is not known which image is meant."""
        number = key(annotation, "image_id")
        if self.images.first(number) is not None:
            self.images.check(number)

    def things(self, images: Mapping[Key, Path], rejects: Rejects) -> dict[Path, tuple[Thing, ...]]:
        """All annotated objects of these images; crowds, which are no single object, are not among them."""
        found: dict[Path, list[Thing]] = {}
        for number in self.annotations:
            try:
                row = self.annotations.get(number)
                image = key(row, "image_id")
                if image not in images or row.get("iscrowd"):
                    continue
                self.check_image(row)
                category = self.category(row)
                if category is None:
                    raise DataError(f"category {row.get('category_id')} has no entry")
                attributes = tuple(row.get("attributes", ()))
                thing = Thing(category, self.box(row, images[image]), attributes)
                found.setdefault(images[image], []).append(thing)
            except _BAD_ROW as error:
                rejects.add(f"annotation {number}", _told(error))
        return {path: tuple(things) for path, things in found.items()}


def _sample(ref: Row, sentence: Row, instances: _Instances, folder: ImageFolder) -> Sample:
    annotation = instances.annotations.get(key(ref, "ann_id"))
    instances.check_image(annotation)
    number = key(annotation, "image_id")
    if as_key(ref.get("image_id", number)) != number:
        raise DataError(f"annotation {ref['ann_id']} is of another image, {number}")
    image = folder.path(instances.image_name(ref))
    return Sample(
        id=f"{_identity(ref, 'ref_id')}-{_identity(sentence, 'sent_id')}",
        image=image,
        expression=sentence["sent"],
        box=instances.box(annotation, image),
        category=instances.category(annotation),
    )


def _identity(row: Row, key: str) -> int | str:
    value = row[key]
    if not isinstance(value, int | str):
        raise DataError(f"{key} is {reprlib.repr(value)}; it should be a number")
    return value


def _told(error: Exception) -> Exception:
    """What is wrong with a row, where Python says it in words of its own."""
    return error if isinstance(error, DataError | KeyError) else DataError(f"not of REFER's form ({error})")


def _sentences(refs: Iterable[Row]) -> Iterator[tuple[Row, int, Row]]:
    return ((ref, index, sentence) for ref in refs for index, sentence in enumerate(ref["sentences"]))


def _of_split(refs: list[Row], split: str, file: Path) -> list[Row]:
    """The refs of a split by the official rules: RefCLEF marks a ref of two test sets as testAB or testBC."""
    there = sorted({ref["split"] for ref in refs})
    if split in ("testA", "testB", "testC"):
        chosen = [ref for ref in refs if ref["split"].startswith("test") and split[-1] in ref["split"][4:]]
    elif split == "test":
        chosen = [ref for ref in refs if "test" in ref["split"]]
    else:
        chosen = [ref for ref in refs if ref["split"] == split]
    if not chosen:
        raise ValueError(f"{file} has no split {split!r}; it has {', '.join(there)}")
    return chosen


def _refs_file(root: Path, dataset: str, by: str | None) -> Path:
    if not root.is_dir():
        raise FileNotFoundError(f"dataset folder not found: {root}")
    if dataset not in DATASETS or not (root / dataset).is_dir():
        there = [name for name in DATASETS if (root / name).is_dir()]
        raise ValueError(f"no dataset {dataset!r} in {root}; it has {', '.join(there) or 'no REFER folder'}")
    there = [name for name in DATASETS[dataset] if (root / dataset / f"refs({name}).p").is_file()]
    if not there:
        raise FileNotFoundError(f"{root / dataset} has no refs(…).p; expected refs({DATASETS[dataset][0]}).p")
    if by is not None and by not in there:
        raise ValueError(f"{root / dataset} has no refs({by}).p; it has the splits by {', '.join(there)}")
    return root / dataset / f"refs({by or there[0]}).p"


def _by(file: Path) -> str:
    return file.stem[len("refs(") : -1]


def _image_folder(root: Path, dataset: str, names: Iterable[str], look: bool) -> ImageFolder:
    official = "saiapr_tc-12" if dataset == "refclef" else "mscoco/images/train2014"
    places = (root / "images" / official, root / "images")
    return ImageFolder.holding(names, places) if look else ImageFolder(places[0], look=False)


def _load_refs(file: Path) -> list[Row]:
    (refs,) = pickles.load(pickles.read_bytes(file), file)
    if not isinstance(refs, list) or not all(map(_is_ref, refs)):
        raise DataError(f"{file}: not a list of refs, each with its split and sentences")
    return refs


def _is_ref(ref: object) -> bool:
    form = {"split": str, "sentences": list}
    return isinstance(ref, dict) and all(isinstance(ref.get(key), kind) for key, kind in form.items())
