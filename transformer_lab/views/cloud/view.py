"""The tokens as one head sees them: its vectors as points in a plane."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import traitlets as t

from ..pages.export import Block
from ..shared.base import css, esm
from ..shared.codecs import pack_floats, shown_token
from ..shared.scripted import ScriptedView
from ..shared.selection import (
    SelectionView,
    check_places,
    check_traced,
    kind_of,
    sizes_of,
    traits_of,
)
from .data import Plane, plane_of

if TYPE_CHECKING:
    from ...tracing.trace import Trace

COLOURS = ("token", "position", "attention")
MOST = 2_000_000  # limit on numbers of other heads that are computed for a page
WHOLE = 512 * 512  # up to this many weights, a whole map is sent; above, single rows
KEPT = 2**25  # weights of heads that are cached
SHOWS = ("scores", "values")


class CloudView(ScriptedView, SelectionView):
    """Queries and keys of one head as points whose products are its scores, or its values and outputs.

    No other planes hold more of the variance: of the scores above each row's mean (all that the
    softmax depends on), and of the values. The sentence says how much, with vectors of the same
    lengths in random directions as a control. `layer`, `head`, `kind`, `selected` (the chosen
    query, and key), `shows` ("scores" or "values") and `colour` ("token", "position" or
    "attention") can be read and set from Python.

    Args:
        trace: what `transformer_lab.trace(..., keep="all")` returned.
        layer, head: chosen at first.
        kind: "decoder", "encoder" or "cross"; by default the trace's first choice.
        batch: which text of the trace.
        title: the model's name by default.
        link: as in `HeadView`.

    Raises:
        ValueError: if the trace has no such layer or head, or kept no queries, keys and values.
    """

    absent: ClassVar[str] = "a page of a text this long leaves it out; a notebook shows it"
    _esm: ClassVar[str] = esm("cloud/view.js")
    _css: ClassVar[str] = css("cloud")
    _folder: ClassVar[str] = "cloud"
    shown = SelectionView.chosen_head

    shows = t.Enum(SHOWS, "scores").tag(sync=True)
    colour = t.Enum(COLOURS, "token").tag(sync=True)

    def __init__(
        self,
        trace: Trace,
        layer: int | None = None,
        head: int = 0,
        *,
        kind: str | None = None,
        batch: int = 0,
        shows: str = "scores",
        colour: str = "token",
        title: str | None = None,
        link: str | None = None,
    ):
        check_traced(trace, batch)
        kind = kind_of(trace, kind)
        sizes = sizes_of(trace)
        most = max(size["queries"] * size["keys"] for size in sizes.values())
        keeping = lru_cache(max(1, min(64, KEPT // most)))
        self.trace, self._of = trace, keeping(partial(plane_of, trace, batch=batch))
        check_places(layer=(layer, sizes[kind]["layers"]), head=(head, sizes[kind]["heads"]))
        for name, size in sizes.items():
            own: dict[str, Any] = {"query_tokens": trace.query_tokens(name, batch)}
            own |= {"key_tokens": trace.key_tokens(name, batch)}
            size.update({side: [shown_token(x) for x in tokens] for side, tokens in own.items()})  # pyright: ignore
        super().__init__(**traits_of(trace, batch, title, link, "One head"), _kinds=sizes)
        self.kind, self.head, self.shows, self.colour = kind, head, shows, colour
        self.layer = trace.attending(kind)[0] if layer is None else layer
        self._hold()

    @property
    def plane(self) -> Plane:
        """The points that are shown."""
        return self._of(*self.chosen_head)

    # -- for the browser ------------------------------------------------------------------------

    def _block(self, kind: str, layer: int, head: int) -> tuple[dict[str, Any], list[bytes]]:
        one = self._of(kind, layer, head)
        info = dict(kind=kind, layer=layer, head=head, kept=one.kept, chance=one.chance)
        parts = [one.queries, one.keys, one.values, one.outputs, one.pattern.mean(0)]
        if one.pattern.numel() <= WHOLE:
            parts.append(one.pattern)
        return info, [pack_floats(torch.cat([x.flatten() for x in parts]))]

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        what, kind, *numbers = name.split("/")
        layer, head, *query = map(int, numbers)
        if what == "row":
            return {}, [pack_floats(self._of(kind, layer, head).pattern[query[0]])]
        return self._block(kind, layer, head)

    def _blocks(self, **options: Any) -> Iterable[Block]:
        left = MOST
        for kind, size in self.kinds.items():
            for layer in self.trace.attending(kind):
                for head in range(size["heads"]):
                    left -= (size["queries"] + 4) * (size["keys"] + 4)
                    if left > 0 and (kind, layer, head) != self.chosen_head:
                        yield Block(f"plane/{kind}/{layer}/{head}", *self._block(kind, layer, head))
