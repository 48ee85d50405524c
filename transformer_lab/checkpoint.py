"""Models and training states on disk: safetensors and JSON, never a pickle."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .rng import own_randomness
from .safefiles import (
    CheckpointError,
    DiskFullError,
    clean,
    committed,
    read_header,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)

__all__ = ["CheckpointError", "DiskFullError", "load_model", "save_model"]

FORMAT = 1
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# The models that a folder may name: class -> its module, and its configuration's.
_CLASSES = {
    "Transformer": ("model", "config.ModelConfig"),
    "Recurrent": ("recurrent", "recurrent.RecurrentConfig"),
    "Classifier": ("readers", "readers.ReaderConfig"),
    "SpanReader": ("readers", "readers.ReaderConfig"),
}


def save_model(model: nn.Module, folder: str | Path, *, dtype: str | None = None) -> Path:
    """Write config.json and model.safetensors; `load_model` reads them.

    The weights carry the configuration too, so that one rename commits both: a kill at any
    moment leaves the old model or the new one.

    Args:
        dtype: "fp16" or "bf16" stores floating-point weights in half the space; None as they are.

    Raises:
        ValueError: for a model without a `config`, or an unknown dtype.
        DiskFullError: when the disk is full; a model that was there is untouched.
    """
    if dtype is not None and dtype not in _DTYPES:
        raise ValueError(f"dtype={dtype!r} is not known; choose one of {', '.join(_DTYPES)}, None")
    model = getattr(model, "_orig_mod", model)  # torch.compile
    described = describe(model)
    if described is None:
        raise ValueError(
            f"a {type(model).__name__} has no config that can be written; save_model takes a "
            "transformer_lab.Transformer"
        )
    tensors = model_tensors(model)
    if dtype is not None:
        tensors = {n: t.to(_DTYPES[dtype]) if t.is_floating_point() else t
                   for n, t in tensors.items()}  # fmt: skip
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    clean(folder)
    with committed(folder / WEIGHTS) as path:
        write_tensors(path, tensors, {"transformer_lab": json.dumps(described)})
    with committed(folder / CONFIG) as path:
        write_json(path, described)
    return folder


def load_model(
    folder: str | Path, *, model: nn.Module | None = None, device: str | torch.device = "cpu"
) -> Any:
    """The model that `save_model` or a training run wrote, in evaluation mode.

    Args:
        folder: of a model, of one checkpoint, or of a run (its newest checkpoint is taken).
        model: load the weights into this one instead of making one from the configuration.

    Raises:
        FileNotFoundError: for a folder that holds no model.
        CheckpointError: for a damaged file, one of another version, or one that does not fit.
    """
    folder = Path(folder).expanduser()
    if not (folder / WEIGHTS).exists():
        if (folder / "checkpoints").is_dir():
            from .run import Run

            return Run(folder).load_model(model=model, device=device)
        what = "is no folder" if not folder.is_dir() else f"holds no {WEIGHTS}"
        raise FileNotFoundError(f"{folder} {what}; give a folder that save_model wrote")
    path = folder / WEIGHTS
    _, metadata = read_header(path)
    if "transformer_lab" in metadata:
        try:
            described = json.loads(metadata["transformer_lab"])
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} has an unreadable configuration: {error}") from None
        if (folder / CONFIG).exists() and read_json(folder / CONFIG) != described:
            warnings.warn(
                f"{folder / CONFIG} differs from the configuration stored with the weights, "
                "which is used",
                stacklevel=2,
            )
    elif (folder / CONFIG).exists():
        described = read_json(folder / CONFIG)
    else:
        raise CheckpointError(f"{folder} holds weights but no {CONFIG}")
    tensors, _ = read_tensors(path)
    if model is None:
        model = build(described, tensors, path)
    load_tensors(model, tensors, path)
    return model.to(device).eval()


def describe(model: nn.Module) -> dict[str, Any] | None:
    """The JSON from which `build` makes a model of this shape; None if it has no config."""
    config: Any = getattr(model, "config", None)
    if config is None or not hasattr(config, "to_dict"):
        return None
    values = config.to_dict()
    described = {"transformer_lab": FORMAT, "class": type(model).__name__, **values}
    return json.loads(json.dumps(described))  # tuples as the lists that JSON gives back


def build(described: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path) -> nn.Module:
    """A model of the described shape, after a look at whether the tensors can be its own."""
    values = dict(described)
    version, name = values.pop("transformer_lab", FORMAT), values.pop("class", "Transformer")
    if version != FORMAT:
        raise CheckpointError(
            f"{path} has format version {version!r}; this package reads version {FORMAT}"
        )
    if name not in _CLASSES:
        raise CheckpointError(
            f"{path} holds a {name!r}; known: {', '.join(_CLASSES)}. Give model= to load the "
            "weights into one of your own"
        )
    module, config_path = _CLASSES[name]
    config_module, config_name = config_path.split(".")
    package = __package__
    config_class = getattr(import_module(f".{config_module}", package), config_name)
    model_class = getattr(import_module(f".{module}", package), name)
    try:
        config = config_class.from_dict(values)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} has an unfit configuration: {error}") from None
    _check_plausible(config, tensors, path)
    with own_randomness():
        with torch.device("meta"):  # shapes only: nothing is allocated for a lie
            load_tensors(model_class(config), tensors, path, copy=False)
        return model_class(config)


def _check_plausible(config: Any, tensors: Mapping[str, Tensor], path: Path) -> None:
    """A configuration of a few bytes must not make us build what the weights cannot fill."""
    held = sum(t.numel() for t in tensors.values())
    layers = getattr(config, "n_layers", 0) + (getattr(config, "n_decoder_layers", None) or 0)
    positions = getattr(config, "n_ctx", 0) * getattr(config, "d_model", 1)
    if layers > len(tensors) or positions > max(1 << 23, 64 * held):
        raise CheckpointError(
            f"{path} holds {len(tensors)} tensors with {held:,} numbers, which cannot be a model "
            f"of {layers} layers and n_ctx={getattr(config, 'n_ctx', 0)}"
        )


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; what is shared (a tied head) once."""
    seen: dict[int, str] = {}
    out = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen[id(tensor)] = name
            out[name] = tensor.detach()
    return out


def load_tensors(
    model: nn.Module, tensors: Mapping[str, Tensor], source: Any, *, copy: bool = True
) -> None:
    """Copy tensors into a model of exactly these names and shapes (`copy=False`: only compare).

    Raises:
        CheckpointError: naming what is missing, left over, of another shape or not finite.
    """
    own = model_tensors(model)
    wrong = [f"{n} is missing" for n in own if n not in tensors]
    wrong += [f"{n} is not in the model" for n in tensors if n not in own]
    wrong += [
        f"{n} is {list(tensors[n].shape)} in the file but {list(own[n].shape)} in the model"
        for n in own
        if n in tensors and own[n].shape != tensors[n].shape
    ]
    wrong += [
        f"{n} has values that are not finite"
        for n, t in tensors.items()
        if t.is_floating_point() and not torch.isfinite(t).all()
    ]
    if wrong:
        more = f"; and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise CheckpointError(f"{source} does not fit the model: {'; '.join(wrong[:4])}{more}")
    if copy:
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(tensors[name])
