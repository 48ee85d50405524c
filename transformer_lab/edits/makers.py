"""The edits that `tl.edit` makes, by the functions that make them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..tracing.trace import Trace
from .kinds import Ablation, Edit, EditError, KnockOut, Patch, Scale, Skip


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
        raise EditError(
            f"value={value!r} is not known; choose 'zero', 'mean', a tl.mean_of(…) or a tensor"
        )
    return Ablation(layer, head, kind, value=value)


def scale(
    layer: int | None = None, head: int | None = None, *, by: float, kind: str | None = None
) -> Edit:
    """Multiply the output z of heads, before W_O: by=0 switches them off, by=1 changes nothing.

    Args:
        layer, head, kind: as in `ablate`.
        by: any finite number.
    """
    number = isinstance(by, int | float) and not isinstance(by, bool)
    if not number or not math.isfinite(by):
        raise EditError(f"by={by!r} must be a finite number; try by=0.5")
    return Scale(layer, head, kind, by=by)


def knock_out(
    layer: int | None = None,
    head: int | None = None,
    *,
    query: int | None = None,
    key: int | None = None,
    kind: str | None = None,
) -> Edit:
    """Forbid a query to look at a key. The edge is cut before the softmax, so that the weights
    that are left sum to 1 again; a query that is left with no key gets 0.

    Args:
        layer, head: counted from 0; None means all.
        query, key: positions in the text; None means all (at least one must be given).
        kind: as in `ablate`.
    """
    return KnockOut(layer, head, kind, query=query, key=key)


def skip(layer: int | None = None, part: str = "attention", *, kind: str | None = None) -> Edit:
    """Let the attention or the feed-forward part of a block add nothing to the residual stream.

    The stream goes past it; where norms come after the sum (as in the paper) it is still
    normalised there.

    Args:
        layer: counted from 0; None means all.
        part: "attention" or "mlp".
        kind: as in `ablate`; kind="cross" with "attention" skips cross-attention.
    """
    return Skip(layer, None, kind, part=part)


def patch(
    source_trace: Trace,
    layer: int | None = None,
    head: int | None = None,
    *,
    position: int | Sequence[int] | None = None,
    kind: str | None = None,
    what: str = "z",
) -> Edit:
    """Put in what another run had at the same place: what of that run is enough to turn this one?

    Args:
        source_trace: of `tl.trace(model, tokens, keep="all")`, one text (put into every text of
            the batch) or as many as the batch has.
        layer, head, kind: as in `ablate`.
        position: one or several places in the text, counted from 0 in both; None means all,
            and then the two texts must be of one length.
        what: "z", the heads' outputs before W_O; "resid_pre" or "resid_post", the residual stream
            before or after a block.

    Raises:
        EditError: for a trace that kept no values, or places that it does not have.
    """
    return Patch(layer, head, kind, source=source_trace, position=position, what=what)


# What a browser may ask for: nothing here holds tensors or runs code.
_PLAIN = {
    "ablate": (ablate, {"layer", "head", "kind", "value"}),
    "knock_out": (knock_out, {"layer", "head", "kind", "query", "key"}),
    "scale": (scale, {"layer", "head", "kind", "by"}),
    "skip": (skip, {"layer", "part", "kind"}),
}


def edit_from_dict(values: Any) -> Edit:
    """The edit of `Edit.to_dict`.

    Raises:
        EditError: for anything else, naming what is wrong.
    """
    if not isinstance(values, dict):
        raise EditError(f"an edit is a dict with 'edit', not a {type(values).__name__}")
    values = dict(values)
    name = values.pop("edit", None)
    if not isinstance(name, str) or name not in _PLAIN:
        raise EditError(f"edit={name!r} is not known; choose one of {', '.join(_PLAIN)}")
    make, known = _PLAIN[name]
    unknown = [key for key in values if key not in known]
    if unknown:
        raise EditError(f"{unknown[0]!r} is no part of {name}; it has {', '.join(sorted(known))}")
    for key, value in values.items():
        if value is not None and not isinstance(value, str | int | float):
            raise EditError(f"{key}={value!r} of {name} is no plain value")
    if name == "scale" and "by" not in values:
        raise EditError("scale needs by, a number; try by=0.5")
    return make(**values)
