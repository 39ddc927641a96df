"""One box an expression: Prec@0.5, mean IoU, and the share of the supernet that was run."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from groundling.data.sample import Dataset, Sample
from groundling.dynamic.gates import hard_gates
from groundling.models.supernet import Supernet
from groundling.pictures.boxes import iou
from groundling.pictures.images import open_image
from groundling.pictures.placement import Clip, Seen
from groundling.selection import Selection
from groundling.words.wordpiece import Tokenizer


@dataclass(frozen=True)
class Outcome:
    """One expression: its IoU, and what was run for it."""

    sample: Sample
    box: tuple[float, float, float, float]
    iou: float
    share: float
    selection: Selection


@dataclass(frozen=True)
class Metrics:
    """Means over a split. `milliseconds` is wall time per expression of the batched evaluation."""

    dataset: str
    split: str
    expressions: int
    prec_at_05: float
    mean_iou: float
    macs_share: float
    layers_on: float
    filters_on: float
    milliseconds: float

    def as_dict(self) -> dict[str, object]:
        """What `groundling evaluate --json` prints."""
        fields: dict[str, object] = asdict(self)
        names = {"prec_at_05": "prec@0.5"}
        return {names.get(k, k): round(v, 4) if isinstance(v, float) else v for k, v in fields.items()}


def evaluate(
    model: Supernet,
    tokenizer: Tokenizer,
    dataset: Dataset,
    *,
    batch: int = 64,
    strict: bool = False,
    clip: Clip = "image",
    watch: Callable[[Iterable[Outcome]], Iterable[Outcome]] = iter,
) -> Metrics:
    """Metrics of a model on a dataset; `strict` counts IoU > 0.5 instead of ≥ 0.5 (the papers differ).

    `clip` says what of a box counts: what lies in the image, or as much as the released code compares.

    `watch` sees the outcomes as they come, for a progress bar.
    """
    began = time.perf_counter()
    outcomes = list(watch(answers(model, tokenizer, dataset.samples, batch, clip)))
    milliseconds = 1000 * (time.perf_counter() - began) / len(outcomes)
    return summarise(dataset, outcomes, milliseconds, strict)


def summarise(dataset: Dataset, outcomes: Sequence[Outcome], milliseconds: float, strict: bool) -> Metrics:
    """Means of outcomes."""
    count = len(outcomes)
    right = sum(o.iou > 0.5 if strict else o.iou >= 0.5 for o in outcomes)
    return Metrics(
        dataset.name,
        dataset.split,
        count,
        right / count,
        sum(o.iou for o in outcomes) / count,
        sum(o.share for o in outcomes) / count,
        sum(o.selection.layers_on for o in outcomes) / count,
        sum(o.selection.filters_on for o in outcomes) / count,
        milliseconds,
    )


@torch.inference_mode()
def answers(
    model: Supernet, tokenizer: Tokenizer, samples: Sequence[Sample], batch: int = 64, clip: Clip = "image"
) -> Iterator[Outcome]:
    """The model's answer to each sample, in the order of the images.

    Runs the supernet masked by hard gates, which equals the extracted subnets (tests hold that) and can
    put expressions with different subnets in one batch.
    """
    if not samples:
        raise ValueError("no expressions to evaluate")
    model.eval()
    device = next(model.parameters()).device
    for part in _batches(samples, batch):
        pictures: dict[Path, Seen] = {}
        for sample in part:
            if sample.image not in pictures:
                pictures[sample.image] = model.config.framing.see(open_image(sample.image))
        index = torch.tensor([list(pictures).index(s.image) for s in part], device=device)
        tokens = tokenizer.encode([s.expression for s in part]).to(device)
        seen = model.config.framing.input([*pictures.values()], device)
        costs = model.costs(*seen.sides)
        text = model.text(tokens)
        gates = None if model.selector is None else hard_gates(model.selector(text, tokens))
        found = model.net(seen.images, text, tokens, gates, index, seen.shown).boxes_cxcywh01.cpu()
        for row, sample in enumerate(part):
            box = pictures[sample.image].placement.boxes(found[row], clip)
            selection = Selection(()) if gates is None else Selection.from_gates(gates, row)
            length = int((~tokens.padding[row]).sum())
            share = 1.0 if gates is None else costs.cost(selection, length).share
            yield _outcome(sample, box, share, selection)


def _outcome(sample: Sample, box: Tensor, share: float, selection: Selection) -> Outcome:
    x1, y1, x2, y2 = box.tolist()
    return Outcome(sample, (x1, y1, x2, y2), float(iou(box, torch.tensor(sample.box))), share, selection)


def _batches(samples: Sequence[Sample], size: int) -> Iterator[list[Sample]]:
    """Expressions of one image next to each other, so that each image is decoded once."""
    ordered = sorted(samples, key=lambda sample: str(sample.image))
    for first in range(0, len(ordered), size):
        yield ordered[first : first + size]
