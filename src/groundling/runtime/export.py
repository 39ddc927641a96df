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
from groundling.models.supernet import Network, Supernet
from groundling.pictures.boxes import cxcywh_to_xyxy
from groundling.pictures.placement import LONGEST, PADDING, Canvas, Corner, Framing, Square
from groundling.runtime.card import BOXES, KEY, Card, Place
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
TOLERANCE = 1e-4  # of boxes (as shares of their frame) and scores, against PyTorch


class ExportError(RuntimeError):
    """An exported file does not compute what the network does."""


class Exported(nn.Module):
    """A network as a file has it: image, what of it is no padding where the network reads that → box, score.

    The box is in the units of `Card.box`.
    """

    def __init__(self, net: Network, framing: Framing, raw: bool) -> None:
        super().__init__()
        self.net, self.framing, self.raw = net, framing, raw

    def _answer(
        self, image: Tensor, shown: Tensor | None, text_ELD: Tensor, tokens: Tokens
    ) -> tuple[Tensor, ...]:
        """(1, 3, H, W), float32 normalised or uint8 where `raw`, and (1, H, W)."""
        seen = self.framing.normalise(image, shown) if self.raw else image
        found = self.net(seen, text_ELD, tokens, shown=shown)
        box = cxcywh_to_xyxy(found.boxes_cxcywh01)
        if isinstance(self.framing, Canvas):
            box = box * self.framing.size
        answer = (box,) if found.scores is None else (box, found.scores)
        return answer if found.present is None else (*answer, found.present.sigmoid())


class OneExpression(Exported):
    """A subnet with the words it was cut for."""

    def __init__(self, net: Network, text_1LD: Tensor, tokens: Tokens, framing: Framing, raw: bool) -> None:
        super().__init__(net, framing, raw)
        for name, value in (("text", text_1LD), ("ids", tokens.ids), ("padding", tokens.padding)):
            self.register_buffer(name, value)

    def forward(self, image: Tensor, shown: Tensor | None = None) -> tuple[Tensor, ...]:
        """The answer for an image."""
        tokens = Tokens(self.ids, self.padding)  # type: ignore[arg-type]
        return self._answer(image, shown, self.text, tokens)  # type: ignore[arg-type]


class AnyExpression(Exported):
    """The full network: token ids come with the image."""

    def __init__(self, text: TextEncoder | RobertaEncoder, net: Network, framing: Framing, raw: bool) -> None:
        super().__init__(net, framing, raw)
        self.text = text

    def forward(self, image: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """The answer for an image and token ids, int64 (1, L), which come last."""
        *shown, ids = rest
        tokens = Tokens(ids, torch.zeros_like(ids, dtype=torch.bool))
        return self._answer(image, shown[0] if shown else None, self.text(tokens), tokens)


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
    sides: tuple[int, int] | None = None,
    read: Iterable[Given] = (),
) -> Card:
    """Write the subnet of an expression, or without one the full network, and return what the file says.

    selection: what runs for the expression (None: everything). raw: the file takes uint8 pixels.
    sides: (height, width) of the file's input, of a model that sees pictures in sizes of their own; None,
    those for a picture of 4:3. read: the model's own files, which are not written over.
    The file is compared with the network before it is saved. ValueError where the format's packages are
    missing or the name is not one of that format, ExportError where the file computes something else. No
    other thread may run a network meanwhile: torch's exporter changes modules for the whole process.
    """
    read = tuple(read)
    check(out, form, read)
    if selection is not None and expression is None:
        raise ValueError("a selection is for the words of an expression; give expression= too")
    model.eval()
    units = model.units()
    with torch.inference_mode(False), torch.no_grad():
        chosen = (selection if expression is not None else None) or Selection.all_on(units)
        net, framing = extract(model, chosen), fixed(model.config.framing, sides)
        with warnings.catch_warnings():
            if expression is None:
                warnings.simplefilter("ignore", TruncationWarning)
            words = tokenizer.encode([EXAMPLE if expression is None else expression])
        height, width = framing.sides
        cost = model.costs(height, width).cost(chosen, words.ids.shape[1])
        parts = {part: n for part, n in cost.parts.items() if part != "selector"}
        whole: nn.Module
        inputs = _example(framing, net.masked, raw)
        if expression is not None:
            parts.pop("text")
            whole = OneExpression(net, model.text(words).clone(), words, framing, raw)
        else:
            whole, inputs = AnyExpression(model.text, net, framing, raw), (*inputs, words.ids)
        whole.eval()
        expected = whole(*inputs)
        card = Card(
            groundling=_version(),
            model=name,
            sha256=sha256,
            expression=expression,
            selection=str(chosen),
            height=height,
            width=width,
            place=(place := _place(framing)),
            masked=net.masked,
            box=BOXES[place],
            padding=PADDING if framing.padding == "colour" else None,
            raw=raw,
            scored=len(expected) > 1,
            tells=len(expected) > 2,
            mean=framing.colours[0],
            std=framing.colours[1],
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
        raise ValueError(
            f"the name of a file in the format {form} must end in {SUFFIXES[form]}, given {out.name!r}"
        )
    for suffix in (SUFFIXES[form], *(".bin",) * (form == "openvino")):
        check_place(out.with_suffix(suffix), inputs)


def fixed(framing: Framing, sides: tuple[int, int] | None) -> Framing:
    """The same for an input of one size; ValueError for another than the only one that a canvas has."""
    if isinstance(framing, Canvas | Square):
        if sides not in (None, framing.sides):
            raise ValueError(f"this model sees {framing}: its input has no other size, given {_by(sides)}")
        return framing
    height, width = sides or framing.sides
    if not (0 < height <= LONGEST and 0 < width <= LONGEST):
        raise ValueError(f"an input has 1 to {LONGEST} pixels a side, given {_by(sides)}")
    return Corner(height=height, width=width)


def _by(sides: tuple[int, int] | None) -> str:
    return " x ".join(map(str, sides or ()))


def _place(framing: Framing) -> Place:
    if isinstance(framing, Square):
        return "stretched"
    return "centre" if isinstance(framing, Canvas) else "corner"


def _example(framing: Framing, masked: bool, raw: bool) -> tuple[Tensor, ...]:
    """Noise as an input, with padding beside it where the network reads a mask."""
    height, width = framing.sides
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8, generator=generator)
    shown = torch.ones(1, height, width, dtype=torch.bool)
    shown[..., width - width // 4 :] = not masked
    pixels = image if raw else framing.normalise(image, shown)
    return (pixels, shown) if masked else (pixels,)


def _files(
    whole: nn.Module, inputs: tuple[Tensor, ...], expected: tuple[Tensor, ...], card: Card, form: Format
) -> dict[str, bytes]:
    """What to write, by suffix: tried out, and in the order in which a reader needs it to be there."""
    from groundling.runtime.exported import opened

    names = ["image", *["shown"] * card.masked, *["ids"] * (card.expression is None)]
    shapes: Any = None
    if card.expression is None:
        lengths = {1: torch.export.Dim("tokens", min=2, max=card.limit)}
        shapes = ({}, (*[{}] * card.masked, lengths))  # those behind the image are one argument, `rest`
    with silent(), as_exported(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            whole,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=["box", "score", "present"][: len(expected)],
            dynamic_shapes=shapes,
            verbose=False,
        )
        program.model.metadata_props[KEY] = card.text()
        file = Path(folder) / "network.onnx"
        program.save(file, external_data=False)
        if form == "openvino":
            file = _converted(file, card)
        found = opened(file).run([part.numpy() for part in inputs])
        unit = card.width if card.place == "centre" else 1
        scales = (unit, 1, 1)[: len(expected)]  # a network that regresses its box gives no score
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
