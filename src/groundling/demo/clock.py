"""The demo's clock: one thread; the time of a first use, and the median of some turns after it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from typing import Generic, NamedTuple, TypeVar

import torch

from groundling.results import Asked, Grounding

REPEATS = 9

Found = TypeVar("Found", bound=Asked | Grounding)


@contextmanager
def one_thread() -> Iterator[None]:
    """Where cores are shared, threads that wait for each other take a hundredfold."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Timed(NamedTuple, Generic[Found]):
    """An answer, whose milliseconds are those of the request made again, and those of its first use."""

    found: Found
    first_milliseconds: float


def timed(*requests: Callable[[], Found], repeats: int) -> list[Timed[Found]]:
    """What each request gives, with its times.

    The first use reads the words and cuts their subnet out of the network; repeats, made in turns, find both
    in the cache, and their median counts.
    """
    first = [request().milliseconds for request in requests]
    turns = [[request() for request in requests] for _ in range(repeats)]
    medians = [median(found.milliseconds for found in column) for column in zip(*turns, strict=True)]
    answers = [replace(found, milliseconds=each) for found, each in zip(turns[0], medians, strict=True)]
    return [Timed(found, each) for found, each in zip(answers, first, strict=True)]
