"""Why here: one score, from the parts of a dot product to a weight."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets as t

from ..pages.export import Block
from ..shared.base import css, esm
from ..shared.embedded_model import EmbeddedModel
from ..shared.javascript import call
from ..shared.modules import VIEWS
from ..shared.scripted import ScriptedView
from ..shared.selection import (
    SelectionView,
    check_places,
    check_traced,
    kind_of,
    sizes_of,
    traits_of,
)
from .data import CellBytes, WhyData, cell_name, read_name

if TYPE_CHECKING:
    from ...tracing.trace import Trace


class WhyView(ScriptedView, SelectionView):
    """One score q·k of one head: its dimensions, how it becomes a weight among the row's keys, and
    which components wrote the query and the key, if these are known sums of parts.

    `layer`, `head`, `kind` and `selected` (query, key) can be read and set from Python, as in
    `HeadView`, and follow the other views of the page. If only a query is selected, its most
    attended key is shown; if nothing is, the last query. A saved page holds the row of the chosen
    query: the 64 keys with most weight. It can embed the model, as an `Explorer`'s page does
    (`save_html(path, model=None)`), and then shows every score of other texts, with the parts by
    source.

    Args:
        trace: what `transformer_lab.trace` returned; for models of this library the parts by source
            need keep="all".
        layer, head, query, key: the score shown at first.
        kind: "decoder", "encoder" or "cross"; by default the trace's first choice.
        batch: which text of the trace.
        title: the model's name by default.
        link: as in `HeadView`.

    Raises:
        ValueError: if the trace has no such layer, head, query or key, or the model gives only
            attention patterns.
    """

    _esm: ClassVar[str] = esm("why/view.js")
    _css: ClassVar[str] = css("why")
    _folder: ClassVar[str] = "why"

    _options = t.Dict().tag(sync=True)  # above: split the score above the row's mean; pairs

    def __init__(
        self,
        trace: Trace,
        layer: int | None = None,
        head: int = 0,
        query: int | None = None,
        key: int | None = None,
        *,
        kind: str | None = None,
        batch: int = 0,
        title: str | None = None,
        link: str | None = None,
    ):
        check_traced(trace, batch)
        kind = kind_of(trace, kind)
        self.trace, self._data = trace, WhyData(trace, batch)
        kinds = sizes_of(trace)
        size = kinds[kind]
        for name, one in kinds.items():
            one |= dict(query_tokens=self._data.queries[name], key_tokens=self._data.keys[name])
        check_places(
            layer=(layer, size["layers"]),
            head=(head, size["heads"]),
            query=(query, size["queries"]),
            key=(key, size["keys"]),
        )
        layer = trace.attending(kind)[0] if layer is None else layer
        trace.call(layer, kind=kind)  # raises for a layer without heads
        self._embedded = EmbeddedModel(self._subjects, written=True)
        super().__init__(**traits_of(trace, batch, title, link, "Why here?"), _kinds=kinds)
        with self.hold_sync():
            self.kind, self.layer, self.head = kind, layer, head
            self.selected = None if query is None and key is None else (query, key)
            self._hold()

    # -- for people -----------------------------------------------------------------------------

    @property
    def shown(self) -> tuple[str, int, int, int, int]:
        """(kind, layer, head, query, key) of what is shown."""
        place = self.chosen_head
        return *place, *self._data.place(*place, *(self.selected or (None, None)))

    @property
    def cell(self) -> CellBytes:
        return self._data.cell(*self.shown)

    # -- for the browser ------------------------------------------------------------------------

    def _names(self, cell: CellBytes) -> list[str]:
        """All names by which the browser may request this score."""
        i = cell.info
        kind, layer, head, query, key = (i[n] for n in ("kind", "layer", "head", "query", "key"))
        return [
            cell_name(kind, layer, head, *pair)
            for pair in ((query, key), (query, None), (None, key), (None, None))
            if self._data.place(kind, layer, head, *pair) == (query, key)
        ]

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        kind, layer, head, query, key = read_name(name)
        return self._described(kind, layer, head, *self._data.place(kind, layer, head, query, key))

    def _described(self, *place: Any) -> tuple[dict[str, Any], list[bytes]]:
        cell = self._data.cell(*place)
        return {**cell.info, "names": self._names(cell)}, [cell.data]

    def _page_state(self, **options: Any) -> dict[str, Any]:
        kind, layer, head, query, _ = self.shown
        state = super()._page_state(**options)
        token = self._data.queries[kind][query]
        if not self.carried:
            state["_held"] = f"the row of “{token}” ({query}) of layer {layer}, head {head}"
        return state

    def _blocks(self) -> Iterable[Block]:
        kind, layer, head, query, shown = self.shown
        for key in self._data.row(kind, layer, head, query):
            if key != shown:
                name = cell_name(kind, layer, head, query, key)
                yield Block(name, *self._described(kind, layer, head, query, key))


def numbers_of(cell: CellBytes) -> dict[str, Any]:
    """The numbers of a cell by name, as the scene reads them."""
    found = call(VIEWS / "why" / "cell.js", "cellOf", cell.info, cell.data)
    for split in found["splits"].values():
        split["table"] = split["table"].reshape(split["shape"])
    return found
