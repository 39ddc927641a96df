"""`groundling detect`: all objects of a picture, or of many."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import answering, console, given
from groundling.cli.answering import Asking, Device, Download, Every, Json, MaxPixels, Out

if TYPE_CHECKING:
    from PIL import Image

    from groundling.pictures.images import ImageSource
    from groundling.results import Detections


def detect(
    pictures_and_names: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURES... [NAMES]...",
            help=f"{answering.PICTURES}; then names of what to look for, each in quotes (a detr takes none).",
        ),
    ],
    model: Annotated[
        str, typer.Option(help="A packaged model, a checkpoint folder of a detr or mdetr, or a hub id.")
    ] = "mdetr_street",
    threshold: Annotated[
        float | None, typer.Option(help="Least confidence, from 0 to 1; 0.7 or an mdetr's own without it.")
    ] = None,
    json: Json = False,
    out: Out = None,
    names: Annotated[
        Path | None, typer.Option(help="Read names from this file, one a line; - is stdin.")
    ] = None,
    every: Every = 1,
    download: Download = False,
    max_pixels: MaxPixels = 50_000_000,
    device: Device = "cpu",
) -> None:
    """Find all objects of pictures, or those of given names.

    A detr finds the objects of its own categories; an mdetr those of the names that it is given.
    """
    from groundling import checkpoint
    from groundling.ask.detector import THRESHOLD, load_detector
    from groundling.ask.grounder import load_grounder
    from groundling.models.abilities import Ability

    def own() -> bool:
        return checkpoint.can(model, Ability.DETECTS, download=download)

    asked = given.parted(pictures_and_names, lambda: names is None and not own())
    pictures = answering.pictures(
        asked.pictures,
        answering.place(out, asked),
        json=json,
        every=every,
        max_pixels=max_pixels,
        inputs=given.files(names),
    )
    words = asked.words + given.read_file(names, asked)
    if words and own():
        raise ValueError(
            "this model finds the objects of its own categories: give no names, or a model that reads them, "
            "such as mdetr_street"
        )
    if own():
        detector = load_detector(model, device=device, download=download, max_pixels=max_pixels)
        threshold = THRESHOLD if threshold is None else threshold

        def ask(image: "ImageSource", _: Sequence[str]) -> "list[Detections]":
            return [detector.detect(image, threshold=threshold)]
    else:
        reader = load_grounder(model, device=device, download=download, max_pixels=max_pixels)

        def ask(image: "ImageSource", _: Sequence[str]) -> "list[Detections]":
            return [reader.detect(image, words, threshold=threshold)]

    made_by = {
        "verb": "detect",
        "model": answering.sha256(model, download),
        "threshold": threshold,
        "list of names": words,
    }
    pictures.run(Asking([""], ask, _show, made_by), _draw)


def _draw(image: "Image.Image", answers: "Sequence[Detections]") -> "Image.Image":
    from groundling.draw import draw_detections

    return draw_detections(image, answers[0])


def _show(answers: "Sequence[Detections]", repeated: "Sequence[Detections]") -> None:
    (found,) = answers
    answering.print_objects("object", found.objects)
    print(f"{console.many(len(found), 'object')} · {answering.spent(found, *repeated)}")
