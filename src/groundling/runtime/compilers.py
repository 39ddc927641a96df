"""What compiles a subnet: OpenVINO, onnxruntime, or torch's own compiler.

OpenVINO reads a subnet in this process. torch's exporter, which the others need, changes modules of the whole
process while it works, and its compiler's limit on compiled versions of a function is the process's too: they
work in a process of their own, which reads the model from a checkpoint and writes down the subnet.

    python -m groundling.runtime.compilers CHECKPOINT FORM TOKENS HEIGHT WIDTH OUT < SELECTION
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from groundling import checkpoint
from groundling.dynamic.extract import extract
from groundling.models.supernet import Network, Prediction, Supernet
from groundling.runtime.export import OPSET, silent
from groundling.runtime.exported import OnnxSession, OpenVinoSession, Session
from groundling.selection import Selection
from groundling.words.tokens import Tokens, as_exported
from groundling.words.wordpiece import Tokenizer

Runtime = Literal["eager", "compiled", "openvino", "onnx", "auto"]
RUNTIMES: tuple[Runtime, ...] = ("eager", "compiled", "openvino", "onnx", "auto")
NEEDS = {"openvino": ("openvino",), "onnx": ("onnx", "onnxscript", "onnxruntime")}
ONE_AT_A_TIME = threading.Lock()  # torch's tracer mixes up what two threads trace
PATIENCE = 600  # seconds for a compilation


class Run(Protocol):
    """What answers for one image: a subnet, or what was compiled of it for one size of images."""

    def __call__(
        self, images: Tensor, text_ELD: Tensor, tokens: Tokens, *, shown: Tensor | None = None
    ) -> Prediction:
        """As `Network.forward`."""


Compile = Callable[[Selection, Network, Tensor, Tensor], Run]


class Seeing(nn.Module):
    """A subnet with images, text features and, where it reads it, `shown` as inputs; no word is padding."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor, text: Tensor, shown: Tensor | None = None) -> tuple[Tensor, ...]:
        """Boxes (1, 4) cxcywh in [0, 1], and scores (1,) where the network gives some."""
        ids = torch.zeros(text.shape[:2], dtype=torch.long)
        tokens = Tokens(ids, torch.zeros_like(ids, dtype=torch.bool))
        found = self.net(pixels, text, tokens, shown=shown)
        return (found.boxes_cxcywh01,) if found.scores is None else (found.boxes_cxcywh01, found.scores)


def resolved(runtime: str, device: torch.device) -> str:
    """What a runtime means here: "auto" is OpenVINO, else onnxruntime, else the eager one.

    ValueError names what has to be installed, or what runs on this device.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"no runtime {runtime!r}; there are {', '.join(RUNTIMES)}")
    if runtime == "auto":
        there = (name for name in ("openvino", "onnx") if device.type == "cpu" and not _missing(name))
        return next(there, "eager")
    if runtime != "eager" and device.type != "cpu":
        raise ValueError(f"the runtime {runtime} is for the CPU; use runtime='eager' on {device}")
    if missing := _missing(runtime):
        raise ValueError(
            f"the runtime {runtime} needs {', '.join(missing)}; pip install 'groundling[export]' brings them"
        )
    if runtime == "compiled" and not shutil.which(os.environ.get("CXX", "c++")):
        raise ValueError(
            "the runtime compiled needs a C++ compiler: c++, or the one that the variable CXX names"
        )
    return runtime


def compiler(runtime: str, model: Supernet, tokenizer: Tokenizer, device: torch.device) -> Compile | None:
    """What compiles for a runtime, None for the eager one; errors as `resolved`."""
    found = resolved(runtime, device)
    if found == "eager":
        return None
    return openvino if found == "openvino" else Elsewhere(model, tokenizer, found)


def _missing(runtime: str) -> list[str]:
    return [package for package in NEEDS.get(runtime, ()) if importlib.util.find_spec(package) is None]


def openvino(_: Selection, net: Network, pixels: Tensor, text: Tensor) -> Run:
    """OpenVINO, in float32."""
    import openvino

    with ONE_AT_A_TIME, torch.inference_mode(False), torch.no_grad(), as_exported():
        examples = inputs(net, pixels, text)
        network = openvino.convert_model(Seeing(net).eval(), example_input=examples)
    for port, example in zip(network.inputs, examples, strict=True):
        port.get_node().set_partial_shape(openvino.PartialShape(list(example.shape)))
    network.validate_nodes_and_infer_types()
    return _session(OpenVinoSession(network, torch.get_num_threads()), net)


class Elsewhere:
    """Compiles in another process, from a copy of the model that is written down the first time."""

    def __init__(self, model: Supernet, tokenizer: Tokenizer, runtime: str) -> None:
        self.model, self.tokenizer, self.runtime = model, tokenizer, runtime
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._working: list[subprocess.Popen[str]] = []  # one at most: nothing queues up
        weakref.finalize(self, _end, self._working)

    def __call__(self, selection: Selection, net: Network, pixels: Tensor, text: Tensor) -> Run:
        """What runs this Selection; RuntimeError with the last line that the other process said."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="groundling-")
            checkpoint.save(Path(self._folder.name) / "model", self.model, self.tokenizer)
        with tempfile.TemporaryDirectory(dir=self._folder.name) as place:
            out = Path(place) / ("subnet.pt2" if self.runtime == "compiled" else "subnet.onnx")
            model = Path(self._folder.name) / "model"
            sizes = map(str, (text.shape[1], *pixels.shape[2:]))
            asked = [str(model), self.runtime, *sizes, str(out)]
            _call(asked, str(selection), self._working)
            if self.runtime == "onnx":
                return _session(OnnxSession(out.read_bytes(), torch.get_num_threads()), net)
            return _package(torch._inductor.aoti_load_package(str(out)), net)


def _call(arguments: Sequence[str], selection: str, working: "list[subprocess.Popen[str]]") -> None:
    here = str(Path(__file__).parents[2])  # this library, wherever it was imported from
    places = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    process = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "groundling.runtime.compilers",
            *arguments,
        ],  # -P: nothing of this folder
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"},
        text=True,
    )
    working.append(process)
    try:
        out, err = process.communicate(selection, timeout=PATIENCE)
    finally:
        process.kill()
        working.remove(process)
    if process.returncode:
        said = (err or out).strip().splitlines() or ["it said nothing"]
        raise RuntimeError(said[-1][:300])


def _end(working: "list[subprocess.Popen[str]]") -> None:
    """A program that ends does not wait for a compilation."""
    for process in working:
        process.kill()


def inputs(net: Network, pixels: Tensor, text: Tensor, shown: Tensor | None = None) -> tuple[Tensor, ...]:
    """What a compiled subnet is given: `shown` where the network reads it, all of the pixels for None."""
    if not net.masked:
        return pixels, text
    every = pixels.new_ones(len(pixels), *pixels.shape[2:], dtype=torch.bool)
    return pixels, text, every if shown is None else shown


def _session(session: Session, net: Network) -> Run:
    def run(images: Tensor, text_ELD: Tensor, tokens: Tokens, *, shown: Tensor | None = None) -> Prediction:
        given = [part.numpy() for part in inputs(net, images, text_ELD, shown)]
        boxes, *scores = map(torch.from_numpy, map(np.asarray, session.run(given)))
        return Prediction(boxes, scores[0] if scores else None)

    return run


def _package(compiled: Any, net: Network) -> Run:
    lock = threading.Lock()  # nobody promises that threads may share one

    def run(images: Tensor, text_ELD: Tensor, tokens: Tokens, *, shown: Tensor | None = None) -> Prediction:
        with lock:
            boxes, *scores = compiled(*inputs(net, images, text_ELD, shown))
        return Prediction(boxes, scores[0] if scores else None)

    return run


def write_down(
    folder: Path, runtime: str, tokens: int, sides: tuple[int, int], selection: Selection, out: Path
) -> None:
    """The subnet of a checkpoint's model for images of these sides as an ONNX file, or compiled by torch."""
    model = checkpoint.load(folder).model
    with torch.no_grad(), as_exported(), warnings.catch_warnings(), silent():
        warnings.simplefilter("ignore")
        subnet = extract(model, selection)
        net = Seeing(subnet).eval()
        given = inputs(subnet, torch.zeros(1, 3, *sides), torch.zeros(1, tokens, model.config.text.dim))
        if runtime == "onnx":
            program: Any = torch.onnx.export(net, given, dynamo=True, opset_version=OPSET, verbose=False)
            program.save(out, external_data=False)
        else:
            exported = torch.export.export(net, given)
            torch._inductor.aoti_compile_and_package(exported, package_path=str(out))


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(10)  # answers come first
    model, form, tokens, height, width, place = sys.argv[1:]
    chosen = Selection.parse(sys.stdin.read())
    write_down(Path(model), form, int(tokens), (int(height), int(width)), chosen, Path(place))
