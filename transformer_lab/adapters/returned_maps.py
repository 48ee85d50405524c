"""Read and check the attention patterns that a model without the attention interface returns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .interrupts import no_grad, together
from .network import AdapterError
from .settings import eager, quiet

# Tolerance between a pass that returns patterns and a plain one, relative to the largest number.
NEAR = {torch.float32: 1e-3, torch.float64: 1e-3}
NEAR_IN_FEW_BITS = 5e-2


def eager_maps(model: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, tuple]]:
    """The model's output, and kind -> one pattern [batch, head, query, key] per layer. The model's
    attention setting is restored.

    Raises:
        AdapterError: if it returns no patterns, or something else of that name, or if its other
            outputs change when they are requested.
    """
    name = type(model).__name__
    with together(quiet(), no_grad()):
        plain = model(**inputs)
        try:
            with eager(model):
                output = model(**inputs, output_attentions=True)
                shorter = _one_less(model, inputs)
        except TypeError as error:
            raise AdapterError(f"{name} does not accept output_attentions: {error}") from error
    maps = _named(model, output)
    if not maps:
        raise AdapterError("it returns no attention maps of its own either")
    n_source = inputs["input_ids"].shape[1] if "input_ids" in inputs else None  # an image
    n_target = inputs["decoder_input_ids"].shape[1] if "decoder_input_ids" in inputs else n_source
    for kind, found in maps.items():
        n_query = n_source if kind == "encoder" else n_target
        n_key = n_target if kind == "decoder" else n_source
        for each in found:
            if each is not None and (why := _no_map(each, n_query, n_key)):
                raise AdapterError(f"the attention maps that {name} returns {why}")
        if shorter.get(kind) == n_key is not None:
            raise AdapterError(
                f"the attention maps that {name} returns have {n_key} columns for a shorter text "
                "too, so the columns are not tokens (perhaps a window of that size)"
            )
    if why := _differs(plain, output):
        raise AdapterError(
            f"{name} computes something else when asked for its attention maps: {why}"
        )
    return output, maps


def _one_less(model: Any, inputs: dict[str, Any]) -> dict[str, int]:
    """The number of keys in its patterns when the text is one token shorter, by kind: a window with
    as many columns as a text has tokens is not a pattern of it (Longformer)."""
    ids = inputs.get("input_ids")
    n = 0 if ids is None else ids.shape[1]
    if n < 2 or "decoder_input_ids" in inputs:
        return {}
    cut = {
        name: x[:, :-1] if isinstance(x, Tensor) and x.dim() == 2 and x.shape[1] == n else x
        for name, x in inputs.items()
    }
    try:
        found = _named(model, model(**cut, output_attentions=True))
    except Exception:  # its other inputs do not fit a shorter text
        return {}
    lasts = {kind: maps[0] for kind, maps in found.items()}
    return {kind: x.shape[-1] for kind, x in lasts.items() if isinstance(x, Tensor)}


def _named(model: Any, output: Any) -> dict[str, tuple]:
    both = bool(getattr(model.config, "is_encoder_decoder", False))
    causal = type(model).__name__.endswith(("CausalLM", "LMHeadModel"))
    names = {
        "encoder": "encoder_attentions" if both else "attentions",
        "decoder": "decoder_attentions" if both else "attentions",
        "cross": "cross_attentions",
    }
    if not both:
        del names["cross"], names["encoder" if causal else "decoder"]
    maps = {kind: getattr(output, name, None) or () for kind, name in names.items()}
    return {kind: found for kind, found in maps.items() if found and found[0] is not None}


def _no_map(given: Any, n_query: int | None, n_key: int | None) -> str:
    """The reason why this is not [batch, head, query, key] weights of tokens on tokens (None: of
    any number); empty if it is."""
    if not isinstance(given, Tensor) or given.dim() != 4:
        what = list(given.shape) if isinstance(given, Tensor) else f"a {type(given).__name__}"
        return f"are {what}, not weights [batch, head, query, key]"
    if n_query and n_key and given.shape[2:] != (n_query, n_key):
        return (
            f"are {given.shape[2]} × {given.shape[3]} where there are {n_query} × {n_key} tokens, "
            "so they do not say which token attends to which"
        )
    given = given.float().nan_to_num()  # NaN in rows of padding
    sums = given.sum(-1)
    if bool((given < 0).any()) or not bool((sums <= 1 + NEAR_IN_FEW_BITS).all()):
        return "are not weights: rows are negative or sum to more than 1, so they may be scores"
    return ""


def _differs(plain: Any, output: Any) -> str:
    """How one of the outputs differs from a plain pass's; empty if none does."""
    for name, a in plain.items():
        b = output.get(name)
        if not isinstance(a, Tensor) or not isinstance(b, Tensor) or not a.is_floating_point():
            continue
        if a.shape != b.shape:
            return f"{name} has another shape"
        off = (a.float() - b.float()).abs().nan_to_num()
        most = float(off.max()) if off.numel() else 0.0
        near = NEAR.get(a.dtype, NEAR_IN_FEW_BITS) * (1 + float(a.float().abs().nan_to_num().max()))
        if most > near:
            return f"{name} is off by up to {most:.2g}"
    return ""
