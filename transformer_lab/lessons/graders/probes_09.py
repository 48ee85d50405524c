"""Checks for lesson 09, BERT: a linear probe."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.graders.slips import Slip, suspects_of
from transformer_lab.lessons.solutions import lesson_09 as solutions


def _arguments(seed: int, *, n: int, d: int, n_test: int, steps: int, lr: float) -> tuple:
    draw = torch.Generator().manual_seed(seed)
    labels = (torch.arange(n) % 3 != 0).float()  # one class is larger
    scale = 0.5 + torch.rand(d, generator=draw)
    shift = torch.randn(d, generator=draw)
    train = torch.randn(n, d, generator=draw) + labels[:, None]
    test = 1.5 * torch.randn(n_test, d, generator=draw) + 0.7
    return train * scale + shift, labels, test * scale + shift, steps, lr


def _probe_cases() -> list[Case]:
    return [
        Case(
            "8 texts to learn from, 5 others",
            _arguments(1, n=8, d=3, n_test=5, steps=12, lr=0.5),
        ),
        Case("a single step", _arguments(2, n=6, d=4, n_test=4, steps=1, lr=0.3)),
        Case("60 steps", _arguments(3, n=12, d=5, n_test=7, steps=60, lr=0.2)),
    ]


def _made(slips: frozenset[str]) -> Callable[..., Tensor]:
    """The probe with the given slips."""

    def linear_probe(train, labels, test, steps, lr):
        x, asked = _standardised(slips, train, test)
        targets = 2 * labels - 1 if "labels of −1 and 1" in slips else labels
        weights, bias = torch.zeros(x.shape[1], dtype=x.dtype), torch.zeros((), dtype=x.dtype)
        for _ in range(steps):
            p = _probability(slips, x @ weights + bias)
            error = p - targets
            if "squared error" in slips:
                error = error * p * (1 - p)
            if "uphill" in slips:
                error = -error
            n = 1 if "gradients summed" in slips else len(x)
            weights = weights - lr * x.T @ error / n
            if "bias not learned" not in slips:
                bias = bias - lr * error.sum() / n
        scores = asked @ weights + bias
        if "scores returned" in slips:
            return scores
        if "classes returned" in slips:
            return (scores > 0).to(x.dtype)
        return torch.sigmoid(scores)

    return linear_probe


def _probability(slips: frozenset[str], scores: Tensor) -> Tensor:
    return scores if "no sigmoid in the loop" in slips else torch.sigmoid(scores)


def _standardised(slips: frozenset[str], train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    both = torch.cat([train, test])
    known = both if "both parts together" in slips else train
    mean, spread = known.mean(0), known.std(0)
    if "divided by n in the spread" in slips:
        spread = known.std(0, correction=0)
    if "one mean for all numbers" in slips:
        mean, spread = known.mean(), known.std()
    if "spread forgotten" in slips:
        spread = torch.ones_like(mean)
    if "not standardised" in slips:
        return train, test
    if "test as it is" in slips:
        return (train - mean) / spread, test
    if "test by itself" in slips:
        return (train - mean) / spread, (test - test.mean(0)) / test.std(0)
    return (train - mean) / spread, (test - mean) / spread


_SLIPS = (
    Slip(
        "standardise",
        "test by itself",
        "You standardised `test` by its own mean and spread. Then the result for a text depends on the "
        "other test texts. Use the mean and spread of `train`.",
    ),
    Slip(
        "standardise",
        "both parts together",
        "You took the mean and spread of `train` and `test` together. Nothing of `test` may reach the probe.",
    ),
    Slip(
        "standardise",
        "test as it is",
        "`test` is not standardised. The border was drawn through standardised numbers, so `test` has to "
        "be standardised too.",
    ),
    Slip("standardise", "not standardised", "Nothing is standardised: subtract the mean and divide by the spread."),
    Slip("standardise", "spread forgotten", "You subtracted the mean but did not divide by the standard deviation."),
    Slip(
        "standardise",
        "one mean for all numbers",
        "You took one mean and one spread for everything. Each of the d numbers has its own: `dim=0`.",
    ),
    Slip(
        "standardise",
        "divided by n in the spread",
        "Your standard deviation divides by n. Use `std(dim=0)`, which divides by n − 1.",
    ),
    Slip(
        "scale",
        "gradients summed",
        "You summed over the texts. The gradient of the *mean* loss is divided by their number.",
    ),
    Slip(
        "sign",
        "uphill",
        "You went uphill: with p − y as the error, *subtract* `lr` times the gradient.",
    ),
    Slip(
        "error",
        "squared error",
        "That is the gradient of a squared error: it has a factor p·(1 − p). The gradient of "
        "cross-entropy has p − y alone.",
    ),
    Slip(
        "error",
        "labels of −1 and 1",
        "You made the labels −1 and 1. The probability is compared with 0 and 1.",
    ),
    Slip(
        "error",
        "no sigmoid in the loop",
        "In the loop you compared the *score* with the label. Turn it into a probability first.",
    ),
    Slip("bias", "bias not learned", "The bias stays 0. It has a gradient, too: the mean of p − y."),
    Slip(
        "result",
        "scores returned",
        "These are scores. A sigmoid turns them into probabilities.",
    ),
    Slip(
        "result",
        "classes returned",
        "These are classes, 0 and 1. Return the probability of class 1.",
    ),
)  # fmt: skip


def _one_less(train, labels, test, steps, lr):
    return solutions.linear_probe(train, labels, test, steps - 1, lr)


def _one_more(train, labels, test, steps, lr):
    return solutions.linear_probe(train, labels, test, steps + 1, lr)


def _of_train(train, labels, test, steps, lr):
    return solutions.linear_probe(train, labels, train, steps, lr)


def _other_class(train, labels, test, steps, lr):
    return 1 - solutions.linear_probe(train, labels, test, steps, lr)


def _in_turn(train, labels, test, steps, lr):
    """The bias moves by the error of the new weights."""
    x, asked = _standardised(frozenset(), train, test)
    weights, bias = torch.zeros(x.shape[1], dtype=x.dtype), torch.zeros((), dtype=x.dtype)
    for _ in range(steps):
        weights = weights - lr * x.T @ (torch.sigmoid(x @ weights + bias) - labels) / len(x)
        bias = bias - lr * (torch.sigmoid(x @ weights + bias) - labels).mean()
    return torch.sigmoid(asked @ weights + bias)


PROBE = Grader(
    name="09/linear_probe",
    cases=_probe_cases,
    reference=solutions.linear_probe,
    shape_hint="one probability for each row of `test`",
    suspects=(
        Suspect("one step too few", _one_less, "You took one step too few: take `steps` of them."),
        Suspect(
            "one step too many", _one_more, "You took one step too many: take `steps` of them."
        ),
        Suspect(
            "train asked",
            _of_train,
            "These are the probabilities for the rows of `train`. Return those for `test`.",
        ),
        Suspect(
            "the other class",
            _other_class,
            "That is the probability of class 0. Return that of class 1.",
        ),
        Suspect(
            "one after the other",
            _in_turn,
            "You moved the weights, and computed the error again before you moved the bias. Both "
            "gradients belong to the same step: compute the error once.",
        ),
        *suspects_of(_made, _SLIPS),
    ),
)
