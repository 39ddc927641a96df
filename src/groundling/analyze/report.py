"""What an analysis found, as a value and as tables."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from groundling.analyze.decisions import Decisions
from groundling.analyze.projection import SelectionMap
from groundling.analyze.spread import Range, Spread, by_category, measure, range_of, rate
from groundling.analyze.table import PARTS, part_of
from groundling.analyze.words import WordScore, cloud

Table = Iterable[Sequence[object]]
TOP_WORDS = 30


@dataclass(frozen=True)
class Report:
    """Figures of an analysis.

    `layers` and `layers_on` are by part, `rates` by layer and sublayer, `categories` (expressions, mean share
    of MACs) by category; `words` are the ones that lean to a part most.
    """

    dataset: str
    split: str
    spread: Spread
    layers: tuple[tuple[str, int], ...]
    layers_on: tuple[tuple[str, Range], ...]
    rates: tuple[tuple[str, float], ...]
    categories: tuple[tuple[str, tuple[int, float]], ...]
    words: tuple[tuple[str, tuple[str, ...]], ...]
    files: tuple[Path, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """What `summary.json` holds."""
        categories = {name: {"expressions": n, "macs_share": share} for name, (n, share) in self.categories}
        on = {part: asdict(found) for part, found in self.layers_on}
        fields: dict[str, object] = {"dataset": self.dataset, "split": self.split, **asdict(self.spread)}
        fields |= {"layers": dict(self.layers), "layers_on": on, "rates": dict(self.rates)}
        fields |= {"categories": categories, "words": {part: list(words) for part, words in self.words}}
        rounded = _rounded(fields | {"files": [file.name for file in self.files]})
        assert isinstance(rounded, dict)
        return rounded


def summarise(name: str, split: str, decisions: Decisions, at_least: int) -> Report:
    """The figures of some decisions."""
    gates = decisions.gates
    parts = [part for part in PARTS if gates.layers_of(part)]
    categories = by_category([sample.category for sample in decisions.samples], decisions.shares)
    return Report(
        dataset=name,
        split=split,
        spread=measure(gates, decisions.shares),
        layers=tuple((part, gates.layers_of(part)) for part in parts),
        layers_on=tuple((part, range_of(gates.layers_on(part))) for part in parts),
        rates=tuple((unit.name, float(rate(gates[unit.name])[0])) for unit in gates.layers),
        categories=tuple(categories.items()),
        words=tuple(
            (part, tuple(word.text for word in cloud(decisions.words, part, at_least, TOP_WORDS)))
            for part in PARTS
        ),
    )


def tables(decisions: Decisions, found: SelectionMap, examples: Sequence[int]) -> dict[str, bytes]:
    """Every number behind the pictures, as CSV by file name."""
    return {
        "expressions.csv": _csv(_expressions(decisions)),
        "layers.csv": _csv(_layers(decisions)),
        "layer_counts.csv": _csv(_layer_counts(decisions)),
        "filters.csv": _csv(_filters(decisions)),
        "filter_counts.csv": _csv(_filter_counts(decisions)),
        "categories.csv": _csv(_categories(decisions)),
        "map.csv": _csv(_map(decisions, found)),
        "subnets.csv": _csv(_subnets(decisions, examples)),
        "words.csv": _csv(_words(decisions.words, decisions.groups)),
    }


def _expressions(decisions: Decisions) -> Table:
    gates = decisions.gates
    yield "id", "expression", "category", "macs_share", "backbone", "fusion", "filters", "subnet"
    layers = [gates.layers_on(part) for part in PARTS]
    counts = np.stack([*layers, gates.computed.filters_on, gates.computed.distinct[1]], axis=1)
    for sample, share, row in zip(decisions.samples, decisions.shares, counts.tolist(), strict=True):
        yield sample.id, sample.expression, sample.category or "", share, *row


def _layers(decisions: Decisions) -> Table:
    yield "unit", "kind", "part", "rate"
    for unit in decisions.gates.layers:
        yield unit.name, unit.kind, part_of(unit), float(rate(decisions.gates[unit.name])[0])


def _layer_counts(decisions: Decisions) -> Table:
    yield "part", "layers_on", "expressions"
    for part in PARTS:
        of = decisions.gates.layers_of(part)
        for number, count in enumerate(
            np.bincount(decisions.gates.layers_on(part), minlength=of + 1).tolist()
        ):
            if of:
                yield part, number, count


def _filters(decisions: Decisions) -> Table:
    yield "convolution", "filter", "rate", "rate_computed"
    for unit in decisions.gates.filters:
        rates = rate(decisions.gates[unit.name]), rate(decisions.gates.computed[unit.name])
        for number, (gate, computed) in enumerate(zip(*(found.tolist() for found in rates), strict=True)):
            yield unit.name, number, gate, computed


def _filter_counts(decisions: Decisions) -> Table:
    yield "convolution", "filters_on", "expressions", "expressions_computed"
    for unit in decisions.gates.filters:
        both = [
            np.bincount(table[unit.name].sum(axis=1), minlength=unit.size + 1).tolist()
            for table in (decisions.gates, decisions.gates.computed)
        ]
        for number, (gate, computed) in enumerate(zip(*both, strict=True)):
            if gate or computed:
                yield unit.name, number, gate, computed


def _categories(decisions: Decisions) -> Table:
    yield "category", "expressions", "macs_share"
    found = by_category([sample.category for sample in decisions.samples], decisions.shares)
    for name, (count, share) in found.items():
        yield name, count, share


def _map(decisions: Decisions, found: SelectionMap) -> Table:
    yield "x", "y", "expressions", "example", "category", "macs_share"
    for (x, y), rows in zip(found.points.tolist(), found.rows, strict=True):
        sample = decisions.samples[rows[0]]
        yield (
            x,
            y,
            len(rows),
            sample.expression,
            sample.category or "",
            float(decisions.shares[list(rows)].mean()),
        )


def _subnets(decisions: Decisions, examples: Sequence[int]) -> Table:
    yield "expression", "macs_share", "selection"
    for row in examples:
        yield decisions.samples[row].expression, decisions.shares[row], str(decisions.gates.selection(row))


def _words(words: Sequence[WordScore], groups: Sequence[str]) -> Table:
    yield "word", "kind", "count", "backbone", "fusion", "lean", *groups
    for word in words:
        yield word.text, word.kind, word.count, word.backbone, word.fusion, word.lean, *word.attention


def _csv(rows: Table) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_rounded(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def _rounded(value: object) -> object:
    """Numbers with six digits, wherever they are."""
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
