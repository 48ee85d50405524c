"""Tests that the exercises of every lesson share: right answers, wrong ones, and odd return values.

`test_graders.py` makes each mistake that a grader names, and some pairs, and checks that they are
recognised. The wrong answers here are others: mistakes without a name, and a check's own messages.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest

from transformer_lab.lessons.graders import find

Answer = Callable[..., Any]


def checks_of(
    lesson: str,
    right: Mapping[str, Sequence[Answer]],
    wrong: Mapping[str, Mapping[str, tuple[Answer, str | Sequence[str]]]] = MappingProxyType({}),
    odd: Sequence[str] = (),
) -> tuple[Answer, ...]:
    """Return tests of a lesson's exercises: of right answers, of odd ones, and of wrong ones if
    there are any. Assign them to names that begin with `test_` to run them.

    Args:
        right: exercise -> answers to accept, beside the solution.
        wrong: exercise -> mistake -> (answer, words of the diagnosis).
        odd: more exercises whose check must survive odd answers; those whose answer is called
            with the arguments of a case are always tested.
    """

    @pytest.mark.parametrize(
        ("name", "answer"),
        [(name, f) for name in right for f in (find(lesson, name).reference, *right[name])],
    )
    def right_answers_are_accepted(name, answer, judged):
        result = judged(f"{lesson}/{name}", answer, seconds=300)
        assert result.passed, result.diagnosis

    @pytest.mark.parametrize(
        ("name", "mistake"), [(name, mistake) for name in wrong for mistake in wrong[name]]
    )
    def wrong_answers_are_named(name, mistake, judged):
        answer, said = wrong[name][mistake]
        result = judged(f"{lesson}/{name}", answer, seconds=300)
        assert not result.passed
        words = [said] if isinstance(said, str) else said
        assert all(word in result.diagnosis for word in words), result.diagnosis

    @pytest.mark.parametrize("name", [n for n in right if find(lesson, n).use is None or n in odd])
    def checks_never_crash(name, never_crashes):
        never_crashes(f"{lesson}/{name}")

    tests = right_answers_are_accepted, checks_never_crash
    return (*tests, wrong_answers_are_named) if wrong else tests
