"""Cutting a dense subnet out of a supernet, and a cache of subnets bounded in bytes."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import nn

from groundling.layers.fused import packed
from groundling.selection import Selection, Unit, check


class Dense(Protocol):
    """A network that hands out its parts, as each part does."""

    def extract(self, selection: Selection) -> Self:
        """The part that a Selection keeps."""

    def modules(self) -> Iterator[nn.Module]:
        """As `nn.Module.modules`."""


# What a kept subnet takes beside its weights: modules, tensors, and the Selection it is known by. Measured:
# 185 KiB for lads_street, 295 for lads_r50. Subnets of whole layers share all weights, and without this their
# number had no bound.
ENTRY_BYTES = 320 * 1024

N = TypeVar("N", bound=Dense)
N_co = TypeVar("N_co", bound=Dense, covariant=True)


class Extractable(Protocol[N_co]):
    """A supernet as far as extraction knows it: its units, and the network they are parts of."""

    @property
    def net(self) -> N_co:
        """The network with everything on."""

    def units(self) -> tuple[Unit, ...]:
        """What can be left out of it."""


def extract(model: Extractable[N], selection: Selection) -> N:
    """The dense network of this Selection: no gates, no masks, BN folded, weights sliced.

    Its output equals the masked supernet's. ValueError if the Selection is of another supernet.
    """
    return model.net.extract(check(selection, model.units()))


@dataclass(frozen=True)
class CacheStats:
    """What a cache did and holds; `misses` is also the number of extractions.

    `bytes` are the subnets' own weights and ENTRY_BYTES for each of them.
    """

    hits: int
    misses: int
    subnets: int
    bytes: int


class SubnetCache(Generic[N]):
    """The subnets used last, in at most `limit_bytes`, for any number of threads.

    The first request folds the supernet's batch norms; subnets are cut from that network and share with
    it, and with the supernet, what they do not slice. Shared weights do not count; ENTRY_BYTES a subnet do.
    Subnets have the weights the supernet had: after training or loading call `clear`, of a Grounder
    `refresh`.
    """

    def __init__(self, model: Extractable[N], limit_bytes: int) -> None:
        if limit_bytes < 0:
            raise ValueError(f"a cache cannot hold {limit_bytes} bytes; give 0 to keep nothing, or more")
        self.limit_bytes = limit_bytes
        self._model, self._units, self._lock = model, model.units(), threading.Lock()
        self._shelf = _Shelf[N]()
        self._hits = self._misses = 0

    def get(self, selection: Selection) -> N:
        """The subnet of this Selection; who asks for one that is being extracted waits for it."""
        key = check(selection, self._units).canonical()
        with self._lock:
            shelf, known = self._shelf, self._shelf.nets.get(key)
            if known is None:
                self._misses += 1
                coming = shelf.nets[key] = Future()
            else:
                self._hits += 1
                shelf.nets.move_to_end(key)
        return self._extract(shelf, key, coming) if known is None else known.result()

    def whole(self) -> N:
        """The network with everything on and its norms folded, from which all subnets are cut."""
        with self._lock:
            shelf = self._shelf
        with torch.inference_mode(False), torch.no_grad():
            return shelf.whole(self._model, self._units)

    def clear(self) -> None:
        """Forget all subnets; one that is being extracted goes to who asked for it and is not kept."""
        with self._lock:
            self._shelf = _Shelf()

    @property
    def stats(self) -> CacheStats:
        """Hits and misses since the cache was made, and what it holds now."""
        with self._lock:
            sizes = self._shelf.sizes.values()
            return CacheStats(self._hits, self._misses, len(sizes), sum(sizes))

    def _extract(self, shelf: "_Shelf[N]", key: Selection, coming: "Future[N]") -> N:
        try:
            # Tensors made in inference mode could not be used outside of it later.
            with torch.inference_mode(False), torch.no_grad():
                net = shelf.whole(self._model, self._units).extract(key)
        except BaseException as error:
            with self._lock:
                del shelf.nets[key]
            coming.set_exception(error)
            raise
        with self._lock:
            shelf.keep(key, net, self.limit_bytes)
        coming.set_result(net)
        return net


class _Shelf(Generic[N]):
    """What a cache holds between two calls of `clear`."""

    def __init__(self) -> None:
        self.nets: OrderedDict[Selection, Future[N]] = OrderedDict()  # used last is last
        self.sizes: dict[Selection, int] = {}  # bytes of those that are complete
        self._folding = threading.Lock()
        self._whole: N | None = None
        self._shared: frozenset[int] = frozenset()

    def whole(self, model: Extractable[N], units: tuple[Unit, ...]) -> N:
        """The supernet with everything on and its batch norms folded, made once."""
        with self._folding:
            if self._whole is None:
                # Subnets share its linear maps, so packing those once serves all of them.
                self._whole = packed(model.net.extract(Selection.all_on(units)))  # type: ignore[type-var]
                self._shared = frozenset(storages(model.net)) | frozenset(storages(self._whole))
            return self._whole

    def keep(self, key: Selection, net: N, limit_bytes: int) -> None:
        """Count a subnet that is complete, and let those go that were not used for longest."""
        own = sum(count for place, count in storages(net).items() if place not in self._shared)
        size = ENTRY_BYTES + own
        if size > limit_bytes:
            del self.nets[key]
            return
        self.sizes[key] = size
        for oldest in [other for other in self.nets if other in self.sizes]:
            if sum(self.sizes.values()) <= limit_bytes:
                break
            del self.nets[oldest], self.sizes[oldest]


def storages(net: Dense) -> dict[int, int]:
    """Address → bytes of all memory that a network's weights lie in."""
    # As parameters() and buffers() say, without the names that those put together.
    parts = [
        tensor
        for module in net.modules()
        for tensor in (*module._parameters.values(), *module._buffers.values())
    ]
    held = [tensor.untyped_storage() for tensor in parts if tensor is not None]
    return {storage.data_ptr(): storage.nbytes() for storage in held if storage.nbytes()}
