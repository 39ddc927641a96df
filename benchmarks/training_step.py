"""What a training step with gates costs beside one of the static twin, in time and memory, in turns.

    python benchmarks/training_step.py [PRESET] [--images N] [--texts N] [--threads N] [--rounds N]

PRESET is a LADS or an MDETR with gates. Random images and words, so many texts about each image; forward and
backward, float32, statistics of norms frozen as in the recipes that train gates: masks multiply, nothing is
cut out. With gates each text sees its image for itself; the twin's texts share what the backbone saw.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from groundling.benchmark import in_turns, peak_mb
from groundling.data.loader import Batch
from groundling.data.modulated import CaptionBatch
from groundling.dynamic.gates import Draw
from groundling.losses import OBJECTIVES
from groundling.losses.modulated import Targets
from groundling.models import LADS, MDETR, build
from groundling.models.lads import LadsConfig
from groundling.models.mdetr import MdetrConfig
from groundling.training.optimisation import freeze_norms

TOKENS, OBJECTS = 12, 3
Config = LadsConfig | MdetrConfig


def batch(config: Config, images: int, texts: int) -> Batch | CaptionBatch:
    """Random images, so many texts about each; of a caption three objects with masks, all of it questions."""
    generator = torch.Generator().manual_seed(0)
    (height, width), rows = config.framing.sides, images * texts
    given: tuple[Any, ...] = (
        torch.randint(0, 256, (images, 3, height, width), dtype=torch.uint8, generator=generator),
        torch.ones(images, height, width, dtype=torch.bool),
        torch.arange(rows) // texts,
        torch.randint(5, config.text.vocabulary, (rows, TOKENS), generator=generator),
        torch.zeros(rows, TOKENS, dtype=torch.bool),
    )
    names = tuple(map(str, range(rows)))
    if isinstance(config, LadsConfig):
        return Batch(*given, 0.25 + 0.5 * torch.rand(rows, 4, generator=generator), names)
    boxes = 0.25 + 0.5 * torch.rand(rows, OBJECTS, 4, generator=generator)
    tokens = torch.zeros(rows, OBJECTS, TOKENS, dtype=torch.bool)
    tokens[..., 1] = True
    positive = torch.zeros(rows, OBJECTS, config.slots + 1)
    positive[..., 1] = 1
    targets = Targets(
        boxes,
        torch.full((rows,), OBJECTS),
        positive,
        tokens,
        masks=torch.rand(rows, OBJECTS, height, width, generator=generator) < 0.5 if config.masks else None,
        answers=None if config.answers is None else torch.zeros(rows, dtype=torch.long),
        types=None if config.answers is None or not config.answers.types else torch.arange(rows) % 2,
    )
    return CaptionBatch(*given, targets, names)


def step(config: Config, given: Batch | CaptionBatch) -> Callable[[int], float]:
    """A forward and a backward pass; returns its seconds."""
    model, total = build(config).train(), len(given)
    freeze_norms(model)
    budget = {"budget": 10.0 * (config.gating is not None)}
    if isinstance(config, LadsConfig):
        objective = OBJECTIVES["grounding"]({"dense": 0.5, **budget})
    else:
        objective = OBJECTIVES["mdetr"](budget)

    def run(turn: int) -> float:
        began = time.perf_counter()
        losses = objective(model, given, Draw(0, turn, 0, total, total))
        torch.stack([loss for name, loss in losses.items() if "metric/" not in name]).sum().backward()
        model.zero_grad()
        return time.perf_counter() - began

    return run


def main() -> None:
    """Print both medians, what each takes at its height, and their ratios."""
    parser = argparse.ArgumentParser(description="A training step with gates beside the static twin's.")
    presets: dict[str, Config] = {name: made for name, made in {**LADS, **MDETR}.items() if made.gating}
    parser.add_argument("preset", nargs="?", default="lads_street", choices=sorted(presets))
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--texts", type=int, default=1, help="about each image")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    config = presets[asked.preset]
    given = batch(config, asked.images, asked.texts)
    ways = {"gates": step(config, given), "static": step(config.model_copy(update={"gating": None}), given)}
    for _ in in_turns(ways, 2):
        pass
    times: dict[str, list[float]] = {way: [] for way in ways}
    for way, seconds in in_turns(ways, asked.rounds):
        times[way].append(seconds)
    gates, static = (1000 * statistics.median(times[way]) for way in ("gates", "static"))
    print(
        f"{asked.preset}, {asked.images} images with {asked.texts} texts each, {asked.threads} threads: "
        f"{gates:.0f} ms with gates, {static:.0f} ms without, {gates / static:.2f} times as long"
    )
    most = [peak_mb(partial(ways[way], 0), torch.device("cpu")) for way in ("gates", "static")]
    if None not in most:
        more, less = (mb or 0.0 for mb in most)
        print(
            f"at its height {more:.0f} MB with gates, {less:.0f} MB without, {more / less:.2f} times as much"
        )


if __name__ == "__main__":
    main()
