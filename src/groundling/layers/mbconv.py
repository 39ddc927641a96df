"""Inverted residuals whose layers and expanded channels can be left out: EfficientNet-Lite, MobileNetV2.

A block is 1×1 (expand) → depthwise k×k → 1×1 (project). One gate of an expanded channel cuts the row of the
first, the plane of the second and the column of the third, so a block's MACs fall linearly with its channels.
One class serves supernet and subnet, as in `layers.resnet`.

Shapes: B images, C channels, H, W; gates are (B, 1) for a layer and (B, expanded) for channels.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundling.layers.cutting import ANEW, Cutter
from groundling.layers.fused import conv_relu6
from groundling.layers.macs import BackboneMacs, BlockMacs, Sides, halved
from groundling.layers.resnet import FOLDED, Gates, Norm, affine, cut, gated, make_norm
from groundling.layers.sharing import share
from groundling.selection import Selection, Unit

Padding = Literal["same", "centre"]  # TensorFlow's, with more at right and bottom; PyTorch's


@dataclass(frozen=True)
class Stage:
    """Blocks of one kind: how many, the depthwise kernel, the first one's stride, expansion and outputs."""

    depth: int
    kernel: int
    stride: int
    expansion: int
    outputs: int


@dataclass(frozen=True)
class MbConvSizes:
    """Channels of the stem (stride 2), the stages, how edges are padded, and the norms' epsilon."""

    stem: int
    stages: tuple[Stage, ...]
    padding: Padding = "same"
    eps: float = 1e-3


# Tan & Le, "EfficientNet", ICML 2019, Table 1; Lite leaves out squeeze-and-excitation, swish, and the scaling
# of stem, head and the depth of the first and last stage.
_B0 = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
LITES = range(5)  # EfficientNet-Lite0 to 4
_LITE = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2), 3: (1.2, 1.4), 4: (1.4, 1.8)}  # width, depth
# Sandler et al., "MobileNetV2", CVPR 2018, Table 2.
_V2 = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(3, 3, 2, 6, 32),
    Stage(4, 3, 2, 6, 64),
    Stage(3, 3, 1, 6, 96),
    Stage(3, 3, 2, 6, 160),
    Stage(1, 3, 1, 6, 320),
)


def efficientnet_lite(number: int) -> MbConvSizes:
    """The sizes of EfficientNet-Lite0 to 4; ValueError for another number."""
    if number not in _LITE:
        raise ValueError(f"there are EfficientNet-Lite0 to 4, given {number!r}")
    width, depth = _LITE[number]
    ends = (_B0[0], _B0[-1])
    return MbConvSizes(
        32,
        tuple(
            Stage(
                stage.depth if stage in ends else math.ceil(stage.depth * depth),
                stage.kernel,
                stage.stride,
                stage.expansion,
                _multiple_of_8(stage.outputs * width),
            )
            for stage in _B0
        ),
    )


def mobilenet_v2() -> MbConvSizes:
    """The sizes of MobileNetV2."""
    return MbConvSizes(32, _V2, "centre", 1e-5)


def _multiple_of_8(channels: float) -> int:
    """The nearest multiple of 8 that is not more than a tenth below, as the published code rounds."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def activated(x: Tensor, conv: nn.Conv2d, norm: nn.Module, padding: Padding) -> Tensor:
    """relu6(norm(conv(x))); "same" padding gives sides of those that went in over the stride, rounded up.

    TensorFlow's rule: what has to be added is halved, and the odd row or column goes to the bottom or right.
    """
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    edges = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:]]
    (top, left), (bottom, right) = (edges[0] // 2, edges[1] // 2), (-(-edges[0] // 2), -(-edges[1] // 2))
    if padding == "centre":
        top = left = bottom = right = kernel // 2
    if (top, left) != (bottom, right):
        x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
    if isinstance(norm, nn.Identity):
        return conv_relu6(x, conv, (top, left))
    return F.relu6(norm(F.conv2d(x, conv.weight, conv.bias, conv.stride, (top, left), groups=conv.groups)))


class InvertedResidual(nn.Module):
    """Expand → depthwise → project, with a shortcut where what goes in fits what comes out.

    `conv2` is None once the block was left out. `conv1` is None in blocks that do not expand.
    """

    conv1: nn.Conv2d | None
    conv2: nn.Conv2d | None
    constant: Tensor | None

    def __init__(
        self, inputs: int, stage: Stage, stride: int, norm: Norm, padding: Padding, eps: float
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.stride, self.padding = inputs, stage.outputs, stride, padding
        self.width, self.kernel = inputs * stage.expansion, stage.kernel
        self.shortcut, bias = stride == 1 and inputs == stage.outputs, norm == "none"
        edge = stage.kernel // 2 if padding == "centre" else 0
        self.conv1 = nn.Conv2d(inputs, self.width, 1, bias=bias) if stage.expansion > 1 else None
        self.bn1 = _norm(norm, self.width, eps) if stage.expansion > 1 else None
        self.conv2 = nn.Conv2d(
            self.width, self.width, stage.kernel, stride, edge, groups=self.width, bias=bias
        )
        self.bn2 = _norm(norm, self.width, eps)
        self.conv3 = nn.Conv2d(self.width, stage.outputs, 1, bias=bias)
        self.bn3 = _norm(norm, stage.outputs, eps)
        self.register_buffer("constant", None)

    def forward(self, x: Tensor, layer: Tensor | None = None, channels: Tensor | None = None) -> Tensor:
        """(B, C, H, W) → (B, C', ⌈H/stride⌉, ⌈W/stride⌉); None where nothing is gated."""
        if self.constant is not None:  # no channel is on: what is left is the last bias
            return self._nothing(x)
        if self.conv2 is None:
            return x
        y = x
        if self.conv1 is not None:
            assert self.bn1 is not None
            y = activated(x, self.conv1, self.bn1, self.padding)
        y = activated(y, self.conv2, self.bn2, self.padding)
        y = gated(self.bn3(self.conv3(gated(y, channels))), layer)
        return x + y if self.shortcut else y

    def _nothing(self, x: Tensor) -> Tensor:
        assert self.constant is not None
        if self.shortcut:
            return x + self.constant
        sides = (-(-side // self.stride) for side in x.shape[2:])
        return self.constant.expand(len(x), -1, *sides).contiguous(memory_format=torch.channels_last)

    @property
    def idle(self) -> bool:
        """Whether what goes in comes out."""
        return self.conv2 is None and self.constant is None

    def extract(
        self, layer: bool, channels: Tensor | None, inner: Tensor | None = None
    ) -> "InvertedResidual":
        """The dense block that runs only the chosen channels (boolean (width,), None = all)."""
        assert self.conv2 is not None, "this block is extracted already"
        assert inner is None, "units() gives these blocks no filters of their first 1×1"
        assert layer or self.shortcut, "units() gives blocks without a shortcut no layer gate"
        dense: dict[str, nn.Module | None] = dict.fromkeys(("bn1", "bn2", "bn3"), FOLDED)
        dense |= dict.fromkeys(("conv1", "conv2", "conv3"))
        if not layer:
            return share(self, dense)
        project = folded(self.conv3, self.bn3, columns=channels)
        if project.weight.shape[1] == 0:
            part = share(self, dense)
            assert project.bias is not None
            part.constant = project.bias.detach().view(1, -1, 1, 1)
            return part
        dense |= {"conv3": project, "conv2": folded(self.conv2, self.bn2, rows=channels)}
        if self.conv1 is not None:
            assert self.bn1 is not None
            dense["conv1"] = folded(self.conv1, self.bn1, rows=channels)
        return share(self, dense)

    def macs(self, name: str, sides: Sides) -> tuple[BlockMacs, Sides]:
        """MACs of this block under its name, on a map of these sides, and the sides of what comes out."""
        out = halved(sides, self.stride)
        each = (self.kernel**2 + self.outputs) * math.prod(out)
        if self.conv1 is not None:
            each += self.inputs * math.prod(sides)
        return BlockMacs(name, 0, 0, each, 0, self.width), out


def folded(
    conv: nn.Conv2d, norm: nn.Module, rows: Tensor | None = None, columns: Tensor | None = None
) -> nn.Conv2d:
    """One convolution with bias that equals `norm(conv(x))`, of chosen outputs `rows` and inputs `columns`.

    A depthwise convolution is cut by its rows, which are its inputs too. Weights lie channels-last.
    """
    weight, shift = conv.weight.detach(), conv.bias
    if isinstance(norm, nn.Identity):
        shift = weight.new_zeros(len(weight)) if shift is None else shift.detach()
    else:
        assert shift is None, "a convolution under a norm has no bias"
        scale, shift = (part.detach() for part in affine(norm))
        weight = weight * scale.view(-1, 1, 1, 1)
    if rows is not None:
        place = rows.nonzero()[:, 0].to(weight.device)
        weight, shift = weight.index_select(0, place), shift.index_select(0, place)
    if columns is not None:
        weight = weight.index_select(1, columns.nonzero()[:, 0].to(weight.device))
    dense = share(conv)
    wide = len(weight)
    groups = wide if conv.groups > 1 else 1
    inputs = wide if conv.groups > 1 else weight.shape[1]
    dense.__dict__.update(out_channels=wide, in_channels=inputs, groups=groups)
    tensors = {"weight": weight.contiguous(memory_format=torch.channels_last), "bias": shift}
    dense._parameters.update({name: nn.Parameter(t, requires_grad=False) for name, t in tensors.items()})
    return dense


def _norm(kind: Norm, channels: int, eps: float) -> nn.Module:
    norm = make_norm(kind, channels)
    if not isinstance(norm, nn.Identity):
        norm.__dict__["eps"] = eps
    return norm


class MbConvNet(nn.Module):
    """Stem and blocks; `blocks.i` counts through all stages.

    `levels` are the last blocks of the strides 8, 16 and 32, `level_channels` what each gives.
    """

    def __init__(self, sizes: MbConvSizes, norm: Norm = "batch") -> None:
        super().__init__()
        self.sizes, bias = sizes, norm == "none"
        edge = 1 if sizes.padding == "centre" else 0
        self.conv1 = nn.Conv2d(3, sizes.stem, 3, 2, edge, bias=bias)
        self.bn1 = _norm(norm, sizes.stem, sizes.eps)
        self.blocks = nn.ModuleList()
        channels, stride, last = sizes.stem, 2, dict[int, tuple[int, int]]()
        for stage in sizes.stages:
            for index in range(stage.depth):
                step = stage.stride if index == 0 else 1
                self.blocks.append(InvertedResidual(channels, stage, step, norm, sizes.padding, sizes.eps))
                channels, stride = stage.outputs, stride * step
                last[stride] = (len(self.blocks) - 1, channels)
        self.channels, self.stride = channels, stride
        deep = [each for each in last if each >= 8]
        self.levels = tuple(f"blocks.{last[each][0]}" for each in deep)
        self.level_channels, self.level_strides = tuple(last[each][1] for each in deep), tuple(deep)

    def named_blocks(self) -> Iterator[tuple[str, InvertedResidual]]:
        """Every block by its key, in the order they run."""
        for index, block in enumerate(self.blocks):
            assert isinstance(block, InvertedResidual)
            yield f"blocks.{index}", block

    def forward(self, images_BCHW: Tensor, gates: Gates | None = None) -> tuple[Tensor, ...]:
        """(B, 3, H, W) → every level, as `each_level` gives them."""
        return tuple(self.each_level(images_BCHW, gates))

    def each_level(self, images_BCHW: Tensor, gates: Mapping[str, Tensor] | None = None) -> Iterator[Tensor]:
        """What comes out at the strides 8, 16 and 32, the finest first: (B, C, ⌈H/stride⌉, ⌈W/stride⌉)."""
        yield from self.levels_from(self.see(images_BCHW), 0, gates)

    def levels_from(
        self, x: Tensor, first: int, gates: Mapping[str, Tensor] | None = None
    ) -> Iterator[Tensor]:
        """The levels that blocks from number `first` on give, for what comes out of the block before it."""
        gates, x = gates or {}, x.contiguous(memory_format=torch.channels_last)
        for name, block in list(self.named_blocks())[first:]:
            x = block(x, gates.get(name), gates.get(f"{name}.conv2"))
            if name in self.levels:
                yield x

    def see(self, images_BCHW: Tensor) -> Tensor:
        """The stem, (B, 3, H, W) → (B, C, ⌈H/2⌉, ⌈W/2⌉): no words change it.

        Channels-last, where depthwise convolutions are three times faster on a CPU.
        """
        x = images_BCHW.contiguous(memory_format=torch.channels_last)
        return activated(x, self.conv1, self.bn1, self.sizes.padding)

    def extract(self, selection: Selection, cutter: Cutter = ANEW) -> "MbConvNet":
        """The dense network that a Selection keeps."""
        blocks: dict[str, nn.Module | None] = {
            name.removeprefix("blocks."): cut(name, block, selection, cutter)
            for name, block in self.named_blocks()
        }
        return cutter.around(
            self,
            {
                "conv1": cutter.part("conv1", partial(folded, self.conv1, self.bn1)),
                "bn1": FOLDED,
                "blocks": cutter.around(self.blocks, blocks),
            },
        )

    def units(self, first: int = 0) -> tuple[Unit, ...]:
        """A layer of each block with a shortcut, and the expanded channels of each block that expands.

        Of the blocks before number `first` none can be left out.
        """
        found: list[Unit] = []
        for name, block in list(self.named_blocks())[first:]:
            if block.shortcut:
                found.append(Unit(name, "layer", 1, name))
            if block.conv1 is not None:
                found.append(Unit(f"{name}.conv2", "filters", block.width, name))
        return tuple(found)

    def macs(self, height: int, width: int) -> BackboneMacs:
        """MACs of the stem and of each block, for images of these sides."""
        sides, blocks = halved((height, width), 2), []
        stem = 27 * self.sizes.stem * math.prod(sides)
        for name, block in self.named_blocks():
            macs, sides = block.macs(name, sides)
            blocks.append(macs)
        return BackboneMacs(stem, tuple(blocks), sides)
