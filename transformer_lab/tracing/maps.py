"""Attention patterns: those a model returns whole, thumbnails, and their memory budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attention import AttentionCall, Site

LEAST_REST = 0.01  # of a row: less is rounding, of patterns stored in few bits
AT_ONCE = 2**20  # weights of a layer's patterns: 4 MiB
ROWS_UP_TO = 1024  # beyond, a thumbnail samples the queries


class MemoryBudgetError(MemoryError):
    """Raised when materialising the attention patterns would take more memory than allowed."""


def within_budget(n_weights: int, budget_mib: float, way_out: str) -> None:
    """Check that so many fp32 numbers fit into a memory budget.

    Raises:
        MemoryBudgetError: if they do not; the message ends with `way_out`.
    """
    mib = n_weights * 4 / 2**20
    if mib > budget_mib:
        raise MemoryBudgetError(
            f"these maps take {mib:,.0f} MiB, more than the budget of {budget_mib:,.0f} MiB; {way_out}"
        )


@dataclass(frozen=True, eq=False)
class GivenMaps:
    """Attention patterns that a model returned whole (the eager fallback), with AttentionCall's
    methods."""

    maps: Tensor  # [batch, head, query, key]
    site: Site
    causal: bool = False
    bias: Tensor | None = None
    softcap: float | None = None
    value: Tensor | None = None
    module: nn.Module | None = None
    part: int = 0

    @property
    def n_heads(self) -> int:
        return self.maps.shape[1]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        batch, head, query, key = self.maps.shape
        return batch, head, query, key

    def pattern(self, batch=slice(None), head=slice(None), rows=None) -> Tensor:
        maps = self.maps if rows is None else self.maps[:, :, rows]
        return maps[batch][..., head, :, :].float()

    def to_nothing(self, batch=slice(None), head=slice(None), rows=None) -> Tensor:
        """1 minus each row's sum, where that exceeds rounding; 0 for a row that is all zero."""
        rest = 1 - self.pattern(batch, head, rows).sum(-1)
        return rest.masked_fill((rest < LEAST_REST) | (rest > 1 - LEAST_REST), 0.0)

    def scores(self, batch=slice(None), head=slice(None), rows=None) -> Tensor:
        """log(pattern): the scores up to a constant a row."""
        return self.pattern(batch, head, rows).log()


def rows_told(n_query: int, n_key: int, size: int) -> int:
    """How many queries a thumbnail samples: all up to 1024, then 8 for each of its rows, and fewer
    for a very long text, down to 2."""
    if n_query <= ROWS_UP_TO:
        return n_query
    return size * max(2, min(8, AT_ONCE // (size * n_key)))


def thumbnail(call: Any, size: int, batch: int) -> Tensor:
    """A layer's patterns shrunk by max-pooling, some heads at a time: [head, ≤ size, ≤ size]."""
    _, n_heads, n_query, n_key = call.shape
    count, rows = rows_told(n_query, n_key, size), None
    if count < n_query:
        rows = torch.linspace(0, n_query - 1, count).round().long()
    small = (min(size, n_query), min(size, n_key))
    step = max(1, AT_ONCE // (count * n_key))
    parts = [
        F.adaptive_max_pool2d(call.pattern(batch, slice(first, first + step), rows), small)
        for first in range(0, n_heads, step)
    ]
    return torch.cat(parts)


def padded(maps: Tensor, n_heads: int, fill: float) -> Tensor:
    """Pad [head, …] to `n_heads` heads with `fill`."""
    missing = n_heads - maps.shape[0]
    if not missing:
        return maps
    return torch.cat((maps, maps.new_full((missing, *maps.shape[1:]), fill)))


def patterns_of(calls: Sequence[Any], batch: int) -> list[Tensor]:
    """One text's patterns in several layers, [head, query, key] each. Layers that differ only in
    their queries and keys are computed together: for a short text, calling torch takes longer than
    the arithmetic."""
    found: dict[int, Tensor] = {}
    forms: dict[Any, list[int]] = {}
    for i, call in enumerate(calls):
        forms.setdefault(_form(call) or i, []).append(i)
    for some in forms.values():
        if len(some) == 1:
            found[some[0]] = calls[some[0]].pattern(batch)
            continue
        query, key = (
            torch.stack([getattr(calls[i], x)[batch] for i in some]) for x in ("query", "key")
        )
        together = replace(calls[some[0]], query=query, key=key, value=None)
        found.update(zip(some, together.pattern(), strict=True))
    return [found[i] for i in range(len(calls))]


def _form(call: Any) -> tuple | None:
    """What determines a call's patterns besides the values of its queries and keys; None if the
    call can share it with no other."""
    own = type(call) is not AttentionCall or call.bias is not None or call.sinks is not None
    if own or call.cuts:
        return None
    shapes = [(x.shape[1:], x.dtype, x.device) for x in (call.query, call.key)]
    return *shapes, call.causal, call.scale, call.softcap
