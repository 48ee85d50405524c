"""Position schemes as closed forms, in fp64. The counterpart of positions/math.js."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def rates(width: int, base: float) -> Tensor:
    """Rotation of each pair of dimensions per position, in radians: [width / 2]."""
    return base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)


def sums_of_cosines(distances: Tensor, width: int, base: float) -> Tensor:
    """Σ cos(distance · rate) for each distance: the dot product of two sinusoidal encodings."""
    return (distances.double()[:, None] * rates(width, base)).cos().sum(-1)


def noise(rows: int, columns: int, seed: int) -> Tensor:
    """Normal random numbers, fp64 [row, column], each a function of seed, row and column only.

    So tables of different sizes agree where they overlap, and a browser computes the same numbers.
    """
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    first, second = ((_scrambled(row, column, 2 * seed + i) + 0.5) / 2**32 for i in (0, 1))
    return torch.from_numpy(np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second))


def _scrambled(row, column, seed: int) -> np.ndarray:
    words = [np.asarray(part).astype(np.uint64) + 1 for part in (row, column, seed)]
    x = np.uint64(0)
    for word, factor in zip(words, (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D), strict=True):
        x = x ^ (word * np.uint64(factor) & np.uint64(0xFFFFFFFF))
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = ((x ^ (x >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    return x ^ (x >> np.uint64(16))


def permutation(count: int, which: int) -> list[int]:
    """The source of each word of a shuffled sentence; shuffle 0 swaps the second and last word."""
    order = list(range(count))
    if which == 0:
        a, b = (1 if count > 2 else 0), count - 1
        order[a], order[b] = order[b], order[a]
        return order
    for i in range(count - 1, 0, -1):
        j = int(_scrambled(i, which, 7)) % (i + 1)
        order[i], order[j] = order[j], order[i]
    return order


@dataclass(frozen=True)
class HeadScheme:
    """What a scheme does to one head: `added` [position, width] to queries and keys, `turned`
    [width / 2] rates of rotation, `bias` by distance key − query."""

    width: int
    added: Tensor | None = None
    turned: Tensor | None = None
    bias: Callable[[Tensor], Tensor] | None = None


def attention(scheme: HeadScheme, words: Sequence[int], first: int, causal: bool) -> Tensor:
    """Weights fp64 [query, key] of fixed random queries and keys, one of each per word.

    Args:
        words: the word at each position; equal words have equal numbers.
        first: position of the first word.
    """
    n = len(words)
    positions = torch.arange(first, first + n)
    q, k = (noise(max(words) + 1, scheme.width, seed)[list(words)] for seed in (1, 2))
    if scheme.added is not None:
        q, k = (x + scheme.added[positions].double() for x in (q, k))
    if scheme.turned is not None:
        angles = (positions[:, None] * scheme.turned).repeat(1, 2)
        half = scheme.width // 2
        sign = torch.ones(scheme.width, dtype=torch.float64)
        sign[:half] = -1
        q, k = (x * angles.cos() + sign * x.roll(half, -1) * angles.sin() for x in (q, k))
    scores = q @ k.T / scheme.width**0.5
    if scheme.bias is not None:
        scores = scores + scheme.bias(positions[None] - positions[:, None]).double()
    if causal:
        scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
    return scores.softmax(-1)


def put_back(weights: Tensor, order: Sequence[int]) -> Tensor:
    """A shuffled sentence's maps [..., query, key] with each word back in its original position."""
    back = torch.empty_like(weights)
    index = torch.tensor(list(order))
    back[..., index[:, None], index[None]] = weights
    return back
