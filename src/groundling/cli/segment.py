"""`groundling segment`: the pixels that a phrase means in a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import console, timing

if TYPE_CHECKING:
    from groundling.results import Segmentation

COLUMNS = ("object", "box (x1 y1 x2 y2)", "score")


def segment(
    image: Annotated[Path, typer.Argument(help="A picture.")],
    phrase: Annotated[str, typer.Argument(help="What to look for, in quotes.")],
    model: Annotated[
        str,
        typer.Option(help="A packaged model, a checkpoint folder of an mdetr that segments, or a hub id."),
    ] = "mdetr_street",
    threshold: Annotated[
        float | None, typer.Option(help="Least confidence, in [0, 1]; the model's own without it.")
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print JSON, one line, with COCO's run lengths; milliseconds are those of a first use.",
        ),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Save the mask here, white on black (*.png).")] = None,
    overlay: Annotated[Path | None, typer.Option(help="Save the mask over the picture here.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the model from the hub.")] = False,
    max_pixels: Annotated[int, typer.Option(help="Refuse pictures of more pixels.")] = 50_000_000,
    device: Annotated[str, typer.Option(help="Where it runs: cpu, cuda or cuda:N.")] = "cpu",
) -> None:
    """Find the pixels of everything that a phrase means."""
    from PIL import Image

    from groundling.ask.grounder import load_grounder
    from groundling.draw import draw_mask, format_of, save
    from groundling.files import check_place
    from groundling.pictures.images import open_image
    from groundling.pictures.masks import decode

    if out is not None and out.suffix.lower() != ".png":
        raise ValueError(f"a mask is saved as a PNG, which loses nothing; {out.name!r} is another name")
    if overlay is not None:
        format_of(overlay)  # before the model runs
        if out is not None and overlay.resolve() == out.resolve():
            raise ValueError(f"the mask and the mask over the picture are two pictures; {out} is one place")
    for place in (out, overlay):
        if place is not None:
            check_place(place)
    loaded = load_grounder(model, device=device, download=download, max_pixels=max_pixels)

    def ask() -> "Segmentation":
        return loaded.segment(image, phrase, threshold=threshold)

    found = ask()
    over = None if overlay is None else draw_mask(open_image(image, max_pixels), found)
    if out is not None:
        save(Image.fromarray(decode(found.mask)).convert("L"), out)
    if overlay is not None and over is not None:
        save(over, overlay)
    if json:
        console.print_json(found.as_dict())
        return
    rows = [(each.label, console.numbers(each.box), f"{each.score:.2f}") for each in found.objects]
    console.print_table(COLUMNS, rows)
    share = console.percent(found.mask.area / (found.width * found.height))
    times = timing.both(found.milliseconds, timing.again(ask).milliseconds)
    print(f"{share} of the picture · {console.macs(found.cost.macs)} MACs · {times}")
