"""Find the pairs of dimensions that rotary positions turn: each pair keeps its length."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

NEAR = 1e-4  # of a vector's length


def paired(places: Tensor) -> Tensor | None:
    """int64 [d]: the number of each dimension's pair, one of its own for a dimension that stays;
    None if nothing turns, or not in known pairs.

    Args:
        places: [position, sample, d], the same vectors at several positions.
    """
    room = NEAR * places.norm(dim=-1).mean()
    moved = ((places - places[:1]).abs() > room).any(0).any(0)
    if not bool(moved.any()):
        return None
    for left, right in _schemes(places.shape[-1]):
        alone = torch.ones_like(moved)
        alone[left] = alone[right] = False
        lengths = torch.hypot(places[..., left], places[..., right])
        if not bool((moved & alone).any()) and bool(((lengths - lengths[:1]).abs() < room).all()):
            found = torch.arange(len(moved))
            found[right] = found[left]
            return found.unique(return_inverse=True)[1]
    return None


def _schemes(d: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Both dimensions of each pair, in a whole head or in its first or last dimensions: the first
    half with the second (Llama), largest size first, or neighbours (GPT-J), smallest size first."""
    sizes = range(2, d + 1, 2)
    for turning in reversed(sizes):
        for start in dict.fromkeys((0, d - turning)):
            at = torch.arange(start, start + turning)
            yield at[: turning // 2], at[turning // 2 :]
    for turning in sizes:
        for start in dict.fromkeys((0, d - turning)):
            at = torch.arange(start, start + turning)
            yield at[::2], at[1::2]
