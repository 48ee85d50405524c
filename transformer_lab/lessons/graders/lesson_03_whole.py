"""Checks of lesson 03, Many heads: the whole layer, with PyTorch's packed weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.graders.slips import Slip, suspects_of
from transformer_lab.lessons.solutions import lesson_03 as solutions


def _random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _case(name: str, seed: int, sizes: tuple[int, int, int, int], padded: list[int]) -> Case:
    """sizes: texts, words, d_model, heads. padded: how many words at the end of each text are padding."""
    batch, length, d, n_heads = sizes
    weights = (
        0.5 * _random(seed, 3 * d, d),
        _random(seed + 1, 3 * d),
        0.5 * _random(seed + 2, d, d),
        _random(seed + 3, d),
    )
    real = length - torch.tensor(padded)[:, None]
    padding = torch.arange(length) >= real
    return Case(name, (_random(seed + 4, batch, length, d), *weights, n_heads, padding))


# Sizes of all axes differ, so that swapped axes cannot pass unseen.
def _cases() -> list[Case]:
    return [
        _case("2 texts of 5 words, 12 numbers each, 3 heads", 10, (2, 5, 12, 3), [0, 0]),
        _case("3 texts, two of them padded, 2 heads", 20, (3, 4, 8, 2), [0, 1, 2]),
        _case("a single head", 30, (1, 3, 4, 1), [1]),
        _case("as many heads as numbers", 40, (2, 3, 4, 4), [0, 1]),
    ]


def _thirds(slips: frozenset[str], projected: Tensor, n_heads: int) -> list[Tensor]:
    if "thirds inside of each head" in slips:
        by_head = projected.unflatten(-1, (n_heads, 3, -1))
        return [by_head[..., i, :].flatten(2) for i in range(3)]
    if "every third number" in slips:
        return [projected[..., i::3] for i in range(3)]
    query, key, value = projected.chunk(3, dim=-1)
    if "query and key exchanged" in slips:
        return [key, query, value]
    return [value, key, query] if "values first" in slips else [query, key, value]


def _split(slips: frozenset[str], x: Tensor, n_heads: int) -> Tensor:
    if "reshaped, not split" in slips:
        return x.reshape(x.shape[0], n_heads, x.shape[1], -1)
    if "every n-th number" in slips:
        return x.unflatten(-1, (-1, n_heads)).permute(0, 3, 1, 2)
    return solutions.split_heads(x, n_heads)


def _merged(slips: frozenset[str], z: Tensor) -> Tensor:
    if "reshaped, not merged" in slips:
        return z.reshape(z.shape[0], z.shape[2], -1)
    if "heads woven" in slips:
        return z.permute(0, 2, 3, 1).flatten(2)
    return solutions.merge_heads(z)


def _weights(slips: frozenset[str], scores: Tensor, padding: Tensor) -> Tensor:
    hidden = padding[:, None, None]
    if "padding the wrong way round" in slips:
        hidden = ~hidden
    if "queries hidden" in slips:
        hidden = padding[:, None, :, None]
    if not {"padding not used", "cut after the softmax"} & slips:
        scores = scores.masked_fill(hidden, 0.0 if "0 in place of −∞" in slips else -math.inf)
    axis = -2 if "softmax over queries" in slips else 1 if "softmax over heads" in slips else -1
    weights = torch.softmax(scores, dim=axis)
    return weights.masked_fill(hidden, 0.0) if "cut after the softmax" in slips else weights


def _with(slips: frozenset[str]):
    def wrong(
        x: Tensor, in_weight: Tensor, in_bias: Tensor, out_weight: Tensor, out_bias: Tensor,
        n_heads: int, padding: Tensor,
    ) -> Tensor:  # fmt: skip
        projected = x @ in_weight.T + (0 if "no in_bias" in slips else in_bias)
        thirds = _thirds(slips, projected, n_heads)
        query, key, value = (_split(slips, part, n_heads) for part in thirds)
        scores = query @ key.mT
        if "no scale" not in slips:
            d = x.shape[-1] if "√ of d_model" in slips else query.shape[-1]
            scores = scores / (d if "scaled by d_head" in slips else math.sqrt(d))
        mixed = _merged(slips, _weights(slips, scores, padding) @ value)
        if "no W_O" in slips:
            return mixed
        matrix = out_weight if "W_O not turned" in slips else out_weight.T
        return mixed @ matrix + (0 if "no out_bias" in slips else out_bias)

    return wrong


_SLIPS = [
    Slip("in", "no in_bias", "`in_bias` is not added to the result of `in_weight`."),
    Slip(
        "thirds", "query and key exchanged",
        "Queries and keys have changed places: the first third of `in_weight` computes the queries.",
    ),
    Slip(
        "thirds", "values first",
        "The thirds are in the wrong order: queries come first, then keys, then values.",
    ),
    Slip(
        "thirds", "thirds inside of each head",
        "You cut into heads first and each head into three. (Some models store them like this.) Here the "
        "first third holds the queries of *all* heads: cut in three first, then into heads.",
    ),
    Slip(
        "thirds", "every third number",
        "You took every third number. The queries are the first third, all side by side.",
    ),
    Slip(
        "split", "reshaped, not split",
        "With a plain `view` or `reshape`, pieces of one word end up at several positions. Use "
        "`split_heads`.",
    ),
    Slip("split", "every n-th number", "Each head got every n-th number. Use `split_heads`."),
    Slip("scale", "no scale", "The scores are not scaled: divide by √d_head."),
    Slip("scale", "scaled by d_head", "You divided by d_head. The formula divides by its square root."),
    Slip(
        "scale", "√ of d_model",
        "You divided by √d_model. Each head's query has d_head numbers, so it is √d_head.",
    ),
    Slip("mask", "padding not used", "`padding` is not used: words attend to the padding."),
    Slip(
        "mask", "padding the wrong way round",
        "The mask is the wrong way round: True in `padding` marks padding, and no word may attend to it.",
    ),
    Slip(
        "mask", "queries hidden",
        "You hid the *rows* of the padding, so whole rows are −∞. Hide the keys instead: `padding` "
        "belongs to the last axis of the scores.",
    ),
    Slip(
        "mask", "cut after the softmax",
        "You masked the weights after the softmax, so they no longer sum to 1. Mask the scores.",
    ),
    Slip("fill", "0 in place of −∞", "A hidden score of 0 still gets a weight. Set it to −∞."),
    Slip(
        "softmax", "softmax over queries",
        "Your weights sum to 1 along the wrong axis, over the queries. The keys are the last axis.",
    ),
    Slip(
        "softmax", "softmax over heads",
        "Your weights sum to 1 over the heads. Each head has one unit of attention: `dim=-1`.",
    ),
    Slip(
        "merge", "reshaped, not merged",
        "You merged the heads with a plain `view` or `reshape`, which mixes words. Use `merge_heads`.",
    ),
    Slip(
        "merge", "heads woven",
        "The heads' numbers alternate. All of head 0 should come first: use `merge_heads`.",
    ),
    Slip("out", "no W_O", "The last step is missing: mix what the heads found with `out_weight`."),
    Slip(
        "out", "W_O not turned",
        "`out_weight` is the other way round: PyTorch stores [out, in], so use `mixed @ out_weight.T`.",
    ),
    Slip("out bias", "no out_bias", "`out_bias` is not added."),
]  # fmt: skip

_WHOLE = Grader(
    name="03/multi_head_attention",
    cases=_cases,
    reference=solutions.multi_head_attention,
    shape_hint="the shape of `x`, unchanged",
    suspects=suspects_of(_with, _SLIPS),
)

GRADERS = (_WHOLE,)
