"""A learner's function or class, and the reference that replaces it until it passes its check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformer_lab.lessons.cards import Card, Shown
from transformer_lab.lessons.graders import Grader, Variant, find
from transformer_lab.lessons.presets import Lesson


class Exercise(Shown):
    """An exercise, callable like the function or class that it wraps.

    Attributes:
        written: the learner's function or class.
        yours: what is checked: `written`, or our solution with `answers="solutions"`.
        reference: the correct one, as it is in the lesson.
        variant: the variant that is checked, or None. Calls still run the reference, so that
            the lesson's results stay as they are.
        passed: whether `yours` has passed its check since it was last defined.
    """

    def __init__(self, grader: Grader, yours: Callable[..., Any], lesson: Lesson):
        self.grader = grader
        self.lesson = lesson
        self.variant = grader if isinstance(grader, Variant) else None
        self.reference = self.variant.book.reference if self.variant else grader.reference
        self.written = self.yours = yours
        self.passed = False
        if lesson.answers == "solutions":
            self.yours = grader.reference
        self.__name__ = grader.name.split("/")[1]
        self.__doc__ = yours.__doc__

    @property
    def kind(self) -> str:
        """ "class" or "function"."""
        return "class" if isinstance(self.written, type) else "function"

    @property
    def used(self) -> str:
        """Which function or class a call runs, in words for a caption."""
        if not self.passed or self.variant:
            return f"the reference {self.__name__}"
        whose = "our solution's" if self.lesson.answers == "solutions" else "your"
        return f"{whose} {self.__name__}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        used = self.yours if self.passed and not self.variant else self.reference
        return used(*args, **kwargs)

    def card(self) -> Card:
        lines = []
        if self.variant:
            lines = [
                f"Variant {self.variant.number}: {self.variant.change}",
                "Calls run the reference, without this change.",
            ]
        if self.passed:
            return Card("good", f"`{self.__name__}`: calls run {self.used}.", lines)
        if not lines:
            lines = ["Until your version passes its check, calls run the reference."]
        return Card("wait", f"`{self.__name__}`: not checked yet.", lines)


def exercise(name: str, lesson: Lesson) -> Callable[[Callable[..., Any]], Exercise]:
    """Decorator that turns the learner's function or class into an exercise of a lesson.

    Until it passes `check`, calls run the reference, so that the notebook always runs from top to
    bottom. With `answers="solutions"` our solution replaces it. The check is that of the lesson's
    variant; with one, calls always run the reference.

    Args:
        name: the exercise's name in its lesson.
        lesson: the result of `presets(...)`.

    Raises:
        ValueError: the lesson has no exercise of that name.
        TypeError: `lesson` is not a Lesson, or the decorated object is neither a function nor a class.
    """
    if not isinstance(lesson, Lesson):
        raise TypeError(
            f"lesson is a {type(lesson).__name__}; give the result of `presets(...)`: "
            "run the cells at the top of the notebook first"
        )
    grader = find(lesson.number, name, lesson.variant)

    def decorate(function: Callable[..., Any]) -> Exercise:
        if not callable(function):
            raise TypeError(f"@exercise({name!r}) goes above a function or a class, not a value")
        return Exercise(grader, function, lesson)

    return decorate
