"""What heads look at, as numbers: one score a head, from traces, with nothing hidden.

Every measure takes a `Trace` and returns fp32 [layer, head]. One layer's maps are computed at a
time. A score says where attention went on this text; whether that matters, ablation says.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .trace import Trace


def mass_on(trace: Trace, wanted: Tensor, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Attention that falls on marked pairs: the mean, over the queries that have a marked key,
    of the weight on their marked keys together. [layer, head], between 0 and 1.

    Args:
        wanted: bool [query, key].

    Raises:
        ValueError: when the mask has another shape, or marks nothing.
    """
    if tuple(wanted.shape) != trace.shape(kind):
        raise ValueError(
            f"wanted has shape {list(wanted.shape)}; the maps have {list(trace.shape(kind))}"
        )
    rows = wanted.any(-1)
    if not rows.any():
        raise ValueError("wanted marks no pair; no head can be scored")
    marked = wanted[rows]
    return _each_layer(trace, kind, batch, lambda p: (p[:, rows] * marked).sum(-1).mean(-1))


def previous_token(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention on the token just before. [layer, head]"""
    return mass_on(trace, _offset(trace, kind, -1), kind=kind, batch=batch)


def next_token(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention on the token just after (0 in a decoder). [layer, head]"""
    return mass_on(trace, _offset(trace, kind, 1), kind=kind, batch=batch)


def self_token(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention of a token on itself. [layer, head]"""
    return mass_on(trace, _offset(trace, kind, 0), kind=kind, batch=batch)


def first_token(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention on token 0, of all queries but the first: the attention sink of Xiao et
    al. 2023. [layer, head]"""
    wanted = torch.zeros(trace.shape(kind), dtype=torch.bool)
    wanted[1:, 0] = True
    return mass_on(trace, wanted, kind=kind, batch=batch)


def duplicate_token(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention on earlier occurrences of the same token, of the queries that have one.
    Source: Wang et al. 2022. [layer, head]"""
    return mass_on(trace, _same(trace, kind, batch).tril(-1), kind=kind, batch=batch)


def induction(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention on the tokens that came *after* earlier occurrences of the query's token
    ([A][B] … [A] looks at [B]), of the queries that have one. Source: Olsson et al. 2022.
    [layer, head]"""
    return mass_on(trace, induction_pairs(trace, kind=kind, batch=batch), kind=kind, batch=batch)


def two_hop_induction(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """The same share of attention, when a head of a later layer looks *through* one of an earlier
    layer: for each head the largest mass of A_later · A_earlier on the pairs of `induction`,
    over the heads of all earlier layers. [layer, head]; layer 0 is 0.

    A model can solve induction in two hops with a raw score near 0; see `induction`.
    """
    wanted = induction_pairs(trace, kind=kind, batch=batch)
    rows = wanted.any(-1)
    marked = wanted[rows].float()
    n_layers, n_heads = trace.n_layers(kind), trace.n_heads(kind)
    best = torch.zeros(n_layers, n_heads)
    reach: list[Tensor] = []  # A_earlier · markedᵀ: how much of a query's goal each token sees
    for layer in range(n_layers):
        patterns = trace.pattern(layer, kind=kind, batch=batch).cpu()
        for seen in reach:
            # Σ_m A[q, m] · Σ_k A_earlier[m, k] · wanted[q, k], for every pair of heads
            through = torch.einsum("hqm,gmq->hgq", patterns[:, rows], seen).mean(-1)
            best[layer] = torch.maximum(best[layer], through.amax(1))
        reach.append(torch.einsum("gmk,qk->gmq", patterns, marked))
    return best


def induction_pairs(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Bool [query, key]: True where the key stands just after an earlier occurrence of the
    query's token."""
    earlier = _same(trace, kind, batch).tril(-1)
    pairs = torch.zeros_like(earlier)
    pairs[:, 1:] = earlier[:, :-1]
    return pairs


def special_tokens(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention on special tokens such as [CLS] and [SEP]. [layer, head]

    Raises:
        ValueError: when the text has none.
    """
    special = torch.tensor(trace.special(kind, batch))
    return mass_on(trace, special.expand(trace.shape(kind)), kind=kind, batch=batch)


def punctuation(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """Share of attention on tokens without a letter or digit, white space aside. [layer, head]

    Raises:
        ValueError: when the text has none.
    """
    labels = trace.key_tokens(kind, batch)
    special = trace.special(kind, batch)
    marks = [
        not s and bool(label.strip("·↵⇥")) and not any(c.isalnum() for c in label)
        for label, s in zip(labels, special, strict=True)
    ]
    wanted = torch.tensor(marks).expand(trace.shape(kind))
    return mass_on(trace, wanted, kind=kind, batch=batch)


def entropy(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """How spread out attention is: mean entropy of a row, in bits; 0 looks at one token only.
    [layer, head]"""
    return _each_layer(
        trace, kind, batch, lambda p: -(p * p.clamp(min=1e-30).log2()).sum(-1).mean(-1)
    )


def distance(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """How far heads look: mean of |query − key| weighted by attention, in tokens. [layer, head]"""
    n_query, n_key = trace.shape(kind)
    away = (torch.arange(n_query)[:, None] - torch.arange(n_key)[None]).abs().float()
    return _each_layer(trace, kind, batch, lambda p: (p * away).sum(-1).mean(-1))


def _each_layer(
    trace: Trace, kind: str | None, batch: int, measure: Callable[[Tensor], Tensor]
) -> Tensor:
    layers = range(trace.n_layers(kind))
    return torch.stack(
        [measure(trace.pattern(layer, kind=kind, batch=batch).cpu()) for layer in layers]
    )


def _offset(trace: Trace, kind: str | None, by: int) -> Tensor:
    n_query, n_key = trace.shape(kind)
    return torch.arange(n_key)[None] - torch.arange(n_query)[:, None] == by


def _same(trace: Trace, kind: str | None, batch: int) -> Tensor:
    """Bool [query, key]: True where both are the same token."""
    kind = kind or ("decoder" if "decoder" in trace.kinds else trace.kinds[0])
    if kind == "cross":
        raise ValueError("kind='cross' compares two texts; this measure needs one")
    ids = trace.target if kind == "decoder" and trace.target is not None else trace.tokens
    ids = ids[batch].cpu()
    return ids[:, None] == ids[None]
