"""`groundling demo`: the main job on fresh pictures, as a contact sheet and a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import console

if TYPE_CHECKING:
    from groundling.draw import Cell

SHEET = "contact_sheet.png"
COLUMNS = ("expression", "box (x1 y1 x2 y2)", "IoU", "MACs", "ms", "ms, full network")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the contact sheet.")] = Path("demo"),
    model: Annotated[str, typer.Option(help="A packaged model or a checkpoint folder.")] = "lads_street",
    seed: Annotated[int, typer.Option(help="Another seed draws other scenes; 0 was trained on.")] = 2023,
) -> None:
    """Ground expressions in fresh street scenes.

    Shows the boxes, and for each expression what part of the network ran and how long it took.
    """
    from groundling.demo import ask, questions, show
    from groundling.draw import save
    from groundling.grounder import load_grounder

    loaded, asked = load_grounder(model), questions(seed)
    cells = ask(loaded, asked)
    file = save(show(cells), out / SHEET)
    console.print_table(COLUMNS, map(_row, cells))
    print(_summary(cells))
    print(file)


def _row(cell: "Cell") -> tuple[str, ...]:
    found = cell.grounding
    return (
        found.expression,
        console.numbers(found.box),
        f"{cell.iou or 0:.2f}",
        console.percent(found.cost.share),
        f"{found.milliseconds:.1f}",
        f"{cell.full_milliseconds:.1f}",
    )


def _summary(cells: "list[Cell]") -> str:
    count, right = len(cells), sum((cell.iou or 0) >= 0.5 for cell in cells)
    share = sum(cell.grounding.cost.share for cell in cells) / count
    spent = sum(cell.grounding.milliseconds for cell in cells) / count
    full = sum(cell.full_milliseconds or 0 for cell in cells) / count
    return (
        f"Prec@0.5 {right / count:.2f} ({right} of {count}) · {share:.0%} of the full network's MACs · "
        f"{spent:.1f} ms, full network {full:.1f} ms (one thread, means)"
    )
