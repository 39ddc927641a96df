"""The parts of dense networks that were cut before, bounded in bytes; a subnet is put together from them.

Of expressions about street scenes half bring a Selection that was not seen, but 19 in 20 of its residual
blocks were: what is kept of one of them is cut and packed once, for whichever subnets hold it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import torch
from torch import nn

from groundling.device import return_memory
from groundling.dynamic.extract import Dense, Extractable
from groundling.layers.cutting import Parts
from groundling.layers.fused import packed
from groundling.layers.sharing import around
from groundling.selection import Selection, Unit, check

# What a kept part takes beside its weights: modules, their dictionaries, the bits that it is known by; 15 KiB
# were measured for a block of lads_street.
# Parts of whole layers share all weights, and without this their number had no bound.
ENTRY_BYTES = 16 * 1024
RETURNED = 64 * 2**20  # bytes of parts that were let go, after which freed memory goes back to the system

M = TypeVar("M", bound=nn.Module)
N = TypeVar("N", bound=Dense)


@dataclass(frozen=True)
class CacheStats:
    """What a cache did and holds; `misses` is also how often something was cut, or compiled.

    `bytes` are those of the weights that are held for it alone and, of parts, ENTRY_BYTES for each of them.
    """

    hits: int
    misses: int
    held: int
    bytes: int


class BlockCache(Generic[N]):
    """The parts used last, in at most `limit_bytes`, for any number of threads.

    The first request folds the supernet's batch norms; parts are cut from that network and share with it,
    and with the supernet, what they neither slice nor pack. Shared weights do not count; ENTRY_BYTES a part
    do. Parts have the weights the supernet had: after training or loading call `clear`, of a Grounder
    `refresh`.
    """

    def __init__(self, model: Extractable[N], limit_bytes: int) -> None:
        if limit_bytes < 0:
            raise ValueError(f"a cache cannot hold {limit_bytes} bytes; give 0 to keep nothing, or more")
        self.limit_bytes = limit_bytes
        self._model, self._units = model, model.units()
        self._shelf = _Shelf[N](model, self._units, limit_bytes)

    def get(self, selection: Selection) -> N:
        """The subnet of this Selection, for answers alone; ValueError if it is of another supernet."""
        shelf, kept = self._shelf, check(selection, self._units)
        return shelf.whole().extract(kept, shelf)

    def plain(self, selection: Selection) -> N:
        """The same subnet as a network that can be exported; nothing of it is kept."""
        with torch.inference_mode(False), torch.no_grad():
            return self.whole().extract(check(selection, self._units))

    def whole(self) -> N:
        """The network with everything on and its norms folded, from which all parts are cut."""
        return self._shelf.whole()

    @property
    def cutter(self) -> "_Shelf[N]":
        """Hands out parts for `extract`, cut from the whole network."""
        return self._shelf

    def clear(self) -> None:
        """Forget all parts; one that is being cut goes to who asked for it and is not kept."""
        shelf = self._shelf
        self._shelf = _Shelf(self._model, self._units, self.limit_bytes, shelf.counts())

    @property
    def stats(self) -> CacheStats:
        """Parts that were there and that were not since the cache was made, and what it holds now."""
        return self._shelf.stats()


class _Shelf(Generic[N]):
    """What a cache holds between two calls of `clear`: a Cutter that keeps what it cut."""

    def __init__(
        self,
        model: Extractable[N],
        units: tuple[Unit, ...],
        limit_bytes: int,
        counts: tuple[int, int] = (0, 0),
    ) -> None:
        self._model, self._units, self._limit_bytes = model, units, limit_bytes
        self._lock, self._folding = threading.Lock(), threading.Lock()
        self._hits, self._misses = counts
        # Used last is last; the Future of one that is being cut, and the bytes of those that are complete.
        self._parts: OrderedDict[Hashable, nn.Module | Future[nn.Module]] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}
        self._bytes = self._gone = 0
        self._whole: N | None = None
        self._shared: frozenset[int] = frozenset()

    def whole(self) -> N:
        """The supernet with everything on and its batch norms folded, made once."""
        if self._whole is None:
            # Tensors made in inference mode could not be used outside of it later.
            with self._folding, torch.inference_mode(False), torch.no_grad():
                if self._whole is None:
                    # Subnets share its linear maps, so packing those once serves all of them.
                    found = packed(self._model.net.extract(Selection.all_on(self._units)))  # type: ignore[type-var]
                    self._shared = frozenset(storages(self._model.net)) | frozenset(storages(found))
                    self._whole = found
        return self._whole

    def part(self, key: Hashable, make: Callable[[], M]) -> M:
        """The part of this key; who asks for one that is being cut waits for it."""
        with self._lock:
            known = self._parts.get(key)
            if known is None:
                self._misses += 1
                coming: Future[nn.Module] = Future()
                self._parts[key] = coming
            else:
                self._hits += 1
                self._parts.move_to_end(key)
        if known is None:
            return self._cut(key, make, coming)
        return cast(M, known.result() if isinstance(known, Future) else known)

    def around(self, module: M, parts: Parts) -> M:
        """The module around such parts; its other children are its own, which nobody trains."""
        return around(module, parts)

    def counts(self) -> tuple[int, int]:
        """Parts that were there, and that were not."""
        with self._lock:
            return self._hits, self._misses

    def stats(self) -> CacheStats:
        """As `BlockCache.stats`."""
        with self._lock:
            return CacheStats(self._hits, self._misses, len(self._sizes), self._bytes)

    def _cut(self, key: Hashable, make: Callable[[], M], coming: "Future[nn.Module]") -> M:
        try:
            with torch.inference_mode(False), torch.no_grad():
                part = make()
        except BaseException as error:
            with self._lock:
                del self._parts[key]
            coming.set_exception(error)
            raise
        self._keep(key, part)
        coming.set_result(part)
        return part

    def _keep(self, key: Hashable, part: nn.Module) -> None:
        """Count a part that is complete, and let those go that were not used for longest."""
        own = sum(count for place, count in storages(part).items() if place not in self._shared)
        size = ENTRY_BYTES + own
        with self._lock:
            if size > self._limit_bytes:
                del self._parts[key]
                return
            self._parts[key], self._sizes[key] = part, size
            self._bytes += size
            while self._bytes > self._limit_bytes:
                oldest = next(other for other in self._parts if other in self._sizes)
                del self._parts[oldest]
                gone = self._sizes.pop(oldest)
                self._bytes -= gone
                self._gone += gone
            returns = self._gone >= RETURNED
            if returns:
                self._gone = 0
        if returns:
            return_memory()


def storages(net: Dense | nn.Module) -> dict[int, int]:
    """Address → bytes of all memory that a network's weights lie in."""
    # As parameters() and buffers() say, without the names that those put together.
    held: dict[int, int] = {}
    modules: Iterator[Any] = net.modules()
    for module in modules:
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None and (storage := tensor.untyped_storage()).nbytes():
                held[storage.data_ptr()] = storage.nbytes()
    return held
