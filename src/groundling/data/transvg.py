"""The index files of TransVG and ReSC: lists of tuples saved by torch, read without running their pickles.

    ROOT/data/unc/unc_val.pth      ROOT/ln_data/other/images/mscoco/images/train2014/*.jpg
A row is (image, box, phrase) in flickr and (image, _, box, phrase, parse) elsewhere; the box is xyxy in
flickr and referit and xywh in the COCO sets. Boxes keep their fractions; TransVG itself cuts them to whole
pixels.
"""

import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from groundling.data import pickles
from groundling.data.fitting import Fitting
from groundling.data.image_folder import ImageFolder
from groundling.data.rejects import Rejects
from groundling.data.sample import DataError, Dataset, Sample, box_from_xywh, box_from_xyxy

_COCO = "other/images/mscoco/images/train2014"
# Each dataset and where TransVG keeps its images under ln_data.
DATASETS = {
    "unc": _COCO,
    "unc+": _COCO,
    "gref": _COCO,
    "gref_umd": _COCO,
    "referit": "referit/images",
    "flickr": "Flickr30k/flickr30k_images",
}


def read(
    root: Path,
    dataset: str,
    split: str,
    images: Path | None = None,
    need_images: bool = True,
    rejects: Rejects | None = None,
) -> Dataset:
    """The samples of one split; `root` is the folder above data/.

    "trainval" is train and val where it has no file of its own. `images` is the image folder where it is not
    TransVG's. Rows that cannot be used are left out with a DataWarning. With `need_images=False` image files
    are not looked for. Raises FileNotFoundError, ValueError for an unknown dataset or split, DataError for a
    file that cannot be read.
    """
    files = _files(Path(root), dataset, split)
    rows = [(file, index, row) for file in files for index, row in enumerate(load_rows(file))]
    places = [images] if images else [Path(root) / "ln_data" / DATASETS[dataset], Path(root) / "images"]
    folder = ImageFolder(places[0], look=False)
    if need_images:
        folder = ImageFolder.holding((str(row[0]) for *_, row in rows if row), places)
    rejects, samples = Rejects() if rejects is None else rejects, []
    fitting = Fitting(rejects, need_images)
    for file, index, row in rows:
        try:
            samples.append(_sample(f"{file.stem}-{index}", row, dataset, folder, fitting))
        except DataError as error:
            rejects.add(f"row {index} of {file.name}", error)
    rejects.report(files[0], kept=len(samples))
    return Dataset(dataset, split, tuple(samples), left_out=rejects.count)


def splits(root: Path, dataset: str) -> list[str]:
    """The splits that there are."""
    return sorted(
        file.stem[len(dataset) + 1 :] for file in (root / "data" / dataset).glob(f"{dataset}_*.pth")
    )


def load_rows(file: Path) -> list[Sequence[Any]]:
    """The tuples of a .pth file: torch's old layout (four pickles, the rows last) or its zip (data.pkl)."""
    data = pickles.read_bytes(file)
    if data.startswith(b"PK"):
        (rows,) = pickles.load(_zipped(data, file), file)
    else:
        *_, rows = pickles.load(data, file, count=4)
    if not isinstance(rows, list) or not all(isinstance(row, list | tuple) for row in rows):
        raise DataError(f"{file}: not a list of rows but {type(rows).__name__}")
    return rows


def _zipped(data: bytes, file: Path) -> bytes:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            (entry,) = [info for info in archive.infolist() if info.filename.endswith("data.pkl")]
            if entry.file_size > pickles.MAX_BYTES:
                raise DataError(f"{file}: unpacks to {entry.file_size:,} bytes; too large")
            return archive.read(entry)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file}: not a file saved by torch, or damaged ({error})") from error


def _sample(identity: str, row: Sequence[Any], dataset: str, folder: ImageFolder, fitting: Fitting) -> Sample:
    length = 3 if dataset == "flickr" else 5
    if len(row) != length:
        raise DataError(f"has {len(row)} fields; {dataset} has {length}")
    image, box, phrase = row if dataset == "flickr" else (row[0], row[2], row[3])
    if not isinstance(image, str) or not isinstance(phrase, str):
        raise DataError(f"image {image!r} and phrase {phrase!r} should be text")
    convert = box_from_xyxy if dataset in ("flickr", "referit") else box_from_xywh
    path = folder.path(image)
    return Sample(identity, path, phrase, fitting.box(convert(box), path, row=f"row {identity}"))


def _files(root: Path, dataset: str, split: str) -> list[Path]:
    if dataset not in DATASETS:
        raise ValueError(f"no TransVG dataset {dataset!r}; there are {', '.join(DATASETS)}")
    folder = root / "data" / dataset
    if not folder.is_dir():
        raise FileNotFoundError(f"dataset folder not found: {folder}")
    there = splits(root, dataset)
    wanted = ["train", "val"] if split == "trainval" and "trainval" not in there else [split]
    if not set(wanted) <= set(there):
        raise ValueError(f"{folder} has no split {split!r}; it has {', '.join(there) or 'none'}")
    return [folder / f"{dataset}_{name}.pth" for name in wanted]
