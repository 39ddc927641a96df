"""Localized Narratives: what people said about an image while they moved a pointer over it.

    ROOT/coco_val_localized_narratives.jsonl   ROOT/coco_train_localized_narratives-00000-of-00004.jsonl …
    ROOT/images/*.jpg, or the image folders of COCO, Flickr30k and Open Images

A split is the beginning of a file's name: coco_train, flickr30k_test, open_images_train_v6. The traces are no
boxes, so that a narrative is a caption without phrases. Source: google.github.io/localized-narratives.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from groundling.data.caption import Caption
from groundling.data.image_folder import ImageFolder
from groundling.data.json_rows import field, identity, lines, number, row_of
from groundling.data.rejects import Rejects
from groundling.data.sample import DataError, check_split

_NAME = re.compile(r"(.+)_localized_narratives(?:-\d{5}-of-\d{5})?")
_PLACES = (
    "images",
    "train2017",
    "val2017",
    "flickr30k-images",
    "flickr30k_images",
    "train",
    "validation",
    "test",
)
T = TypeVar("T")
Point = tuple[float, float, float]  # x, y in shares of the image, and seconds


@dataclass(frozen=True)
class Utterance:
    """A word or a few, and when they were spoken, in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Narrative:
    """A spoken caption and the way of the pointer, a segment each time it was over the image.

    Points lie in shares of the image (x01, y01) and may leave it by a little: a band around it was recorded.
    """

    caption: Caption
    utterances: tuple[Utterance, ...]
    traces01: tuple[tuple[Point, ...], ...]

    def pointed01(self, utterance: Utterance) -> tuple[Point, ...]:
        """The points over which the pointer went while the words were spoken."""
        points = (point for segment in self.traces01 for point in segment)
        return tuple(point for point in points if utterance.start <= point[2] <= utterance.end)


def read(root: Path, split: str, rejects: Rejects, need_images: bool = True) -> Iterator[Narrative]:
    """The narratives of a split, shard by shard and line by line."""
    return _each(_narrative, root, split, rejects, need_images)


def stream(root: Path, split: str, rejects: Rejects, need_images: bool = True) -> Iterator[Caption]:
    """The captions of the narratives of a split, whatever their traces are."""
    return _each(_caption, root, split, rejects, need_images)


def _each(
    make: Callable[[object, ImageFolder], T], root: Path, split: str, rejects: Rejects, need_images: bool
) -> Iterator[T]:
    files = _files(root, split)
    folder = ImageFolder.among([root / name for name in _PLACES], look=need_images)
    for file in files:
        named = ((f"{file.name}:{n}", line) for n, line in lines(file))
        yield from rejects.usable(named, lambda line: make(row_of(line), folder))


def splits(root: Path) -> list[str]:
    """The splits that there are."""
    return sorted({name for file in root.glob("*.jsonl") if (name := shard(file))})


def shard(file: Path) -> str | None:
    """The split of which a file is all or a part; None if it is of another format."""
    match = _NAME.fullmatch(file.stem)
    return match and match[1]


def _caption(row: object, folder: ImageFolder) -> Caption:
    name, text = identity(row, "image_id"), field(row, "caption", str)
    image = folder.path(_image_name(field(row, "dataset_id", str), name))
    return Caption(f"{name}-{field(row, 'annotator_id', int)}", image, text)


def _narrative(row: object, folder: ImageFolder) -> Narrative:
    return Narrative(
        _caption(row, folder),
        tuple(map(_utterance, field(row, "timed_caption", list))),
        tuple(map(_segment, field(row, "traces", list))),
    )


def _image_name(dataset: str, image: str) -> str:
    """COCO's ids are numbers, and its files are named by twelve digits."""
    return f"{image:0>12}.jpg" if "coco" in dataset else f"{image}.jpg"


def _utterance(row: object) -> Utterance:
    start, end = (number(row, key) for key in ("start_time", "end_time"))
    if end < start:
        raise DataError(f"an utterance ends at {end} s, before it starts at {start} s")
    return Utterance(field(row, "utterance", str), start, end)


def _segment(points: object) -> tuple[Point, ...]:
    if not isinstance(points, list):
        raise DataError(f"a trace segment is a list of points, not {type(points).__name__}")
    return tuple((number(point, "x"), number(point, "y"), number(point, "t")) for point in points)


def _files(root: Path, split: str) -> list[Path]:
    check_split(root, split, splits, "no narratives")
    return [file for file in sorted(root.glob("*.jsonl")) if shard(file) == split]
