"""Why here: one score, from the parts of a dot product to a weight."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets as t

from ..pages.export import Block
from ..shared.base import css, esm
from ..shared.embedded_model import EmbeddedModel
from ..shared.messages import messages, numbered
from ..shared.selection import SelectionView, check_places, check_traced, kind_of, traits_of
from .data import CellBytes, WhyData, cell_name, read_name
from .scene import why_scene

say = messages("why")

if TYPE_CHECKING:
    from ...tracing.trace import Trace
    from ..marks.scene import Scene


class WhyView(SelectionView):
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
        kinds = self._data.kinds()
        size = kinds[kind]
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
            self._keep(self.cell)

    # -- for people -----------------------------------------------------------------------------

    @property
    def shown(self) -> tuple[str, int, int, int, int]:
        """(kind, layer, head, query, key) of what is shown."""
        size = self.kinds[self.kind]
        layer, head = min(self.layer, size["layers"] - 1), min(self.head, size["heads"] - 1)
        layer = self._data.with_heads(self.kind, layer)
        query, key = self._data.place(self.kind, layer, head, *(self.selected or (None, None)))
        return self.kind, layer, head, query, key

    @property
    def cell(self) -> CellBytes:
        return self._data.cell(*self.shown)

    @property
    def sentence(self) -> str:
        return say("sentence", **self._why())

    def _why(self) -> dict[str, Any]:
        """The values in the sentence."""
        cell = self.cell
        info, numbers = cell.info, numbers_of(cell)
        above = bool(self._options.get("above")) and info["mean"] is not None
        products = numbers["above_products" if above else "products"]
        split = numbers["splits"].get("above" if above else "score")
        sides: dict[str, Any] = {"key_part": None}
        if split is not None:
            for side in ("key", "query"):
                best = int(np.argmax(np.abs(split[side])))
                sides[f"{side}_part"] = info["sources"][side]["names"][best]
                sides[f"{side}_value"] = float(split[side][best])
        best = int(np.argmax(np.abs(products)))
        return dict(
            several=len(self.kinds) > 1,
            kind=self.kind,
            layer=info["layer"],
            head=info["head"],
            query=numbered(self._data.queries[self.kind], info["query"]),
            key=numbered(self._data.keys[self.kind], info["key"]),
            weight=info["weight"],
            scaled=info["scaled"],
            score=info["score"],
            apart=None if info["mean"] is None else info["scaled"] - info["mean"],
            above=above,
            dimension=best,
            product=float(products[best]),
            **sides,
        )

    def _scene(self) -> Scene:
        cell = self.cell
        return why_scene(
            title=self._title,
            sentence=self.sentence,
            above=self._why()["above"],
            info=cell.info,
            numbers=numbers_of(cell),
            keys=self._data.keys[self.kind],
        )

    # -- for the browser ------------------------------------------------------------------------

    def _keep(self, cell: CellBytes) -> None:
        """Publish what the first screen shows."""
        self._publish(_cell={**cell.info, "names": self._names(cell)}, _cell_data=cell.data)

    def _names(self, cell: CellBytes) -> list[str]:
        """All names by which the browser may request this score."""
        i = cell.info
        kind, layer, head, query, key = (i[n] for n in ("kind", "layer", "head", "query", "key"))
        names = [(query, key)]
        for pair in ((query, None), (None, key), (None, None)):
            if self._data.place(kind, layer, head, *pair) == (query, key):
                names.append(pair)
        return [cell_name(kind, layer, head, *pair) for pair in names]

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        kind, layer, head, query, key = read_name(name)
        if kind not in self.kinds:
            raise ValueError(f"kind={kind!r} is not in this trace")
        cell = self._data.cell(kind, layer, head, *self._data.place(kind, layer, head, query, key))
        return {**cell.info, "names": self._names(cell)}, [cell.data]

    def _page_state(self, **options: Any) -> dict[str, Any]:
        cell = self.cell
        kind, layer, head, query, _ = self.shown
        self._keep(cell)
        state = super()._page_state(**options)
        token = self._data.queries[kind][query]
        if not self.carried:
            state["_held"] = f"the row of “{token}” ({query}) of layer {layer}, head {head}"
        return state

    def _blocks(self) -> Iterable[Block]:
        kind, layer, head, query, shown = self.shown
        for key in self._data.row(kind, layer, head, query):
            if key != shown:
                cell = self._data.cell(kind, layer, head, query, key)
                name = cell_name(kind, layer, head, query, key)
                yield Block(name, {**cell.info, "names": self._names(cell)}, [cell.data])


def numbers_of(cell: CellBytes) -> dict[str, Any]:
    """The numbers of a cell by name, as the browser reads them."""
    info, flat = cell.info, np.frombuffer(cell.data, "<f4")
    at = 0

    def take(*shape: int) -> np.ndarray:
        nonlocal at
        size = int(np.prod(shape))
        at += size
        return flat[at - size : at].reshape(shape)

    d, keys = info["d"], info["keys"]
    found: dict[str, Any] = {n: take(d) for n in ("q", "k", "products")}
    found |= {n: take(keys) for n in ("scores", "weights")}
    if info["mean"] is not None:
        found |= {n: take(d) for n in ("above_k", "above_products")}
    found["splits"] = {
        name: {
            "query": take(len(info["sources"]["query"]["names"])),
            "key": take(len(info["sources"]["key"]["names"])),
            "table": take(*split["shape"]),
        }
        for name, split in info["splits"].items()
    }
    return found
