"""Checks of lesson 22, Scale: what training costs, and the best size for a budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.graders.scaling_fits import FIT, JACKKNIFE, in_double
from transformer_lab.lessons.graders.slips import Slip, suspects_of
from transformer_lab.lessons.solutions import lesson_22 as solutions

# -- training_flops -------------------------------------------------------------------------------


def _flops_cases() -> list[Case]:
    return [
        Case("5 layers of width 6, 1 token", (5, 6, 17, 7, 1)),
        Case("3 layers of width 10, 8 tokens", (3, 10, 29, 11, 8)),
        Case("2 layers of width 48, 512 tokens", (2, 48, 108, 64, 512)),
    ]


FLOPS_SLIPS = (
    Slip(
        "backward",
        "only the forward pass",
        "This is only the forward pass. The backward pass costs twice as much: once for the gradient "
        "of the inputs, once for that of the weights.",
    ),
    Slip(
        "backward",
        "backward as expensive as forward",
        "You made the backward pass as expensive as the forward pass. It needs two products where the "
        "forward pass needs one: multiply the forward pass by three in all.",
    ),
    Slip(
        "operations",
        "products without sums",
        "You counted only multiplications. Each is followed by an addition, and both count: 2 per weight.",
    ),
    Slip("layers", "one layer", "This is one layer. Multiply blocks and attention by `n_layers`."),
    Slip(
        "tokens",
        "one token",
        "This is the cost of one token. Multiply by `tokens`.",
    ),
    Slip(
        "blocks",
        "blocks without their feed-forward layer",
        "You have 4 d² for a block. It has 12 d² weights: 4 d² in attention's four matrices, and 8 d² in "
        "the two of the feed-forward layer, which is four times as wide.",
    ),
    Slip(
        "blocks",
        "blocks without attention's matrices",
        "You have 8 d² for a block. It has 12 d² weights: 4 d² in attention's four matrices, and 8 d² in "
        "the two of the feed-forward layer.",
    ),
    Slip(
        "attention",
        "half of attention",
        "Attention is half of what it should be. There are two products over `n_ctx` keys, the scores "
        "and the mixture; and what the mask hides is computed too.",
    ),
    Slip(
        "attention",
        "the whole square for each token",
        "You gave each token the whole square of scores. It has only one row: `n_ctx` keys.",
    ),
    Slip(
        "head",
        "the embedding as a product",
        "Embeddings are looked up in a table, not multiplied. Only the head is a product with "
        "vocab_size · d_model weights.",
    ),
    Slip(
        "head",
        "no head",
        "The head is missing: a product with vocab_size · d_model weights.",
    ),
)


def _flops_with(slips: frozenset[str]) -> Callable[..., torch.Tensor]:
    def wrong(n_layers, d_model, vocab_size, n_ctx, tokens):
        layers = 1 if "one layer" in slips else n_layers
        weights = 12
        weights = 4 if "blocks without their feed-forward layer" in slips else weights
        weights = 8 if "blocks without attention's matrices" in slips else weights
        keys = n_ctx * n_ctx if "the whole square for each token" in slips else n_ctx
        products = 1 if "half of attention" in slips else 2
        tables = {"no head": 0, "the embedding as a product": 2}
        heads = next((n for name, n in tables.items() if name in slips), 1)
        times = 3
        times = 1 if "only the forward pass" in slips else times
        times = 2 if "backward as expensive as forward" in slips else times
        times *= 1 if "products without sums" in slips else 2
        times *= 1 if "one token" in slips else tokens
        parts = [
            weights * layers * d_model**2,
            products * layers * keys * d_model,
            heads * vocab_size * d_model,
        ]
        return times * torch.tensor(parts)

    return wrong


FLOPS = Grader(
    name="22/training_flops",
    cases=_flops_cases,
    reference=solutions.training_flops,
    shape_hint="three whole numbers: blocks, attention, head",
    suspects=suspects_of(_flops_with, FLOPS_SLIPS),
)

# -- best_size ------------------------------------------------------------------------------------


def _size_cases() -> list[Case]:
    def of(sizes: list[float], losses: list[float]) -> tuple[Any, ...]:
        return torch.tensor(sizes), torch.tensor(losses)

    return [
        Case("5 sizes", of([0.5, 1.1, 2.3, 5.2, 9.1], [3.31, 3.04, 2.97, 3.22, 3.55])),
        Case("3 sizes in another order", of([6.0, 1.5, 3.0], [1.95, 2.11, 1.83])),
        Case("4 sizes, in thousands", of([6e3, 14e3, 25e3, 98e3], [2.2, 1.95, 1.93, 2.4])),
    ]


SIZE_SLIPS = (
    Slip(
        "axis",
        "a parabola in N",
        "Your parabola is in N itself. Sizes grow by factors: take the logarithm first.",
    ),
    Slip(
        "axis",
        "two kinds of logarithm",
        "You took logarithms to base 10 but went back with powers of e. Use one base both ways.",
    ),
    Slip(
        "vertex",
        "the sign of the vertex",
        "The sign is wrong: the lowest point of a·x² + b·x + c is at −b / 2a.",
    ),
    Slip(
        "vertex",
        "the vertex without its 2",
        "You took −b / a. The lowest point of a·x² + b·x + c is at −b / 2a.",
    ),
    Slip(
        "answer",
        "the logarithm of the size",
        "This is the logarithm of the size. Convert it back to parameters.",
    ),
    Slip(
        "answer",
        "the lowest loss",
        "This is the loss at the lowest point. Return the size.",
    ),
    Slip(
        "fit",
        "logarithms of losses",
        "You fitted the parabola to the logarithm of the loss. Fit it to the loss.",
    ),
    Slip(
        "fit",
        "the best of the runs",
        "This is the best of the sizes that were tried. The best size is between them: fit the "
        "parabola.",
    ),
    Slip(
        "fit",
        "through three runs",
        "The parabola goes through the first three runs. Fit it to all of them by least squares.",
    ),
)


def _size_with(slips: frozenset[str]) -> Callable[..., torch.Tensor]:
    def wrong(parameters, loss):
        x = parameters if "a parabola in N" in slips else parameters.log()
        x = parameters.log10() if "two kinds of logarithm" in slips else x
        y = loss.log() if "logarithms of losses" in slips else loss
        if "through three runs" in slips:
            x, y = x[:3], y[:3]
        columns = torch.stack([x * x, x, torch.ones_like(x)], 1)
        a, b, c = torch.linalg.lstsq(columns, y).solution
        place = (b if "the sign of the vertex" in slips else -b) / (2 * a)
        place = -b / a if "the vertex without its 2" in slips else place
        if "the best of the runs" in slips:
            place = x[loss.argmin()]
        if "the lowest loss" in slips:
            return a * place**2 + b * place + c
        plain = "the logarithm of the size" in slips or "a parabola in N" in slips
        return place if plain else place.exp()

    return wrong


SIZE = Grader(
    name="22/best_size",
    cases=_size_cases,
    reference=solutions.best_size,
    shape_hint="one number, the size",
    use=in_double,
    suspects=suspects_of(_size_with, SIZE_SLIPS),
)

GRADERS = (FLOPS, SIZE, FIT, JACKKNIFE)
