"""JSON Lines, the format for data of one's own.

    {"image": "photos/1.jpg", "expression": "dog on the left", "box": [x1, y1, x2, y2]}
The image is a path relative to the file, the box xyxy in pixels of the upright image; "id" and "category" may
be there too, and other keys are left alone. Any dataset can be written so: `write(path, dataset.samples)`.
A box that sticks out of its image, mostly an xywh or one of another size of the image, is an error.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from groundling.data.image_folder import Listing, Sizes
from groundling.data.pickles import read_bytes
from groundling.data.sample import DataError, Dataset, Sample, box_from_xyxy


def read(path: Path, split: str | None = None, need_images: bool = True) -> Dataset:
    """All rows of a file, or of SPLIT.jsonl in a folder; the first bad row is a DataError with its line.

    need_images: look whether they are there and large enough for their boxes. A file is the split of its
    name; ValueError for another one.
    """
    file = _file(Path(path), split)
    listing, sizes, samples = Listing(), Sizes(), []
    for number, line in enumerate(read_bytes(file).split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            sample = _sample(_row(line), file, number)
            if need_images:
                if not listing.has(sample.image):
                    raise DataError(f"image not found: {sample.image}")
                sizes.check(sample.box, sample.image)
        except DataError as error:
            raise DataError(f"{file}:{number}: {error}") from error
        samples.append(sample)
    if not samples:
        raise DataError(f"{file}: has no rows")
    return Dataset(file.stem, file.stem, tuple(samples))


def write(path: Path, samples: Iterable[Sample]) -> None:
    """One row a sample; reading the file gives equal samples (with absolute paths if theirs were)."""
    path = Path(path)
    lines = [json.dumps(_as_row(sample, path.parent), ensure_ascii=False) for sample in samples]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _as_row(sample: Sample, folder: Path) -> dict[str, Any]:
    image = Path(os.path.relpath(sample.image, folder)).as_posix()
    row = {"image": image, "expression": sample.expression, "box": list(sample.box), "id": sample.id}
    return row if sample.category is None else row | {"category": sample.category}


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise DataError(f"a row is an object, not {type(row).__name__}")
    missing = [key for key in ("image", "expression", "box") if key not in row]
    if missing:
        hint = "; 'bbox' is not read, since it is mostly xywh: write xyxy as 'box'" if "bbox" in row else ""
        raise DataError(f"has no {', '.join(map(repr, missing))}{hint}")
    for key in ("image", "expression", "category", "id"):
        if not isinstance(row.get(key, ""), str):
            raise DataError(f"{key} is {row[key]!r}; it should be text")
    return row


def _sample(row: dict[str, Any], file: Path, number: int) -> Sample:
    return Sample(
        id=row.get("id", f"{file.stem}-{number}"),
        image=file.parent / os.path.normpath(row["image"]),
        expression=row["expression"],
        box=box_from_xyxy(row["box"]),
        category=row.get("category"),
    )


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
