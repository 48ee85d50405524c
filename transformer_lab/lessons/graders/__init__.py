"""What each exercise is checked against: cases, the reference, and the mistakes we can name."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from transformer_lab.lessons.graders.base import Case, Grader, Suspect, Unfit


@cache
def _graders() -> dict[str, Grader]:
    """Every `Grader` of the modules `lesson_NN` of this folder, in their order. They need torch;
    the lessons themselves can be copied where there is none."""
    lessons = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name.startswith("lesson_"))
    return {
        value.name: value
        for lesson in lessons
        for value in vars(importlib.import_module(f"{__name__}.{lesson}")).values()
        if isinstance(value, Grader)
    }


def exercise_names() -> tuple[str, ...]:
    """Every exercise of the course, as "lesson/name", in the order of the lessons."""
    return tuple(_graders())


def find(lesson: str, name: str) -> Grader:
    """The grader of an exercise.

    Raises:
        ValueError: the lesson has no exercise of that name; the message lists those it has.
    """
    grader = _graders().get(f"{lesson}/{name}")
    if grader is None:
        known = [full.split("/")[1] for full in _graders() if full.startswith(f"{lesson}/")]
        listed = ", ".join(map(repr, known)) or "none"
        raise ValueError(f"lesson {lesson} has no exercise {name!r}; it has: {listed}")
    return grader


__all__ = ["Case", "Grader", "Suspect", "Unfit", "exercise_names", "find"]
