"""A run while it trains: what changes at every step, and what is needed to change it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from groundling.training.batches import Batches
from groundling.training.config import Run
from groundling.training.distributed import Group
from groundling.training.optimisation import MovingAverage

if TYPE_CHECKING:
    from groundling.words.wordpiece import Tokenizer


@dataclass(frozen=True)
class Best:
    """The best measurement so far: how good, after which step, and how many since were no better."""

    merit: float = -1.0
    step: int = 0
    since: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)

    def after(self, merit: float, step: int, scores: Mapping[str, float]) -> "Best":
        """With one measurement more."""
        if merit > self.merit:
            return Best(merit, step, 0, dict(scores))
        return replace(self, since=self.since + 1)


@dataclass
class Trainer:
    """What changes while training, and what is needed to change it."""

    run: Run
    group: Group
    model: nn.Module
    stepper: nn.Module  # the objective over the model, in DDP where there are several processes
    tokenizer: "Tokenizer | None"  # None for a model that reads no words
    data: Batches
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: MovingAverage | None
    steps: int
    step: int = 0  # steps done
    origin: dict[str, Any] = field(default_factory=dict)  # the weights it began with
    scores: dict[str, float] = field(default_factory=dict)  # of the latest evaluation
    best: Best = Best()
    together: tuple[Run, ...] = ()  # the runs of its recipe, for whoever continues with the folder alone
    notes: tuple[str, ...] = ()  # what whoever trains should know before the first step
