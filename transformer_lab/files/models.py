"""Models and training states on disk: safetensors and JSON, never a pickle."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..adapters.interrupts import Mode, no_grad, together
from ..adapters.wrappers import bare
from .checkpoints import FOLDER as CHECKPOINTS
from .checkpoints import FORMAT, WEIGHTS, newest
from .paths import FileError, as_path, check_folder, in_line
from .rng import own_randomness
from .safefiles import (
    DiskFullError,
    NotReplacedError,
    committed,
    parse_json,
    read_header,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)

__all__ = ["DiskFullError", "FileError", "NotReplacedError", "load_model", "save_model"]

CONFIG = "config.json"
MARK = "transformer_lab"  # the key by which our own files are recognised, in JSON and in weights
SEAL = "sha256"
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_FLOATS = ("F64", "F32", "F16", "BF16")
_PACKAGE = __name__.partition(".")[0]
# The models that a folder may name: class -> its module, and its configuration's.
_CLASSES = {
    "Transformer": ("model", "config.ModelConfig"),
    "Recurrent": ("recurrent", "config.RecurrentConfig"),
    "Classifier": ("readers", "readers.ReaderConfig"),
    "SpanReader": ("readers", "readers.ReaderConfig"),
    "PictureClassifier": ("readers", "readers.PictureConfig"),
}


def save_model(model: nn.Module, folder: str | Path, *, dtype: str | None = None) -> Path:
    """Write a model's config.json and model.safetensors to a folder, for `load_model`.

    The weights file contains the configuration too, so that one rename replaces both: a crash at
    any moment leaves the old model or the new one. It also has a checksum of both.

    Args:
        dtype: "fp16" or "bf16" stores floating-point weights in half the space; None keeps them.

    Raises:
        ValueError: for a model without a `config`, or with random weights (see `load_model`), an
            unknown dtype, or a path that cannot be a folder.
        NotReplacedError: if the folder has a model or a config.json that we did not write.
        DiskFullError: if the disk is full; an existing model is untouched.
    """
    if dtype is not None and dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, None, got {dtype!r}")
    model = bare(model)
    described = describe(model)
    if described is None:
        raise ValueError(
            f"a {type(model).__name__} has no config that can be written; give save_model a "
            "transformer_lab.Transformer"
        )
    random = getattr(model, "random_weights", ())
    if random:
        raise ValueError(
            f"{random[0]} was not in the loaded file and is random, which a saved folder would not "
            "show. Set model.random_weights = () once it is trained, or to save it as it is"
        )
    tensors = model_tensors(model)
    if dtype is not None:
        tensors = {
            n: t.to(_DTYPES[dtype]) if t.is_floating_point() else t for n, t in tensors.items()
        }
    folder = check_folder("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    _check_ours(folder)
    described = with_checksum(described, tensors)
    with committed(folder / WEIGHTS) as path:
        write_tensors(path, tensors, {MARK: json.dumps(described)})
    with committed(folder / CONFIG) as path:
        write_json(path, described)
    return folder


def _check_ours(folder: Path) -> None:
    """Refuse to overwrite a model that is not ours."""
    config = _mark(folder / CONFIG, read_json)
    weights = _mark(folder / WEIGHTS, lambda path: read_header(path)[1])
    free = config is None and weights is None
    if not free and config != "ours" and (config == "other" or weights != "ours"):
        raise NotReplacedError(
            f"{folder} has a {CONFIG} or {WEIGHTS} that save_model did not write, or that is "
            "damaged; it is not overwritten. Name another folder"
        )


def _mark(path: Path, read: Any) -> str | None:
    """Whether a file is "ours", "other" or "damaged"; None if there is none."""
    if not os.path.lexists(path):
        return None
    try:
        return "ours" if MARK in read(path) else "other"
    except FileError:
        return "damaged"


def load_model(
    folder: str | Path,
    *,
    model: nn.Module | None = None,
    device: str | torch.device = "cpu",
    allow_missing: bool = False,
) -> Any:
    """Load a model that `save_model` or a training run wrote, in evaluation mode.

    Weights stored in half precision become float32.

    Args:
        folder: the folder of a model, of a checkpoint, or of a run (then its newest checkpoint).
        model: load the weights into this model instead of one made from the configuration.
        allow_missing: weights that are not in the file stay random; their names are in the model's
            `random_weights`, and every view of the model starts with a warning.

    Raises:
        FileNotFoundError: for a folder without a model.
        FileError: for a file that is damaged, of another version, or does not fit the model.
    """
    folder = as_path(folder, "folder").expanduser()
    if not os.path.lexists(folder / WEIGHTS):
        if (folder / CHECKPOINTS).is_dir():
            found = newest(folder)
            if found is None:
                raise FileNotFoundError(f"{in_line(folder)} has no checkpoint that can be read")
            return load_model(found.folder, model=model, device=device, allow_missing=allow_missing)
        what = "is not a folder" if not folder.is_dir() else f"has no {WEIGHTS}"
        raise FileNotFoundError(f"{in_line(folder)} {what}; give a folder that save_model wrote")
    path = folder / WEIGHTS
    shapes, metadata = read_header(path)
    described, seal = _described(folder, metadata)
    if model is None:
        model = build(described, shapes, path, allow_missing=allow_missing)
        if {dtype for dtype, _ in shapes.values()} == {"F64"}:
            model = model.double()
    missing = tuple(n for n in model_tensors(model) if n not in shapes) if allow_missing else ()
    _check_fit(model, shapes, path, without=missing)
    tensors, _ = read_tensors(path)
    if seal is not None and not missing and seal != _sha256(described, tensors):
        raise FileError(
            f"{path} has changed since it was written: its checksum differs. Copy the folder "
            "again, or load an older checkpoint"
        )
    load_tensors(model, tensors, path, without=missing)
    if missing:
        model.random_weights = missing  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return model.to(device).eval()


def _described(folder: Path, metadata: Mapping[str, str]) -> tuple[dict[str, Any], Any]:
    """The configuration and the checksum of a model's folder: those stored with the weights, or
    else config.json's."""
    path, config = folder / WEIGHTS, folder / CONFIG
    if MARK in metadata:
        described = parse_json(
            metadata[MARK],
            "it",
            error=lambda why: FileError(f"{path} has an unreadable configuration: {why}"),
        )
        if os.path.lexists(config) and read_json(config) != described:
            warnings.warn(
                f"{config} differs from the configuration stored with the weights, which is used",
                stacklevel=3,
            )
    elif os.path.lexists(config):
        described = read_json(config)
    else:
        raise FileError(f"{folder} has weights but no {CONFIG}")
    return described, described.pop(SEAL, None)


def weights_sha256(model: nn.Module) -> str:
    """Checksum that identifies a model's weights, of their names, types, shapes and values."""
    return _sha256({}, model_tensors(bare(model)))


def with_checksum(described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """A configuration with the checksum of itself and of the weights beside it."""
    return {**described, SEAL: _sha256(described, tensors)}


def _sha256(described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def describe(model: nn.Module) -> dict[str, Any] | None:
    """The JSON from which `build` makes a model of this shape; None if it has no config."""
    config: Any = getattr(model, "config", None)
    if config is None or not hasattr(config, "to_dict"):
        return None
    values = config.to_dict()
    described = {"transformer_lab": FORMAT, "class": type(model).__name__, **values}
    return json.loads(json.dumps(described))  # tuples as the lists that JSON gives back


class _Planned(Mode):
    """A mode in which the tensors that a module makes for its weights have only a shape, so that a
    false description allocates nothing. All else is computed as usual. With `torch.device("meta")`
    torch would import its compiler for the first random number, which takes nearly as long as torch
    itself."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        given = kwargs or {}
        if func in (torch.empty, torch.zeros, torch.ones):
            return func(*args, **{**given, "device": "meta"})
        target = args[0] if args else given.get("tensor")
        name = func.__name__
        if isinstance(target, Tensor) and target.is_meta and name[:2] != "__" and name[-1] == "_":
            return target  # as in weight.normal_(), and torch.nn.init.normal_(weight)
        return func(*args, **given)


Shapes = Mapping[str, tuple[str, list[int]]]  # name -> (safetensors' type, shape), as in a header


def build(
    described: Mapping[str, Any], shapes: Shapes, path: Path, *, allow_missing: bool = False
) -> nn.Module:
    """Build a model as described, after checking that the tensors can be its own."""
    values = dict(described)
    version, name = values.pop("transformer_lab", FORMAT), values.pop("class", "Transformer")
    if version != FORMAT:
        raise FileError(
            f"{path} has format version {version!r}; this package reads version {FORMAT}"
        )
    if not isinstance(name, str) or name not in _CLASSES:
        raise FileError(
            f"{path} has a model of class {name!r}, not one of {', '.join(_CLASSES)}. Give "
            "model= to load the weights into a model of your own"
        )
    module, config_path = _CLASSES[name]
    config_module, config_name = config_path.split(".")
    config_class = getattr(import_module(f"{_PACKAGE}.{config_module}"), config_name)
    model_class = getattr(import_module(f"{_PACKAGE}.{module}"), name)
    try:
        config = config_class.from_dict(values)
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
        raise FileError(f"{path} has an invalid configuration: {error}") from None
    _check_plausible(config, shapes, path)
    try:
        with own_randomness():
            with together(_Planned()):
                planned = model_class(config)
                missing = [n for n in model_tensors(planned) if n not in shapes]
                _check_fit(planned, shapes, path, without=missing if allow_missing else ())
            return model_class(config)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path} has an invalid configuration: {error}") from None


def _check_plausible(config: Any, shapes: Shapes, path: Path) -> None:
    """Refuse a configuration of a model that the weights cannot fill, before it is built."""
    held = sum(math.prod(shape) for _, shape in shapes.values())
    layers = getattr(config, "n_layers", 0) + (getattr(config, "n_decoder_layers", None) or 0)
    positions = getattr(config, "n_ctx", 0) * getattr(config, "d_model", 1)
    if layers > len(shapes) or positions > max(1 << 23, 64 * held):
        raise FileError(
            f"{path} has {len(shapes)} tensors with {held:,} numbers, which cannot be a model "
            f"with {layers} layers and n_ctx={getattr(config, 'n_ctx', 0)}"
        )


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; shared ones (a tied head) once."""
    seen: dict[int, str] = {}
    out = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen[id(tensor)] = name
            out[name] = tensor.detach()
    return out


def load_tensors(
    model: nn.Module, tensors: Mapping[str, Tensor], source: Any, *, without: Sequence[str] = ()
) -> None:
    """Copy tensors into a model of exactly these names, shapes and kinds of number; those named
    in `without` stay as they are.

    Raises:
        FileError: if a tensor is missing, left over, of another shape or kind, or not finite; the
            message names it, and nothing is copied.
    """
    found = {
        name: (_NAMES.get(t.dtype, str(t.dtype)), list(t.shape)) for name, t in tensors.items()
    }
    _check_fit(model, found, source, without=without)
    _refuse(
        source,
        (
            f"{n} has values that are not finite"
            for n, t in tensors.items()
            if t.is_floating_point() and not torch.isfinite(t).all()
        ),
    )
    with no_grad():
        for name, tensor in model_tensors(model).items():
            if name not in without:
                tensor.copy_(tensors[name])


def _check_fit(
    model: nn.Module, found: Shapes, source: Any, *, without: Sequence[str] = ()
) -> None:
    """Compare names, shapes and kinds of number without touching a weight."""
    own = model_tensors(model)
    wrong = [f"{n} is missing" for n in own if n not in found and n not in without]
    wrong += [f"{n} is not in the model" for n in found if n not in own]
    for name in (n for n in own if n in found):
        dtype, shape = found[name]
        if list(own[name].shape) != shape:
            wrong.append(f"{name} is {shape} in the file but {list(own[name].shape)} in the model")
        elif dtype not in (
            _FLOATS if own[name].is_floating_point() else (_NAMES[own[name].dtype],)
        ):
            wrong.append(f"{name} has dtype {dtype}, which is not that of weights")
    _refuse(source, wrong)


def _refuse(source: Any, wrong: Iterable[str]) -> None:
    wrong = list(wrong)
    if wrong:
        more = f"; and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise FileError(f"{source} does not fit the model: {'; '.join(wrong[:4])}{more}")
