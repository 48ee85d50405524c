"""Checks of lesson 02, Positions."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.graders.slips import Slip, suspects_of
from transformer_lab.lessons.solutions import lesson_02 as solutions


def _sinusoid_cases() -> list[Case]:
    return [
        Case("5 positions, 8 numbers each", (5, 8)),
        Case("50 positions, 16 numbers each", (50, 16)),
        Case("one position", (1, 6)),
    ]


def _angles(length, d_model, *, rate=None, first=0):
    rates = 10000.0 ** (-torch.arange(0, d_model, 2) / d_model) if rate is None else rate
    return torch.arange(first, first + length)[:, None] * rates


def _woven(angles, one=torch.sin, two=torch.cos):
    return torch.stack([one(angles), two(angles)], -1).flatten(1)


def _halves(length, d_model):
    angles = _angles(length, d_model)
    return torch.cat([angles.sin(), angles.cos()], -1)


def _cos_first(length, d_model):
    return _woven(_angles(length, d_model), torch.cos, torch.sin)


def _from_one(length, d_model):
    return _woven(_angles(length, d_model, first=1))


def _own_angle_each(length, d_model):
    """2i+1 has an angle of its own, instead of sharing that of 2i."""
    i = torch.arange(d_model)
    angles = torch.arange(length)[:, None] * 10000.0 ** (-i / d_model)
    return torch.where(i % 2 == 0, angles.sin(), angles.cos())


def _twice(length, d_model):
    """The exponent counts pairs, 0, 1, 2, …, and is not doubled."""
    rates = 10000.0 ** (-torch.arange(d_model // 2) / d_model)
    return _woven(_angles(length, d_model, rate=rates))


def _quadrupled(length, d_model):
    """The index of the even number is doubled again."""
    rates = 10000.0 ** (-2 * torch.arange(0, d_model, 2) / d_model)
    return _woven(_angles(length, d_model, rate=rates))


def _times(length, d_model):
    return _woven(_angles(length, d_model, rate=10000.0 ** (torch.arange(0, d_model, 2) / d_model)))


def _one_rate(length, d_model):
    return _woven(_angles(length, d_model, rate=torch.ones(d_model // 2)))


def _base_1000(length, d_model):
    rates = 1000.0 ** (-torch.arange(0, d_model, 2) / d_model)
    return _woven(_angles(length, d_model, rate=rates))


def _degrees(length, d_model):
    return _woven(torch.deg2rad(_angles(length, d_model)))


def _turned(length, d_model):
    return solutions.sinusoids(length, d_model).T


def _only_sine(length, d_model):
    return _woven(_angles(length, d_model), torch.sin, torch.sin)


_SINUSOIDS = Grader(
    name="02/sinusoids",
    cases=_sinusoid_cases,
    reference=solutions.sinusoids,
    shape_hint="`[position, number]`, that is `[length, d_model]`",
    suspects=(
        Suspect(
            "halves",
            _halves,
            "All sines come first, then all cosines. Some models do this (Marian), but the paper's formula "
            "alternates: sine at 0, 2, 4, …, cosine at 1, 3, 5, …",
        ),
        Suspect(
            "cosine first",
            _cos_first,
            "Sine and cosine are swapped: the even numbers hold the sine.",
        ),
        Suspect(
            "positions from 1",
            _from_one,
            "Your positions begin at 1. The first position is 0: its sines are 0, its cosines 1.",
        ),
        Suspect(
            "an angle each",
            _own_angle_each,
            "Each number has an angle of its own. Two neighbours, 2i and 2i + 1, share one: they are "
            "the sine and the cosine of the same angle.",
        ),
        Suspect(
            "exponent not doubled",
            _twice,
            "The exponent is 2i/d: for the pairs i = 0, 1, 2, … it goes 0/d, 2/d, 4/d, … "
            "Yours goes half as far.",
        ),
        Suspect(
            "exponent doubled twice",
            _quadrupled,
            "The exponent is doubled twice: `arange(0, d, 2)` is 2i already.",
        ),
        Suspect(
            "multiplied",
            _times,
            "You multiplied by 10000^(2i/d). The formula divides: later numbers turn more slowly.",
        ),
        Suspect(
            "one speed",
            _one_rate,
            "All pairs turn at the same speed. The angle of pair i is the position divided by "
            "10000^(2i/d).",
        ),
        Suspect("another base", _base_1000, "The base is 10000, not 1000."),
        Suspect("degrees", _degrees, "The angles are in radians already: do not convert them."),
        Suspect(
            "only sines",
            _only_sine,
            "All numbers are sines. The odd ones should be the *cosine* of the angle.",
        ),
        Suspect("turned", _turned, "Rows and columns are swapped: a row is a position."),
    ),
)


# Shifts of both signs, and no shift: a wrong sign shows.
def _shift_cases() -> list[Case]:
    return [
        Case("3 positions forward, 8 numbers", (3, 8)),
        Case("2 positions back, 6 numbers", (-2, 6)),
        Case("no shift, which changes nothing", (0, 4)),
        Case("50 positions forward, 16 numbers", (50, 16)),
    ]


def _rates(slips: frozenset[str], d: int) -> torch.Tensor:
    even = torch.arange(0, d, 2)
    if "exponent not doubled" in slips:
        even = even / 2
    if "exponent doubled twice" in slips:
        even = even * 2
    base = 1000.0 if "another base" in slips else 10000.0
    rates = base ** (even / d) if "multiplied" in slips else 1 / base ** (even / d)
    return torch.ones(d // 2) if "one speed" in slips else rates


def _shift_with(slips: frozenset[str]):
    def wrong(k, d_model):
        angle = k * _rates(slips, d_model)
        cos, sin = angle.cos(), angle.sin()
        if "in degrees" in slips:
            cos, sin = torch.deg2rad(angle).cos(), torch.deg2rad(angle).sin()
        if "backwards" in slips:
            sin = -sin
        if "sine and cosine exchanged" in slips:
            cos, sin = sin, cos
        minus = sin if "both plus" in slips else -sin
        plus = -sin if "both minus" in slips else sin
        if "only the diagonal" in slips:
            plus = minus = torch.zeros_like(sin)
        even = torch.arange(d_model // 2) * 2
        odd = even + 1
        if "halves" in slips:
            even, odd = torch.arange(d_model // 2), torch.arange(d_model // 2) + d_model // 2
        matrix = torch.zeros(d_model, d_model)
        matrix[even, even], matrix[odd, odd] = cos, cos
        matrix[even, odd], matrix[odd, even] = plus, minus
        if "the vector" in slips:
            return solutions.sinusoids(abs(k) + 1, d_model)[abs(k)]
        if "the identity" in slips:
            return torch.eye(d_model)
        return matrix

    return wrong


_SHIFT = Grader(
    name="02/shift_matrix",
    cases=_shift_cases,
    reference=solutions.shift_matrix,
    shape_hint="`[d_model, d_model]`",
    suspects=suspects_of(
        _shift_with,
        [
            Slip(
                "sign", "backwards",
                "Your matrix goes backwards: it turns the vector of t into that of t − k (or its rows and "
                "columns are exchanged). It is used as `matrix @ vector`.",
            ),
            Slip(
                "sign", "both plus",
                "The sine has a + in both rows. cos(a + b) = cos a · cos b **−** sin a · sin b.",
            ),
            Slip(
                "sign", "both minus",
                "The sine has a − in both rows. sin(a + b) = sin a · cos b **+** cos a · sin b.",
            ),
            Slip(
                "sign", "only the diagonal",
                "Only the diagonal is filled. The new sine also needs the old cosine, and the new cosine "
                "needs the old sine: each pair has four numbers.",
            ),
            Slip(
                "parts", "sine and cosine exchanged",
                "Sine and cosine have changed places: with k = 0 nothing may change, so the diagonal "
                "holds cosines.",
            ),
            Slip(
                "layout", "halves",
                "You paired number i with number i + d/2. In the table of exercise 1 a sine is next to "
                "its cosine: 2i and 2i + 1.",
            ),
            Slip(
                "speed", "exponent not doubled",
                "The exponent of pair i is 2i/d: 0/d, 2/d, 4/d, … Yours goes half as far.",
            ),
            Slip(
                "speed", "exponent doubled twice",
                "The exponent is doubled twice: `arange(0, d, 2)` is 2i already.",
            ),
            Slip("speed", "another base", "The base is 10000, not 1000."),
            Slip(
                "speed", "multiplied",
                "You multiplied by 10000^(2i/d). The formula divides: later pairs turn more slowly.",
            ),
            Slip(
                "speed", "one speed",
                "All pairs turn by the same angle. Pair i turns by k / 10000^(2i/d).",
            ),
            Slip("unit", "in degrees", "The angles are in radians already: do not convert them."),
            Slip(
                "all", "the vector",
                "This is the vector of position k. Return a matrix that turns the vector of t into that "
                "of t + k, whatever t is.",
            ),
            Slip("all", "the identity", "This matrix changes nothing: `k` is not used."),
        ],
    ),
)  # fmt: skip

GRADERS = (_SINUSOIDS, _SHIFT)
