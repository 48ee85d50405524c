"""From A to B: the part of a map that goes from one span of the text to another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import traitlets as t

from ...heads.spans import Span, as_span, even_between, why_not_between
from ..pages.export import Block
from ..shared.codecs import pack_floats
from ..shared.map_sentences import between_sentence
from ..shared.traits import Int
from .heads import Heads, Place, name_of, place_of
from .state import HeadTraits

BETWEEN, EVERY = "between|", "every-between|"
SEVERAL = 2**26  # weights of all heads together, beyond which they are not all looked at


def _span_trait() -> Any:
    return t.Tuple(Int(), Int(), allow_none=True, default_value=None).tag(sync=True)


class SpanTraits(HeadTraits):
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
        """Spans name the tokens of one text; they stay where it goes on after them."""
        if not change["old"] or not (self.a or self.b):
            return
        was = change["old"].get(self.kind) if change["name"] == "_kinds" else None
        now = self._kinds[self.kind]
        for span, name in ((self.a, "query_tokens"), (self.b, "key_tokens")):
            if span and (was is None or was[name][slice(*span)] != now[name][slice(*span)]):
                return self.mark()

    # -- what is said and drawn ---------------------------------------------------------------------

    def _between(
        self,
        place: Place,
        spans: tuple[Span, Span],
        hidden: Sequence[int],
        heads: Heads | None = None,
    ) -> list[float]:
        """What a head's block carries: [its share of A's attention, what even attention would give]."""
        kind, layer, head = place
        heads = heads or self._named_heads(self._reads)
        if head >= heads.trace.heads_of(layer, kind):
            return [0.0, 0.0]
        a, b = spans
        share = heads.goes_between(place, a, b, hidden)
        even = even_between(
            heads.trace, a, b, layer, head, kind=kind, batch=heads.batch, hidden=hidden
        )
        return [share, even]

    def _every_between(
        self, kind: str, spans: tuple[Span, Span], hidden: Sequence[int], heads: Heads
    ) -> bytes:
        """The same of every head, fp32 [2, layer, head]; NaN where there is none.

        Raises:
            ValueError: for a text that is too long for that.
        """
        sizes = self._kinds[kind]
        layers, n_heads = sizes["layers"], sizes["heads"]
        if layers * n_heads * sizes["queries"] * sizes["keys"] > SEVERAL:
            raise ValueError("this text is too long for the shares of all heads at once")
        found = torch.full((2, layers, n_heads), torch.nan)
        for layer in range(layers):
            for head in range(heads.trace.heads_of(layer, kind)):
                told = self._between((kind, layer, head), spans, hidden, heads)
                found[:, layer, head] = torch.tensor(told)
        return pack_floats(found)

    @property
    def between_sentence(self) -> str:
        """How much of A's attention goes into B, beside what even attention would give."""
        assert self.block is not None
        share, even = self._between(self.shown, self.block, self._shows.hidden)
        return between_sentence(self.heads.seen(self.shown, self._shows), *self.block, share, even)

    # -- for pages and the browser ------------------------------------------------------------------

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        if not name.startswith((BETWEEN, EVERY)):
            return super()._part_named(name)
        _, reads, place, spans, hidden = name.split("|")
        heads = self._named_heads(reads)
        a0, a1, b0, b1 = (int(i) for i in spans.split(","))
        block, left_out = ((a0, a1), (b0, b1)), [int(i) for i in hidden.split(",") if i]
        if name.startswith(EVERY):
            every = self._every_between(place, block, left_out, heads)
            return {}, [every]
        found = self._between(place_of(place), block, left_out, heads)
        return {"values": found}, []

    def _span_blocks(self, layers: Sequence[int] | None) -> Iterable[Block]:
        """What a page holds of the block that is marked: each head's share, exact."""
        if self.block is None:
            return
        hidden = self._shows.hidden
        for place in self.heads.on_page(self.shown, layers):
            if place[0] == self.kind:
                found = self._between(place, self.block, hidden)
                yield Block(self._block_name(BETWEEN, name_of(place)), {"values": found}, [])

    def _every_block(self) -> Iterable[Block]:
        """For a page with a table of heads: the shares of all of them."""
        if self.block is None:
            return
        heads, hidden = self._named_heads(self._reads), self._shows.hidden
        try:
            found = self._every_between(self.kind, self.block, hidden, heads)
        except ValueError:
            return  # too long a text; the page finds what it can
        yield Block(self._block_name(EVERY, self.kind), {}, [found])

    def _block_name(self, what: str, place: str) -> str:
        assert self.block is not None
        spans = ",".join(str(i) for span in self.block for i in span)
        return f"{what}{self._reads}|{place}|{spans}|{','.join(map(str, self._shows.hidden))}"
