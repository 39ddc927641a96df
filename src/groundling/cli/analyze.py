"""`groundling analyze`: what a selector does with the words of a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import console, datasets

if TYPE_CHECKING:
    from groundling.analyze import Report


def analyze(
    model: Annotated[str, typer.Argument(help="A packaged model, a checkpoint folder, or a hub id.")],
    data: Annotated[Path, typer.Option(help=datasets.FOLDER_HELP)],
    out: Annotated[Path, typer.Option(help="Folder for the pictures (PNG) and their numbers (CSV).")],
    dataset: Annotated[str | None, typer.Option(help=datasets.NAME_HELP)] = None,
    split: Annotated[str | None, typer.Option(help="Split to read, val without it.")] = None,
    limit: Annotated[int | None, typer.Option(help="Read at most so many expressions.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the model from the hub.")] = False,
) -> None:
    """Draw what runs for which words.

    Figures 4 to 7 of the LADS paper, as PNG, with their numbers as CSV.
    """
    from groundling.analyze import analyze as run
    from groundling.ask.grounder import load_grounder

    opened = datasets.opened(data, dataset, split or (data.stem if data.is_file() else "val"))
    loaded = load_grounder(model, download=download)
    if loaded.model.selector is None:
        raise ValueError(
            f"{model} runs the same network for all words, so there is nothing to draw; give a model "
            "whose words choose, such as lads_street"
        )
    with console.counted("reading expressions") as progress:
        report = run(
            loaded.model,
            loaded.tokenizer,
            opened,
            out,
            limit=limit,
            progress=progress,
            inputs=[data] * data.is_file(),
        )
    _print(report)


def _print(report: "Report") -> None:
    spread, layers = report.spread, dict(report.layers)
    share = spread.macs_share
    rows = [("MACs", *map(console.percent, (share.mean, share.least, share.most)), "")]
    rows += [
        (f"layers on, {part}", f"{found.mean:.1f}", f"{found.least:g}", f"{found.most:g}", str(layers[part]))
        for part, found in report.layers_on
    ]
    console.print_table(("", "mean", "least", "most", "of"), rows)
    print(f"{spread.expressions} expressions, {spread.subnets} different subnets")
    for file in report.files:
        print(file)
