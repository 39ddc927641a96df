"""How well a model tells what is in a picture from what is not: AUROC, precision and recall of `present`.

    python benchmarks/presence.py photos/entities val

Asked are the phrases of each picture, and half as many of other pictures (`data.phrases.Absent` says which).
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

from groundling.ask.grounder import Grounder, load_grounder
from groundling.data import open_captions
from groundling.data.caption import CaptionSet
from groundling.data.loader import by_image
from groundling.data.phrases import Absent, phrases


def told(grounder: Grounder, captions: CaptionSet, every: int = 1) -> tuple[list[float], list[float]]:
    """`present` of phrases that are there and of some that are not, of every so many pictures."""
    groups, rng = by_image(phrases(captions)), random.Random(0)
    pool, there, gone = Absent(groups), list[float](), list[float]()
    for group in groups[::every]:
        absent = pool.of(group[0].image, len(group) // 2, rng)
        answers = grounder.ground(group[0].image, [one.text for one in (*group, *absent)])
        sure = [-1.0 if answer.present is None else answer.present for answer in answers]
        there += sure[: len(group)]
        gone += sure[len(group) :]
    return there, gone


def auroc(there: Sequence[float], gone: Sequence[float]) -> float:
    """How likely it is that something there has more than something gone; a tie counts half."""
    order = sorted([(value, 1) for value in there] + [(value, 0) for value in gone])
    below, wins, place = 0, 0.0, 0
    while place < len(order):
        end = place
        while end < len(order) and order[end][0] == order[place][0]:
            end += 1
        tied = [kind for _, kind in order[place:end]]
        own, other = sum(tied), len(tied) - sum(tied)
        wins += own * (below + other / 2)
        below, place = below + other, end
    return wins / (len(there) * len(gone))


def main() -> None:
    """Read the arguments, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("split")
    parser.add_argument("--dataset", default="jsonl")
    parser.add_argument("--model", default="lads_photo")
    parser.add_argument("--absent", type=float, default=0.5)
    parser.add_argument("--every", type=int, default=1, help="ask about every so many pictures")
    given = parser.parse_args()
    captions = open_captions(given.data, given.dataset, given.split)
    there, gone = told(load_grounder(given.model), captions, given.every)
    kept, false = sum(v >= given.absent for v in there), sum(v >= given.absent for v in gone)
    print(f"{len(there)} phrases that are there, {len(gone)} that are not: AUROC {auroc(there, gone):.3f}")
    print(f"at {given.absent}: precision {kept / (kept + false):.1%}, recall {kept / len(there):.1%}")


if __name__ == "__main__":
    main()
