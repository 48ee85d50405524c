"""From A to B: the part of a map that goes from one span of the text to another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import traitlets as t

from ...heads.spans import Span, as_span, even_between, why_not_between
from ..pages.export import Block
from ..shared.words import between_sentence
from .heads import Place, name_of, place_of
from .texts import TextTraits

BETWEEN = "between|"


def _span_trait() -> Any:
    return t.Tuple(t.Int(), t.Int(), allow_none=True, default_value=None).tag(sync=True)


class SpanTraits(TextTraits):
    """Heads of a trace, from one part of its text to another.

    `a` and `b` are spans (start, end), as in slices, of queries and of keys; where both are set, maps,
    lines, pictures and files are of that block alone. None: of the whole map.
    """

    a = _span_trait()
    b = _span_trait()

    def mark(self, a: Span | None = None, b: Span | None = None) -> None:
        """Show what goes from span a to span b; with neither, the whole map again.

        Raises:
            ValueError: for one span without the other, one that is empty, reversed or out of range,
                spans of one text that overlap and are not the same, and keys that no query of A can
                look at.
        """
        self._why_not(a, b)
        if (a is None) != (b is None):
            name, other = ("a", "b") if b is None else ("b", "a")
            raise ValueError(f"{name}={a or b} needs {other} as well: the block goes from a to b")
        with self.hold_sync(), self.hold_trait_notifications():
            self.a = self.b = None
            self.a, self.b = a, b

    @property
    def block(self) -> tuple[Span, Span] | None:
        """The spans (a, b) on view; None for the whole map, and over several texts, whose tokens differ."""
        if self.a is None or self.b is None or self._kinds[self.kind].get("over"):
            return None
        return self.a, self.b

    def _why_not(self, a: Any, b: Any) -> None:
        """
        Raises:
            ValueError: as `mark`.
        """
        kind = self._kinds[self.kind]
        a = a if a is None else as_span("a", a, kind["queries"])
        b = b if b is None else as_span("b", b, kind["keys"])
        if a is None or b is None:
            return
        ahead = kind["all_keys"] - kind["all_queries"] if kind["causal"] else None
        wrong = why_not_between(a, b, same=kind["same"], ahead=ahead)
        if wrong:
            raise ValueError(wrong)

    @t.validate("a", "b")
    def _check_spans(self, proposal: Any) -> Span | None:
        spans = {"a": self.a, "b": self.b, proposal["trait"].name: proposal["value"]}
        if self._kinds:
            try:
                self._why_not(**spans)
            except ValueError as error:
                raise t.TraitError(str(error)) from None
        return proposal["value"]

    @t.observe("kind", "_kinds")
    def _tokens_changed(self, change: Any) -> None:
        """Spans name the tokens of one text."""
        if change["old"] and (self.a or self.b):
            self.mark()

    # -- what is said and drawn ---------------------------------------------------------------------

    def _between(
        self, place: Place, spans: tuple[Span, Span], hidden: Sequence[int]
    ) -> list[float]:
        """What a head's block carries: [its share of A's attention, what even attention would give]."""
        kind, layer, head = place
        if head >= self.trace.heads_of(layer, kind):
            return [0.0, 0.0]
        a, b = spans
        share = self.heads.goes_between(place, a, b, hidden)
        even = even_between(
            self.trace, a, b, layer, head, kind=kind, batch=self._batch, hidden=hidden
        )
        return [share, even]

    @property
    def between_sentence(self) -> str:
        """How much of A's attention goes into B, beside what even attention would give."""
        assert self.block is not None
        share, even = self._between(self.shown, self.block, self._shows.hidden)
        return between_sentence(self.heads.seen(self.shown, self._shows), *self.block, share, even)

    # -- for pages and the browser ------------------------------------------------------------------

    def _answer(self, question: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        name = str(question.get("name", ""))
        if question.get("type") != "block" or not name.startswith(BETWEEN):
            return super()._answer(question)
        _, text, place, spans, hidden = name.split("|")
        if text != str(self.text):
            raise ValueError(f"text {text} is no longer on view")
        a0, a1, b0, b1 = (int(i) for i in spans.split(","))
        left_out = [int(i) for i in hidden.split(",") if i]
        found = self._between(place_of(place), ((a0, a1), (b0, b1)), left_out)
        return {"type": "block", "info": {"values": found}}, []

    def _span_blocks(self, layers: Sequence[int] | None) -> Iterable[Block]:
        """What a page holds of the block that is marked: each head's share, exact."""
        if self.block is None:
            return
        hidden, spans = self._shows.hidden, ",".join(str(i) for span in self.block for i in span)
        for place in self.heads.every(self.kind, layers):
            if place[0] == self.kind:
                name = f"{BETWEEN}{self.text}|{name_of(place)}|{spans}|{','.join(map(str, hidden))}"
                yield Block(name, {"values": self._between(place, self.block, hidden)}, [])
