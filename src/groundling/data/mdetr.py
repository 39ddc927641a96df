"""MDETR's annotation JSON: COCO's form, with a caption an image entry and spans an annotation.

    ROOT/OpenSource/final_flickr_separateGT_val.json, ROOT/finetune_gqa_val_balanced.json, …
    ROOT/train2014/*.jpg (COCO)   ROOT/VG_100K/*.jpg   ROOT/flickr30k-images/*.jpg   or ROOT/images/*.jpg

A split is the name of a file without .json. Annotations of the same spans are boxes of one phrase; Flickr's
files say at the image which phrases there are, since a box of theirs has the spans of all that mean it. In
files of referring expressions the whole caption refers to the box, whose spans are of its noun alone. Source:
ashkamath/mdetr, scripts.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from groundling import files
from groundling.data.caption import Answer, Caption, Phrase, Span, spans_from
from groundling.data.fitting import Fitting, is_small
from groundling.data.image_folder import ImageFolder, Sizes
from groundling.data.instances import SAME_ID, Once, annotation_id, members, row_name
from groundling.data.json_rows import (
    Key,
    Row,
    Size,
    as_key,
    checked,
    declared_size,
    field,
    identity,
    key,
    optional,
)
from groundling.data.mask import Mask, as_segmentation, of_size, usable_mask
from groundling.data.rejects import Rejects
from groundling.data.sample import Box, DataError, box_from_xywh, check_split

_PATTERNS = ("final_*.json", "finetune_*.json")
_FOLDERS = (".", "OpenSource", "mdetr_annotations")
_COCO = ("train2014", "val2014", "train2017", "val2017")
_VG = ("VG_100K", "VG_100K_2")
_FLICKR = ("flickr30k-images", "flickr30k_images")
# Where images lie, by data_source or else by dataset_name; "images" and ROOT itself are looked in last.
_PLACES = {"coco": _COCO, "vg": _VG, "gqa": _VG, "phrasecut": _VG, "flickr": _FLICKR}
_EXPRESSIONS = ("refcoco", "refcoco+", "refcocog")
NO_FINAL = "marks of what is asked for left out, their boxes kept"
ANYTHING = "object"  # the category of files that do not sort objects


@dataclass(frozen=True)
class _Mark:
    """An annotation: a box, and which characters of its caption mean it."""

    spans: tuple[Span, ...]
    box: Box
    mask: Mask | None
    category: Key
    id: Key
    final: bool | None  # whether the box is what the caption asks for; None where the file does not say


def stream(root: Path, split: str, rejects: Rejects, need_images: bool = True) -> Iterator[Caption]:
    """The captions of a file, less the annotations that cannot be used and their phrases.

    A phrase that has lost one of two boxes would look like one that means a single thing.
    """
    content = _Content(root, need_images, rejects)
    for name, row in members(_file(root, split)):
        try:
            content.add(name, row)
        except DataError as error:
            rejects.add(row_name(name, row), error)
            content.miss(row)
    for number in [number for number in content.marks if number not in content.images]:
        for mark in content.marks[number]:
            rejects.add(f"annotation {mark.id}", DataError(f"image {number} has no entry"))
    images = ((f"image {number}", number) for number in content.images)
    yield from rejects.usable(images, content.caption)


def splits(root: Path) -> list[str]:
    """The splits that there are."""
    return sorted(_files(root))


def write(path: Path, captions: Iterable[Caption], name: str, inputs: Iterable[Path] = ()) -> int:
    """Captions as MDETR's scripts write them, `name` as their dataset_name; the count of captions.

    `inputs` as in `files.writing`.

    Images are named relative to the file where they lie below it. A phrase without a box is only words in
    this format, and the boxes of an answer, its detailed kind and subsets have no place in it.
    """
    images, annotations, categories, sizes = list[Any](), list[Any](), {ANYTHING: 1}, Sizes()
    there = path.exists()
    for caption in captions:
        files.check_kept(path, [caption.image] if there else [])
        images.append(_image_row(caption, len(images), name, path.parent, sizes))
        for phrase in caption.phrases:
            category = categories.setdefault(phrase.category or ANYTHING, len(categories) + 1)
            for row in _annotation_rows(phrase):
                numbers = {"id": len(annotations), "image_id": len(images) - 1, "category_id": category}
                annotations.append(row | numbers)
    sorts = [{"supercategory": ANYTHING, "id": number, "name": sort} for sort, number in categories.items()]
    content = {"info": [], "licenses": [], "images": images, "annotations": annotations, "categories": sorts}
    files.write(path, json.dumps(content, allow_nan=False).encode(), inputs=inputs)
    return len(images)


class _Content:
    """The lists of a file, in whatever order they come."""

    def __init__(self, root: Path, need_images: bool, rejects: Rejects) -> None:
        self._root, self._look, self._rejects = root, need_images, rejects
        self._folders: dict[str, ImageFolder] = {}
        self._fitting = Fitting(rejects, need_images)
        self.images = Once[Row]("image")
        self.marks: dict[Key, list[_Mark]] = {}
        self._categories = Once[str]("category")
        self._seen: dict[Key, tuple[Key, _Mark]] = {}
        self._missed: dict[Key, set[Span]] = {}  # the spans of annotations that were left out, by image

    def add(self, name: str, row: object) -> None:
        """A row of the list of this name."""
        if name == "images":
            self.images.put(key(row, "id"), checked(row))
        elif name == "annotations":
            number = annotation_id(row, len(self._seen), self._rejects)
            mark, image = _mark(row, number, self._rejects), key(row, "image_id")
            if self._seen.setdefault(number, (image, mark)) != (image, mark):
                self._rejects.note(SAME_ID, f"annotation {number} of image {image}")
            elif self._seen[number][1] is not mark:
                raise DataError("its id comes twice")
            self.marks.setdefault(image, []).append(mark)
        elif name == "categories":
            self._categories.put(key(row, "id"), field(row, "name", str))

    def miss(self, row: object) -> None:
        """Remember which words lack an annotation that was left out, if it says so."""
        with suppress(DataError):
            number, spans = key(row, "image_id"), spans_from(field(row, "tokens_positive", list))
            self._missed.setdefault(number, set()).update(spans)

    def caption(self, number: Key) -> Caption:
        """The caption of an image; DataError where it has none that can be used."""
        row = self.images.get(number)
        if row.get("pixels") is True:  # ours: boxes of less than a pixel are meant
            self._fitting.in_pixels()
        text = field(row, "caption", str)
        image = self._folder(row).path(field(row, "file_name", str))
        size = self._fitting.size(image, declared_size(row))
        every = self.marks.get(number, [])
        named = ((f"annotation {mark.id}", mark) for mark in every)
        fitted = list(self._rejects.usable(named, lambda mark: (mark, self._fitted(mark, text, image, size))))
        marks, kept = [mark for _, mark in fitted], {id(mark) for mark, _ in fitted}
        lost = {span for mark in every if id(mark) not in kept for span in mark.spans}
        lost |= self._missed.get(number, set())
        groups = ((spans, group) for spans, group in _grouped(row, marks) if not lost & set(spans))
        phrases = tuple(self._phrase(spans, group) for spans, group in groups)
        negatives = spans_from(optional(row, "tokens_negative", list) or [])
        expression = optional(row, "referring", bool) or _source(row) in _EXPRESSIONS
        refers = expression and len(phrases) == 1
        return Caption(_identity(row), image, text, phrases, _answer(row), negatives, refers)

    def _fitted(self, mark: _Mark, text: str, image: Path, size: Size | None) -> _Mark:
        """The mark as far as it lies in its image; DataError for one whose words are not in the caption."""
        if not mark.spans:
            raise DataError("tokens_positive is empty")
        if mark.spans[-1][1] > len(text):
            raise DataError(f"span {mark.spans[-1]} leaves the caption of {len(text)} characters")
        name = f"annotation {mark.id}"
        mask = of_size(mark.mask, size, name, self._rejects)
        return replace(mark, box=self._fitting.box(mark.box, image, size, name), mask=mask)

    def _phrase(self, spans: tuple[Span, ...], marks: list[_Mark]) -> Phrase:
        masks = tuple(mark.mask for mark in marks if mark.mask is not None)
        finals = [mark.final for mark in marks]
        category = (self._categories.find(marks[0].category) if marks else None) or ANYTHING
        return Phrase(
            spans,
            tuple(mark.box for mark in marks),
            masks if len(masks) == len(marks) else (),
            None if category == ANYTHING else category,
            () if None in finals else tuple(map(bool, finals)),
        )

    def _folder(self, row: object) -> ImageFolder:
        source = optional(row, "data_source", str) or _source(row)
        key = source if source in _PLACES else "coco" if source in _EXPRESSIONS else ""
        if key not in self._folders:
            places = [
                self._root / name for name in (*_PLACES.get(key, (*_COCO, *_VG, *_FLICKR)), "images", ".")
            ]
            self._folders[key] = ImageFolder.among(places, look=self._look)
        return self._folders[key]


def _mark(row: object, number: Key, rejects: Rejects) -> _Mark:
    name = f"annotation {number}"
    mask = usable_mask(checked(row).get("segmentation"), name, rejects)
    spans = spans_from(field(row, "tokens_positive", list))
    category = as_key(checked(row).get("category_id"))
    final = checked(row).get("isfinal")  # a number in some files
    if final not in (None, 0, 1):
        rejects.note(NO_FINAL, name, f"isfinal is {final!r}; it should be true or false")
        final = None
    box = box_from_xywh(field(row, "bbox", list))
    return _Mark(spans, box, mask, 1 if category is None else category, number, _true(final))


def _true(value: object) -> bool | None:
    return None if value is None else bool(value)


def _grouped(row: object, marks: list[_Mark]) -> Iterator[tuple[tuple[Span, ...], list[_Mark]]]:
    """The spans of each phrase and the marks of its boxes."""
    phrases = [spans_from(spans) for spans in optional(row, "tokens_positive_eval", list) or []]
    for spans in dict.fromkeys(phrases):
        yield spans, [mark for mark in marks if set(spans) <= set(mark.spans)]
    rest = [mark for mark in marks if not any(set(spans) <= set(mark.spans) for spans in phrases)]
    for spans in dict.fromkeys(mark.spans for mark in rest):
        yield spans, [mark for mark in rest if mark.spans == spans]


def _identity(row: object) -> str:
    """What names a caption: the question, task or sentence that it was made of, or else its number."""
    for name in ("caption_id", "questionId", "task_id"):
        if checked(row).get(name) is not None:
            return identity(row, name)
    if {"original_img_id", "sentence_id"} <= checked(row).keys():
        return f"{identity(row, 'original_img_id')}-{identity(row, 'sentence_id')}"
    return identity(row, "id")


def _source(row: object) -> str:
    """Which dataset a row of a combined file comes from."""
    return optional(row, "dataset_name", str) or ""


def _answer(row: object) -> Answer | None:
    text = optional(row, "answer", str)
    return None if text is None else Answer(text, optional(row, "question_type", str))


def _image_row(caption: Caption, number: int, name: str, folder: Path, sizes: Sizes) -> dict[str, Any]:
    width, height = sizes.of(caption.image)
    relative = Path(os.path.relpath(caption.image, folder))
    file_name = caption.image.name if ".." in relative.parts else relative.as_posix()
    row = {"file_name": file_name, "height": height, "width": width, "id": number, "caption": caption.text}
    row |= {"dataset_name": name, "tokens_negative": caption.negatives or [(0, len(caption.text))]}
    row |= {"caption_id": caption.id, "referring": caption.referring}
    row |= {"pixels": True} if any(is_small(box) for p in caption.phrases for box in p.boxes) else {}
    if caption.answer is None:
        return row
    answer = {"answer": caption.answer.text, "question_type": caption.answer.kind}
    return row | answer | {"questionId": caption.id}


def _annotation_rows(phrase: Phrase) -> Iterator[dict[str, Any]]:
    for index, (x1, y1, x2, y2) in enumerate(phrase.boxes):
        bbox = [x1, y1, x2 - x1, y2 - y1]
        row = {"bbox": bbox, "area": bbox[2] * bbox[3], "iscrowd": 0, "tokens_positive": phrase.spans}
        row |= {"segmentation": as_segmentation(phrase.masks[index])} if phrase.masks else {}
        yield row | ({"isfinal": phrase.finals[index]} if phrase.finals else {})


def _file(root: Path, split: str) -> Path:
    check_split(root, split, splits, "no such file")
    return _files(root)[split]


def _files(root: Path) -> dict[str, Path]:
    """The file of each split."""
    places = (root / folder for folder in reversed(_FOLDERS))
    found = (file for place in places for pattern in _PATTERNS for file in place.glob(pattern))
    return {file.stem: file for file in found}
