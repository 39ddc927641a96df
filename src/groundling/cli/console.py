"""What a terminal shows: tables, JSON lines, progress, and warnings and errors in one line each."""

import json
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from groundling.results import Cost

T = TypeVar("T")

PIPED_WIDTH = 160  # columns where the output is no terminal
LONGEST = 2000  # characters of a message: it may quote what somebody gave us
EVERY = 15.0  # seconds between lines about a long work
ALIKE = 3  # warnings of a kind that are shown; the rest is counted
# Messages name Python's arguments; this is how the command line spells them.
SPELLING = {
    "only when asked to download": "with --download",
    "download=True": "--download",
    "resume=True": "--resume",
    "replace=True": "--replace",
    "init=": "--init",
    "text=": "--text",
    "answers=": "--answers",
    "max_pixels": "--max-pixels",
}


def complain(message: str) -> None:
    """One line on stderr."""
    for python, here in SPELLING.items():
        message = re.sub(rf"(?<![^\s(]){re.escape(python)}", here, message)  # not in a user's path
    print(f"groundling: {one_line(message, LONGEST)}", file=sys.stderr)


def one_line(text: str, longest: int | None = None) -> str:
    """The text without line breaks, with control characters spelled out, and cut where it is longer."""
    words = " ".join(text.split())
    if longest is not None and len(words) > longest:
        words = f"{words[:longest]}…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)


def print_json(value: Mapping[str, object]) -> None:
    """One line of strict JSON on stdout."""
    print(json.dumps(value, allow_nan=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: bool = True) -> None:
    """A table on stdout; columns after the first, mostly numbers, are set `right`."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_header=any(columns))
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index and right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(one_line, row))
    width = None if sys.stdout.isatty() else PIPED_WIDTH
    Console(file=sys.stdout, width=width, markup=False, emoji=False, highlight=False).print(table)


def followed(items: Iterable[T], total: int, doing: str) -> Iterator[T]:
    """The items, with a bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, doing, total, console=Console(stderr=True), transient=True)


@contextmanager
def counted(doing: str) -> Iterator[Callable[[int, int], None]]:
    """A function to call with (done, total); it moves a bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def timed(doing: str) -> Iterator[Callable[[int, int], None]]:
    """As `counted`, for what takes minutes: with the time that is left, and now and then a line elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines(doing)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, TextColumn("{task.fields[left]}"), console=Console(stderr=True)) as bar:
        task, began = bar.add_task(doing, total=None, left=""), time.monotonic()

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, left=_left(began, done, total))

        yield show


class _Lines:
    """Says how far it is in a line on stderr, at most every EVERY seconds."""

    def __init__(self, doing: str) -> None:
        self.doing, self.began = doing, time.monotonic()
        self.said = self.began

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self.said >= EVERY and done < total:
            self.said = time.monotonic()
            complain(f"{self.doing}: {percent(done / total)} done, {_left(self.began, done, total)}")


def _left(began: float, done: int, total: int) -> str:
    """How long it still takes, if it goes on as it went."""
    seconds = (time.monotonic() - began) * (total - done) / max(done, 1)
    return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"


@contextmanager
def warnings_shown() -> Iterator[None]:
    """Our own warnings as one line on stderr; those of other libraries are for developers."""
    seen: Counter[str] = Counter()

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        if category.__module__.startswith("groundling."):
            seen[category.__name__] += 1
            if seen[category.__name__] <= ALIKE:
                complain(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = show
        try:
            yield
        finally:
            for name, count in seen.items():
                if count > ALIKE:
                    complain(f"warning: {count - ALIKE} more of this kind ({name})")


def percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:.1f}%"


def macs(count: int) -> str:
    """MACs as people read them: 329.2 M, 24.1 G."""
    return f"{count / 1e9:,.1f} G" if count >= 10**10 else f"{count / 1e6:,.1f} M"


def shares_of(cost: "Cost") -> list[tuple[str, str, str]]:
    """Rows of a table: MACs of each part and of all, and their share of all."""
    rows = [(part, macs(n), percent(n / cost.full)) for part, n in cost.parts.items() if n]
    return [*rows, ("all", macs(cost.full), percent(1))]


def many(count: int, noun: str) -> str:
    """A number and its noun: 1 thread, 2 threads."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def part(count: int, whole: int) -> str:
    """How many of so many; of a network with nothing to leave out, all."""
    return f"{count:,} of {whole:,}" if whole else "all"


def numbers(values: Iterable[float]) -> str:
    """Numbers of a box."""
    return " ".join(f"{value:.1f}" for value in values)


def print_path(path: Path, aside: bool = False) -> None:
    """The path of what was written, on stdout, or `aside` on stderr where stdout carries JSON."""
    print(path, file=sys.stderr if aside else sys.stdout)
