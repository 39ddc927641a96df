"""The demo's clock: one thread, a warm-up, then the median of some turns."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

REPEATS = 9


@contextmanager
def one_thread() -> Iterator[None]:
    """Where cores are shared, threads that wait for each other take a hundredfold."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
