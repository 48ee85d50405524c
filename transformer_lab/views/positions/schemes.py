"""What a PositionView knows about each position scheme; schemes.json has the words.

A scheme that is not listed here is shown by measurements on a model that uses it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...model import Transformer
from ...positions import alibi_slopes, relative_buckets, rotary_angles, sinusoids
from ..shared.messages import VIEWS
from .numbers import HeadScheme, noise, rates, sums_of_cosines

SAMPLED = 64  # most positions over which the products of a learned table are averaged
BUCKETS, MAX_DISTANCE = 32, 128
RANDOM_TABLE = 0.5  # standard deviation of a random table that replaces a learned one
WORDS = json.loads((VIEWS / "positions" / "schemes.json").read_text("utf-8"))


@dataclass(frozen=True)
class Sizes:
    """The part of a view's state that a scheme depends on.

    width: size of a position's vector, or of one head's query and key; table: what the model
    learned, [position, d_model] or [bucket, head], if its own scheme is shown; max_distance: of
    that table's buckets.
    """

    width: int
    heads: int
    head: int
    base: float
    halves: bool
    causal: bool
    table: Tensor | None
    max_distance: int


@dataclass(frozen=True)
class Parts:
    """What a scheme does: `added` [position, width] to tokens, angular `rates` [width / 2] of
    rotated pairs or sinusoids, `bias` by distance key − query, [head, *distance.shape]."""

    added: Tensor | None = None
    rates: Tensor | None = None
    bias: Callable[[Tensor], Tensor] | None = None


def _sinusoidal(sizes: Sizes, n: int) -> Parts:
    added = sinusoids(n, sizes.width, base=sizes.base, halves=sizes.halves)
    return Parts(added, rates(sizes.width, sizes.base))


def _learned(sizes: Sizes, n: int) -> Parts:
    return Parts(
        RANDOM_TABLE * noise(n, sizes.width, 3) if sizes.table is None else sizes.table[:n]
    )


def _alibi(sizes: Sizes, _: int) -> Parts:
    slopes = alibi_slopes(sizes.heads).double()
    return Parts(bias=lambda far: -slopes.reshape(-1, *[1] * far.dim()) * far.abs())


def _relative(sizes: Sizes, _: int) -> Parts:
    table, most = noise(BUCKETS, sizes.heads, 3), MAX_DISTANCE
    if sizes.table is not None:
        table, most = sizes.table, sizes.max_distance
    options: Any = dict(causal=sizes.causal, buckets=len(table), max_distance=most)
    return Parts(bias=lambda far: table[relative_buckets(far, **options)].movedim(-1, 0))


KNOWN: dict[str, Callable[[Sizes, int], Parts]] = {
    "sinusoidal": _sinusoidal,
    "learned": _learned,
    "rotary": lambda sizes, _: Parts(rates=rates(sizes.width, sizes.base)),
    "alibi": _alibi,
    "relative": _relative,
    "none": lambda _, __: Parts(),
}


class Known:
    """One scheme, by its name in `transformer_lab.positions.SCHEMES`; `words` from schemes.json."""

    def __init__(self, key: str):
        self.key, self.words = key, WORDS.get(key, WORDS["other"])
        self.name = self.words.get("name", key)
        self.banded = key == "learned"  # by distance: mean, minimum and maximum
        biases = bool(self.words.get("per_head"))
        self.row, self.column = (
            ("query", "key") if biases else ("position", self.words.get("unit", "dimension"))
        )

    def parts(self, sizes: Sizes, n: int) -> Parts:
        return KNOWN.get(self.key, KNOWN["none"])(sizes, n)

    def encoding(self, sizes: Sizes, n: int) -> Tensor | None:
        """Vectors or angles [position, …], or biases [head, query, key]; None if there are none."""
        parts, positions = self.parts(sizes, n), torch.arange(n)
        if parts.bias is not None:
            return parts.bias(positions[None] - positions[:, None])
        if parts.added is None and parts.rates is not None:
            return rotary_angles(n, sizes.width, base=sizes.base)
        return parts.added

    def by_distance(self, sizes: Sizes, distances: Tensor, n: int) -> Tensor:
        """Values [series, distance] for int64 distances key − query among n positions."""
        parts = self.parts(sizes, n)
        if parts.bias is not None:
            return parts.bias(distances)
        if parts.rates is not None:
            sums = sums_of_cosines(distances, sizes.width, sizes.base)
            return (sums if parts.added is not None else sums / len(parts.rates))[None]
        if parts.added is not None:
            return _products(parts.added.double(), distances)
        return torch.zeros(int(self.key in KNOWN), len(distances))

    def in_head(self, sizes: Sizes, n: int) -> HeadScheme:
        """What the scheme does to one head over n positions."""
        parts, bias = self.parts(sizes, n), None
        if (of_heads := parts.bias) is not None:
            bias = lambda far: of_heads(far)[sizes.head]  # noqa: E731
        if parts.added is None:
            return HeadScheme(sizes.width, None, parts.rates, bias)
        added = parts.added.double()
        if sizes.table is not None:
            # scaled to fit queries of standard deviation 1, whatever the model's own is
            added = added * RANDOM_TABLE / sizes.table.double().square().mean().sqrt()
        return HeadScheme(sizes.width, added)

    def table(self, model: Transformer, most: int) -> Tensor | None:
        """What a model learned, fp32: `most` positions, or its first stack's biases; or None."""
        module: Any = model.positions
        if self.key == "learned":
            return module.weight.detach().float().cpu()[:most]
        if self.key == "relative":
            first = module.decoder if model.config.kind == "decoder" else module.encoder
            return first.weight.detach().float().cpu()
        return None

    def shown(self, encoding: Tensor, head: int) -> Tensor:
        """The values [row, column] that are coloured."""
        if self.row == "query":
            return encoding[head]
        return encoding.cos() if self.column == "pair" else encoding

    def largest(self, shown: Tensor) -> float:
        """The value at the end of the colour scale."""
        if self.key == "learned":  # a few dimensions of a trained table are far larger
            return float(shown.abs().flatten().double().quantile(0.995))
        return 1.0 if self.row == "position" else float(shown.abs().max()) or 1.0


def _products(table: Tensor, distances: Tensor) -> Tensor:
    """Mean, minimum and maximum of the products of two rows at each distance, of up to 64 rows."""
    n = len(table)
    from_ = torch.arange(0, n, -(-n // SAMPLED))
    products = table[from_] @ table.T
    to = from_ + distances[:, None]
    inside = (to >= 0) & (to < n)
    dots = products[torch.arange(len(from_)), to.clamp(0, n - 1)]
    mean = torch.where(inside, dots, 0).sum(-1) / inside.sum(-1)
    least = torch.where(inside, dots, torch.inf).amin(-1)
    most = torch.where(inside, dots, -torch.inf).amax(-1)
    return torch.stack([mean, least, most]).masked_fill(~inside.any(-1), torch.nan)
