"""What each exercise is checked against: cases, the reference, and the mistakes we can name."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from transformer_lab.lessons.graders.base import Case, Grader, Suspect, Unfit


@cache
def _graders() -> dict[str, Grader]:
    """The graders of every module `lesson_NN…` of this folder, in the order of the lessons. They
    need torch; the lessons themselves can be copied where there is none."""
    lessons = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name.startswith("lesson_"))
    return {
        grader.name: grader
        for lesson in lessons
        for grader in importlib.import_module(f"{__name__}.{lesson}").GRADERS
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
