"""The vectors of one head in two dimensions, and how much of what they do these show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ...analysis.circuits.score_parts import checked_call
from ...softmax import spread_heads
from ...tracing.trace import TraceError

if TYPE_CHECKING:
    from ...tracing.trace import Trace

DRAWS = 8  # of random vectors


@dataclass(frozen=True)
class Plane:
    """Points [token, 2] fp64; `pattern` [query, key] is the head's map.

    In `scores` the product of a query's point and a key's is the part of their score that two
    dimensions hold, above the mean of the query's scores: no other plane holds more. In `values` every
    output is the mean of the values' points by its row of the map.

    Args:
        kept: shares of the variance of scores within rows, and of values, that the planes hold; None
            where nothing varies, as with one token.
        chance: the same of vectors of these lengths in random directions, mean of 8 draws.
    """

    queries: Tensor
    keys: Tensor
    values: Tensor
    outputs: Tensor
    pattern: Tensor
    kept: tuple[float | None, float | None]
    chance: tuple[float, float]


def plane_of(trace: Trace, kind: str, layer: int, head: int, batch: int) -> Plane:
    """
    Raises:
        TraceError: for a trace that has not kept queries, keys and values.
    """
    call, kind, batch = checked_call(trace, layer, head, 0, 0, kind, batch)
    if call.value is None:
        raise TraceError("this trace kept no values; use trace(..., keep='all') to keep them")
    k, v = (
        spread_heads(x[[batch]], call.n_heads)[0, head].cpu().double()
        for x in (call.key, call.value)
    )
    q = call.query[batch, head].cpu().double() * call.scale
    pattern = call.pattern(batch, head).cpu().double()
    queries, keys, scores_kept = _products(q, k)
    middle, axes, values_kept = _widest(v)
    chance = torch.tensor([_by_chance(q, k, v, seed) for seed in range(DRAWS)]).mean(0).tolist()
    return Plane(
        queries,
        keys,
        (v - middle) @ axes,
        (pattern @ v - middle) @ axes,
        pattern,
        (scores_kept or None, values_kept or None),
        (chance[0], chance[1]),
    )


def _products(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, float]:
    """A biplot of q @ kᵀ, which is as large as the text is long, by way of its factors, which are not.
    Source: Gabriel 1971."""
    (left, a), (right, b) = torch.linalg.qr(q), torch.linalg.qr(k - k.mean(0))
    u, s, v = torch.linalg.svd(a @ b.T, full_matrices=False)
    root = s.sqrt()
    queries, keys = _two(left @ u * root), _two(right @ v.T * root)
    return queries * _signs(keys), keys * _signs(keys), _share(s)


def _widest(v: Tensor) -> tuple[Tensor, Tensor, float]:
    """The mean, the first two principal directions [d_head, 2], and their share of the variance."""
    middle = v.mean(0)
    _, s, axes = torch.linalg.svd(v - middle, full_matrices=False)
    axes = _two(axes.T)
    return middle, axes * _signs((v - middle) @ axes), _share(s)


def _two(x: Tensor) -> Tensor:
    """The first two columns; of fewer, with zeros."""
    return F.pad(x, (0, max(0, 2 - x.shape[1])))[:, :2]


def _signs(points: Tensor) -> Tensor:
    """Which way the axes go is open: the point that lies furthest out is on the positive side."""
    return points.gather(0, points.abs().argmax(0)[None])[0].sign()


def _share(s: Tensor) -> float:
    return float((s[:2] ** 2).sum() / (s**2).sum().clamp(min=1e-300))


def _by_chance(q: Tensor, k: Tensor, v: Tensor, seed: int) -> tuple[float, float]:
    generator = torch.Generator().manual_seed(seed)

    def turned(x: Tensor) -> Tensor:
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        return noise / noise.norm(dim=1, keepdim=True) * x.norm(dim=1, keepdim=True)

    return _products(turned(q), turned(k - k.mean(0)))[2], _widest(turned(v - v.mean(0)))[2]
