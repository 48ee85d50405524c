"""Checks of lesson 22, Scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.solutions import lesson_22 as solutions

FLOPS = Grader(
    reference=solutions.training_flops,
    cases=lambda: [
        Case("5 layers of width 6, 1 token", (5, 6, 17, 7, 1)),
        Case("3 layers of width 10, 8 tokens", (3, 10, 29, 11, 8)),
        Case("2 layers of width 48, 512 tokens", (2, 48, 108, 64, 512)),
    ],
    shape_hint="three whole numbers: blocks, attention, head",
    mistakes="""
# backward
- return 3 *
+ return
  This is only the forward pass. The backward pass costs twice as much: once for the gradient of
  the inputs, once for that of the weights.

- return 3 *
+ return 2 *
  You made the backward pass as expensive as the forward pass. It needs two products where the
  forward pass needs one: multiply the forward pass by three in all.

# operations
- [blocks, attention, head])
+ [blocks, attention, head]) // 2
  You counted only multiplications. Each is followed by an addition, and both count: 2 per weight.

# layers
- blocks =
+ n_layers = 1
+ blocks =
  This is one layer. Multiply blocks and attention by `n_layers`.

# tokens
- tokens *
  This is the cost of one token. Multiply by `tokens`.

# blocks
- 2 * 12
+ 2 * 4
  You have 4 d² for a block. It has 12 d² weights: 4 d² in attention's four matrices, and 8 d² in
  the two of the feed-forward layer, which is four times as wide.

- 2 * 12
+ 2 * 8
  You have 8 d² for a block. It has 12 d² weights: 4 d² in attention's four matrices, and 8 d² in
  the two of the feed-forward layer.

# attention
- attention = 4
+ attention = 2
  Attention is half of what it should be. There are two products over `n_ctx` keys, the scores and
  the mixture; and what the mask hides is computed too.

- n_ctx *
+ n_ctx * n_ctx *
  You gave each token the whole square of scores. It has only one row: `n_ctx` keys.

# head
- head = 2
+ head = 4
  Embeddings are looked up in a table, not multiplied. Only the head is a product with vocab_size
  · d_model weights.

- head = 2
+ head = 0
  The head is missing: a product with vocab_size · d_model weights.
""",
    values=(2, 5, 7),
    variant="""
- 2 * 12
+ 2 * (4 + 3 * DRAWN)
  Let the feed-forward layer be a gated one (SwiGLU) of width DRAWN · d: it has three matrices, W_gate
  and W_up into this width and W_down out of it. Attention is as before.

- 3 * DRAWN
+ 2 * DRAWN
  Your feed-forward layer has two matrices. A gated one has three: W_gate, W_up and W_down.

- (4 + 3 * DRAWN)
+ 3 * DRAWN
  The four matrices of attention are missing in the blocks.

- (4 + 3 * DRAWN)
+ (4 + 3 * 4)
  Your feed-forward layer is 4 · d wide. Here it is DRAWN · d.
""",
)


def _in_double(written: Callable[..., Any], *arguments: Any) -> Any:
    """Call the learner's function in fp64: a fit in fp32 loses the digits that are compared."""
    return written(*(a.double() if isinstance(a, Tensor) else a for a in arguments))


def _size_cases() -> list[Case]:
    def of(sizes: list[float], losses: list[float]) -> tuple[Any, ...]:
        return torch.tensor(sizes), torch.tensor(losses)

    return [
        Case("5 sizes", of([0.5, 1.1, 2.3, 5.2, 9.1], [3.31, 3.04, 2.97, 3.22, 3.55])),
        Case("3 sizes in another order", of([6.0, 1.5, 3.0], [1.95, 2.11, 1.83])),
        Case("4 sizes, in thousands", of([6e3, 14e3, 25e3, 98e3], [2.2, 1.95, 1.93, 2.4])),
    ]


SIZE = Grader(
    reference=solutions.best_size,
    cases=_size_cases,
    use=_in_double,
    shape_hint="one number, the size",
    mistakes="""
# axis
- parameters.log()
+ parameters
- torch.exp(
+ (
  Your parabola is in N itself. Sizes grow by factors: take the logarithm first.

- parameters.log()
+ parameters.log10()
  You took logarithms to base 10 but went back with powers of e. Use one base both ways.

# vertex
- -b /
+ b /
  The sign is wrong: the lowest point of a·x² + b·x + c is at −b / 2a.

- (2 * a)
+ a
  You took −b / a. The lowest point of a·x² + b·x + c is at −b / 2a.

# answer
- torch.exp(
+ (
  This is the logarithm of the size. Convert it back to parameters.

- a, b, _ =
+ a, b, c =
- torch.exp(
+ (lambda x: a * x * x + b * x + c)(
  This is the loss at the lowest point. Return the size.

# fit
- columns, loss
+ columns, loss.log()
  You fitted the parabola to the logarithm of the loss. Fit it to the loss.

- -b / (2 * a)
+ x[loss.argmin()]
  This is the best of the sizes that were tried. The best size is between them: fit the parabola.

- columns, loss
+ columns[:3], loss[:3]
  The parabola goes through the first three runs. Fit it to all of them by least squares.
""",
)


def _runs(seed: int, n: int, numbers: tuple[float, ...]) -> tuple[Tensor, ...]:
    """Sizes, tokens and losses of a scaling law with a little noise, fp32 [run] each."""
    chance = torch.Generator().manual_seed(seed)
    floor, a, alpha, b, beta = numbers
    sizes, tokens = (
        torch.exp(2 * torch.rand(n, generator=chance) + shift) for shift in (-0.5, 0.3)
    )
    noise = 0.03 * torch.randn(n, generator=chance)
    return sizes, tokens, floor + a * sizes**-alpha + b * tokens**-beta + noise


def _fit_cases() -> list[Case]:
    first = torch.tensor([0.6, 0.2, 0.8, 0.4])  # not sorted, so that the best can be anywhere
    second = torch.tensor([0.5, 0.9, 0.1, 0.7, 0.3])
    sizes, tokens, loss = _runs(4, 7, (1.0, 0.9, 0.5, 0.8, 0.5))
    loss[2] += 0.4
    return [
        Case("8 runs", (*_runs(1, 8, (1.2, 1.0, 0.6, 0.7, 0.3)), first, second)),
        Case("7 runs, one of which went wrong", (sizes, tokens, loss, first, second)),
        Case("12 runs", (*_runs(2, 12, (0.7, 0.6, 0.4, 1.5, 0.7)), first, second)),
    ]


FIT = Grader(
    reference=solutions.fit_law,
    cases=_fit_cases,
    use=_in_double,
    shape_hint="five numbers: E, A, α, B, β",
    mistakes="""
# search
- error < least
+ best is None
  You returned the first pair of exponents. Try them all, and keep the one with the smallest
  squared error.

- error < least
+ True
  You returned the last pair of exponents. Replace the pair you keep only if the error is smaller.

- float("inf")
+ -1.0
- error < least
+ error > least
  You kept the pair with the largest error. Keep the one with the smallest.

- in betas
+ in [alpha]
  You gave sizes and tokens the same exponent. Try every α with every β.

# floor
- torch.ones_like(loss),
+
- floor, a, b = solution
+ floor, a, b = 0 * solution[0], *solution
  The floor E is missing: the fit has no column of ones.

# powers
- parameters**-alpha, tokens**-beta
+ parameters**alpha, tokens**beta
  Your powers grow: N to the power of +α. The loss falls, so use N to the power of −α.

- parameters**-alpha, tokens**-beta
+ parameters.log(), tokens.log()
  You fitted to logarithms of N and D. The law has powers of them.

- parameters**-alpha, tokens**-beta
+ parameters**-beta, tokens**-alpha
  α belongs to the sizes and β to the tokens; you have them the other way round.

# error
- .square()
+ .abs()
  You kept the pair with the smallest absolute error. Add up the squares.

# order
- a, alpha, b, beta
+ a, b, alpha, beta
  The numbers are right but in another order: return E, A, α, B, β. Yours are E, A, B, α, β.
""",
)


def _line(x: Tensor, y: Tensor) -> Tensor:
    """Intercept and slope of a straight line."""
    return torch.linalg.lstsq(torch.stack([torch.ones_like(x), x], 1), y).solution


def _ratio(x: Tensor) -> Tensor:
    """Two statistics of one column: its mean, and its root mean square divided by the mean."""
    return torch.stack([x.mean(), x.square().mean().sqrt() / x.mean()])


def _jackknife_cases() -> list[Case]:
    x = torch.tensor([0.0, 0.3, 1.1, 1.9, 2.4, 4.0, 4.5])
    y = torch.tensor([2.9, 2.6, 2.7, 2.0, 2.2, 1.1, 1.6])
    return [
        Case("a straight line through 7 runs", (_line, x, y)),
        Case("one column of 5 runs", (_ratio, y[:5] + 1)),
    ]


JACKKNIFE = Grader(
    reference=solutions.jackknife,
    cases=_jackknife_cases,
    use=_in_double,
    shape_hint="one number for each number of the fit",
    mistakes="""
# factor
- (n - 1) / n
+ 1 / (n - 1)
  This is the standard deviation of the fits. They share nearly all runs, so they are close
  together: take the *sum* of squares times (n − 1)/n.

- (n - 1) / n
+ 1 / n
  You took the mean of the squares. The fits share nearly all runs, so they are close together:
  take the *sum* of squares times (n − 1)/n.

- (n - 1) / n
+ 1 / (n - 1) / n
  You divided by the square root of n, as for independent measurements. These fits share nearly
  all runs: take the *sum* of squares times (n − 1)/n.

- (n - 1) / n *
  The factor (n − 1)/n is missing.

- (n - 1) / n * spread
+ (found.amax(dim=0) - found.amin(dim=0)) ** 2
  This is the distance of the largest from the smallest. Use the sum of squares.

# root
- torch.sqrt(
+ (
  The square root is missing: this is a variance.

# centre
- found.mean(dim=0)
+ fit(*columns)
  You took distances from the fit of all runs. Take them from the mean of the n fits.

# runs
- torch.arange(n) != left_out
+ (torch.arange(n) - left_out) % n > 1
  You left out two runs at a time. Leave out one.

- in range(n)
+ in range(n - 1)
  You never leave out the last run. There should be n fits.
""",
)
