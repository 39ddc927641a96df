"""Datasets as the command line names them: where there is only one, it needs no name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groundling.data import Dataset

FOLDER_HELP = "Dataset folder, or a .jsonl or .csv file."
NAME_HELP = (
    "Dataset to read, not needed where the folder has only one: refcoco, refcoco+, refcocog, refclef, "
    "transvg, jsonl, flickr30k, visual_genome, gqa, phrasecut, coco, lvis, mdetr, open_images, csv, voc "
    "or yolo."
)


def opened(root: Path, name: str | None, split: str, limit: int | None = None) -> "Dataset":
    """A split of a dataset, at most `limit` expressions of it; ValueError names what there is instead."""
    from groundling.data import open_dataset

    return open_dataset(root, name_in(root, name), split).told().limited(limit)


def name_in(root: Path, name: str | None) -> str:
    """The name that `open_dataset` knows a dataset by: the only one there is, of one layout for "transvg"."""
    from groundling.data import available, transvg

    if not root.exists():
        raise FileNotFoundError(f"dataset folder not found: {root}")
    if root.is_file() and name is None:
        return "csv" if root.suffix.lower() == ".csv" else "jsonl"
    if name not in (None, "transvg"):
        return str(name)
    there = [n for n in available(root) if name is None or n in transvg.DATASETS]
    return _only(there, root, "dataset" if name is None else "TransVG dataset")


def split_in(root: Path, name: str) -> str:
    """The split that is meant where nobody says it: the only one there is, or else val."""
    from groundling.data.check import splits_of

    there = splits_of(root, name)
    return there[0] if len(there) == 1 else "val"


def _only(there: Sequence[str], root: Path, what: str) -> str:
    if not there:
        raise ValueError(
            f"{root} holds no {what} in a known layout; give --dataset, or see `groundling evaluate --help`"
        )
    if len(there) > 1:
        raise ValueError(f"{root} holds {', '.join(there)}; choose one with --dataset")
    return there[0]
