"""The checks of lesson 02 accept right answers, however written, and name what is wrong."""

import math

import pytest
import torch

from transformer_lab.lessons.solutions import lesson_02 as solutions


def sinusoids_with_loops(length, d_model):
    table = torch.empty(length, d_model)
    for p in range(length):
        for i in range(d_model // 2):
            angle = p / 10000 ** (2 * i / d_model)
            table[p, 2 * i], table[p, 2 * i + 1] = math.sin(angle), math.cos(angle)
    return table


def sinusoids_by_stacking(length, d_model):
    rate = torch.exp(-math.log(10000.0) * torch.arange(0, d_model, 2).float() / d_model)
    angle = torch.outer(torch.arange(length).float(), rate)
    return torch.stack([angle.sin(), angle.cos()], dim=2).reshape(length, d_model)


def penalty_with_loops(length, slope):
    return torch.tensor([[-slope * abs(q - k) for k in range(length)] for q in range(length)])


def penalty_by_max(length, slope):
    q, k = torch.arange(length).view(-1, 1), torch.arange(length).view(1, -1)
    return (torch.minimum(q, k) - torch.maximum(q, k)).float() * slope


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("sinusoids", solutions.sinusoids),
        ("sinusoids", sinusoids_with_loops),
        ("sinusoids", sinusoids_by_stacking),
        ("sinusoids", lambda *a: sinusoids_with_loops(*a).bfloat16()),
        ("distance_penalty", solutions.distance_penalty),
        ("distance_penalty", penalty_with_loops),
        ("distance_penalty", penalty_by_max),
    ],
)
def test_right_answers_are_accepted(name, function, judged):
    result = judged(f"02/{name}", function)
    assert result.passed, result.diagnosis


def sinusoid_mutant(angle=lambda p, i, d: p / 10000 ** (2 * i / d), one=math.sin, two=math.cos):
    def wrong(length, d):
        rows = [
            [f(angle(p, i, d)) for i in range(d // 2) for f in (one, two)] for p in range(length)
        ]
        return torch.tensor(rows)

    return wrong


SINUSOID_MUTANTS = {
    "halves": (
        lambda n, d: torch.cat([sinusoids_with_loops(n, d)[:, i::2] for i in (0, 1)], -1),
        "alternates",
    ),
    "cosine first": (sinusoid_mutant(one=math.cos, two=math.sin), "swapped"),
    "from 1": (lambda n, d: sinusoids_with_loops(n + 1, d)[1:], "begin at 1"),
    "not doubled": (sinusoid_mutant(lambda p, i, d: p / 10000 ** (i / d)), "half as far"),
    "doubled twice": (sinusoid_mutant(lambda p, i, d: p / 10000 ** (4 * i / d)), "doubled twice"),
    "multiplied": (sinusoid_mutant(lambda p, i, d: p * 10000 ** (2 * i / d)), "divides"),
    "one speed": (sinusoid_mutant(lambda p, i, d: p), "same speed"),
    "base 1000": (sinusoid_mutant(lambda p, i, d: p / 1000 ** (2 * i / d)), "10000"),
    "degrees": (
        sinusoid_mutant(lambda p, i, d: math.radians(p / 10000 ** (2 * i / d))),
        "radians",
    ),
    "sines": (sinusoid_mutant(two=math.sin), "cosine"),
    "turned": (lambda n, d: sinusoids_with_loops(n, d).T, "a row is a position"),
}

PENALTY_MUTANTS = {
    "reward": (lambda n, s: -penalty_with_loops(n, s), "sign is wrong"),
    "signed": (lambda n, s: penalty_with_loops(n, s).tril() - penalty_with_loops(n, s).triu(), ""),
    "squared": (lambda n, s: -(penalty_with_loops(n, 1.0) ** 2) * s, "squared"),
    "no slope": (lambda n, s: penalty_with_loops(n, 1.0), "not used"),
    "divided": (lambda n, s: penalty_with_loops(n, 1 / s), "divided by"),
    "softmax": (lambda n, s: torch.softmax(penalty_with_loops(n, s), -1), "returned weights"),
    "causal": (
        lambda n, s: penalty_with_loops(n, s).masked_fill(
            torch.ones(n, n).triu(1).bool(), -math.inf
        ),
        "hid the later keys",
    ),
    "one row": (lambda n, s: penalty_with_loops(n, s)[0], "first query alone"),
}


@pytest.mark.parametrize("mutant", SINUSOID_MUTANTS)
def test_wrong_sinusoids_are_named(mutant, judged):
    function, said = SINUSOID_MUTANTS[mutant]
    result = judged("02/sinusoids", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


@pytest.mark.parametrize("mutant", PENALTY_MUTANTS)
def test_wrong_penalties_are_named(mutant, judged):
    function, said = PENALTY_MUTANTS[mutant]
    result = judged("02/distance_penalty", function)
    assert not result.passed
    assert (said or "has no sign") in result.diagnosis, result.diagnosis


@pytest.mark.parametrize("name", ["sinusoids", "distance_penalty"])
def test_checks_never_crash(name, never_crashes):
    never_crashes(f"02/{name}", getattr(solutions, name))
