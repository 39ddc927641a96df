"""`groundling answer`: the answer to a question about a picture, or about many."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import answering, console, given
from groundling.cli.answering import Asking, Device, Download, Every, Json, MaxPixels, Out, Threshold

if TYPE_CHECKING:
    from PIL import Image

    from groundling.results import Answer


def answer(
    pictures_and_question: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURES... QUESTION",
            help=f"{answering.PICTURES}; then a question about each, in quotes.",
        ),
    ],
    model: Annotated[
        str, typer.Option(help="A packaged model, a checkpoint folder of an mdetr that answers, or a hub id.")
    ] = "mdetr_street",
    threshold: Threshold = None,
    json: Json = False,
    out: Out = None,
    every: Every = 1,
    download: Download = False,
    max_pixels: MaxPixels = 50_000_000,
    device: Device = "cpu",
) -> None:
    """Answer a question about a picture.

    Prints what the answer rests on, too: the objects that the question mentions or is about.
    """
    from groundling.ask.grounder import load_grounder

    asked = given.parted(pictures_and_question)
    question = given.one_text(asked, "a question")
    pictures = answering.pictures(
        asked.pictures, answering.place(out, asked), json=json, every=every, max_pixels=max_pixels
    )
    loaded = load_grounder(model, device=device, download=download, max_pixels=max_pixels)
    made_by = {"verb": "answer", "model": answering.sha256(model, download), "threshold": threshold}
    asking = Asking(
        [question], lambda image, _: [loaded.answer(image, question, threshold=threshold)], _show, made_by
    )
    pictures.run(asking, _draw)


def _draw(image: "Image.Image", answers: "Sequence[Answer]") -> "Image.Image":
    from groundling.draw import draw_answer

    return draw_answer(image, answers[0])


def _show(answers: "Sequence[Answer]", repeated: "Sequence[Answer]") -> None:
    (found,) = answers
    about = "" if found.about is None else f"; read as a question about {found.about}"
    print(f"{console.one_line(found.answer)} ({console.percent(found.confidence)} sure{about})")
    if found.evidence:
        answering.print_objects("evidence", found.evidence)
    print(answering.spent(found, *repeated))
