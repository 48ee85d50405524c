"""The weights that an Explorer shows: before the edits, after them, or the difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ..heads.heads import Heads, Place, Shows, Spot, map_sentence
from ..heads.spans import Spans
from ..shared.map_sentences import between_change_sentence, between_sentence, difference_sentence
from .session import Session

MODES = ("before", "after", "difference")


class EditedMaps:
    """The attention patterns of a session, before and after its edits.

    Args:
        options: the reader's choices.
        count: of texts and positions; part of the name of the patterns before the edits.
    """

    def __init__(
        self, session: Session, options: Callable[[], Mapping[str, Any]], count: Callable[[], int]
    ):
        self._session, self._options, self._count = session, options, count

    @property
    def mode(self) -> str:
        """The weights on view: "before", "after" or "difference"; "before" without edits."""
        mode = self._options().get("map", "after")
        return mode if self._session.after is not None and mode in MODES else "before"

    @property
    def heads(self) -> Heads:
        """The heads whose weights are on view; for a difference, those after the edits."""
        after = self._session.after
        return self._session.heads if after is None or self.mode == "before" else after

    @property
    def name(self) -> str:
        """The name of the weights on view."""
        return self._name("before" if self.mode == "before" else "after")

    def _name(self, side: str) -> str:
        return f"{self._count() if side == 'before' else self._session.count} {side}"

    def named(self, name: str) -> Heads:
        """Return the heads of a name.

        Raises:
            ValueError: for heads that are no longer on view.
        """
        after = self._session.after
        if name == self._name("before"):
            return self._session.heads
        if name != self._name("after") or after is None:
            raise ValueError("this text, or these edits, are no longer on view")
        return after

    def map(self, place: Place, shows: Shows, query: int | None = None) -> Tensor:
        """A head's weights as displayed, [query, key], or one row of them."""
        weights = self.heads.map(place, shows, query)
        if self.mode != "difference":
            return weights
        return weights - self._session.heads.map(place, shows, query)

    def nothing(self, place: Place, shows: Shows) -> Tensor | None:
        """The weight on nothing beside those weights, [query]; None if heads cannot attend to
        nothing."""
        before = self._session.heads.nothing(place, shows)
        nothing = None if before is None else self.heads.nothing(place, shows)
        if before is None or nothing is None or self.mode != "difference":
            return nothing
        return nothing - before

    def sentence(self, place: Place, shows: Shows, selected: Spot | None, spans: Spans) -> str:
        """What the chosen head attends to, or how that changes."""
        difference = self.mode == "difference"
        heads = self._session.heads if difference else self.heads
        seen = heads.seen(place, shows, edited=self.mode == "after")
        if spans.block is None or selected:
            say = difference_sentence if difference else map_sentence
            return say(seen, self.map(place, shows), selected)
        share, even = spans.between(place, spans.block, shows.hidden)
        if not difference:
            return between_sentence(seen, *spans.block, share, even)
        before, _ = spans.between(place, spans.block, shows.hidden, self._session.heads)
        return between_change_sentence(seen, *spans.block, before, share)
