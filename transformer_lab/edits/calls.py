"""What edits read from an attention call, and how they change it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..attention import AttentionCall, Cut
from ..softmax import allows, as_slice, drop_axes


@dataclass(frozen=True, eq=False)
class Put:
    """Weights that replace the softmax's: `weights` [batch or 1, head, query, key] of these heads
    and queries.
    """

    heads: range
    queries: Tensor
    weights: Tensor

    def without(self, cut: Cut) -> Put:
        """Cut edges; the rest of each row takes their weight."""
        weights = self.weights.clone()
        heads = [i for i, h in enumerate(self.heads) if cut.heads.start <= h < cut.heads.stop]
        places = self.queries.tolist()
        rows = [i for i, q in enumerate(places) if cut.queries.start <= q < cut.queries.stop]
        for head in heads:
            part = weights[:, head, rows]
            whole = part.sum(-1, keepdim=True)
            part[..., cut.keys] = 0
            left = part.sum(-1, keepdim=True)
            weights[:, head, rows] = part * whole / left.masked_fill(left == 0, 1)
        return replace(self, weights=weights)


@dataclass(frozen=True, eq=False)
class PutCall(AttentionCall):
    """A call with some of its weights replaced; later `puts` override earlier ones."""

    puts: tuple[Put, ...] = ()

    def pattern(
        self, batch=slice(None), head=slice(None), rows=None, dtype=torch.float32
    ) -> Tensor:
        batches, heads = as_slice(batch), as_slice(head)
        found = super().pattern(batches, heads, rows, dtype)
        some = range(self.n_heads)[heads]
        for put in self.puts:
            whose = [(some.index(h), i) for i, h in enumerate(put.heads) if h in some]
            places = put.queries.tolist()
            if rows is not None:
                asked = {row: i for i, row in enumerate(rows.tolist())}
                which = [(asked[q], i) for i, q in enumerate(places) if q in asked]
            else:
                which = [(q, i) for i, q in enumerate(places)]
            weights = put.weights if len(put.weights) == 1 else put.weights[batches]
            for here, there in whose:
                own = weights[:, there, [i for _, i in which]]
                found[:, here, [i for i, _ in which]] = own.to(found)
        return drop_axes(found, batch, head)


def with_put(call: AttentionCall, put: Put) -> AttentionCall:
    """Return the call with these weights in place of its own.

    A cut of no keys marks that values must be mixed from the pattern.
    """
    first, last = int(put.queries.min()), int(put.queries.max())
    cut = Cut(slice(put.heads.start, put.heads.stop), slice(first, last + 1), slice(0, 0))
    fields: dict[str, Any] = vars(call) | {"cuts": (*call.cuts, cut)}
    fields["puts"] = (*fields.get("puts", ()), put)
    return PutCall(**fields)


def start_of(call: AttentionCall) -> int:
    """Return the position in the text of the first query of a self-attention call."""
    if call.start is not None:
        return call.start
    decodes = call.site is not None and call.site.kind == "decoder"
    return call.shape[3] - call.shape[2] if decodes else 0


def real_keys(call: AttentionCall) -> Tensor | None:
    """Return the keys that some query may attend to, bool [batch or 1, key]; None if all."""
    bias = call.bias
    if bias is None or call.windows is not None:  # an image has no padding
        return None
    while bias.dim() < 4:
        bias = bias[None]
    real = allows(bias).any(1).any(1)
    return None if real.shape[-1] == 1 or bool(real.all()) else real


def cut_from(call: AttentionCall, heads: slice, queries: slice, keys: slice) -> AttentionCall:
    """Return the call without these edges, or the same object if a window or padding already
    forbids them all.
    """
    cut = Cut(slice(*heads.indices(call.n_heads)), queries, keys)
    bias = call.bias
    if call.windows is not None:
        if not call.windows.joins(queries, keys):
            return call
    elif bias is not None:
        while bias.dim() < 4:
            bias = bias[None]
        bias = bias if bias.shape[1] == 1 else bias[:, cut.heads]
        bias = bias if bias.shape[2] == 1 else bias[:, :, cut.queries]
        bias = bias if bias.shape[3] == 1 else bias[..., cut.keys]
        if not bool(allows(bias).any()):
            return call
    puts = getattr(call, "puts", ())
    more = {"puts": tuple(put.without(cut) for put in puts)} if puts else {}
    return replace(call, cuts=(*call.cuts, cut), **more)


def own_part(x: Tensor, call: AttentionCall, z: Tensor) -> Tensor:
    """Return this call's part of vectors of whole heads [..., d_head]."""
    width = z.shape[-1]
    return x[..., call.part * width : (call.part + 1) * width]
