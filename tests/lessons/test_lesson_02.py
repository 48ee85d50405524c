"""The checks of lesson 02 accept right answers, however written, and name mistakes."""

import math

import torch

from tests.lessons.answers import checks_of
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
    """Power of the shift by one position, or of its transpose for a negative k."""
    one = shift_with_loops(1, d).double()
    return torch.linalg.matrix_power(one if k >= 0 else one.T, abs(k)).float()


def test_a_shift_moves_every_place_of_the_table():
    table = solutions.sinusoids(60, 16)
    for k in (1, 7, 31):
        moved = table @ solutions.shift_matrix(k, 16).T
        torch.testing.assert_close(moved[: 60 - k], table[k:], atol=2e-5, rtol=0)


RIGHT = {
    "sinusoids": (
        sinusoids_with_loops,
        sinusoids_by_stacking,
        lambda *a: sinusoids_with_loops(*a).bfloat16(),
    ),
    "shift_matrix": (shift_with_loops, shift_by_blocks, shift_by_power),
}
WRONG = {
    "shift_matrix": {
        "one place more": (lambda k, d: shift_with_loops(k + 1, d), "largest difference")
    }
}


test_right, test_odd, test_wrong = checks_of("02", RIGHT, WRONG)
