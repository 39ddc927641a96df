"""What a reader could not use or had to change: counted by reason, and the first of each named."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from groundling import callers
from groundling.data.sample import DataError, DataWarning

R = TypeVar("R")
T = TypeVar("T")

NAMED = 3  # of a reason, rows that are named; the others are counted

# What differs between rows of one fault: quoted text, tuples and lists, paths, numbers.
_PARTICULARS = re.compile(r"'[^']*'|\"[^\"]*\"|\([^()]*\)|\[[^\[\]]*\]|\S*/\S*|-?\b\d[\w.,]*")


@dataclass
class Reason:
    """How many rows one reason holds for, and the first of them by name, each with what was said of it."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        """One more."""
        self.count += 1
        if self.count <= NAMED:
            self.examples.append(example)

    def __str__(self) -> str:
        return "; ".join(self.examples) + "; …" * (self.count > NAMED)


class Rejects:
    """The rows of a dataset that were left out, and what was changed in those that were kept.

    A reader never does either in silence: `report` warns of both.
    """

    def __init__(self, noun: str = "rows") -> None:
        self.noun = noun
        self.left_out: dict[str, Reason] = {}  # by reason, particulars left aside
        self.changed: dict[str, Reason] = {}  # by what was done
        self._all = Reason()
        self._noted: set[tuple[str, str]] = set()
        self._checks: list[Callable[[Path | str], None]] = []

    @property
    def count(self) -> int:
        """How many rows were left out."""
        return self._all.count

    @property
    def first(self) -> str:
        """The first rows that were left out, with their reasons; "" where none was."""
        return str(self._all)

    def add(self, row: str, error: Exception) -> None:
        """Leave out a row, because of an error."""
        reason = f"has no {error}" if isinstance(error, KeyError) else str(error)
        self._all.add(f"{row}: {reason}")
        self.left_out.setdefault(kind_of(reason), Reason()).add(f"{row}: {reason}")

    def note(self, change: str, row: str, detail: str = "") -> None:
        """A change to a row that is kept; the same one of the same row is counted once."""
        if (change, row) not in self._noted:
            self._noted.add((change, row))
            self.changed.setdefault(change, Reason()).add(f"{row}: {detail}" if detail else row)

    def at_end(self, check: Callable[[Path | str], None]) -> None:
        """A look at all rows together, given the file, before anything is reported; it may raise."""
        self._checks.append(check)

    def usable(self, rows: Iterable[tuple[str, R]], make: Callable[[R], T]) -> Iterator[T]:
        """What `make` makes of each named row; a row of which it raises a DataError is left out."""
        for name, row in rows:
            try:
                made = make(row)
            except DataError as error:
                self.add(name, error)
            else:
                yield made

    def report(self, file: Path | str, kept: int) -> None:
        """Warn about what was left out and changed; DataError if nothing is left."""
        for check in self._checks:
            check(file)
        if not kept and not self.count:
            raise DataError(f"{file}: has no {self.noun}")
        if not kept:
            raise DataError(f"{file}: none of {self.count} {self.noun} can be used. {self._all}")
        if self.count:
            message = f"{file}: {self.count} of {self.count + kept} {self.noun} left out. {self._all}"
            callers.warn(message, DataWarning)
        for change, rows in self.changed.items():
            callers.warn(f"{file}: {change}: {rows.count} ({rows})", DataWarning)


def said(rejects: Rejects) -> list[str]:
    """What was left out and changed, a line a reason: how many rows, the reason, the first of them."""
    left_out = [f"left out: {reason.count}, {_why(reason)}" for reason in rejects.left_out.values()]
    changed = [f"{what}: {reason.count} ({reason})" for what, reason in rejects.changed.items()]
    return left_out + changed


def _why(reason: Reason) -> str:
    return f"such as {reason}" if reason.count > 1 else str(reason)


def kind_of(reason: str) -> str:
    """A reason without what is particular to its row, so that rows of one fault are counted together."""
    return _PARTICULARS.sub("…", reason)
