"""Every head of a trace: small in a grid, the chosen one as lines and as a map."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets as t
from torch import Tensor

from .base import css, esm
from .codecs import shown_text
from .export import Block
from .head_data import HeadData
from .head_figure import head_figure
from .selection import SelectionView, link_of
from .words import Seen, cell_sentence, head_sentence, key_sentence, query_sentence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..trace import Trace

ROWS_FOR_A_SENTENCE = 256
WITHOUT_BLOCKS = 2**18  # bytes of maps that a page reads at once


class HeadView(SelectionView):
    """Heads of a trace, interactive.

    `layer`, `head`, `kind` and `selected` (a pair query, key, either of which may be None; or
    None) can be read and set from Python; they follow what the reader does.

    Args:
        trace: what `transformer_lab.trace` returned.
        layer, head: the head to begin with.
        kind: "decoder", "encoder" or "cross"; by default the trace's first choice.
        batch: which text of the trace.
        title: by default the model's name.
        link: views with the same one follow each other; by default those of one model on one
            text. "" lets this view go its own way.

    Raises:
        ValueError: when the trace has no such kind, layer, head or text.
    """

    _esm: ClassVar[str] = esm("head_view.js")
    _css: ClassVar[str] = css("view.css")

    _options = t.Dict().tag(sync=True)  # what is hidden, weighted, coloured: see head_view.js
    _thumbs = t.Bytes(b"").tag(sync=True)
    _maps = t.Bytes(b"").tag(sync=True)
    _norms = t.Bytes(b"").tag(sync=True)
    _first = t.Dict().tag(sync=True)
    _first_data = t.Bytes(b"").tag(sync=True)
    _first_norms = t.Bytes(b"").tag(sync=True)
    _note = t.Unicode("").tag(sync=True)
    _value_note = t.Unicode("").tag(sync=True)
    _batch = t.Int(0).tag(sync=True)

    def __init__(
        self,
        trace: Trace,
        *,
        layer: int = 0,
        head: int = 0,
        kind: str | None = None,
        batch: int = 0,
        title: str | None = None,
        link: str | None = None,
    ):
        if not hasattr(trace, "thumbnails"):
            raise ValueError(
                f"trace is a {type(trace).__name__}; give what transformer_lab.trace(...) returned"
            )
        kind = kind or ("decoder" if "decoder" in trace.kinds else trace.kinds[0])
        if kind not in trace.kinds:
            raise ValueError(f"kind={kind!r} is not in this trace; it has {', '.join(trace.kinds)}")
        if not 0 <= batch < trace.batch_size:
            raise ValueError(f"batch={batch} is outside the {trace.batch_size} texts of this trace")
        super().__init__(
            _batch=batch,
            _title=shown_text(title or trace.model_name or "Heads"),
            link=link_of(trace) if link is None else link,
        )
        self._look_at(trace, kind, layer, head)

    def _look_at(self, trace: Trace, kind: str, layer: int, head: int) -> None:
        """Take everything from this trace, and begin with this head."""
        data = HeadData(trace, self._batch)
        kinds = data.kinds()
        _within("layer", layer, kinds[kind]["layers"])
        _within("head", head, kinds[kind]["heads"])
        maps, norms = data.maps() if data.all_maps else (b"", b"")
        first = None if maps else data.head(kind, layer, head)
        self.trace, self._data = trace, data
        with self.hold_sync():
            self._kinds = kinds
            self.kind, self.layer, self.head = kind, layer, head
            self._maps, self._norms = maps, norms
            self._note, self._value_note = (
                shown_text(trace.note or ""),
                shown_text(trace.value_note),
            )
            self.set_trait("_first", {})  # two heads may share a name while their maps differ
            for name, value in _first_traits(kind, layer, head, first).items():
                self.set_trait(name, value)
            self._thumbs = data.thumbnails()

    # -- state ----------------------------------------------------------------------------------

    @property
    def shown(self) -> tuple[str, int, int]:
        """(kind, layer, head) on view."""
        kind = self._kinds[self.kind]
        return self.kind, min(self.layer, kind["layers"] - 1), min(self.head, kind["heads"] - 1)

    # -- for people -----------------------------------------------------------------------------

    def row(self, query: int) -> Tensor:
        """[key]: what a query gives to each key, as shown (hidden keys left out, value-weighted)."""
        return self._shown_map(query)

    @property
    def sentence(self) -> str:
        seen, n_query = self._seen(), self._data.shown(self.kind)[0]
        weights = self._shown_map()
        query, key = self.selected or (None, None)
        if query is not None and key is not None:
            return cell_sentence(seen, query, key, weights[query])
        if query is not None:
            return query_sentence(seen, query, weights[query])
        if key is not None:
            return key_sentence(seen, key, weights[:, key])
        if n_query <= 1024:
            return head_sentence(seen, weights.__getitem__, n_query)
        text = head_sentence(seen, weights.__getitem__, ROWS_FOR_A_SENTENCE)
        return f"{text} ({ROWS_FOR_A_SENTENCE} of its rows were looked at.)"

    def _seen(self) -> Seen:
        kind, layer, head = self.shown
        n_query, n_key = self._data.shown(kind)
        return Seen(
            kind, layer, head, len(self._kinds) > 1,
            self._data.queries[kind][:n_query], self._data.keys[kind][:n_key],
            causal=self._kinds[kind]["causal"], same=self._kinds[kind]["same"],
            value_weighted=self._value_weighted,
        )  # fmt: skip

    def figure(self) -> Figure:
        """Every head small beside the chosen one as a map, titled with the sentence."""
        kind, layer, head = self.shown
        return head_figure(
            title=self._title,
            sentence=self.sentence,
            thumbnails=self._data.thumbnail(kind),
            weights=self._shown_map(),
            queries=self._data.queries[kind],
            keys=self._data.keys[kind],
            layer=layer,
            head=head,
            causal=self._kinds[kind]["causal"],
            hidden=self._hidden,
            selected=self.selected,
            value_weighted=self._value_weighted,
        )

    def save_html(
        self,
        path: str | os.PathLike,
        layers: Sequence[int] | None = None,
        *,
        theme: str | None = None,
    ) -> Path:
        """Write one self-contained page: offline, interactive, with the present selection.

        Args:
            path: the file.
            layers: keep only the heads of these layers (of the kind on view, and of all others);
                the page says so. Default: every head.
            theme: "light" or "dark"; by default as the reader's system.

        Raises:
            ValueError: for a layer that the trace has not, or a path that cannot hold a file.
        """
        return super().save_html(path, layers=layers, theme=theme)

    # -- what is shown --------------------------------------------------------------------------

    @property
    def _value_weighted(self) -> bool:
        return self._options.get("weights") == "value" and self._kinds[self.kind]["has_norms"]

    @property
    def _hidden(self) -> list[int]:
        """Keys that are left out."""
        kind = self._kinds[self.kind]
        first = [0] if self._options.get("hide_first") else []
        special = kind["special"] if self._options.get("hide_special") else []
        return sorted({*first, *special})

    def _shown_map(self, query: int | None = None) -> Tensor:
        """[query, key], or one row of it, as the browser shows it."""
        return self._map_of(self.trace, query)

    def _map_of(self, trace: Trace, query: int | None = None) -> Tensor:
        kind, layer, head = self.shown
        n_query, n_key = self._data.shown(kind)
        weights = trace.pattern(layer, head, kind=kind, batch=self._batch)[:n_query, :n_key]
        weights = weights.cpu() if query is None else weights[query].cpu()
        if self._hidden:
            whole = weights.sum(-1, keepdim=True)
            weights = weights.clone()
            weights[..., self._hidden] = 0
            kept = weights.sum(-1, keepdim=True)
            weights = weights * (whole / kept.clamp(min=1e-12)).where(kept > 1e-6, 0)
        if self._value_weighted:
            norms = trace.value_norms(layer, head, kind=kind, batch=self._batch)
            assert norms is not None
            weights = weights * norms[:n_key].cpu()
        return weights

    # -- for the browser ------------------------------------------------------------------------

    def _answer(self, question: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        if question.get("type") != "block":
            return super()._answer(question)
        kind, layer, head = str(question["name"]).split("/")
        found = self._data.head(kind, int(layer), int(head))
        return {"type": "block", "info": found.info}, found.buffers

    def _page_state(self, layers: Sequence[int] | None = None) -> dict[str, Any]:
        """The first screen: every thumbnail, and the head that is on view."""
        state = super()._page_state()
        if layers is not None:
            state["_note"] = f"{self._note} {self._limits(layers)}".strip()
        if not self._in_blocks(layers):
            return state
        kind, layer, head = self.shown
        state.update(_maps=b"", _norms=b"")
        state.update(_first_traits(kind, layer, head, self._data.head(kind, layer, head)))
        return state

    def _blocks(self, layers: Sequence[int] | None = None) -> Iterable[Block]:
        if not self._in_blocks(layers):
            return
        kinds = sorted(self._kinds, key=lambda name: name != self.kind)
        for kind in kinds:
            for layer in range(self._kinds[kind]["layers"]):
                if layers is not None and layer not in layers:
                    continue
                for head in range(self._kinds[kind]["heads"]):
                    found = self._data.head(kind, layer, head)
                    yield Block(f"{kind}/{layer}/{head}", found.info, found.buffers)

    def _in_blocks(self, layers: Sequence[int] | None) -> bool:
        """Whether a page holds its heads one by one, to show the first before the rest is read."""
        small = bool(self._maps) and len(self._maps) < WITHOUT_BLOCKS
        return bool(self._kinds) and not (small and layers is None)

    def _limits(self, layers: Sequence[int]) -> str:
        most = max(kind["layers"] for kind in self._kinds.values())
        wrong = [layer for layer in layers if not 0 <= layer < most]
        if wrong or not layers:
            raise ValueError(f"layers={list(layers)} must name some of the layers 0 … {most - 1}")
        kept = ", ".join(str(layer) for layer in sorted(set(layers)))
        word = "layer" if len(set(layers)) == 1 else "layers"
        return f"This page keeps the heads of {word} {kept}, of {most}; the small maps show all."


def _first_traits(kind: str, layer: int, head: int, found: Any) -> dict[str, Any]:
    if found is None:
        return {"_first": {}, "_first_data": b"", "_first_norms": b""}
    return {
        "_first": {**found.info, "name": f"{kind}/{layer}/{head}"},
        "_first_data": found.data,
        "_first_norms": found.norms,
    }


def _within(name: str, value: int, count: int) -> None:
    if not 0 <= value < count:
        raise ValueError(f"{name}={value} is outside 0 … {count - 1}")
