"""Which text of a batch is on view, or what of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import traitlets as t

from ..pages.export import Block
from ..shared.traits import Int
from .averages import MEAN, SPREAD, AverageHeads, names_of, profile
from .heads import Heads, place_of
from .long import LongHeads, heads_of
from .state import HeadTraits

if TYPE_CHECKING:
    from ...tracing.trace import Trace

PAGE_BYTES = 16 * 2**20  # of all maps of all texts, up to which a page holds them
OF_BYTES = ("_thumbs", "_maps", "_norms", "_first_data", "_first_norms")


class TextTraits(HeadTraits):
    """Heads of a trace, of one of its texts or over all.

    `text` is the number of the text on view, or "mean" or "spread" of all. A trace of one text has
    nothing to choose.
    """

    text = t.Union([Int(), t.Unicode()], default_value=0).tag(sync=True)

    # names: of each text; why: why there is no average, or ""; held: what a page holds, or None.
    _texts = t.Dict().tag(sync=True)
    _held_text = t.Union([Int(), t.Unicode()], default_value=0).tag(sync=True)
    _live = t.Bool(True).tag(sync=True)

    _of: Trace | None = None  # with all its texts

    def _choose_among(self, trace: Trace, batch: int) -> None:
        """Begin with this text of a trace."""
        self.text = self._held_text = batch
        self._averages: AverageHeads | None = None
        if trace.batch_size > 1:
            why = ""
            try:
                if isinstance(self.heads, LongHeads):
                    raise ValueError("they are too long for whole maps")
                self._averages = AverageHeads(trace, MEAN)
            except ValueError as error:
                why = str(error)
            self._texts = dict(names=names_of(trace, self.kind), why=why, held=None)
        self._of = trace

    @property
    def trace(self) -> Trace:
        return self.heads.trace if self._of is None else self._of

    @property
    def _reads(self) -> str:
        return str(self.text)

    @t.validate("text")
    def _check_text(self, proposal: Any) -> int | str:
        text = proposal["value"]
        if self._of is None:
            return text
        n = self._of.batch_size
        if text in (MEAN, SPREAD) and self._averages is None:
            why = self._texts.get("why") or "it is of one text"
            raise t.TraitError(f"text={text!r} cannot be shown: {why}")
        if text not in (MEAN, SPREAD) and not (isinstance(text, int) and 0 <= text < n):
            raise t.TraitError(
                f"text={text!r} is not in this trace; choose 0 … {n - 1}, {MEAN!r} or {SPREAD!r}"
            )
        return text

    @t.observe("text")
    def _text_changed(self, _change: Any) -> None:
        if self._of is None:
            return
        heads, place = self._heads_of(self.text), self.shown
        with self.hold_sync():
            self._look_at(heads, place)
            for name, chosen, kind in zip(
                ("queries", "keys"), self.selected or (), [heads.kinds[self.kind]] * 2, strict=False
            ):
                if chosen is not None and chosen >= kind[name]:
                    self.selected = None
                    break
            self._held_text = self.text
            if isinstance(self.text, int):
                self._batch = self.text

    def _heads_of(self, text: int | str) -> Heads:
        assert self._of is not None
        if isinstance(text, int):
            return heads_of(self._of, text)
        assert self._averages is not None
        return self._averages if text == MEAN else AverageHeads(self._of, text, self._averages)

    # -- for pages and the browser ------------------------------------------------------------------

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        if name.startswith("profile/") and self._of is not None:
            found = profile(self._of, place_of(name.removeprefix("profile/")))
            return dict(found.info), found.buffers
        return self.heads.answer(name)

    def _text_on_page(self, layers: Sequence[int] | None) -> dict[str, Any]:
        """What a page's state says of the texts that it holds."""
        if not self._texts or self._holds_all(layers):
            return {}
        assert self._of is not None
        told = f"text {self.text}" if isinstance(self.text, int) else f"the {self.text}"
        note = f"This page holds {told} alone, of {self._of.batch_size} texts."
        return {"_texts": {**self._texts, "held": [self.text]}, "_page_note": note}

    def _holds_all(self, layers: Sequence[int] | None) -> bool:
        assert self._of is not None
        size = self._of.batch_size * self.heads.data.size
        return layers is None and self.heads.data.all_maps and size <= PAGE_BYTES

    def _text_blocks(self, layers: Sequence[int] | None) -> Iterable[Block]:
        if not self._texts:
            return
        assert self._of is not None
        every = self._holds_all(layers)
        averages = [] if self._averages is None else [MEAN, SPREAD]
        for text in [*range(self._of.batch_size), *averages] if every else ():
            heads = self._heads_of(text)
            traits = heads.traits(self.shown)
            buffers = [traits.pop(name) for name in OF_BYTES]
            yield Block(f"text/{text}", traits, buffers)
        if self._averages is not None and (every or isinstance(self.text, str)):
            yield from (profile(self._of, at) for at in self.heads.every(self.kind, layers))
