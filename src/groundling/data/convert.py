"""Any dataset as our JSON Lines, or as MDETR's JSON, row by row."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from groundling.data import CAPTIONS, jsonl, mdetr, open_dataset, stream_captions
from groundling.data.rejects import Rejects
from groundling.data.sample import DataError, Sample

FORMATS = ("jsonl", "mdetr")
ONE = "an expression means one"


@dataclass(frozen=True)
class Converted:
    """How many expressions or captions were written, how many rows and phrases were left out, and why."""

    written: int
    left_out: int
    rejects: Rejects = field(default_factory=Rejects, compare=False, repr=False)


def convert(
    root: Path,
    out: Path,
    dataset: str,
    split: str,
    captions: bool = False,
    to: str = "jsonl",
    need_images: bool = True,
) -> Converted:
    """Write a split of a dataset as a file, in one step.

    Expressions are written: of captions the phrases that mean exactly one box. With `captions` it is the
    captions themselves, and each expression of a dataset that has none as one. `to` is jsonl, or mdetr, which
    is always captions and needs images for their sizes. Raises as `open_dataset` does, and ValueError for an
    `out` that would be written over what is read; then there is no file.
    """
    if to not in FORMATS:
        raise ValueError(f"no format {to!r} to convert to; there are {', '.join(FORMATS)}")
    if to == "mdetr" and not need_images:
        raise ValueError("MDETR's JSON holds the sizes of images, which are read from their files")
    rejects = Rejects()
    if to == "mdetr":
        written = mdetr.write(out, stream_captions(root, dataset, split, rejects), dataset, [root])
    elif captions:
        written = jsonl.write(out, stream_captions(root, dataset, split, rejects, need_images), [root])
    else:
        written = jsonl.write(out, _samples(root, dataset, split, rejects, need_images), [root])
    return Converted(written, rejects.count, rejects)


def _samples(root: Path, dataset: str, split: str, rejects: Rejects, look: bool) -> Iterator[Sample]:
    if dataset not in CAPTIONS and dataset != "jsonl":
        yield from open_dataset(root, dataset, split, look, rejects).samples
        return
    written, others = 0, list[tuple[str, DataError]]()
    for caption in stream_captions(root, dataset, split, rejects, look):
        samples = caption.samples()
        written += len(samples)
        others += [
            (f"{caption.id} {caption.words(phrase)!r}", DataError(f"means {boxes} boxes; {ONE}"))
            for phrase in caption.phrases
            if (boxes := len(phrase.boxes)) != 1
        ]
        yield from samples
    if not written:
        why = f". Left out: {rejects.first}" if rejects.count else ""
        raise DataError(f"{root}: no phrase of {dataset} {split} means exactly one box{why}")
    for name, error in others:  # after what the reader reports of its rows
        rejects.add(name, error)
