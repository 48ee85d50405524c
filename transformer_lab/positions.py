"""Position schemes: how a model knows the order of its tokens.

A scheme is a small frozen dataclass that a `ModelConfig` holds (and writes to JSON);
`scheme.build(...)` makes the module that the model calls. A module acts in up to three places:

    embed(positions)             what is added to the token embeddings   (sinusoidal, learned)
    rotate(x, positions)         how queries and keys are rotated         (rotary)
    bias(queries, keys, causal)  what is added to the scores              (ALiBi, relative)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from .arguments import check_fields, shown
from .softmax import rotated


class PositionModule(nn.Module):
    """A scheme that does nothing in any of the three places; the others override one."""

    adds_embedding = False
    rotates = False

    def embed(self, positions: Tensor) -> Tensor | None:
        """positions int64 [position] or [batch, position] -> [..., position, d_model] or None."""
        return None

    def rotate(self, x: Tensor, positions: Tensor) -> Tensor:
        """x [batch, head, position, d_head] -> the same shape."""
        return x

    def bias(self, queries: Tensor, keys: Tensor, causal: bool) -> Tensor | None:
        """Positions of queries and keys -> additive [1, head, query or 1, key] or None."""
        return None


@dataclass(frozen=True)
class NoPositions:
    """No positions: apart from a causal mask, attention sees the text as a bag of tokens."""

    name = "none"

    def build(
        self, *, d_model: int, n_heads: int, d_head: int, n_ctx: int, kind: str = "decoder"
    ) -> PositionModule:
        return PositionModule()


@dataclass(frozen=True)
class Sinusoidal:
    """Sinusoidal positions: sines and cosines of geometrically spaced wavelengths. Source: Vaswani
    et al. 2017, 3.5.

    `halves=False` interleaves sin and cos as the paper does; `halves=True` puts all sines
    before all cosines, as Marian does.
    """

    base: float = 10000.0
    halves: bool = False
    name = "sinusoidal"

    def __post_init__(self):
        _check_base(self)

    def build(
        self, *, d_model: int, n_heads: int, d_head: int, n_ctx: int, kind: str = "decoder"
    ) -> PositionModule:
        if d_model % 2:
            raise ValueError(
                "d_model must be even for sinusoidal positions (each frequency has a sine and a "
                f"cosine), got {d_model}; try d_model={d_model + 1}, or positions=Learned()"
            )
        return _PositionEmbedding(
            sinusoids(n_ctx, d_model, base=self.base, halves=self.halves), learned=False
        )


@dataclass(frozen=True)
class Learned:
    """Learned positions: one trained vector per position, up to n_ctx. Source: GPT-2, BERT."""

    name = "learned"

    def build(
        self, *, d_model: int, n_heads: int, d_head: int, n_ctx: int, kind: str = "decoder"
    ) -> PositionModule:
        return _PositionEmbedding(torch.empty(n_ctx, d_model).normal_(std=0.02), learned=True)


@dataclass(frozen=True)
class Rotary:
    """Rotary positions: rotate queries and keys by an angle that grows with position. Source: Su et
    al. 2021.

    Half-split layout (dimension i pairs with i + d_head/2), as Llama and GPT-NeoX store it.
    """

    base: float = 10000.0
    name = "rotary"

    def __post_init__(self):
        _check_base(self)

    def build(
        self, *, d_model: int, n_heads: int, d_head: int, n_ctx: int, kind: str = "decoder"
    ) -> PositionModule:
        if d_head % 2:
            raise ValueError(
                "d_head must be even for rotary positions, which rotate numbers in pairs, got "
                f"{d_head}; try d_head={d_head + 1} (d_model={(d_head + 1) * n_heads}, or another "
                "n_heads), or positions=ALiBi()"
            )
        return _Rotation(d_head, n_ctx, self.base)


@dataclass(frozen=True)
class ALiBi:
    """ALiBi: a penalty on the scores, linear in the distance. Source: Press et al. 2022."""

    name = "alibi"

    def build(
        self, *, d_model: int, n_heads: int, d_head: int, n_ctx: int, kind: str = "decoder"
    ) -> PositionModule:
        return _Slopes(n_heads)


@dataclass(frozen=True)
class Relative:
    """Relative positions: a learned number per head and bucket of distances, added to the scores
    and shared by all layers.

    Half of the buckets hold one distance each, the others ever more, up to `max_distance`; all
    larger distances share the last bucket. A decoder's buckets are for earlier keys only; an
    encoder's distinguish before from after. An encoder-decoder has a table for each stack, and none
    for cross-attention. Source: Raffel et al. 2020 (T5), 2.1.
    """

    buckets: int = 32
    max_distance: int = 128
    name = "relative"

    def __post_init__(self):
        check_fields(self)
        if self.buckets < 4 or self.buckets % 4:
            raise ValueError(f"buckets must be a multiple of 4, got {self.buckets}; T5 has 32")
        if self.max_distance <= self.buckets // 2:
            raise ValueError(
                f"max_distance must be above buckets / 2 = {self.buckets // 2}, where the buckets "
                f"start to widen, got {self.max_distance}"
            )

    def build(
        self, *, d_model: int, n_heads: int, d_head: int, n_ctx: int, kind: str = "encoder-decoder"
    ) -> PositionModule:
        return _Buckets(self, n_heads, kind)


def _check_base(scheme: Sinusoidal | Rotary) -> None:
    check_fields(scheme)
    if not scheme.base > 1:
        raise ValueError(f"base must be above 1, got {scheme.base}; the usual base is 10000")


Scheme = NoPositions | Sinusoidal | Learned | Rotary | ALiBi | Relative
SCHEMES: dict[str, type] = {
    c.name: c for c in (NoPositions, Sinusoidal, Learned, Rotary, ALiBi, Relative)
}


def scheme(value: str | dict | Scheme) -> Scheme:
    """Return a scheme from its name or `scheme_to_dict`'s output; a scheme is returned unchanged.

    Raises:
        ValueError: if a name or an option is unknown; the message lists the known ones.
    """
    if isinstance(value, tuple(SCHEMES.values())):
        return value  # type: ignore[return-value]
    if not isinstance(value, str | Mapping):
        raise ValueError(
            f"positions must be a name, one of {', '.join(SCHEMES)}, got {shown(value)}"
        )
    options: dict[str, Any] = {"name": value} if isinstance(value, str) else dict(value)
    name = options.pop("name", None)
    if not isinstance(name, str) or name not in SCHEMES:
        raise ValueError(f"positions must be one of {', '.join(SCHEMES)}, got {shown(name)}")
    known = [field.name for field in fields(SCHEMES[name])]
    unknown = sorted(str(key) for key in options if key not in known)
    if unknown:
        takes = ", ".join(known) or "none"
        raise ValueError(
            f"positions={name!r} does not take the options {unknown}; its options: {takes}"
        )
    return SCHEMES[name](**options)


def scheme_to_dict(value: Scheme) -> dict:
    return {"name": value.name, **asdict(value)}


def sinusoids(n_ctx: int, d_model: int, *, base: float = 10000.0, halves: bool = False) -> Tensor:
    """The table PE[position, dimension] of Vaswani et al. 2017, equation 5: [n_ctx, d_model].

    PE[p, 2i] = sin(p / base^(2i/d_model)) and PE[p, 2i+1] = cos(the same).
    """
    rates = base ** (-torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)
    angles = torch.arange(n_ctx, dtype=torch.float64)[:, None] * rates
    parts = (angles.sin(), angles.cos())
    table = torch.cat(parts, -1) if halves else torch.stack(parts, -1).flatten(1)
    return table.float()


def rotary_angles(n_ctx: int, d_head: int, *, base: float = 10000.0) -> Tensor:
    """Rotation angle of each pair of dimensions at each position, in radians: fp64
    [n_ctx, d_head / 2]. angle[p, i] = p / base^(2i/d_head). Source: Su et al. 2021, equation 15."""
    rates = base ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
    return torch.arange(n_ctx, dtype=torch.float64)[:, None] * rates


def relative_buckets(
    distance: Tensor, *, causal: bool, buckets: int = 32, max_distance: int = 128
) -> Tensor:
    """The bucket of each distance key − query (int64, any shape): 0 … buckets − 1.

    With `causal`, later keys fall into bucket 0, and the causal mask hides them. Without it, the
    second half of the buckets is for later keys. Computed in fp32, as in T5, so that a distance
    on the boundary of two buckets falls on the same side. Source: Raffel et al. 2020.
    """
    first = torch.zeros_like(distance)
    if causal:
        away = (-distance).clamp(min=0)
    else:
        buckets //= 2
        first, away = (distance > 0).long() * buckets, distance.abs()
    exact = buckets // 2
    part = torch.log(away.clamp(min=1).float() / exact) / math.log(max_distance / exact)
    far = (exact + (part * (buckets - exact)).long()).clamp(max=buckets - 1)
    return first + torch.where(away < exact, away, far)


def alibi_slopes(n_heads: int) -> Tensor:
    """One slope per head, [head]: a geometric series from 2^(-8/n). Source: Press et al. 2022.

    If n_heads is not a power of two, the series of the next lower power is continued with every
    second slope of the next higher one, as in the paper's code.
    """

    def series(n: int) -> list[float]:
        return [2 ** (-8 * (i + 1) / n) for i in range(n)]

    lower = 2 ** math.floor(math.log2(n_heads))
    return torch.tensor(series(lower) + series(2 * lower)[0::2][: n_heads - lower])


class _PositionEmbedding(PositionModule):
    adds_embedding = True
    weight: Tensor

    def __init__(self, table: Tensor, *, learned: bool):
        super().__init__()
        if learned:
            self.weight = nn.Parameter(table)
        else:
            self.register_buffer("weight", table, persistent=False)

    def embed(self, positions: Tensor) -> Tensor:
        return self(positions)  # as a module, so that hooks see what it adds

    def forward(self, positions: Tensor) -> Tensor:
        return self.weight[positions]


class _Rotation(PositionModule):
    rotates = True
    cos: Tensor
    sin: Tensor

    def __init__(self, d_head: int, n_ctx: int, base: float):
        super().__init__()
        # 1 / base^x, not base^-x: the last bit of a rate moves the angle at position 8191 by 5e-5.
        rates = 1.0 / base ** (torch.arange(0, d_head, 2, dtype=torch.float32) / d_head)
        angles = torch.arange(n_ctx, dtype=torch.float32)[:, None] * rates
        self.register_buffer("cos", angles.cos().repeat(1, 2), persistent=False)
        self.register_buffer("sin", torch.cat((-angles.sin(), angles.sin()), -1), persistent=False)

    def rotate(self, x: Tensor, positions: Tensor) -> Tensor:
        cos, sin = self.cos[positions], self.sin[positions]
        if positions.dim() == 2:  # [batch, position, d_head] -> a head axis
            cos, sin = cos[:, None], sin[:, None]
        return rotated(x, cos, sin)


class _Slopes(PositionModule):
    slopes: Tensor

    def __init__(self, n_heads: int):
        super().__init__()
        self.register_buffer("slopes", alibi_slopes(n_heads), persistent=False)

    def bias(self, queries: Tensor, keys: Tensor, causal: bool) -> Tensor:
        slopes = self.slopes[:, None, None]
        if queries.dim() == 2:  # positions differ between the rows of a batch
            queries, keys = queries[:, None, :, None], keys[:, None, None, :]
        else:
            queries, keys = queries[:, None], keys[None, :]
        if causal:
            # Softmax ignores a constant added to a row, so slope·(key − query) may drop the
            # query: [head, 1, key] instead of [head, query, key].
            distance = keys - keys.amax(-1, keepdim=True)
        else:
            distance = -(queries - keys).abs()
        bias = slopes * distance
        return bias if bias.dim() == 4 else bias[None]


class _Buckets(PositionModule):
    def __init__(self, options: Relative, n_heads: int, kind: str):
        super().__init__()
        self.options = options
        # Embeddings [bucket, head], so that the model and its optimizers treat them as such.
        table = lambda: nn.Embedding(options.buckets, n_heads)  # noqa: E731
        self.encoder = table() if kind != "decoder" else None
        self.decoder = table() if kind != "encoder" else None

    def bias(self, queries: Tensor, keys: Tensor, causal: bool) -> Tensor:
        table = self.decoder if causal else self.encoder
        if table is None:
            raise ValueError(
                f"these relative positions have no bias table for causal={causal}; build them "
                "with kind='encoder-decoder' for both"
            )
        distance = keys[..., None, :] - queries[..., :, None]
        found = relative_buckets(
            distance,
            causal=causal,
            buckets=self.options.buckets,
            max_distance=self.options.max_distance,
        )
        bias = table(found).movedim(-1, -3)  # a head axis before the queries
        return bias if bias.dim() == 4 else bias[None]


class Moved(PositionModule):
    """Another module with all positions shifted by `by`, as for a text that begins at position
    `by`."""

    def __init__(self, inner: PositionModule, by: int):
        super().__init__()
        self.inner, self.by = inner, by
        self.adds_embedding, self.rotates = inner.adds_embedding, inner.rotates

    def embed(self, positions: Tensor) -> Tensor | None:
        return self.inner.embed(positions + self.by)

    def rotate(self, x: Tensor, positions: Tensor) -> Tensor:
        return self.inner.rotate(x, positions + self.by)

    def bias(self, queries: Tensor, keys: Tensor, causal: bool) -> Tensor | None:
        return self.inner.bias(queries + self.by, keys + self.by, causal)
