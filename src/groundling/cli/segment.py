"""`groundling segment`: the pixels that a phrase means in a picture, or in many."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import answering, console, given
from groundling.cli.answering import Asking, Device, Download, Every, Json, MaxPixels, Threshold

if TYPE_CHECKING:
    from PIL import Image

    from groundling.results import Segmentation


def segment(
    pictures_and_phrase: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURES... PHRASE", help=f"{answering.PICTURES}; then what to look for, in quotes."
        ),
    ],
    model: Annotated[
        str,
        typer.Option(help="A packaged model, a checkpoint folder of an mdetr that segments, or a hub id."),
    ] = "mdetr_street",
    threshold: Threshold = None,
    json: Json = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Save the mask here, white on black (*.png); of many a folder (masks/) or lines (*.jsonl).",
        ),
    ] = None,
    overlay: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Save the mask over the picture here; of many a folder or a video."
        ),
    ] = None,
    every: Every = 1,
    download: Download = False,
    max_pixels: MaxPixels = 50_000_000,
    device: Device = "cpu",
) -> None:
    """Find the pixels of everything that a phrase means."""
    from groundling.ask.grounder import load_grounder

    asked = given.parted(pictures_and_phrase)
    phrase = given.one_text(asked, "a phrase")
    masks, seen = answering.place(out, asked, mask=True), answering.place(overlay, asked, lines=False)
    if masks and seen and seen.path.resolve() == masks.path.resolve():
        raise ValueError(f"the mask and the mask over the picture are two pictures; {out} is one place")
    pictures = answering.pictures(asked.pictures, masks, seen, json=json, every=every, max_pixels=max_pixels)
    loaded = load_grounder(model, device=device, download=download, max_pixels=max_pixels)
    made_by = {"verb": "segment", "model": answering.sha256(model, download), "threshold": threshold}
    asking = Asking(
        [phrase], lambda image, _: [loaded.segment(image, phrase, threshold=threshold)], _show, made_by
    )
    pictures.run(asking, _mask, _overlay)


def _mask(_: "Image.Image", answers: "Sequence[Segmentation]") -> "Image.Image":
    from PIL import Image

    from groundling.pictures.masks import decode

    return Image.fromarray(decode(answers[0].mask)).convert("L")


def _overlay(image: "Image.Image", answers: "Sequence[Segmentation]") -> "Image.Image":
    from groundling.draw import draw_mask

    return draw_mask(image, answers[0])


def _show(answers: "Sequence[Segmentation]", repeated: "Sequence[Segmentation]") -> None:
    (found,) = answers
    answering.print_objects("object", found.objects)
    share = console.percent(found.mask.area / (found.width * found.height))
    print(f"{share} of the picture · {answering.spent(found, *repeated)}")
