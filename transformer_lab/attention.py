"""The attention interface: `attend` is the only place where attention is computed.

Self-, causal and cross-attention all go through it, in our models and Hugging Face's. Without a
hook (`Tap`) it is PyTorch's fused kernel. A hook sees every call: it may record it (references
only, no arithmetic) or edit it (cut an edge before the softmax, change a head's output before W_O).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .adapters.hooks import Taps
from .cache import KVCache
from .config import ModelConfig
from .positions import PositionModule
from .softmax import (
    RMSNorm,
    add_bias,
    allows,
    as_column,
    as_slice,
    cap,
    causal_mask,
    check_shapes,
    drop_axes,
    masked,
    part_of,
    safe_softmax,
    share_of_nothing,
    spread_heads,
)

KINDS = ("encoder", "decoder", "cross")
CUT_WEIGHTS = 2**24  # computed at once for rows with cuts: 64 MiB

_hanging = threading.Lock()  # two threads that register hooks at once must not lose one


@dataclass(frozen=True)
class Site:
    """The layer that a call comes from, counted from 0; `kind`: "encoder", "decoder" or "cross"."""

    kind: str
    layer: int


@dataclass(frozen=True)
class Cut:
    """Edges that are cut from a call: ranges of heads, queries and keys."""

    heads: slice
    queries: slice
    keys: slice


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """The inputs of one call of `attend`, enough to compute its attention pattern later.

    query [batch, head, query, d_head]; key, value [batch, kv_head, key, d_head];
    bias broadcasts to [batch, head, query, key]: bool (True: may attend) or additive;
    causal: no query may attend to a later key; the last query is aligned with the last key.
    cuts: further edges at −inf. They are kept apart from the bias, so that cutting one edge takes
    the memory of a row and not of a pattern per head.
    sinks: broadcasts to [batch, head, query, 1]: see `attend`.
    start: position of the first query in the text (above 0 with a cache); None if unknown, and then
    the last query is at the last key.
    part: above 0 for a later call that applies the same patterns to other values: each computes
    its part of z.
    d_value: width of the values, if they are not kept.
    windows: where each window of an image lies (an `adapters.windows.Windows`), if attention is
    within windows; such a call has its own class, whose patterns are of the whole image.
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
    sinks: Tensor | None = None
    start: int | None = None
    part: int = 0
    d_value: int | None = None
    windows: Any = None

    @property
    def n_heads(self) -> int:
        return self.query.shape[1]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the pattern: (batch, head, query, key)."""
        batch, head, query, _ = self.query.shape
        return batch, head, query, self.key.shape[2]

    def scores(
        self,
        batch: int | slice = slice(None),
        head: int | slice = slice(None),
        rows: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Scores before the softmax, in `dtype`, −inf where masked: [batch, head, query, key]
        without the axes that were indexed by an int; `rows` selects queries."""
        batches, heads = as_slice(batch), as_slice(head)
        query = self.query[batches, heads]
        key = spread_heads(self.key[batches], self.n_heads)[:, heads]
        bias = part_of(self.bias, batches, heads, rows)
        allowed = None
        if self.causal:
            allowed = causal_mask(self.shape[2], self.shape[3], self.query.device, rows)
        if rows is not None:
            query = query[:, :, rows]
        dots = query.to(dtype) @ key.to(dtype).transpose(-1, -2)
        scores = masked(cap(dots * self.scale, self.softcap), bias, allowed)
        for cut in self.cuts:
            hit = self._hits(cut, heads, rows)
            if bias is not None:
                # If a cut leaves no key, those masked by a finite number must not get the weight.
                there = allows(bias)
                hit = hit | ((hit & there).any(-1, keepdim=True) & ~there)
            scores = scores.masked_fill(hit, float("-inf"))
        return drop_axes(scores, batch, head)

    def is_cut(self, head: int, query: int, key: int) -> bool:
        """Whether an edit cut this edge."""
        places = tuple(zip((head, query, key), self.shape[1:], strict=True))
        return any(
            all(i in range(n)[part] for (i, n), part in zip(places, parts, strict=True))
            for parts in ((cut.heads, cut.queries, cut.keys) for cut in self.cuts)
        )

    def _hits(self, cut: Cut, heads: slice, rows: Tensor | None) -> Tensor:
        """Edges of some heads and rows that are cut: bool [head, query, key]."""
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
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Attention weights after the softmax, axes as in `scores`; a row with no key to attend to
        is all zero. With sinks, rows sum to less than 1: see `to_nothing`."""
        sinks = part_of(self.sinks, as_slice(batch), as_slice(head), rows)
        sinks = None if sinks is None else drop_axes(sinks.to(dtype), batch, head)
        return safe_softmax(self.scores(batch, head, rows, dtype), sinks)

    def to_nothing(
        self,
        batch: int | slice = slice(None),
        head: int | slice = slice(None),
        rows: Tensor | None = None,
    ) -> Tensor:
        """The weight of each row that its sink takes and no key gets: axes as in `scores` without
        the keys; all 0 without sinks."""
        scores = self.scores(batch, head, rows)
        sinks = part_of(self.sinks, as_slice(batch), as_slice(head), rows)
        if sinks is None:
            return scores.new_zeros(scores.shape[:-1])
        return share_of_nothing(scores, drop_axes(sinks.float(), batch, head))

    @property
    def has_rest(self) -> bool:
        """Whether rows may sum to less than 1: see `to_nothing`."""
        return self.sinks is not None

    def by_position(self, x: Tensor) -> Tensor:
        """Reorder what attention computed for its queries or keys to [batch, head, position, …]."""
        return x

    def by_window(self, x: Tensor) -> Tensor:
        """The reverse of `by_position`."""
        return x

    def mixed(
        self, weights: Tensor, batch=slice(None), heads=slice(None), rows=None, dropout: float = 0.0
    ) -> Tensor:
        """z [batch, head, query, d_head]: the values of some heads, summed with these weights."""
        assert self.value is not None
        value = spread_heads(self.value[batch], self.n_heads)[:, heads]
        return F.dropout(weights, dropout).to(value.dtype) @ value

    @property
    def first_key(self) -> int:
        """Position of the first key in the text: above 0 if a cache has dropped earlier ones, 0 in
        cross-attention."""
        if self.start is None or (self.site is not None and self.site.kind == "cross"):
            return 0
        return max(0, self.start + self.shape[2] - self.shape[3])


class Tap:
    """A hook on attention and the residual stream: it sees, and may change, what passes through.

    Every method returns what the model continues with; these return their input unchanged.
    """

    records = False  # recording hooks run after the editing ones
    wants_maps = False  # whether `attend` must compute the pattern and pass it to `on_map`

    def __deepcopy__(self, memo: dict) -> Tap:
        return self  # a copied model keeps the same hooks

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        return call

    def on_map(self, call: AttentionCall, weights: Tensor) -> Tensor:
        """weights [batch, head, query, key]; called only while some hook `wants_maps`."""
        return weights

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        """z [batch, head, query, d_head]: each head's output before W_O."""
        return z

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        """x [batch, position, d_model]; name: resid_pre, attn_out, resid_mid, mlp_out, …; for
        "gates", x [batch, position, expert]."""
        return x


class Tapped:
    """A model that hooks can be registered on; `tapped` yields the modules that are hooked.

    Hooks may be added and removed from several threads. They run in the order in which they were
    added, but recording ones after the editing ones, whose changes they see.
    """

    def tapped(self) -> Iterator[Any]:
        """Yield every module that a hook is registered on."""
        raise NotImplementedError

    def add_tap(self, tap: Tap) -> None:
        with _hanging:
            for module in self.tapped():
                module.taps = Taps(sorted((*module.taps, tap), key=lambda t: t.records))

    def remove_tap(self, tap: Tap) -> None:
        with _hanging:
            for module in self.tapped():
                left = [t for t in module.taps if t is not tap]
                module.taps = Taps(left) if left else ()


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
    sinks: Tensor | None = None,
    tap: Tap | tuple[Tap, ...] | None = None,
    site: Site | None = None,
    module: nn.Module | None = None,
    start: int | None = None,
    part: int = 0,
    windows: Any = None,
) -> Tensor:
    """Scaled dot-product attention: softmax(query·keyᵀ·scale + bias)·value.

    Args:
        query: [batch, head, query, d_head].
        key, value: [batch, kv_head, key, d_head]; kv_head divides head (grouped queries).
        bias: broadcasts to [batch, head, query, key]. Bool: True where a query may attend.
            Floating: added to the scores, −inf forbids.
        causal: no query attends to a later key; the last query is aligned with the last key.
        scale: 1/√d_head unless given.
        dropout: probability of dropping a weight (0 in evaluation).
        softcap: scores become softcap·tanh(scores/softcap) (Gemma 2).
        sinks: [head], or broadcasts to [batch, head, query, 1]: the score of one more column in
            each row's softmax. No mask hides it and it has no value, so that a head can attend to
            nothing (gpt-oss; Xiao et al. 2024).
        tap, site, module, start, part, windows: see `Tap` and `AttentionCall`; set by the models.

    Returns:
        z [batch, head, query, d_head]. A query that may attend to no key gets 0, never NaN.

    Raises:
        ValueError: if the shapes do not match; the message names them.

    Source: Vaswani et al. 2017, equation 1.
    """
    check_shapes(query, key, value)
    scale = float(query.shape[-1] ** -0.5 if scale is None else scale)
    if sinks is not None:
        sinks = as_column(sinks, query)
    if tap is None or tap == ():  # the fast path: no object is created
        return _compute(query, key, value, bias, causal, scale, dropout, softcap, sinks)
    taps = tap if isinstance(tap, tuple) else (tap,)
    make = AttentionCall if windows is None else windows.call
    call = make(
        query,
        key,
        value,
        bias,
        causal,
        scale,
        softcap,
        site,
        module,
        sinks=sinks,
        start=start,
        part=part,
        windows=windows,
    )
    for t in taps:
        call = t.on_attention(call)
    if any(t.wants_maps for t in taps):
        z = by_its_map(call, taps, dropout)
    else:
        z = call.by_position(
            _compute(
                call.query,
                call.key,
                call.value,
                call.bias,
                call.causal,
                call.scale,
                dropout,
                call.softcap,
                call.sinks,
            )
        )
        if call.cuts:
            z = _without_cut_edges(call, z, dropout)
    for t in taps:
        z = t.on_heads(call, z)
    return call.by_window(z)


def by_its_map(call: AttentionCall, taps: tuple[Tap, ...], dropout: float) -> Tensor:
    """Compute z from the whole pattern at once, in the model's dtype but at least in fp32."""
    weights = call.pattern(dtype=torch.promote_types(call.query.dtype, torch.float32))
    for t in taps:
        weights = t.on_map(call, weights)
    return call.mixed(weights, dropout=dropout)


def _without_cut_edges(call: AttentionCall, z: Tensor, dropout: float) -> Tensor:
    """Recompute z for the heads and rows that have cut edges, some heads at a time."""
    z = z.clone()
    batch, n_heads, n_query, n_key = call.shape
    for cut in call.cuts:
        rows = torch.arange(n_query, device=z.device)[cut.queries]
        heads = range(n_heads)[cut.heads]
        step = max(1, CUT_WEIGHTS // max(1, batch * len(rows) * n_key))
        for first in heads[::step]:
            some = slice(first, min(first + step, heads.stop))
            z[:, some, rows] = rows_from_map(call, some, rows, dropout=dropout)
    return z


def rows_from_map(
    call: AttentionCall,
    heads: slice,
    rows: Tensor,
    *,
    batch: slice = slice(None),
    dropout: float = 0.0,
) -> Tensor:
    """z of some heads and queries, computed from their pattern with its cuts: [batch, head, query,
    d_head]."""
    return call.mixed(call.pattern(batch, heads, rows), batch, heads, rows, dropout)


def _compute(query, key, value, bias, causal, scale, dropout, softcap, sinks) -> Tensor:
    n_query, n_key = query.shape[2], key.shape[2]
    if key.shape[1] != query.shape[1]:
        key, value = spread_heads(key, query.shape[1]), spread_heads(value, query.shape[1])
    if softcap is not None or sinks is not None:  # the fused kernels support neither
        scores = cap(query @ key.transpose(-1, -2) * scale, softcap)
        allowed = causal_mask(n_query, n_key, query.device) if causal else None
        column = None if sinks is None else sinks.float()
        pattern = safe_softmax(masked(scores.float(), bias, allowed), column).to(value.dtype)
        return F.dropout(pattern, dropout) @ value
    if causal and n_query == 1:
        causal = False  # the last query may attend to every key
    if causal and (bias is not None or n_query != n_key):
        # The fused kernel aligns is_causal top-left and takes no other mask with it.
        bias, causal = add_bias(bias, causal_mask(n_query, n_key, query.device)), False
    if bias is not None and bias.dtype != torch.bool:
        bias = bias.to(query.dtype)
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=bias, dropout_p=dropout, is_causal=causal, scale=scale
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
        bare = RMSNorm(self.d_head, elementwise_affine=False)
        self.head_norm = bare if config.qk_norm else nn.Identity()
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
        cache: KVCache | None = None,
    ) -> Tensor:
        cross = self.site.kind == "cross"
        query = self._split(self.query(x), self.n_heads, self.head_norm)
        if cache is not None and cross and self.site.layer in cache.cross:
            key, value = cache.cross[self.site.layer]
        else:
            source = memory if cross else x
            key = self._split(self.key(source), self.n_kv_heads, self.head_norm)
            value = self._split(self.value(source), self.n_kv_heads)
            if positions is not None and not cross:
                key = positions[0].rotate(key, positions[1])
            if cache is not None and cross:
                cache.cross[self.site.layer] = (key, value)
            elif cache is not None:
                key, value = cache.extend(self.site.layer, key, value)
        if positions is not None and not cross:
            query = positions[0].rotate(query, positions[1])
        z = attend(
            query,
            key,
            value,
            bias=bias,
            causal=self.causal,
            tap=self.taps,
            site=self.site,
            module=self,
            dropout=self.dropout if self.training else 0.0,
        )
        return self.out(z.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor, n_heads: int, norm: nn.Module | None = None) -> Tensor:
        x = x.unflatten(-1, (n_heads, self.d_head))
        # Norm before transposing: products of contiguous tensors need no copy.
        return (x if norm is None else norm(x)).transpose(1, 2)
