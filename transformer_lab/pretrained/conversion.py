"""Convert the weights of a Hugging Face model to our own `Transformer`, by a table of names.

Every family is a `Family`: how to read its config as a `ModelConfig`, and a table of rows
(theirs, ours, transform). A tensor of theirs that no row names, or one of ours that no row
fills, raises an error: nothing is left over and nothing is left random.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..config import ModelConfig
from ..files.paths import FileError
from ..model import Transformer

Transform = Callable[[Tensor], Tensor]
Row = tuple[str, str, Transform]


@dataclass(frozen=True)
class Family:
    """How to convert one family of models to ours.

    `table`: names without the base model's prefix; {} stands for the number of a layer.
    `unused`: theirs -> why our model has no place for it.
    `head`: one of their names that exists only if the model predicts tokens.
    """

    read_config: Callable[[Any], dict[str, Any]]
    table: tuple[Row, ...]
    head: str
    unused: dict[str, str] = field(default_factory=dict)


def same(tensor: Tensor) -> Tensor:
    return tensor


def pairs(*rows: tuple[str, str], transform: Transform = same) -> tuple[Row, ...]:
    """Rows for layers that have a weight and a bias."""
    return tuple(
        (f"{theirs}.{part}", f"{ours}.{part}", transform)
        for theirs, ours in rows
        for part in ("weight", "bias")
    )


def expect(config: Any, **values: Any) -> None:
    """Check options of a config.

    Raises:
        FileError: if an option of theirs has a value that our model does not support.
    """
    for name, value in values.items():
        found = getattr(config, name, value)
        allowed = value if isinstance(value, tuple) else (value,)
        if found not in allowed:
            raise FileError(
                f"{name} must be {' or '.join(map(repr, allowed))} for Transformer, got {found!r} "
                f"in this {config.model_type} model; tl.trace takes the Hugging Face model as it "
                "is"
            )


def convert(theirs: nn.Module, families: dict[str, Family]) -> Transformer:
    """Our model with the weights (copied) of a transformers model, in eval mode.

    Raises:
        FileError: for an unknown family or option, or a tensor that is left over, missing or of
            another shape, naming it.
    """
    config: Any = theirs.config
    if config.model_type not in families:
        raise FileError(
            f"Transformer can take the weights of {', '.join(families)}, got "
            f"{type(theirs).__name__} of the family {config.model_type!r} (tl.trace takes any "
            "Hugging Face model as it is)"
        )
    family = families[config.model_type]
    prefix = f"{theirs.base_model_prefix}."
    state = {name.removeprefix(prefix): value for name, value in theirs.state_dict().items()}
    ours = ModelConfig(**family.read_config(config), head=family.head in state)
    with torch.device("meta"):  # no random weights: every one is replaced
        model = Transformer(ours)
    model.positions = ours.positions.build(
        d_model=ours.d_model, n_heads=ours.n_heads, d_head=ours.d_head, n_ctx=ours.n_ctx
    )
    _assign(model, translate(state, family), next(iter(state.values())).dtype)
    model.random_weights = tuple(getattr(theirs, "random_weights", ()))
    return model.eval()


def translate(state: dict[str, Tensor], family: Family) -> list[tuple[str, str, Tensor]]:
    """(their name, our name, tensor) for each tensor that the table names.

    Raises:
        FileError: naming each tensor that neither the table nor `unused` names.
    """
    found, left = [], []
    for name, value in state.items():
        pattern, number = re.sub(r"\.\d+\.", ".{}.", name), re.search(r"\.(\d+)\.", name)
        rows = [row for row in family.table if row[0] == pattern]
        if not rows and pattern not in family.unused:
            left.append(name)
        for _, ours, transform in rows:
            found.append((name, ours.format(number and number[1]), transform(value.detach())))
    if left:
        raise FileError(
            f"these tensors have no counterpart in Transformer: {some(left)}; add them to the "
            "table of their family in transformer_lab/pretrained"
        )
    return found


def _assign(model: Transformer, found: list[tuple[str, str, Tensor]], dtype: torch.dtype) -> None:
    first: dict[int, str] = {}  # tied parameters go by one name
    aliases = {
        name: first.setdefault(id(p), name)
        for name, p in model.named_parameters(remove_duplicate=False)
    }
    fixed = dict(model.named_buffers())
    values: dict[str, Tensor] = {}
    for theirs, ours, value in found:
        name = aliases.get(ours, ours)
        if name not in fixed and name not in first.values():
            raise FileError(f"{theirs} would become {ours}, which this Transformer does not have")
        place = fixed[name] if name in fixed else model.get_parameter(name)
        if place.shape != value.shape:
            raise FileError(
                f"{theirs} has shape {list(value.shape)} but {ours} needs {list(place.shape)}"
            )
        known = fixed.get(name, values.get(name))
        if known is not None and not _equal(known, value):
            raise FileError(f"{theirs} differs from another tensor that becomes {ours}")
        if name not in fixed:
            values[name] = value
    missing = sorted(set(first.values()) - set(values))
    if missing:
        raise FileError(f"no tensor was found for these weights of Transformer: {some(missing)}")
    copies = {
        name: value.clone(memory_format=torch.contiguous_format) for name, value in values.items()
    }
    model.load_state_dict({name: copies[aliases[name]] for name in aliases}, assign=True)
    model.to(dtype)
    if model.head is not None and model.config.tie_head:
        model.head.weight = model.target_embedding.weight


def _equal(known: Tensor, value: Tensor) -> bool:
    if known.data_ptr() == value.data_ptr():  # tied on their side too
        return True
    return torch.allclose(known.to(value), value, rtol=0, atol=1e-6)


def some(names: Iterable[str], most: int = 4) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
