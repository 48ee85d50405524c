"""Training as graphs over a model's weights: an AdamW update, and the fraction of right answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from ..optim import AdamW, Schedule
from ..training.objective import IGNORED
from .export import Graph
from .functions import function_graph

MOMENTS = ("optimizer.mean", "optimizer.square")
STEP, TABLE = "optimizer.step", "optimizer.table"


def update_graph(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    example: Mapping[str, Tensor],
    optimizer: AdamW,
    steps: int,
) -> Graph:
    """One update of a model's weights: forward, backward, clipping and AdamW.

    Its results are the batch's "loss" before the update, and the "norm" of all gradients together.
    It has more weights than the model: the moments (0 at first), how many updates were made, and a
    table of learning rates.

    Args:
        model: gives logits [batch, position, vocab], and draws no random numbers.
        weights: the model's, by their names in the graph of its pass.
        example: a batch: "tokens", perhaps "target" (which the decoder of an encoder-decoder
            reads), and "targets" [batch, position] or [batch, position, answer], where each answer
            is chosen by its own part of the logits; −100 is ignored. The graph is valid for its
            shapes only.
        steps: how many updates there will be, for the schedule.

    Source: Loshchilov and Hutter 2019.
    """
    learned = _learned(model, weights)
    sizes = [p.numel() for p in learned.values()]
    decaying = sum(p.numel() for p in learned.values() if p.dim() >= 2)
    state = {name: torch.zeros(sum(sizes)) for name in MOMENTS}
    state |= {STEP: torch.zeros(1, dtype=torch.int64), TABLE: _table(optimizer, steps)}

    def update(*, targets: Tensor, **read: Tensor) -> dict[str, Tensor]:
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            logits = model(*read.values())
            loss = F.cross_entropy(
                logits.reshape(targets.numel(), -1), targets.flatten(), ignore_index=IGNORED
            )
            gradients = torch.autograd.grad(loss, [*learned.values()])
        before, gradient = (
            torch.cat([x.detach().flatten() for x in xs]) for xs in (learned.values(), gradients)
        )
        norm = gradient.norm()
        if optimizer.clip is not None:
            gradient = gradient * (optimizer.clip / (norm + 1e-6)).clamp(max=1)
        mean, square = (
            beta * state[name] + (1 - beta) * x
            for name, beta, x in zip(MOMENTS, optimizer.betas, (gradient, gradient**2), strict=True)
        )
        rate, step_size, root = state[TABLE].index_select(0, state[STEP]).unbind(1)
        kept = torch.cat(
            [before[:decaying] * (1 - rate * optimizer.weight_decay), before[decaying:]]
        )
        after = kept - step_size * mean / (square.sqrt() / root + optimizer.eps)
        parts = zip(learned.items(), after.split(sizes), strict=True)
        return {
            "loss": loss.detach(),
            "norm": norm,
            MOMENTS[0]: mean,
            MOMENTS[1]: square,
            STEP: state[STEP] + 1,
            **{name: part.view(p.shape) for (name, p), part in parts},
        }

    return function_graph(update, example, any_size=False, weights={**weights, **state})


def _learned(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by their names in the graph. Those that decay come first."""
    named = model.named_parameters(remove_duplicate=False)
    found = {name: p for name, p in named if p.requires_grad and name in weights}
    return dict(sorted(found.items(), key=lambda item: item[1].dim() < 2))


def _table(optimizer: AdamW, steps: int) -> Tensor:
    """For each update: the learning rate, the same divided by 1 − β₁ᵗ, and √(1 − β₂ᵗ): [steps, 3].
    The last two correct for moments that began at 0."""
    warmup = min(100, steps // 10) if optimizer.warmup is None else optimizer.warmup
    schedule, (first, second) = Schedule(optimizer.schedule, steps, warmup), optimizer.betas
    rates = [optimizer.lr * schedule(update) for update in range(steps)]
    rows = [
        (rate, rate / (1 - first**t), (1 - second**t) ** 0.5) for t, rate in enumerate(rates, 1)
    ]
    return torch.tensor(rows)


def right_graph(
    model: nn.Module, weights: Mapping[str, Tensor], example: Mapping[str, Tensor]
) -> Graph:
    """The fraction of targets that the model ranks first: "right". Arguments as above."""

    def right(*, targets: Tensor, **read: Tensor) -> dict[str, Tensor]:
        logits = model(*read.values())
        asked = targets != IGNORED
        hits = (logits.reshape(*targets.shape, -1).argmax(-1) == targets) & asked
        return {"right": hits.sum() / asked.sum()}

    with sdpa_kernel(SDPBackend.MATH):
        return function_graph(right, example, any_size=False, weights=weights)


def answers_graph(answers: int, classes: int) -> Graph:
    """For each answer in logits [1, position, answers · classes], its "best" class and "chance"."""

    def best(logits: Tensor) -> dict[str, Tensor]:
        chances = logits.unflatten(-1, (answers, classes)).softmax(-1)
        return {"best": chances.argmax(-1), "chance": chances.amax(-1)}

    return function_graph(best, {"logits": torch.zeros(1, 2, answers * classes)})


class _Drawing(TorchDispatchMode):
    """While open, replaces every random number by the one that is this many standard deviations, or
    half widths, from the middle of its distribution."""

    def __init__(self, normal: float, uniform: float):
        super().__init__()
        self.normal, self.uniform = normal, uniform

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.normal_.default:
            mean, std = (*args[1:], *(0.0, 1.0)[len(args) - 1 :])
            return args[0].fill_(mean + self.normal * std)
        if func is torch.ops.aten.uniform_.default:
            low, high = (*args[1:], *(0.0, 1.0)[len(args) - 1 :])
            return args[0].fill_((low + high + self.uniform * (high - low)) / 2)
        return func(*args, **(kwargs or {}))


def initial_draws(
    build: Callable[[], nn.Module], weights: Mapping[str, Tensor]
) -> dict[str, dict[str, Any]]:
    """How the weights of a model and of its `update_graph` are initialised, by their names in the
    graphs: each number is middle + normal · N(0, 1) + uniform · U(−1, 1).

    Args:
        build: creates the model.
        weights: of its graphs.
    """
    first = []
    for how in ((0, 0), (1, 0), (0, 1)):
        with _Drawing(*how):
            named = build().named_parameters(remove_duplicate=False)
            first.append({name: float(p.detach().flatten()[0]) for name, p in named})
    middle, normal, uniform = first
    drawn = {}
    for name in (*(name for name in middle if name in weights), *MOMENTS, STEP):
        at = middle.get(name, 0.0)
        drawn[name] = dict(
            shape=list(weights[name].shape),
            middle=at,
            normal=normal.get(name, 0.0) - at,
            uniform=uniform.get(name, 0.0) - at,
        )
    return drawn
