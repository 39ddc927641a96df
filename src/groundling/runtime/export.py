"""A network as a file that runs without this library: the subnet of one expression, or the full network.

    export(model, tokenizer, Path("red_car.onnx"), name="lads_street", expression="red car")

A subnet's file holds no text encoder, no tokenizer and no gates: the words are constants in it.
"""

import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from groundling.dynamic.extract import extract
from groundling.files import Given, check_place, write
from groundling.models.supernet import Network, Prediction, Supernet
from groundling.pictures.boxes import cxcywh_to_xyxy
from groundling.pictures.images import normalise
from groundling.runtime.card import KEY, Card
from groundling.selection import Selection
from groundling.words.bert import TextEncoder
from groundling.words.roberta import RobertaEncoder
from groundling.words.tokens import Tokens, TruncationWarning, as_exported
from groundling.words.wordpiece import Tokenizer

Format = Literal["onnx", "openvino"]
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}
NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("onnx", "onnxscript", "openvino")}
OPSET = 20
EXAMPLE = "the one on the left of the other"  # where a file takes any words
TOLERANCE = 1e-4  # of boxes (as shares of the canvas) and scores, against PyTorch


class ExportError(RuntimeError):
    """An exported file does not compute what the network does."""


class OneExpression(nn.Module):
    """A subnet with the words it was cut for: image → box in pixels of the canvas, score."""

    def __init__(self, net: Network, text_1LD: Tensor, tokens: Tokens, size: int, raw: bool) -> None:
        super().__init__()
        self.net, self.size, self.raw = net, size, raw
        for name, value in (("text", text_1LD), ("ids", tokens.ids), ("padding", tokens.padding)):
            self.register_buffer(name, value)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(1, 3, S, S), float32 normalised or uint8 where `raw`."""
        tokens = Tokens(self.ids, self.padding)  # type: ignore[arg-type]
        seen = normalise(image) if self.raw else image
        return _answer(self.net(seen, self.text, tokens), self.size)


class AnyExpression(nn.Module):
    """The full network: image and token ids → box in pixels of the canvas, score."""

    def __init__(self, text: TextEncoder | RobertaEncoder, net: Network, size: int, raw: bool) -> None:
        super().__init__()
        self.text, self.net, self.size, self.raw = text, net, size, raw

    def forward(self, image: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
        """(1, 3, S, S) as above, and int64 (1, L)."""
        tokens = Tokens(ids, torch.zeros_like(ids, dtype=torch.bool))
        seen = normalise(image) if self.raw else image
        return _answer(self.net(seen, self.text(tokens), tokens), self.size)


def _answer(prediction: Prediction, size: int) -> tuple[Tensor, ...]:
    box = cxcywh_to_xyxy(prediction.boxes_cxcywh01) * size
    return (box,) if prediction.scores is None else (box, prediction.scores)


def export(
    model: Supernet,
    tokenizer: Tokenizer,
    out: Path,
    *,
    name: str,
    sha256: str | None = None,
    expression: str | None = None,
    selection: Selection | None = None,
    raw: bool = False,
    form: Format = "onnx",
    read: Iterable[Given] = (),
) -> Card:
    """Write the subnet of an expression, or without one the full network, and return what the file says.

    selection: what runs for the expression (None: everything). raw: the file takes uint8 pixels. read: the
    model's own files, which are not written over.
    The file is compared with the network before it gets its name. ValueError where the format's packages
    are missing or the name does not fit it, ExportError where the file computes something else. No other
    thread may run a network meanwhile: torch's exporter changes modules for the whole process.
    """
    read = tuple(read)
    check(out, form, read)
    if selection is not None and expression is None:
        raise ValueError("a selection is for the words of an expression: give one")
    model.eval()
    units = model.units()
    with torch.inference_mode(False), torch.no_grad():
        chosen = (selection if expression is not None else None) or Selection.all_on(units)
        net, size = extract(model, chosen), model.config.image_size
        with warnings.catch_warnings():
            if expression is None:
                warnings.simplefilter("ignore", TruncationWarning)
            words = tokenizer.encode([EXAMPLE if expression is None else expression])
        cost = model.cost_model.cost(chosen, words.ids.shape[1])
        parts = {part: n for part, n in cost.parts.items() if part != "selector"}
        whole: nn.Module
        inputs: tuple[Tensor, ...] = (_example(size, raw),)
        if expression is not None:
            parts.pop("text")
            whole = OneExpression(net, model.text(words).clone(), words, size, raw)
        else:
            whole, inputs = AnyExpression(model.text, net, size, raw), (*inputs, words.ids)
        whole.eval()
        expected = whole(*inputs)
        card = Card(
            groundling=_version(),
            model=name,
            sha256=sha256,
            expression=expression,
            selection=str(chosen),
            size=size,
            raw=raw,
            scored=len(expected) == 2,
            macs=parts,
            full_macs=cost.full,
            tokens=words.ids.shape[1],
            tokenizer=None if expression is not None else tokenizer.as_json(),
            limit=None if expression is not None else tokenizer.limit,
        )
        files = _files(whole, inputs, expected, card, form)
    for suffix, data in files.items():
        write(out.with_suffix(suffix), data, inputs=read)
    return card


def check(out: Path, form: str, inputs: Iterable[Given] = ()) -> None:
    """ValueError unless this format can be written to a file of this name that is none of the inputs."""
    if form not in SUFFIXES:
        raise ValueError(f"no export format {form!r}; there are {', '.join(SUFFIXES)}")
    missing = [package for package in NEEDS[form] if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(
            f"export to {form} needs {', '.join(missing)}; pip install 'groundling[export]' brings them"
        )
    if out.suffix != SUFFIXES[form]:
        raise ValueError(f"a file in the format {form} is called *{SUFFIXES[form]}, given {out.name!r}")
    for suffix in (SUFFIXES[form], *(".bin",) * (form == "openvino")):
        check_place(out.with_suffix(suffix), inputs)


def _example(size: int, raw: bool) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    canvas = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8, generator=generator)
    return canvas if raw else normalise(canvas)


def _files(
    whole: nn.Module, inputs: tuple[Tensor, ...], expected: tuple[Tensor, ...], card: Card, form: Format
) -> dict[str, bytes]:
    """What to write, by suffix: tried out, and in the order in which a reader needs it to be there."""
    from groundling.runtime.exported import opened

    names = ["image", "ids"][: len(inputs)]
    shapes: Any = None if len(inputs) == 1 else ({}, {1: torch.export.Dim("tokens", min=2, max=card.limit)})
    with silent(), as_exported(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            whole,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=["box", "score"][: len(expected)],
            dynamic_shapes=shapes,
            verbose=False,
        )
        program.model.metadata_props[KEY] = card.text()
        file = Path(folder) / "network.onnx"
        program.save(file, external_data=False)
        if form == "openvino":
            file = _converted(file, card)
        found = opened(file).run([part.numpy() for part in inputs])
        scales = (card.size, 1)[: len(expected)]  # a network that regresses its box gives no score
        for ours, theirs, scale in zip(expected, found, scales, strict=True):
            worst = float((ours - torch.from_numpy(theirs)).abs().max()) / scale
            if not worst <= TOLERANCE:
                raise ExportError(f"the {form} file differs from the network by {worst:.2g}: not written")
        if form == "onnx":
            return {".onnx": file.read_bytes()}
        return {".bin": file.with_suffix(".bin").read_bytes(), ".xml": file.read_bytes()}


def _converted(file: Path, card: Card) -> Path:
    import openvino

    network = openvino.Core().read_model(file)
    network.set_rt_info(card.text(), KEY)
    file = file.with_suffix(".xml")
    openvino.save_model(network, file, compress_to_fp16=False)
    return file


@contextmanager
def silent() -> Iterator[None]:
    """Without the exporter's remarks in the log about packages that nobody here needs."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _version() -> str:
    from importlib.metadata import version

    return version("groundling")
