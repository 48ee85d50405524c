"""Predictions: what a learner expects before a cell runs, saved and shown beside the result."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from transformer_lab.lessons import cards
from transformer_lab.lessons.cards import Card, Shown
from transformer_lab.lessons.presets import Lesson
from transformer_lab.lessons.progress import predictions, record_prediction

if TYPE_CHECKING:
    import anywidget

# In a notebook's output: the name of a prediction, and what was written.
PREDICTION_MIME = "application/vnd.transformer-lab.prediction+json"
MOST = 1000  # characters


@cache
def words(language: str) -> dict[str, str]:
    """The texts of the cards in a language."""
    return json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))[language]


class Prediction(Shown):
    """The card of a prediction, with a text box; or with a result, prediction and result side by
    side.

    Attributes:
        name: "lesson/prediction", such as "01/scores".
        result: the result in words and numbers; "" in the card with the text box.
        measured: whether the numbers in `result` are from this run.
    """

    def __init__(
        self, name: str, lesson: Lesson, result: str = "", *, measured: bool = False
    ) -> None:
        self.name, self.result, self.measured = name, result, measured
        self._lesson = lesson
        self._display = uuid4().hex
        self._widget: anywidget.AnyWidget | None = None

    @property
    def guess(self) -> str:
        """The learner's prediction; "" if there is none yet."""
        return predictions().get(self.name, "")

    def card(self) -> Card:
        guess, say = self.guess, words(self._lesson.language)
        if not self.result:
            return Card("guess", say["title"], [guess or say["ask"]])
        quick = "quick" if self.measured else "full"
        heading = say[quick if self._lesson.quick else "result"]
        columns = {say["guess"]: guess or say["nothing"], heading: self.result}
        return Card("guess", say["both"], columns=columns)

    def _ipython_display_(self) -> None:
        self._show()

    def _show(self, *, again: bool = False) -> None:
        """Display the card in the notebook, or replace it there."""
        from IPython.display import display

        from transformer_lab.views.pages.export import MARK, VIEW_MIME

        card = self.card()
        bundle: dict[str, Any] = {"text/html": card.html(), "text/plain": card.text()}
        bundle[PREDICTION_MIME] = {"name": self.name, "guess": self.guess}
        if not self.result:
            self._widget = self._widget or _widget(self)
            model = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
            bundle[VIEW_MIME] = model
        marks = {MARK: type(self).__name__}
        display(bundle, raw=True, metadata=marks, display_id=self._display, update=again)

    def keep(self, guess: object) -> str:
        """Save the learner's prediction, and show it in every card of this prediction.

        Returns:
            "", or a sentence saying why it was not saved.
        """
        text = " ".join(str(guess).split())[:MOST] if isinstance(guess, str) else ""
        note = record_prediction(self.name, text) if text else ""
        for card in self._lesson.shown.values() if text and not note else ():
            if card.name == self.name:
                card._show(again=True)
        return note

    def close(self) -> None:
        """Remove the widget of a card that is no longer shown."""
        if self._widget is not None:
            self._widget.close()


def predict(name: str, lesson: Lesson, result: str = "", /, **measured: Any) -> Prediction:
    """Return a card for the learner's prediction; with a result, a card that shows both.

    Cells run without waiting for a prediction. It is saved in the learner's progress file and in
    the output of the cell, and appears again after a restart.

    Args:
        name: the prediction's name in its lesson; the same for both cards.
        lesson: the result of `presets(...)`.
        result: the result in a sentence or two. Numbers of this run are fields, as in
            "{right:.2f} of the letters"; without fields, it describes the full preset.
        **measured: the values of the fields.

    Raises:
        TypeError: `lesson` is not a Lesson.
        ValueError: the name does not consist of lower-case letters, digits and hyphens, or a field
            of the result has no value.
    """
    if not isinstance(lesson, Lesson):
        raise TypeError(
            f"lesson is a {type(lesson).__name__}; give the result of `presets(...)`: "
            "run the cells at the top of the notebook first"
        )
    if not isinstance(name, str) or not re.fullmatch("[a-z][a-z0-9-]*", name):
        raise ValueError(f"the name of a prediction must be like 'two-words', got {name!r}")
    text = _filled(result, measured) if measured else result
    made = Prediction(f"{lesson.number}/{name}", lesson, text, measured=text != result)
    place = (made.name, bool(result))
    if place in lesson.shown:  # the cell runs again
        lesson.shown[place].close()
    lesson.shown[place] = made
    return made


def _filled(result: str, measured: dict[str, Any]) -> str:
    """Fill the numbers into the sentence."""
    for _, name, _, _ in Formatter().parse(result):
        if name is not None and name not in measured:
            raise ValueError(
                f"each field of the result needs a value, and {{{name}}} has none; the values are: "
                f"{', '.join(measured)}. Pass {name}=…"
            )
    return result.format(**measured)


def _widget(prediction: Prediction) -> anywidget.AnyWidget:
    """Create the text box in the notebook, whose content goes to `keep`."""
    from transformer_lab.views.shared.base import answered_beside_cells

    made = _box()(guess=prediction.guess, _words=words(prediction._lesson.language))
    answered_beside_cells(made.comm)

    def hear(_widget: Any, message: Any, _buffers: Any) -> None:
        if isinstance(message, dict) and "guess" in message:
            made.set_trait("_note", prediction.keep(message["guess"]))
            made.set_trait("guess", prediction.guess)

    made.on_msg(hear)
    return made


@cache
def _box() -> type[anywidget.AnyWidget]:
    """The widget's class, created on demand: only a notebook needs it, and its imports take a
    moment."""
    import anywidget
    import traitlets as t

    from transformer_lab.views.shared.modules import join_modules

    style = Path(__file__).with_suffix(".css").read_text("utf-8")

    class PredictionBox(anywidget.AnyWidget):
        _esm = join_modules(Path(__file__).with_suffix(".js"))
        _css = style.replace("/* colours of cards */", cards.variables())
        guess = t.Unicode("").tag(sync=True)
        _note = t.Unicode("").tag(sync=True)
        _words = t.Dict().tag(sync=True)
        _most = t.Int(MOST).tag(sync=True)

    return PredictionBox
