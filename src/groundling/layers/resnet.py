"""A ResNet whose residual layers, and of bottlenecks the filters, can be left out.

One class serves supernet and subnet: a supernet block multiplies by gates when it is given some, and its
`extract` returns the same class with sliced, BN-folded convolutions and no gates at all.

Shapes: B images, C channels, H, W; gates are (B, 1) for a layer and (B, filters) for filters.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from math import prod
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundling.layers.cutting import ANEW, Cutter
from groundling.layers.fused import conv_relu
from groundling.layers.macs import BackboneMacs, BlockMacs, Sides, halved
from groundling.layers.sharing import share
from groundling.selection import Selection, Unit

Gates = Mapping[str, Tensor]
Norm = Literal["frozen", "batch", "none"]
BlockKind = Literal[
    "bottleneck", "basic"
]  # of blocks: those of ResNet-50 and deeper, those of ResNet-18 and 34


class FrozenBatchNorm2d(nn.Module):
    """Batch norm whose statistics and affine part never change (as in DETR and LADS)."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        scale, shift = affine(self)
        return x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


def affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """What a batch norm in evaluation does, as (scale, shift) per channel."""
    assert isinstance(norm, FrozenBatchNorm2d | nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - norm.running_mean * scale


FOLDED = nn.Identity().eval()  # where a norm was: it has no state, so one will do for all


def make_norm(kind: Norm, channels: int) -> nn.Module:
    """A fresh norm of this kind; "none" is for a network whose norms are folded."""
    if kind == "none":
        return nn.Identity()
    return FrozenBatchNorm2d(channels) if kind == "frozen" else nn.BatchNorm2d(channels)


def fold(
    conv: nn.Module, norm: nn.Module, rows: Tensor | None = None, columns: Tensor | None = None
) -> nn.Conv2d:
    """One convolution with bias that equals `norm(conv(x))`, of the chosen output `rows` and input `columns`.

    This is the only place where weights are sliced.
    """
    assert isinstance(conv, nn.Conv2d)
    weight, shift = conv.weight.detach(), conv.bias
    if isinstance(norm, nn.Identity):
        shift = torch.zeros_like(weight[:, 0, 0, 0]) if shift is None else shift.detach()
    else:
        assert shift is None, "a convolution under a norm has no bias"
        scale, shift = (part.detach() for part in affine(norm))
        weight = weight * scale.view(-1, 1, 1, 1)
    weight_OHWI = weight.permute(0, 2, 3, 1)  # rows and columns are contiguous this way, as they will be used
    if rows is not None:
        place = rows.nonzero()[:, 0].to(weight.device)
        weight_OHWI, shift = weight_OHWI.index_select(0, place), shift.index_select(0, place)
    if columns is not None:
        # as a matrix: choosing along the last of four axes takes ten times as long
        flat, place = weight_OHWI.reshape(-1, weight_OHWI.shape[3]), columns.nonzero()[:, 0]
        chosen = flat.index_select(1, place.to(weight.device))
        weight_OHWI = chosen.view(*weight_OHWI.shape[:3], len(place))
    return _convolution(conv, weight_OHWI.contiguous().permute(0, 3, 1, 2), shift)


def _convolution(like: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A convolution as `like` with other weights.

    Making one, even by `skip_init`, outlasts slicing, and so does setting attributes of a module one by one.
    """
    conv = share(like)
    conv.__dict__.update(out_channels=weight.shape[0], in_channels=weight.shape[1])
    tensors = {"weight": weight, "bias": bias}
    conv._parameters.update({name: nn.Parameter(t, requires_grad=False) for name, t in tensors.items()})
    return conv


class Bottleneck(nn.Module):
    """1×1 → 3×3 → 1×1 with a shortcut; `conv1` is None once the residual branch was left out."""

    conv1: nn.Conv2d | None
    constant: Tensor | None

    def __init__(self, inputs: int, width: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.inputs, self.width, self.outputs, self.stride = inputs, width, outputs, stride
        bias = norm == "none"
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=bias)
        self.bn1 = make_norm(norm, width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=bias)
        self.bn2 = make_norm(norm, width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=bias)
        self.bn3 = make_norm(norm, outputs)
        self.register_buffer("constant", None)
        self.downsample = _downsample(inputs, outputs, stride, norm)

    def forward(
        self,
        x: Tensor,
        layer: Tensor | None = None,
        filters: Tensor | None = None,
        inner: Tensor | None = None,
    ) -> Tensor:
        """(B, C, H, W) → (B, C', H/stride, W/stride); gates as in LADS Eq. 6 (layer) and 7 (filters of
        the 3×3; `inner`: of the first 1×1), None where nothing is gated."""
        shortcut = x if self.downsample is None else self.downsample(x)
        if self.constant is not None:  # the layer is on, but no filter of it: what is left is a bias
            return F.relu(shortcut + self.constant)
        if self.conv1 is None:  # x comes out of a ReLU, so an identity shortcut needs no second one
            return x if self.downsample is None else F.relu(shortcut)
        if isinstance(self.bn3, nn.Identity) and layer is None and filters is None and inner is None:
            return conv_relu(conv_relu(conv_relu(x, self.conv1), self.conv2), self.conv3, shortcut)
        y = F.relu(gated(self.bn1(self.conv1(x)), inner))
        y = F.relu(gated(self.bn2(self.conv2(y)), filters))
        return F.relu(shortcut + gated(self.bn3(self.conv3(y)), layer))

    def macs(self, name: str, sides: Sides) -> tuple[BlockMacs, Sides]:
        """MACs of this block under its name, on a map of these sides, and the sides of what comes out."""
        out = halved(sides, self.stride)
        always = 0 if self.downsample is None else self.inputs * self.outputs * prod(out)
        first, last = self.inputs * prod(sides), self.outputs * prod(out)
        return BlockMacs(name, first, 9 * prod(out), last, always, self.width), out

    @property
    def idle(self) -> bool:
        """Whether what goes in comes out."""
        return self.conv1 is None and self.constant is None and self.downsample is None

    def extract(self, layer: bool, filters: Tensor | None, inner: Tensor | None) -> "Bottleneck":
        """The dense block that runs only the chosen filters (boolean (width,), None = all)."""
        assert self.conv1 is not None, "this block is extracted already"
        shortcut = self.downsample
        dense: dict[str, nn.Module | None] = dict.fromkeys(("bn1", "bn2", "bn3"), FOLDED)
        dense |= dict.fromkeys(("conv1", "conv2", "conv3"))
        if shortcut is not None:
            dense["downsample"] = nn.Sequential(fold(shortcut[0], shortcut[1]), FOLDED)
        if not layer:
            return share(self, dense)
        conv2, conv3 = fold(self.conv2, self.bn2, filters, inner), fold(self.conv3, self.bn3, None, filters)
        if 0 in conv2.weight.shape[:2]:  # nothing to convolve with, or nothing to convolve
            part = share(self, dense)
            part.constant = _constant(conv2, conv3)
            return part
        return share(
            self, dense | {"conv1": fold(self.conv1, self.bn1, inner), "conv2": conv2, "conv3": conv3}
        )


class BasicBlock(nn.Module):
    """3×3 → 3×3 with a shortcut; `conv1` is None once the residual branch was left out."""

    conv1: nn.Conv2d | None

    def __init__(self, inputs: int, width: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.inputs, self.width, self.outputs, self.stride = inputs, width, outputs, stride
        bias = norm == "none"
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=bias)
        self.bn1 = make_norm(norm, width)
        self.conv2 = nn.Conv2d(width, outputs, 3, 1, 1, bias=bias)
        self.bn2 = make_norm(norm, outputs)
        self.downsample = _downsample(inputs, outputs, stride, norm)

    def forward(
        self,
        x: Tensor,
        layer: Tensor | None = None,
        filters: Tensor | None = None,
        inner: Tensor | None = None,
    ) -> Tensor:
        """As a bottleneck's; there are no filters to gate, as no paper does."""
        assert (filters, inner) == (None, None), "units() gives these blocks no filters"
        shortcut = x if self.downsample is None else self.downsample(x)
        if self.conv1 is None:
            return x if self.downsample is None else F.relu(shortcut)
        if isinstance(self.bn2, nn.Identity) and layer is None:
            return conv_relu(conv_relu(x, self.conv1), self.conv2, shortcut)
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(shortcut + gated(self.bn2(self.conv2(y)), layer))

    def macs(self, name: str, sides: Sides) -> tuple[BlockMacs, Sides]:
        """As those of a bottleneck; without filters that could be left out it is all or nothing."""
        out = halved(sides, self.stride)
        always = 0 if self.downsample is None else self.inputs * self.outputs * prod(out)
        both = 9 * (self.inputs + self.outputs) * prod(out)
        return BlockMacs(name, 0, 0, both, always, self.width), out

    @property
    def idle(self) -> bool:
        """Whether what goes in comes out."""
        return self.conv1 is None and self.downsample is None

    def extract(self, layer: bool, filters: Tensor | None, inner: Tensor | None) -> "BasicBlock":
        """The dense block with or without its residual branch."""
        assert self.conv1 is not None, "this block is extracted already"
        assert (filters, inner) == (None, None), "units() gives these blocks no filters"
        dense: dict[str, nn.Module | None] = {"bn1": FOLDED, "bn2": FOLDED, "conv1": None, "conv2": None}
        if self.downsample is not None:
            dense["downsample"] = nn.Sequential(fold(self.downsample[0], self.downsample[1]), FOLDED)
        if layer:
            dense |= {"conv1": fold(self.conv1, self.bn1), "conv2": fold(self.conv2, self.bn2)}
        return share(self, dense)


def _downsample(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Sequential | None:
    """The shortcut's 1×1, where what goes in does not fit what comes out."""
    if stride == 1 and inputs == outputs:
        return None
    conv = nn.Conv2d(inputs, outputs, 1, stride, bias=norm == "none")
    return nn.Sequential(conv, make_norm(norm, outputs))


Block = Bottleneck | BasicBlock
_BLOCKS: dict[BlockKind, type[Block]] = {"bottleneck": Bottleneck, "basic": BasicBlock}


B = TypeVar("B", bound=nn.Module)


def cut(name: str, block: B, selection: Selection, cutter: Cutter = ANEW) -> B:
    """The dense block that a Selection keeps of a block of any kind that `extract` cuts as a Bottleneck's."""
    on, filters, inner = selection.of_block(name)

    def make() -> B:
        part: Any = block
        return part.extract(on, _mask(filters), _mask(inner))  # type: ignore[no-any-return]

    return cutter.part((name, on, filters, inner), make)


def _mask(bits: tuple[bool, ...] | None) -> Tensor | None:
    return None if bits is None else torch.tensor(bits, dtype=torch.bool)


def _constant(conv2: nn.Conv2d, conv3: nn.Conv2d) -> Tensor:
    """What comes out of two convolutions when the first one sees nothing, (1, C', 1, 1)."""
    assert conv2.bias is not None
    assert conv3.bias is not None
    # no matrix product: autocast would round it
    return ((conv3.weight[:, :, 0, 0] * F.relu(conv2.bias)).sum(1) + conv3.bias).detach().view(1, -1, 1, 1)


def gated(x: Tensor, gate: Tensor | None) -> Tensor:
    """x (B, C, H, W) times a gate (B, C) or (B, 1); no gate, no multiplication."""
    return x if gate is None else x * gate[:, :, None, None].to(x.dtype)


class ResNet(nn.Module):
    """Stem and stages of blocks; keys are torchvision's (`conv1`, `bn1`, `layer1.0.conv1` …).

    `stem="conv7"`: 7×7 stride 2 and max-pool (He et al. 2016). `stem="conv3"`: two 3×3 convolutions of
    stride 2, cheap enough for small pictures.
    """

    def __init__(
        self,
        blocks: tuple[int, ...],
        width: int = 64,
        expansion: int = 4,
        stem: Literal["conv7", "conv3"] = "conv7",
        stem_width: int = 64,
        norm: Norm = "frozen",
        block: BlockKind = "bottleneck",
    ) -> None:
        super().__init__()
        self.stem, bias = stem, norm == "none"
        first = stem_width if stem == "conv7" else stem_width // 4
        self.conv1 = nn.Conv2d(3, first, *((7, 2, 3) if stem == "conv7" else (3, 2, 1)), bias=bias)
        self.bn1 = make_norm(norm, first)
        if stem == "conv3":
            self.conv2 = nn.Conv2d(first, stem_width, 3, 2, 1, bias=bias)
            self.bn2 = make_norm(norm, stem_width)
        channels, self.stages = stem_width, len(blocks)
        for stage, depth in enumerate(blocks):
            wide = width * 2**stage
            strides = (1 if stage == 0 else 2, *(1,) * (depth - 1))
            layer = nn.ModuleList()
            for stride in strides:
                layer.append(_BLOCKS[block](channels, wide, wide * expansion, stride, norm))
                channels = wide * expansion
            setattr(self, f"layer{stage + 1}", layer)
        self.channels, self.stride = channels, 2 ** (len(blocks) + 1)
        self.levels = (f"layer{len(blocks)}.{blocks[-1] - 1}",)  # the blocks whose maps are read

    def named_blocks(self) -> Iterator[tuple[str, Block]]:
        """Every block by its key, in the order they run."""
        for stage in range(1, self.stages + 1):
            for index, block in enumerate(getattr(self, f"layer{stage}")):
                yield f"layer{stage}.{index}", block

    def forward(self, images_BCHW: Tensor, gates: Gates | None = None) -> Tensor:
        """(B, 3, H, W) → (B, C, H/stride, W/stride)."""
        x = images_BCHW
        for stage in self.each_stage(images_BCHW, gates):
            x = stage  # one at a time: who does not need the others does not keep them
        return x

    def each_stage(self, images_BCHW: Tensor, gates: Gates | None = None) -> Iterator[Tensor]:
        """What comes out of each stage, (B, C·2ⁱ, H/2ⁱ⁺², W/2ⁱ⁺²), the last of which is the answer."""
        gates = gates or {}
        x = self.see(images_BCHW)
        for stage in range(1, self.stages + 1):
            for index, block in enumerate(getattr(self, f"layer{stage}")):
                name = f"layer{stage}.{index}"
                x = block(x, gates.get(name), gates.get(f"{name}.conv2"), gates.get(f"{name}.conv1"))
            yield x

    def see(self, images_BCHW: Tensor) -> Tensor:
        """The stem, (B, 3, H, W) → (B, C, H/4, W/4): no words change it."""
        x = images_BCHW.contiguous(memory_format=torch.channels_last)
        if isinstance(self.bn1, nn.Identity):
            x = conv_relu(x, self.conv1)
            return F.max_pool2d(x, 3, 2, 1) if self.stem == "conv7" else conv_relu(x, self.conv2)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.max_pool2d(x, 3, 2, 1) if self.stem == "conv7" else F.relu(self.bn2(self.conv2(x)))

    def macs(self, height: int, width: int) -> BackboneMacs:
        """MACs of the stem and of each block, for images of these sides."""
        stem, sides = _convolved(self.conv1, (height, width))
        if self.stem == "conv7":
            sides = halved(sides, 2)  # the pool
        else:
            second, sides = _convolved(self.conv2, sides)
            stem += second
        blocks = []
        for name, block in self.named_blocks():
            macs, sides = block.macs(name, sides)
            blocks.append(macs)
        return BackboneMacs(stem, tuple(blocks), sides)

    def extract(self, selection: Selection, cutter: Cutter = ANEW) -> "ResNet":
        """The dense ResNet that a Selection keeps."""
        stem = {"conv1": "bn1"} | ({"conv2": "bn2"} if self.stem == "conv3" else {})
        dense: dict[str, nn.Module | None] = dict.fromkeys(stem.values(), FOLDED)
        for name, norm in stem.items():
            dense[name] = cutter.part(name, partial(fold, getattr(self, name), getattr(self, norm)))
        for stage in range(1, self.stages + 1):
            name, blocks = f"layer{stage}", getattr(self, f"layer{stage}")
            parts = {str(i): cut(f"{name}.{i}", block, selection, cutter) for i, block in enumerate(blocks)}
            dense[name] = cutter.around(blocks, parts)
        return cutter.around(self, dense)


def _convolved(conv: nn.Conv2d, sides: Sides) -> tuple[int, Sides]:
    """MACs of a convolution on a map of these sides, and the sides of what comes out."""
    out = halved(sides, conv.stride[0])
    return conv.weight.numel() * prod(out), out


def units(resnet: ResNet, gated: Literal["released", "paper", "all"], inner: bool) -> tuple[Unit, ...]:
    """The units of the gateable blocks.

    "released": blocks whose 3×3 has stride 1 (13 of ResNet-50, as LADS' released code); "paper": blocks
    with an identity shortcut, x + F(x) of Eq. 6 (12 of ResNet-50); "all": strided ones too.
    `inner`: also the filters of the first 1×1. Of a basic block the layer alone.
    """
    found: list[Unit] = []
    for name, block in resnet.named_blocks():
        if gated == "all" or (block.stride == 1 if gated == "released" else block.downsample is None):
            found.append(Unit(name, "layer", 1, name))
            if isinstance(block, BasicBlock):
                continue
            found.append(Unit(f"{name}.conv2", "filters", block.width, name))
            if inner:
                found.append(Unit(f"{name}.conv1", "filters", block.width, name))
    return tuple(found)
