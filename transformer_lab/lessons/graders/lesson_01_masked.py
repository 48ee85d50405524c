"""Checks of lesson 01, Attention by hand: from embeddings to outputs, under any mask."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.graders.slips import Slip, suspects_of
from transformer_lab.lessons.solutions import lesson_01 as solutions


def _random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _whole(seed: int, *shape: int) -> Tensor:
    """Whole numbers, whose products are exact in any floating-point type."""
    drawn = torch.randint(-6, 7, shape, generator=torch.Generator().manual_seed(seed))
    return drawn.float()


def _maps(seed: int, d_model: int, d: int, d_value: int) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(_random(seed + i, d_model, n) for i, n in enumerate((d, d, d_value)))  # type: ignore


# Sizes of all axes differ, so that a swapped axis cannot pass unseen. A mask is never its mirror image.
def _cases() -> list[Case]:
    before = torch.ones(5, 5, dtype=torch.bool).tril()
    filled = torch.ones(2, 4, 4, dtype=torch.bool)
    filled[1, :, 3] = filled[0, 0, 1] = False
    lost = before[:4, :4].clone()
    lost[2], lost[0, 3] = False, True
    large = tuple(_whole(40 + i, 4, n) for i, n in enumerate((4, 4, 3)))
    return [
        Case(
            "five words that attend to themselves and to earlier words",
            (_random(10, 5, 6), *_maps(11, 6, 4, 3), before),
        ),
        Case(
            "two sentences, the second with one word of padding",
            (_random(20, 2, 4, 5), *_maps(21, 5, 3, 2), filled),
        ),
        Case(
            "a word that may attend to nothing",
            (_random(30, 4, 6), *_maps(31, 6, 4, 3), lost),
        ),
        Case("scores of a thousand and more", (_whole(43, 5, 4), *large, before)),
    ]


def _hidden(slips: frozenset[str], may_look: Tensor) -> Tensor:
    if "mask inverted" in slips:
        return may_look
    if "mask ignored" in slips or "cut after the softmax" in slips:
        return torch.zeros_like(may_look)
    if "always the triangle" in slips:
        return torch.ones_like(may_look).triu(1)
    if "mask on its side" in slips:
        return ~may_look.mT
    return ~may_look


def _weights(slips: frozenset[str], scores: Tensor, hidden: Tensor) -> Tensor:
    raw, axis = scores, -2 if "softmax over queries" in slips else -1
    scores = scores.masked_fill(hidden, 0.0 if "0 in place of −∞" in slips else -math.inf)
    largest = scores.amax(dim=axis, keepdim=True)
    nowhere = largest == -math.inf
    if "largest before the mask" in slips:
        largest = raw.amax(dim=axis, keepdim=True)
    if "largest of all" in slips:
        largest = scores.amax().expand_as(largest)
    if "exp of large numbers" in slips:
        largest = torch.zeros_like(largest)
    shares = (scores - largest.masked_fill(nowhere, 0.0)).exp()
    if "not divided" in slips:
        return shares
    weights = shares / shares.sum(dim=axis, keepdim=True)  # 0/0 where a word may attend to nothing
    if "even weights" in slips:
        return weights.masked_fill(nowhere, 1 / scores.shape[-1])
    return weights if "NaN" in slips else weights.masked_fill(nowhere, 0.0)


def _with(slips: frozenset[str]):
    def wrong(x: Tensor, W_Q: Tensor, W_K: Tensor, W_V: Tensor, may_look: Tensor) -> Tensor:
        query, key, value = x @ W_Q, x @ W_K, x @ W_V
        if "one matrix for both" in slips:
            key = query
        if "query and key exchanged" in slips:
            query, key = key, query
        if "values by W_K" in slips:
            value = x @ W_K
        if "values not projected" in slips:
            value = x
        scores = query @ key.mT
        if "no scale" not in slips:
            d = x.shape[-1] if "√ of d_model" in slips else query.shape[-1]
            scores = scores / (d if "scaled by d" in slips else math.sqrt(d))
        weights = _weights(slips, scores, _hidden(slips, may_look))
        if "cut after the softmax" in slips:
            weights = weights.masked_fill(~may_look, 0.0)
        if "weights returned" in slips:
            return weights
        out = weights @ value
        if "its own value" in slips and out.shape == value.shape:
            return torch.where(may_look.any(-1, keepdim=True), out, value)
        return out

    return wrong


_SLIPS = [
    Slip("project", "one matrix for both", "Queries and keys come from one matrix. The keys have their own: `W_K`."),
    Slip(
        "project", "query and key exchanged",
        "Query and key have changed places: a row belongs to the word that attends, and its query is a "
        "row of `x @ W_Q`.",
    ),
    Slip("values", "values by W_K", "You made the values with `W_K`; they have a matrix of their own, `W_V`."),
    Slip(
        "values", "values not projected",
        "You mixed the embeddings themselves. Mix the values, `x @ W_V`.",
    ),
    Slip(
        "scale", "no scale",
        "The scores are not scaled: divide by √d, where d is the length of a query.",
    ),
    Slip("scale", "scaled by d", "You divided by d. The formula divides by its square root."),
    Slip(
        "scale", "√ of d_model",
        "You divided by the square root of the size of an *embedding*. Use the size of a *query*: the last "
        "axis of `x @ W_Q`.",
    ),
    Slip(
        "mask", "mask inverted",
        "The mask is the wrong way round: True in `may_look` means that this query **may** attend to this "
        "key. Hide the scores where it is False (`~may_look`).",
    ),
    Slip("mask", "mask ignored", "`may_look` is not used: nothing is hidden."),
    Slip(
        "mask", "always the triangle",
        "You always hide what comes later. Any mask is possible here: use `may_look`.",
    ),
    Slip(
        "mask", "mask on its side",
        "Rows and columns of `may_look` are exchanged. It has the same axes as the scores: row = query.",
    ),
    Slip(
        "mask", "cut after the softmax",
        "You masked the weights after the softmax, so they no longer sum to 1. Mask the scores.",
    ),
    Slip(
        "fill", "0 in place of −∞",
        "A hidden score of 0 still gets a weight, because `exp(0)` = 1. Set it to −∞.",
    ),
    Slip(
        "softmax", "softmax over queries",
        "Your weights sum to 1 along the wrong axis: take the softmax over the keys, `dim=-1`.",
    ),
    Slip(
        "largest", "exp of large numbers",
        "`exp` of a large score is infinite, and ∞/∞ is NaN. Before `exp`, subtract the largest score of "
        "the row from every score in it: the weights stay the same.",
    ),
    Slip(
        "largest", "largest before the mask",
        "You took the largest score of the row before the mask. If that score is hidden, the others may "
        "be so far below it that every `exp` is 0. Mask first.",
    ),
    Slip(
        "largest", "largest of all",
        "You subtracted the largest score of the whole table. In a row far below it, every `exp` is 0. Use "
        "the largest score of each row: `amax(dim=-1, keepdim=True)`.",
    ),
    Slip("divide", "not divided", "You took `exp` but did not divide by the sum of each row."),
    Slip(
        "nowhere", "NaN",
        "The row of the word that may attend to nothing is NaN: −∞ − (−∞), or 0/0. Its weights should all "
        "be 0, and so should its output.",
    ),
    Slip(
        "nowhere", "even weights",
        "The word that may attend to nothing attends to everything evenly, hidden words too. (This happens "
        "with a large negative number in place of −∞.) Its weights should all be 0.",
    ),
    Slip(
        "nowhere", "its own value",
        "The word that may attend to nothing gets its own value. It should get nothing: its output is 0.",
    ),
    Slip(
        "mix", "weights returned",
        "These are the weights. The last step is missing: mix the values with them.",
    ),
]  # fmt: skip

_MASKED = Grader(
    name="01/masked_attention",
    cases=_cases,
    reference=solutions.masked_attention,
    shape_hint="one row for each word, as wide as `x @ W_V`",
    suspects=suspects_of(_with, _SLIPS),
)

GRADERS = (_MASKED,)
