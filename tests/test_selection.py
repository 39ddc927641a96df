"""A Selection prints, parses back, compares and is written one way."""

import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groundling.dynamic.gates import hard_gates
from groundling.selection import Selection, Unit, check

UNITS = (
    Unit("layer1.0", "layer", 1, "layer1.0"),
    Unit("layer1.0.conv2", "filters", 6, "layer1.0"),
    Unit("layer1.0.conv1", "filters", 5, "layer1.0"),
    Unit("encoder.0.attention", "attention", 1, "encoder.0"),
    Unit("encoder.0.ffn", "ffn", 1, "encoder.0"),
)


@st.composite
def selections(draw: st.DrawFn) -> Selection:
    units: list[tuple[str, tuple[bool, ...]]] = []
    for name in draw(st.sets(st.sampled_from(("layer1.0", "layer1.1", "layer4.12", "encoder.0.ffn", "x")))):
        units.append((name, (draw(st.booleans()),)))
        for conv in draw(st.sets(st.sampled_from(("conv1", "conv2")))):
            size = draw(st.integers(1, 70))
            bits = draw(st.integers(0, 2**size - 1))
            units.append((f"{name}.{conv}", tuple(bool(bits >> place & 1) for place in range(size))))
    return Selection(tuple(units))


def make(layer: int, conv2: str, conv1: str, attention: int = 1, ffn: int = 1) -> Selection:
    bits = [str(layer), conv2, conv1, str(attention), str(ffn)]
    pairs = zip(UNITS, bits, strict=True)
    return Selection(tuple((unit.name, tuple(bit == "1" for bit in row)) for unit, row in pairs))


@given(selections())
def test_prints_and_parses_back(selection: Selection) -> None:
    again = Selection.parse(str(selection))
    assert again == selection
    assert hash(again) == hash(selection)


@given(selections())
def test_canonical_is_a_fixed_point_that_computes_the_same_filters(selection: Selection) -> None:
    canonical = selection.canonical()
    assert canonical.canonical() == canonical
    assert canonical.filters_on == selection.filters_on
    assert canonical.layers_on == selection.layers_on


def test_literal_text() -> None:
    selection = make(1, "110100", "00001", 0, 1)
    assert str(selection) == (
        "layer1.0=1 layer1.0.conv2=d0:6 layer1.0.conv1=08:5 encoder.0.attention=0 encoder.0.ffn=1"
    )


@pytest.mark.parametrize(
    "text",
    [
        "layer1.0",  # no value
        "layer1.0=2",
        "=1",
        "layer1.0=",
        "layer1.0.conv2=1",  # filters without their number
        "layer1.0.conv2=ff:7",  # more bits than filters
        "layer1.0.conv2=f:8",  # fewer
        "layer1.0.conv2=d1:7",  # a filter behind the last one
        "layer1.0.conv2=g0:8",
        "layer1.0.conv2=:0",  # no filter at all
        "layer1.0.conv2=0:-1",
        "layer1.0=1 layer1.0=0",  # twice
    ],
)
def test_text_that_is_no_selection(text: str) -> None:
    with pytest.raises(ValueError, match="not a Selection at"):
        Selection.parse(text)


@pytest.mark.parametrize(
    ("given_", "canonical"),
    [
        (make(0, "110100", "00001"), make(0, "000000", "00000")),  # a layer that is off has no filters
        (make(1, "000000", "00001"), make(1, "000000", "00000")),  # nobody reads this 1×1
        (make(1, "110100", "00000"), make(1, "110100", "00000")),  # a constant comes out of these filters
        (make(1, "110100", "00001"), make(1, "110100", "00001")),
    ],
)
def test_canonical(given_: Selection, canonical: Selection) -> None:
    assert given_.canonical() == canonical


def test_counts() -> None:
    selection = make(1, "110100", "00001", 0, 1)
    assert (selection.layers, selection.layers_on) == (3, 2)
    assert (selection.filters, selection.filters_on) == (11, 4)
    assert make(0, "110100", "00001").filters_on == 0
    assert selection.on("layer9.9")  # what is no unit always runs
    assert selection.kept("layer9.9.conv2") is None
    assert "layer9.9" not in selection
    assert selection.count("layer1.0.conv2", 99) == 3
    assert selection.count("layer9.9.conv2", 99) == 99
    assert selection["layer1.0.conv1"] == (False, False, False, False, True)


def test_filters_stay_a_mask_when_given_as_numbers() -> None:
    """`kept` once handed out (1, 1, 0) as places instead of a mask: filters 1, 1 and 0."""
    kept = Selection((("layer1.0.conv2", (1, 1, 0)),)).kept("layer1.0.conv2")  # type: ignore[arg-type]
    assert kept is not None
    assert kept.dtype == torch.bool


def test_a_frozen_value() -> None:
    selection = Selection.all_on(UNITS)
    assert selection.on("layer1.0")  # fills the cache, which is no part of the value
    assert selection == Selection.all_on(UNITS)
    assert {selection: 1}[Selection.all_on(UNITS)] == 1
    assert selection != Selection.all_off(UNITS)
    assert pickle.loads(pickle.dumps(selection)) == selection
    with pytest.raises(AttributeError):
        selection.units = ()  # type: ignore[misc]


def test_from_gates_and_back() -> None:
    relevance = {unit.name: torch.randn(3, unit.size) for unit in UNITS}
    relevance["encoder.0.ffn"][1] = 0.0  # r ≥ 0 is on
    for row in range(3):
        selection = Selection.from_gates(hard_gates(relevance), row)
        assert check(selection, UNITS) is selection
        for name, gate in selection.gates().items():
            assert torch.equal(gate[0] == 1, relevance[name][row] >= 0)
    assert Selection.from_gates(hard_gates(relevance), 1).on("encoder.0.ffn")


@pytest.mark.parametrize("other", [UNITS[1:], UNITS[:-1], UNITS[::-1], (*UNITS[:1], *UNITS[2:]), ()])
def test_selection_of_another_supernet(other: tuple[Unit, ...]) -> None:
    with pytest.raises(ValueError, match="another network"):
        check(Selection.all_on(other), UNITS)
    with pytest.raises(ValueError, match="another network"):
        check(Selection((("layer1.0", (True, True)), *Selection.all_on(UNITS[1:]).units)), UNITS)
