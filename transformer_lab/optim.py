"""Optimizers: learning-rate schedules, Muon, and two recipes by name.

A recipe is a frozen object that knows its learning rates and builds its optimizers:
`AdamW` for everything, or `Modern`, which uses Muon for the matrices.
"""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .arguments import check_fields, shown

SCHEDULES = ("cosine", "linear", "noam", "constant")
RECIPES = ("adamw", "modern")


# ---------------------------------------------------------------- schedules


@dataclass(frozen=True)
class Schedule:
    """Factor that multiplies the learning rate at each update.

    `schedule(update)` counts updates from 0. All but "noam" rise linearly over `warmup` updates
    and then stay between 0 and 1:

        constant   1
        cosine     half a cosine from 1 down to `floor`, over what is left of `steps`
        linear     1, then a straight line to `floor` over the last fraction `cooldown` of `steps`
        noam       d_model^-½ · min(n^-½, n · warmup^-1.5) with n = update + 1, whatever `steps`;
                   multiplies lr = 1. Source: Vaswani et al. 2017, equation 3.
    """

    name: str
    steps: int
    warmup: int = 0
    floor: float = 0.0
    cooldown: float = 0.5
    d_model: int | None = None

    def __post_init__(self):
        check_fields(self)
        if self.name not in SCHEDULES:
            known = ", ".join(SCHEDULES)
            raise ValueError(f"schedule must be one of {known}, got {shown(self.name)}")
        if self.warmup < 0:
            raise ValueError(f"warmup must be 0 or more updates, got {self.warmup}")
        if self.name == "noam" and (not self.d_model or self.warmup < 1):
            raise ValueError(
                "schedule='noam' needs d_model and a warmup of at least 1, got "
                f"d_model={self.d_model}, warmup={self.warmup}"
            )

    def __call__(self, update: int) -> float:
        if self.name == "noam":
            return noam(update + 1, self.d_model or 1, self.warmup)
        if update < self.warmup:
            return (update + 1) / self.warmup
        if self.name == "cosine":
            part = (update - self.warmup) / max(1, self.steps - self.warmup)
            return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * min(1, part))) / 2
        if self.name == "linear":
            left = max(0, self.steps - update) / max(1, self.cooldown * self.steps)
            return self.floor + (1 - self.floor) * min(1, left)
        return 1.0


def noam(step: int, d_model: int, warmup: int = 4000) -> float:
    """Learning rate of the paper at `step`, counted from 1: 6.988e-4 at its peak for d_model 512.

    Source: Vaswani et al. 2017, equation 3.
    """
    if step < 1:
        raise ValueError(f"step must be at least 1, got {step}; the schedule counts from 1")
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)


# ---------------------------------------------------------------- kinds of parameters


def parameter_kinds(model: nn.Module) -> dict[str, str]:
    """Name of every trainable parameter -> its kind for an optimizer.

        embedding   the table of an nn.Embedding, when the head does not share it
        head        the weight and bias of a module called `head` or `lm_head`
        matrix      any other parameter with two axes
        other       gains, biases and what has more than two axes

    A parameter with several names (a tied head) is listed once, under its first.
    """
    names: dict[int, list[str]] = defaultdict(list)
    tables = {
        id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)
    }
    kinds = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.requires_grad:
            names[id(parameter)].append(name)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        parents = [n.split(".")[-2] for n in names[id(parameter)] if "." in n]
        if {"head", "lm_head"} & set(parents):
            kinds[name] = "head"
        elif id(parameter) in tables:
            kinds[name] = "embedding"
        else:
            kinds[name] = "matrix" if parameter.dim() == 2 else "other"
    return kinds


# ---------------------------------------------------------------- Muon

# Odd quintics a·s + b·s³ + c·s⁵, applied in turn. Of all sequences of four, these bring singular
# values of 0.003 to 1 closest to 1: into 0.80 to 1.20. Each is the best one for the range that the
# one before leaves (test_optim.py recomputes them). Source: Amsel et al. 2025, "Polar Express".
QUINTICS = (
    (8.3837, -24.7659, 18.3571),
    (4.0434, -3.0114, 0.5695),
    (3.5056, -2.6267, 0.5257),
    (2.4901, -1.8343, 0.4368),
)


# In bf16 a quintic's output may exceed its bound by up to 4%, and the next one diverges for inputs
# beyond its own. So all but the last are stretched to accept inputs up to 1.04 times their bound.
_MARGIN = 1.04
BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16")  # of Intel and AMD; of Arm
BF16_FROM = 128  # fewest rows and columns that a CPU multiplies faster in bf16
MUON_PRECISIONS = ("auto", "fp32", "bf16")


def has_bf16_instructions(among: tuple[str, ...] = BF16_INSTRUCTIONS) -> bool | None:
    """Whether this CPU has bf16 instructions; None if PyTorch does not report it."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    known = capabilities() if capabilities else {}
    return any(known.get(name) for name in among) if known else None


def gains_by_bf16(matrices: Tensor) -> bool:
    """Whether multiplying these matrices is faster in bf16 than in fp32, as measured: on a GPU, and
    on an Intel or AMD CPU with bf16 instructions from 128 rows and columns."""
    if matrices.device.type != "cpu":
        return matrices.is_cuda
    return _is_large(matrices) and has_bf16_instructions(("amx_bf16", "avx512_bf16")) is True


def _is_large(matrices: Tensor) -> bool:
    return min(matrices.shape[-2:]) >= BF16_FROM and matrices.dtype != torch.float64


def orthogonalize(matrices: Tensor, precision: str = "auto") -> Tensor:
    """Roughly the nearest (semi-)orthogonal matrix U Vᵀ to each U S Vᵀ. Singular values above 0.003
    of √‖S²‖ (which is at least the largest) become 0.80 to 1.20; in bf16, those above 0.02 of it
    become 0.70 to 1.25.

    matrices [..., row, column], any number at once -> the same shape and type. In fp32 on a CPU,
    long matrices are iterated by their small Gram matrix.

    precision: of the products: "fp32", "bf16" (on a CPU fp32 below 128 rows or columns, which gain
        nothing), or "auto": bf16 where `gains_by_bf16` says that it is faster.

    Raises:
        ValueError: for another precision.
    """
    _check_precision("precision", precision)
    half = gains_by_bf16(matrices)
    if precision != "auto":
        half = precision == "bf16" and (matrices.is_cuda or _is_large(matrices))
    x = matrices.bfloat16() if half else matrices.float()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    shape, x = x.shape, x.reshape(-1, *x.shape[-2:])
    gram = torch.bmm(x, x.mT)
    size = torch.linalg.vector_norm(gram, dim=(1, 2), keepdim=True, dtype=torch.float32)
    size = size.clamp_min(1e-14)  # at least the square of the largest singular value
    gram = gram / size.to(x.dtype)
    if half or matrices.is_cuda or shape[-1] < 2 * shape[-2]:
        x = _by_itself(x / size.sqrt().to(x.dtype), gram, _MARGIN if half else 1.0)
    else:
        x = torch.bmm(_by_gram(gram) / size.sqrt(), x)
    x = x.reshape(shape).to(matrices.dtype)
    return x.mT if tall else x


def _check_precision(name: str, value: str) -> None:
    if value not in MUON_PRECISIONS:
        known = ", ".join(MUON_PRECISIONS)
        raise ValueError(f"{name} must be one of {known}, got {shown(value)}")


def _by_itself(x: Tensor, gram: Tensor, margin: float) -> Tensor:
    for i, (a, b, c) in enumerate(QUINTICS):
        s = margin if i < len(QUINTICS) - 1 else 1.0  # the quintic of x / s
        gram = torch.bmm(x, x.mT) if i else gram
        polynomial = torch.baddbmm(gram, gram, gram, beta=b / s**3, alpha=c / s**5)
        x = torch.baddbmm(x, polynomial, x, beta=a / s)
    return x


def _by_gram(gram: Tensor) -> Tensor:
    """The matrix that the iteration multiplies X by: a product of polynomials of X Xᵀ."""
    factor = None
    for i, (a, b, c) in enumerate(QUINTICS):
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal(dim1=-2, dim2=-1).add_(a)
        factor = polynomial if factor is None else torch.bmm(factor, polynomial)
        if i < len(QUINTICS) - 1:
            gram = torch.bmm(polynomial, torch.bmm(gram, polynomial))
    assert factor is not None
    return factor


class _Uncompiled:
    """An optimizer without PyTorch's decorators for compiled steps. Ours are never compiled, and
    the decorators import the compiler: 1.7 CPU seconds of every process that trains."""

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)


class Muon(_Uncompiled, torch.optim.Optimizer):
    """Momentum with orthogonalized steps, for matrices only.

    Per matrix W with gradient G:  M ← μM + (1−μ)G;  U = orthogonalize((1−μ)G + μM);
    W ← (1 − lr·decay)·W − lr·√max(1, rows/columns)·U.  The momentum μ rises linearly from
    `momentum[0]` to `momentum[1]` over the first `momentum_warmup` steps.

    Matrices of one shape (or its transpose) are orthogonalized together, in four iterations that
    leave singular values closer to 1 than the five of `torch.optim.Muon`. Source: Jordan et al.
    2024.

    Raises:
        ValueError: if a parameter is not a matrix; the message gives its shape.
    """

    def __init__(
        self,
        params,
        lr: float = 0.03,
        momentum: tuple[float, float] = (0.85, 0.95),
        momentum_warmup: int = 300,
        weight_decay: float = 0.0,
        precision: str = "auto",
    ):
        _check_precision("precision", precision)
        self.precision = precision
        defaults: dict[str, Any] = dict(lr=lr, momentum=momentum, momentum_warmup=momentum_warmup)
        defaults |= dict(weight_decay=weight_decay, updates=0)
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                if p.dim() != 2:
                    raise ValueError(
                        f"Muon takes matrices only, got a parameter of shape {list(p.shape)}; "
                        "give that one to AdamW"
                    )

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        low, high = group["momentum"]
        part = min(1.0, group["updates"] / max(1, group["momentum_warmup"]))
        momentum = low + (high - low) * part
        group["updates"] += 1
        shapes: dict[tuple, list[tuple[nn.Parameter, Tensor, bool]]] = defaultdict(list)
        for p in group["params"]:
            if p.grad is None:
                continue
            state = self.state[p]
            if not state:
                state["momentum"] = torch.zeros_like(p)
            state["momentum"].lerp_(p.grad, 1 - momentum)
            update = p.grad.lerp(state["momentum"], momentum)  # Nesterov's look ahead
            tall = p.shape[0] > p.shape[1]
            key = (tuple(sorted(p.shape)), p.device, p.dtype)
            shapes[key].append((p, update.mT if tall else update, tall))
        for same in shapes.values():
            stacked = orthogonalize(torch.stack([u for _, u, _ in same]), self.precision)
            for (p, _, tall), update in zip(same, stacked.unbind(), strict=True):
                if group["weight_decay"]:
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                rows, columns = p.shape
                scale = max(1.0, rows / columns) ** 0.5
                p.add_(update.mT if tall else update, alpha=-group["lr"] * scale)


# ---------------------------------------------------------------- recipes


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay on the parameters that have two axes or more.
    Source: Loshchilov and Hutter 2019."""

    lr: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-8
    weight_decay: float = 0.01
    schedule: str = "cosine"
    warmup: int | None = None  # None: a tenth of the steps, at most 100; 4000 for "noam"
    clip: float | None = 1.0
    name = "adamw"

    def __post_init__(self):
        _check_recipe(self)

    def build(self, model: nn.Module, steps: int) -> list[torch.optim.Optimizer]:
        parameters = [p for p in model.parameters() if p.requires_grad]
        groups = [
            dict(params=[p for p in parameters if p.dim() >= 2], weight_decay=self.weight_decay),
            dict(params=[p for p in parameters if p.dim() < 2], weight_decay=0.0),
        ]
        return [_adamw(groups, lr=self.lr, betas=self.betas, eps=self.eps)]


@dataclass(frozen=True)
class Modern:
    """Muon for the matrices, AdamW with its own rates for the embedding, the head and the rest.

    Meant for a model of `ModelConfig.modern(...)`: its normalised residual stream tolerates the
    embedding's high rate, and its head starts at zero. `lr` is Muon's. Warm-up 10 updates,
    then constant, then a line to 0 over the last half; no clipping. Source: modded-nanogpt 2024.

    muon_precision: of Muon's products, see `orthogonalize`. In `train`, "auto" is also fp32 with
        precision="fp32" and with several processes on CPUs, which would have to agree; a resumed
        run keeps its precision. The run's configuration records the choice.
    """

    lr: float = 0.03
    embedding_lr: float = 0.1
    head_lr: float = 0.005
    betas: tuple[float, float] = (0.8, 0.95)
    eps: float = 1e-10
    momentum: tuple[float, float] = (0.85, 0.95)
    weight_decay: float = 0.0
    schedule: str = "linear"
    warmup: int | None = 10
    clip: float | None = None
    muon_precision: str = "auto"
    name = "modern"

    def __post_init__(self):
        _check_recipe(self)

    def build(self, model: nn.Module, steps: int) -> list[torch.optim.Optimizer]:
        kinds, named = parameter_kinds(model), dict(model.named_parameters())
        of = lambda kind: [named[n] for n, k in kinds.items() if k == kind]  # noqa: E731
        rates = {"embedding": self.embedding_lr, "head": self.head_lr, "other": self.head_lr}
        groups = [dict(params=of(kind), lr=lr) for kind, lr in rates.items() if of(kind)]
        built: list[torch.optim.Optimizer] = []
        if of("matrix"):
            built.append(
                Muon(
                    of("matrix"),
                    lr=self.lr,
                    momentum=self.momentum,
                    momentum_warmup=min(300, steps),
                    weight_decay=self.weight_decay,
                    precision=self.muon_precision,
                )
            )
        if groups:
            built.append(_adamw(groups, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=0))
        return built


Recipe = AdamW | Modern


def _check_recipe(recipe: Recipe) -> None:
    """Check types and signs; replace a `clip` of infinity with None, since JSON has no infinity."""
    check_fields(recipe, infinite=("clip",))
    for name in ("lr", "embedding_lr", "head_lr", "clip"):
        value = getattr(recipe, name, None)
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be above 0, got {value}")
    if recipe.weight_decay < 0:
        raise ValueError(f"weight_decay must be 0 or more, got {recipe.weight_decay}")
    if isinstance(recipe, Modern):
        _check_precision("muon_precision", recipe.muon_precision)
    if recipe.clip == math.inf:
        object.__setattr__(recipe, "clip", None)


def recipe(optimizer: str | Recipe) -> Recipe:
    """Return the recipe of that name; a recipe is returned unchanged.

    Raises:
        ValueError: if the name is unknown; the message lists the known ones.
    """
    if isinstance(optimizer, AdamW | Modern):
        return optimizer
    if optimizer not in RECIPES:
        known = ", ".join(RECIPES)
        raise ValueError(f"optimizer must be one of {known}, got {shown(optimizer)}")
    return AdamW() if optimizer == "adamw" else Modern()


class _AdamW(_Uncompiled, torch.optim.AdamW):
    """`torch.optim.AdamW`, with one kernel for all parameters where available: 0.8 ms instead of
    3.0 for 38 tensors on one CPU thread."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


def _adamw(groups: list[dict], **options) -> torch.optim.AdamW:
    groups = [g for g in groups if g["params"]]
    devices = {p.device.type for g in groups for p in g["params"]}
    return _AdamW(groups, fused=devices <= {"cpu", "cuda"}, **options)
