"""The checks of lesson 24 accept right answers, however written, and name mistakes."""

import pytest
import torch

from tests.lessons.answers import checks_of
from tests.test_blocks import routed
from transformer_lab.lessons.solutions import lesson_24 as solutions


def gates_by_rank(logits, k, *, keep=lambda row, best: row * best):
    odds = logits.exp()
    ranks = odds.argsort(-1, descending=True).argsort(-1)
    return keep(odds / odds.sum(-1, keepdim=True), ranks < k)


def gates_in_loops(logits, k):
    rows = []
    for row in logits:
        chances = row.softmax(0)
        least = chances.sort(descending=True).values[k - 1]
        rows.append(torch.stack([c if c >= least else c * 0 for c in chances]))
    return torch.stack(rows)


def balance_by_counting(chances, chosen, *, n=None):
    experts = range(chances.shape[1])
    counts = [(chosen == i).sum() / chosen.numel() for i in experts]
    terms = [counts[i] * chances[:, i].mean() for i in experts]
    return (n or len(terms)) * sum(terms)


def renormalised(row, best):
    return row * best / (row * best).sum(-1, keepdim=True)


def fractions_squared(chances, chosen):
    n = chances.shape[1]
    return n * sum(((chosen == i).sum() / chosen.numel()) ** 2 for i in range(n))


test_right, test_odd, test_wrong = checks_of(
    "24",
    {"gates": (gates_by_rank, gates_in_loops), "balance": (balance_by_counting,)},
    {
        "gates": {
            "sum to 1": (lambda x, k: gates_by_rank(x, k, keep=renormalised), "sum to 1"),
            "all": (lambda x, k: x.softmax(-1), "No gate is 0"),
        },
        "balance": {
            "factor": (lambda *x: balance_by_counting(*x, n=1), "factor n"),
            "squared": (fractions_squared, "squared the fractions"),
        },
    },
)


def test_the_package_routes_and_balances_like_the_solutions():
    experts, x = routed(balance_loss=0.0)
    logits = experts.router(x[0])
    torch.testing.assert_close(experts.gates(x)[0], solutions.gates(logits, 2))
    alike = torch.full((8, 4), 0.25)
    assert solutions.balance(alike, torch.arange(16).view(8, 2) % 4) == pytest.approx(1)
