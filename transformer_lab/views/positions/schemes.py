"""What a PositionView knows of each position scheme, of which schemes.json has the words.

A scheme that is not here is shown by what was measured on a model that has it.
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

SAMPLED = 64  # positions from which the products of a learned table are averaged
BUCKETS, MAX_DISTANCE = 32, 128
RANDOM_TABLE = 0.5  # standard deviation of a table that stands for a learned one
WORDS = json.loads((VIEWS / "positions" / "schemes.json").read_text("utf-8"))


@dataclass(frozen=True)
class Sizes:
    """What of a view's state concerns a scheme.

    width: numbers of a position's vector, or of one head's query and key; table: what the given
    model has learned, [position, d_model] or [bucket, head], where its own scheme is shown;
    max_distance: of that table's buckets.
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
    """What a scheme does: `added` [position, width] to tokens, `rates` [width / 2] in which pairs turn
    or sinusoids swing, `bias` of the distances key − query, [head, *distance.shape]."""

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
    """One scheme, by its name in `transformer_lab.positions.SCHEMES`; `words` of schemes.json."""

    def __init__(self, key: str):
        self.key, self.words = key, WORDS.get(key, WORDS["other"])
        self.name = self.words.get("name", key)
        self.banded = key == "learned"  # by distance: mean, least and most
        biases = bool(self.words.get("per_head"))
        self.row, self.column = (
            ("query", "key") if biases else ("position", self.words.get("unit", "dimension"))
        )

    def parts(self, sizes: Sizes, n: int) -> Parts:
        return KNOWN.get(self.key, KNOWN["none"])(sizes, n)

    def encoding(self, sizes: Sizes, n: int) -> Tensor | None:
        """Vectors or angles [position, …], or biases [head, query, key]; None where there is nothing."""
        parts, positions = self.parts(sizes, n), torch.arange(n)
        if parts.bias is not None:
            return parts.bias(positions[None] - positions[:, None])
        if parts.added is None and parts.rates is not None:
            return rotary_angles(n, sizes.width, base=sizes.base)
        return parts.added

    def by_distance(self, sizes: Sizes, distances: Tensor, n: int) -> Tensor:
        """int64 [distance] of key − query, n positions -> [series, distance]."""
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
        """What it does to one head of n positions."""
        parts, bias = self.parts(sizes, n), None
        if (of_heads := parts.bias) is not None:
            bias = lambda far: of_heads(far)[sizes.head]  # noqa: E731
        if parts.added is None:
            return HeadScheme(sizes.width, None, parts.rates, bias)
        added = parts.added.double()
        if sizes.table is not None:
            # beside queries of deviation 1, whatever the model's own are
            added = added * RANDOM_TABLE / sizes.table.double().square().mean().sqrt()
        return HeadScheme(sizes.width, added)

    def table(self, model: Transformer, most: int) -> Tensor | None:
        """fp32 what a model has learned of it, up to `most` positions, or in its first stack."""
        module: Any = model.positions
        if self.key == "learned":
            return module.weight.detach().float().cpu()[:most]
        if self.key == "relative":
            first = module.decoder if model.config.kind == "decoder" else module.encoder
            return first.weight.detach().float().cpu()
        return None

    def shown(self, encoding: Tensor, head: int) -> Tensor:
        """The values [row, column] that colours are of."""
        if self.row == "query":
            return encoding[head]
        return encoding.cos() if self.column == "pair" else encoding

    def largest(self, shown: Tensor) -> float:
        """The end of their colours."""
        if self.key == "learned":  # a few dimensions of a trained table are far larger
            return float(shown.abs().flatten().double().quantile(0.995))
        return 1.0 if self.row == "position" else float(shown.abs().max()) or 1.0


def _products(table: Tensor, distances: Tensor) -> Tensor:
    """Mean, least and most of the products of two rows at each distance, over up to 64 rows."""
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
