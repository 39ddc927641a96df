"""`groundling answer`: the answer to a question about a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import console, timing

if TYPE_CHECKING:
    from groundling.results import Answer

COLUMNS = ("evidence", "box (x1 y1 x2 y2)", "score")


def answer(
    image: Annotated[Path, typer.Argument(help="A picture.")],
    question: Annotated[str, typer.Argument(help="A question about it, in quotes.")],
    model: Annotated[
        str, typer.Option(help="A packaged model, a checkpoint folder of an mdetr that answers, or a hub id.")
    ] = "mdetr_street",
    threshold: Annotated[
        float | None,
        typer.Option(help="Least confidence of evidence, in [0, 1]; the model's own without it."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON, one line; milliseconds are those of a first use.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Save the picture with its evidence, over the answer, here.")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the model from the hub.")] = False,
    max_pixels: Annotated[int, typer.Option(help="Refuse pictures of more pixels.")] = 50_000_000,
    device: Annotated[str, typer.Option(help="Where it runs: cpu, cuda or cuda:N.")] = "cpu",
) -> None:
    """Answer a question about a picture.

    Prints what the answer rests on, too: the objects that the question mentions or is about.
    """
    from groundling.ask.grounder import load_grounder
    from groundling.draw import draw_answer, format_of, save
    from groundling.pictures.images import open_image

    if out is not None:
        format_of(out)  # before the model runs
    loaded = load_grounder(model, device=device, download=download, max_pixels=max_pixels)

    def ask() -> "Answer":
        return loaded.answer(image, question, threshold=threshold)

    found = ask()
    if out is not None:
        save(draw_answer(open_image(image, max_pixels), found), out)
    if json:
        console.print_json(found.as_dict())
        return
    about = "" if found.about is None else f"; read as a question about {found.about}"
    print(f"{console.one_line(found.answer)} ({console.percent(found.confidence)} sure{about})")
    rows = [(each.label, console.numbers(each.box), f"{each.score:.2f}") for each in found.evidence]
    if rows:
        console.print_table(COLUMNS, rows)
    times = timing.both(found.milliseconds, timing.again(ask).milliseconds)
    print(f"{console.macs(found.cost.macs)} MACs · {times}")
