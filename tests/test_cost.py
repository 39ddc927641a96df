"""Counted MACs are those torch counts; expected MACs are the mean over gates."""

import math
from collections.abc import Mapping

import pytest
import torch
from conftest import SHAPES, lads, random_selection, random_tokens
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from groundling.dynamic.extract import extract
from groundling.models import LADS, PRESETS, build
from groundling.models.lads import Lads
from groundling.results import Cost
from groundling.selection import Selection


def counted(model: Lads, selection: Selection, tokens: int) -> float:
    """MACs of one request as torch's own counter sees it: words, selector, subnet.

    Attention runs as plain products: the counter does not know the fused kernel of CPUs, and counts none.
    """
    words = random_tokens(1, tokens, model.config.text.vocabulary, padded=False)
    subnet = extract(model, selection)
    size = model.config.image_size
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        text = model.text(words)
        if model.selector is not None:
            model.selector(text, words)
        subnet(torch.rand(1, 3, size, size), text, words)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("preset", LADS)
def test_cost_of_presets_is_what_torch_counts(preset: str) -> None:
    model = build(PRESETS[preset]).eval()
    generator = torch.Generator().manual_seed(0)
    rounds = 1 if "static" in preset else 2 if "r50" in preset else 4
    for tokens in range(5, 5 + rounds):
        selection = random_selection(model.units(), generator)
        cost = model.cost_model.cost(selection, tokens)
        assert cost.macs == pytest.approx(counted(model, selection, tokens), rel=0.01)
        assert 0 < cost.share <= 1
    everything = model.cost_model.cost(Selection.all_on(model.units()), 7)
    assert everything.share == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_cost_of_every_shape_is_what_torch_counts(shape: str) -> None:
    model, generator = lads(shape), torch.Generator().manual_seed(1)
    cases = [random_selection(model.units(), generator) for _ in range(5)]
    cases += [Selection.all_on(model.units()), Selection.all_off(model.units())]
    # layers that are on without a filter, and filters of layers that are off
    cases.append(Selection(tuple((u.name, (u.size == 1,) * u.size) for u in model.units())))
    cases.append(Selection(tuple((u.name, (u.size > 1,) * u.size) for u in model.units())))
    for selection in cases:
        assert model.cost_model.cost(selection, 6).macs == pytest.approx(
            counted(model, selection, 6), rel=1e-6
        )


def test_counting_with_and_without_gradient_agrees() -> None:
    """torch's encoder fast path hides seven eighths of the MACs under `no_grad`; ours has none."""
    model = lads("all")
    words = random_tokens(1, 6, 50, padded=False)
    totals = set()
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with FlopCounterMode(display=False) as counter, mode(), sdpa_kernel(SDPBackend.MATH):
            model(torch.rand(1, 3, 32, 32), words)
        totals.add(counter.get_total_flops())
    assert len(totals) == 1


def test_a_block_by_hand() -> None:
    """Bottleneck 48 → 16 → 16 → 64, stride 2, 8×8 in: 48·16·64 + 9·16·16·16 + 16·64·16, shortcut 48·64·16."""
    model = build(SHAPES["all"].model_copy(update={"stem_width": 48, "blocks": (1, 1)}))
    units = {unit.name: (False,) * unit.size for unit in model.units()}
    off = model.cost_model.count(Selection(tuple(units.items())), 4)
    units |= {"layer2.0": (True,), "layer2.0.conv2": (True,) * 3 + (False,) * 13}
    on = model.cost_model.count(Selection(tuple(units.items())), 4)
    assert (off["stem"], off["layer1"], off["layer2"]) == (48 * 3 * 49 * 256, 48 * 32 * 64, 32 * 64 * 16)
    # layer2.0 reads 32 channels at 8×8 and keeps 3 of its 16 filters
    assert on["layer2"] - off["layer2"] == 32 * 16 * 64 + 9 * 16 * 3 * 16 + 3 * 64 * 16
    assert on | {"layer2": 0} == off | {"layer2": 0}


def test_a_basic_block_by_hand() -> None:
    """Basic 8 → 16 → 16, stride 2, 8×8 in: 9·8·16·16 + 9·16·16·16, shortcut 8·16·16."""
    model = build(SHAPES["basic"].model_copy(update={"blocks": (1, 1)}))
    units = {unit.name: (False,) * unit.size for unit in model.units()}
    off = model.cost_model.count(Selection(tuple(units.items())), 4)
    on = model.cost_model.count(Selection(tuple({**units, "layer2.0": (True,)}.items())), 4)
    assert off["layer2"] == 8 * 16 * 16
    assert on["layer2"] - off["layer2"] == 9 * 8 * 16 * 16 + 9 * 16 * 16 * 16


def test_more_units_never_cost_less() -> None:
    model, generator = lads("inner"), torch.Generator().manual_seed(2)
    for _ in range(50):
        some, more = (random_selection(model.units(), generator) for _ in range(2))
        both = Selection(
            tuple((n, tuple(a or b for a, b in zip(bits, more[n], strict=True))) for n, bits in some.units)
        )
        assert model.cost_model.cost(both, 5).macs >= model.cost_model.cost(some, 5).macs


def test_a_subnet_written_two_ways_costs_the_same() -> None:
    model, generator = lads("inner"), torch.Generator().manual_seed(3)
    for _ in range(50):
        selection = random_selection(model.units(), generator)
        assert model.cost_model.cost(selection, 5) == model.cost_model.cost(selection.canonical(), 5)


# --- expected cost ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_expected_share_of_hard_gates_is_exact(shape: str) -> None:
    """A layer that is on without any filter was expected to cost its 1×1 convolutions, which never run."""
    model, generator = lads(shape), torch.Generator().manual_seed(4)
    cases = [random_selection(model.units(), generator) for _ in range(20)]
    cases += [Selection.all_on(model.units()), Selection.all_off(model.units())]
    cases.append(Selection(tuple((u.name, (u.size == 1,) * u.size) for u in model.units())))
    for selection in cases:
        expected = model.cost_model.expected_share(selection.gates(), 6)
        exact = model.cost_model.cost(selection, 6).share
        assert float(expected) == pytest.approx(exact, rel=1e-5)


def test_expected_share_of_expressions_of_several_lengths() -> None:
    model, generator = lads("inner"), torch.Generator().manual_seed(7)
    chances, lengths = probabilities(model, 3, generator), (4, 9, 6)
    together = model.cost_model.expected_share(chances, torch.tensor(lengths))
    for row, tokens in enumerate(lengths):
        alone = {name: p[row : row + 1] for name, p in chances.items()}
        torch.testing.assert_close(together[row : row + 1], model.cost_model.expected_share(alone, tokens))


def probabilities(model: Lads, rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {u.name: torch.rand(rows, u.size, generator=generator, dtype=torch.float64) for u in model.units()}


@pytest.mark.parametrize("shape", ["inner", "released"])
def test_expected_share_is_the_mean_over_independent_gates(shape: str) -> None:
    model, generator, rows = lads(shape), torch.Generator().manual_seed(5), 20_000
    chances = probabilities(model, 1, generator)
    chances = {name: p * 0.3 if p.shape[1] > 1 else p for name, p in chances.items()}  # none on: often
    tossed = {
        name: (torch.rand(rows, p.shape[1], generator=generator) < p).double() for name, p in chances.items()
    }
    shares = model.cost_model.expected_share(tossed, 6)
    error = 4 * float(shares.std()) / math.sqrt(rows)
    assert float(model.cost_model.expected_share(chances, 6)) == pytest.approx(
        float(shares.mean()), abs=error
    )


def test_expected_share_is_linear_in_each_gate() -> None:
    model, generator = lads("inner"), torch.Generator().manual_seed(6)
    chances = probabilities(model, 3, generator)

    def share(changed: Mapping[str, Tensor]) -> Tensor:
        return model.cost_model.expected_share({**chances, **changed}, 6)

    for unit in model.units():
        column = int(torch.randint(unit.size, (), generator=generator))

        def with_gate(value: float, name: str = unit.name, column: int = column) -> dict[str, Tensor]:
            gate = chances[name].clone()
            gate[:, column] = value
            return {name: gate}

        off, on = share(with_gate(0.0)), share(with_gate(1.0))
        torch.testing.assert_close(share(with_gate(0.25)), 0.75 * off + 0.25 * on)
        assert (on >= off).all()


def test_expected_share_has_a_gradient_at_closed_and_open_gates() -> None:
    model = lads("inner")
    for value in (0.0, 0.5, 1.0):
        gates = {u.name: torch.full((2, u.size), value, requires_grad=True) for u in model.units()}
        model.cost_model.expected_share(gates, 6).sum().backward()
        assert all(gate.grad is not None and gate.grad.isfinite().all() for gate in gates.values())


def test_a_cost_that_cannot_be() -> None:
    assert Cost({"stem": 3, "head": 1}, 8).share == 0.5
    for parts, full in (({"stem": -1, "head": 2}, 8), ({"stem": 9}, 8), ({}, 8)):
        with pytest.raises(ValueError, match="must lie between 1 MAC and"):
            Cost(parts, full)
    with pytest.raises(ValueError, match="0 or more, given -1"):
        Cost({"stem": 3}, 8, -1)
    with pytest.raises(TypeError):
        Cost({"stem": 3}, 8).parts["stem"] = 4  # type: ignore[index]
