"""Products and what follows them as one operator: oneDNN's, where this torch has it, else one by one.

The operators are private to torch (its compiler uses them), so everything here looks first and falls back.
Shapes: B images, C channels, H, W; K inputs and N outputs of a linear map.
"""

import platform
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundling.layers.macs import Count, linear_map
from groundling.layers.sharing import share

Operator = Callable[..., Tensor]
M = TypeVar("M", bound=nn.Module)


def _intel() -> bool:
    """Whether this processor is Intel's, for which torch's own products (MKL) were made."""
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")[:500]
    except OSError:
        return "GenuineIntel" in platform.processor()


# MACs from which oneDNN's linear map is faster than torch's: with its weight packed, and not. A call of it
# takes 15 µs longer; MKL makes up for that up to 8 M on a Xeon, on AMD's processors up to 1 M.
WORTH, WORTH_UNPACKED = (8_000_000, 16_000_000) if _intel() else (1_000_000, 4_000_000)
WORTH_PACKING = 16_384  # weights; a smaller map never has that many MACs
# MACs from which oneDNN's 1×1 convolution is faster than torch's linear map; a call takes 30 µs longer.
WORTH_CONVOLVING = 4_000_000 if _intel() else 1_000_000


# What tells whether oneDNN may compute: private too, so without one of them nothing is fused.
_SIGNS = ("_has_mkldnn", "_get_mkldnn_enabled", "_get_tracing_state", "_len_torch_dispatch_stack")


def _operators() -> tuple[Operator, Operator] | None:
    """oneDNN's convolution with a ReLU, and with a sum and a ReLU; None where this torch has others."""
    if not all(hasattr(torch._C, sign) for sign in _SIGNS):
        return None
    try:
        found: Any = torch.ops.mkldnn._convolution_pointwise
        one, two = found.default, found.binary
        names = [[argument.name for argument in operator._schema.arguments] for operator in (one, two)]
    except (AttributeError, RuntimeError):
        return None
    expected = ["W", "B", "padding", "stride", "dilation", "groups"]
    fits = names[0][:8] == ["X", *expected, "attr"] and names[1][:8] == ["X", "other", *expected]
    return (one, two) if fits else None


def _linear_operators() -> tuple[Operator, Operator] | None:
    """oneDNN's linear map, and what packs a weight for it; None where this torch has others."""
    if not all(hasattr(torch._C, sign) for sign in _SIGNS):
        return None
    try:
        found: Any = torch.ops.mkldnn
        run, reorder = found._linear_pointwise.default, found._reorder_linear_weight.default
        names = [[argument.name for argument in operator._schema.arguments] for operator in (run, reorder)]
    except (AttributeError, RuntimeError):
        return None
    fits = names[0][:4] == ["X", "W", "B", "attr"] and names[1][:1] == ["self"]
    return (run, reorder) if fits else None


_FOUND = _operators()
_FOUND_LINEAR = _linear_operators()


def conv_relu(x: Tensor, conv: nn.Conv2d, other: Tensor | None = None) -> Tensor:
    """relu(conv(x) + other), (B, C, H, W); `other` has the output's shape, None adds nothing."""
    weight = conv.weight
    if _FOUND is None or not isinstance(conv.padding, tuple) or not _fits(x, weight):
        y = conv(x)
        return F.relu(y if other is None else y + other)
    if conv.kernel_size == (1, 1) and conv.stride == (1, 1) and x.numel() * len(weight) < WORTH_CONVOLVING:
        y = F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), conv.bias).permute(0, 3, 1, 2)
        return (y if other is None else y.add_(other)).relu_()
    shape = (conv.padding, conv.stride, conv.dilation, conv.groups)
    if other is None:
        return _FOUND[0](x, weight, conv.bias, *shape, "relu", [], "")
    return _FOUND[1](x, other, weight, conv.bias, *shape, "add", 1.0, "relu", [], "")


def conv_relu6(x: Tensor, conv: nn.Conv2d, padding: tuple[int, int]) -> Tensor:
    """min(max(conv(x), 0), 6), (B, C, H, W) → (B, C', H', W'), with this padding instead of its own."""
    weight = conv.weight
    shape = (padding, conv.stride, conv.dilation, conv.groups)
    if _FOUND is None or not _fits(x, weight):
        y = F.conv2d(x, weight, conv.bias, conv.stride, padding, conv.dilation, conv.groups)
        return F.relu6(y)
    return _FOUND[0](x, weight, conv.bias, *shape, "hardtanh", [0.0, 6.0], "")


def linear(
    x: Tensor, weight_NK: Tensor, bias_N: Tensor | None, packed: Tensor | None = None, relu: bool = False
) -> Tensor:
    """x·Wᵀ + b, (…, K) → (…, N), with a ReLU or without; `packed` is the weight as `pack` gives it."""
    worth = WORTH_UNPACKED if packed is None else WORTH
    if _FOUND_LINEAR is None or not _fits(x, weight_NK) or x.numel() * weight_NK.shape[0] < worth:
        y = F.linear(x, weight_NK, bias_N)
        return F.relu(y) if relu else y
    weight = weight_NK if packed is None else packed
    return _FOUND_LINEAR[0](x, weight, bias_N, "relu" if relu else "none", [], "")


def pack(weight_NK: Tensor) -> Tensor | None:
    """A copy of a weight in the order in which oneDNN reads it, None where that would not be used."""
    usable = weight_NK.device.type == "cpu" and weight_NK.dtype == torch.float32
    if _FOUND_LINEAR is None or not usable or weight_NK.numel() < WORTH_PACKING:
        return None
    return _FOUND_LINEAR[1](weight_NK.detach().contiguous(), None) if torch._C._has_mkldnn else None


class Packs(ABC):
    """A layer that can keep its weights in oneDNN's order beside their own."""

    @abstractmethod
    def pack(self) -> None:
        """Do so; only where the weights do not change any more."""


def packed(module: M) -> M:
    """A twin over the same weights (`share`) that also keeps them in oneDNN's order: for answers alone."""
    twin = share(module)
    for part in twin.modules():
        if isinstance(part, Packs):
            part.pack()
    return twin


class Linear(nn.Linear, Packs):
    """torch's linear layer, computed by oneDNN where that is faster."""

    packed: tuple[Tensor | None, ...] = ()  # a tuple: exporters take a bare tensor for a constant

    def forward(self, input: Tensor, relu: bool = False) -> Tensor:
        """(…, K) → (…, N), with a ReLU or without."""
        return linear(input, self.weight, self.bias, self.packed[0] if self.packed else None, relu)

    def macs(self, rows: Count) -> Count:
        """MACs of so many rows."""
        return linear_map(rows, self.in_features, self.out_features)

    def pack(self) -> None:
        """As `Packs` says."""
        self.packed = (pack(self.weight),)

    @classmethod
    def of(cls, layer: nn.Linear) -> Self:
        """The same layer, its parameters included."""
        ours = cls.__new__(cls)
        ours.__dict__.update(layer.__dict__)
        return ours


def adopt(module: M) -> M:
    """The module, of which every linear layer below it is now ours, over the same parameters."""
    for parent in [*module.modules()]:
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
                setattr(parent, name, Linear.of(child))
    return module


def _fits(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN may compute it: plain float32 on a CPU, for an answer and not for a gradient."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
        and torch._C._has_mkldnn
        and torch._C._get_mkldnn_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch._C._get_tracing_state() is None
        # Who looks at operators (a FLOP counter, an export) is shown those that everybody knows.
        and torch._C._len_torch_dispatch_stack() == 0
    )
