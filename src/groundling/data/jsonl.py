"""JSON Lines, the format for data of one's own: a row is an expression, or a caption with phrases.

    {"image": "photos/1.jpg", "expression": "dog on the left", "box": [x1, y1, x2, y2]}
    {"image": "photos/1.jpg", "caption": "Two dogs on a sofa", "phrases": [{"spans": [[0, 8]], "boxes": […]}]}

The image is a path relative to the file, a box xyxy in pixels of the upright image, a span the characters
from the first to before the second; "id" may be there too, and other keys are left alone. An expression may
have its "category"; a phrase "category" and, one a box, "masks" (COCO's polygons or run lengths) and "finals"
(whether it is what the caption asks for); a caption an "answer" (a text, or "text", "kind", "detailed",
"boxes"), "negatives" (spans), "referring" (all of it is one expression) and "subsets" (names of what it is
measured in). Any dataset can be written so: `write(path,
dataset.samples)` or `write(path, set.captions)`.
A box that sticks out of its image, mostly an xywh or one of another size of the image, is an error.
"""

import json
import os
import reprlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from groundling import files
from groundling.data.caption import Answer, Caption, CaptionSet, Phrase, referring, spans_from
from groundling.data.image_folder import Listing, Sizes
from groundling.data.json_rows import Row, field, lines, optional, row_of
from groundling.data.mask import as_segmentation, mask_from
from groundling.data.sample import Box, DataError, Dataset, Sample, box_from_xyxy


def read(path: Path, split: str | None = None, need_images: bool = True) -> Dataset:
    """The expressions of a file, or of SPLIT.jsonl in a folder; also those in captions.

    The first bad row is a DataError with its line. need_images: look whether they are there and large enough
    for their boxes. A file is the split of its name; ValueError for another one.
    """
    file = _file(Path(path), split)
    samples: list[Sample] = []
    for row in _rows(file, need_images):
        samples.extend(row.samples() if isinstance(row, Caption) else [row])
    if not samples:
        raise DataError(f"{file}: has captions, but no phrase of one box in them")
    return Dataset(file.stem, file.stem, tuple(samples))


def read_captions(path: Path, split: str | None = None, need_images: bool = True) -> CaptionSet:
    """The captions of a file, as `read` its expressions; an expression is a caption that is one phrase."""
    file = _file(Path(path), split)
    rows = _rows(file, need_images)
    captions = tuple(row if isinstance(row, Caption) else referring(row) for row in rows)
    return CaptionSet(file.stem, file.stem, captions)


def write(path: Path, rows: Iterable[Sample | Caption]) -> int:
    """One line a sample or caption, in one step; the count of lines.

    Reading the file gives equal values, with absolute paths if theirs were.
    """
    path = Path(path)
    count = 0
    with files.writing(path) as file:
        for row in rows:
            content = _caption_row(row) if isinstance(row, Caption) else _sample_row(row)
            image = {"image": Path(os.path.relpath(row.image, path.parent)).as_posix()}
            file.write(_line(image | content))
            count += 1
    return count


def _rows(file: Path, need_images: bool) -> Iterator[Sample | Caption]:
    """The rows of a file; DataError for a file without."""
    listing, sizes, number = Listing(), Sizes(), 0
    for number, line in lines(file):
        try:
            row = _row(row_of(line), file, number)
            if need_images:
                if not listing.has(row.image):
                    raise DataError(f"image not found: {row.image}")
                for box in _boxes(row):
                    sizes.check(box, row.image)
        except DataError as error:
            raise DataError(f"{file}:{number}: {error}") from error
        yield row
    if not number:
        raise DataError(f"{file}: has no rows")


def _boxes(row: Sample | Caption) -> Iterator[Box]:
    if isinstance(row, Sample):
        yield row.box
        return
    for phrase in row.phrases:
        yield from phrase.boxes
    if row.answer:
        yield from row.answer.boxes


def _row(row: Row, file: Path, number: int) -> Sample | Caption:
    kind = "caption" if "caption" in row else "expression"
    _all_there(row, ("image", kind) if kind == "caption" else ("image", kind, "box"))
    identity = optional(row, "id", str)
    named = f"{file.stem}-{number}" if identity is None else identity
    image = file.parent / os.path.normpath(field(row, "image", str))
    text = field(row, kind, str)
    if kind == "caption":
        return _caption(named, image, text, row)
    return Sample(named, image, text, box_from_xyxy(row["box"]), optional(row, "category", str))


def _all_there(row: Row, keys: Iterable[str]) -> None:
    missing = [key for key in keys if key not in row]
    if missing:
        hint = "; 'bbox' is not read, since it is mostly xywh: write xyxy as 'box'" if "bbox" in row else ""
        raise DataError(f"has no {', '.join(map(repr, missing))}{hint}")


def _caption(identity: str, image: Path, text: str, row: Row) -> Caption:
    phrases = tuple(_phrase(phrase) for phrase in optional(row, "phrases", list) or [])
    negatives = spans_from(optional(row, "negatives", list) or [])
    refers, answer = optional(row, "referring", bool) or False, _answer(row.get("answer"))
    return Caption(identity, image, text, phrases, answer, negatives, refers, _subsets(row))


def _subsets(row: Row) -> tuple[str, ...]:
    names = optional(row, "subsets", list) or []
    if not all(isinstance(name, str) for name in names):
        raise DataError(f"subsets are {reprlib.repr(names)}; they should be a list of texts")
    return tuple(names)


def _phrase(row: object) -> Phrase:
    return Phrase(
        spans_from(field(row, "spans", list)),
        tuple(map(box_from_xyxy, field(row, "boxes", list))),
        tuple(map(mask_from, optional(row, "masks", list) or [])),
        optional(row, "category", str),
        _finals(optional(row, "finals", list) or []),
    )


def _finals(values: list[object]) -> tuple[bool, ...]:
    if not all(isinstance(value, bool) for value in values):
        raise DataError(f"finals are {reprlib.repr(values)}; they should be a list of true and false")
    return tuple(map(bool, values))


def _answer(value: object) -> Answer | None:
    if value is None or isinstance(value, str):
        return None if value is None else Answer(value)
    if not isinstance(value, dict):
        raise DataError(f"answer is {reprlib.repr(value)}; it should be text, or an object with one")
    boxes = tuple(map(box_from_xyxy, optional(value, "boxes", list) or []))
    text, kind = field(value, "text", str), optional(value, "kind", str)
    return Answer(text, kind, boxes, optional(value, "detailed", str))


def _sample_row(sample: Sample) -> dict[str, Any]:
    row = {"expression": sample.expression, "box": list(sample.box), "id": sample.id}
    return row if sample.category is None else row | {"category": sample.category}


def _caption_row(caption: Caption) -> dict[str, Any]:
    answer = caption.answer and {
        "text": caption.answer.text, "kind": caption.answer.kind, "boxes": caption.answer.boxes,
        "detailed": caption.answer.detailed,
    }  # fmt: skip
    row = {"caption": caption.text, "phrases": list(map(_phrase_row, caption.phrases)), "id": caption.id}
    more = {"answer": _filled(answer or {}), "negatives": caption.negatives, "referring": caption.referring}
    return row | _filled(more | {"subsets": caption.subsets})


def _phrase_row(phrase: Phrase) -> dict[str, Any]:
    masks = list(map(as_segmentation, phrase.masks))
    more = {"masks": masks, "category": phrase.category, "finals": phrase.finals}
    return {"spans": phrase.spans, "boxes": phrase.boxes} | _filled(more)


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    """Only what is there: what is empty is read as empty where it is missing."""
    return {key: value for key, value in row.items() if value or value == ""}


def _line(row: dict[str, Any]) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # in a file name, which only an escape can write
        return json.dumps(row).encode() + b"\n"


def _file(path: Path, split: str | None) -> Path:
    if not path.is_dir():
        if split not in (None, path.stem):
            raise ValueError(
                f"{path} is the split {path.stem!r}, not {split!r}; ask for {path.stem!r}, or give a folder"
            )
        return path
    there = sorted(file.stem for file in path.glob("*.jsonl"))
    if split not in there:
        raise ValueError(f"{path} has no split {split!r}; it has {', '.join(there) or 'no .jsonl file'}")
    return path / f"{split}.jsonl"
