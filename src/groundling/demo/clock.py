"""The demo's clock: one thread, a warm-up, then the median of some turns."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from typing import TypeVar

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


def timed(*requests: Callable[[], Found], repeats: int) -> list[Found]:
    """What each request gives, with its median time; they are made in turns, of which the first warms up."""
    for request in requests:
        request()  # extracts the subnet, which later turns find in the cache
    turns = [[request() for request in requests] for _ in range(repeats)]
    return [
        replace(column[0], milliseconds=median(found.milliseconds for found in column))
        for column in zip(*turns, strict=True)
    ]
