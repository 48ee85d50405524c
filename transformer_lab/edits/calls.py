"""What edits ask of a call of attention, and take out of it."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ..attention import AttentionCall, Cut
from ..softmax import allows


def start_of(call: AttentionCall) -> int:
    """Where in the text the first query of a call of self-attention stands."""
    if call.start is not None:
        return call.start
    decodes = call.site is not None and call.site.kind == "decoder"
    return call.shape[3] - call.shape[2] if decodes else 0


def real_keys(call: AttentionCall) -> Tensor | None:
    """Bool [batch or 1, key]: the keys that some query may look at, less causality; None: all."""
    bias = call.bias
    if bias is None or call.windows is not None:  # a picture has no padding of its own
        return None
    while bias.dim() < 4:
        bias = bias[None]
    real = allows(bias).any(1).any(1)
    return None if real.shape[-1] == 1 or bool(real.all()) else real


def cut_from(call: AttentionCall, heads: slice, queries: slice, keys: slice) -> AttentionCall:
    """The call without these edges; the same object where none of them is there: a window or
    padding may forbid them."""
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
    return replace(call, cuts=(*call.cuts, cut))


def own_part(x: Tensor, call: AttentionCall, z: Tensor) -> Tensor:
    """Of vectors of whole heads [..., d_head], what this call makes of them."""
    width = z.shape[-1]
    return x[..., call.part * width : (call.part + 1) * width]
