"""What a hidden test of homework calls."""

from __future__ import annotations

from typing import Any

from transformer_lab.lessons.exercises.checking import CheckResult, check
from transformer_lab.lessons.exercises.exercise import Exercise
from transformer_lab.lessons.graders import find
from transformer_lab.lessons.presets import Lesson


def grade(name: str, answer: Any, *, variant: int = 0, seconds: float | None = None) -> None:
    """Check a student's answer to an exercise; returns when it is right.

    Whatever the notebook has made of its parameters, it is the student's own function that is
    checked, and nothing is written to a progress file.

    Args:
        name: "lesson/function".
        answer: what stands under that name in the student's notebook.
        variant: the assignment's variant, 0 for the exercise as it is in the lesson.
        seconds: time limit for all cases together; by default twice the exercise's own.

    Raises:
        AssertionError: it is wrong, with what the check found.
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
