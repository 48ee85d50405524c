"""From A to B: the part of a map from one span of the text to another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import traitlets as t

from ...heads.spans import Span, as_span, even_between, why_not_between
from ..pages.export import Block
from ..shared.codecs import pack_floats
from ..shared.map_sentences import between_sentence
from ..shared.traits import Int
from .heads import Heads, Place, name_of, place_of

if TYPE_CHECKING:
    from ..shared.base import Answer
    from .state import HeadsOnView, NamedHeads

BETWEEN, EVERY = "between|", "every-between|"
SEVERAL = 2**26  # above so many weights in total, not all heads are computed at once


def span() -> Any:
    """A trait (start, end), as in slices; None for the whole text."""
    return t.Tuple(Int(), Int(), allow_none=True, default_value=None).tag(sync=True)


class Spans:
    """The spans `a` of queries and `b` of keys of a view.

    If both are set, maps, lines, pictures and files show that block only.
    """

    def __init__(self, view: HeadsOnView, weights: NamedHeads):
        self._view, self._weights = view, weights
        view.observe(lambda _: self.text_changed(), "kind")

    def mark(self, a: Span | None, b: Span | None) -> None:
        """Show the attention from span a to span b; with neither, the whole map again.

        Raises:
            ValueError: for one span without the other, one that is empty, reversed or out of range,
                different spans of one text that overlap, and keys that no query of a can attend to.
        """
        self.check(a, b)
        if (a is None) != (b is None):
            name, other = ("a", "b") if b is None else ("b", "a")
            raise ValueError(f"{name}={a or b} needs {other} as well: the block goes from a to b")
        view = self._view
        with view.hold_sync(), view.hold_trait_notifications():
            view.a = view.b = None
            view.a, view.b = a, b

    @property
    def block(self) -> tuple[Span, Span] | None:
        """The spans (a, b) shown; None for the whole map, and for averages over several texts."""
        view = self._view
        if view.a is None or view.b is None or view.kinds[view.kind].get("over"):
            return None
        return view.a, view.b

    def check(self, a: Any, b: Any) -> None:
        """Check that a block from a to b can be shown.

        Raises:
            ValueError: as `mark`.
        """
        kind = self._view.kinds[self._view.kind]
        a = a if a is None else as_span("a", a, kind["queries"])
        b = b if b is None else as_span("b", b, kind["keys"])
        if a is None or b is None:
            return
        ahead = kind["all_keys"] - kind["all_queries"] if kind["causal"] else None
        wrong = why_not_between(a, b, same=kind["same"], ahead=ahead)
        if wrong:
            raise ValueError(wrong)

    def checked(self, proposal: Any) -> Span | None:
        """Check and return a proposed value of `a` or `b`.

        Raises:
            TraitError: as `mark`.
        """
        spans = {"a": self._view.a, "b": self._view.b, proposal["trait"].name: proposal["value"]}
        if self._view.kinds:
            try:
                self.check(**spans)
            except ValueError as error:
                raise t.TraitError(str(error)) from None
        return proposal["value"]

    def text_changed(self, before: Mapping[str, Any] | None = None) -> None:
        """Clear the spans unless the new text has the same tokens there. before: the old kinds."""
        view = self._view
        if not (view.a or view.b):
            return
        was, now = (before or {}).get(view.kind), view.kinds[view.kind]
        for span, name in ((view.a, "query_tokens"), (view.b, "key_tokens")):
            if span and (was is None or was[name][slice(*span)] != now[name][slice(*span)]):
                return self.mark(None, None)

    # -- numbers and sentence -----------------------------------------------------------------------

    def between(
        self,
        place: Place,
        spans: tuple[Span, Span],
        hidden: Sequence[int],
        heads: Heads | None = None,
    ) -> list[float]:
        """[fraction of A's attention that goes to B, the same for uniform attention] of a head."""
        kind, layer, head = place
        heads = heads or self._weights.named(self._weights.name)
        if head >= heads.trace.heads_of(layer, kind):
            return [0.0, 0.0]
        a, b = spans
        share = heads.goes_between(place, a, b, hidden)
        even = even_between(
            heads.trace, a, b, layer, head, kind=kind, batch=heads.batch, hidden=hidden
        )
        return [share, even]

    def of_every_head(
        self, kind: str, spans: tuple[Span, Span], hidden: Sequence[int], heads: Heads
    ) -> bytes:
        """The same for every head, fp32 [2, layer, head]; NaN where there is none.

        Raises:
            ValueError: if the text is too long.
        """
        sizes = self._view.kinds[kind]
        layers, n_heads = sizes["layers"], sizes["heads"]
        if layers * n_heads * sizes["queries"] * sizes["keys"] > SEVERAL:
            raise ValueError("this text is too long for the shares of all heads at once")
        shares = torch.full((2, layers, n_heads), torch.nan)
        for layer in range(layers):
            for head in range(heads.trace.heads_of(layer, kind)):
                share = self.between((kind, layer, head), spans, hidden, heads)
                shares[:, layer, head] = torch.tensor(share)
        return pack_floats(shares)

    def sentence(self, heads: Heads) -> str:
        """How much of A's attention goes to B, compared with uniform attention."""
        view = self._view
        assert self.block is not None
        share, even = self.between(view.shown, self.block, view.shows.hidden)
        return between_sentence(heads.seen(view.shown, view.shows), *self.block, share, even)

    # -- for pages and the browser ------------------------------------------------------------------

    def requests(self) -> dict[str, Any]:
        """See `View._requests`."""
        return {BETWEEN: self._answer, EVERY: self._answer}

    def _answer(self, request: str) -> Answer:
        what, name, place, spans, hidden = request.split("|")
        heads = self._weights.named(name)
        a0, a1, b0, b1 = (int(i) for i in spans.split(","))
        block, left_out = ((a0, a1), (b0, b1)), [int(i) for i in hidden.split(",") if i]
        if f"{what}|" == EVERY:
            return {}, [self.of_every_head(place, block, left_out, heads)]
        return {"values": self.between(place_of(place), block, left_out, heads)}, []

    def page_blocks(self, heads: Heads, layers: Sequence[int] | None) -> Iterable[Block]:
        """Exact fractions of each head for the marked block, as a page holds them."""
        if self.block is None:
            return
        view, hidden = self._view, self._view.shows.hidden
        for place in heads.on_page(view.shown, layers):
            if place[0] == view.kind:
                values = self.between(place, self.block, hidden)
                yield Block(self._block_name(BETWEEN, name_of(place)), {"values": values}, [])

    def page_block_of_every_head(self) -> Iterable[Block]:
        """The fractions of all heads, for a page with a table of heads."""
        if self.block is None:
            return
        view = self._view
        heads = self._weights.named(self._weights.name)
        try:
            shares = self.of_every_head(view.kind, self.block, view.shows.hidden, heads)
        except ValueError:
            return  # the text is too long; the page computes what it can
        yield Block(self._block_name(EVERY, view.kind), {}, [shares])

    def _block_name(self, what: str, place: str) -> str:
        assert self.block is not None
        spans = ",".join(str(i) for span in self.block for i in span)
        hidden = ",".join(map(str, self._view.shows.hidden))
        return f"{what}{self._weights.name}|{place}|{spans}|{hidden}"
