"""Datasets: one module a format, each read into a `Dataset` of samples."""

from pathlib import Path

from groundling.data import jsonl, refer, transvg
from groundling.data.caption import Answer, Caption, CaptionSet, Phrase, Rle
from groundling.data.sample import DataError, Dataset, DataWarning, Sample, Thing

__all__ = [
    "Answer",
    "Caption",
    "CaptionSet",
    "DataError",
    "DataWarning",
    "Dataset",
    "Phrase",
    "Rle",
    "Sample",
    "Thing",
    "available",
    "open_dataset",
]


def open_dataset(root: str | Path, dataset: str, split: str) -> Dataset:
    """One split of a dataset, whatever its format.

    `dataset` is refcoco, refcoco+, refcocog or refclef in the REFER layout, with "(google)" behind it for who
    made the split; unc, unc+, gref, gref_umd, referit or flickr in TransVG's; "jsonl" for a folder of
    SPLIT.jsonl or a single file. Raises FileNotFoundError, or ValueError that names what there is.
    """
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"dataset folder not found: {root}")
    name, _, by = dataset.removesuffix(")").partition("(")
    if dataset == "jsonl":
        return jsonl.read(root, split)
    if name in refer.DATASETS:
        return refer.read(root, name, split, by or None)
    if dataset in transvg.DATASETS:
        return transvg.read(root, dataset, split)
    there = ", ".join(available(root)) or "no dataset in a known layout"
    raise ValueError(f"unknown dataset {dataset!r}; {root} has {there}")


def available(root: str | Path) -> list[str]:
    """The names that `open_dataset` knows in this folder."""
    root = Path(root)
    names = [name for name in refer.DATASETS if (root / name).is_dir()]
    names += [name for name in transvg.DATASETS if (root / "data" / name).is_dir()]
    return names + ["jsonl"] * any(root.glob("*.jsonl"))
