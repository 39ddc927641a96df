"""Datasets: one module a format, each read into a `Dataset` of samples or a `CaptionSet`."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from groundling.data import (
    coco,
    csv_table,
    flickr,
    gqa,
    jsonl,
    mdetr,
    narratives,
    openimages,
    phrasecut,
    refer,
    transvg,
    visual_genome,
    voc,
    yolo,
)
from groundling.data.caption import Answer, Caption, CaptionSet, Phrase, once, referring
from groundling.data.rejects import Rejects
from groundling.data.sample import DataError, Dataset, DataWarning, Sample, Thing

__all__ = [
    "CAPTIONS",
    "Answer",
    "Caption",
    "CaptionSet",
    "DataError",
    "DataWarning",
    "Dataset",
    "Phrase",
    "Sample",
    "Thing",
    "available",
    "mixture",
    "open_captions",
    "open_dataset",
    "open_mixture",
    "stream_captions",
]


class _Stream(Protocol):
    def __call__(
        self, root: Path, split: str, rejects: Rejects, need_images: bool = True
    ) -> Iterator[Caption]: ...


class CaptionFormat(NamedTuple):
    """How a format of captions is read one by one, and how its splits are found."""

    stream: _Stream
    splits: Callable[[Path], list[str]]


CAPTIONS = {
    "flickr30k": CaptionFormat(flickr.stream, flickr.splits),
    "flickr30k(merged)": CaptionFormat(partial(flickr.stream, merged=True), flickr.splits),
    "visual_genome": CaptionFormat(visual_genome.stream, visual_genome.splits),
    "gqa": CaptionFormat(gqa.stream, gqa.splits),
    "phrasecut": CaptionFormat(phrasecut.stream, phrasecut.splits),
    "coco": CaptionFormat(partial(coco.stream, dataset="coco"), partial(coco.splits, dataset="coco")),
    "lvis": CaptionFormat(partial(coco.stream, dataset="lvis"), partial(coco.splits, dataset="lvis")),
    "mdetr": CaptionFormat(mdetr.stream, mdetr.splits),
    "open_images": CaptionFormat(openimages.stream, openimages.splits),
    "narratives": CaptionFormat(narratives.stream, narratives.splits),
    "csv": CaptionFormat(csv_table.stream, csv_table.splits),
    "voc": CaptionFormat(voc.stream, voc.splits),
    "yolo": CaptionFormat(yolo.stream, yolo.splits),
}

# Formats of objects by category, all of an image's; csv may also be of expressions.
OBJECTS = (*coco.DATASETS, "csv", "voc", "yolo")


def open_dataset(
    root: str | Path, dataset: str, split: str, need_images: bool = True, rejects: Rejects | None = None
) -> Dataset:
    """One split of a dataset, whatever its format.

    `dataset` is refcoco, refcoco+, refcocog or refclef in the REFER layout, with "(google)" behind it for who
    made the split; unc, unc+, gref, gref_umd, referit or flickr in TransVG's; "jsonl" for a folder of
    SPLIT.jsonl or a single file; or a format of captions (flickr30k, visual_genome, gqa, phrasecut, coco,
    lvis, mdetr, open_images, csv, voc, yolo), of which each phrase that means exactly one box is an
    expression. With `need_images=False` image files are not looked for. What was left out and changed is
    counted in `rejects`, and told in a DataWarning. Raises FileNotFoundError, or ValueError that names what
    there is.
    """
    root, rejects = _found(root, dataset), Rejects() if rejects is None else rejects
    name, _, by = dataset.removesuffix(")").partition("(")
    if dataset == "jsonl":
        return jsonl.read(root, split, need_images, rejects)
    if name in refer.DATASETS:
        return refer.read(root, name, split, by or None, need_images, rejects)
    if dataset in transvg.DATASETS:
        return transvg.read(root, dataset, split, need_images=need_images, rejects=rejects)
    if has_objects(root, dataset, split):
        content = load_objects(root, dataset, split, rejects, need_images)
        rejects.report(root, kept=len(content.pictures))
        return coco.dataset_of(content, dataset, split, rejects)
    return open_captions(root, dataset, split, need_images, rejects).samples().told()


def has_objects(root: Path, dataset: str, split: str) -> bool:
    """Whether a dataset is of objects by category, all of an image's."""
    return dataset in OBJECTS and (dataset != "csv" or csv_table.has_objects(root, split))


def load_objects(
    root: Path, dataset: str, split: str, rejects: Rejects, need_images: bool = True
) -> coco.Instances:
    """All objects of a split's images, also of those without; `dataset` is one of OBJECTS."""
    if dataset in coco.DATASETS:
        return coco.load(root, dataset, split, rejects, need_images)
    load = {"csv": csv_table.load, "voc": voc.load, "yolo": yolo.load}[dataset]
    return load(root, split, rejects, need_images)


def open_captions(
    root: str | Path, dataset: str, split: str, need_images: bool = True, rejects: Rejects | None = None
) -> CaptionSet:
    """The captions of one split; an expression of a dataset without captions is one that is all phrase.

    `dataset` is as in `open_dataset`, also narratives; "flickr30k(merged)" has one box a phrase, which holds
    all of its boxes. A folder may stand before it, as "entities/jsonl". `rejects` as in `open_dataset`, which
    raises the same.
    """
    root, dataset = _within(root, dataset)
    rejects = Rejects() if rejects is None else rejects
    captions = tuple(stream_captions(root, dataset, split, rejects, need_images))
    return CaptionSet(dataset, split, captions, rejects.count)


def open_mixture(root: str | Path, datasets: str, splits: str, need_images: bool = True) -> CaptionSet:
    """Captions of several datasets of one folder, named as in `mixture`; what is named twice counts twice.

    Raises as `open_dataset` and `mixture` do.
    """
    named = mixture(datasets, splits)
    found = {each: open_captions(root, *each, need_images) for each in dict.fromkeys(named)}
    captions = tuple(caption for each in named for caption in found[each].captions)
    return CaptionSet(datasets, splits, captions, sum(each.left_out for each in found.values()))


def _within(root: str | Path, dataset: str) -> tuple[Path, str]:
    """The folder of a dataset and its name: "entities/jsonl" is of the format jsonl, in root/entities."""
    folder, _, name = dataset.rpartition("/")
    return Path(root) / folder, name


def mixture(datasets: str, splits: str) -> list[tuple[str, str]]:
    """Datasets with their splits, as in "flickr30k,gqa" and "train,train_balanced".

    Where they lie in folders of their own, these stand before them: "entities/jsonl,coco/coco". One split
    goes with all datasets. ValueError for another number of splits than of datasets.
    """
    names, parts = datasets.split(","), splits.split(",")
    parts = parts * len(names) if len(parts) == 1 else parts
    if len(parts) != len(names):
        raise ValueError(
            f"{len(parts)} splits ({splits}) for {len(names)} datasets ({datasets}); give one or one for each"
        )
    return [(name.strip(), part.strip()) for name, part in zip(names, parts, strict=True)]


def stream_captions(
    root: str | Path, dataset: str, split: str, rejects: Rejects | None = None, need_images: bool = True
) -> Iterator[Caption]:
    """The captions of `open_captions` one by one, for splits that are larger than memory.

    What was left out is counted in `rejects`, and told in a DataWarning after the last one.
    """
    root, rejects, kept = _found(root, dataset), Rejects() if rejects is None else rejects, 0
    if dataset == "jsonl":
        for row in jsonl.stream(root, split, rejects, need_images):
            yield referring(row) if isinstance(row, Sample) else row
    elif dataset in CAPTIONS:
        for caption in once(CAPTIONS[dataset].stream(root, split, rejects, need_images), rejects):
            kept += 1
            yield caption
        rejects.report(root, kept)
    else:
        yield from map(referring, open_dataset(root, dataset, split, need_images, rejects).samples)


def available(root: str | Path) -> list[str]:
    """The names that `open_dataset` and `open_captions` know in this folder."""
    root = Path(root)
    names = [name for name in refer.DATASETS if (root / name).is_dir()]
    names += [name for name in transvg.DATASETS if (root / "data" / name).is_dir()]
    names += [name for name, form in CAPTIONS.items() if "(" not in name and form.splits(root)]
    return names + ["jsonl"] * any(not narratives.shard(file) for file in root.glob("*.jsonl"))


def _found(root: str | Path, dataset: str) -> Path:
    """The folder, or file, if it is there and may hold such a dataset."""
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"dataset folder not found: {root}")
    known = dataset == "jsonl" or dataset in transvg.DATASETS or dataset.partition("(")[0] in refer.DATASETS
    if known or (dataset in CAPTIONS and CAPTIONS[dataset].splits(root)):
        return root
    there = ", ".join(available(root)) or "no dataset in a known layout"
    what = f"no {dataset} in this folder" if dataset in CAPTIONS else f"unknown dataset {dataset!r}"
    raise ValueError(f"{what}; {root} has {there}")
