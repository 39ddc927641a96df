"""Is choosing worth it? Accuracy beside milliseconds, of one model under budgets and of static networks.

    python benchmarks/worth.py photos/entities val --static runs/static/final --out worth.png

Each network answers the same requests in turns, so that whatever else the machine does falls on all alike.
"First" is the first time of an expression, "again" the second. Accuracy is any-box Recall@1 of all phrases.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.figure import Figure

from groundling.ask.grounder import Grounder, load_grounder
from groundling.data import open_captions
from groundling.data.caption import CaptionSet
from groundling.evaluate import one_box
from groundling.pictures.images import open_image


class Candidate(NamedTuple):
    """A network, and the budget that it is given."""

    name: str
    grounder: Grounder
    budget: float | None


class Worth(NamedTuple):
    """What a candidate reaches and takes: shares in [0, 1], medians in milliseconds."""

    name: str
    recall: float
    macs: float
    first: float
    again: float


def measured(candidates: list[Candidate], captions: CaptionSet, requests: int) -> list[Worth]:
    """Accuracy of each, then the times of all in turns."""
    accuracy = [
        one_box.recall(each.grounder.model, each.grounder.tokenizer, captions, budget=each.budget)
        for each in candidates
    ]
    phrases = {c.said(p): c.image for c in captions.captions for p in c.phrases if p.boxes}
    asked = list(phrases.items())[:: max(1, len(phrases) // requests)][:requests]
    times: list[tuple[list[float], list[float]]] = [([], []) for _ in candidates]
    for number, (text, image) in enumerate(asked):
        picture = open_image(image)
        for place in range(len(candidates)):
            each = candidates[turn := (place + number) % len(candidates)]
            for seen in times[turn]:
                began = time.perf_counter()
                each.grounder.ground(picture, text, budget=each.budget)
                seen.append(1000 * (time.perf_counter() - began))
    half = len(asked) // 2  # the first half fills the cache of blocks
    return [
        Worth(
            each.name,
            score.result.all.recall_at_1,
            score.macs_share,
            *(statistics.median(t[half:]) for t in both),
        )
        for each, score, both in zip(candidates, accuracy, times, strict=True)
    ]


def drawn(found: list[Worth], out: Path) -> None:
    """Accuracy over milliseconds; a line through the budgets of the adaptive model."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, place, marker in (("first", 3, "o"), ("again", 4, "s")):
        own = [each for each in found if "budget" in each.name or each.name.endswith("chosen")]
        axes.plot(
            [each[place] for each in own],
            [100 * e.recall for e in own],
            marker,
            ls="-",
            label=f"words choose, {name}",
        )
    for each in found:
        if each not in own:
            axes.plot(each.first, 100 * each.recall, "x", color="black")
            axes.annotate(
                each.name, (each.first, 100 * each.recall), xytext=(4, 4), textcoords="offset points"
            )
    axes.set_xlabel("milliseconds an answer")
    axes.set_ylabel("any-box Recall@1, %")
    axes.legend()
    figure.savefig(out, dpi=120)


def main() -> None:
    """Read the arguments, measure, print a table, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("split")
    parser.add_argument("--dataset", default="jsonl")
    parser.add_argument("--model", default="lads_photo")
    parser.add_argument("--static", action="append", default=[], help="a checkpoint that runs in full")
    parser.add_argument("--budgets", default="0.5,0.4,0.3")
    parser.add_argument("--limit", type=int, help="captions to measure accuracy on")
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    captions = open_captions(given.data, given.dataset, given.split).limited(given.limit)
    candidates = [Candidate(f"{given.model}, chosen", load_grounder(given.model), None)]
    for budget in map(float, filter(None, given.budgets.split(","))):
        candidates.append(Candidate(f"{given.model}, budget {budget:g}", load_grounder(given.model), budget))
    candidates += [Candidate(name, load_grounder(name), None) for name in given.static]
    found = measured(candidates, captions, given.requests)
    print(f"{'network':32} Recall@1   MACs   first ms   again ms")
    for each in found:
        print(f"{each.name:32} {each.recall:8.1%} {each.macs:6.1%} {each.first:10.1f} {each.again:10.1f}")
    if given.out is not None:
        drawn(found, given.out)


if __name__ == "__main__":
    main()
