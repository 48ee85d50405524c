"""What every view is: a widget, a page, a picture and a sentence."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import anywidget
import traitlets as t

from . import export
from .codecs import shown_text
from .modules import STATIC, join_modules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_DPI = 110
# What ipywidgets keeps for itself; a page has no use for it.
_NOT_FOR_PAGES = {"layout", "tabbable", "tooltip", "comm", "keys"}


def esm(name: str) -> str:
    """The joined source of a view's ES module in static/."""
    return join_modules(STATIC / name)


def css(*names: str) -> str:
    """The style sheets of static/, one after the other."""
    return "\n".join((STATIC / name).read_text("utf-8") for name in names)


class View(anywidget.AnyWidget):
    """A view of one object. Subclasses set `_esm` and `_css`, and give `figure` and `sentence`.

    Traits that begin with an underscore are between the two halves of a view; what Python may
    read and set has a name without.
    """

    _title = t.Unicode("").tag(sync=True)
    _sentence = t.Unicode("").tag(sync=True)

    absent: ClassVar[str] = "this page does not hold it"

    def __init__(self, **traits: Any):
        super().__init__(**traits)
        self.on_msg(self._on_question)

    # -- for people ----------------------------------------------------------------------------

    @property
    def sentence(self) -> str:
        """What the view shows, in words and numbers; also the alt text of its picture."""
        raise NotImplementedError

    def figure(self) -> Figure:
        """The view as a still matplotlib Figure, for paper and for places without JavaScript."""
        raise NotImplementedError

    def png(self) -> bytes:
        """The figure as PNG."""
        buffer = io.BytesIO()
        with warnings.catch_warnings():  # a script that the font lacks shows as boxes
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            self.figure().savefig(buffer, format="png", dpi=PNG_DPI)
        return buffer.getvalue()

    def to_html(self, **options: Any) -> str:
        """The page that `save_html` writes, as text."""
        return "".join(self._page(**options))

    def save_html(self, path: str | os.PathLike, **options: Any) -> Path:
        """Write one self-contained page: offline, interactive, with the present selection.

        Raises:
            ValueError: when the path cannot hold a file.
        """
        return export.write_page(path, self._page(**options))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.sentence}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        # A notebook that is not trusted, GitHub and paper get the picture and the sentence.
        data["text/plain"] = repr(self)
        data["image/png"] = self.png()
        return data, {**metadata, "image/png": {"alt": self.sentence}}

    # -- for pages ------------------------------------------------------------------------------

    def _blocks(self, **options: Any) -> Iterable[export.Block]:
        """What a page holds beyond the first screen."""
        return ()

    def _page_state(self, **options: Any) -> dict[str, Any]:
        state = self.get_state()
        return {k: v for k, v in state.items() if k not in _NOT_FOR_PAGES and k[:6] != "_model"}

    def _page(self, *, theme: str | None = None, **options: Any) -> Iterable[str]:
        state = self._page_state(**options)
        buffers = {k: bytes(v) for k, v in state.items() if isinstance(v, (bytes, memoryview))}
        return export.page(
            {**state, "_sentence": self.sentence},
            buffers,
            title=self._title or type(self).__name__,
            sentence=self.sentence,
            blocks=self._blocks(**options),
            absent=self.absent,
            theme=theme,
        )

    # -- for the browser ------------------------------------------------------------------------

    def _answer(self, question: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """Message and buffers for a question of the view's own; any exception is told."""
        raise ValueError(f"{type(self).__name__} knows no {question.get('type')!r}")

    def _on_question(self, _widget: Any, question: Any, _buffers: Any) -> None:
        if not isinstance(question, dict) or "request" not in question:
            return
        number = question["request"]
        try:
            if question.get("type") == "page":
                message, buffers = {"type": "page"}, [self.to_html().encode()]
            else:
                message, buffers = self._answer(question)
        # An exception in a message handler would never reach the reader, who waits for an answer.
        except Exception as error:
            message, buffers = {"type": "error", "message": one_line(error)}, []
        self.send({**message, "request": number}, buffers)


def one_line(error: BaseException) -> str:
    return shown_text(" ".join(str(error).split()) or type(error).__name__)
