"""Fixtures that check an answer, and odd answers on which no check may crash."""

import math

import numpy as np
import pytest
import torch

from transformer_lab.lessons import check, exercise, presets
from transformer_lab.lessons.graders import find


def _judged(name, function, seconds=5.0, answers="learner"):
    """Check a function as the answer to "lesson/exercise"."""
    lesson, _, short = name.partition("/")
    return check(exercise(short, presets(lesson, answers=answers))(function), seconds=seconds)


def _stub(*_):
    raise NotImplementedError


def _endless(*_):
    while True:
        pass


def _recursive(*arguments):
    return _recursive(*arguments)


def _exits(*_):
    raise SystemExit(0)


class _RudeError(Exception):
    def __str__(self):
        raise RuntimeError("even my message fails")


def _rude(*_):
    raise _RudeError


ODD = {
    "nothing": (lambda *_: None, "returned nothing"),
    "text": (lambda *_: "right", "returned a str"),
    "a list": (lambda *_: [1, 2], "2 things"),
    "numpy": (lambda *_: np.zeros(3), "NumPy"),
    "a generator": (lambda *_: (x for x in ()), "yield"),
    "complex": (lambda *_: torch.zeros(2, dtype=torch.complex64), "torch.complex64"),
    "too many axes": (lambda *_: torch.zeros(1, 1, 1, 1, 1, 1, 1), "has shape"),
    "no axis": (lambda *_: torch.tensor(0.5), ""),
    "empty": (lambda *_: torch.zeros(0), ""),
    "its own error": (_rude, "_RudeError"),
    "exit": (_exits, "ended the program"),
    "recursion": (_recursive, "RecursionError"),
    "too few parameters": (lambda: None, "TypeError"),
}


def _never_crashes(name):
    """Assert that wrong types, shapes, NaN, endless loops, prints and stubs all end in a sentence.

    Args:
        name: "lesson/exercise". Its solution, a right answer, is damaged in several ways.
    """
    grader = find(*name.split("/"))
    right = grader.reference
    sort = grader.run(right, *grader.cases()[0].arguments).dtype
    assert _judged(name, _stub).status == "empty"
    for what, (function, said) in ODD.items():
        if what == "too many axes":
            function = lambda *_: torch.zeros(1, 1, 1, 1, 1, 1, 1).to(sort)  # noqa: E731
        result = _judged(name, function)
        assert not result.passed, what
        assert said in result.diagnosis, (what, result.diagnosis)
        assert "<div" in result.card().html()
    assert "did not finish" in _judged(name, _endless, seconds=0.2).diagnosis

    def loud(*arguments):
        print("looking at", len(arguments))
        return right(*arguments)

    result = _judged(name, loud)
    assert result.passed, result.diagnosis
    assert result.printed.startswith("looking at")

    def spoiled(*arguments):
        value = right(*arguments)
        if sort.is_floating_point:
            return value * math.nan
        return ~value if sort == torch.bool else value + 1

    assert not _judged(name, spoiled).passed
    other = torch.float32 if not sort.is_floating_point else torch.int64
    result = _judged(name, lambda *a: right(*a).to(other))
    assert not result.passed
    assert str(other) in result.diagnosis


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """judged("03/split_heads", function): the result of its check; progress goes to tmp_path."""
    monkeypatch.setenv("TRANSFORMER_LAB_RUNS", str(tmp_path))
    return _judged


@pytest.fixture
def never_crashes(judged):
    return _never_crashes
