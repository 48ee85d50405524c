"""The plan and the state of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..files.rng import RandomState
from ..optim import Recipe, Schedule
from .feed import Loader, Stream
from .objective import Loss


@dataclass(frozen=True)
class Step:
    """One update of the weights.

    index: number of this update, 1 … steps. loss: loss of this batch before the update (nats per
    token for the default loss). lr: learning rate of the main group. tokens_per_second: positions
    read, including padding, divided by the time of this update. seconds: time spent on updates so
    far, including the earlier part of a resumed run. grad_norm: L2 norm of the whole gradient
    before clipping. eval_loss: mean over `eval_batches`, if this step is evaluated. tokens:
    positions read in this update by all processes; padding: how many of them are padding.
    """

    index: int
    loss: float
    lr: float
    tokens_per_second: float
    seconds: float
    grad_norm: float
    eval_loss: float | None = None
    tokens: int = 0
    padding: int = 0

    @property
    def padding_share(self) -> float:
        """Fraction of the positions read that are padding, 0 … 1."""
        return self.padding / self.tokens if self.tokens else 0.0


@dataclass(frozen=True)
class Plan:
    """The checked arguments of one call of `train`; nothing in it changes. `forward` is the model,
    perhaps compiled; `precision` a torch dtype; the others as in `train`."""

    model: nn.Module
    forward: Any
    source: Stream | Loader
    steps: int
    recipe: Recipe
    schedule: Schedule
    loss: Loss
    eval_loss: Loss
    eval_batches: Any
    eval_every: int
    precision: torch.dtype
    compile: bool | str
    threads: int
    checkpoint_every: int
    snapshot_every: int | None
    probe: Any
    watch: Any  # `Watches`
    progress: bool

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device


@dataclass
class TrainState:
    """The state of training: everything in a checkpoint except the weights and the position in the
    data. The loop advances it, a resumed run restores it."""

    optimizers: list[torch.optim.Optimizer]
    scaler: torch.amp.GradScaler
    done: int = 0  # whole steps
    seconds: float = 0.0  # spent on them
    pending: Step | None = None  # made, but not yet evaluated and logged
    random: RandomState = field(default_factory=RandomState.now)

    @classmethod
    def begin(cls, plan: Plan) -> TrainState:
        """The state before the first step."""
        optimizers = plan.recipe.build(plan.model, plan.steps)
        for group in (g for o in optimizers for g in o.param_groups):
            group["initial_lr"] = group["lr"]
        scaler = torch.amp.GradScaler(enabled=plan.precision is torch.float16)
        return cls(optimizers, scaler)
