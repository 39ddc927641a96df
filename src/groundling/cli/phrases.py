"""`groundling phrases`: the boxes of each noun phrase of a caption."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import console, timing

if TYPE_CHECKING:
    from groundling.results import CaptionGrounding

COLUMNS = ("phrase", "characters", "box (x1 y1 x2 y2)", "score")


def phrases(
    image: Annotated[Path, typer.Argument(help="A picture.")],
    caption: Annotated[str, typer.Argument(help="What it shows, in quotes.")],
    model: Annotated[
        str, typer.Option(help="A packaged model, a checkpoint folder of an mdetr, or a hub id.")
    ] = "mdetr_street",
    threshold: Annotated[
        float | None, typer.Option(help="Least confidence, in [0, 1]; the model's own without it.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON, one line; milliseconds are those of a first use.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Save the picture over its caption, in colours, here.")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the model from the hub.")] = False,
    max_pixels: Annotated[int, typer.Option(help="Refuse pictures of more pixels.")] = 50_000_000,
    device: Annotated[str, typer.Option(help="Where it runs: cpu, cuda or cuda:N.")] = "cpu",
) -> None:
    """Find the objects of each noun phrase of a caption."""
    from groundling.ask.grounder import load_grounder
    from groundling.draw import draw_phrases, format_of, save
    from groundling.pictures.images import open_image

    if out is not None:
        format_of(out)  # before the model runs
    loaded = load_grounder(model, device=device, download=download, max_pixels=max_pixels)

    def ask() -> "CaptionGrounding":
        return loaded.ground_phrases(image, caption, threshold=threshold)

    found = ask()
    if out is not None:
        save(draw_phrases(open_image(image, max_pixels), found), out)
    if json:
        console.print_json(found.as_dict())
        return
    rows: list[tuple[str, ...]] = []
    for phrase in found:
        place = f"{phrase.span[0]} to {phrase.span[1]}"
        boxes = [(console.numbers(each.box), f"{each.score:.2f}") for each in phrase.objects]
        rows += [(phrase.phrase, place, *values) for values in boxes or [("none", "")]]
    console.print_table(COLUMNS, rows)
    times = timing.both(found.milliseconds, timing.again(ask).milliseconds)
    print(f"phrases by {found.splitter} · {console.macs(found.cost.macs)} MACs · {times}")
