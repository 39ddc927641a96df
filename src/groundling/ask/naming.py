"""How the objects of this room, and what they are given, print: one short line."""

import torch
from torch import nn

SHOWN = 80  # characters of a value that an error shows


def described(kind: str, name: str, model: nn.Module, device: torch.device, runtime: str) -> str:
    """A loaded model in one line: its name, system, size, and where and with what it runs."""
    system = getattr(model.config, "system", "unknown")
    count = sum(weight.numel() for weight in model.parameters())
    size = f"{count / 1e6:.1f} M parameters" if count >= 10**6 else f"{count:,} parameters"
    return f"{kind}({', '.join([*([name] if name else []), system, size, str(device), runtime])})"


def short(value: object) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
