"""Inverted residuals: against a second implementation, and the subnet against the masked supernet."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scrambled import scrambled
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from groundling.dynamic.cost import CostModel, backbone_parts
from groundling.layers.mbconv import MbConvNet, MbConvSizes, Stage, efficientnet_lite, mobilenet_v2
from groundling.selection import Selection

STAGES = (
    Stage(1, 3, 1, 1, 8),
    Stage(2, 3, 2, 6, 16),
    Stage(2, 5, 2, 4, 24),
    Stage(2, 3, 2, 6, 24),
    Stage(1, 5, 2, 6, 32),
)
SMALL = MbConvSizes(8, STAGES)


def small(seed: int = 0) -> MbConvNet:
    return scrambled(MbConvNet(SMALL), seed).eval()


def reference(net: MbConvNet, x: Tensor) -> list[Tensor]:
    """The published EfficientNet-Lite, written down anew on the same tensors: TensorFlow's SAME padding."""

    def conv(x: Tensor, conv: nn.Conv2d, stride: int) -> Tensor:
        kernel = conv.weight.shape[-1]
        high, wide = x.shape[2:]
        down = max((-(-high // stride) - 1) * stride + kernel - high, 0)
        along = max((-(-wide // stride) - 1) * stride + kernel - wide, 0)
        x = F.pad(x, (along // 2, along - along // 2, down // 2, down - down // 2))
        return F.conv2d(x, conv.weight, None, stride, groups=conv.groups)

    def norm(x: Tensor, bn: nn.BatchNorm2d) -> Tensor:
        mean, var = bn.running_mean[:, None, None], bn.running_var[:, None, None]
        return (x - mean) / (var + 1e-3).sqrt() * bn.weight[:, None, None] + bn.bias[:, None, None]

    x, found = norm(conv(x, net.conv1, 2), net.bn1).clamp(0, 6), []
    for index, (_, block) in enumerate(net.named_blocks()):
        y = x if block.conv1 is None else norm(conv(x, block.conv1, 1), block.bn1).clamp(0, 6)
        y = norm(conv(y, block.conv2, block.stride), block.bn2).clamp(0, 6)
        y = norm(conv(y, block.conv3, 1), block.bn3)
        x = x + y if y.shape == x.shape and block.stride == 1 else y
        found += [x] if f"blocks.{index}" in net.levels else []
    return found


def test_it_is_the_published_network_also_on_odd_sides() -> None:
    net, images = small(), torch.randn(2, 3, 75, 54)
    with torch.no_grad():
        ours, theirs = list(net.each_level(images)), reference(net, images)
    assert [level.shape[1:] for level in ours] == [(24, 10, 7), (24, 5, 4), (32, 3, 2)]
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_sizes_are_the_published_ones() -> None:
    def parameters(sizes: MbConvSizes) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in MbConvNet(sizes).parameters())

    head = 1280 * 320 + 2 * 1280  # a 1×1 and its norm, which only classification uses
    classes = 1280 * 1000 + 1000
    assert parameters(efficientnet_lite(0)) + head + classes == 4_652_008
    assert parameters(efficientnet_lite(2)) + 1280 * 352 + 2 * 1280 + classes == 6_092_072
    assert parameters(mobilenet_v2()) + head + classes == 3_504_872


def drawn(net: MbConvNet, seed: int, rate: float) -> Selection:
    generator = torch.Generator().manual_seed(seed)
    gates = {
        unit.name: (torch.rand(1, unit.size, generator=generator) < rate).float() for unit in net.units()
    }
    return Selection.from_gates(gates)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from((0.0, 0.3, 0.7, 1.0)))
def test_a_subnet_equals_the_masked_supernet(seed: int, rate: float) -> None:
    net, images = small(3), torch.randn(2, 3, 40, 52, generator=torch.Generator().manual_seed(seed))
    selection = drawn(net, seed, rate)
    gates = {name: gate.expand(2, -1) for name, gate in selection.gates().items()}
    with torch.no_grad():
        masked, dense = list(net.each_level(images, gates)), list(net.extract(selection).each_level(images))
    for one, other in zip(masked, dense, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_macs_are_those_of_a_second_counter_and_fall_linearly() -> None:
    net = small(1)
    for seed, rate in ((0, 1.0), (1, 0.5), (2, 0.2)):
        selection = drawn(net, seed, rate)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.extract(selection)(torch.randn(1, 3, 45, 60))
        seen = net.macs(45, 60)
        assert (
            2 * (seen.stem + sum(block.kept(selection) for block in seen.blocks)) == counter.get_total_flops()
        )
    block, sides = dict(net.named_blocks())["blocks.1"].macs("blocks.1", (10, 10))
    assert sides == (5, 5)
    assert block.of(block.width, 20) * 2 == block.of(block.width, 40)


def test_a_block_without_a_shortcut_counts_in_what_is_expected() -> None:
    """It has no gate of its own, and its channels cost what they cost all the same."""
    net = small(2)
    model = CostModel(backbone_parts(net.macs(45, 60)))
    selection = drawn(net, 3, 0.4)
    share = model.expected_share(selection.gates(), 0)
    assert float(share) == pytest.approx(model.cost(selection).share, rel=1e-6)


def test_a_subnet_continues_from_any_block() -> None:
    net, images = small(4), torch.randn(1, 3, 40, 52)
    with torch.no_grad():
        levels = list(net.each_level(images))
        later = list(net.levels_from(levels[0], 1 + int(net.levels[0].split(".")[1])))
    for one, other in zip(levels[1:], later, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert {unit.name for unit in net.units(3)} == {
        unit.name for unit in net.units() if int(unit.name.split(".")[1]) >= 3
    }
