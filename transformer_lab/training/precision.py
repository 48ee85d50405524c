"""The precision of training, and a trial of whether bf16 is faster on this CPU."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeGuard

import torch
from torch import nn

from ..arguments import shown
from ..files.paths import FileError
from ..files.rng import own_randomness
from ..model import Transformer
from ..optim import Modern, Recipe, gains_by_bf16, has_bf16_instructions
from . import distributed
from .hardware import keep_freed_memory
from .objective import CrossEntropy, to_device
from .run import Run

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# `python -m benchmarks bf16`, a CPU with avx512_bf16, torch 2.13, one thread.
# Recipes that learned as well: bf16 − fp32 was 0.0035 (AdamW) and 0.0013 nats (modern), means of
# three seeds at d_model 256 after 100 steps; two seeds differ by 0.02 to 0.05.
AS_GOOD = ("adamw", "modern")
TRIED = 256  # d_model from which bf16 is tried; below, it gains at most a tenth, and nothing at 64
FASTER = 0.9  # of the time in fp32, at most
MANY = 100  # fewest steps for a trial, which takes a tenth of them


def precision_of(
    name: str,
    model: nn.Module,
    batches: Any,
    recipe: Recipe,
    steps: int,
    threads: int,
    run: Run | None = None,
    *,
    plain: bool = True,
) -> torch.dtype:
    """Choose the dtype to compute in. "auto" is bf16 on a GPU that supports it. On a CPU it is that
    of the first part of `run`, if it is resumed; else fp32, unless the model is a large decoder,
    its recipe learns as well in bf16, and a trial finds that faster: see `is_tried` and `trial`.

    On a CPU without bf16 instructions every product would be converted to fp32 and back, so bf16 is
    replaced by fp32, with a warning.

    plain: nothing is compiled, and the loss is the default one.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {shown(name)}")
    device = next(model.parameters()).device
    if name == "auto" and device.type == "cpu":
        begun = begun_in(run)
        name = begun or "fp32"
        if begun is None and plain and is_tried(model, batches, recipe, steps):
            name = "bf16" if trial(model, batches, recipe, threads) <= FASTER else "fp32"
    elif name == "auto":
        name = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if name == "bf16" and device.type == "cpu" and has_bf16_instructions() is False:
        _warn_of_fp32("precision")
        name = "fp32"
    config: Any = getattr(model, "config", None)
    if name == "fp16" and getattr(config, "n_experts", None) and config.balance_loss:
        raise ValueError(
            "precision='fp16' scales the loss but not the term that balances experts; use 'bf16', or "
            "build the model with balance_loss=0"
        )
    if name == "fp16" and device.type != "cuda":
        raise ValueError(f"precision='fp16' needs a GPU, not {device.type}; use 'bf16' or 'fp32'")
    return DTYPES[name]


def begun_in(run: Run | None) -> str | None:
    """The precision of a resumed run's first part, "bf16" or "fp32"; None if there is none."""
    names = {"bfloat16": "bf16", "float32": "fp32"}
    return names.get(_training_of(run).get("precision", ""))


def _training_of(run: Run | None) -> Mapping[str, Any]:
    """The training settings of a resumed run's first part; {} if there is none."""
    if run is None or not run.checkpoints:
        return {}
    try:
        return run.config()["training"]
    except (FileError, KeyError):  # `restore` reports what is wrong with the run, if anything is
        return {}


def with_muon_precision(
    recipe: Recipe, precision: str, model: nn.Module, run: Run | None = None
) -> Recipe:
    """Set the precision of Muon's products in a recipe. "auto" is that of a resumed run's first
    part; else fp32 with precision="fp32" and in several processes on CPUs, which would have to
    agree; else bf16 if it is faster for any matrix of the model.

    A CPU without bf16 instructions multiplies in fp32, with a warning if bf16 was requested.
    """
    if not isinstance(recipe, Modern):
        return recipe
    matrices = [p for p in model.parameters() if p.requires_grad and p.dim() == 2]
    on_gpu, training = any(p.is_cuda for p in matrices), _training_of(run)
    chosen = recipe.muon_precision
    if chosen == "auto" and training.get("optimizer") == recipe.name:
        chosen = training.get("muon_precision", before_it_was_said(on_gpu))
    elif chosen == "auto":
        alone = on_gpu or distributed.rank_and_size()[1] == 1
        gains = precision != "fp32" and alone and any(gains_by_bf16(p) for p in matrices)
        chosen = "bf16" if gains else "fp32"
    if chosen == "bf16" and not on_gpu and has_bf16_instructions() is False:
        if recipe.muon_precision == "bf16":
            _warn_of_fp32("muon_precision")
        chosen = "fp32"
    return replace(recipe, muon_precision=chosen)


def before_it_was_said(on_gpu: bool) -> str:
    """The precision of Muon's products in runs whose configuration does not record it."""
    return "bf16" if on_gpu else "fp32"


def _warn_of_fp32(name: str) -> None:
    warnings.warn(
        f"{name}='bf16': this processor has no instructions for it and would be slower; "
        "training continues in fp32",
        stacklevel=4,
    )


def is_tried(model: nn.Module, batches: Any, recipe: Recipe, steps: int) -> TypeGuard[Transformer]:
    """Whether bf16 is worth a trial: on a CPU that has it, for a kind of model, a size and a recipe
    that were measured, in a run long enough to pay for it. Several processes would have to agree,
    so they stay in fp32."""
    return (
        type(model) is Transformer
        and model.config.kind == "decoder"
        and model.config.d_model >= TRIED
        and recipe.name in AS_GOOD
        and steps >= MANY
        and callable(getattr(batches, "batch", None))
        and distributed.rank_and_size()[1] == 1
        and has_bf16_instructions() is True
    )


def trial(model: Transformer, batches: Any, recipe: Recipe, threads: int, turns: int = 3) -> float:
    """CPU time of a step in bf16 / in fp32: the least of `turns` alternating steps each, after a
    warm-up step.

    These steps train a copy with random weights and its own optimizers on the first batch: the
    model, its hooks, the position in the data and the random states stay as they are.
    """
    before, least = torch.get_num_threads(), {torch.float32: 1e9, torch.bfloat16: 1e9}
    torch.set_num_threads(threads)
    keep_freed_memory()
    try:
        with own_randomness(), torch.enable_grad():
            batch, loss = to_device(batches.batch(0), model.device), CrossEntropy()
            twin = Transformer(model.config).train()
            optimizers = recipe.build(twin, MANY)
            for turn in range(turns + 1):
                for dtype in least:
                    began = time.process_time()
                    with torch.autocast("cpu", dtype, enabled=dtype is torch.bfloat16):
                        found = loss(twin, batch)
                    found.backward()
                    for optimizer in optimizers:
                        optimizer.step()
                        optimizer.zero_grad()
                    if turn:
                        least[dtype] = min(least[dtype], time.process_time() - began)
    finally:
        torch.set_num_threads(before)
    return least[torch.bfloat16] / least[torch.float32]
