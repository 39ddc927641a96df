"""What a training step with gates costs beside one of the static twin, in turns.

    python benchmarks/training_step.py [PRESET] [--images N] [--threads N] [--rounds N]

One expression an image, random images and words, forward and backward, float32, statistics of norms frozen
as in the recipes that train gates: masks multiply, nothing is cut out. The twin could share an image between
its expressions; with gates each expression sees its own.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from groundling.benchmark import in_turns
from groundling.data.loader import Batch
from groundling.dynamic.gates import Draw
from groundling.losses import OBJECTIVES
from groundling.models import LADS, build
from groundling.models.lads import LadsConfig
from groundling.training.optimisation import freeze_norms

TOKENS = 12


def batch(config: LadsConfig, images: int) -> Batch:
    """Random images, one expression about each."""
    generator = torch.Generator().manual_seed(0)
    size = config.image_size
    return Batch(
        torch.randint(0, 256, (images, 3, size, size), dtype=torch.uint8, generator=generator),
        torch.arange(images),
        torch.randint(5, config.text.vocabulary, (images, TOKENS), generator=generator),
        torch.zeros(images, TOKENS, dtype=torch.bool),
        0.25 + 0.5 * torch.rand(images, 4, generator=generator),
        tuple(str(index) for index in range(images)),
    )


def step(config: LadsConfig, given: Batch) -> Callable[[int], float]:
    """A forward and a backward pass; returns its seconds."""
    model, total = build(config).train(), len(given)
    freeze_norms(model)
    objective = OBJECTIVES["grounding"]({"dense": 0.5, "budget": 10.0 * (config.gating is not None)})

    def run(turn: int) -> float:
        began = time.perf_counter()
        losses = objective(model, given, Draw(0, turn, 0, total, total))
        torch.stack([loss for name, loss in losses.items() if "metric/" not in name]).sum().backward()
        model.zero_grad()
        return time.perf_counter() - began

    return run


def main() -> None:
    """Print both medians and their ratio."""
    parser = argparse.ArgumentParser(description="A training step with gates beside the static twin's.")
    parser.add_argument("preset", nargs="?", default="lads_street", choices=sorted(LADS))
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    config = LADS[asked.preset]
    given = batch(config, asked.images)
    ways = {"gates": step(config, given), "static": step(config.model_copy(update={"gating": None}), given)}
    for _ in in_turns(ways, 2):
        pass
    times: dict[str, list[float]] = {way: [] for way in ways}
    for way, seconds in in_turns(ways, asked.rounds):
        times[way].append(seconds)
    gates, static = (1000 * statistics.median(times[way]) for way in ("gates", "static"))
    print(
        f"{asked.preset}, {asked.images} images, {asked.threads} threads: "
        f"{gates:.0f} ms with gates, {static:.0f} ms without, {gates / static:.2f} times as long"
    )


if __name__ == "__main__":
    main()
