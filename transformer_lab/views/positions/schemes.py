"""What a PositionView knows of each position scheme: one object a scheme, as in schemes.js.

A scheme that is not here is shown by what was measured on a model that has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...positions import alibi_slopes, relative_buckets, rotary_angles, sinusoids
from .numbers import HeadScheme, noise, rates, sums_of_cosines

if TYPE_CHECKING:
    from ...model import Transformer

SAMPLED = 64  # positions from which the products of a learned table are averaged
BUCKETS, MAX_DISTANCE = 32, 128
RANDOM_TABLE = 0.5  # standard deviation of a table that stands for a learned one


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


class Known:
    """One scheme. `adds_vector`: its vectors have d_model numbers; `column`: a column of the
    encoding; `added`, `by_distance_title`: what stands over the pictures of the figure, the first
    for head `{head}`; `nothing`: what stands there without an encoding; `end`: of the encoding's
    colours, None for its largest value."""

    name = ""
    adds_vector = False
    row, column = "position", "dimension"
    added = "added to the token"
    by_distance_title = "dot product of two positions"
    nothing = "nothing is added"
    end: float | None = None
    banded = False  # by distance: mean, least and most

    def encoding(self, sizes: Sizes, n: int) -> Tensor | None:
        """[position, …] or [head, query, key] of n positions; None where there is nothing."""
        return None

    def by_distance(self, sizes: Sizes, distances: Tensor, n: int) -> Tensor:
        """int64 [distance] of key − query, n positions -> [series, distance]."""
        return torch.zeros(0, len(distances))

    def in_head(self, sizes: Sizes, n: int) -> HeadScheme:
        """What it does to one head of n positions."""
        return HeadScheme(sizes.width)

    def table(self, model: Transformer, most: int) -> Tensor | None:
        """fp32 what a model has learned of it, up to `most` positions."""
        return None

    def shown(self, encoding: Tensor, head: int) -> Tensor:
        """The values [row, column] that colours stand for."""
        return encoding

    def largest(self, shown: Tensor) -> float:
        """The end of their colours."""
        return self.end or float(shown.abs().max()) or 1.0


class Sinusoidal(Known):
    name = "sinusoidal"
    adds_vector = True
    end = 1.0

    def encoding(self, sizes, n):
        return sinusoids(n, sizes.width, base=sizes.base, halves=sizes.halves)

    def by_distance(self, sizes, distances, n):
        return sums_of_cosines(distances, sizes.width, sizes.base)[None]

    def in_head(self, sizes, n):
        return HeadScheme(sizes.width, added=self.encoding(sizes, n))


class Learned(Known):
    name = "learned"
    adds_vector = True
    banded = True

    def encoding(self, sizes, n) -> Tensor:
        if sizes.table is not None:
            return sizes.table[:n]
        return RANDOM_TABLE * noise(n, sizes.width, 3)

    def by_distance(self, sizes, distances, n):
        """Mean, least and most of the products at each distance, over up to 64 positions."""
        table = self.encoding(sizes, n).double()
        n = len(table)
        from_ = torch.arange(0, n, -(-n // SAMPLED))
        products = table[from_] @ table.T
        found = []
        for distance in distances.tolist():
            to = from_ + distance
            inside = (to >= 0) & (to < n)
            here = products[inside, to[inside]]
            found.append(
                torch.stack([here.mean(), here.min(), here.max()])
                if len(here)
                else torch.full((3,), torch.nan)
            )
        return torch.stack(found, 1)

    def in_head(self, sizes, n):
        table = self.encoding(sizes, n).double()
        if sizes.table is not None:
            # beside queries of deviation 1, whatever the model's own are
            table *= RANDOM_TABLE / sizes.table.double().square().mean().sqrt()
        return HeadScheme(sizes.width, added=table)

    def table(self, model, most):
        module: Any = model.positions
        return module.weight.detach().float().cpu()[:most]

    def largest(self, shown):
        # a few dimensions of a trained table are far larger
        return float(shown.abs().flatten().double().quantile(0.995))


class Rotary(Known):
    name = "rotary"
    column = "pair"
    added = "cosine of the angle"
    by_distance_title = "mean cosine over the pairs"
    end = 1.0

    def encoding(self, sizes, n):
        return rotary_angles(n, sizes.width, base=sizes.base)

    def by_distance(self, sizes, distances, n):
        sums = sums_of_cosines(distances, sizes.width, sizes.base)
        return (sums / (sizes.width // 2))[None]

    def in_head(self, sizes, n):
        return HeadScheme(sizes.width, turned=rates(sizes.width, sizes.base))

    def shown(self, encoding, head):
        return encoding.cos()


class _Biases(Known):
    """Numbers that are added to scores."""

    row, column = "query", "key"
    added = "added by head {head}"
    by_distance_title = "added to the score"

    def bias(self, sizes: Sizes, distance: Tensor) -> Tensor:
        """int64 distances key − query -> [head, *distance.shape]."""
        raise NotImplementedError

    def encoding(self, sizes, n):
        positions = torch.arange(n)
        return self.bias(sizes, positions[None] - positions[:, None])

    def by_distance(self, sizes, distances, n):
        return self.bias(sizes, distances)

    def in_head(self, sizes, n):
        return HeadScheme(sizes.width, bias=lambda far: self.bias(sizes, far)[sizes.head])

    def shown(self, encoding, head):
        return encoding[head]


class ALiBi(_Biases):
    name = "ALiBi"

    def bias(self, sizes, distance):
        slopes = alibi_slopes(sizes.heads).double()
        return -slopes.reshape(-1, *[1] * distance.dim()) * distance.abs()


class Relative(_Biases):
    name = "T5 relative"

    def bias(self, sizes, distance):
        table, most = noise(BUCKETS, sizes.heads, 3), MAX_DISTANCE
        if sizes.table is not None:
            table, most = sizes.table, sizes.max_distance
        found = relative_buckets(
            distance, causal=sizes.causal, buckets=len(table), max_distance=most
        )
        return table[found].movedim(-1, 0)

    def table(self, model, most):
        """Of the first stack."""
        module: Any = model.positions
        first = module.decoder if model.config.kind == "decoder" else module.encoder
        return first.weight.detach().float().cpu()


class NoPositions(Known):
    name = "none"
    by_distance_title = "by distance: nothing"

    def by_distance(self, sizes, distances, n):
        return torch.zeros(1, len(distances))


class MeasuredAlone(Known):
    """A scheme that this view knows by what it does to a model's heads alone."""

    by_distance_title = "by distance: not known"
    nothing = "measured alone"

    def __init__(self, name: str):
        self.name = name


KNOWN: dict[str, Known] = {
    "sinusoidal": Sinusoidal(),
    "learned": Learned(),
    "rotary": Rotary(),
    "alibi": ALiBi(),
    "relative": Relative(),
    "none": NoPositions(),
}


def known(name: str) -> Known:
    """What is known of a scheme, by its name in `transformer_lab.positions.SCHEMES`."""
    return KNOWN.get(name) or MeasuredAlone(name)
