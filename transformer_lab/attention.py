"""The seam: `attend` is the only place where attention is computed.

Self-, causal and cross-attention, our models and Hugging Face's, all come through it. With no
tap it is PyTorch's fused kernel. A tap sees every call: it may record it (references only, no
arithmetic) or edit it (cut an edge before the softmax, change a head's output before W_O).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import ModelConfig
from .positions import PositionModule

CUT_WEIGHTS = 2**24  # at once, where rows are computed again: 64 MiB

_hanging = threading.Lock()  # two threads that hang taps at once must not lose one


@dataclass(frozen=True)
class Site:
    """Where a call comes from: `kind` is "encoder", "decoder" or "cross"; layers count from 0."""

    kind: str
    layer: int


@dataclass(frozen=True)
class Cut:
    """Edges that are taken out of a call: ranges of heads, queries and keys."""

    heads: slice
    queries: slice
    keys: slice


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """What one call of `attend` was given; enough to compute its map at any later time.

    query [batch, head, query, d_head]; key, value [batch, kv_head, key, d_head];
    bias broadcasts to [batch, head, query, key]: bool (True: may look) or additive;
    causal: query i may look at keys up to i, counted from the ends of both.
    cuts: edges that are −inf besides. They are kept apart from the bias, so that the cut of one
    edge costs the memory of a row and not of a map for every head.
    """

    query: Tensor
    key: Tensor
    value: Tensor | None
    bias: Tensor | None
    causal: bool
    scale: float
    softcap: float | None = None
    site: Site | None = None
    module: nn.Module | None = None
    cuts: tuple[Cut, ...] = ()

    @property
    def n_heads(self) -> int:
        return self.query.shape[1]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the map: (batch, head, query, key)."""
        batch, head, query, _ = self.query.shape
        return batch, head, query, self.key.shape[2]

    def scores(
        self,
        batch: int | slice = slice(None),
        head: int | slice = slice(None),
        rows: Tensor | None = None,
    ) -> Tensor:
        """Scores before the softmax, −inf where masked: fp32, the axes [batch, head, query, key]
        less those that were chosen by a number; `rows` picks some of the queries."""
        batches, heads = _as_slice(batch), _as_slice(head)
        query = self.query[batches, heads]
        key = spread_heads(self.key[batches], self.n_heads)[:, heads]
        bias = _choose(self.bias, batches, heads)
        allowed = None
        if self.causal:
            allowed = causal_mask(self.shape[2], self.shape[3], self.query.device, rows)
        if rows is not None:
            query = query[:, :, rows]
            bias = bias if bias is None or bias.shape[-2] == 1 else bias[:, :, rows]
        scores = _cap(query.float() @ key.float().transpose(-1, -2) * self.scale, self.softcap)
        scores = _mask(scores, bias, allowed)
        for cut in self.cuts:
            scores = scores.masked_fill(self._hits(cut, heads, rows), float("-inf"))
        return _drop(scores, batch, head)

    def is_cut(self, head: int, query: int, key: int) -> bool:
        """Whether this edge was taken out by an edit."""
        places = tuple(zip((head, query, key), self.shape[1:], strict=True))
        return any(
            all(i in range(n)[part] for (i, n), part in zip(places, parts, strict=True))
            for parts in ((cut.heads, cut.queries, cut.keys) for cut in self.cuts)
        )

    def _hits(self, cut: Cut, heads: slice, rows: Tensor | None) -> Tensor:
        """Bool [head, query, key] of some heads and rows: what is cut."""
        hit = [torch.zeros(n, dtype=torch.bool, device=self.query.device) for n in self.shape[1:]]
        for which, part in zip(hit, (cut.heads, cut.queries, cut.keys), strict=True):
            which[part] = True
        head, query, key = hit
        query = query if rows is None else query[rows]
        return head[heads][:, None, None] & query[:, None] & key

    def pattern(
        self,
        batch: int | slice = slice(None),
        head: int | slice = slice(None),
        rows: Tensor | None = None,
    ) -> Tensor:
        """Attention weights after the softmax, axes as in `scores`; a row with no key to look at
        is all zero."""
        return safe_softmax(self.scores(batch, head, rows))


class Tap:
    """Sees, and may change, what passes through attention and the residual stream.

    Every method returns what the model goes on with; these return their input unchanged.
    """

    records = False  # a recording tap comes after the editing ones

    def __deepcopy__(self, memo: dict) -> Tap:
        return self  # a copied model goes on feeding the very same taps

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        return call

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        """z [batch, head, query, d_head]: each head's output before W_O."""
        return z

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        """x [batch, position, d_model]; name: resid_pre, attn_out, resid_mid, mlp_out, …"""
        return x


class Tapped:
    """A model whose attention and blocks taps are hung on: `tapped` says which modules they are.

    Taps may be hung and taken off from several threads; recording ones see what editing ones did,
    and otherwise they act in the order in which they were hung.
    """

    def tapped(self) -> Iterator[Any]:
        """Every module that a tap is hung on."""
        raise NotImplementedError

    def add_tap(self, tap: Tap) -> None:
        with _hanging:
            for module in self.tapped():
                module.taps = tuple(sorted((*module.taps, tap), key=lambda t: t.records))

    def remove_tap(self, tap: Tap) -> None:
        with _hanging:
            for module in self.tapped():
                module.taps = tuple(t for t in module.taps if t is not tap)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bias: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    tap: Tap | tuple[Tap, ...] | None = None,
    site: Site | None = None,
    module: nn.Module | None = None,
) -> Tensor:
    """Scaled dot-product attention: softmax(query·keyᵀ·scale + bias)·value.

    Args:
        query: [batch, head, query, d_head].
        key, value: [batch, kv_head, key, d_head]; kv_head divides head (grouped queries).
        bias: broadcasts to [batch, head, query, key]. Bool: True where a query may look.
            Floating: added to the scores, −inf forbids.
        causal: each query looks at no later key; the last query is aligned with the last key.
        scale: 1/√d_head unless given.
        dropout: probability of dropping a weight (0 in evaluation).
        softcap: scores become softcap·tanh(scores/softcap) (Gemma 2).
        tap, site, module: see `Tap`; set by the models, not by hand.

    Returns:
        z [batch, head, query, d_head]. A query that may look at nothing gets 0, never NaN.

    Raises:
        ValueError: when the shapes do not fit, naming them.

    Source: Vaswani et al. 2017, equation 1.
    """
    _check(query, key, value)
    scale = float(query.shape[-1] ** -0.5 if scale is None else scale)
    if tap is None or tap == ():  # the fast path: no object is made
        return _compute(query, key, value, bias, causal, scale, dropout, softcap)
    taps = tap if isinstance(tap, tuple) else (tap,)
    call = AttentionCall(query, key, value, bias, causal, scale, softcap, site, module)
    for t in taps:
        call = t.on_attention(call)
    z = _compute(
        call.query, call.key, call.value, call.bias, call.causal, call.scale, dropout, call.softcap
    )
    if call.cuts:
        z = _without_cut_edges(call, z, dropout)
    for t in taps:
        z = t.on_heads(call, z)
    return z


def _without_cut_edges(call: AttentionCall, z: Tensor, dropout: float) -> Tensor:
    """Heads and rows from which edges were cut, computed once more, some heads at a time."""
    z = z.clone()
    assert call.value is not None
    batch, n_heads, n_query, n_key = call.shape
    for cut in call.cuts:
        rows = torch.arange(n_query, device=z.device)[cut.queries]
        heads = range(n_heads)[cut.heads]
        value = spread_heads(call.value, n_heads)
        step = max(1, CUT_WEIGHTS // max(1, batch * len(rows) * n_key))
        for first in heads[::step]:
            some = slice(first, min(first + step, heads.stop))
            weights = F.dropout(call.pattern(slice(None), some, rows), dropout)
            z[:, some, rows] = weights.to(value.dtype) @ value[:, some]
    return z


def _compute(query, key, value, bias, causal, scale, dropout, softcap) -> Tensor:
    n_query, n_key = query.shape[2], key.shape[2]
    if key.shape[1] != query.shape[1]:
        key, value = spread_heads(key, query.shape[1]), spread_heads(value, query.shape[1])
    if softcap is not None:  # the fused kernels have no softcap
        scores = _cap(query @ key.transpose(-1, -2) * scale, softcap)
        allowed = causal_mask(n_query, n_key, query.device) if causal else None
        pattern = safe_softmax(_mask(scores.float(), bias, allowed)).to(value.dtype)
        return F.dropout(pattern, dropout) @ value
    if causal and n_query == 1:
        causal = False  # the last query may look at every key
    if causal and (bias is not None or n_query != n_key):
        # The fused kernel aligns is_causal top-left and takes no mask beside it.
        bias, causal = _with_causal(bias, n_query, n_key, query), False
    if bias is not None and bias.dtype != torch.bool:
        bias = bias.to(query.dtype)
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=bias, dropout_p=dropout, is_causal=causal, scale=scale
    )


def safe_softmax(scores: Tensor) -> Tensor:
    """Softmax over the last axis in which a row of −inf gives 0 rather than NaN."""
    top = scores.amax(-1, keepdim=True)
    weights = (scores - top.masked_fill(top == float("-inf"), 0.0)).exp()
    total = weights.sum(-1, keepdim=True)
    return weights / total.masked_fill(total == 0, 1.0)


def causal_mask(
    n_query: int, n_key: int, device: torch.device | None = None, rows: Tensor | None = None
) -> Tensor:
    """Bool [query, key], True where a query may look; the last query sits at the last key.
    `rows` picks some of the queries."""
    if rows is not None:
        return torch.arange(n_key, device=device) <= rows[:, None] + (n_key - n_query)
    ones = torch.ones(n_query, n_key, dtype=torch.bool, device=device)
    return ones.tril(n_key - n_query)


def spread_heads(x: Tensor, n_heads: int) -> Tensor:
    """[batch, kv_head, position, d_head] -> [batch, head, …]: each kv head serves a group."""
    groups = n_heads // x.shape[1]
    return x if groups == 1 else x.repeat_interleave(groups, 1)


def add_bias(bias: Tensor | None, more: Tensor) -> Tensor:
    """Two biases as one: bool ones are combined by `and`, others are added."""
    if bias is None:
        return more
    if bias.dtype == torch.bool and more.dtype == torch.bool:
        return bias & more
    return as_additive(bias) + as_additive(more)


def as_additive(bias: Tensor) -> Tensor:
    """A bool bias as 0 and −inf."""
    if bias.dtype != torch.bool:
        return bias
    zero = torch.zeros(bias.shape, device=bias.device)
    return zero.masked_fill_(~bias, float("-inf"))


def _with_causal(bias: Tensor | None, n_query: int, n_key: int, like: Tensor) -> Tensor:
    return add_bias(bias, causal_mask(n_query, n_key, like.device))


def _cap(scores: Tensor, softcap: float | None) -> Tensor:
    return scores if softcap is None else softcap * torch.tanh(scores / softcap)


def _mask(scores: Tensor, bias: Tensor | None, allowed: Tensor | None) -> Tensor:
    for part in (bias, allowed):
        if part is None:
            continue
        if part.dtype == torch.bool:
            scores = scores.masked_fill(~part, float("-inf"))
        else:
            scores = scores + part.float()
    return scores


def _as_slice(index: int | slice) -> slice:
    return index if isinstance(index, slice) else slice(index, index + 1)


def _choose(bias: Tensor | None, batches: slice, heads: slice) -> Tensor | None:
    """The part of a broadcasting bias that belongs to these batches and heads."""
    if bias is None:
        return None
    while bias.dim() < 4:
        bias = bias[None]
    bias = bias if bias.shape[0] == 1 else bias[batches]
    return bias if bias.shape[1] == 1 else bias[:, heads]


def _drop(x: Tensor, batch: int | slice, head: int | slice) -> Tensor:
    if not isinstance(head, slice):
        x = x.squeeze(1)
    return x if isinstance(batch, slice) else x.squeeze(0)


def _check(query: Tensor, key: Tensor, value: Tensor) -> None:
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.dim() != 4:
            raise ValueError(
                f"{name} has shape {list(x.shape)}; attend needs [batch, head, position, d_head] "
                "(for one head and one text: x[None, None])"
            )
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"query has d_head={query.shape[-1]} but key has {key.shape[-1]}; "
            "a dot product needs the same"
        )
    if key.shape[2] != value.shape[2]:
        raise ValueError(
            f"key has {key.shape[2]} positions but value has {value.shape[2]}; "
            "each key needs one value"
        )
    if key.shape[1] != value.shape[1] or query.shape[1] % key.shape[1]:
        raise ValueError(
            f"{query.shape[1]} query heads cannot share {key.shape[1]} key and "
            f"{value.shape[1]} value heads; the number of key heads must divide that of query heads"
        )


class Attention(nn.Module):
    """Multi-head attention: every head attends in its own d_head dimensions. Source: Vaswani et
    al. 2017, 3.2.2; grouped key/value heads: Ainslie et al. 2023.

    A call takes x [batch, query, d_model] and, for cross-attention, memory [batch, key, d_model].
    """

    taps: tuple[Tap, ...] = ()

    def __init__(self, config: ModelConfig, site: Site, *, causal: bool):
        super().__init__()
        self.site, self.causal = site, causal
        self.n_heads, self.n_kv_heads, self.d_head = (
            config.n_heads,
            config.n_kv_heads,
            config.d_head,
        )
        self.dropout, self.qk_norm = config.dropout, config.qk_norm
        wide, narrow = self.n_heads * self.d_head, self.n_kv_heads * self.d_head
        self.query = nn.Linear(config.d_model, wide, bias=config.bias)
        self.key = nn.Linear(config.d_model, narrow, bias=config.bias)
        self.value = nn.Linear(config.d_model, narrow, bias=config.bias)
        self.out = nn.Linear(wide, config.d_model, bias=config.bias)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        *,
        bias: Tensor | None = None,
        positions: tuple[PositionModule, Tensor] | None = None,
        cache=None,
    ) -> Tensor:
        cross = self.site.kind == "cross"
        query = self._split(self.query(x), self.n_heads)
        if cache is not None and cross and self.site.layer in cache.cross:
            key, value = cache.cross[self.site.layer]
        else:
            source = memory if cross else x
            key = self._split(self.key(source), self.n_kv_heads)
            value = self._split(self.value(source), self.n_kv_heads)
            if self.qk_norm:
                key = F.rms_norm(key, (self.d_head,))
            if positions is not None and not cross:
                key = positions[0].rotate(key, positions[1])
            if cache is not None:
                key, value = cache.extend(self.site, key, value)
        if self.qk_norm:
            query = F.rms_norm(query, (self.d_head,))
        if positions is not None and not cross:
            query = positions[0].rotate(query, positions[1])
        z = attend(
            query, key, value, bias=bias, causal=self.causal, tap=self.taps, site=self.site,
            module=self, dropout=self.dropout if self.training else 0.0,
        )  # fmt: skip
        return self.out(z.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor, n_heads: int) -> Tensor:
        return x.unflatten(-1, (n_heads, self.d_head)).transpose(1, 2)
