"""What every view that shows the heads of a trace tells its browser of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import traitlets as t

from ..pages.export import Block
from ..shared.selection import SelectionView
from ..shared.traits import Int
from .heads import WITHOUT_BLOCKS, Heads, Place, Shows

if TYPE_CHECKING:
    from ...tracing.trace import Trace


class HeadTraits(SelectionView):
    """The state that heads/viewer.js reads. What is in it, `Heads` says: `heads` of the view."""

    _options = t.Dict().tag(sync=True)  # what is hidden, weighted, coloured: see viewer.js
    _thumbs = t.Bytes(b"").tag(sync=True)
    _maps = t.Bytes(b"").tag(sync=True)
    _norms = t.Bytes(b"").tag(sync=True)
    _first = t.Dict().tag(sync=True)
    _first_data = t.Bytes(b"").tag(sync=True)
    _first_norms = t.Bytes(b"").tag(sync=True)
    _note = t.Unicode("").tag(sync=True)
    _value_note = t.Unicode("").tag(sync=True)
    _batch = Int(0).tag(sync=True)

    heads: Heads

    def _look_at(self, heads: Heads, place: Place) -> None:
        """Take everything from these heads, and begin with this one.

        Raises:
            ValueError: when there is no such head; nothing has changed then.
        """
        traits = heads.traits(place)
        self.heads = heads
        with self.hold_sync():
            self._kinds = traits.pop("_kinds")
            self.kind, self.layer, self.head = place
            self.set_trait("_first", {})  # two heads may share a name while their maps differ
            for name, value in traits.items():
                self.set_trait(name, value)

    @property
    def trace(self) -> Trace:
        """The trace on view."""
        return self.heads.trace

    @property
    def shown(self) -> Place:
        """(kind, layer, head) on view."""
        kind = self._kinds[self.kind]
        return self.kind, min(self.layer, kind["layers"] - 1), min(self.head, kind["heads"] - 1)

    @property
    def _shows(self) -> Shows:
        return Shows.of(self._options, self._kinds[self.kind])

    @property
    def head_sentence(self) -> str:
        """What the head on view does, or the part of its map that is selected, in words."""
        return self.heads.said(self.shown, self._shows, self.selected)

    @property
    def _reads(self) -> str:
        """A name of the weights on view, which a browser gives back when it asks about them."""
        return ""

    def _named_heads(self, reads: str) -> Heads:
        """The heads of that name.

        Raises:
            ValueError: where they are no longer on view.
        """
        if reads != self._reads:
            raise ValueError(f"text {reads} is no longer on view")
        return self.heads

    def _subjects(self) -> Sequence[Any]:
        heads = getattr(self, "heads", None)
        return super()._subjects() if heads is None else (self.trace,)

    # -- for pages --------------------------------------------------------------------------------

    def _first_screen(self, layers: Sequence[int] | None) -> dict[str, Any]:
        """What a page's state says otherwise: every thumbnail, and the head that is on view."""
        changed: dict[str, Any] = {}
        if layers is not None:
            changed["_note"] = f"{self._note} {self.heads.limits(layers)}".strip()
        if self._in_blocks(layers):
            changed |= {"_maps": b"", "_norms": b"", **self.heads.first(self.shown)}
        return changed

    def _head_blocks(self, layers: Sequence[int] | None) -> Iterable[Block]:
        if self._in_blocks(layers):
            for place in self.heads.every(self.kind, layers):
                yield self.heads.block(place)

    def _in_blocks(self, layers: Sequence[int] | None) -> bool:
        """Whether a page holds its heads one by one, to show the first before the rest is read."""
        small = bool(self._maps) and len(self._maps) < WITHOUT_BLOCKS
        return bool(self._kinds) and not (small and layers is None)
