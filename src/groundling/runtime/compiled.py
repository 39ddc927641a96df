"""Subnets for words that come again: compiled by OpenVINO in the background, while PyTorch answers.

A video, a folder or a camera asks the same words of picture after picture. From the second time that a
Selection is asked for, it is compiled when nothing else is; until that is done, and where it fails, the eager
subnet answers. (torch's exporter and compiler are no runtimes of ours: they change modules or count compiled
code for the whole process, which other threads are answering from.)
"""

import importlib.util
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from groundling.dynamic.extract import CacheStats, SubnetCache
from groundling.language import Tokens, as_exported
from groundling.models.supernet import Network, Prediction
from groundling.runtime.exported import OpenVinoSession, Session
from groundling.selection import Selection

Runtime = Literal["eager", "openvino", "auto"]
RUNTIMES: tuple[Runtime, ...] = ("eager", "openvino", "auto")
REMEMBERED = 10_000  # Selections that were asked for and are not compiled
Run = Callable[[Tensor, Tensor, Tokens], Prediction]
Compile = Callable[[Network, Tensor, Tensor], Run]
Key = tuple[Selection, int]  # a Selection, and the number of tokens it is run with
ONE_AT_A_TIME = threading.Lock()  # torch's tracer mixes up what two threads trace


class CompileWarning(UserWarning):
    """A subnet could not be compiled; the eager one goes on answering."""


class Subnets(Protocol):
    """Where a Grounder gets what it runs."""

    def get(self, selection: Selection, pixels: Tensor, text: Tensor) -> Run:
        """What runs this Selection for a picture and words of these shapes."""


class EagerSubnets:
    """Subnets as PyTorch runs them."""

    def __init__(self, cache: SubnetCache[Network]) -> None:
        self.cache = cache

    def get(self, selection: Selection, pixels: Tensor, text: Tensor) -> Run:
        """The subnet of this Selection."""
        return self.cache.get(selection)


class CompiledSubnets:
    """Compiled subnets, those used last, with at most `limit_bytes` of weights; threads can share them."""

    def __init__(self, cache: SubnetCache[Network], compile_: Compile, limit_bytes: int) -> None:
        if limit_bytes < 0:
            raise ValueError(f"a cache cannot hold {limit_bytes} bytes; give 0 to keep nothing, or more")
        self.cache, self.limit_bytes = cache, limit_bytes
        self._compile, self._lock = compile_, threading.Lock()
        self._ready: OrderedDict[Key, tuple[Run, int]] = OrderedDict()  # and the bytes of their weights
        self._asked: OrderedDict[Key, bool] = OrderedDict()  # whether compiling may be tried
        self._thread: threading.Thread | None = None
        self._hits = self._misses = 0

    def get(self, selection: Selection, pixels: Tensor, text: Tensor) -> Run:
        """The compiled subnet if it is there, else the eager one."""
        key = (selection.canonical(), text.shape[1])
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
                shapes = (torch.zeros_like(pixels[:1]), torch.zeros_like(text[:1]))
                self._thread = threading.Thread(target=self._make, args=(key, net, *shapes), name="compile")
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

    def _make(self, key: Key, net: Network, pixels: Tensor, text: Tensor) -> None:
        size = sum(tensor.nbytes for tensor in (*net.parameters(), *net.buffers()))
        try:
            if size > self.limit_bytes:
                raise ValueError(f"it has {size:,} bytes, the cache holds {self.limit_bytes:,}")
            with ONE_AT_A_TIME, torch.inference_mode(False), torch.no_grad(), as_exported():
                run = self._compile(net, pixels, text)
        except Exception as error:  # whatever a compiler says: the request is answered without it
            with self._lock:
                self._asked[key] = False
            warnings.warn(f"a subnet is not compiled: {error}", CompileWarning, stacklevel=2)
            return
        with self._lock:
            self._ready[key] = (run, size)
            while sum(size for _, size in self._ready.values()) > self.limit_bytes:
                self._ready.popitem(last=False)


def compiler(runtime: str, device: torch.device) -> Compile | None:
    """What compiles for a runtime, None for the eager one; "auto" takes OpenVINO where it is installed.

    ValueError names what has to be installed, or what runs on this device.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"no runtime {runtime!r}; there are {', '.join(RUNTIMES)}")
    there = importlib.util.find_spec("openvino") is not None
    if runtime == "eager" or (runtime == "auto" and (device.type != "cpu" or not there)):
        return None
    if device.type != "cpu":
        raise ValueError(f"the runtime {runtime} is for the CPU; on {device} the eager one runs")
    if not there:
        raise ValueError(f"the runtime {runtime} needs openvino; pip install 'groundling[export]' brings it")
    return _openvino


class Seeing(nn.Module):
    """A subnet with images and text features as its only inputs; no word is padding."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        """Boxes (1, 4) cxcywh in [0, 1], and scores (1,) where the network gives some."""
        found = self.net(pixels, text, _unpadded(text))
        return (found.boxes_cxcywh01,) if found.scores is None else (found.boxes_cxcywh01, found.scores)


def _unpadded(text: Tensor) -> Tokens:
    ids = torch.zeros(text.shape[:2], dtype=torch.long)
    return Tokens(ids, torch.zeros_like(ids, dtype=torch.bool))


def _openvino(net: Network, pixels: Tensor, text: Tensor) -> Run:
    import openvino

    network = openvino.convert_model(Seeing(net).eval(), example_input=(pixels, text))
    for port, example in zip(network.inputs, (pixels, text), strict=True):
        port.get_node().set_partial_shape(openvino.PartialShape(list(example.shape)))
    network.validate_nodes_and_infer_types()
    return _session(OpenVinoSession(network, torch.get_num_threads()))


def _session(session: Session) -> Run:
    def run(pixels: Tensor, text: Tensor, _: Tokens) -> Prediction:
        boxes, *scores = session.run([pixels.numpy(), text.numpy()])
        return Prediction(
            torch.from_numpy(np.asarray(boxes)), torch.from_numpy(np.asarray(scores[0])) if scores else None
        )

    return run
