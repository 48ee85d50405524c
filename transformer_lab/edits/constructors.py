"""Functions that make the edits of `tl.edit`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..tracing.trace import Trace
from .kinds import Ablation, Edit, EditError, KnockOut, Scale, Skip, whole_or_none
from .patching import Patch, Steer
from .sites import OF_STREAM, site_named


def ablate(
    layer: int | None = None,
    head: int | None = None,
    *,
    kind: str | None = None,
    value: Any = "zero",
) -> Edit:
    """Switch heads off by replacing their output z before W_O.

    Args:
        layer, head: counted from 0; None means all.
        kind: "encoder", "decoder" or "cross"; the decoder's (or only) self-attention by default.
        value: "zero", "mean" (over the text's real positions), a `Reference` of `tl.mean_of` (the
            head's mean over other texts), or a tensor that broadcasts to
            [batch, head, query, d_head].
    """
    known = isinstance(value, Tensor) or hasattr(value, "vectors")
    if not known and not (isinstance(value, str) and value in ("zero", "mean")):
        raise EditError(f"value must be 'zero', 'mean', a tl.mean_of(…) or a tensor, got {value!r}")
    return Ablation(layer, head, kind, value=value)


def scale(
    layer: int | None = None, head: int | None = None, *, by: float, kind: str | None = None
) -> Edit:
    """Multiply the output z of heads, before W_O: by=0 switches them off, by=1 changes nothing.

    Args:
        layer, head, kind: as in `ablate`.
        by: any finite number.
    """
    return Scale(layer, head, kind, by=_finite("by", by))


def knock_out(
    layer: int | None = None,
    head: int | None = None,
    *,
    query: int | None = None,
    key: int | None = None,
    kind: str | None = None,
) -> Edit:
    """Stop a query from attending to a key. The edge is cut before the softmax, so the remaining
    weights sum to 1 again; a query with no key left gets 0.

    Args:
        layer, head: counted from 0; None means all.
        query, key: positions in the text; None means all (at least one must be given).
        kind: as in `ablate`.
    """
    return KnockOut(layer, head, kind, query=query, key=key)


def skip(
    layer: int | None = None,
    part: str = "attention",
    *,
    expert: int | None = None,
    kind: str | None = None,
) -> Edit:
    """Skip a part of a block: its attention, MLP or one expert adds nothing to the residual stream.

    The stream bypasses it; a norm after the sum (post-norm, as in the paper) still applies.

    Args:
        layer: counted from 0; None means all.
        part: "attention" or "mlp".
        expert: of an MLP with experts (`ModelConfig(n_experts=…)`), the one to skip; tokens routed
            to it are not rerouted. Of a `tl.Dictionary`, the feature.
        kind: as in `ablate`; kind="cross" with "attention" skips cross-attention.
    """
    return Skip(layer, None, kind, part=part, expert=expert)


def patch(
    source_trace: Trace,
    layer: int | None = None,
    head: int | None = None,
    *,
    position: int | Sequence[int | tuple[int, int]] | None = None,
    kind: str | None = None,
    what: str = "z",
) -> Edit:
    """Replace an activation by that of another run (activation patching): which part of that run is
    enough to change the answer of this one?

    Args:
        source_trace: from `tl.trace(model, tokens, keep="all")`, of one text (used for every text
            of the batch) or of as many as the batch has.
        layer, kind: as in `ablate`; with kind="cross", "attn_out" is what cross-attention adds.
        head: as in `ablate`; for "k" and "v" a key/value head, which a group of heads may share.
        position: one or several positions, counted from 0 and the same in both texts, or pairs
            (position in the source, position here); None means all, and then both texts must have
            the same length. For "k" and "v" it is the key's position, for "pattern" the query's.
        what: of a head "z", its output before W_O; "q", "k", "v" as attention uses them (after
            rotary positions); "pattern", its weights. Of the stream "resid_pre" ("resid" for
            short), "resid_mid" (our models) and "resid_post", before, inside and after a block;
            "attn_out" and "mlp_out", what those parts add. TransformerLens' names, such as
            "blocks.3.attn.hook_z", work too.

    Raises:
        EditError: for an unknown site, a trace that did not keep it (with the reason if the model
            does not expose it), or positions outside the texts.
    """
    what, layer = site_named(what, layer)
    return Patch(layer, head, kind, source=source_trace, position=position, what=what)


def steer(
    vector: Any,
    layer: int | None = None,
    *,
    by: float = 1.0,
    position: int | Sequence[int] | None = None,
    what: str = "resid_post",
    kind: str | None = None,
) -> Edit:
    """Add a vector to the residual stream (Turner et al. 2023, activation addition).

    Args:
        vector: [d_model], or one for each position that is steered, [position, d_model].
        layer: counted from 0; None means after every layer.
        by: factor of the vector; below 0 it is subtracted.
        position: one or several positions, counted from 0; None means all, including generated
            ones.
        what: the site: "resid_post", after the layer; "resid_pre", "resid_mid" (our models),
            "attn_out" or "mlp_out", as in `patch`.
        kind: as in `ablate`.

    Raises:
        EditError: if the vector is not finite floats of these shapes, and in a pass if its width is
            not the model's d_model.
    """
    what, layer = site_named(what, layer)
    if what not in OF_STREAM:
        raise EditError(
            f"what must be one of {', '.join(OF_STREAM)} to add a vector, got {what!r}, which "
            "belongs to heads"
        )
    if kind == "cross" and what != "attn_out":
        raise EditError(f"{what} belongs to kind='decoder', not to 'cross'")
    vector = torch.as_tensor(vector)
    if vector.dim() not in (1, 2) or not vector.numel() or not vector.is_floating_point():
        raise EditError(
            "vector must be floats [d_model] or [position, d_model], got shape "
            f"{list(vector.shape)} and type {vector.dtype}"
        )
    if not bool(vector.isfinite().all()):
        raise EditError("vector must hold finite numbers only, got NaN or infinity")
    for place in [position] if isinstance(position, int | None) else position:
        whole_or_none("position", place)
    return Steer(
        layer,
        None,
        kind,
        vector=vector.detach(),
        by=_finite("by", by),
        position=position,
        what=what,
    )


# Edits that a browser may request: none of them holds tensors or runs code.
_PLAIN = {
    "ablate": (ablate, {"layer", "head", "kind", "value"}),
    "knock_out": (knock_out, {"layer", "head", "kind", "query", "key"}),
    "scale": (scale, {"layer", "head", "kind", "by"}),
    "skip": (skip, {"layer", "part", "expert", "kind"}),
}


def edit_from_dict(values: Any) -> Edit:
    """Rebuild an edit from `Edit.to_dict`.

    Raises:
        EditError: for anything else, naming what is wrong.
    """
    if not isinstance(values, dict):
        raise EditError(f"an edit must be a dict with 'edit', got {type(values).__name__}")
    values = dict(values)
    name = values.pop("edit", None)
    if not isinstance(name, str) or name not in _PLAIN:
        raise EditError(f"edit must be one of {', '.join(_PLAIN)}, got {name!r}")
    make, known = _PLAIN[name]
    unknown = [key for key in values if key not in known]
    if unknown:
        raise EditError(f"{name} has no argument {unknown[0]!r}; it has {', '.join(sorted(known))}")
    for key, value in values.items():
        if value is not None and not isinstance(value, str | int | float):
            raise EditError(f"{key} of {name} must be a text or a number, got {value!r}")
    if name == "scale" and "by" not in values:
        raise EditError("scale needs by, a number; try by=0.5")
    return make(**values)


def _finite(name: str, value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise EditError(f"{name} must be a finite number, got {value!r}; try {name}=0.5")
    return value
