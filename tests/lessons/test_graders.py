"""Every mistake that a grader names applies to the solution and is recognised when made."""

import re

import pytest

from transformer_lab.lessons.graders import exercise_names, find
from transformer_lab.lessons.graders.base import Mistake, edited, mistakes_in, rewritten

SOURCE = """def mean(x):
    total = x.sum()
    return total / len(x)
"""


@pytest.mark.parametrize("name", exercise_names())
def test_each_mistake_is_named(name, judged):
    grader = find(*name.split("/"))
    alone = [suspect for suspect in grader.suspects if len(suspect.mistakes) == 1]
    assert len(alone) >= 5
    for suspect in alone:
        if "logarithms of N" in suspect.sentence:
            continue  # all exponents fit equally well, so rounding decides
        result = judged(name, suspect.function, seconds=max(60, grader.seconds))
        assert suspect.sentence in result.diagnosis, (suspect.mistakes, result.diagnosis)


TWICE = [
    "02/shift_matrix",
    "05b/numerical_gradient",
    "09/linear_probe",
    "13/exact_and_f1",
    "18/rank_shares",
    "21/pair_study",
    "22/jackknife",
]


@pytest.mark.parametrize("name", TWICE)
def test_two_mistakes_at_once_are_named(name, judged):
    suspects = find(*name.split("/")).suspects
    both = next(suspect for suspect in suspects if len(suspect.mistakes) == 2)
    result = judged(name, both.function, seconds=60)
    assert both.sentence.startswith("Two things at once. First: ")
    assert both.sentence in result.diagnosis, (both.mistakes, result.diagnosis)


@pytest.mark.parametrize("name", exercise_names())
def test_the_sentences_have_a_form(name):
    mistakes = mistakes_in(find(*name.split("/")).mistakes)
    for mistake in mistakes:
        assert mistake.sentence[-1] in ".?)…"
        assert bool(mistake.edits) != bool(mistake.body)
    assert len({(mistake.edits, mistake.body) for mistake in mistakes}) == len(mistakes)


def test_mistakes_are_read():
    text = """
# sum
- total = x.sum()
+ total = 0
+ for number in x:
+     total = number
- len(x)
  Add the numbers
  up.

= x.amax(),
= 1
  That is the largest.
"""
    assert mistakes_in(text) == [
        Mistake(
            "sum",
            (
                ("total = x.sum()", "total = 0\nfor number in x:\n    total = number"),
                ("len(x)", ""),
            ),
            "",
            "Add the numbers up.",
        ),
        Mistake("sum", (), "x.amax(),\n1", "That is the largest."),
    ]


def test_sources_are_edited():
    loop = ("total = x.sum()", "total = 0\nfor number in x:\n    total += number")
    assert edited(SOURCE, [loop, ("/ len(x)", "")]) == (
        "def mean(x):\n    total = 0\n    for number in x:\n        total += number\n    return total \n"
    )
    both = [("total = x.sum()\nreturn", "return x.sum()\n#")]
    assert edited(SOURCE, both) == "def mean(x):\n    return x.sum()\n    # total / len(x)\n"
    assert (
        rewritten(SOURCE, "y = 2 * x\ny.sum()") == "def mean(x):\n    y = 2 * x\n    return y.sum()"
    )


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([("len(y)", "")], "'len(y)' must occur once in the source, but occurs 0 times"),
        ([("total", "")], "'total' must occur once in the source, but occurs 2 times"),
        ([("total / len", ""), ("len(x)", "")], "two edits overlap"),
    ],
)
def test_edits_that_do_not_fit_are_refused(edits, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        edited(SOURCE, edits)
