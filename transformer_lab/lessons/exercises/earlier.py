"""A learner's answers from one lesson, for a later lesson that builds on them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from transformer_lab.lessons.cards import Card, Shown
from transformer_lab.lessons.exercises.answers import read_answers
from transformer_lab.lessons.exercises.checking import check
from transformer_lab.lessons.exercises.exercise import Exercise
from transformer_lab.lessons.graders import exercises_of, find
from transformer_lab.lessons.presets import Lesson


class Earlier(Shown):
    """The exercises of an earlier lesson, as attributes: the learner's answer if it is saved and
    still passes its check, otherwise the reference. They share one namespace, separate from other
    lessons.

    Attributes:
        number: the earlier lesson's.
        exercises: name -> `Exercise`.
        notes: a sentence for each saved answer that could not be used.
    """

    def __init__(self, number: str, lesson: Lesson):
        self.number, self.notes = number, []
        answers, note = read_answers() if lesson.answers == "learner" else ({}, "")
        self.notes += [note] if note else []
        names = exercises_of(number)
        mine = {
            name: answers[f"{number}/{name}"] for name in names if f"{number}/{name}" in answers
        }
        self._names = self._run(mine)
        checked = Lesson(number, lesson.preset, lesson.device, lesson.seed, "earlier")
        passed = {
            name
            for name in mine
            if check(Exercise(find(number, name), self._names[name], checked)).passed
        }
        for name in sorted(mine.keys() - passed):
            self.notes.append(
                f"Your `{name}`, as it was saved, does not pass its check: does it need something of "
                f"another cell? Put that into its own cell, and check it again in lesson {number}."
            )
        if mine.keys() != passed:
            self._names = self._run({name: mine[name] for name in passed})
        self.exercises = {}
        for name in names:
            self.exercises[name] = made = Exercise(find(number, name), self._names[name], lesson)
            made.yours = made.reference = self._names[name]
            made.passed = name in passed or lesson.answers == "solutions"

    def _run(self, mine: dict[str, str]) -> dict[str, Any]:
        """Run the lesson's solutions and the learner's answers over them; return the namespace.
        Answers that cannot be run are removed from `mine`."""
        solutions = importlib.import_module(
            f"transformer_lab.lessons.solutions.lesson_{self.number}"
        )
        names: dict[str, Any] = {"__name__": f"lesson_{self.number}"}
        exec(compile(inspect.getsource(solutions), solutions.__file__ or "", "exec"), names)
        for name, source in list(mine.items()):
            before = names[name]
            try:
                exec(compile(source, f"<your {name} of lesson {self.number}>", "exec"), names)
            except Exception as error:  # a cell that runs alone may raise anything
                names[name] = before
                del mine[name]
                self.notes.append(
                    f"Your `{name}`, as it was saved, cannot be run: {type(error).__name__}."
                )
        return names

    def __getattr__(self, name: str) -> Exercise:
        exercises = self.__dict__.get("exercises", {})
        if name not in exercises:
            listed = ", ".join(map(repr, exercises))
            raise AttributeError(f"lesson {self.number} has no exercise {name!r}; it has: {listed}")
        return exercises[name]

    def use(self, **helpers: Callable[..., Any]) -> None:
        """Let these answers call other helpers from now on: `use(rotary=mine)`.

        Raises:
            ValueError: the lesson has no function of that name.
        """
        for name, helper in helpers.items():
            if not callable(self._names.get(name)):
                raise ValueError(f"the answers of lesson {self.number} call no function {name!r}")
            self._names[name] = helper

    def card(self) -> Card:
        own = [f"`{name}`" for name, made in self.exercises.items() if made.passed]
        others = [f"`{name}`" for name, made in self.exercises.items() if not made.passed]
        solutions = any(made.lesson.answers == "solutions" for made in self.exercises.values())
        lines = [f"{'Ours' if solutions else 'Yours'}: {', '.join(own)}."] if own else []
        if others:
            lines.append(
                f"The reference is used for {', '.join(others)} until yours passes its check in "
                f"lesson {self.number}."
            )
        return Card("wait" if others else "good", f"From lesson {self.number}.", lines + self.notes)


def earlier(number: str, lesson: Lesson) -> Earlier:
    """The functions and classes that the learner wrote in an earlier lesson.

    An answer that passes its check is saved (in `runs/answers.json`, with the imports and helpers
    of its cell). Here it is run and checked again; the reference replaces one that is missing or
    does not pass.

    Args:
        number: the earlier lesson's number, such as "05".
        lesson: the result of `presets(...)`. With `answers="solutions"` everything is ours.

    Raises:
        ValueError: that lesson has no exercises.
    """
    if not exercises_of(number):
        raise ValueError(f"lesson {number!r} has no exercises to build on")
    return Earlier(number, lesson)
