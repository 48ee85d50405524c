"""Checks of lesson 22, Scale: the law that is fitted, and how certain its numbers are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.graders.slips import Slip, suspects_of
from transformer_lab.lessons.solutions import lesson_22 as solutions


def in_double(written: Callable[..., Any], *arguments: Any) -> Any:
    """Call it with 64-bit numbers: a fit in 32 bits loses the digits that are compared."""
    return written(*(a.double() if isinstance(a, torch.Tensor) else a for a in arguments))


# -- fit_law --------------------------------------------------------------------------------------


def _runs(seed: int, n: int, numbers: tuple[float, ...]) -> tuple[torch.Tensor, ...]:
    """Sizes, tokens and losses of a law with a little noise, fp32 [run] each."""
    chance = torch.Generator().manual_seed(seed)
    floor, a, alpha, b, beta = numbers
    sizes, tokens = (
        torch.exp(2 * torch.rand(n, generator=chance) + shift) for shift in (-0.5, 0.3)
    )
    noise = 0.03 * torch.randn(n, generator=chance)
    return sizes, tokens, floor + a * sizes**-alpha + b * tokens**-beta + noise


def _fit_cases() -> list[Case]:
    first = torch.tensor([0.6, 0.2, 0.8, 0.4])  # in no order, so that the best can be anywhere
    second = torch.tensor([0.5, 0.9, 0.1, 0.7, 0.3])
    sizes, tokens, loss = _runs(4, 7, (1.0, 0.9, 0.5, 0.8, 0.5))
    loss[2] += 0.4
    return [
        Case("8 runs", (*_runs(1, 8, (1.2, 1.0, 0.6, 0.7, 0.3)), first, second)),
        Case("7 runs, one of which went wrong", (sizes, tokens, loss, first, second)),
        Case("12 runs", (*_runs(2, 12, (0.7, 0.6, 0.4, 1.5, 0.7)), first, second)),
    ]


FIT_SLIPS = (
    Slip(
        "search",
        "the first pair of exponents",
        "You returned the first pair of exponents. Try them all, and keep the one with the smallest "
        "squared error.",
    ),
    Slip(
        "search",
        "the last pair of exponents",
        "You returned the last pair of exponents. Replace the pair you keep only if the error is smaller.",
    ),
    Slip(
        "search",
        "the worst pair of exponents",
        "You kept the pair with the largest error. Keep the one with the smallest.",
    ),
    Slip(
        "search",
        "one exponent for both",
        "You gave sizes and tokens the same exponent. Try every α with every β.",
    ),
    Slip(
        "floor",
        "no floor",
        "The floor E is missing: the fit has no column of ones.",
    ),
    Slip(
        "powers",
        "growing powers",
        "Your powers grow: N to the power of +α. The loss falls, so use N to the power of −α.",
    ),
    Slip(
        "powers",
        "logarithms instead of powers",
        "You fitted to logarithms of N and D. The law has powers of them.",
    ),
    Slip(
        "powers",
        "exponents exchanged",
        "α belongs to the sizes and β to the tokens; you have them the other way round.",
    ),
    Slip(
        "error",
        "absolute errors",
        "You kept the pair with the smallest absolute error. Add up the squares.",
    ),
    Slip(
        "order",
        "another order",
        "The numbers are right but in another order: return E, A, α, B, β. Yours are E, A, B, α, β.",
    ),
)


def _fit_with(slips: frozenset[str]) -> Callable[..., torch.Tensor]:
    def wrong(parameters, tokens, loss, alphas, betas):
        tried = []
        for alpha in alphas:
            for beta in betas:
                if "one exponent for both" in slips:
                    beta = alpha
                one, two = parameters**-alpha, tokens**-beta
                if "growing powers" in slips:
                    one, two = parameters**alpha, tokens**beta
                if "logarithms instead of powers" in slips:
                    one, two = parameters.log(), tokens.log()
                if "exponents exchanged" in slips:
                    one, two = parameters**-beta, tokens**-alpha
                level = torch.ones_like(loss) * ("no floor" not in slips)
                columns = torch.stack([level, one, two], 1)
                used = columns[:, 1:] if "no floor" in slips else columns
                solved = torch.linalg.lstsq(used, loss).solution
                floor = solved[0] if len(solved) == 3 else torch.zeros_like(solved[0])
                left = used @ solved - loss
                error = left.abs().sum() if "absolute errors" in slips else left.square().sum()
                numbers = [floor, solved[-2], alpha, solved[-1], beta]
                if "another order" in slips:
                    numbers = [floor, solved[-2], solved[-1], alpha, beta]
                tried.append((float(error), torch.stack(numbers)))
        errors = [error for error, _ in tried]
        place = errors.index(min(errors))
        place = 0 if "the first pair of exponents" in slips else place
        place = -1 if "the last pair of exponents" in slips else place
        place = errors.index(max(errors)) if "the worst pair of exponents" in slips else place
        return tried[place][1]

    return wrong


FIT = Grader(
    name="22/fit_law",
    cases=_fit_cases,
    reference=solutions.fit_law,
    shape_hint="five numbers: E, A, α, B, β",
    use=in_double,
    suspects=suspects_of(_fit_with, FIT_SLIPS),
)

# -- jackknife ------------------------------------------------------------------------------------


def _line(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Height and slope of a straight line."""
    return torch.linalg.lstsq(torch.stack([torch.ones_like(x), x], 1), y).solution


def _ratio(x: torch.Tensor) -> torch.Tensor:
    """Two numbers of one column."""
    return torch.stack([x.mean(), x.square().mean().sqrt() / x.mean()])


def _jackknife_cases() -> list[Case]:
    x = torch.tensor([0.0, 0.3, 1.1, 1.9, 2.4, 4.0, 4.5])
    y = torch.tensor([2.9, 2.6, 2.7, 2.0, 2.2, 1.1, 1.6])
    return [
        Case("a straight line through 7 runs", (_line, x, y)),
        Case("one column of 5 runs", (_ratio, y[:5] + 1)),
    ]


JACKKNIFE_SLIPS = (
    Slip(
        "factor",
        "a standard deviation",
        "This is the standard deviation of the fits. They share nearly all runs, so they are close "
        "together: take the *sum* of squares times (n − 1)/n.",
    ),
    Slip(
        "factor",
        "a mean of squares",
        "You took the mean of the squares. The fits share nearly all runs, so they are close together: "
        "take the *sum* of squares times (n − 1)/n.",
    ),
    Slip(
        "factor",
        "the error of a mean",
        "You divided by the square root of n, as for independent measurements. These fits share nearly "
        "all runs: take the *sum* of squares times (n − 1)/n.",
    ),
    Slip(
        "factor",
        "the sum of squares as it is",
        "The factor (n − 1)/n is missing.",
    ),
    Slip(
        "factor",
        "from the largest to the smallest",
        "This is the distance of the largest from the smallest. Use the sum of squares.",
    ),
    Slip(
        "root",
        "no root",
        "The square root is missing: this is a variance.",
    ),
    Slip(
        "centre",
        "around the fit of all runs",
        "You took distances from the fit of all runs. Take them from the mean of the n fits.",
    ),
    Slip(
        "runs",
        "two left out",
        "You left out two runs at a time. Leave out one.",
    ),
    Slip(
        "runs",
        "never the last",
        "You never leave out the last run. There should be n fits.",
    ),
)


def _jackknife_with(slips: frozenset[str]) -> Callable[..., torch.Tensor]:
    def wrong(fit, *columns):
        n = len(columns[0])
        rows, fits = torch.arange(n), []
        for i in range(n - ("never the last" in slips)):
            kept = rows != i
            if "two left out" in slips:
                kept &= rows != (i + 1) % n
            fits.append(fit(*(column[kept] for column in columns)))
        found = torch.stack(fits)
        centre = fit(*columns) if "around the fit of all runs" in slips else found.mean(0)
        if "from the largest to the smallest" in slips:
            spread = found.amax(0) - found.amin(0)
            return spread.square() if "no root" in slips else spread
        times = (n - 1) / n
        times = 1 / (n - 1) if "a standard deviation" in slips else times
        times = 1 / n if "a mean of squares" in slips else times
        times = 1 / (n - 1) / n if "the error of a mean" in slips else times
        times = 1 if "the sum of squares as it is" in slips else times
        squares = times * (found - centre).square().sum(0)
        return squares if "no root" in slips else squares.sqrt()

    return wrong


JACKKNIFE = Grader(
    name="22/jackknife",
    cases=_jackknife_cases,
    reference=solutions.jackknife,
    shape_hint="one number for each number of the fit",
    use=in_double,
    suspects=suspects_of(_jackknife_with, JACKKNIFE_SLIPS),
)
