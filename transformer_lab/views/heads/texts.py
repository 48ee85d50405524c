"""The choice of what is shown: one text of a batch, or an average over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..pages.export import Block
from .averages import MEAN, SPREAD, AverageHeads, names_of, profile
from .heads import Heads, Place, place_of
from .long import LongHeads, heads_of

if TYPE_CHECKING:
    from ...tracing.trace import Trace
    from ..shared.base import Answer

PAGE_BYTES = 16 * 2**20  # a page holds the maps of all texts up to this size
OF_BYTES = ("_thumbs", "_maps", "_norms")


class Texts:
    """The texts of a trace, and the averages over them (if there are several).

    Args:
        text: the text shown first.
    """

    def __init__(self, trace: Trace, text: int):
        self.trace = trace
        self.text: int | str = text  # the one shown
        self.heads = heads_of(trace, text)
        self.why = ""  # why there is no average
        self._averages: AverageHeads | None = None
        if self.several:
            try:
                if isinstance(self.heads, LongHeads):
                    raise ValueError("they are too long for whole maps")
                self._averages = AverageHeads(trace, MEAN)
            except ValueError as error:
                self.why = str(error)

    @property
    def several(self) -> bool:
        return self.trace.batch_size > 1

    def about(self, kind: str) -> dict[str, Any]:
        """`names`: of the texts; `why`: why there is no average, or ""; `held`: the texts that a page
        holds, or None for all."""
        names = names_of(self.trace, kind)
        return dict(names=names, why=self.why, held=None) if self.several else {}

    def check(self, text: int | str) -> None:
        """Check that a text or an average can be shown.

        Raises:
            ValueError: for a text that the trace does not have, or an average that cannot be shown.
        """
        n = self.trace.batch_size
        if text in (MEAN, SPREAD) and self._averages is None:
            raise ValueError(f"text={text!r} cannot be shown: {self.why or 'it is of one text'}")
        if text not in (MEAN, SPREAD) and not (isinstance(text, int) and 0 <= text < n):
            raise ValueError(
                f"text={text!r} is not in this trace; choose 0 … {n - 1}, {MEAN!r} or {SPREAD!r}"
            )

    def show(self, text: int | str) -> Heads:
        """Show a text, and return its heads."""
        self.text, self.heads = text, self._heads_of(text)
        return self.heads

    def _heads_of(self, text: int | str) -> Heads:
        if isinstance(text, int):
            return heads_of(self.trace, text)
        assert self._averages is not None
        return self._averages if text == MEAN else AverageHeads(self.trace, text, self._averages)

    @property
    def name(self) -> str:
        return str(self.text)

    def named(self, name: str) -> Heads:
        """The heads that are shown, if this is still their name.

        Raises:
            ValueError: if they are no longer shown.
        """
        if name != self.name:
            raise ValueError(f"text {name} is no longer on view")
        return self.heads

    # -- for pages and the browser ------------------------------------------------------------------

    def answer_profile(self, name: str) -> Answer:
        """A head by distance; `name`: "profile/kind/layer/head"."""
        block = profile(self.trace, place_of(name.partition("/")[2]))
        return dict(block.info), block.buffers

    def page_note(self, layers: Sequence[int] | None) -> str:
        """A note for a page that does not hold every text; "" if it does."""
        if not self.several or self._all_on_page(layers):
            return ""
        shown = f"text {self.text}" if isinstance(self.text, int) else f"the {self.text}"
        return f"This page holds {shown} alone, of {self.trace.batch_size} texts."

    def _all_on_page(self, layers: Sequence[int] | None) -> bool:
        size = self.trace.batch_size * self.heads.data.size
        return layers is None and self.heads.data.all_maps and size <= PAGE_BYTES

    def page_blocks(self, place: Place, layers: Sequence[int] | None) -> Iterable[Block]:
        if not self.several:
            return
        every = self._all_on_page(layers)
        averages = [] if self._averages is None else [MEAN, SPREAD]
        for text in [*range(self.trace.batch_size), *averages] if every else ():
            traits = self._heads_of(text).traits(place)
            buffers = [traits.pop(name) for name in OF_BYTES]
            yield Block(f"text/{text}", traits, buffers)
        if self._averages is not None and (every or isinstance(self.text, str)):
            yield from (profile(self.trace, at) for at in self.heads.every(place[0], layers))
