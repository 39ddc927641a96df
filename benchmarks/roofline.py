"""What each part of a request reaches of what this machine can do: MACs a second, and bytes a second.

    python benchmarks/roofline.py [MODEL] [--threads N] [--rounds N]

The machine's own figures are those of a plain convolution (3×3, 256 → 256 channels, 64×64, float32) and of a
plain copy of 256 MB (read and written). Parts are those of a cold request (`groundling benchmark`), the bytes
of a part its weights: what has to come from memory at least once.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from groundling.benchmark import Choosing, drawn_like_the_paper, parts_of
from groundling.cli import console
from groundling.cli.benchmark import read_model, read_requests
from groundling.dynamic.extract import extract
from groundling.words.bert import TextEncoder

COLUMNS = ("", "ms", "GMACs", "GMACs/s", "of a convolution", "MB of weights", "GB/s", "of a copy")
IN = {"vision": ("stem", "layer"), "fusion": ("attention", "ffn"), "text": ("text",), "head": ("head",)}


class Reached(NamedTuple):
    """One part: milliseconds, MACs, bytes of weights."""

    name: str
    ms: float
    macs: float
    weights: float


def seconds(run: Callable[[], object], times: int = 20) -> float:
    """The median of so many runs, after two that do not count."""
    found = []
    for turn in range(times + 2):
        began = time.perf_counter()
        run()
        found += [time.perf_counter() - began] if turn > 1 else []
    return statistics.median(found)


def machine() -> tuple[float, float]:
    """MACs a second of a plain convolution, bytes a second of a plain copy."""
    conv = nn.Conv2d(256, 256, 3, padding=1).to(memory_format=torch.channels_last)
    x = torch.randn(1, 256, 64, 64).to(memory_format=torch.channels_last)
    macs = 9 * 256 * 256 * 64 * 64 / seconds(lambda: F.conv2d(x, conv.weight, conv.bias, padding=1))
    source, target = torch.zeros(64_000_000), torch.empty(64_000_000)
    return macs, 2 * source.nbytes / seconds(lambda: target.copy_(source))


def reached(name: str, rounds: int) -> list[Reached]:
    """The parts of a cold request of a model, with the means of its Selections."""
    requests = read_requests(None, None)
    model, drawn = read_model(name, [words for _, words in requests])
    if model.model.selector is None or not isinstance(model.model.text, TextEncoder):
        raise ValueError(f"{name} chooses nothing: give a model with language gates, such as lads_r50")
    cold, rng = Choosing(model.model, model.tokenizer, taught=model.taught, cache_mib=0), random.Random(0)
    if drawn:
        cold.choose = lambda: drawn_like_the_paper(model.model.units(), rng)
    times = parts_of(cold, requests, rounds)
    answers = [cold.ground(*request) for request in requests[:8]]
    subnets = [extract(model.model, answer.selection) for answer in answers]
    bert = model.model.text.bert
    modules = {"vision": "backbone", "fusion": "encoder", "head": "dense_head"}
    found = []
    for part, prefixes in IN.items():
        macs = statistics.mean(
            sum(count for label, count in answer.cost.parts.items() if label.startswith(prefixes))
            for answer in answers
        )
        held = (
            [getattr(subnet, modules[part], None) for subnet in subnets]
            if part in modules
            else [bert.encoder]
        )
        sizes = [sum(p.nbytes for p in each.parameters()) for each in held if isinstance(each, nn.Module)]
        found.append(Reached(part, times[part], macs, statistics.mean(sizes or [0])))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit code is 0, or 2 and a line on stderr for what cannot be measured."""
    parser = argparse.ArgumentParser(description="What a request reaches of what the machine can do.")
    parser.add_argument("model", nargs="?", default="lads_r50")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    try:
        with torch.inference_mode():
            rows, (most_macs, most_bytes) = reached(asked.model, asked.rounds), machine()
    except (ValueError, OSError) as error:
        console.complain(f"error: {error}")
        return 2
    console.print_table(COLUMNS, (shown(row, most_macs, most_bytes) for row in rows))
    print(
        f"{asked.model}, {asked.threads} threads; a convolution reaches {most_macs / 1e9:.0f} GMACs/s, "
        f"a copy {most_bytes / 1e9:.0f} GB/s"
    )
    return 0


def shown(row: Reached, most_macs: float, most_bytes: float) -> tuple[str, ...]:
    """A row of the table."""
    macs, moved = 1000 * row.macs / row.ms, 1000 * row.weights / row.ms
    return (
        row.name,
        f"{row.ms:.2f}",
        f"{row.macs / 1e9:.3f}",
        f"{macs / 1e9:.0f}",
        f"{macs / most_macs:.0%}",
        f"{row.weights / 1e6:.1f}",
        f"{moved / 1e9:.1f}",
        f"{moved / most_bytes:.0%}",
    )


if __name__ == "__main__":
    sys.exit(main())
