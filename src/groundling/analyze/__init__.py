"""What a selector does with the words of a dataset: the pictures of LADS' Fig. 4 to 7, and figures of spread.

    report = analyze(model, tokenizer, dataset, Path("analysis"))

Works from the expressions alone; no image is opened.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from groundling.analyze import canvas
from groundling.analyze.cloud import cloud_figure
from groundling.analyze.decisions import Progress, decide
from groundling.analyze.figures import dynamicity_figure, spread_figure
from groundling.analyze.map_figure import map_figure
from groundling.analyze.projection import selection_map
from groundling.analyze.report import Report, summarise, tables
from groundling.analyze.subnets import Structure, examples, subnets_figure
from groundling.data.sample import Dataset
from groundling.files import Given, check_kept, write
from groundling.models.supernet import Supernet
from groundling.words.wordpiece import Tokenizer

__all__ = ["Report", "analyze"]


def analyze(
    model: Supernet,
    tokenizer: Tokenizer,
    dataset: Dataset,
    out: Path,
    limit: int | None = None,
    progress: Progress | None = None,
    inputs: Iterable[Given] = (),
) -> Report:
    """Write pictures (PNG), their numbers (CSV) and `summary.json` into the folder `out`.

    `limit` is the most expressions to look at, spread evenly over the dataset; `progress(done, total)` is
    called after each batch; `inputs` are files that the dataset was read from: neither they nor its images
    are written over. ValueError for a static model, an empty dataset, a limit below 1, `out` that
    is a file, and where the extra `draw` is not installed.
    """
    canvas.need_extra()
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; give a folder for the analysis")
    decisions = decide(model, tokenizer, dataset.limited(limit).samples, progress)
    at_least = min(10, 1 + len(decisions.samples) // 1000)  # a rare word's score is noise
    report = summarise(dataset.name, dataset.split, decisions, at_least)
    samples = decisions.samples
    found = selection_map(
        decisions.gates,
        [sample.expression for sample in samples],
        categories=[sample.category for sample in samples],
    )
    shown = examples(decisions)
    files = tables(decisions, found, shown)
    files["dynamicity.png"] = dynamicity_figure(decisions.gates)
    files["map.png"] = map_figure(decisions, found)
    files["subnets.png"] = subnets_figure(decisions, Structure.of(model.cost_model), shown)
    files["words.png"] = cloud_figure(decisions.words, at_least)
    files["spread.png"] = spread_figure(decisions, report.spread, dict(report.categories))
    report = replace(report, files=tuple(out / name for name in [*sorted(files), "summary.json"]))
    files["summary.json"] = (json.dumps(report.as_dict(), indent=1, ensure_ascii=False) + "\n").encode()
    read = [*inputs, *dict.fromkeys(sample.image for sample in decisions.samples)]
    for name in files:
        check_kept(out / name, read)
    for name, data in files.items():
        write(out / name, data)
    return report
