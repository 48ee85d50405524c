"""What each exercise is checked against: cases, the reference, and the mistakes we can name."""

from __future__ import annotations

import importlib
import pkgutil

from transformer_lab.lessons.graders.base import Case, Grader, Suspect

# Every module `lesson_NN` of this folder, in the order of the lessons.
_LESSONS = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name.startswith("lesson_"))
_ALL: dict[str, Grader] = {
    grader.name: grader
    for lesson in _LESSONS
    for grader in importlib.import_module(f"{__name__}.{lesson}").GRADERS
}


def exercise_names() -> tuple[str, ...]:
    """Every exercise of the course, as "lesson/name", in the order of the lessons."""
    return tuple(_ALL)


def find(lesson: str, name: str) -> Grader:
    """The grader of an exercise.

    Raises:
        ValueError: the lesson has no exercise of that name; the message lists those it has.
    """
    grader = _ALL.get(f"{lesson}/{name}")
    if grader is None:
        known = [full.split("/")[1] for full in _ALL if full.startswith(f"{lesson}/")]
        listed = ", ".join(map(repr, known)) or "none"
        raise ValueError(f"lesson {lesson} has no exercise {name!r}; it has: {listed}")
    return grader


__all__ = ["Case", "Grader", "Suspect", "exercise_names", "find"]
