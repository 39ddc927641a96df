"""Random weights everywhere: fresh norms (ones) and biases (zeros) would hide a forgotten copy."""

from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def scrambled(module: M, seed: int = 0) -> M:
    """The module in eval mode, every parameter and statistic drawn anew, small enough for deep networks."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            values = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
            if name.endswith("running_var"):
                values = values.abs() + 0.5
            elif tensor.dim() > 1:
                values *= (1.5 / tensor[0].numel()) ** 0.5
            elif name.endswith("weight"):
                values = 0.5 + 0.3 * values  # of norms
            else:
                values *= 0.2
            tensor.copy_(values)
    return module.eval()
