"""What a frozen backbone says of each picture, computed once and read from disk in every epoch.

    features = kept(folder, pictures, net.each_level, framing, [sha256 of the weights before each level])
    maps = features.of([(path, mirror), ...])

One file a level, half precision, (pictures, 2, C, H, W): the picture and its mirror image. The files are
mapped into memory, so that many processes share what the operating system caches. A cache belongs to weights,
a framing and pictures; for others it is made anew.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from groundling.files import write
from groundling.pictures.images import open_image
from groundling.pictures.placement import Framing

Maps = Callable[[Tensor], Iterable[Tensor]]  # normalised (B, 3, H, W) → maps of each level (B, C, H, W)
INDEX = "features.json"
AT_ONCE = 8  # pictures that go through the backbone together


class Features:
    """The maps of pictures, as they lie in a folder."""

    def __init__(self, folder: Path, names: Sequence[str], shapes: Sequence[Sequence[int]]) -> None:
        self.place = {name: number for number, name in enumerate(names)}
        self.levels = [
            np.memmap(_file(folder, level), np.float16, "r", shape=(len(names), 2, *shape))
            for level, shape in enumerate(shapes)
        ]

    def of(self, views: Sequence[tuple[Path, bool]]) -> tuple[Tensor, ...]:
        """Maps (B, C, H, W) of each level, for pictures that are mirrored or not."""
        places, found = [(self.place[_name(file)], int(mirror)) for file, mirror in views], []
        for level in self.levels:
            found.append(torch.stack([torch.from_numpy(level[place]) for place in places]).float())
        return tuple(found)


def kept(
    folder: Path,
    pictures: Iterable[Path],
    maps: Maps,
    framing: Framing,
    weights: Sequence[str],
    say: Callable[[str], None] = lambda line: None,
) -> Features:
    """The features of these pictures in a folder, computed unless they are there.

    maps: the frozen backbone. weights: for each level what tells all before it from another network's.
    A cache that is not complete, of other weights, of another framing or without some of the pictures is
    written anew; one that has more levels or pictures will do.
    """
    files = {_name(file): file for file in sorted(set(pictures))}
    keys = [hashlib.sha256(f"{each} {framing!r}".encode()).hexdigest() for each in weights]
    index = folder / INDEX
    if index.is_file():
        held = json.loads(index.read_text(encoding="utf-8"))
        if held["keys"][: len(keys)] == keys and files.keys() <= set(held["pictures"]):
            return Features(folder, held["pictures"], held["shapes"][: len(keys)])
        index.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    shapes = _compute(folder, [*files.values()], maps, framing, len(keys), say)
    written = {"keys": keys, "shapes": shapes, "pictures": [*files]}
    write(index, (json.dumps(written) + "\n").encode())
    return Features(folder, [*files], shapes)


def _name(file: Path) -> str:
    """What a picture is known by, wherever its data set lies."""
    return f"{file.parent.parent.name}/{file.parent.name}/{file.name}"


@torch.inference_mode()
def _compute(
    folder: Path,
    files: Sequence[Path],
    maps: Maps,
    framing: Framing,
    levels_kept: int,
    say: Callable[[str], None],
) -> list[list[int]]:
    levels: list[np.memmap] = []
    for begin in range(0, len(files), AT_ONCE):
        batch = torch.stack([framing.see(open_image(file)).pixels for file in files[begin : begin + AT_ONCE]])
        for mirror in (False, True):
            found = list(islice(maps(framing.normalise(batch.flip(-1) if mirror else batch)), levels_kept))
            if not levels:
                levels = [
                    np.memmap(_file(folder, n), np.float16, "w+", shape=(len(files), 2, *each.shape[1:]))
                    for n, each in enumerate(found)
                ]
            for level, each in zip(levels, found, strict=True):
                level[begin : begin + len(batch), int(mirror)] = each.to(torch.float16).numpy()
        if begin % 1024 < AT_ONCE:
            say(f"features of {begin + len(batch)} of {len(files)} pictures")
    for level in levels:
        level.flush()
    return [list(level.shape[2:]) for level in levels]


def _file(folder: Path, level: int) -> Path:
    return folder / f"level{level}.f16"
