"""One block, step by step: a token's numbers through attention and feed-forward."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets as t

from ..pages.export import Block
from ..shared.base import css, esm
from ..shared.embedded_model import EmbeddedModel
from ..shared.javascript import NoJavaScript, call
from ..shared.modules import VIEWS
from ..shared.scripted import ScriptedView
from ..shared.selection import SelectionView, check_places, check_traced, traits_of
from .data import BlockData, walk_name

if TYPE_CHECKING:
    from ...tracing.trace import Trace

PAGE_BYTES = 8 * 2**20  # limit on other tokens and heads in a saved page
BESIDE_MODEL = 2**19  # the same for a page that embeds the model and computes the rest


class BlockView(ScriptedView, SelectionView):
    """One token's way through one block: norm, query · keys, scale, mask, softmax, values, W_O, the
    residual connection, feed-forward, and what the stream would predict then.

    Each step has its numbers and a sentence. Arrow keys move between steps.

    `layer`, `head`, `kind` and `selected` can be read and set from Python, as in `HeadView`, and
    follow the other views of the page: the token is the selected query, by default the last one.
    `step` is the name of the stage, one of `steps`. A saved page can embed the model, as an
    `Explorer`'s page does (`save_html(path, model=None)`), and then walks through every block of
    other texts. A page without the model holds the chosen token with every head of the layer, and
    the chosen head with as many other tokens as fit into 8 MB.

    Args:
        trace: what `transformer_lab.trace(..., keep="all")` returned; the default for short texts.
        layer, head: chosen at first.
        position: the token chosen at first; −1 is the last.
        step: "stream", "norm", "product", "scale", "mask", "softmax", "values", "heads", "add",
            "cross", "norm2", "mlp", "add2" or "answer", if the block has it.
        kind: "decoder" or "encoder"; by default the trace's first of these.
        batch: which text of the trace.
        title: the model's name by default.
        link: as in `HeadView`.

    Raises:
        ValueError: if the trace has no such layer, head, position or step, or kept no values (a
            `TraceError`); a `PartsError` if the block is not a known sum of attention and
            feed-forward.
    """

    _esm: ClassVar[str] = esm("block/view.js")
    _css: ClassVar[str] = css("block")
    _folder: ClassVar[str] = "block"
    absent: ClassVar[str] = "this page does not hold that token with that head"

    step = t.Unicode("stream").tag(sync=True)

    def __init__(
        self,
        trace: Trace,
        layer: int | None = None,
        head: int = 0,
        position: int = -1,
        *,
        step: str = "stream",
        kind: str | None = None,
        batch: int = 0,
        title: str | None = None,
        link: str | None = None,
    ):
        check_traced(trace, batch)
        self.trace, self._data = trace, BlockData(trace, batch)
        kinds = self._data.kinds()
        kind = kind or ("decoder" if "decoder" in kinds else next(iter(kinds), ""))
        if kind not in kinds:
            raise ValueError(
                f"kind={kind!r} has no blocks of its own in this trace; it has {', '.join(kinds) or 'none'}"
            )
        size = kinds[kind]
        check_places(layer=(layer, size["layers"]), head=(head, size["heads"]))
        n = size["queries"]
        if not -n <= position < n:
            raise ValueError(f"position={position} is outside the {n} tokens (0 … {n - 1})")
        layer = trace.attending(kind)[0] if layer is None else layer
        info, _ = self._data.walk(kind, layer, head, position % n)
        with suppress(NoJavaScript):  # then a page shows the first step
            if step not in (names := steps_of(info)):
                raise ValueError(
                    f"step={step!r} is not one of this block’s steps: {', '.join(names)}"
                )
        self._embedded = EmbeddedModel(self._subjects)
        super().__init__(**traits_of(trace, batch, title, link, "One block"), _kinds=kinds)
        with self.hold_sync():
            self.kind, self.layer, self.head, self.step = kind, layer, head, step
            self.selected = None if position in (-1, n - 1) else (position % n, None)
            self._hold()

    # -- for people -----------------------------------------------------------------------------

    @property
    def shown(self) -> tuple[str, int, int, int]:
        """(kind, layer, head, position) of what is shown."""
        last = self.kinds[self.kind]["queries"] - 1
        query, _ = self.selected or (None, None)
        return *self.chosen_head, last if query is None else min(query, last)

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the steps of this block, in order."""
        return steps_of(self._data.walk(*self.shown)[0])

    # -- for the browser ------------------------------------------------------------------------

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        return self._data.part(name)

    def _page_state(self, **options: Any) -> dict[str, Any]:
        state = super()._page_state(**options)
        if self.carried:
            return state
        _, layer, head, position = self.shown
        token = self._data.tokens[self.kind][position]
        state["_held"] = (
            f"layer {layer}: “{token}” ({position}) with every head, and head {head} with the tokens around it"
        )
        held = f"This page holds {state['_held']}."
        state["_note"] = " ".join(filter(None, (state["_note"], held)))
        return state

    def _blocks(self) -> Iterable[Block]:
        kind, layer, head, position = self.shown
        size = self.kinds[kind]
        places = [(h, position) for h in range(size["heads"]) if h != head]
        around = sorted(range(size["queries"]), key=lambda p: abs(p - position))
        places += [(head, p) for p in around if p != position]
        left = BESIDE_MODEL if self.carried else PAGE_BYTES
        for h, p in places:
            info, data = self._data.walk(kind, layer, h, p)
            left -= len(data) + len(json.dumps(info))
            if left < 0:
                return
            yield Block(walk_name(kind, layer, h, p), info, [data])


def steps_of(info: dict[str, Any]) -> tuple[str, ...]:
    return tuple(call(VIEWS / "block" / "scene.js", "stepsOf", info))
