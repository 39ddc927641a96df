"""Subnets for words that come again: compiled in the background, while PyTorch answers.

A video, a folder or a camera asks the same words of picture after picture. From the second time that a
Selection is asked for, it is compiled when nothing else is; until that is done, and where it fails, the eager
subnet answers.
"""

import threading
from collections import OrderedDict
from typing import Protocol

import torch
from torch import Tensor

from groundling import callers
from groundling.dynamic.blocks import BlockCache, CacheStats
from groundling.models.supernet import Network, Prediction
from groundling.runtime.compilers import Compile, Elsewhere, Run
from groundling.selection import Selection
from groundling.words.tokens import Tokens

TOLERANCE = 1e-3  # of boxes, as shares of their frame, and of scores
REMEMBERED = 10_000  # Selections that were asked for and are not compiled
Key = tuple[Selection, tuple[int, ...]]  # a Selection, the tokens and the sides of pictures it is run with


class CompileWarning(UserWarning):
    """A subnet could not be compiled; the eager one goes on answering."""


class Subnets(Protocol):
    """Where a Grounder gets what it runs."""

    def get(self, selection: Selection, pixels: Tensor, text: Tensor) -> Run:
        """What runs this Selection for a picture and words of these shapes."""


class EagerSubnets:
    """Subnets as PyTorch runs them."""

    def __init__(self, cache: BlockCache[Network]) -> None:
        self.cache = cache

    def get(self, selection: Selection, pixels: Tensor, text: Tensor) -> Run:
        """The subnet of this Selection."""
        return self.cache.get(selection)


class CompiledSubnets:
    """Compiled subnets, those used last, with at most `limit_bytes` of weights; threads can share them."""

    def __init__(self, cache: BlockCache[Network], compile_: Compile, limit_bytes: int) -> None:
        if limit_bytes < 0:
            raise ValueError(f"a cache cannot hold {limit_bytes} bytes; give 0 to keep nothing, or more")
        self.cache, self.limit_bytes = cache, limit_bytes
        self._compile, self._lock = compile_, threading.Lock()
        # A thread that computes is waited for when the program ends, one that waits for a process is not.
        self._can_be_left = isinstance(compile_, Elsewhere)
        self._ready: OrderedDict[Key, tuple[Run, int]] = OrderedDict()  # and the bytes of their weights
        self._asked: OrderedDict[Key, bool] = OrderedDict()  # whether compiling may be tried
        self._thread: threading.Thread | None = None
        self._hits = self._misses = 0

    def get(self, selection: Selection, pixels: Tensor, text: Tensor) -> Run:
        """The compiled subnet if it is there, else the eager one."""
        key = (selection.canonical(), (text.shape[1], *pixels.shape[2:]))
        with self._lock:
            if key in self._ready:
                self._hits += 1
                self._ready.move_to_end(key)
                return self._ready[key][0]
            self._misses += 1
        net = self.cache.get(selection)
        with self._lock:
            again, busy = self._asked.get(key, False), self._thread is not None and self._thread.is_alive()
            if again and not busy and key not in self._ready:
                shapes = (torch.empty_like(pixels[:1]), torch.empty_like(text[:1]))
                self._thread = threading.Thread(
                    target=self._make, args=(key, *shapes), name="compile", daemon=self._can_be_left
                )
                self._thread.start()
            self._asked.setdefault(key, True)
            self._asked.move_to_end(key)
            while len(self._asked) > REMEMBERED:
                self._asked.popitem(last=False)
        return net

    def wait(self) -> None:
        """Until what is being compiled is done."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    @property
    def stats(self) -> CacheStats:
        """Requests answered by compiled subnets and by others, and what is held."""
        with self._lock:
            sizes = [size for _, size in self._ready.values()]
            return CacheStats(self._hits, self._misses, len(sizes), sum(sizes))

    def _make(self, key: Key, pixels: Tensor, text: Tensor) -> None:
        try:
            net = self.cache.plain(key[0])
            size = sum(tensor.nbytes for tensor in (*net.parameters(), *net.buffers()))
            if size > self.limit_bytes:
                raise ValueError(f"it has {size:,} bytes, the cache holds {self.limit_bytes:,}")
            with torch.inference_mode(False), torch.no_grad():
                run = self._compile(key[0], net, *_like(pixels, text))
                check(run, net, *_like(pixels, text))
        except Exception as error:  # whatever a compiler says: the request is answered without it
            with self._lock:
                self._asked[key] = False
            reason = " ".join(str(error).split())[:300]  # OpenVINO's fill a screen
            callers.warn(f"a subnet is not compiled: {reason}", CompileWarning)
            return
        with self._lock:
            self._ready[key] = (run, size)
            while sum(size for _, size in self._ready.values()) > self.limit_bytes:
                self._ready.popitem(last=False)


def _like(*examples: Tensor) -> list[Tensor]:
    """Random numbers, the same ones each time, of these shapes."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(example.shape, generator=generator) for example in examples]


@torch.no_grad()
def check(run: Run, net: Network, pixels: Tensor, text: Tensor) -> None:
    """RuntimeError unless what was compiled gives the network's answer, within TOLERANCE."""
    ids = torch.zeros(text.shape[:2], dtype=torch.long)
    tokens = Tokens(ids, torch.zeros_like(ids, dtype=torch.bool))
    shown = pixels.new_ones(len(pixels), *pixels.shape[2:], dtype=torch.bool)
    shown[..., -shown.shape[-1] // 3 :] = False
    ours, theirs = net(pixels, text, tokens, shown=shown), run(pixels, text, tokens, shown=shown)
    worst = _difference(ours, theirs)
    if not worst <= TOLERANCE:
        raise RuntimeError(f"it differs from the network by {worst:.2g}")


def _difference(one: Prediction, other: Prediction) -> float:
    boxes = float((one.boxes_cxcywh01 - other.boxes_cxcywh01).abs().max())
    if one.scores is None or other.scores is None:
        return boxes
    return max(boxes, float((one.scores - other.scores).abs().max()))
