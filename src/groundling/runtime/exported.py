"""Running an exported file: onnxruntime or OpenVINO compute, this library reads pictures and words.

model = ExportedGrounder("red_car.onnx")
model.ground("street.jpg")          # → Grounding
"""

import importlib.util
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundling.draw.view import View
from groundling.pictures.images import (
    MAX_PIXELS,
    ImageSource,
    name_of,
    open_image,
)
from groundling.pictures.placement import Placement, Seen
from groundling.results import Grounding
from groundling.runtime.card import KEY, Card
from groundling.selection import Selection
from groundling.words.reading import tokenizer_class
from groundling.words.text import normalised, read_words

RUNTIMES = {".onnx": "onnxruntime", ".xml": "openvino"}


class Session(Protocol):
    """A file that a runtime has loaded."""

    card: str | None  # the metadata block, None where there is none

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """All outputs, in their order."""


class OnnxSession:
    """An ONNX network in onnxruntime, on the CPU."""

    def __init__(self, network: bytes, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        self._names = [part.name for part in self._session.get_inputs()]
        self.card = self._session.get_modelmeta().custom_metadata_map.get(KEY)

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """All outputs, in their order."""
        found: list[NDArray[np.float32]] = self._session.run(
            None, dict(zip(self._names, inputs, strict=True))
        )
        return found


class OpenVinoSession:
    """An OpenVINO network on the CPU, in float32: by itself OpenVINO computes in bf16 where the CPU can."""

    def __init__(self, network: Any, threads: int) -> None:
        import openvino

        options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        options |= {"INFERENCE_NUM_THREADS": str(threads)} if threads else {}
        self._compiled = openvino.Core().compile_model(network, "CPU", options)
        self.card = network.get_rt_info(KEY).astype(str) if network.has_rt_info(KEY) else None

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """All outputs, in their order."""
        request = self._compiled.create_infer_request()  # threads may share a session, not a request
        found = request.infer(list(inputs))
        return [np.array(found[port]) for port in self._compiled.outputs]


def opened(file: Path, threads: int = 0) -> Session:
    """An exported file in its runtime; 0 threads leaves their number to the runtime.

    FileNotFoundError, or ValueError where the runtime is not installed or cannot read the file.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no exported file {file}")
    runtime = RUNTIMES.get(file.suffix)
    if runtime is None:
        raise ValueError(f"{file.name} is not an exported file; their names end in {' or '.join(RUNTIMES)}")
    if importlib.util.find_spec(runtime) is None:
        raise ValueError(f"{file.name} needs {runtime}; pip install 'groundling[export]' brings it")
    try:
        if runtime == "onnxruntime":
            return OnnxSession(file.read_bytes(), threads)
        import openvino

        return OpenVinoSession(openvino.Core().read_model(file), threads)
    except Exception as error:  # both runtimes raise errors of their own, without a common class
        reason = str(error).strip().splitlines()
        raise ValueError(
            f"{file.name} cannot be read by {runtime}: {reason[-1][:200] if reason else error!r}"
        ) from error


class ExportedGrounder:
    """An exported file ready to answer, as a `Grounder` does; threads can share one.

    threads: of the runtime, 0 for as many as it likes. max_pixels: larger pictures are refused.
    """

    def __init__(
        self, file: str | os.PathLike[str], *, threads: int = 0, max_pixels: int = MAX_PIXELS
    ) -> None:
        self.file, self.max_pixels = Path(file), max_pixels
        self.session = opened(self.file, threads)
        if self.session.card is None:
            raise ValueError(
                f"{self.file.name} was not written by `groundling export`: it has no '{KEY}' block"
            )
        card = self.card = Card.read(self.session.card, self.file.name)
        self.selection = Selection.parse(card.selection)
        self.tokenizer = None
        if card.tokenizer is not None and card.limit is not None:
            self.tokenizer = tokenizer_class(card.tokenizer).from_json(card.tokenizer, card.limit)
        self._try()

    def __repr__(self) -> str:
        words = "any expression" if self.card.expression is None else repr(self.card.expression)
        return f"ExportedGrounder({self.file.name}, {words}, {RUNTIMES[self.file.suffix]})"

    def _try(self) -> None:
        """ValueError unless the network takes and gives what the card says."""
        sides, kind = self.card.framing.sides, np.uint8 if self.card.raw else np.float32
        shown = [np.ones((1, *sides), np.bool_)] * self.card.masked
        words = [] if self.tokenizer is None else [self.tokenizer.encode(["left"]).ids.numpy()]
        try:
            found = self.session.run([np.zeros((1, 3, *sides), kind), *shown, *words])
            shapes = [np.shape(each) for each in found]
        except Exception as error:  # runtimes raise errors of their own, without a common class
            raise ValueError(
                f"{self.file.name}: its network does not take the inputs that its metadata says"
            ) from error
        if shapes != [(1, 4), (1,), (1,)][: 1 + self.card.scored + self.card.tells]:
            raise ValueError(
                f"{self.file.name}: its network gives {shapes}, which is not what its metadata says"
            )

    def ground(self, image: ImageSource, expressions: str | Sequence[str] | None = None) -> list[Grounding]:
        """One Grounding per expression; a file made for one expression needs none, and takes no other.

        Raises ValueError for input that is not accepted, FileNotFoundError
        for a missing file.
        """
        asked = self.asked(expressions)
        seen = self.card.framing.see(open_image(image, self.max_pixels))
        given = self._inputs(seen)
        name, view = name_of(image), View(image, self.max_pixels)
        return [self._answer(given, seen.placement, e, name).seen_by(view) for e in asked]

    def _pixels(self, corners: Tensor, placement: Placement) -> Tensor:
        """A box as the file gives it, in pixels of the picture."""
        if self.card.place == "centre":
            return placement.undo(corners)
        return corners * corners.new_tensor((placement.width, placement.height) * 2)

    def asked(self, expressions: str | Sequence[str] | None) -> Sequence[str]:
        """The expressions that will be answered; ValueError for those that cannot be."""
        if isinstance(expressions, str):
            expressions = [expressions]
        own = self.card.expression
        if own is None:
            if not expressions:
                raise ValueError(f"{self.file.name} answers any expression: say what to look for")
            for expression in expressions:
                read_words(expression)
            return expressions
        if any(read_words(expression).text != normalised(own).text for expression in expressions or ()):
            raise ValueError(
                f"{self.file.name} was made for {own!r} and answers nothing else; export another"
            )
        return expressions or [own]

    def _inputs(self, seen: Seen) -> list[NDArray[Any]]:
        """What the network is given of a picture."""
        given = self.card.framing.input([seen])
        pixels = seen.pixels[None] if self.card.raw else given.images
        return [pixels.numpy(), *[given.shown.numpy()] * self.card.masked]

    def _answer(
        self, given: Sequence[NDArray[Any]], placement: Placement, expression: str, image: str
    ) -> Grounding:
        began = time.perf_counter()
        words = [] if self.tokenizer is None else [self.tokenizer.encode([expression]).ids.numpy()]
        box, *sure = self.session.run([*given, *words])
        corners = torch.from_numpy(np.asarray(box, np.float32)).reshape(-1, 4)[0]
        x1, y1, x2, y2 = placement.within(self._pixels(corners, placement)).tolist()
        return Grounding(
            expression=expression,
            box=(x1, y1, x2, y2),
            score=float(sure[0].reshape(-1)[0]) if sure else None,
            cost=self.card.cost,
            selection=self.selection,
            width=placement.width,
            height=placement.height,
            milliseconds=1000 * (time.perf_counter() - began),
            image=image,
            present=float(sure[1].reshape(-1)[0]) if self.card.tells else None,
        )
