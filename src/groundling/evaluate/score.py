"""What an evaluation says: the result of a protocol, of which model on which split, and what it cost."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

from groundling.results import Cost

T = TypeVar("T")


class Result(Protocol):
    """What a protocol returns."""

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        ...


class Answered(Protocol):
    """An answer of a model, of any kind."""

    @property
    def cost(self) -> Cost:
        """MACs of what ran."""
        ...


class Pictured(Protocol):
    """What is asked about an image."""

    @property
    def image(self) -> Path:
        """The image's file."""
        ...


A = TypeVar("A", bound=Answered)
P = TypeVar("P", bound=Pictured)


class Watch(Protocol):
    """What sees the answers as they come, for a progress bar."""

    def __call__(self, items: Iterable[T], total: int, doing: str) -> Iterable[T]:
        """The same items; there are `total`."""
        ...


def unwatched(items: Iterable[T], total: int, doing: str) -> Iterable[T]:
    """Nobody looks."""
    return items


@dataclass(frozen=True)
class Score:
    """A protocol's result, and what an item (an expression, a caption, an image, …) cost in the mean.

    `macs` are those of an item by itself, and `macs_share` what they are of the full network for it, 1 where
    nothing chooses: neither depends on which items are asked for. `milliseconds` is wall time, images
    decoded, and does: texts of one image are asked together, and where no word changes what the backbone
    sees, it sees the image once for all of them.
    """

    dataset: str
    split: str
    model: str
    items: int
    result: Result
    macs: float
    macs_share: float
    milliseconds: float

    def as_dict(self) -> dict[str, object]:
        """What `groundling evaluate --json` prints."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "model": self.model,
            "items": self.items,
            **self.result.as_dict(),
            "macs": round(self.macs),
            "macs_share": round(self.macs_share, 4),
            "milliseconds": round(self.milliseconds, 4),
        }


class Answers(NamedTuple, Generic[A]):
    """All answers of a model, and what one cost in the mean, as a Score says it."""

    found: list[A]
    macs: float
    macs_share: float
    milliseconds: float

    def score(self, dataset: str, split: str, model: str, result: Result) -> Score:
        """These answers' result with its names and its cost."""
        cost = (self.macs, self.macs_share, self.milliseconds)
        return Score(dataset, split, model, len(self.found), result, *cost)


def by_image(items: Iterable[P]) -> list[P]:
    """What is asked, image after image; of an image in its order."""
    return sorted(items, key=attrgetter("image"))


def together(
    items: Iterable[P], say: Callable[[P], T], ask: Callable[[Path, Sequence[T]], Iterable[A]]
) -> Iterator[A]:
    """The answers to items that come `by_image`, those of one image asked for at once as `say` puts them."""
    for image, several in groupby(items, key=attrgetter("image")):
        yield from ask(image, list(map(say, several)))


def collect(answers: Iterable[A], total: int, split: str, watch: Watch) -> Answers[A]:
    """So many answers of a split, computed as they are taken; there is at least one."""
    assert total > 0, "whoever asks says first that there is nothing to ask"
    began = time.perf_counter()
    found = list(watch(answers, total, f"evaluating {split}"))
    assert len(found) == total
    milliseconds = 1000 * (time.perf_counter() - began) / total
    costs = [each.cost for each in found]
    macs = sum(cost.macs + cost.shared for cost in costs) / total
    share = sum((cost.macs + cost.shared) / (cost.full + cost.shared) for cost in costs) / total
    return Answers(found, macs, share, milliseconds)
