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


def shift_with_loops(k, d):
    matrix = torch.zeros(d, d)
    for i in range(d // 2):
        angle = k / 10000 ** (2 * i / d)
        turn = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
        matrix[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor(turn)
    return matrix


def shift_by_blocks(k, d):
    angle = k * torch.exp(-math.log(10000.0) * torch.arange(0, d, 2).float() / d)
    rows = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], -1)
    return torch.block_diag(*rows.view(-1, 2, 2))


def shift_by_power(k, d):
    """One place forward, as often as is wanted; or its transpose, backwards."""
    one = shift_with_loops(1, d).double()
    return torch.linalg.matrix_power(one if k >= 0 else one.T, abs(k)).float()


def test_a_shift_moves_every_place_of_the_table():
    table = solutions.sinusoids(60, 16)
    for k in (1, 7, 31):
        moved = table @ solutions.shift_matrix(k, 16).T
        torch.testing.assert_close(moved[: 60 - k], table[k:], atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("sinusoids", solutions.sinusoids),
        ("sinusoids", sinusoids_with_loops),
        ("sinusoids", sinusoids_by_stacking),
        ("sinusoids", lambda *a: sinusoids_with_loops(*a).bfloat16()),
        ("shift_matrix", solutions.shift_matrix),
        ("shift_matrix", shift_with_loops),
        ("shift_matrix", shift_by_blocks),
        ("shift_matrix", shift_by_power),
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
}


def shift_mutant(
    angle=lambda k, i, d: k / 10000 ** (2 * i / d), turn=lambda c, s: (c, s, -s, c), near=True
):  # fmt: skip
    """turn: what stands in the four places of a pair, row by row, of its cosine and sine."""

    def wrong(k, d):
        matrix = torch.zeros(d, d)
        for i in range(d // 2):
            a, b = (2 * i, 2 * i + 1) if near else (i, i + d // 2)
            c, s = math.cos(angle(k, i, d)), math.sin(angle(k, i, d))
            matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = turn(c, s)
        return matrix

    return wrong


SHIFT_MUTANTS = {
    "transposed": (lambda k, d: shift_with_loops(k, d).T, "goes backwards"),
    "both plus": (shift_mutant(turn=lambda c, s: (c, s, s, c)), "+ in both"),
    "halves, backwards": (
        shift_mutant(turn=lambda c, s: (c, -s, s, c), near=False),
        "Two things at once. First: Your matrix goes backwards",
    ),
    "one place more": (lambda k, d: shift_with_loops(k + 1, d), "largest difference"),
}


@pytest.mark.parametrize("mutant", SINUSOID_MUTANTS)
def test_wrong_sinusoids_are_named(mutant, judged):
    function, said = SINUSOID_MUTANTS[mutant]
    result = judged("02/sinusoids", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


@pytest.mark.parametrize("mutant", SHIFT_MUTANTS)
def test_wrong_shifts_are_named(mutant, judged):
    function, said = SHIFT_MUTANTS[mutant]
    result = judged("02/shift_matrix", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


@pytest.mark.parametrize("name", ["sinusoids", "shift_matrix"])
def test_checks_never_crash(name, never_crashes):
    never_crashes(f"02/{name}", getattr(solutions, name))
