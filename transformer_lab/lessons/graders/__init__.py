"""Graders of the exercises: cases, the reference, and the mistakes that are recognised."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from transformer_lab.arguments import shown
from transformer_lab.lessons.graders.base import Case, Grader, Suspect, Unfit, Variant


@cache
def _graders() -> dict[str, Grader]:
    """Every `Grader` of this folder's modules `lesson_NN`, in order. Imported on demand because
    they need torch; the lessons can be copied without it."""
    lessons = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name.startswith("lesson_"))
    return {
        value.name: value
        for lesson in lessons
        for value in vars(importlib.import_module(f"{__name__}.{lesson}")).values()
        if isinstance(value, Grader)
    }


def exercise_names() -> tuple[str, ...]:
    """Every exercise of the course, as "lesson/name", in the order of the lessons."""
    return tuple(name for name, grader in _graders().items() if not grader.retired)


def exercises_of(lesson: str) -> tuple[str, ...]:
    """The names of one lesson's exercises."""
    names = (full.partition("/") for full in exercise_names())
    return tuple(name for number, _, name in names if number == lesson)


def variant_number(variant: object, *lessons: str) -> int:
    """Return the number of a variant, checked; 0 or None means the exercises as they are in the
    lessons.

    Args:
        variant: a whole number, 0 or more, or None.
        lessons: the lessons' numbers.

    Raises:
        ValueError: it is anything else, or it is above 0 and a lesson has no variants.
    """
    if variant is None:
        return 0
    if type(variant) is not int or variant < 0:
        raise ValueError(
            f"variant must be a whole number, 0 or more, got {shown(variant)}; "
            "0 is the exercises as they are in the lesson"
        )
    known = {} if not variant else {full.partition("/")[0]: 0 for full in variable_exercises()}
    for lesson in lessons if variant else ():
        if lesson not in known:
            raise ValueError(
                f"lesson {lesson} has no variants; lessons with variants: {', '.join(known)}. "
                "Use it without a variant."
            )
    return variant


def variable_exercises() -> tuple[str, ...]:
    """The exercises that have variants, as "lesson/name"."""
    return tuple(name for name, grader in _graders().items() if grader.variant)


@cache
def find(lesson: str, name: str, variant: int = 0) -> Grader:
    """The grader of an exercise; if the exercise has moved to another lesson, its old number works
    too.

    Args:
        lesson: the lesson's number.
        name: the exercise's name in it.
        variant: the number of a variant; see `Grader.varied`.

    Raises:
        ValueError: the lesson has no exercise of that name; the message lists its exercises.
    """
    grader = _graders().get(f"{lesson}/{name}") or _moved(name)
    if grader is None:
        listed = ", ".join(map(repr, exercises_of(lesson))) or "none"
        raise ValueError(f"lesson {lesson} has no exercise {name!r}; it has: {listed}")
    return grader.varied(variant)


def _moved(name: str) -> Grader | None:
    """The one exercise of that name in any lesson."""
    graders = [g for full, g in _graders().items() if full.partition("/")[2] == name]
    return graders[0] if len(graders) == 1 else None


__all__ = [
    "Case",
    "Grader",
    "Suspect",
    "Unfit",
    "Variant",
    "exercise_names",
    "exercises_of",
    "find",
    "variable_exercises",
    "variant_number",
]
