"""`groundling evaluate`: accuracy on a dataset by the protocol of its field, with its cost beside it."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli import console, datasets

if TYPE_CHECKING:
    from groundling.evaluate import Metrics
    from groundling.evaluate.score import Score

COLUMNS = (
    "dataset", "split", "expressions", "Prec@0.5", "mean IoU", "MACs", "layers on", "filters on", "ms",
)  # fmt: skip
PARTS = ("by_type", "by_detailed_type", "subsets")  # where protocols keep the results of a part of the items


def evaluate(
    model: Annotated[str, typer.Argument(help="A packaged model or a checkpoint folder.")],
    data: Annotated[Path, typer.Option(help=datasets.FOLDER_HELP)],
    dataset: Annotated[str | None, typer.Option(help=datasets.NAME_HELP)] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Split to measure, val without it; may be given several times.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one line a split.")] = False,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="How answers are scored. Expressions: iou (IoU ≥ 0.5), strict (> 0.5), giou or "
            "released; phrases: any or merged; phrasecut: masks, boxes or drawn. The last ones count as the "
            "released code does."
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(help="Largest share of the full network's MACs for an expression, above 0 and up to 1."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Measure at most so many items of a split.")] = None,
    device: Annotated[str, typer.Option(help="Where it runs: cpu, cuda or cuda:N.")] = "cpu",
    download: Annotated[bool, typer.Option("--download", help="Fetch the model from the hub.")] = False,
) -> None:
    """Measure accuracy on a dataset, and its cost.

    What is measured follows from the dataset: expressions, phrases of captions (flickr30k), questions (gqa),
    masks (phrasecut) or all objects (coco, lvis). Milliseconds are wall time per item, decoding of images
    included.
    """
    from groundling.ask.grounder import load
    from groundling.evaluate import Metrics
    from groundling.evaluate.jobs import Source, prepared
    from groundling.evaluate.score import Score

    name = datasets.name_in(data, dataset)
    default = data.stem if data.is_file() else "val"
    loaded = load(model, device=device, download=download)
    jobs = [
        prepared(
            loaded,
            Source(data, name, part, limit),
            model=model,
            protocol=protocol,
            budget=budget,
            watch=console.followed,
        )
        for part in split or [default]
    ]
    found = [job() for job in jobs]
    if json:
        for metrics in found:
            console.print_json(metrics.as_dict())
        return
    if single := [metrics for metrics in found if isinstance(metrics, Metrics)]:
        console.print_table(COLUMNS, map(_row, single))
    _print_scores([score for score in found if isinstance(score, Score)])


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


def _print_scores(scores: Sequence["Score"]) -> None:
    """A table for all splits of one protocol: a row for all items, and one for each part of them."""
    for (columns, rules), several in groupby(scores, key=_heads):
        rows = [row for score in several for row in _rows(score, columns)]
        console.print_table(("dataset", "split", "part", *columns, "M MACs", "MACs", "ms"), rows)
        if rules:
            print(rules)


def _heads(score: "Score") -> tuple[tuple[str, ...], str]:
    """The columns of a protocol, and what it says in words, which stands below: "rule iou ≥ 0.5"."""
    whole = _whole(score)
    said = [f"{name} {value}" for name, value in whole.items() if isinstance(value, str)]
    return tuple(name for name, value in whole.items() if not isinstance(value, str)), " · ".join(said)


def _rows(score: "Score", columns: Sequence[str]) -> list[tuple[str, ...]]:
    result = score.result.as_dict()
    cost = (f"{score.macs / 1e6:,.1f}", console.percent(score.macs_share), f"{score.milliseconds:.1f}")
    named = [("all", _whole(score))]
    for part in PARTS:
        found = result.get(part)
        named += found.items() if isinstance(found, Mapping) else ()
    return [
        (
            score.dataset,
            score.split,
            part,
            *(_cell(values.get(column, "")) for column in columns),
            *(cost if part == "all" else ("", "", "")),
        )
        for part, values in named
    ]


def _whole(score: "Score") -> dict[str, object]:
    """The values of all items, without those of parts."""
    result = score.result.as_dict()
    every = result.pop("all", {})
    assert isinstance(every, dict)
    return {key: value for key, value in result.items() if key not in PARTS} | every


def _cell(value: object) -> str:
    if isinstance(value, float):
        return console.percent(value)
    return "–" if value is None else f"{value}"
