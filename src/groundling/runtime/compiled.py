"""Subnets for expressions that come again: compiled once, in the background, while the eager ones answer.

A video, a folder or a camera asks the same words of picture after picture. The second time a Selection is
asked for, a runtime starts to compile it; until that is done, and where it fails, PyTorch answers.
"""

import importlib.util
import shutil
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from groundling.dynamic.extract import CacheStats, SubnetCache
from groundling.language import Tokens
from groundling.models.supernet import Network, Prediction
from groundling.runtime.export import silent
from groundling.runtime.exported import OnnxSession, OpenVinoSession, Session
from groundling.selection import Selection

Runtime = Literal["eager", "compiled", "openvino", "onnx", "auto"]
RUNTIMES: tuple[Runtime, ...] = ("eager", "compiled", "openvino", "onnx", "auto")
Run = Callable[[Tensor, Tensor, Tokens], Prediction]
Compile = Callable[[Network, Tensor, Tensor], Run]
Key = tuple[Selection, int]  # a Selection, and the number of tokens it is run with

ONE_AT_A_TIME = threading.Lock()  # torch's tracers mix up what two threads trace


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
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="compile")
        self._known: OrderedDict[Key, Future[Run] | None] = OrderedDict()  # None: seen once
        self._bytes: dict[Key, int] = {}  # of those that are compiled
        self._hits = self._misses = 0

    def get(self, selection: Selection, pixels: Tensor, text: Tensor) -> Run:
        """The compiled subnet if it is there, else the eager one; the second request starts compiling."""
        net, key = self.cache.get(selection), (selection.canonical(), text.shape[1])
        with self._lock:
            coming = self._known.get(key)
            if key not in self._known:
                self._known[key] = None
            elif coming is None:
                coming = self._known[key] = self._pool.submit(
                    self._made, key, net, torch.zeros_like(pixels[:1]), torch.zeros_like(text[:1])
                )
            self._known.move_to_end(key)
            self._forget()
            ready = coming is not None and coming.done() and coming.exception() is None
            self._hits, self._misses = self._hits + ready, self._misses + (not ready)
        return coming.result() if ready and coming is not None else net

    def wait(self) -> None:
        """Until all that is being compiled is done."""
        with self._lock:
            coming = [future for future in self._known.values() if future is not None]
        wait(coming)

    @property
    def stats(self) -> CacheStats:
        """Requests answered by compiled subnets and by others, and what is held."""
        with self._lock:
            return CacheStats(self._hits, self._misses, len(self._bytes), sum(self._bytes.values()))

    def _made(self, key: Key, net: Network, pixels: Tensor, text: Tensor) -> Run:
        size = sum(tensor.nbytes for tensor in (*net.parameters(), *net.buffers()))
        try:
            if size > self.limit_bytes:
                raise ValueError(f"{size:,} bytes, the cache holds {self.limit_bytes:,}")
            with ONE_AT_A_TIME, torch.inference_mode(False), torch.no_grad(), silent():
                run = self._compile(net, pixels, text)
        except Exception as error:  # whatever a compiler says: the request is answered without it
            warnings.warn(f"a subnet is not compiled: {error}", CompileWarning, stacklevel=2)
            raise
        with self._lock:
            if key in self._known:
                self._bytes[key] = size
                self._forget()
        return run

    def _forget(self) -> None:
        """Let go of compiled subnets that were not used for longest, and of keys beyond all measure."""
        for oldest in [key for key in self._known if key in self._bytes]:
            if sum(self._bytes.values()) <= self.limit_bytes:
                break
            del self._known[oldest], self._bytes[oldest]
        for oldest in list(self._known)[: max(0, len(self._known) - 10_000)]:
            if oldest not in self._bytes:
                del self._known[oldest]


def compiler(runtime: str, device: torch.device) -> Compile | None:
    """What compiles for a runtime, None for the eager one; "auto" takes the fastest that is installed.

    ValueError names what has to be installed, or what runs on this device.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"no runtime {runtime!r}; there are {', '.join(RUNTIMES)}")
    needs = {"openvino": ("openvino",), "onnx": ("onnx", "onnxscript", "onnxruntime")}
    if runtime == "auto":
        there = (name for name, packages in needs.items() if device.type == "cpu" and not _missing(packages))
        runtime = next(there, "eager")
    if runtime in needs and device.type != "cpu":
        raise ValueError(f"the runtime {runtime} is for the CPU; on {device} eager and compiled run")
    if missing := _missing(needs.get(runtime, ())):
        raise ValueError(
            f"the runtime {runtime} needs {', '.join(missing)}; pip install 'groundling[export]' brings them"
        )
    if runtime == "compiled" and device.type == "cpu" and not has_cpp():
        raise ValueError("the runtime compiled needs a C++ compiler for torch.compile; openvino needs none")
    made: dict[str, Compile] = {"openvino": _openvino, "onnx": _onnx, "compiled": _torch}
    return made.get(runtime)


def has_cpp() -> bool:
    """Whether torch.compile finds a C++ compiler, which it needs on a CPU."""
    return any(shutil.which(name) for name in ("c++", "g++", "clang++"))


def _missing(packages: Sequence[str]) -> list[str]:
    return [package for package in packages if importlib.util.find_spec(package) is None]


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


def _torch(net: Network, pixels: Tensor, text: Tensor) -> Run:
    run: Run = torch.compile(net, dynamic=False)
    with torch.inference_mode():
        run(pixels, text, _unpadded(text))
    return run


def _openvino(net: Network, pixels: Tensor, text: Tensor) -> Run:
    import openvino

    network = openvino.convert_model(Seeing(net).eval(), example_input=(pixels, text))
    for port, example in zip(network.inputs, (pixels, text), strict=True):
        port.get_node().set_partial_shape(openvino.PartialShape(list(example.shape)))
    network.validate_nodes_and_infer_types()
    return _session(OpenVinoSession(network, torch.get_num_threads()))


def _onnx(net: Network, pixels: Tensor, text: Tensor) -> Run:
    program = torch.onnx.export(
        Seeing(net).eval(), (pixels, text), dynamo=True, input_names=["pixels", "text"], verbose=False
    )
    assert program is not None
    return _session(OnnxSession(program.model_proto.SerializeToString(), torch.get_num_threads()))


def _session(session: Session) -> Run:
    def run(pixels: Tensor, text: Tensor, _: Tokens) -> Prediction:
        boxes, *scores = session.run([pixels.numpy(), text.numpy()])
        return Prediction(
            torch.from_numpy(np.asarray(boxes)), torch.from_numpy(np.asarray(scores[0])) if scores else None
        )

    return run
