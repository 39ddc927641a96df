"""A training small enough to repeat in tests: two dozen drawn images, a network of a few thousand weights.

Run as a script, it trains:
`python tests/tiny.py OUT [--resume] [--still] [--apart] [--twice] [--judged] [objective=NAME] [slow=SECONDS]
[field=value ...]`;
--apart gives each process a folder of its own, as computers without a shared disk have; --judged finds each
step as good as the one before.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import groundling.training.train
from groundling.data.loader import Batch
from groundling.data.sample import Dataset, Sample, Thing
from groundling.dynamic.gates import Draw
from groundling.losses.detr import detr_losses
from groundling.losses.grounding import GroundingLoss, detection, grounding_losses
from groundling.losses.mdetr import mdetr_losses
from groundling.losses.modulated import ModulatedLoss
from groundling.losses.sets import SetLoss
from groundling.models.detr import DetrConfig
from groundling.models.lads import GatingConfig, LadsConfig
from groundling.models.mdetr import MdetrConfig
from groundling.training.progress import Progress
from groundling.training.train import DataConfig, Run, TrainConfig, train, train_all
from groundling.words.bert import TextConfig
from groundling.words.roberta import RobertaTextConfig

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (40, 60, 210)}
MODEL = LadsConfig(
    image_size=32,
    text=TextConfig(vocabulary=120, layers=1, dim=16, heads=2, ffn=32, tokens=12, dropout=0.1),
    blocks=(1, 1),
    width=8,
    expansion=2,
    stem="conv3",
    stem_width=8,
    norm="batch",
    dim=16,
    heads=2,
    ffn=32,
    layers=1,
    dropout=0.1,
    head="dense",
    gating=GatingConfig(blocks="all", hidden=8),
    categories=("square",),
    attributes=("facing:left", "facing:right"),
)
# Without dropout, whose noise belongs to a process: for comparing different ways to cut a batch.
STILL = MODEL.model_copy(update={"dropout": 0.0, "text": MODEL.text.model_copy(update={"dropout": 0.0})})
SAME = (48, 32)  # a size for all images: padding depends on what else is in a process's batch
DETR = DetrConfig(
    categories=("square",),
    queries=5,
    blocks=(1, 1),
    width=8,
    expansion=2,
    stem="conv3",
    stem_width=8,
    norm="batch",
    dim=16,
    heads=2,
    ffn=32,
    encoder_layers=1,
    decoder_layers=2,
    dropout=0.0,
    short_side=32,
    long_side=64,
)


MDETR = MdetrConfig(
    image_size=32,
    text=RobertaTextConfig(
        vocabulary=300, layers=1, dim=16, heads=2, ffn=32, tokens=24, positions=26, dropout=0.0
    ),
    blocks=(1, 1),
    width=8,
    expansion=2,
    stem="conv3",
    stem_width=8,
    norm="batch",
    dim=16,
    heads=2,
    ffn=32,
    layers=1,
    decoder_layers=2,
    queries=4,
    dropout=0.0,
    contrastive=0,
)


def drawn(folder: Path, images: int = 24, sides: tuple[int, int] | None = None) -> Dataset:
    """Images with one coloured square on the left and one on the right, and words for each.

    They are of all sizes unless `sides` (width, height) are given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    samples: list[Sample] = []
    things: dict[Path, tuple[Thing, ...]] = {}
    for number in range(images):
        width, height = sides or (int(rng.integers(40, 60)), int(rng.integers(28, 40)))
        pixels = rng.integers(90, 140, (height, width, 3), dtype=np.uint8)
        path, found = folder / f"{number}.png", []
        for side, place in (("left", 2), ("right", width // 2 + 2)):
            colour = list(COLOURS)[int(rng.integers(3))]
            x, y, size = place, int(rng.integers(0, height - 14)), int(rng.integers(8, 14))
            pixels[y : y + size, x : x + size] = COLOURS[colour]
            box = (float(x), float(y), float(x + size), float(y + size))
            found.append(Thing("square", box, (f"facing:{side}",)))
            for words in (f"{side} square", f"the {colour} one on the {side}"):
                samples.append(Sample(f"{number}/{words}", path, words, box, "square"))
        Image.fromarray(pixels).save(path)
        things[path] = tuple(found)
    return Dataset("drawn", "train", tuple(samples), things)


def config(**changes: Any) -> TrainConfig:
    """A run of a few steps, with every part of the training that keeps state switched on."""
    fields: dict[str, Any] = {
        "model": MODEL,
        "data": DataConfig(path=Path("."), dataset="drawn"),
        "steps": 6,
        "images_per_batch": 4,
        "expressions_per_image": 2,
        "lr": 1e-3,
        "schedule": "cosine",
        "warmup": 1,
        "ema": 0.9,
        "checkpoint_every": 2,
        "log_every": 2,
        "device": "cpu",
        "tensorboard": False,  # seconds to import
    }
    return TrainConfig(**{**fields, **changes})


def thinned(dataset: Dataset) -> Dataset:
    """The same images, of whose two things 0, 1 or 2 are left."""
    things = {path: found[: n % 3] for n, (path, found) in enumerate(dataset.things.items())}
    return Dataset(dataset.name, dataset.split, dataset.samples, things)


def objective(model: Any, batch: Batch, draw: Draw) -> dict[str, Tensor]:
    """The real objective without mutual information, which is no mean over expressions."""
    losses = grounding_losses(model, batch, draw, GroundingLoss(mi=0.0))
    return {name: loss for name, loss in losses.items() if name != "mi"}


def informed(model: Any, batch: Batch, draw: Draw) -> dict[str, Tensor]:
    """The real objective with what is no mean over expressions: mutual information and a budget."""
    return grounding_losses(model, batch, draw, GroundingLoss(mi=1.0, budget=1.0))


def boxes(model: Any, batch: Any, draw: Draw) -> dict[str, Tensor]:
    """DETR's losses that are means over all boxes; that of categories is a mean within a process."""
    losses = detr_losses(model, batch, draw, SetLoss())
    return {name: loss for name, loss in losses.items() if name.startswith("box_")}


def words(model: Any, batch: Any, draw: Draw) -> dict[str, Tensor]:
    """MDETR's losses, without alignment: its negatives are also the padding of a process's longest words."""
    return mdetr_losses(model, batch, draw, ModulatedLoss())


OBJECTIVES = {
    "words": words,
    "plain": objective,
    "informed": informed,
    "detection": detection,
    "boxes": boxes,
}


class SlowToLeave(Progress):
    """The first process still has its log to close when the second has left the run."""

    def __exit__(self, *raised: object) -> None:
        time.sleep(2.0 * (os.environ["RANK"] == "0"))
        super().__exit__(*raised)


def main(arguments: list[str]) -> None:
    out, flags, slow = Path(arguments[0]), arguments[1:], 0.0
    changes: dict[str, Any] = dict(flag.split("=", 1) for flag in flags if "=" in flag)
    if "slow" in changes:
        slow = float(changes.pop("slow"))
    name = changes.pop("objective", "plain")
    if name in ("detection", "boxes"):
        changes["data"] = config().data.model_copy(update={"things": True})

    def slowly(model: Any, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        time.sleep(slow)
        return OBJECTIVES[name](model, batch, draw)

    torch.set_num_threads(1)
    if "--still" in flags:
        changes |= {"model": STILL, "freeze_norm": True}
    if name == "boxes":
        changes |= {"model": DETR, "expressions_per_image": 1}
    if name == "words":
        changes |= {"model": MDETR}
    sides = SAME if name == "boxes" else None
    run, dataset = Run("tiny", config(**changes), "grounding"), drawn(out.parent / "images", sides=sides)
    dataset = thinned(dataset) if name in ("detection", "boxes") else dataset
    out = out / os.environ["RANK"] if "--apart" in flags else out
    if "--twice" in flags:
        groundling.training.train.Progress = SlowToLeave  # type: ignore[misc]
        train_all((run, run._replace(name="again")), out, dataset=dataset)
        return
    judge = (lambda *_: {"prec@0.5": 0.5}) if "--judged" in flags else None
    train(run, out, resume="--resume" in flags, dataset=dataset, objective=slowly, evaluate=judge)


if __name__ == "__main__":
    main(sys.argv[1:])
