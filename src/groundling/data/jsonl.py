"""JSON Lines, the format for data of one's own: a row is an expression, or a caption with phrases.

    {"image": "photos/1.jpg", "expression": "dog on the left", "box": [x1, y1, x2, y2]}
    {"image": "photos/1.jpg", "caption": "Two dogs on a sofa", "phrases": [{"spans": [[0, 8]], "boxes": […]}]}

The image is a path relative to the file, a box xyxy in pixels of the upright image, a span the characters
from the first to before the second; "id" may be there too, and other keys are left alone. An expression may
have its "category"; a phrase "category" and, one a box, "masks" (COCO's polygons or run lengths) and "finals"
(whether it is what the caption asks for); a caption an "answer" (a text, or "text", "kind", "detailed",
"boxes"), "negatives" (spans), "referring" (all of it is one expression) and "subsets" (names of what it is
measured in). "pixels": true says that boxes of less than a pixel are meant. Any dataset can be written so:
`write(path, dataset.samples)` or `write(path, set.captions)`.
What of a box sticks out of its image is cut off; a row whose box is none (outside, without an area) is left
out, and of a caption the phrase that has it; all of that is counted in a DataWarning. Anything else that is
wrong with a row is an error with its line.
"""

import json
import os
import reprlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from groundling import files
from groundling.data.caption import Answer, Caption, CaptionSet, Phrase, referring, spans_from
from groundling.data.fitting import Fitting, is_small
from groundling.data.image_folder import Listing
from groundling.data.json_rows import Row, field, lines, optional, row_of
from groundling.data.json_rows import identity as named_by
from groundling.data.mask import Mask, as_segmentation, of_size, usable_mask
from groundling.data.rejects import Rejects
from groundling.data.sample import Box, BoxError, DataError, Dataset, Sample, box_from_xyxy

DECIMALS = 2  # of a box's numbers; a hundredth of a pixel is less than anybody annotates


def read(
    path: Path, split: str | None = None, need_images: bool = True, rejects: Rejects | None = None
) -> Dataset:
    """The expressions of a file, or of SPLIT.jsonl in a folder; also those in captions.

    The first bad row is a DataError with its line. need_images: look whether they are there, and hold boxes
    against them. A file is the split of its name; ValueError for another one.
    """
    file, rejects = _file(Path(path), split), Rejects() if rejects is None else rejects
    samples: list[Sample] = []
    for row in stream(path, split, rejects, need_images):
        samples.extend(row.samples() if isinstance(row, Caption) else [row])
    if not samples:
        raise DataError(f"{file}: has captions, but no phrase of one box in them")
    return Dataset(file.stem, file.stem, tuple(samples), left_out=rejects.count)


def read_captions(path: Path, split: str | None = None, need_images: bool = True) -> CaptionSet:
    """The captions of a file, as `read` its expressions; an expression is a caption that is one phrase."""
    file, rejects = _file(Path(path), split), Rejects()
    rows = stream(path, split, rejects, need_images)
    captions = tuple(row if isinstance(row, Caption) else referring(row) for row in rows)
    return CaptionSet(file.stem, file.stem, captions, rejects.count)


def stream(
    path: Path, split: str | None, rejects: Rejects, need_images: bool = True
) -> Iterator[Sample | Caption]:
    """The rows of a file one by one; what was left out of them is reported after the last."""
    file = _file(Path(path), split)
    reader, kept, number = _Reader(file, rejects, need_images), 0, 0
    for number, line in lines(file):
        try:
            row = reader.row(row_of(line), number)
        except BoxError as error:
            rejects.add(f"{file.name}:{number}", error)
            continue
        except DataError as error:
            raise DataError(f"{file}:{number}: {error}") from error
        kept += 1
        yield row
    if not number:
        raise DataError(f"{file}: has no rows")
    rejects.report(file, kept)


def splits(path: Path) -> list[str]:
    """The splits of a folder, or of a file the one that it is."""
    return [path.stem] if path.is_file() else sorted(file.stem for file in path.glob("*.jsonl"))


def write(path: Path, rows: Iterable[Sample | Caption], inputs: Iterable[Path] = ()) -> int:
    """One line a sample or caption, in one step; the count of lines. `inputs` as in `files.writing`.

    Reading the file gives the same values, boxes to a hundredth of a pixel.
    """
    path, count = Path(path), 0
    there = path.exists()
    with files.writing(path, inputs=inputs) as file:
        for row in rows:
            files.check_kept(path, [row.image] if there else [])
            content = _caption_row(row) if isinstance(row, Caption) else _sample_row(row)
            image = {"image": Path(os.path.relpath(row.image, path.parent)).as_posix()}
            sure = {"pixels": True} if any(map(is_small, boxes_of(row))) else {}
            file.write(_line(image | content | sure))
            count += 1
    return count


def boxes_of(row: Sample | Caption) -> Iterator[Box]:
    """All boxes of a row."""
    if isinstance(row, Sample):
        yield row.box
        return
    for phrase in row.phrases:
        yield from phrase.boxes
    if row.answer:
        yield from row.answer.boxes


class _Reader:
    """Makes samples and captions of the rows of a file."""

    def __init__(self, file: Path, rejects: Rejects, need_images: bool) -> None:
        self._file, self._rejects, self._look = file, rejects, need_images
        self._listing, self._fitting = Listing(), Fitting(rejects, need_images)

    def row(self, row: Row, number: int) -> Sample | Caption:
        """BoxError for a row that has lost its only box, DataError for one of another form."""
        kind = "caption" if "caption" in row else "expression"
        if row.get("pixels") is True:
            self._fitting.in_pixels()
        _all_there(row, ("image", kind) if kind == "caption" else ("image", kind, "box"))
        name = f"{self._file.stem}-{number}" if row.get("id") is None else named_by(row, "id")
        image, text = self._image(field(row, "image", str)), field(row, kind, str)
        if kind == "caption":
            return self._caption(name, image, text, row, f"{self._file.name}:{number}")
        box = self._box(row["box"], image, f"{self._file.name}:{number}")
        return Sample(name, image, text, box, optional(row, "category", str))

    def _image(self, name: str) -> Path:
        image = self._file.parent / os.path.normpath(name)
        found = self._listing.find(image) if self._look else image
        if found is None:
            raise DataError(f"image not found: {image}")
        return found

    def _box(self, values: Any, image: Path, where: str) -> Box:
        return self._fitting.box(box_from_xyxy(values), image, row=where)

    def _caption(self, name: str, image: Path, text: str, row: Row, where: str) -> Caption:
        given = optional(row, "phrases", list) or []
        refers = optional(row, "referring", bool) or False
        phrases = [self._phrase(phrase, image, where, keep=refers) for phrase in given]
        kept = tuple(phrase for phrase in phrases if phrase is not None)
        negatives = spans_from(optional(row, "negatives", list) or [])
        answer = self._answer(row.get("answer"), image, where)
        return Caption(name, image, text, kept, answer, negatives, refers, _subsets(row))

    def _phrase(self, row: object, image: Path, where: str, keep: bool) -> Phrase | None:
        """A phrase; None for one that has lost a box, and would look like one that means fewer.

        `keep`: it is all that its caption has, so that the caption goes with it.
        """
        try:
            boxes = tuple(self._box(box, image, where) for box in field(row, "boxes", list))
        except BoxError as error:
            if keep:
                raise
            self._rejects.add(f"{where} phrase", error)
            return None
        spans, masks = spans_from(field(row, "spans", list)), self._masks(row, len(boxes), image, where)
        finals = _finals(optional(row, "finals", list) or [])
        return Phrase(spans, boxes, masks, optional(row, "category", str), finals)

    def _masks(self, row: object, boxes: int, image: Path, where: str) -> tuple[Mask, ...]:
        """The mask of each box; none at all where one of them cannot be used."""
        given = optional(row, "masks", list) or []
        if given and len(given) != boxes:
            raise DataError(f"a phrase has {len(given)} masks for {boxes} boxes")
        size = self._fitting.size(image) if given else None
        masks = [
            of_size(usable_mask(mask, where, self._rejects), size, where, self._rejects) for mask in given
        ]
        return () if None in masks else tuple(mask for mask in masks if mask is not None)

    def _answer(self, value: object, image: Path, where: str) -> Answer | None:
        if value is None or isinstance(value, str):
            return None if value is None else Answer(value)
        if not isinstance(value, dict):
            raise DataError(f"answer is {reprlib.repr(value)}; it should be text, or an object with one")
        named = ((f"{where} answer", box) for box in optional(value, "boxes", list) or [])
        boxes = tuple(self._rejects.usable(named, lambda box: self._box(box, image, where)))
        text, kind = field(value, "text", str), optional(value, "kind", str)
        return Answer(text, kind, boxes, optional(value, "detailed", str))


def _all_there(row: Row, keys: Iterable[str]) -> None:
    missing = [key for key in keys if key not in row]
    if missing:
        hint = "; 'bbox' is not read, since it is mostly xywh: write xyxy as 'box'" if "bbox" in row else ""
        raise DataError(f"has no {', '.join(map(repr, missing))}{hint}")


def _subsets(row: Row) -> tuple[str, ...]:
    names = optional(row, "subsets", list) or []
    if not all(isinstance(name, str) for name in names):
        raise DataError(f"subsets are {reprlib.repr(names)}; they should be a list of texts")
    return tuple(names)


def _finals(values: list[object]) -> tuple[bool, ...]:
    if not all(isinstance(value, bool) for value in values):
        raise DataError(f"finals are {reprlib.repr(values)}; they should be a list of true and false")
    return tuple(map(bool, values))


def _sample_row(sample: Sample) -> dict[str, Any]:
    row = {"expression": sample.expression, "box": _short(sample.box), "id": sample.id}
    return row if sample.category is None else row | {"category": sample.category}


def _caption_row(caption: Caption) -> dict[str, Any]:
    answer = caption.answer and {
        "text": caption.answer.text, "kind": caption.answer.kind,
        "boxes": list(map(_short, caption.answer.boxes)),
        "detailed": caption.answer.detailed,
    }  # fmt: skip
    row = {"caption": caption.text, "phrases": list(map(_phrase_row, caption.phrases)), "id": caption.id}
    more = {"answer": _filled(answer or {}), "negatives": caption.negatives, "referring": caption.referring}
    return row | _filled(more | {"subsets": caption.subsets})


def _phrase_row(phrase: Phrase) -> dict[str, Any]:
    masks = list(map(as_segmentation, phrase.masks))
    more = {"masks": masks, "category": phrase.category, "finals": phrase.finals}
    return {"spans": phrase.spans, "boxes": list(map(_short, phrase.boxes))} | _filled(more)


def _short(box: Box) -> Box:
    """A box to a hundredth of a pixel; one that would lose its area by that, as it is."""
    x1, y1, x2, y2 = (round(value, DECIMALS) for value in box)
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else box


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
