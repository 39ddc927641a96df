"""What the selector decides for each expression of a dataset; images are not opened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from groundling.analyze.table import GateTable, Part, part_of
from groundling.analyze.words import Listening, WordScore, score
from groundling.data.sample import Sample
from groundling.dynamic.gates import LanguageGates, hard_gates
from groundling.models.supernet import Supernet
from groundling.words.wordpiece import Tokenizer

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Decisions:
    """For E expressions: their gates, their share of the supernet's MACs (E,), and their words' scores.

    `groups` are the P + M layers that pool words for themselves.
    """

    samples: tuple[Sample, ...]
    gates: GateTable
    shares: NDArray[np.float64]
    words: tuple[WordScore, ...]
    groups: tuple[str, ...]


@torch.inference_mode()
def decide(
    model: Supernet,
    tokenizer: Tokenizer,
    samples: Sequence[Sample],
    progress: Progress | None = None,
    batch: int = 256,
) -> Decisions:
    """Run text encoder and selector over the expressions; ValueError for a model without a selector."""
    selector = model.selector
    if selector is None:
        raise ValueError(
            "this model runs the same network for all words, so there is nothing to draw; give one whose "
            "words choose, such as lads_street"
        )
    if not samples:
        raise ValueError("the dataset has no expressions to analyse")
    model.eval()
    device = next(model.parameters()).device
    listening, tables, shares = Listening(len(selector.groups)), [], []
    for first in range(0, len(samples), batch):
        expressions = [sample.expression for sample in samples[first : first + batch]]
        tokens = tokenizer.encode(expressions).to(device)
        text = model.text(tokens)
        table = GateTable.of_gates(selector.units, [hard_gates(selector(text, tokens))])
        lengths = (~tokens.padding).sum(dim=1).tolist()
        for row, attention in enumerate(selector.attend(text, tokens).double().cpu().numpy()):
            listening.hear(tokenizer.pieces(expressions[row]), attention, tokenizer.limit)
            shares.append(model.cost_model.cost(table.selection(row), lengths[row]).share)
        tables.append(table.bits)
        if progress is not None:
            progress(first + len(expressions), len(samples))
    gates = GateTable(selector.units, np.vstack(tables))
    words = score(listening.means(), parts_of(selector))
    return Decisions(tuple(samples), gates, np.array(shares), words, selector.groups)


def parts_of(selector: LanguageGates) -> tuple[Part, ...]:
    """Whose each layer that pools words is."""
    return tuple(part_of(selector.heads_of[group][0]) for group in selector.groups)
