"""`groundling phrases`: the boxes of each noun phrase of a caption, in a picture or in many."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import answering, console, given
from groundling.cli.answering import Asking, Device, Download, Every, Json, MaxPixels, Out, Threshold

if TYPE_CHECKING:
    from PIL import Image

    from groundling.results import CaptionGrounding

COLUMNS = ("phrase", "characters", "box (x1 y1 x2 y2)", "score")


def phrases(
    pictures_and_caption: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURES... CAPTION", help=f"{answering.PICTURES}; then what they show, in quotes."
        ),
    ],
    model: Annotated[
        str, typer.Option(help="A packaged model, a checkpoint folder of an mdetr, or a hub id.")
    ] = "mdetr_street",
    threshold: Threshold = None,
    json: Json = False,
    out: Out = None,
    every: Every = 1,
    download: Download = False,
    max_pixels: MaxPixels = 50_000_000,
    device: Device = "cpu",
) -> None:
    """Find the objects of each noun phrase of a caption."""
    from groundling.ask.grounder import load_grounder

    asked = given.parted(pictures_and_caption)
    caption = given.one_text(asked, "a caption")
    pictures = answering.pictures(
        asked.pictures, answering.place(out, asked), json=json, every=every, max_pixels=max_pixels
    )
    loaded = load_grounder(model, device=device, download=download, max_pixels=max_pixels)
    made_by = {"verb": "phrases", "model": answering.sha256(model, download), "threshold": threshold}
    asking = Asking(
        [caption],
        lambda image, _: [loaded.ground_phrases(image, caption, threshold=threshold)],
        _show,
        made_by,
    )
    pictures.run(asking, _draw)


def _draw(image: "Image.Image", answers: "Sequence[CaptionGrounding]") -> "Image.Image":
    from groundling.draw import draw_phrases

    return draw_phrases(image, answers[0])


def _show(answers: "Sequence[CaptionGrounding]", repeated: "Sequence[CaptionGrounding]") -> None:
    (found,) = answers
    rows: list[tuple[str, ...]] = []
    for phrase in found:
        place = f"{phrase.span[0]} to {phrase.span[1]}"
        boxes = [(console.numbers(each.box), f"{each.score:.2f}") for each in phrase.objects]
        rows += [(phrase.phrase, place, *values) for values in boxes or [("none", "")]]
    console.print_table(COLUMNS, rows)
    print(f"phrases by {found.splitter} · {answering.spent(found, *repeated)}")
