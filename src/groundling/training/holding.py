"""What a run does not learn from but is measured on: a split beside its own, or images that are held out.

Held out are whole images, with all that is said of them: expressions of an image that was learned from would
say how well it is remembered.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from groundling import callers
from groundling.data.caption import CaptionSet
from groundling.data.sample import DataError, Dataset
from groundling.training.config import DataConfig

T = TypeVar("T")
Data = Dataset | CaptionSet

BESIDE = ("val", "validation")  # what stands in the place of "train" in the name of a split
LEAST, MOST = 8, 300  # images: of fewer all are learned from; so many held out say enough


class UnmeasuredWarning(UserWarning):
    """A run, or a split of what it would be measured on, that is not measured; the message says why."""


def beside(root: Path, split: str, read: Callable[[str], T]) -> T | None:
    """The split that goes with one of the training; None if there is none or, with a warning, it is bad."""
    before, train, after = split.rpartition("train")
    if not root.exists():  # said by what reads the training's own
        return None
    for name in BESIDE if train else ():
        there = f"{before}{name}{after}"
        try:
            return read(there)
        except (DataError, FileNotFoundError) as error:
            message = f"the split {there} cannot be read, and is not measured on: {error}"
            callers.warn(message, UnmeasuredWarning)
            return None
        except ValueError:  # no such split
            continue
    return None


def parted(
    data: Data, config: DataConfig, seed: int, read: Callable[[str], object]
) -> tuple[Data, Data | None]:
    """What is learned from, and what is held out of it; None where there is another split, or too little.

    read: opens a split, to see whether there is one beside that of the training.
    """
    if not config.held_out:
        return data, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever measures on it tells
        if beside(config.path, config.split, read) is not None:
            return data, None
    held = _chosen(images(data), config.held_out, seed)
    if not held:
        return data, None
    return _of(data, lambda image: image not in held), _of(data, lambda image: image in held)


def images(data: Data) -> list[Path]:
    """The images of which something is said, each once."""
    items = data.captions if isinstance(data, CaptionSet) else data.samples
    return list(dict.fromkeys(item.image for item in items))


def _chosen(paths: Iterable[Path], share: float, seed: int) -> set[Path]:
    """So many of the images, by a draw that depends on their names and the seed alone."""
    drawn = sorted(paths, key=lambda path: _hash(f"{seed}/{path.name}"))
    if len(drawn) < LEAST:
        return set()
    return set(drawn[: min(max(2, round(share * len(drawn))), MOST)])


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _of(data: Data, wanted: Callable[[Path], bool]) -> Data:
    """The part of the data that is about some of its images."""
    if isinstance(data, CaptionSet):
        return replace(data, captions=tuple(c for c in data.captions if wanted(c.image)))
    things = {image: found for image, found in data.things.items() if wanted(image)}
    return replace(data, samples=tuple(s for s in data.samples if wanted(s.image)), things=things)
