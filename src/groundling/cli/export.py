"""`groundling export`: a network as a file that runs without this library."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from groundling.cli import console


class Format(StrEnum):
    """What a network can be written as."""

    onnx = "onnx"
    openvino = "openvino"


def export(
    model: Annotated[str, typer.Argument(help="A packaged model, a checkpoint folder, or a hub id.")],
    out: Annotated[
        Path, typer.Argument(help="The file to write: *.onnx; for OpenVINO *.xml, with *.bin beside it.")
    ],
    expression: Annotated[
        str | None,
        typer.Option(help="Write the subnet of these words, without text encoder; else the full network."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="Largest share of the full network's MACs for the expression, above 0 and up to 1."
        ),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="Format of the file.")] = Format.onnx,
    raw: Annotated[
        bool, typer.Option("--raw", help="Let the file take uint8 pixels, and normalise them itself.")
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(
            help="HEIGHTxWIDTH of the file's input, such as 800x1066, where the model has no canvas."
        ),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the model from the hub.")] = False,
) -> None:
    """Write a network as a file for ONNX runtimes or OpenVINO.

    With an expression, its subnet with the words folded in; without one, the full network, which takes
    token ids.
    """
    from groundling import checkpoint
    from groundling.ask.grounder import load_grounder
    from groundling.runtime import export as write
    from groundling.runtime.export import check
    from groundling.words.text import read_words

    folder = checkpoint.locate(model, download=download)
    files = [file for file in folder.rglob("*") if file.is_file()]
    check(out, format_.value, files)
    if expression is not None:
        read_words(expression)  # before anything is loaded
    if budget is not None and expression is None:
        raise ValueError("--budget is for the words of an expression; give --expression too")
    loaded = load_grounder(model, download=download)
    selection = None if expression is None else loaded.select(expression, budget=budget)
    weights = folder / checkpoint.WEIGHTS
    card = write(
        loaded.model,
        loaded.tokenizer,
        out,
        name=Path(model).name,
        sha256=checkpoint.sha256(weights),
        expression=expression,
        selection=selection,
        raw=raw,
        form=format_.value,
        read=files,
        sides=None if size is None else _sides(size),
    )
    what = "any expression" if expression is None else repr(expression)
    written = [out, out.with_suffix(".bin")] if format_ is Format.openvino else [out]
    taken = sum(file.stat().st_size for file in written)
    print(f"{out}: {what}, {console.percent(card.cost.share)} of the MACs, {taken / 2**20:.1f} MiB")


def _sides(text: str) -> tuple[int, int]:
    """HEIGHTxWIDTH as numbers."""
    height, by, width = text.partition("x")
    if not (by and height.isascii() and height.isdigit() and width.isascii() and width.isdigit()):
        raise ValueError(f"--size is HEIGHTxWIDTH in pixels, as 800x1066, given {text!r}")
    return int(height), int(width)
