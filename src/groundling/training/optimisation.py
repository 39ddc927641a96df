"""How weights move: learning rates by module, a schedule that is a function of the step, a moving average."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn


def parameter_groups(
    model: nn.Module,
    lr: float,
    weight_decay: float,
    lr_groups: Mapping[str, float],
    no_decay: Sequence[str],
    decay_vectors: bool,
) -> list[dict[str, object]]:
    """AdamW's groups: the longest matching name prefix sets the rate, a rate of 0 freezes.

    No weight decay under the prefixes `no_decay`, and none for norms and biases unless `decay_vectors`.
    Raises ValueError for a prefix that names nothing.
    """
    names = [name for name, _ in model.named_parameters()]
    for prefix in (*lr_groups, *no_decay):
        if not any(name.startswith(prefix) for name in names):
            parts = ", ".join(name for name, _ in model.named_children())
            raise ValueError(f"no parameter name starts with '{prefix}'; the model's parts are: {parts}")
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        prefixes = [prefix for prefix in lr_groups if name.startswith(prefix)]
        rate = lr_groups[max(prefixes, key=len)] if prefixes else lr
        if rate == 0:
            parameter.requires_grad_(False)
        if not parameter.requires_grad:
            continue
        undecayed = name.startswith(tuple(no_decay)) or (parameter.ndim <= 1 and not decay_vectors)
        groups.setdefault((rate, 0.0 if undecayed else weight_decay), []).append(parameter)
    if not groups:
        raise ValueError("every parameter is frozen, so there is nothing to train")
    return [
        {"params": parameters, "lr": rate, "base_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def lr_factor(
    step: int,
    steps: int,
    schedule: Literal["constant", "step", "cosine"],
    warmup: int = 0,
    drops: Sequence[int] = (),
    floor: float = 0.0,
) -> float:
    """What the learning rates are multiplied by at a step: linear warm-up from 1%, then the schedule.

    step: ×0.1 at each of `drops`. cosine: from 1 at the end of the warm-up down to `floor` at the last step.
    """
    if step < warmup:
        return 0.01 + 0.99 * step / warmup
    if schedule == "step":
        return float(0.1 ** sum(step >= drop for drop in drops))
    if schedule == "cosine":
        done = (step - warmup) / max(1, steps - 1 - warmup)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return 1.0


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Every group at its own rate times the factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


class MovingAverage:
    """The exponential mean of weights and running statistics, of decay min(decay, (1+t)/(10+t)) at step t."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        self.decay = decay
        self.live = {  # the model's own memory, not a copy
            name: tensor
            for name, tensor in model.state_dict().items()
            if tensor.is_floating_point() and name not in frozen
        }
        self.mean = {name: tensor.clone() for name, tensor in self.live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.mean.values()), list(self.live.values()), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model with the averaged weights, for as long as the block lasts."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, tensor in self.live.items():
            kept = tensor.clone()
            tensor.copy_(self.mean[name])
            self.mean[name].copy_(kept)


def freeze_norms(model: nn.Module) -> None:
    """BatchNorm layers keep the statistics they have; call after model.train()."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimiser's state by parameter name: `optimizer/<parameter>/<what>`."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"optimizer/{names[parameter]}/{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


@torch.no_grad()
def restore_optimizer(
    optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """The reverse of `optimizer_tensors`; parameters that never had a gradient have no state."""
    parameters = dict(model.named_parameters())
    for path, value in tensors.items():
        if not path.startswith("optimizer/"):
            continue
        _, name, key = path.split("/")
        if name not in parameters:
            raise ValueError(f"the saved optimiser knows '{name}', the model does not")
        optimizer.state[parameters[name]][key] = value.to(parameters[name].device, copy=True)


def not_finite(named: Iterable[tuple[str, Tensor | None]]) -> list[str]:
    """The names of tensors holding inf or nan."""
    return [name for name, tensor in named if tensor is not None and not bool(tensor.isfinite().all())]


def mixed(seed: int, step: int, rank: int) -> int:
    """One well-mixed seed for the randomness of a step in a process."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()[:7], "big")
