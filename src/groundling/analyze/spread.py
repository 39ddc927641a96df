"""How different the subnets of different expressions are, in numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundling.analyze.table import Bits, Counts, GateTable

UNNAMED = "(none)"  # the category of samples that have none


@dataclass(frozen=True)
class Range:
    """Mean, least and most of a number over expressions."""

    mean: float
    least: float
    most: float


@dataclass(frozen=True)
class Dead:
    """Shares of the filters that no expression selects, and that every expression selects."""

    never: float
    always: float


@dataclass(frozen=True)
class Spread:
    """`gates` is about the selector's bits; `computed` about what runs: filters of layers that are on.

    `selections` are distinct rows of gates, `subnets` distinct networks. `hamming` is the mean number of
    gates in which two expressions differ, over all pairs; 0 where there is no pair.
    """

    expressions: int
    selections: int
    subnets: int
    gates: int
    hamming: float
    hamming_computed: float
    filters: Dead
    filters_computed: Dead
    macs_share: Range


def measure(table: GateTable, shares: NDArray[np.float64]) -> Spread:
    """The spread of a table of gates and the shares of the supernet's MACs (E,) that go with it."""
    return Spread(
        expressions=len(table),
        selections=len(table.distinct[0]),
        subnets=len(table.computed.distinct[0]),
        gates=table.bits.shape[1],
        hamming=hamming(table.bits),
        hamming_computed=hamming(table.computed.bits),
        filters=dead(table),
        filters_computed=dead(table.computed),
        macs_share=range_of(shares),
    )


def hamming(bits: Bits) -> float:
    """Mean number of columns in which two rows differ: of each column, on·off of the E·(E−1)/2 pairs do."""
    rows = len(bits)
    if rows < 2:
        return 0.0
    on = bits.sum(axis=0, dtype=np.float64)
    return float((on * (rows - on)).sum() / (rows * (rows - 1) / 2))


def dead(table: GateTable) -> Dead:
    """Never and always selected filters; none of either where no filters are gated."""
    if not table.filters:
        return Dead(0.0, 0.0)
    rates = np.concatenate([rate(table[unit.name]) for unit in table.filters])
    return Dead(float((rates == 0).mean()), float((rates == 1).mean()))


def rate(bits: Bits) -> NDArray[np.float64]:
    """Share of the expressions that select each column."""
    rates: NDArray[np.float64] = bits.mean(axis=0, dtype=np.float64)
    return rates


def range_of(values: NDArray[np.float64] | Counts) -> Range:
    """Mean, least and most."""
    return Range(float(values.mean()), float(values.min()), float(values.max()))


def by_category(
    categories: Sequence[str | None], shares: NDArray[np.float64]
) -> Mapping[str, tuple[int, float]]:
    """Number of expressions and their mean share of MACs by category, most expressions first."""
    names = np.array([name or UNNAMED for name in categories], dtype=object)
    found = {}
    for name in dict.fromkeys(names):
        chosen = shares[names == name]
        found[str(name)] = len(chosen), float(chosen.mean())
    return dict(sorted(found.items(), key=lambda item: (-item[1][0], item[0])))
