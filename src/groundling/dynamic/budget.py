"""A budget: the most relevant units whose MACs fit a share of the supernet's."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from torch import Tensor

from groundling.dynamic.cost import CostModel
from groundling.selection import Selection, Unit, is_filters, layer_of


class BudgetError(ValueError):
    """A budget that not even the subnet with everything left out keeps to."""


def fit(
    relevance: Mapping[str, Tensor], units: Sequence[Unit], cost_model: CostModel, tokens: int, budget: float
) -> Selection:
    """What the selector wants, as far as it costs no more than `budget` × the supernet's MACs.

    `relevance` holds (size,) scores r of one expression of `tokens` tokens; only what has r ≥ 0 may run.
    Units come in the order of their relevance, a filter never before its layer (until the layer is on, it
    would cost nothing and do nothing), and the longest beginning of that list that fits is the answer.
    So each answer contains those of all smaller budgets, and MACs never fall as the budget grows; what fits
    already comes back as the selector wants it. ValueError for a budget outside (0, 1], BudgetError for one
    that is out of reach.
    """
    if not 0 < budget <= 1:
        raise ValueError(f"a budget is a share of the supernet's MACs in (0, 1], given {budget}")
    ranks, wanted = _ranks(_scores(relevance, units), units)

    def beginning(count: int) -> Selection:
        return Selection(tuple((name, tuple(rank < count for rank in ranks[name])) for name in ranks))

    def macs(count: int) -> int:
        return sum(cost_model.count(beginning(count), tokens).values())

    full = cost_model.cost(Selection.all_on(units), tokens).full
    fitting = bisect_right(range(wanted + 1), budget * full, key=macs)
    if not fitting:
        raise BudgetError(
            f"a budget of {budget:g} is out of reach: the least possible share of the supernet's MACs "
            f"for these words is {macs(0) / full:.4f}"
        )
    return beginning(fitting - 1).canonical()


def _scores(relevance: Mapping[str, Tensor], units: Sequence[Unit]) -> dict[str, list[float]]:
    """The scores of every unit, in network order; ValueError where they do not fit."""
    if relevance.keys() != {unit.name for unit in units}:
        odd = sorted(relevance.keys() ^ {unit.name for unit in units})[0]
        raise ValueError(f"relevance does not fit these units: {odd!r} is in only one of them")
    for unit in units:
        scores = relevance[unit.name]
        if scores.shape != (unit.size,) or bool(scores.isnan().any()):
            raise ValueError(f"relevance of {unit.name} should be ({unit.size},) numbers, given {scores}")
    return {unit.name: relevance[unit.name].tolist() for unit in units}


def _ranks(scores: Mapping[str, list[float]], units: Sequence[Unit]) -> tuple[dict[str, list[int]], int]:
    """Each filter's or layer's place in the order of relevance, and how many are wanted; the rest is behind.

    A filter counts as no more relevant than its layer, so that it comes after it.
    """
    wanted = []
    for unit in units:
        layer = scores.get(layer_of(unit.name), [float("inf")])[0] if is_filters(unit.name) else float("inf")
        for index, score in enumerate(scores[unit.name]):
            if min(score, layer) >= 0:
                wanted.append((-min(score, layer), is_filters(unit.name), -score, unit.name, index))
    ranks = {unit.name: [len(wanted)] * unit.size for unit in units}
    for rank, (_, _, _, name, index) in enumerate(sorted(wanted)):
        ranks[name][index] = rank
    return ranks, len(wanted)
