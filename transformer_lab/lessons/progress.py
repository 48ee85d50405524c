"""A learner's solved exercises and predictions, in one small file that survives any crash."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from transformer_lab.files.resources import runs_folder
from transformer_lab.files.safefiles import committed, read_json, write_json
from transformer_lab.lessons.cards import Card, Shown

from ..files.paths import FileError


@dataclass(frozen=True, repr=False)
class Progress(Shown):
    """Solved exercises, by name ("01/attention"), with the day on which each was solved; and the
    learner's predictions, by name ("01/scores")."""

    solved: Mapping[str, str]
    known: tuple[str, ...]
    note: str = ""
    file: Path = field(default_factory=lambda: runs_folder() / "progress.json")
    predictions: Mapping[str, str] = field(default_factory=dict)

    def done(self) -> int:
        return sum(name in self.solved for name in self.known)

    def card(self) -> Card:
        total, done = len(self.known), self.done()
        tone = "good" if done == total and total else "info"
        title = f"{done} of {total} exercises done"
        return Card(tone, title, [*self._told(), *([self.note] if self.note else [])])

    def each(self) -> str:
        """Every exercise on a line, with the day on which it was solved, under the headline; and
        the next one."""
        lines = [
            f"{name}: " + (f"solved on {self.solved[name]}" if name in self.solved else "open")
            for name in self.known
        ]
        card = self.card()
        lines += self._next(self.known) + ([self.note] if self.note else [])
        return Card(card.tone, card.title, lines).text()

    def _told(self) -> list[str]:
        """A few lines, however long the course: the lessons done and started, and the next
        exercise."""
        lessons: dict[str, list[bool]] = {}
        for name in self.known:
            lessons.setdefault(name.partition("/")[0], []).append(name in self.solved)
        whole = [lesson for lesson, solved in lessons.items() if all(solved)]
        begun = [
            f"{lesson} ({sum(solved)} of {len(solved)})"
            for lesson, solved in lessons.items()
            if any(solved) and not all(solved)
        ]
        lines = [f"Lessons done: {', '.join(whole)}."] if whole else []
        lines += [f"Lessons started: {', '.join(begun)}."] if begun else []
        if self.predictions:
            lines.append(f"Predictions made: {len(self.predictions)}.")
        return lines + self._next(self.known)

    def in_lesson(self, number: str) -> list[str]:
        """Which checks of a lesson have passed, and what comes next: there, or after it."""
        here = [name for name in self.known if name.startswith(f"{number}/")]
        solved = [name for name in here if name in self.solved]
        names = ", ".join(f"`{name.partition('/')[2]}`" for name in solved)
        told = [f"Solved: {names} ({len(solved)} of {len(here)})."] if solved else []
        return told + (self._next(here) or self._next(self.known))

    def _next(self, names: Sequence[str]) -> list[str]:
        """The first open exercise of these, in a line; none if all are solved."""
        following = next((name for name in names if name not in self.solved), None)
        if following is None:
            return []
        lesson, _, name = following.partition("/")
        first = "Next" if self.done() else "The first exercise"
        return [f"{first}: `{name}` in lesson {lesson}."]


def _file() -> Path:
    return runs_folder() / "progress.json"


def _read() -> tuple[dict[str, dict[str, str]], str]:
    """The file's "solved" and "predictions", and a sentence if it could not be used."""
    file, empty = _file(), {"solved": {}, "predictions": {}}
    if not os.path.lexists(file):
        return empty, ""
    try:
        content = {"predictions": {}} | read_json(file)
        parts = {part: content[part] for part in empty}
        if not all(isinstance(names, dict) for names in parts.values()):
            raise TypeError
        return {part: {str(k): str(v) for k, v in parts[part].items()} for part in parts}, ""
    except FileError as error:
        why = f"could not be read, or is not a progress file: {error}"
    except (KeyError, TypeError):
        why = "is not a progress file"
    return empty, f"{file} {why}. Delete or rename it so that progress can be saved again."


def progress() -> Progress:
    """The learner's progress over all lessons; a missing or broken file counts as a fresh start."""
    from transformer_lab.lessons.graders import exercise_names

    content, note = _read()
    solved = _renumbered(content["solved"], exercise_names())
    return Progress(solved, exercise_names(), note, _file(), content["predictions"])


def predictions() -> dict[str, str]:
    """The learner's predictions, by "lesson/prediction"."""
    return _read()[0]["predictions"]


def _renumbered(solved: Mapping[str, str], known: tuple[str, ...]) -> dict[str, str]:
    """Rename exercises that were solved when their lesson had another number."""
    numbers = {full.partition("/")[2]: full for full in known}
    return {
        name if name in known else numbers.get(name.partition("/")[2], name): day
        for name, day in solved.items()
    }


def record(name: str) -> str:
    """Save that an exercise is solved; return "", or one sentence saying why it was not saved."""
    today = datetime.now(timezone.utc).date().isoformat()
    return _record("solved", name, today, renew=False)


def record_prediction(name: str, guess: str) -> str:
    """Save a prediction, replacing an older one; return "", or one sentence saying why it was not
    saved."""
    return _record("predictions", name, guess)


def _record(part: str, name: str, value: str, *, renew: bool = True) -> str:
    content, note = _read()
    if note or (name in content[part] and not renew):
        return note
    content[part][name] = value
    parts = {part: names for part, names in content.items() if names or part == "solved"}
    file = _file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with committed(file) as temporary:  # a crash leaves the old file or the new
            write_json(temporary, {"version": 1, **parts})
    except OSError as error:
        return f"Progress was not saved to {file}: {error.strerror or error}."
    return ""
