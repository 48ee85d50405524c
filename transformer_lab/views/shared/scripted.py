"""A view whose folder has a scene.js: a page draws what it returns, and Python runs it for
sentences, still pictures and files."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from functools import cache
from typing import Any, ClassVar

import numpy as np

from ...tracing.trace import TraceError
from ..marks import scene as marks
from .base import View
from .exports import Array, Numbers
from .javascript import JavaScriptError, NoJavaScript, call
from .modules import VIEWS

KIT = VIEWS / "shared" / "scene.js"
MARKS = {
    mark.kind: mark
    for mark in vars(marks).values()
    if isinstance(mark, type) and hasattr(mark, "kind")
}
_AXES = ("rows", "columns", "x", "y", "parts")
_TUPLES = ("chosen", "special", "x_range")


class ScriptedView(View):
    """A view of one scene.

    `_part_named` answers by name; the scene says which answers it needs. Subclasses call `_hold`
    once everything is set.
    """

    _folder: ClassVar[str]

    def _shown(self, *wanted: str) -> dict[str, Any]:
        """These parts of what the scene shows now.

        Raises:
            JavaScriptError: if the scene throws; it names the view and the state.
        """
        return self._run(*wanted)[0]

    def _run(self, *wanted: str) -> tuple[dict[str, Any], dict[str, tuple[Any, list[bytes]]]]:
        """Parts of the scene, and the answers that it needed, by name."""
        traits = {name: self._trait(name) for name in _traits(self._folder)}
        path, answers = VIEWS / self._folder / "scene.js", dict[str, Any]()
        try:
            while True:
                given = [[n, info, b"".join(data)] for n, (info, data) in answers.items()]
                found = call(KIT, "shownTo", path, traits, given, wanted)
                if "shown" in found:
                    return found["shown"], answers
                for name in found["missing"]:
                    answers[name] = (
                        self._part_named(name) if not answers else self._part_or_none(name)
                    )
        except JavaScriptError as error:
            chosen = {name: x for name, x in traits.items() if name[0] != "_"}
            raise JavaScriptError(f"{type(self).__name__} cannot show {chosen}: {error}") from error

    def _trait(self, name: str) -> Any:
        """A choice, or a result, as the scene reads it."""
        return getattr(self, name)

    def _part_or_none(self, name: str) -> tuple[Any, list[bytes]]:
        """An answer without which a part of the scene is left out; its info is None if there is none."""
        try:
            return self._part_named(name)
        except TraceError:
            return None, []

    @property
    def sentence(self) -> str:
        return self._shown("sentence")["sentence"]

    def _scene(self) -> marks.Scene:
        shown = self._shown("sentence", "title", "panels", "numbers")
        title = " · ".join(filter(None, (self._title, shown["title"])))
        rows = [[one for given in row for one in _panels(given)] for row in shown["panels"]]
        panels = [part for row in rows if row for part in _in_pairs(row)]
        return marks.Scene(title, shown["sentence"], panels, numbers_of(shown["numbers"]))

    def _numbers(self) -> Numbers:
        return numbers_of(self._shown("numbers")["numbers"])

    def _held(self) -> Iterable[str]:
        """Names of further answers of the first screen."""
        return ()

    def _hold(self) -> None:
        """Publish the answers of the first screen."""
        answers = dict[str, Any]()
        with suppress(NoJavaScript):  # then the page asks for them
            answers = {n: answer for n, answer in self._run()[1].items() if answer[0] is not None}
        answers |= {name: self._part_named(name) for name in self._held() if name not in answers}
        self._publish(
            _answers=[[n, info, sum(map(len, data))] for n, (info, data) in answers.items()],
            _answers_data=b"".join(part for _, data in answers.values() for part in data),
        )

    def _page_state(self, **options: Any) -> dict[str, Any]:
        self._hold()
        return super()._page_state(**options)


@cache
def _traits(folder: str) -> list[str]:
    return call(KIT, "traitsOf", VIEWS / folder / "scene.js")


def numbers_of(found: dict[str, Any]) -> Numbers:
    """The numbers of a scene's file."""
    arrays = [
        Array(
            one["name"],
            np.array(one["values"]).reshape(one["sizes"]),
            tuple(one["axes"]),
            one["means"],
        )
        for one in found["arrays"]
    ]
    return Numbers(arrays, found["axes"], found.get("columns"))


def _in_pairs(row: list[marks.Panel]) -> list[list[marks.Panel]]:
    """More than three panels in rows of two."""
    return [row] if len(row) < 4 else [row[i : i + 2] for i in range(0, len(row), 2)]


def _panels(given: dict[str, Any]) -> list[marks.Panel]:
    """A panel as a still picture draws it; maps side by side are a panel each."""
    if given["mark"]["type"] == "maps":
        return [marks.Panel(one["name"], _mark(one)) for one in given["mark"]["maps"]]
    return [
        marks.Panel(one["title"], _mark(one["mark"]), one.get("width") or 1.0)
        for one in given.get("still", [given])
    ]


def _mark(given: dict[str, Any]) -> Any:
    """A mark of marks/scene.py, from the fields that it has."""
    kind = MARKS[given["type"]]
    return kind(
        **{one.name: _field(one.name, given[one.name]) for one in fields(kind) if one.name in given}
    )


def _field(name: str, value: Any) -> Any:
    if isinstance(value, dict) and "shape" in value:
        values = value["values"]
        values = (
            [np.nan if x is None else x for x in values] if isinstance(values, list) else values
        )
        return np.asarray(values).reshape(value["shape"])
    if isinstance(value, dict) and name in _AXES:
        return marks.Axis(**value)
    if name == "curves":
        return [marks.Curve(**one) for one in value]
    if name in ("places", "shades", "values", "sizes") and isinstance(value, list):
        return np.array(value, dtype=float)  # None is NaN
    if name == "heads" and value is not None:
        return frozenset(map(tuple, value))
    return tuple(value) if name in _TUPLES and isinstance(value, list) else value
