"""A convolution and what follows it as one operator: oneDNN's, where this torch has it, else one by one.

The operators are private to torch (its compiler uses them), so everything here looks first and falls back.
Shapes: B images, C channels, H, W.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _operators() -> tuple[Callable[..., Tensor], Callable[..., Tensor]] | None:
    """oneDNN's convolution with a ReLU, and with a sum and a ReLU; None where this torch has others."""
    try:
        found: Any = torch.ops.mkldnn._convolution_pointwise
        one, two = found.default, found.binary
        names = [[argument.name for argument in operator._schema.arguments] for operator in (one, two)]
    except (AttributeError, RuntimeError):
        return None
    expected = ["W", "B", "padding", "stride", "dilation", "groups"]
    fits = names[0][:8] == ["X", *expected, "attr"] and names[1][:8] == ["X", "other", *expected]
    return (one, two) if fits else None


_FOUND = _operators()


def conv_relu(x: Tensor, conv: nn.Conv2d, other: Tensor | None = None) -> Tensor:
    """relu(conv(x) + other), (B, C, H, W); `other` has the output's shape, None adds nothing."""
    if _FOUND is None or not _fits(x, conv):
        y = conv(x)
        return F.relu(y if other is None else y + other)
    shape = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
    if other is None:
        return _FOUND[0](x, conv.weight, conv.bias, *shape, "relu", [], "")
    return _FOUND[1](x, other, conv.weight, conv.bias, *shape, "add", 1.0, "relu", [], "")


def _fits(x: Tensor, conv: nn.Conv2d) -> bool:
    """Whether oneDNN may compute it: plain float32 on a CPU, for an answer and not for a gradient."""
    return (
        x.device.type == "cpu"
        and x.dtype == conv.weight.dtype == torch.float32
        and isinstance(conv.padding, tuple)
        and not (torch.is_grad_enabled() and (x.requires_grad or conv.weight.requires_grad))
        and torch._C._has_mkldnn
        and torch._C._get_mkldnn_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch._C._get_tracing_state() is None
        # Who looks at operators (a FLOP counter, an export) is shown those that everybody knows.
        and torch._C._len_torch_dispatch_stack() == 0
    )
