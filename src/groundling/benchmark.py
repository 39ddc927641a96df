"""What words leave out, on the clock: every way of answering a request beside the static full network.

*Realised* = (time of the static network on the same executor ÷ time of the request) ÷ (its MACs ÷ MACs run):
1 where each MAC that is not run saves its time. A request is words to box: text, gates, extraction, network.
Ways take turns in rounds, so that whatever else the machine does hits all of them; how much that was is told.
"""

import ctypes
import os
import random
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from groundling.ask.grounder import Grounder
from groundling.dynamic.cost import CostModel
from groundling.dynamic.gates import Relevance
from groundling.pictures.images import ImageSource
from groundling.results import Cost, Grounding
from groundling.runtime.batched import TRIALS, Batcher
from groundling.runtime.compiled import CompiledSubnets
from groundling.runtime.compilers import Runtime, resolved
from groundling.runtime.words import Words
from groundling.selection import Selection, Unit

BATCHES = (1, 8, 32)
PARTS = ("text", "gates", "extraction", "vision", "fusion", "head")
Request = tuple[ImageSource, str]
Choose = Callable[[], Selection]
Progress = Callable[[int, int], None]  # what is done, and what there is to do
K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True)
class Way:
    """One way of answering: by whom, and the static network's way on the same executor."""

    name: str
    who: Grounder
    reference: "Way | None" = None  # None: it is the static network itself
    again: bool = False  # always the first request: its words come again, and nobody reads them
    batch: int | None = None  # None: one by one

    def answer(self, requests: Sequence[Request], turn: int) -> list[Grounding]:
        """The answers to those of the requests whose turn it is."""
        if self.batch is None:
            return [self.who.ground(*requests[0 if self.again else turn % len(requests)])]
        places = range(turn * self.batch, (turn + 1) * self.batch)
        return self.who.ground_batch([requests[place % len(requests)] for place in places])


@dataclass(frozen=True)
class Row:
    """One way of answering: milliseconds and MACs share of a request, and what share of them was realised."""

    name: str
    ms_median: float
    ms_p95: float
    ms_half: tuple[float, float]  # between these lie half of all times
    images_per_s: float
    share: float
    realised: float
    peak_mb: float | None  # above what the process held before; None where nobody can say


@dataclass(frozen=True)
class Benchmark:
    """All rows, and the parts of a cold request in milliseconds.

    first_ms: of the very first request, in which PyTorch sets itself up. taken: the share of the time of the
    full network's answers in which other programs had the processor, in [0, 1].
    """

    model: str
    device: str
    threads: int
    runtime: str | None  # what compiled the compiled rows; None: there are none
    drawn: bool  # Selections are drawn at the paper's rates, since the weights are not trained
    rows: tuple[Row, ...]
    parts: Mapping[str, float]
    first_ms: float
    taken: float

    def as_dict(self) -> dict[str, Any]:
        """One JSON document."""
        return asdict(self)


class Choosing(Grounder):
    """A Grounder that runs other Selections than its selector's; the selector runs all the same."""

    choose: Choose | None = None

    def _chosen(self, words: Words, budget: float | None, costs: CostModel) -> Selection:
        return words.selection if self.choose is None else self.choose()

    def _select(
        self, relevance: Relevance | None, lengths: Sequence[int], budget: float | None, costs: CostModel
    ) -> list[Selection]:
        if self.choose is None:
            return super()._select(relevance, lengths, budget, costs)
        return [self.choose() for _ in lengths]


def drawn_like_the_paper(units: Sequence[Unit], rng: random.Random) -> Selection:
    """8 of 13 residual layers, 10 of 12 sublayers and half of all filters: LADS' rates on average."""
    layers = [unit.name for unit in units if unit.kind == "layer"]
    sublayers = [unit.name for unit in units if unit.kind in ("attention", "ffn")]
    on = {
        *rng.sample(layers, round(len(layers) * 8 / 13)),
        *rng.sample(sublayers, round(len(sublayers) * 10 / 12)),
    }
    bits = []
    for unit in units:
        kept = [unit.name in on] * unit.size
        if unit.kind == "filters":
            kept = [place < unit.size // 2 for place in range(unit.size)]
            rng.shuffle(kept)
        bits.append((unit.name, tuple(kept)))
    return Selection(tuple(bits))


def benchmark(
    model: Grounder,
    requests: Sequence[Request],
    *,
    name: str,
    rounds: int = 20,
    runtime: Runtime = "auto",
    drawn: bool = False,
    batches: Sequence[int] = BATCHES,
    before: Sequence[str] = (),
    progress: Progress | None = None,
) -> Benchmark:
    """Time all ways of answering these requests, `rounds` times each, in turns.

    First is a request of which nothing is cached, cold one whose words were not read yet, after use: after
    the expressions `before`, and the requests of the rounds that warm up. What is timed are other requests
    than those, where there are enough: 9 + rounds, times those of a batch.
    drawn: run Selections drawn at the paper's rates. runtime: of the compiled rows, which are left out where
    none is installed. progress: called with the requests that were answered and all that will be. ValueError
    for a model without a selector.
    """
    if model.model.selector is None:
        raise ValueError(
            "this model runs the same network for all words, so there is nothing to compare; give one whose "
            "words choose, such as lads_street"
        )
    if not requests or rounds < 1:
        raise ValueError(f"requests and rounds must be 1 or more, given {len(requests)} and {rounds}")
    whole, rng = Selection.all_on(model.model.units()), random.Random(0)
    draw = (lambda: drawn_like_the_paper(model.model.units(), rng)) if drawn else None
    kept = draw() if draw else None
    same = (lambda: kept) if kept else None

    def grounder(
        choose: Choose | None, new: bool = False, cache_mib: int = 256, runtime: Runtime = "eager"
    ) -> Choosing:
        """Reads each request's words anew where they are to be `new`; a static network has no selector."""
        limit = 0 if new else model.reader.limit_bytes
        made = Choosing(
            model.model,
            model.tokenizer,
            device=str(model.device),
            taught=model.taught,
            reader=model.reader.like(limit, choosing=choose is not all_on),
            cache_mib=cache_mib,
            runtime=runtime,
        )
        made.choose = choose
        return made

    def all_on() -> Selection:
        return whole

    static, cold = grounder(all_on, new=True), grounder(draw, new=True)
    compiled_static, compiled = grounder(all_on, runtime=runtime), grounder(same, runtime=runtime)
    full, full_compiled = Way("static", static), Way("compiled_static", compiled_static, again=True)
    ways = [
        full,
        full_compiled,
        Way("adaptive_first", grounder(draw, new=True, cache_mib=0), full),
        Way("adaptive_cold", cold, full),
        Way("adaptive_warm", grounder(same), Way("static_same", grounder(all_on), again=True), again=True),
        Way("compiled", compiled, full_compiled, again=True),
        *(Way(f"batched_{n}", cold, Way(f"static_{n}", static, batch=n), batch=n) for n in batches),
    ]
    steps = Steps(progress)
    steps.expect(ways, _rounds_to_warm() + rounds, rounds)
    first = full.answer(requests, 0)[0].milliseconds
    for expression in before:
        cold.subnets.get(cold.select(expression))
    _warm(ways, requests, steps)
    runners = (compiled_static.runner, compiled.runner)
    fast = all(isinstance(runner, CompiledSubnets) and runner.stats.held for runner in runners)
    if not fast:  # what could not be compiled has no row of that name
        ways = [way for way in ways if way.who not in (compiled_static, compiled)]
    steps.expect(ways, rounds, rounds)
    attention = Attention()
    times, shares = _timed(ways, requests, rounds, steps, attention)
    last = _rounds_to_warm() + rounds
    peaks = [peak_mb(steps.after(way, partial(way.answer, requests, last)), way.who.device) for way in ways]
    return Benchmark(
        model=name,
        device=str(model.device),
        threads=torch.get_num_threads(),
        runtime=resolved(runtime, model.device) if fast else None,
        drawn=drawn,
        rows=tuple(_row(way, times, shares, peak) for way, peak in zip(ways, peaks, strict=True)),
        parts=parts_of(cold, requests, rounds, steps, last + 1),
        first_ms=round(first, 1),
        taken=round(attention.taken, 3),
    )


class Attention:
    """How much of the time of some calls this thread ran: the rest went to other programs."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def of(self, call: Callable[[int], T]) -> Callable[[int], T]:
        """The call, watched; only for what computes in the calling thread too."""

        def watched(turn: int) -> T:
            wall, cpu = time.perf_counter(), time.thread_time()
            found = call(turn)
            self.wall += time.perf_counter() - wall
            self.cpu += time.thread_time() - cpu
            return found

        return watched

    @property
    def taken(self) -> float:
        """The share of the time that went to others, in [0, 1]."""
        return max(0.0, 1 - self.cpu / self.wall) if self.wall else 0.0


class Steps:
    """Counts requests for whoever wants to know how long it still takes."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress, self.done, self.total = progress, 0, 0

    def expect(self, ways: Sequence[Way], turns: int, single: int) -> None:
        """From here on: turns of each way and each reference, one more of each way, and single requests."""
        each = {one for way in ways for one in (way.reference or way, way)}
        turn, once = (sum(way.batch or 1 for way in some) for some in (each, ways))
        self.total = self.done + turns * turn + once + single

    def add(self, requests: int = 1) -> None:
        """So many requests more were answered."""
        self.done = min(self.total, self.done + requests)
        if self.progress:
            self.progress(self.done, self.total)

    def after(self, way: Way, call: Callable[[], T]) -> Callable[[], T]:
        """The call of a way, which is counted when it has answered."""

        def counted() -> T:
            found = call()
            self.add(way.batch or 1)
            return found

        return counted


def _rounds_to_warm() -> int:
    return 1 + TRIALS * len(Batcher.WAYS)


def _runs(ways: Sequence[Way], requests: Sequence[Request]) -> dict[Way, Callable[[int], list[Grounding]]]:
    """What each way does in a turn, and each that is a reference, once."""
    return {each: partial(each.answer, requests) for way in ways for each in (way.reference or way, way)}


def _warm(ways: Sequence[Way], requests: Sequence[Request], steps: Steps) -> None:
    """Until every cache that a row is about is filled and every way of running a batch was tried."""
    for way, _ in in_turns(_runs(ways, requests), _rounds_to_warm()):
        steps.add(way.batch or 1)
        if isinstance(way.who.runner, CompiledSubnets):
            way.who.runner.wait()


def _timed(
    ways: Sequence[Way], requests: Sequence[Request], rounds: int, steps: Steps, attention: Attention
) -> tuple[dict[Way, list[float]], dict[Way, list[float]]]:
    """Milliseconds and MACs shares of a request, by way."""
    times, shares = defaultdict[Way, list[float]](list), defaultdict[Way, list[float]](list)
    runs = _runs(ways, requests)
    runs[ways[0]] = attention.of(runs[ways[0]])  # the full network computes in this thread
    for way, found in in_turns(runs, rounds, begin=_rounds_to_warm()):
        steps.add(way.batch or 1)
        times[way].append(statistics.mean(grounding.milliseconds for grounding in found))
        shares[way] += [_share(grounding.cost, way.again) for grounding in found]
    return times, shares


def in_turns(
    ways: Mapping[K, Callable[[int], T]], rounds: int, progress: Progress | None = None, begin: int = 0
) -> Iterator[tuple[K, T]]:
    """What each way gives in each round, one way after another; `progress` is told of each round."""
    for turn in range(rounds):
        for way, run in ways.items():
            yield way, run(begin + turn)
        if progress:
            progress(turn + 1, rounds)


def p95(times: Sequence[float]) -> float:
    """The time that one in twenty reaches; of twenty or fewer the largest."""
    return sorted(times)[min(len(times) - 1, int(0.95 * len(times)))]


def middle_half(times: Sequence[float]) -> tuple[float, float]:
    """The first and the third quartile of some times."""
    if len(times) == 1:
        return times[0], times[0]
    first, _, third = statistics.quantiles(times, n=4, method="inclusive")
    return first, third


def _share(cost: Cost, kept: bool) -> float:
    """What ran, as a share of the full network; without the part of the words where it was kept."""
    if not kept:
        return cost.share
    words = cost.parts["text"] + cost.parts["selector"]
    return (cost.macs - words) / (cost.full - words)


def _row(
    way: Way, times: Mapping[Way, list[float]], shares: Mapping[Way, list[float]], peak: float | None
) -> Row:
    median, share = statistics.median(times[way]), statistics.mean(shares[way])
    low, high = middle_half(times[way])
    # A share counts the selector into the full network; the static one has none.
    return Row(
        name=way.name,
        ms_median=round(median, 3),
        ms_p95=round(p95(times[way]), 3),
        ms_half=(round(low, 3), round(high, 3)),
        images_per_s=round(1000 / median, 2),
        share=round(share, 4),
        realised=round(statistics.median(times[way.reference or way]) / median * share, 3),
        peak_mb=None if peak is None else round(peak, 1),
    )


def parts_of(
    cold: Grounder, requests: Sequence[Request], rounds: int, steps: Steps | None = None, begin: int = 0
) -> dict[str, float]:
    """Median milliseconds of each part of a cold request; the first of them is the one at `begin`."""
    found: dict[str, list[float]] = {part: [] for part in PARTS}
    for turn in range(rounds):
        marks: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        with _watched(cold, marks):
            cold.ground(*requests[(begin + turn) % len(requests)])
        for part, value in marks.items():
            found[part].append(1000 * value)
        if steps:
            steps.add()
    return {part: round(statistics.median(values), 3) for part, values in found.items()}


@contextmanager
def _watched(who: Grounder, marks: dict[str, float]) -> Iterator[None]:
    """Add the seconds that each part takes to `marks`."""
    extracted, net_of = who.subnets.get, {"backbone": "vision", "encoder": "fusion"}
    watched: list[nn.Module] = []

    def timed(part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*given, **options)
            finally:
                if who.device.type == "cuda":
                    torch.cuda.synchronize(who.device)
                marks[part] += time.perf_counter() - began

        return run

    def get(selection: Selection) -> Any:
        net = timed("extraction", extracted)(selection)
        for part, module in net.named_children():
            if part != "text_proj":
                module.forward = timed(net_of.get(part, "head"), module.forward)
                watched.append(module)  # subnets share what no words change: it must not stay watched
        return net

    text, selector = who.reader.text.forward, who.reader.selector
    assert selector is not None
    gates = selector.forward
    who.reader.text.forward = timed("text", text)  # type: ignore[method-assign]
    selector.forward = timed("gates", gates)  # type: ignore[method-assign]
    who.subnets.get = get  # type: ignore[method-assign]
    try:
        yield
    finally:
        del who.subnets.get, who.reader.text.forward, selector.forward
        for module in watched:
            del module.forward


def peak_mb(run: Callable[[], object], device: torch.device) -> float | None:
    """MB that running takes at its height, above what was held before it; None where nobody can say."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    if not Path("/proc/self/statm").exists():
        return None
    with suppress(OSError, AttributeError):  # what the allocator keeps would hide what is taken
        ctypes.CDLL(None).malloc_trim(0)
    held = [_resident()]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.0005):
            held.append(_resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run()
    finally:
        done.set()
        watcher.join()
    return (max(held) - held[0]) / 1e6


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Point:
    """A Selection's share of the MACs, and of its answers' milliseconds the median and the middle half."""

    share: float
    milliseconds: float
    half: tuple[float, float]


def curve(
    model: Grounder, request: Request, *, selections: int = 50, rounds: int = 5
) -> tuple[list[Point], Point]:
    """The times of Selections of all sizes, and those of the full network.

    Subnets are extracted ahead: this is what their MACs cost, not what choosing them does.
    """
    units, rng = model.model.units(), random.Random(1)
    whole = Selection.all_on(units)
    asked = [whole, *(_of_size((i + 0.5) / selections, units, rng) for i in range(selections))]
    times: list[list[float]] = [[] for _ in asked]
    for turn in range(rounds + 1):
        for place, selection in enumerate(asked):
            found = model.ground(*request, selection=selection)
            if turn:  # the first round extracts
                times[place].append(found.milliseconds)
    length = model.tokenizer.encode([request[1]]).ids.shape[1]
    full, *others = (
        Point(
            model.model.cost_model.cost(selection, length).share, statistics.median(each), middle_half(each)
        )
        for selection, each in zip(asked, times, strict=True)
    )
    return others, full


def _of_size(chance: float, units: Sequence[Unit], rng: random.Random) -> Selection:
    """Every layer, sublayer and filter on with the same probability."""
    return Selection(tuple((u.name, tuple(rng.random() < chance for _ in range(u.size))) for u in units))


def plot(points: Sequence[Point], full: Point, name: str) -> bytes:
    """Time against MACs as a PNG, with the line on which every MAC left out saves its time."""
    from groundling.analyze import canvas
    from groundling.draw import ink

    canvas.need_extra()
    drawn = canvas.figure((7, 5))
    axes = drawn.add_subplot()
    title = f"{canvas.literal(name)}: time of an answer against MACs, {len(points)} subnets"
    canvas.titled(axes, title, "MACs, % of the full network", "milliseconds per answer")
    limit = "all time saved that the MACs would save"
    axes.plot((0, 100), (0, full.milliseconds), "--", color=ink.QUIET, linewidth=1, label=limit)
    for several, colour, label in ((points, ink.LAYER, "subnets"), ([full], ink.ATTENTION, "full network")):
        medians = [point.milliseconds for point in several]
        spread = [
            [point.milliseconds - point.half[0] for point in several],
            [point.half[1] - point.milliseconds for point in several],
        ]
        shares = [100 * point.share for point in several]
        axes.errorbar(shares, medians, spread, fmt="o", markersize=4, color=colour, elinewidth=1, label=label)
    axes.set_xlim(0, 104)
    axes.set_ylim(0, 1.08 * max(point.half[1] for point in (*points, full)))
    axes.legend(
        frameon=False,
        fontsize=9,
        loc="upper left",
        title="median, and the middle half of all times",
        title_fontsize=8,
    )
    return canvas.png(drawn)
