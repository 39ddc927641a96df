"""A budget keeps the most relevant of what the selector wants, and more budget never runs less."""

import math

import pytest
import torch
from conftest import SHAPES, lads, late
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from groundling.dynamic.budget import BudgetError, fit, fitted_gates
from groundling.dynamic.gates import hard_gates
from groundling.models.lads import Lads
from groundling.selection import Selection, is_filters, layer_of

MODELS = {shape: lads(shape) for shape in ("inner", "released")}


def relevance(model: Lads, seed: int, bias: float = 0.3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {u.name: bias + torch.randn(u.size, generator=generator) for u in model.units()}


def wanted(scores: dict[str, Tensor]) -> Selection:
    return Selection.from_gates(hard_gates({name: row[None] for name, row in scores.items()}))


def fitted(model: Lads, scores: dict[str, Tensor], budget: float) -> Selection | None:
    """None where the budget is out of reach."""
    try:
        return fit(scores, model.units(), model.cost_model, 6, budget)
    except BudgetError:
        return None


def contains(more: Selection, less: Selection) -> bool:
    pairs = ((more[name], bits) for name, bits in less.units)
    return all(a >= b for larger, smaller in pairs for a, b in zip(larger, smaller, strict=True))


@given(
    shape=st.sampled_from(sorted(MODELS)),
    seed=st.integers(0, 10_000),
    bias=st.sampled_from((-0.5, 0.0, 0.5, 3.0)),
    budgets=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=5),
)
def test_properties(shape: str, seed: int, bias: float, budgets: list[float]) -> None:
    model = MODELS[shape]
    scores, before = relevance(model, seed, bias), None
    for budget in sorted(budgets):
        selection = fitted(model, scores, budget)
        if selection is None:
            assert before is None  # more budget is never out of reach where less is not
            continue
        assert contains(wanted(scores), selection)  # only what the selector wants
        cost = model.cost_model.cost(selection, 6)
        assert cost.share <= budget
        assert selection == selection.canonical()
        if before is not None:
            assert contains(selection, before)  # so it costs no less
            assert cost.macs >= model.cost_model.cost(before, 6).macs
        before = selection


@given(seed=st.integers(0, 10_000), budget=st.floats(0.1, 1.0))
def test_nothing_more_relevant_is_left_out(seed: int, budget: float) -> None:
    """Each layer that runs is at least as relevant as each wanted layer that does not, and so are filters."""
    model = MODELS["inner"]
    scores = relevance(model, seed)
    selection = fitted(model, scores, budget)
    if selection is None:
        return
    layers = [u.name for u in model.units() if not is_filters(u.name)]
    least = min((float(scores[n]) for n in layers if selection.on(n)), default=math.inf)
    assert all(float(scores[n]) <= least for n in layers if not selection.on(n) and float(scores[n]) >= 0)
    for unit in model.units():
        if is_filters(unit.name) and selection.on(layer_of(unit.name)) and any(selection[unit.name]):
            kept = torch.tensor(selection[unit.name])
            left_out = scores[unit.name][~kept & (scores[unit.name] >= 0)]
            assert (left_out <= scores[unit.name][kept].min()).all()
            assert kept.sum() >= left_out.numel()  # at least half of what is wanted


@pytest.mark.parametrize("shape", MODELS)
def test_what_fits_is_what_the_selector_wants(shape: str) -> None:
    model = MODELS[shape]
    for seed in range(5):
        scores = relevance(model, seed)
        assert fit(scores, model.units(), model.cost_model, 6, 1.0) == wanted(scores).canonical()
        needs = model.cost_model.cost(wanted(scores), 6).share
        assert fit(scores, model.units(), model.cost_model, 6, needs) == wanted(scores).canonical()


def test_everything_fits_a_whole_budget() -> None:
    """The selector's own MACs are in the supernet's, or a budget of 1 would leave a filter out."""
    model = MODELS["inner"]
    scores = {u.name: torch.zeros(u.size) for u in model.units()}  # r ≥ 0 is on
    everything = Selection.all_on(model.units())
    assert fit(scores, model.units(), model.cost_model, 6, 1.0) == everything


def test_steps_are_fine() -> None:
    """Budgets do not only switch whole layers."""
    model, scores = MODELS["inner"], relevance(MODELS["inner"], 1, bias=2.0)
    found = [fitted(model, scores, percent / 200) for percent in range(60, 200)]
    assert len({str(selection) for selection in found}) > 25


def test_order_by_hand() -> None:
    """A layer brings half of the filters that are wanted of it; those it did not bring follow one by one."""
    model = MODELS["released"]
    scores = {u.name: torch.full((u.size,), -1.0) for u in model.units()}
    scores["layer1.0"] = torch.tensor([0.5])
    scores["layer1.0.conv2"] = torch.tensor([9.0, -1.0, 7.0, 0.7, 0.2, 8.0, -2.0, 0.3])
    scores["encoder.0.ffn"] = torch.tensor([0.6])
    everything = [(), (0, 2, 5), (0, 2, 3, 5), (0, 2, 3, 5, 7), (0, 2, 3, 4, 5, 7)]  # most relevant first
    for filters in everything:
        bits = {u.name: (False,) * u.size for u in model.units()} | {"encoder.0.ffn": (True,)}
        bits["layer1.0"] = (bool(filters),)
        bits["layer1.0.conv2"] = tuple(index in filters for index in range(8))
        step = Selection(tuple(bits.items()))
        share = model.cost_model.cost(step, 6).share
        assert fit(scores, model.units(), model.cost_model, 6, share) == step
        assert fit(scores, model.units(), model.cost_model, 6, share + 1e-6) == step  # nothing for free
        assert fitted(model, scores, share - 1e-6) != step


@pytest.mark.parametrize("budget", [0.0, -0.5, 1.0001, math.nan, math.inf])
def test_budget_that_is_none(budget: float) -> None:
    model = MODELS["inner"]
    with pytest.raises(ValueError, match=r"above 0 and up to 1"):
        fit(relevance(model, 0), model.units(), model.cost_model, 6, budget)


def test_budget_out_of_reach_names_the_least_share() -> None:
    model = MODELS["inner"]
    least = model.cost_model.cost(Selection.all_off(model.units()), 6).share
    with pytest.raises(BudgetError, match=rf"0\.001 cannot be met.*{least:.4f}"):
        fit(relevance(model, 0), model.units(), model.cost_model, 6, 0.001)
    assert fitted(model, relevance(model, 0), least) == Selection.all_off(model.units())


def test_static_network_has_one_size() -> None:
    model = Lads(SHAPES["paper"].model_copy(update={"gating": None}))
    assert fit({}, (), model.cost_model, 6, 1.0) == Selection(())
    with pytest.raises(BudgetError, match=r"1\.0000"):
        fit({}, (), model.cost_model, 6, 0.9)


def test_relevance_of_another_supernet() -> None:
    model = MODELS["inner"]
    good = relevance(model, 0)
    for scores, problem in (
        ({k: v for k, v in good.items() if k != "layer1.0"}, "'layer1.0'"),
        (good | {"layer9.9": torch.zeros(1)}, "'layer9.9'"),
        (good | {"layer1.0.conv2": torch.zeros(3)}, r"layer1.0.conv2 should be \(8,\)"),
        (good | {"layer1.0": torch.tensor([math.nan])}, "layer1.0 should be"),
    ):
        with pytest.raises(ValueError, match=problem):
            fit(scores, model.units(), model.cost_model, 6, 0.5)


def test_gates_of_many_expressions_are_what_fit_chooses() -> None:
    """Each with a budget of its own; half of the scores are negative, and two blocks have no shortcut."""
    model, generator = late(5), torch.Generator().manual_seed(5)
    units, costs, tokens = model.units(), model.cost_model, torch.tensor([4, 9, 5, 6])
    relevance = {u.name: torch.randn(4, u.size, generator=generator) + 0.5 for u in units}
    for name in relevance:
        if relevance[name].shape[1] == 1:
            relevance[name] += 0.5
    budgets = torch.tensor([1.0, 0.75, 0.7, 0.65])
    gates = fitted_gates(relevance, units, costs, tokens, budgets)
    for row, budget in enumerate(budgets.tolist()):
        scores = {name: r[row] for name, r in relevance.items()}
        chosen = fit(scores, units, costs, int(tokens[row]), budget)
        ours = Selection.from_gates(gates, row).canonical()
        share = costs.cost(ours, int(tokens[row])).share
        assert share <= budget
        expected = costs.cost(chosen, int(tokens[row])).share
        assert expected - 0.02 <= share <= expected + 1e-6
        both = [
            a == b
            for (_, x), (_, y) in zip(ours.units, chosen.units, strict=True)
            for a, b in zip(x, y, strict=True)
        ]
        assert sum(both) / len(both) > 0.97
