"""`groundling evaluate`: accuracy on a dataset, with its cost beside it."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import console, datasets

if TYPE_CHECKING:
    from groundling.data import Dataset
    from groundling.evaluate import Metrics
    from groundling.grounder import Grounder

COLUMNS = (
    "dataset", "split", "expressions", "Prec@0.5", "mean IoU", "MACs", "layers on", "filters on", "ms",
)  # fmt: skip


def evaluate(
    model: Annotated[str, typer.Argument(help="A packaged model or a checkpoint folder.")],
    data: Annotated[Path, typer.Option(help=datasets.FOLDER_HELP)],
    dataset: Annotated[str | None, typer.Option(help=datasets.NAME_HELP)] = None,
    split: Annotated[list[str] | None, typer.Option(help="May be given several times; else val.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON line per split.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Count IoU > 0.5, not ≥ 0.5.")] = False,
    limit: Annotated[int | None, typer.Option(help="At most so many expressions of a split.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    download: Annotated[bool, typer.Option("--download", help="The model may be a hub id.")] = False,
) -> None:
    """Measure accuracy on a dataset, and its cost.

    Milliseconds are wall time per expression of a batched evaluation, decoding of images included.
    """
    from groundling.grounder import load_grounder

    default = data.stem if data.is_file() else "val"
    opened = [datasets.opened(data, dataset, name, limit) for name in split or [default]]
    loaded = load_grounder(model, device=device, download=download)
    found = [_measured(loaded, part, strict) for part in opened]
    if json:
        for metrics in found:
            console.print_json(metrics.as_dict())
    else:
        console.print_table(COLUMNS, map(_row, found))


def _measured(loaded: "Grounder", dataset: "Dataset", strict: bool) -> "Metrics":
    from groundling.evaluate import evaluate

    watch = partial(console.followed, total=len(dataset), doing=f"evaluating {dataset.split}")
    return evaluate(loaded.model, loaded.tokenizer, dataset, strict=strict, watch=watch)


def _row(metrics: "Metrics") -> tuple[str, ...]:
    return (
        metrics.dataset,
        metrics.split,
        f"{metrics.expressions}",
        console.percent(metrics.prec_at_05),
        f"{metrics.mean_iou:.3f}",
        console.percent(metrics.macs_share),
        f"{metrics.layers_on:.1f}",
        f"{metrics.filters_on:.1f}",
        f"{metrics.milliseconds:.1f}",
    )
