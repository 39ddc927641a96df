"""Fused products equal those that are not, and step back where they must."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from groundling.layers import fused
from groundling.layers.fused import Linear, conv_relu, pack, packed

needs_onednn = pytest.mark.skipif(fused._FOUND is None, reason="this torch has no fused convolution")


def conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, dtype: torch.dtype = torch.float32
) -> nn.Conv2d:
    """A convolution with random weights that wants no gradient."""
    made = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, dtype=dtype)
    return made.to(memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload]


@contextmanager
def counted() -> Iterator[list[int]]:
    """How often a fused operator ran."""
    calls: list[int] = []
    found = fused._FOUND
    assert found is not None
    watched = tuple(lambda *a, run=run: (calls.append(1), run(*a))[1] for run in found)
    fused._FOUND = watched  # type: ignore[assignment]
    try:
        yield calls
    finally:
        fused._FOUND = found


@needs_onednn
@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 19), st.integers(1, 19), st.sampled_from((1, 3, 7)), st.integers(1, 2), st.integers(1, 9),
    st.integers(1, 3), st.booleans(),
)  # fmt: skip
def test_a_fused_convolution_is_convolution_sum_and_relu(
    inputs: int, outputs: int, kernel: int, stride: int, side: int, batch: int, adds: bool
) -> None:
    layer, x = conv(inputs, outputs, kernel, stride), torch.randn(batch, inputs, side, side)
    plain = layer(x)
    other = torch.randn_like(plain) if adds else None
    kept = None if other is None else other.clone()
    with counted() as calls:
        found = conv_relu(x, layer, other)
    assert len(calls) == ((kernel, stride) != (1, 1))  # a small 1×1 is a linear map
    assert_close(found, F.relu(plain if other is None else plain + other), atol=1e-5, rtol=1e-5)
    assert other is None or torch.equal(other, kept)  # a shortcut belongs to others too


def test_gradients_flow_where_they_are_wanted() -> None:
    layer, x = conv(3, 4, 3), torch.randn(1, 3, 5, 5, requires_grad=True)
    conv_relu(x, layer).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


@needs_onednn
def test_where_it_steps_back() -> None:
    layer, x = conv(3, 4, 3), torch.randn(1, 3, 5, 5)
    double = conv(3, 4, 3, dtype=torch.float64)
    expected = F.relu(layer(x))
    with counted() as calls:
        with torch.backends.mkldnn.flags(enabled=False):
            assert_close(conv_relu(x, layer), expected)
        with torch.autocast("cpu", torch.bfloat16):
            assert conv_relu(x, layer).dtype == torch.bfloat16
        assert conv_relu(x.double(), double).dtype == torch.float64
        with FlopCounterMode(display=False) as counter:
            conv_relu(x, layer)
    assert counter.get_total_flops() == 2 * 5 * 5 * 9 * 3 * 4
    assert calls == []


def test_without_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x, other = conv(3, 4, 3), torch.randn(1, 3, 5, 5), torch.randn(1, 4, 5, 5)
    monkeypatch.setattr(fused, "_FOUND", None)
    assert_close(conv_relu(x, layer, other), F.relu(layer(x) + other))


# --- linear maps -----------------------------------------------------------------------------------

needs_linear = pytest.mark.skipif(fused._FOUND_LINEAR is None, reason="this torch has no fused linear map")


@contextmanager
def linear_calls() -> Iterator[list[Tensor]]:
    """The weights that oneDNN's linear map was given."""
    weights: list[Tensor] = []
    found = fused._FOUND_LINEAR
    assert found is not None
    run, reorder = found
    fused._FOUND_LINEAR = (lambda *a: (weights.append(a[1]), run(*a))[1], reorder)
    try:
        yield weights
    finally:
        fused._FOUND_LINEAR = found


@needs_linear
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(464, 96, 192), (65, 257, 515), (9, 1024, 900)])
def test_a_fused_linear_map_is_torchs(rows: int, inputs: int, outputs: int, relu: bool) -> None:
    layer, x = Linear(inputs, outputs).requires_grad_(False), torch.randn(1, rows, inputs)
    expected = F.linear(x, layer.weight, layer.bias)
    expected = F.relu(expected) if relu else expected
    twin = packed(layer)
    with linear_calls() as weights:
        assert_close(layer(x, relu=relu), expected, atol=1e-4, rtol=1e-5)
        assert_close(twin(x, relu=relu), expected, atol=1e-4, rtol=1e-5)
    assert weights[-1] is twin.packed[0]
    assert twin.weight is layer.weight
    assert layer.packed == ()  # the twin's own


@needs_linear
def test_where_the_linear_map_steps_back() -> None:
    layer, x = packed(Linear(256, 512)), torch.randn(64, 256)
    expected = F.linear(x, layer.weight, layer.bias)
    with linear_calls() as weights:
        assert_close(layer(x[:2]), expected[:2])  # too small to be worth a call
        assert layer(x).grad_fn is not None  # weights that want a gradient
        layer.requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16
        with FlopCounterMode(display=False) as counter:
            layer(x)
        assert counter.get_total_flops() == 2 * 64 * 256 * 512
        assert layer.double()(x.double()).dtype == torch.float64
    assert weights == []
    assert pack(torch.randn(256, 512, dtype=torch.float64)) is None
    assert pack(torch.randn(8, 16)) is None


def test_without_the_linear_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_FOUND_LINEAR", None)
    layer, x = packed(Linear(256, 512)).requires_grad_(False), torch.randn(64, 256)
    assert layer.packed == (None,)
    assert_close(layer(x, relu=True), F.relu(F.linear(x, layer.weight, layer.bias)))


def test_a_linear_layer_of_ours_is_the_one_that_was_given() -> None:
    theirs = nn.Linear(3, 4)
    ours = Linear.of(theirs)
    assert ours.weight is theirs.weight
    assert ours.state_dict().keys() == theirs.state_dict().keys()
