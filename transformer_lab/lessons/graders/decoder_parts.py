"""Checks of rotary positions and attention in lesson 05, Build it."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.graders.slips import Slip, built, suspects_of
from transformer_lab.lessons.solutions import lesson_05 as solutions


def random(seed: int, *shape: int) -> Tensor:
    """Random numbers around 0, the same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def config_of(**changed: Any) -> SimpleNamespace:
    """A small decoder's sizes."""
    sizes = dict(vocab_size=11, d_model=12, n_heads=3, n_layers=2, n_ctx=9)
    return SimpleNamespace(**(sizes | dict(bias=True, positions="rotary", gelu="none") | changed))


def linear(name: str, wide: int, narrow: int, bias: bool) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an nn.Linear."""
    return {f"{name}.weight": (wide, narrow)} | ({f"{name}.bias": (wide,)} if bias else {})


def norm(name: str, config: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an nn.LayerNorm."""
    more = {f"{name}.bias": (config.d_model,)} if config.bias else {}
    return {f"{name}.weight": (config.d_model,)} | more


# -- rotary ---------------------------------------------------------------------------------------


def _rotary_cases() -> list[Case]:
    return [
        Case("2 texts, 3 heads, 5 positions, 8 numbers each", (random(1, 2, 3, 5, 8),)),
        Case("one head of 9 positions", (random(2, 9, 4),)),
        Case("one position, which is not rotated", (random(3, 1, 2, 1, 6),)),
    ]


def _rotary_with(slips: frozenset[str]):
    def wrong(x: Tensor, base: float = 10000.0) -> Tensor:
        if "nothing turned" in slips:
            return x
        length, d = x.shape[-2:]
        pairs = torch.arange(0, d, 2) / d
        if "exponent not doubled" in slips:
            pairs = pairs / 2
        if "one speed" in slips:
            pairs = pairs * 0
        rates = 1 / (1000.0 if "another base" in slips else base) ** pairs
        positions = torch.arange(length) + (1 if "positions from 1" in slips else 0)
        if "the heads counted" in slips:
            if x.dim() < 3:
                return x.new_zeros(0)
            angles = (torch.arange(x.shape[-3])[:, None, None] * rates).expand(-1, length, -1)
        else:
            angles = positions[:, None] * rates
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        if "backwards" in slips:
            sin = -sin
        if "sine and cosine swapped" in slips:
            cos, sin = sin, cos
        if "neighbours paired" in slips:
            a, b = x[..., ::2], x[..., 1::2]
            return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)
        a, b = x.chunk(2, -1)
        if "both minus" in slips:
            return torch.cat([a * cos - b * sin, b * cos - a * sin], -1)
        if "both plus" in slips:
            return torch.cat([a * cos + b * sin, b * cos + a * sin], -1)
        if "half of it" in slips:
            return torch.cat([a * cos - b * sin, b], -1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    return wrong


ROTARY = Grader(
    name="05/rotary",
    cases=_rotary_cases,
    reference=solutions.rotary,
    shape_hint="the shape of `x`, unchanged",
    suspects=suspects_of(
        _rotary_with,
        [
            Slip(
                "layout", "neighbours paired",
                "You pair neighbours, 0 with 1, 2 with 3. The 2021 paper does this; here (and in Llama) "
                "number i is paired with number i + d/2: cut the last axis into two halves.",
            ),
            Slip("layout", "both minus", "The sine has the sign − in both halves. One of them needs +."),
            Slip("layout", "both plus", "The sine has the sign + in both halves. One of them needs −."),
            Slip("layout", "half of it", "You rotated only the first half; the second is unchanged."),
            Slip(
                "sign", "backwards",
                "You rotate the other way round. That gives the same scores, but it does not fit weights "
                "from another model: the first half gets −sin, the second +sin.",
            ),
            Slip(
                "sign", "sine and cosine swapped",
                "Sine and cosine have changed places: position 0, whose angle is 0, should not change.",
            ),
            Slip(
                "speed", "exponent not doubled",
                "The exponent of pair i is 2i/d: 0/d, 2/d, 4/d, … Yours goes half as far.",
            ),
            Slip("speed", "one speed", "All pairs rotate at the same speed. The angle of pair i is "
                 "position / base^(2i/d)."),
            Slip("speed", "another base", "The base is not used, or is not 10000."),
            Slip(
                "position", "positions from 1",
                "Your positions begin at 1. The first one is 0, and is not rotated at all.",
            ),
            Slip(
                "position", "the heads counted",
                "You count along the wrong axis (heads or texts). The positions are the second-to-last "
                "axis.",
            ),
            Slip("all", "nothing turned", "Nothing is rotated: `x` comes back as it was."),
        ],
    ),
)  # fmt: skip


# -- attention ------------------------------------------------------------------------------------


def attention_weights(config: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a SelfAttention's weights."""
    wanted: dict[str, tuple[int, ...]] = {}
    for name in ("query", "key", "value", "out"):
        wanted |= linear(name, config.d_model, config.d_model, config.bias)
    return wanted


def _use_attention(made: Any, config: Any, x: Tensor) -> Tensor:
    return built(made, config, attention_weights(config), x)(x)


def _attention_cases() -> list[Case]:
    return [
        Case("2 texts of 5 tokens, 3 heads, rotary", (config_of(), random(11, 2, 5, 12))),
        Case(
            "4 heads, learned positions, no biases",
            (config_of(n_heads=4, positions="learned", bias=False), random(12, 1, 6, 12)),
        ),
        Case("one token, one head", (config_of(n_heads=1), random(13, 1, 1, 12))),
    ]


def _attention_with(slips: frozenset[str]) -> type:
    class Wrong(solutions.SelfAttention):
        def forward(self, x: Tensor) -> Tensor:
            config = self.config
            batch, n, d = x.shape
            heads, width = config.n_heads, config.d_model // config.n_heads

            def split(y: Tensor) -> Tensor:
                if "heads not moved" in slips:
                    return y.reshape(batch, heads, n, width)
                if "heads interleaved" in slips:
                    return y.unflatten(-1, (width, heads)).permute(0, 3, 1, 2)
                return y.unflatten(-1, (heads, width)).transpose(1, 2)

            parts = [self.query(x), self.key(x), self.value(x)]
            if "one projection" in slips:
                parts[1] = parts[0]
            if "keys as values" in slips:
                parts[2] = parts[1]
            turns = config.positions == "rotary"
            if "turned before the split" in slips and turns:
                parts[:2] = [solutions.rotary(y) for y in parts[:2]]
            query, key, value = map(split, parts)
            turned = {"never turned", "turned before the split"}.isdisjoint(slips) and turns
            if turned or "always turned" in slips:
                query = solutions.rotary(query)
                key = key if "only queries turned" in slips else solutions.rotary(key)
                value = solutions.rotary(value) if "values turned" in slips else value
            if "roles swapped" in slips:
                query, key = key, query
            by = {"no scale": 1.0, "√ of d_model": math.sqrt(d), "by d": float(width)}
            scale = next((by[name] for name in by if name in slips), math.sqrt(width))
            scores = query @ key.mT / scale
            future = torch.ones(n, n, dtype=torch.bool).triu(1)
            if "mask inverted" in slips:
                future = torch.ones(n, n, dtype=torch.bool).tril(-1)
            if "itself hidden" in slips:
                future = torch.ones(n, n, dtype=torch.bool).triu(0)
            if "no mask" in slips or "mask after the softmax" in slips:
                hidden = scores
            else:
                hidden = scores.masked_fill(future, 0.0 if "0 for −∞" in slips else -math.inf)
            weights = hidden.softmax(-2 if "softmax over queries" in slips else -1)
            if "mask after the softmax" in slips:
                weights = weights.masked_fill(future, 0.0)
            z = weights @ value
            merged = z.transpose(1, 2).flatten(2)
            if "merged without moving" in slips:
                merged = z.reshape(batch, n, d)
            return merged if "no W_O" in slips else self.out(merged)

    return Wrong


ATTENTION = Grader(
    name="05/SelfAttention",
    cases=_attention_cases,
    reference=solutions.SelfAttention,
    use=_use_attention,
    noun="`forward`",
    shape_hint="the shape of `x`, unchanged",
    suspects=suspects_of(
        _attention_with,
        [
            Slip("mask", "no mask", "Nothing is hidden: a token attends to the tokens after it."),
            Slip(
                "mask", "mask inverted",
                "The mask is inverted: a token attends to itself and to what comes *after* it.",
            ),
            Slip(
                "mask", "itself hidden",
                "A token may attend to itself, too. Your mask starts one step too early, and the first "
                "token, which attends to nothing, gets NaN. Hide what is above the diagonal.",
            ),
            Slip("mask", "0 for −∞", "You set the scores of the future to 0, but exp(0) = 1: use −∞."),
            Slip(
                "mask", "mask after the softmax",
                "You cut the weights after the softmax, so the rows no longer sum to 1. Mask the "
                "*scores*, before the softmax.",
            ),
            Slip("scale", "no scale", "The scores are not divided by √d_head."),
            Slip(
                "scale", "√ of d_model",
                "You divide by √d_model. A head's queries have d_model / n_heads numbers: divide by "
                "the square root of that.",
            ),
            Slip("scale", "by d", "You divide by d_head; divide by its square root."),
            Slip(
                "split", "heads not moved",
                "A `reshape` or `view` straight to [batch, head, position, d_head] mixes positions "
                "and heads. Split the last axis first, then swap position and head.",
            ),
            Slip(
                "split", "heads interleaved",
                "Your heads take every n_heads-th number. A head's numbers are side by side: "
                "unflatten to (n_heads, d_head), in this order.",
            ),
            Slip(
                "merge", "merged without moving",
                "You merge the heads without swapping head and position back first, so numbers of "
                "different positions end up in one row: `transpose(1, 2)`, then flatten.",
            ),
            Slip("out", "no W_O", "The last step is missing: `self.out` mixes the heads."),
            Slip(
                "turn", "never turned",
                "With `positions=\"rotary\"` queries and keys must be rotated, but yours are not.",
            ),
            Slip(
                "turn", "always turned",
                "You always rotate queries and keys. Rotate them only if `config.positions` is \"rotary\".",
            ),
            Slip("turn", "only queries turned", "Only the queries are rotated. Rotate the keys, too."),
            Slip(
                "turn", "values turned",
                "You rotate the values as well. Rotate only queries and keys: the position helps to find a "
                "token, but is not part of what it passes on.",
            ),
            Slip(
                "turn", "turned before the split",
                "You rotate before you split the heads. Rotate every head by itself: split first.",
            ),
            Slip(
                "axis", "softmax over queries",
                "Your softmax runs over the queries. Each *query* divides one unit of attention among "
                "the keys: `dim=-1`.",
            ),
            Slip("roles", "roles swapped", "Query and key have changed places: a row is a query."),
            Slip("parts", "keys as values", "You mix the keys. Mix the values."),
            Slip("parts", "one projection", "You use one projection for queries and keys. Each has its own."),
        ],
    ),
)  # fmt: skip
