"""Views of traces whose pages take the model along, and read other texts by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..pages.carried import Carried
from ..pages.carrying import carry_traces, for_readers, is_stale, reader_of
from ..pages.export import Block
from ..pages.standing_by import answer_standby
from .selection import SelectionView

if TYPE_CHECKING:
    from ...text_model import TextModel
    from ...tracing.trace import Trace


class Travelling(SelectionView):
    """A view of one text of a `TextModel`, or of two. Its page has a field for each, in which another
    one can be typed. What such a page says of a model that does not travel is in `stays`."""

    carried: Carried | None = None
    """The model that the last page of this view took along."""
    stays: str = ""
    """Why the last page did not, in a sentence."""

    def _read_texts(self) -> Sequence[Trace]:
        """The traces of the texts that another can take the place of."""
        return self._subjects()

    def _side_names(self) -> Sequence[str]:
        return ("",)

    def _page(
        self, *, model: bool | None = None, precision: str = "auto", **options: Any
    ) -> Iterable[str]:
        self.carried, self.stays = carry_traces(self._read_texts(), model, precision)
        return super()._page(**options)

    def _page_state(self, **options: Any) -> dict[str, Any]:
        state = super()._page_state(**options)
        if "_note" in state:
            state["_note"] = " ".join(filter(None, (for_readers(self.stays), state["_note"])))
        if self.carried:
            state["_carried"] = {
                "travels": True,
                "moved": False,  # whether the page has read another text
                "told": self.carried.told,
                **self._as_read(),
            }
        return state

    def _as_read(self) -> dict[str, Any]:
        """What the page's engine needs to know of the texts on view, to read them itself."""
        traces = self._read_texts()
        sides = zip(self._side_names(), traces, strict=True)
        return {
            "kind": traces[0].text_model.kind,
            "sides": [{"name": name, **_words(trace)} for name, trace in sides],
        }

    def _model_blocks(self) -> Iterable[Block]:
        return self.carried.blocks if self.carried else ()

    # -- for a page that goes on while the kernel is busy or gone ---------------------------------------

    def _answer(self, question: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        if question.get("type") != "standby":
            return super()._answer(question)
        traces = self._read_texts()
        model = reader_of(traces)
        why = lambda: _why_unlike(model, traces)  # noqa: E731
        return answer_standby(question, model, why, self._as_read, self.send)


def _why_unlike(model: TextModel | None, traces: Sequence[Trace]) -> str:
    """Why the model as it is now would not give what is on view, as the end of a sentence; or ""."""
    if any(trace.batch_size > 1 for trace in traces):
        return "this text was read with others"
    stale = model is None or is_stale(model, traces)
    return "the model has learned since it read this text, or was edited then" if stale else ""


def _words(trace: Trace) -> dict[str, Any]:
    """What stands in the fields: the text; the target, where one was given; what was written; and the
    tokens of both, for a page must not take words for them that are read as others."""
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
