"""Two module trees over the same weights, each in its own mode."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def share(module: M, instead: Mapping[str, nn.Module | None] = MappingProxyType({})) -> M:
    """A copy of the module tree that holds the very same tensors; `instead` names children to have others.

    A subnet made of the supernet's own modules would switch the supernet's dropout off when it is put in
    evaluation mode, and be switched to training with it. (`copy.deepcopy` with the tensors as memo says the
    same and takes ten times as long, which a subnet per expression would feel.)
    """
    twin = module.__class__.__new__(module.__class__)
    for name, value in module.__dict__.items():
        twin.__dict__[name] = value.copy() if isinstance(value, dict) else value
    for name, part in {**module._modules, **instead}.items():
        twin._modules[name] = part if part is None or name in instead else share(part)
    return twin


def around(module: M, parts: Mapping[str, nn.Module | None]) -> M:
    """A copy of this one module with other children where `parts` names some; the rest are its own.

    For modules that nobody trains any more, where children may be shared: it takes microseconds.
    """
    twin = module.__class__.__new__(module.__class__)
    twin.__dict__.update(module.__dict__)
    twin.__dict__["_modules"] = {**module._modules, **parts}
    return twin
