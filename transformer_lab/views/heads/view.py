"""All heads of a trace: thumbnails in a grid, the chosen head as lines and as a map."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets as t
from torch import Tensor

from ..pages.export import Block
from ..shared.base import css, esm
from ..shared.embedded_model import EmbeddedModel, joined
from ..shared.selection import SelectionView, link_of
from ..shared.traits import Int
from .heads import Shows
from .long import LongHeads
from .pins import Pins, pin, pinned_beside
from .scene import ShownHead, every_head_scene, head_scene, layer_scene
from .spans import Spans, span
from .texts import Texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...heads.spans import Span
    from ...tracing.trace import Trace
    from ..marks.scene import Scene
    from ..shared.base import Answer
    from ..shared.plots import Plot
    from .heads import Place


class HeadView(SelectionView):
    """The heads of a trace, interactive.

    `layer`, `head`, `kind` and `selected` (a pair query, key, either of which may be None; or
    None) can be read and set from Python; they follow what the reader does. In a batch, `text` is
    the number of the text shown, or "mean" or "spread" over all of them: see
    `transformer_lab.heads.average_map`. `mark(a, b)` shows only the attention from span `a` of the
    queries to span `b` of the keys. The maps of `pins`, at most four (layer, head), are shown
    beside that of the chosen head.

    The map can be zoomed and moved. For texts of more than 4,096 tokens (1,024 if the browser
    cannot compute maps from queries and keys) each point is the largest of several weights, down to
    single weights on zooming in (`transformer_lab.tracing.pyramid`); pictures and files hold these
    points. A page holds the chosen head, down to a level that it states.

    Args:
        trace: what `transformer_lab.trace` returned.
        layer, head: the head chosen at first; by default in the first layer that has heads.
        kind: "decoder", "encoder" or "cross"; by default the trace's first choice.
        batch: the text of the trace that is shown at first.
        a, b: (start, end), as in slices, of queries and of keys: the block shown at first. See
            `transformer_lab.heads.share_between` and `transformer_lab.heads.segments`.
        pins: (layer, head) of heads that are pinned beside the chosen one.
        title: the model's name by default.
        link: views with the same link follow each other; by default those of one model on one
            text. "" unlinks this view.

    Raises:
        ValueError: if the trace has no such kind, layer, head or text, or the block from a to b
            cannot be shown (see `mark`); for more than four pins, or a repeated one.
    """

    _esm: ClassVar[str] = esm("heads/view.js")
    _css: ClassVar[str] = css("heads")

    text = t.Union([Int(), t.Unicode()], default_value=0).tag(sync=True)
    a = span()
    b = span()
    pins = Pins().tag(sync=True)

    _options = t.Dict().tag(sync=True)  # what is hidden, weighted, coloured: see viewer.js

    def __init__(
        self,
        trace: Trace,
        *,
        layer: int | None = None,
        head: int = 0,
        kind: str | None = None,
        batch: int = 0,
        a: Span | None = None,
        b: Span | None = None,
        pins: Iterable[tuple[int, int]] = (),
        title: str | None = None,
        link: str | None = None,
    ):
        self._choice = Texts(trace, batch)
        heads = self._choice.heads
        kind = heads.usual_kind(kind)
        self._spans = Spans(self, self._choice)
        self._embedded = EmbeddedModel(self._texts_to_read)
        super().__init__(
            text=batch,
            _batch=batch,
            _held_text=batch,
            _texts=self._choice.about(kind),
            title=title or trace.model_name or "Heads",
            of=(trace,),
            link=link_of(trace) if link is None else link,
        )
        first = trace.attending(kind)[0] if layer is None else layer
        self._look_at(heads, (kind, first, head))
        self.mark(a, b)
        pin(self, pins)

    @t.validate("text")
    def _check_text(self, proposal: Any) -> int | str:
        try:
            self._choice.check(proposal["value"])
        except ValueError as error:
            raise t.TraitError(str(error)) from None
        return proposal["value"]

    @t.observe("text")
    def _text_changed(self, _change: Any) -> None:
        if self.text == self._choice.text:
            return
        heads, before = self._choice.show(self.text), self.kinds
        with self.hold_sync():
            self._look_at(heads, self.shown)
            self._spans.text_changed(before)
            sizes = [heads.kinds[self.kind][name] for name in ("queries", "keys")]
            chosen = zip(self.selected or (), sizes, strict=False)
            if any(at is not None and at >= size for at, size in chosen):
                self.selected = None
            self._publish(_held_text=self.text)
            if isinstance(self.text, int):
                self._publish(_batch=self.text)

    @t.validate("a", "b")
    def _check_spans(self, proposal: Any) -> Span | None:
        return self._spans.checked(proposal)

    # -- for people -----------------------------------------------------------------------------

    @property
    def trace(self) -> Trace:
        """The trace that is shown, with all its texts."""
        return self._choice.trace

    shown = SelectionView.chosen_head

    @property
    def shows(self) -> Shows:
        """Which keys are hidden, and whether weights are multiplied by value length."""
        return Shows.of(self._options, self.kinds[self.kind])

    def mark(self, a: Span | None = None, b: Span | None = None) -> None:
        """Show the attention from span a to span b; with neither, the whole map again.

        Raises:
            ValueError: for one span without the other, one that is empty, reversed or out of range,
                different spans of one text that overlap, and keys that no query of a can attend to.
        """
        self._spans.mark(a, b)

    @property
    def block(self) -> tuple[Span, Span] | None:
        """The spans (a, b) shown; None for the whole map, and for averages over several texts."""
        return self._spans.block

    def row(self, query: int) -> Tensor:
        """A query's weights [key], as shown (without hidden keys, value-weighted)."""
        return self.heads.map(self.shown, self.shows, query)

    @property
    def sentence(self) -> str:
        if self.block is None or self.selected:
            return self.heads.said(self.shown, self.shows, self.selected)
        return self._spans.sentence(self.heads)

    def to_plotly(self, *, theme: str = "light", facets: str | None = None) -> Plot:
        """Plot the chosen head as a plotly heat map, [query, key], with pinned heads beside it.

        Args:
            theme: as in `View.to_plotly`.
            facets: "layer": all heads of the chosen layer; "all": all heads of all layers, as
                thumbnails.

        Raises:
            ValueError: for another theme, or other facets.
        """
        from ..marks.draw_plotly import plotly_of

        return plotly_of(self._scene(facets), theme)

    def _scene(self, facets: str | None = None) -> Scene:
        kind, layer, _ = self.shown
        if facets is None:
            return head_scene(self._shown_head())
        if facets == "all":
            sinks = bool(self.heads.data.sinks[kind])
            return every_head_scene(self._whole_head(), sinks=sinks)
        if facets != "layer":
            raise ValueError(f"facets={facets!r} is not known; choose 'layer', 'all' or None")
        places = [(kind, layer, head) for head in range(self.heads.kinds[kind]["heads"])]
        return layer_scene(self._shown_head(), [self._shown_head(at) for at in places])

    def _shown_head(self, place: Place | None = None) -> ShownHead:
        whole = self._whole_head(place)
        return whole if self.block is None else whole.part(*self.block)

    def _whole_head(self, place: Place | None = None) -> ShownHead:
        at = place or self.shown
        beside = pinned_beside(self, at) if place is None else []
        pins = [self.heads.pinned(one, self.shows) for one in beside]
        return self.heads.scene(
            at, self.shows, self.selected, self._title, self.sentence, pins=pins
        )

    def save_html(
        self,
        path: str | os.PathLike,
        layers: Sequence[int] | None = None,
        *,
        model: bool | None = None,
        precision: str = "auto",
        theme: str | None = None,
    ) -> Path:
        """Write one self-contained page: offline, interactive, with the current selection.

        Args:
            path: the file.
            layers: keep only the heads of these layers, of every kind; the page says so. Default:
                all heads.
            model, precision: whether the page embeds the model, to take other texts, and the
                precision of its weights. As in `Explorer`.
            theme: "light" or "dark"; by default that of the reader's system.

        Raises:
            ValueError: for a layer that the trace does not have, or a path that cannot be written;
                with model=True, for a trace not made by a TextModel, or a model that cannot be
                embedded.
        """
        return super().save_html(path, layers=layers, model=model, precision=precision, theme=theme)

    # -- for pages and the browser ----------------------------------------------------------------

    def _subjects(self) -> Sequence[Any]:
        return (self.trace,)

    def _requests(self) -> dict[str, Callable[[Any], Answer]]:
        profile = {"profile/": self._choice.answer_profile}
        return super()._requests() | self._spans.requests() | profile

    def _part_named(self, name: str) -> Answer:
        return self.heads.answer(name)

    def _page_state(self, layers: Sequence[int] | None = None) -> dict[str, Any]:
        state = super()._page_state()
        state |= self.heads.page_traits(self.shown, layers, state["_note"])
        note = self._choice.page_note(layers)
        if note:
            state["_texts"] = {**state["_texts"], "held": [self.text]}
        state["_note"] = joined(state["_note"], note, self.heads.page_note(self.shown, layers))
        return state

    def _texts_to_read(self) -> Sequence[Trace]:
        """The traces whose model a page may embed; none for a text shown as a pyramid of tiles."""
        return () if isinstance(self.heads, LongHeads) else self._subjects()

    def _blocks(self, layers: Sequence[int] | None = None) -> Iterable[Block]:
        yield from self.heads.page_blocks(self.shown, layers, self.shows, self.selected)
        yield from self._choice.page_blocks(self.shown, layers)
        yield from self._spans.page_blocks(self.heads, layers)
