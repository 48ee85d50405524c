"""The training state in a checkpoint, and how it is restored, bitwise."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..files.checkpoints import FORMAT, STATE, TRAINING, WEIGHTS, Checkpoint, as_written
from ..files.models import describe, load_tensors
from ..files.paths import FileError, in_line
from ..files.rng import RandomState
from ..files.safefiles import read_tensors
from . import distributed
from .precision import before_it_was_said
from .state import Plan, Step, TrainState


def checkpoint_state(plan: Plan, state: TrainState) -> dict[str, Any]:
    """The contents of state.json, apart from the list of files."""
    scaler = state.scaler.state_dict()
    return {
        "transformer_lab_checkpoint": FORMAT,
        "step": state.done,
        "seconds": state.seconds,
        "pending": None if state.pending is None else asdict(state.pending),
        "scaler": scaler or None,
        "updates": _updates(state),
        "optimizer_tensors": len(optimizer_tensors(plan, state)),
        **settings(plan, state),
        "data": plan.source.state(),
    }


def _updates(state: TrainState) -> list[list[int | None]]:
    """Number of updates of each group of each optimizer, if the optimizer counts them."""
    return [[group.get("updates") for group in o.param_groups] for o in state.optimizers]


def settings(plan: Plan, state: TrainState) -> dict[str, Any]:
    """Settings that a resumed run should share with its first part."""
    schedule = asdict(plan.schedule)
    settings = {
        "model": describe(plan.model),
        "training": {
            "steps": plan.steps,
            "optimizer": plan.recipe.name,
            **asdict(plan.recipe),
            "warmup": schedule["warmup"],
            "precision": str(plan.precision).removeprefix("torch."),
            "loss": repr(plan.loss) if is_value(plan.loss) else type(plan.loss).__name__,
            "compile": plan.compile,
        },
        "environment": {
            "torch": str(torch.__version__),
            "threads": plan.threads,
            "device": plan.device.type,
            "processes": distributed.rank_and_size()[1],
            "implementation": [_implementation(o) for o in state.optimizers],
            "deterministic": torch.are_deterministic_algorithms_enabled(),
        },
    }
    return _plain(settings)


def _plain(value: Any) -> Any:
    """A value as JSON returns it; infinity (clip=inf), which JSON lacks, becomes "inf"."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def is_value(thing: Any) -> bool:
    """Whether its repr is complete (a dataclass), without an address in memory."""
    return hasattr(thing, "__dataclass_fields__")


def _implementation(optimizer: torch.optim.Optimizer) -> str:
    kind = next((k for k in ("fused", "foreach") if optimizer.defaults.get(k)), "plain")
    return f"{type(optimizer).__name__.lstrip('_')}/{kind}"


def optimizer_tensors(plan: Plan, state: TrainState) -> dict[str, Tensor]:
    """The optimizers' state by the names of the parameters."""
    names = {id(p): name for name, p in plan.model.named_parameters()}
    return {
        f"optimizer.{i}.{names[id(p)]}.{key}": value
        for i, optimizer in enumerate(state.optimizers)
        for p, kept in optimizer.state.items()
        for key, value in kept.items()
    }


def restore(found: Checkpoint, plan: Plan, state: TrainState) -> None:
    """Restore the model and the training state from a checkpoint.

    Raises:
        FileError: if it is of another model or optimizer, or has changed since it was written.
        ValueError: if the run has made more steps than the plan has.
    """
    with as_written(found.folder):
        _restore(found, plan, state)


def _restore(found: Checkpoint, plan: Plan, state: TrainState) -> None:
    then, source = found.state, found.folder
    if then["step"] > plan.steps:
        raise ValueError(
            f"steps={plan.steps}, but the run in {in_line(source.parent.parent)} is already at step "
            f"{then['step']}; give more steps"
        )
    then = {**then, "model": _with_defaults(then["model"], plan.model)}
    _compare(then, {**settings(plan, state), "data": plan.source.state()}, source)
    weights, _ = read_tensors(source / WEIGHTS)
    tensors, _ = read_tensors(source / TRAINING)
    load_tensors(plan.model, weights, source / WEIGHTS)
    _restore_optimizers(tensors, then, plan, state, source)
    if then["scaler"] and state.scaler.is_enabled():
        state.scaler.load_state_dict(then["scaler"])
    state.done, state.seconds = then["step"], then["seconds"]
    if then["pending"] is not None:
        state.pending = Step(**then["pending"])
    prefix = f"random.{distributed.rank_and_size()[0]}."
    mine = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    state.random = RandomState.from_tensors(mine) if mine else RandomState.now()


def _compare(then: Mapping[str, Any], now: Mapping[str, Any], source: Path) -> None:
    """Refuse another shape of model or another optimizer; warn about any other difference."""
    if then["model"] != now["model"] and then["model"] and now["model"]:
        differs = "; ".join(_differences(then["model"], now["model"]))
        raise FileError(f"{source} was saved from a different model: {differs}")
    if then["training"]["optimizer"] != now["training"]["optimizer"]:
        raise FileError(
            f"{source} was trained with optimizer={then['training']['optimizer']!r}, whose state "
            f"cannot be used by optimizer={now['training']['optimizer']!r}"
        )
    differs = [
        *_differences(_with_muon_precision(then, now), now["training"]),
        *_differences(then["environment"], now["environment"]),
        *_differences(_only_data(then["data"]), _only_data(now["data"])),
    ]
    if differs:
        warnings.warn(
            "the resumed run will not be bitwise equal to an uninterrupted one: "
            + "; ".join(differs),
            stacklevel=8,
        )


def _with_defaults(described: Any, model: nn.Module) -> Any:
    """A model's description, with defaults for options that earlier versions did not have."""
    config: Any = getattr(model, "config", None)
    if not described or not is_dataclass(config):
        return described
    return {option.name: option.default for option in fields(config)} | described


def _with_muon_precision(then: Mapping[str, Any], now: Mapping[str, Any]) -> Mapping[str, Any]:
    """A run's training settings, with what earlier versions did not record."""
    if "muon_precision" not in now["training"]:
        return then["training"]
    on_gpu = then["environment"].get("device") == "cuda"
    return {"muon_precision": before_it_was_said(on_gpu), **then["training"]}


def _only_data(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key.startswith("data_")}


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} was {then.get(key)!r} and is now {now.get(key)!r}"
        for key in {**then, **now}
        if then.get(key) != now.get(key)
    ]


def _restore_optimizers(
    tensors: Mapping[str, Tensor],
    then: Mapping[str, Any],
    plan: Plan,
    state: TrainState,
    source: Path,
) -> None:
    """Restore the optimizers' state only; options (fused, lr, …) stay those of this call."""
    named = dict(plan.model.named_parameters())
    kept = {name: value for name, value in tensors.items() if name.startswith("optimizer.")}
    if len(kept) != then.get("optimizer_tensors", len(kept)):  # 0.1 did not count them
        raise FileError(
            f"{source / TRAINING} has {len(kept)} optimizer tensors, not the "
            f"{then['optimizer_tensors']} that were written"
        )
    for name, value in kept.items():
        _, index, rest = name.split(".", 2)
        parameter_name, key = rest.rsplit(".", 1)
        parameter = named.get(parameter_name)
        if parameter is None or int(index) >= len(state.optimizers):
            raise FileError(f"{source / TRAINING}: {name} does not belong to a parameter")
        if value.dim() and value.shape != parameter.shape:
            raise FileError(
                f"{source / TRAINING}: {name} is {list(value.shape)} but the parameter is "
                f"{list(parameter.shape)}"
            )
        optimizer = state.optimizers[int(index)]
        here = value.dim() > 0 or optimizer.defaults.get("fused")
        optimizer.state[parameter][key] = value.to(parameter.device) if here else value
    updates = then["updates"]
    if [[type(n) for n in counts] for counts in updates] != [
        [type(n) for n in counts] for counts in _updates(state)
    ]:
        raise FileError(f"{source / STATE} has changed since it was written: updates={updates}")
    for optimizer, counts in zip(state.optimizers, updates, strict=True):
        for group, count in zip(optimizer.param_groups, counts, strict=True):
            if count is not None:
                group["updates"] = count
