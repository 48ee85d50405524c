"""Checks of lesson 02, Positions."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
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
            "All sines come first, then all cosines. Some models do so (Marian); the paper's formula "
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
            "Each number has an angle of its own. Two neighbours, 2i and 2i + 1, share one: it is "
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
            "All pairs turn at the same speed. Pair i turns with the position divided by "
            "10000^(2i/d).",
        ),
        Suspect("another base", _base_1000, "The base is 10000, not 1000."),
        Suspect("degrees", _degrees, "The angles are in radians, as they are: leave them so."),
        Suspect(
            "only sines",
            _only_sine,
            "The odd numbers hold the *cosine* of the angle.",
        ),
        Suspect("turned", _turned, "Rows and columns are swapped: a row is a position."),
    ),
)


def _penalty_cases() -> list[Case]:
    return [
        Case("5 positions, slope 0.5", (5, 0.5)),
        Case("4 positions, slope 2", (4, 2.0)),
        Case("7 positions, slope 0.1", (7, 0.1)),
    ]


def _difference(length):
    place = torch.arange(length)
    return (place[:, None] - place).float()


_PENALTY = Grader(
    name="02/distance_penalty",
    cases=_penalty_cases,
    reference=solutions.distance_penalty,
    shape_hint="`[query, key]`, that is `[length, length]`",
    suspects=(
        Suspect(
            "a reward",
            lambda length, slope: slope * _difference(length).abs(),
            "The sign is wrong: what is far away gets a higher score. A penalty is subtracted.",
        ),
        Suspect(
            "no absolute value (query − key)",
            lambda length, slope: -slope * _difference(length),
            "A distance has no sign: for later keys your penalty is a reward. Take `.abs()`.",
        ),
        Suspect(
            "no absolute value (key − query)",
            lambda length, slope: slope * _difference(length),
            "A distance has no sign: for earlier or later keys your penalty is a reward. "
            "Take `.abs()`.",
        ),
        Suspect(
            "squared",
            lambda length, slope: -slope * _difference(length) ** 2,
            "You squared the distance. The penalty grows in a straight line.",
        ),
        Suspect(
            "no slope",
            lambda length, slope: -_difference(length).abs(),
            "`slope` is not used: it says how much each step costs.",
        ),
        Suspect(
            "divided by the slope",
            lambda length, slope: -_difference(length).abs() / slope,
            "You divided by `slope`. Multiply: a larger slope is a stronger penalty.",
        ),
        Suspect(
            "already softmax",
            lambda length, slope: torch.softmax(-slope * _difference(length).abs(), -1),
            "You returned weights. Return what is added to the scores: the softmax comes later.",
        ),
        Suspect(
            "causal",
            lambda length, slope: (-slope * _difference(length).abs()).masked_fill(
                _difference(length) < 0, float("-inf")
            ),
            "You also hid the later keys. Here both directions count.",
        ),
        Suspect(
            "one row",
            lambda length, slope: -slope * torch.arange(length).float(),
            "This is the row of the first query alone. Each query has a row of its own.",
        ),
    ),
)

GRADERS = (_SINUSOIDS, _PENALTY)
