"""One box an expression: Prec@0.5, mean IoU, and the share of the supernet that was run."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from groundling.data.caption import CaptionSet
from groundling.data.sample import Dataset, Sample
from groundling.dynamic.budget import check_budget, fitted_gates
from groundling.dynamic.cost import CostModel
from groundling.dynamic.gates import hard_gates
from groundling.evaluate.score import Score, Watch, unwatched
from groundling.models.supernet import Supernet
from groundling.pictures.boxes import iou
from groundling.pictures.images import open_image
from groundling.pictures.placement import Clip, Seen
from groundling.protocols import flickr
from groundling.results import Cost
from groundling.selection import Selection
from groundling.words.tokens import Tokens
from groundling.words.wordpiece import Tokenizer


@dataclass(frozen=True)
class Outcome:
    """One expression: its IoU, and what was run for it."""

    sample: Sample
    box: tuple[float, float, float, float]
    iou: float
    share: float
    macs: int
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
    budget: float | None = None,
    watch: Callable[[Iterable[Outcome]], Iterable[Outcome]] = iter,
) -> Metrics:
    """Metrics of a model on a dataset; `strict` counts IoU > 0.5 instead of ≥ 0.5 (the papers differ).

    `clip` says what of a box counts: what lies in the image, or as much as the released code compares.
    `budget` is the largest share of the full network's MACs for each expression, None for no limit.

    `watch` sees the outcomes as they come, for a progress bar.
    """
    began = time.perf_counter()
    outcomes = list(watch(answers(model, tokenizer, dataset.samples, batch, clip, budget)))
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


def recall(
    model: Supernet,
    tokenizer: Tokenizer,
    captions: CaptionSet,
    *,
    protocol: str = "any",
    budget: float | None = None,
    batch: int = 64,
    name: str = "",
    watch: Watch = unwatched,
) -> Score:
    """Recall@1 of the one box of each phrase of captions.

    `protocol` is as in `protocols.flickr`, `budget` as in `evaluate`.
    With one box a phrase, Recall@5 and @10 say the same. ValueError for captions without phrases with boxes.
    """
    asked = [(caption, phrase) for caption in captions.captions for phrase in caption.phrases if phrase.boxes]
    if not asked:
        raise ValueError(f"{captions.name} {captions.split} has no phrases with boxes to evaluate")
    samples = [
        Sample(str(number), caption.image, caption.said(phrase), phrase.boxes[0])
        for number, (caption, phrase) in enumerate(asked)
    ]
    began = time.perf_counter()
    found = answers(model, tokenizer, samples, batch, budget=budget)
    outcomes = list(watch(found, len(samples), f"evaluating {captions.split}"))
    milliseconds = 1000 * (time.perf_counter() - began) / len(outcomes)
    phrases = [asked[int(outcome.sample.id)][1] for outcome in outcomes]
    result = flickr.recall(
        [[outcome.box] for outcome in outcomes],
        [phrase.boxes for phrase in phrases],
        [phrase.types for phrase in phrases],
        protocol=protocol,
    )
    macs = sum(outcome.macs for outcome in outcomes) / len(outcomes)
    share = sum(outcome.share for outcome in outcomes) / len(outcomes)
    return Score(captions.name, captions.split, name, len(outcomes), result, macs, share, milliseconds)


@torch.inference_mode()
def answers(
    model: Supernet,
    tokenizer: Tokenizer,
    samples: Sequence[Sample],
    batch: int = 64,
    clip: Clip = "image",
    budget: float | None = None,
) -> Iterator[Outcome]:
    """The model's answer to each sample, in the order of the images.

    Runs the supernet masked by hard gates, which equals the extracted subnets (tests hold that) and can
    put expressions with different subnets in one batch. ValueError for a budget that is no share, or of a
    model whose words do not choose.
    """
    if budget is not None:
        check_budget(budget)
        if model.selector is None and budget < 1:
            raise ValueError("this model runs the same network for all words, so it takes no budget below 1")
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
        gates = _gates(model, text, tokens, costs, budget)
        found = model.net(seen.images, text, tokens, gates, index, seen.shown).boxes_cxcywh01.cpu()
        for row, sample in enumerate(part):
            box = pictures[sample.image].placement.boxes(found[row], clip)
            selection = Selection(()) if gates is None else Selection.from_gates(gates, row)
            length = int((~tokens.padding[row]).sum())
            yield _outcome(sample, box, costs.cost(selection, length), selection)


def _gates(
    model: Supernet, text: Tensor, tokens: Tokens, costs: CostModel, budget: float | None
) -> dict[str, Tensor] | None:
    """What the words choose, as far as the budget goes; None for a network that always runs in full."""
    if model.selector is None:
        return None
    relevance = model.selector(text, tokens)
    if budget is None:
        return hard_gates(relevance)
    budgets = torch.full((len(text),), budget, device=text.device)
    return fitted_gates(relevance, model.units(), costs, (~tokens.padding).sum(1), budgets)


def _outcome(sample: Sample, box: Tensor, cost: Cost, selection: Selection) -> Outcome:
    x1, y1, x2, y2 = box.tolist()
    overlap = float(iou(box, torch.tensor(sample.box)))
    return Outcome(sample, (x1, y1, x2, y2), overlap, cost.share, cost.macs, selection)


def _batches(samples: Sequence[Sample], size: int) -> Iterator[list[Sample]]:
    """Expressions of one image next to each other, so that each image is decoded once."""
    ordered = sorted(samples, key=lambda sample: str(sample.image))
    for first in range(0, len(ordered), size):
        yield ordered[first : first + size]
