"""The model embedded in a view's page, so that another text can be read there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..pages.carried import Carried
from ..pages.carrying import carry, carry_traces, for_readers, is_stale, reader_of
from ..pages.pictures import PictureModel
from ..pages.standing_by import answer_standby

if TYPE_CHECKING:
    from ...text_model import TextModel
    from ...tracing.trace import Trace

Answer = tuple[dict[str, Any], list[bytes]]  # a message, and its buffers


class EmbeddedModel:
    """The `TextModel` that read the text of a view, or several texts. A page has a field to type
    another one for each.

    Args:
        traces: those of the texts that can be replaced.
        names: of these texts.
        written: as in `carried`.
    """

    def __init__(
        self,
        traces: Callable[[], Sequence[Trace]],
        names: Callable[[], Sequence[str]] | None = None,
        written: bool = False,
    ):
        self._traces, self._names = traces, names or (lambda: ("",))
        self._written = written

    def take(self, model: bool | None, precision: str) -> tuple[Carried | None, str]:
        """Return the model for the next page, or None and a sentence saying why; arguments as in
        `save_html`."""
        return carry_traces(self._traces(), model, precision, self._written)

    def page_state(self, carried: Carried | None, stays: str, note: str | None) -> dict[str, Any]:
        """The part of that page's state on the model; `note`: the view's own note."""
        state: dict[str, Any] = {} if note is None else {"_note": joined(for_readers(stays), note)}
        if carried:
            state["_carried"] = {
                "travels": True,
                "moved": False,  # whether the page has read another text
                "note": carried.note,
                **self._texts(),
            }
        return state

    def _texts(self) -> dict[str, Any]:
        """The texts on view, in the form that the page's engine needs to read them."""
        traces = self._traces()
        sides = zip(self._names(), traces, strict=True)
        return {
            "kind": traces[0].text_model.kind,
            "sides": [{"name": name, **_words(trace)} for name, trace in sides],
        }

    def standby(self, message: dict[str, Any], send: Callable[..., Any]) -> Answer:
        """The answer to a page that prepares to continue while the kernel is busy or gone."""
        traces = self._traces()
        model = reader_of(traces)
        unlike = lambda: _why_unlike(model, traces)  # noqa: E731
        return answer_standby(message, model, unlike, self._texts, send, self._written)


class EmbeddedPictureModel(EmbeddedModel):
    """The model that read the image of a view.

    Args:
        model: that model.
        stale: whether it has changed since then.
        texts: what the page needs besides the graph.
    """

    def __init__(
        self, model: PictureModel, stale: Callable[[], bool], texts: Callable[[], dict[str, Any]]
    ):
        self._model, self._stale, self._texts = model, stale, texts

    def take(self, model: bool | None, precision: str) -> tuple[Carried | None, str]:
        stale = model is not False and self._stale()
        return carry(self._model, model, stale, (), "it reads no other image", precision)

    def page_state(self, carried: Carried | None, stays: str, note: str | None) -> dict[str, Any]:
        state = super().page_state(carried, stays, note)
        if carried:
            state["_carried"]["prepares"] = carried.prepares
            state["_pixels"] = self._model.pixels.detach().cpu().float().numpy().tobytes()
        return state

    def standby(self, message: dict[str, Any], send: Callable[..., Any]) -> Answer:
        return {"type": "standby", "about": {"mark": "", "why": ""}}, []


def joined(*sentences: str) -> str:
    """Join sentences, leaving out empty ones."""
    return " ".join(filter(None, sentences))


def _why_unlike(model: TextModel | None, traces: Sequence[Trace]) -> str:
    """Why the present model would not reproduce the view, as the end of a sentence; or ""."""
    if any(trace.batch_size > 1 for trace in traces):
        return "this text was read with others"
    stale = model is None or is_stale(model, traces)
    return "the model has learned since it read this text, or was edited then" if stale else ""


def _words(trace: Trace) -> dict[str, Any]:
    """The content of the fields: the text; the target, if one was given; the output; and the tokens
    of both, since the words may be split into others."""
    text, target = trace.words or (None, None)
    model = trace.text_model
    if text is None:
        text = model.tokenizer.decode(trace.tokens[0].tolist())
    written = None
    if trace.target is not None:
        written = model.target_tokenizer.decode(trace.target[0, 1:].tolist())
        target = target if trace.words else written
    ids = {"ids": trace.tokens[0].tolist()}
    if trace.target is not None:
        ids["target_ids"] = trace.target[0].tolist()
    return {"text": text, "target": target, "written": written, **ids}
