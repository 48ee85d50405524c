"""The function that hidden tests of homework call."""

from __future__ import annotations

from typing import Any

from transformer_lab.lessons.exercises.checking import CheckResult, check
from transformer_lab.lessons.exercises.exercise import Exercise
from transformer_lab.lessons.graders import find
from transformer_lab.lessons.presets import Lesson


def grade(name: str, answer: Any, *, variant: int = 0, seconds: float | None = None) -> None:
    """Check a student's answer to an exercise; return if it is right.

    The student's own function is checked, whatever the notebook's parameters are, and nothing is
    written to a progress file.

    Args:
        name: "lesson/function".
        answer: the object with that name in the student's notebook.
        variant: the assignment's variant, 0 for the exercise as it is in the lesson.
        seconds: time limit for all cases together; by default twice the exercise's own.

    Raises:
        AssertionError: it is wrong; the message is the check's diagnosis.
    """
    lesson, function = name.split("/")
    written = answer.written if type(answer) is Exercise else answer
    if not callable(written):
        raise AssertionError(f"{function} is a {type(written).__name__}, not a function")
    import torch

    settings = Lesson(lesson, "quick", torch.device("cpu"), 0, "graded")
    grader = find(lesson, function, variant)
    result = check(Exercise(grader, written, settings), seconds=seconds or 2 * grader.seconds)
    if type(result) is not CheckResult or not result.passed:
        raise AssertionError(result.diagnosis)
