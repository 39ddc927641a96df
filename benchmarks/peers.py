"""LADS beside what people would pick instead: picture and words to a box, all in turns on one CPU.

    python benchmarks/peers.py [--threads N] [--rounds N] [--images DIR] [--expressions FILE]
                               [--models NAME,NAME] [--json]

A request is decoding, resizing to what the model was published with, normalising, the network, and its best
box in pixels of the picture. All weights are random, since time does not depend on them; the Selections of
lads_r50 are drawn at the LADS paper's rates, a new one each time. `detectors.py` says how the peers are built
and what they read.
"""

import argparse
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from detectors import DETECTORS, Box, Detector

from groundling.cli import console
from groundling.cli.benchmark import read_requests

if TYPE_CHECKING:
    from torch import nn

    from groundling.benchmark import Request
    from groundling.models.supernet import SupernetConfig
    from groundling.pictures.images import ImageSource

ADAPTIVE = "lads_r50"
OURS = (ADAPTIVE, "lads_r50_static", "transvg_r50", "mdetr_r101")
MODELS = (*OURS, *DETECTORS)
WARM_UP = 2  # rounds
COLUMNS = ("", "input", "M parameters", "ms", "p95", f"× {ADAPTIVE}", "GMACs")


class Answer(NamedTuple):
    """A box, xyxy in pixels of the picture, and the MACs of it where somebody counts them."""

    box: Box
    macs: int | None


@dataclass(frozen=True)
class Contender:
    """A model that answers; height and width are what it reads."""

    name: str
    height: int
    width: int
    parameters: int
    ask: "Callable[[ImageSource, str], Answer]"


@dataclass(frozen=True)
class Row:
    """What the requests to a model took; `ratio` is that of medians to the adaptive one's."""

    name: str
    height: int
    width: int
    parameters: int
    ms_median: float
    ms_p95: float
    ratio: float | None
    macs: int | None  # mean


def compare(
    contenders: Sequence[Contender],
    requests: "Sequence[Request]",
    rounds: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Row, ...]:
    """Time every contender on the same requests, `rounds` times each, in turns."""
    from groundling.benchmark import in_turns

    def timed(contender: Contender) -> Callable[[int], tuple[float, int | None]]:
        def run(turn: int) -> tuple[float, int | None]:
            began = time.perf_counter()
            answer = contender.ask(*requests[turn % len(requests)])
            return 1000 * (time.perf_counter() - began), answer.macs

        return run

    ways = {contender.name: timed(contender) for contender in contenders}
    for _ in in_turns(ways, WARM_UP):
        pass
    times: dict[str, list[float]] = defaultdict(list)
    macs: dict[str, list[int]] = defaultdict(list)
    for name, (milliseconds, counted) in in_turns(ways, rounds, progress):
        times[name].append(milliseconds)
        macs[name] += [] if counted is None else [counted]
    return tuple(_row(contender, times, macs[contender.name]) for contender in contenders)


def _row(contender: Contender, times: Mapping[str, Sequence[float]], macs: Sequence[int]) -> Row:
    from groundling.benchmark import p95

    median = statistics.median(times[contender.name])
    adaptive = statistics.median(times[ADAPTIVE]) if ADAPTIVE in times else None
    return Row(
        name=contender.name,
        height=contender.height,
        width=contender.width,
        parameters=contender.parameters,
        ms_median=round(median, 3),
        ms_p95=round(p95(times[contender.name]), 3),
        ratio=None if adaptive is None else round(median / adaptive, 3),
        macs=round(statistics.mean(macs)) if macs else None,
    )


def ours(name: str, config: "SupernetConfig", words: Sequence[str]) -> Contender:
    """A model of this project that reads these words; one with a selector runs a new Selection each time."""
    import torch

    from groundling.benchmark import Choosing, drawn_like_the_paper
    from groundling.models import build
    from groundling.runtime.words import Reader
    from groundling.words.reading import tokenizer_for

    torch.manual_seed(0)
    model, rng = build(config), random.Random(0)
    tokenizer = tokenizer_for(config.text).train(words, config.text.vocabulary, config.text.tokens)
    reader = Reader(model.eval(), tokenizer, (), limit_bytes=0)  # every request is about new words
    if model.selector is None:
        grounder = Choosing(model, tokenizer, reader=reader)
    else:
        grounder = Choosing(model, tokenizer, cache_mib=0, reader=reader)
        grounder.choose = lambda: drawn_like_the_paper(model.units(), rng)

    def ask(image: "ImageSource", expression: str) -> Answer:
        found = grounder.ground(image, expression)
        return Answer(found.box, found.cost.macs)

    return Contender(name, *config.framing.sides, _parameters(model), ask)


def theirs(name: str, detector: Detector) -> Contender:
    """A detector with random weights."""
    import torch

    from groundling.pictures.images import open_image

    torch.manual_seed(0)
    network = detector.build(detector.size).eval()

    def ask(image: "ImageSource", expression: str) -> Answer:
        return Answer(detector.find(network, open_image(image), expression), None)

    return Contender(name, detector.size.height, detector.size.width, _parameters(network), ask)


def _parameters(network: "nn.Module") -> int:
    return sum(parameter.numel() for parameter in network.parameters())


class Arguments(argparse.ArgumentParser):
    """What is wrong is one line, as everywhere here, not a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Raise what `main` prints."""
        raise ValueError(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 2 and one line on stderr for what cannot be measured."""
    try:
        with console.warnings_shown():
            _measure(_arguments(arguments))
    except (ValueError, OSError) as error:
        console.complain(f"error: {error}")
        return 2
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Arguments(description="Time LADS beside what people would pick instead.", allow_abbrev=False)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves their number to it")
    parser.add_argument("--rounds", type=int, default=10, help="how often each model answers")
    parser.add_argument("--images", type=Path, help="a folder of pictures; street scenes without it")
    parser.add_argument("--expressions", type=Path, help="a text file, one expression a line")
    parser.add_argument("--models", default=",".join(MODELS), help="%(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON document, on the last line")
    asked = parser.parse_args(arguments)
    asked.models = list(dict.fromkeys(name.strip() for name in asked.models.split(",")))
    if asked.threads < 0 or asked.rounds < 1:
        raise ValueError(
            f"threads must be 0 or more and rounds 1 or more, given {asked.threads} and {asked.rounds}"
        )
    if unknown := [name for name in asked.models if name not in MODELS]:
        raise ValueError(f"no model {unknown[0]!r}; there are {', '.join(MODELS)}")
    return asked


def _measure(asked: argparse.Namespace) -> None:
    import torch

    from groundling.models import PRESETS

    if asked.threads:
        torch.set_num_threads(asked.threads)
    requests = read_requests(asked.images, asked.expressions)
    words = [expression for _, expression in requests]
    contenders = [
        theirs(name, DETECTORS[name]) if name in DETECTORS else ours(name, PRESETS[name], words)
        for name in asked.models
    ]
    with console.counted("measuring") as progress:
        rows = compare(contenders, requests, asked.rounds, progress)
    facts = {
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "rounds": asked.rounds,
        "weights": "random",
        "selections": "drawn at the LADS paper's rates",
    }
    if asked.json:
        console.print_json({**facts, "rows": [asdict(row) for row in rows]})
        return
    console.print_table(COLUMNS, map(_shown, rows))
    print(
        f"{facts['device']}, {facts['threads']} threads, {facts['rounds']} rounds, picture and words to box; "
        f"weights {facts['weights']}, Selections of {ADAPTIVE} {facts['selections']}, each time a new one"
    )


def _shown(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        f"{row.height}×{row.width}",
        f"{row.parameters / 1e6:.1f}",
        f"{row.ms_median:.1f}",
        f"{row.ms_p95:.1f}",
        "" if row.ratio is None else f"{row.ratio:.2f}",
        "" if row.macs is None else f"{row.macs / 1e9:.2f}",
    )


if __name__ == "__main__":
    sys.exit(main())
