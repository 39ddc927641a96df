"""A folder of street scenes: pictures and their referring expressions in the official REFER layout.

    DIR/refcoco/refs(unc).p         the referring expressions, with their split
    DIR/refcoco/instances.json      images, annotated objects (with "attributes", our extension), categories
    DIR/images/street_S_NNNNNN.jpg

With `tasks`, also captions, questions, masks and more beside it, in layouts of other datasets (`tasks.py`).
Scene `index` of `seed` at `size` always gives the same picture, whatever the number of scenes or workers.
Splits go by scene: train first, then val, testA (people are meant) and testB (other things are meant).
"""

from __future__ import annotations

import io
import itertools
import json
import multiprocessing
import os
import pickle
import re
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundling import files
from groundling.data.street.draw import render
from groundling.data.street.expressions import Referring, describe
from groundling.data.street.files import PART, WHOLE, GrowingFiles, Row
from groundling.data.street.scenes import Scene, StreetObject, scene
from groundling.data.street.tasks import FOLDERS, Picture, checked, is_ours, rows
from groundling.data.street.words import CATEGORIES, CATEGORY_IDS, PEOPLE

SPLITS: Mapping[str, float] = {"val": 0.10, "testA": 0.05, "testB": 0.05}
EXPRESSIONS = 6  # a scene
JPEG_QUALITY = 92
MARK = ".street"  # an empty file: how we know a folder as our own
OURS = ("refs(unc).p", "instances.json")
PICTURE = re.compile(r"street_\d+_\d{6,}\.jpg")
OTHERS = tuple(name for name in CATEGORIES if name not in PEOPLE)
TARGETS: Mapping[str, tuple[str, ...]] = {"testA": PEOPLE, "testB": OTHERS}

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Job:
    """One scene to draw: all that a worker process needs."""

    root: Path
    seed: int
    index: int
    size: int
    split: str
    tasks: tuple[str, ...]


def write(
    folder: str | os.PathLike[str],
    scenes: int,
    seed: int = 0,
    size: int = 192,
    splits: Mapping[str, float] = SPLITS,
    workers: int = 1,
    progress: Progress | None = None,
    replace: bool = False,
    tasks: Collection[str] = (),
) -> None:
    """Write `scenes` pictures and their expressions under `folder`, in the REFER layout as `refcoco`.

    `tasks` are of `TASKS`, captions, questions, …: more that is written about the same pictures.
    `splits` are the shares of val, testA and testB (each at least one scene; the rest is train).
    `progress(done, total)` is called after each scene. The bytes depend on scenes, seed, size, splits and
    tasks alone.
    A folder that holds something else raises ValueError, and so do finished scenes of ours without `replace`.
    """
    root = Path(folder)
    counts, tasks = _counts(scenes, splits), checked(tasks)
    if workers < 1:
        raise ValueError(f"workers must be 1 or more, got {workers}")
    scene(seed, 0, size)  # refuses a bad seed or size before anything is written
    _claim(root, replace)
    jobs = [
        _Job(root, seed, index, size, split, tasks) for index, split in _assign(scenes, counts, seed, size)
    ]
    records = []
    with GrowingFiles(root) as growing:
        for record in _run(jobs, workers):
            for row in record.pop("rows"):
                growing.add(row)
            records.append(record)
            if progress:
                progress(len(records), scenes)
    refs, instances = _assemble(records)
    files.write(root / "refcoco" / "refs(unc).p", pickle.dumps(_fresh(refs), protocol=2), PART)
    files.write(root / "refcoco" / "instances.json", json.dumps(instances).encode(), PART)


def _counts(scenes: int, splits: Mapping[str, float]) -> dict[str, int]:
    """How many scenes each split gets."""
    if scenes < 4:
        raise ValueError(f"scenes must be 4 or more (one for each of train, val, testA, testB), got {scenes}")
    wrong = sorted(set(splits) - set(SPLITS))
    if wrong or any(not 0 <= share < 1 for share in splits.values()):
        raise ValueError(f"splits give the shares (0 to 1) of {', '.join(SPLITS)}, got {dict(splits)}")
    counts = {name: max(1, round(scenes * splits[name])) if splits.get(name) else 0 for name in SPLITS}
    if sum(counts.values()) >= scenes:
        raise ValueError(f"splits {dict(splits)} leave no scene of {scenes} for train")
    return {"train": scenes - sum(counts.values()), **counts}


def _assign(scenes: int, counts: Mapping[str, int], seed: int, size: int) -> list[tuple[int, str]]:
    """The split of each scene: in order, but testA takes the last scenes that have the most people."""
    last = range(scenes - max(counts["testA"] + counts["testB"], min(scenes, 8)), scenes)
    people = {
        index: sum(thing.category in PEOPLE for thing in scene(seed, index, size).objects) for index in last
    }
    chosen = set(sorted(last, key=lambda index: (-people[index], index))[: counts["testA"]])
    names = itertools.chain.from_iterable([name] * count for name, count in counts.items() if name != "testA")
    return [(index, "testA" if index in chosen else next(names)) for index in range(scenes)]


def _claim(root: Path, replace: bool) -> None:
    """Make the folder; what an earlier run left is removed if it may be, what others left is refused."""
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is a file; give a folder")
    if root.exists() and any(root.iterdir()) and not (root / MARK).exists():
        raise ValueError(
            f"{root} is not empty and holds no street scenes of ours; give a new or empty folder"
        )
    if not replace and all((root / "refcoco" / name).exists() for name in OURS):
        raise ValueError(
            f"{root} holds street scenes; give replace=True to draw others there, or a new folder"
        )
    for part in ("images", "refcoco", *FOLDERS):
        if (root / part).is_symlink():
            raise ValueError(f"{root / part} is a link to another folder; give a new or empty folder")
    for part in ("images", "refcoco"):
        (root / part).mkdir(parents=True, exist_ok=True)
    (root / MARK).touch()
    for old in (*(root / "refcoco").iterdir(), *(root / "images").iterdir()):
        if old.name in OURS or old.name.startswith(PART) or PICTURE.fullmatch(old.name):
            old.unlink()
    _clear_tasks(root)


def _clear_tasks(root: Path) -> None:
    """Remove the files of an earlier run's tasks, and their folders where nothing else is in them."""
    folders = [root / name for name in FOLDERS if (root / name).is_dir()]
    for old in [path for folder in (root, *folders) for path in folder.iterdir() if path.is_file()]:
        if old.name.startswith(PART) or is_ours(old.relative_to(root).as_posix()):
            old.unlink()
    for folder in folders:
        if not any(folder.iterdir()):
            folder.rmdir()


def _run(jobs: list[_Job], workers: int) -> Iterator[dict[str, Any]]:
    if workers == 1:
        yield from map(_draw, jobs)
        return
    with _no_interrupts():
        pool = multiprocessing.get_context("spawn").Pool(workers)
    with pool:
        yield from pool.imap(_draw, jobs, chunksize=16)


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Processes started meanwhile never hear Ctrl-C, which a terminal sends to all: we end them, in silence.

    They inherit that a signal is ignored. Setting it in themselves would come too late: a process that is
    still importing would print a traceback.
    """
    if threading.current_thread() is not threading.main_thread():  # no other may change it
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _draw(job: _Job) -> dict[str, Any]:
    """Write one picture and what is in files of its own; give back the rest, its scene and expressions."""
    street = scene(job.seed, job.index, job.size)
    name = f"street_{job.seed}_{job.index:06d}.jpg"
    files.write(job.root / "images" / name, jpeg(street), PART)
    picture = Picture(street, Path(name).stem, job.index + 1, job.split)
    shared: list[Row] = []
    for row in rows(picture, job.tasks):
        if row.form == WHOLE:
            files.write(job.root / row.file, row.text.encode(), PART)
        else:
            shared.append(row)
    return {
        "scene": street,
        "split": job.split,
        "file_name": name,
        "said": _said(street, TARGETS.get(job.split)),
        "rows": shared,
    }


def jpeg(street: Scene) -> bytes:
    """The scene's picture as a file: colours in full resolution, since a collar is three pixels high."""
    data = io.BytesIO()
    render(street).save(data, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    return data.getvalue()


def _said(street: Scene, only: Collection[str] | None) -> tuple[Referring, ...]:
    return describe(street, EXPRESSIONS, only)


def _assemble(records: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The list of refs and the instances of all scenes, with running ids."""
    refs: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    sentence_ids = itertools.count()
    for image_id, record in enumerate(records, 1):
        street: Scene = record["scene"]
        images.append(
            {"id": image_id, "file_name": record["file_name"], "width": street.size, "height": street.size}
        )
        ann_ids = {thing.id: len(annotations) + number for number, thing in enumerate(street.objects, 1)}
        annotations += [_annotation(thing, ann_ids[thing.id], image_id) for thing in street.objects]
        for thing in street.objects:
            said = [referring for referring in record["said"] if referring.target == thing.id]
            if said:
                sentences = [_sentence(next(sentence_ids), referring) for referring in said]
                refs.append(
                    {
                        "ref_id": len(refs),
                        "ann_id": ann_ids[thing.id],
                        "category_id": CATEGORY_IDS[thing.category],
                        "file_name": record["file_name"],
                        "image_id": image_id,
                        "split": record["split"],
                        "sent_ids": [sentence["sent_id"] for sentence in sentences],
                        "sentences": sentences,
                    }
                )
    categories = [
        {"id": number, "name": name, "supercategory": CATEGORIES[name].supercategory}
        for name, number in CATEGORY_IDS.items()
    ]
    info = {"description": "Groundling street scenes", "version": "1"}
    return refs, {
        "info": info,
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def _fresh(refs: list[dict[str, Any]]) -> Any:
    """Equal refs that share no strings: pickle writes shared ones differently, and workers share none."""
    return json.loads(json.dumps(refs))


def _annotation(thing: StreetObject, ann_id: int, image_id: int) -> dict[str, Any]:
    x1, y1, x2, y2 = thing.box
    return {
        "id": ann_id,
        "image_id": image_id,
        "category_id": CATEGORY_IDS[thing.category],
        "iscrowd": 0,
        "segmentation": [],
        "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
        "area": round(thing.area, 2),
        "attributes": list(thing.attributes),
    }


def _sentence(number: int, referring: Referring) -> dict[str, Any]:
    text = referring.expression
    return {"sent_id": number, "raw": text, "sent": text, "tokens": text.split()}
