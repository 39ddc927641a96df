"""Referring expressions, of a model that ranks many boxes: Prec@1, 5 and 10."""

from collections.abc import Callable, Sequence
from pathlib import Path

from groundling.data.sample import Dataset
from groundling.evaluate.score import Score, Watch, by_image, collect, together, unwatched
from groundling.protocols import refexp
from groundling.protocols.ranking import by_score
from groundling.results import Detections

Ask = Callable[[Path, Sequence[str]], Sequence[Detections]]  # an image, its expressions; boxes of each


def precision(
    dataset: Dataset,
    ask: Ask,
    *,
    model: str = "",
    overlap: str = "iou",
    strict: bool = False,
    larger_first: bool = False,
    watch: Watch = unwatched,
) -> Score:
    """Prec@k of the boxes that `ask` says of each expression, the surest first.

    Images come one after the other, each once, with all expressions of it. `overlap` and `strict` say when a
    box is right, as in `protocols.refexp`, and `larger_first` orders boxes of one score (`by_score`).
    ValueError for a dataset without expressions.
    """
    if not dataset.samples:
        raise ValueError(f"{dataset.name} {dataset.split} has no expressions to evaluate")
    samples = by_image(dataset.samples)
    told = together(samples, lambda sample: sample.expression, ask)
    answers = collect(told, len(samples), dataset.split, watch)
    boxes = [
        by_score([each.box for each in found], [each.score for each in found], larger_first=larger_first)
        for found in answers.found
    ]
    truths = [sample.box for sample in samples]
    result = refexp.precision(boxes, truths, overlap=overlap, strict=strict)
    return answers.score(dataset.name, dataset.split, model, result)
