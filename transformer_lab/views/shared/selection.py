"""One selection for all views of a trace: layer, head, kind, query and key."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import traitlets as t

from .base import View
from .codecs import shown_text
from .traits import Int

if TYPE_CHECKING:
    from ...tracing.trace import Trace


def check_traced(trace: Any, batch: int, has: str = "residual_norms") -> None:
    """`has`: what a view asks of it.

    Raises:
        ValueError: for what is no trace, and a text that it has not.
    """
    if not hasattr(trace, has):
        raise ValueError(
            f"trace is a {type(trace).__name__}; give what transformer_lab.trace(...) returned"
        )
    if not 0 <= batch < trace.batch_size:
        raise ValueError(f"batch={batch} is outside the {trace.batch_size} texts of this trace")


def check_places(**places: tuple[int | None, int]) -> None:
    """Each a place (None: not named) and how many there are.

    Raises:
        ValueError: for one that is not there.
    """
    for name, (value, count) in places.items():
        if value is not None and not 0 <= value < count:
            raise ValueError(f"{name}={value} is outside 0 … {count - 1}")


def kind_of(trace: Trace, kind: str | None) -> str:
    """The kind of attention to begin with: by default the decoder's, or the trace's first.

    Raises:
        ValueError: for one that the trace has not.
    """
    kind = kind or ("decoder" if "decoder" in trace.kinds else trace.kinds[0])
    if kind not in trace.kinds:
        raise ValueError(f"kind={kind!r} is not in this trace; it has {', '.join(trace.kinds)}")
    return kind


def traits_of(
    trace: Trace, batch: int, title: str | None, link: str | None, otherwise: str
) -> dict[str, Any]:
    """What a view of one text of a trace begins with; `otherwise`: its title where nothing has a name."""
    return dict(
        title=title or trace.model_name or otherwise,
        of=(trace,),
        _batch=batch,
        link=link_of(trace) if link is None else link,
        _note=shown_text(trace.note or ""),
    )


def link_of(trace: Trace) -> str:
    """The group of a trace's views: the same for every trace of one model on one text."""
    text = "" if trace.tokens is None else str(trace.tokens.tolist())
    parts = [trace.model_name, text, str(trace.kinds)]
    parts += [f"{name} {_content(x)}" for name, x in sorted(trace.given.items())]
    parts += [] if trace.target is None else [str(trace.target.tolist())]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def sizes_of(trace: Trace) -> dict[str, dict[str, int]]:
    """Of each kind of attention, what views that share a selection agree on."""
    sizes = {}
    for kind in trace.kinds:
        n_query, n_key = trace.shape(kind)
        sizes[kind] = dict(
            layers=trace.n_layers(kind), heads=trace.n_heads(kind), queries=n_query, keys=n_key
        )
    return sizes


def _content(given: Any) -> str:
    if not hasattr(given, "detach"):
        return repr(given)
    return hashlib.sha256(given.detach().float().cpu().numpy().tobytes()).hexdigest()


class SelectionView(View):
    """A view in which a head and tokens can be chosen.

    `layer`, `head`, `kind` and `selected` (a pair query, key, either of which may be None; or
    None) can be read and set from Python; they follow what the reader does. Views on one page that
    have the same `link` follow each other; views of one model on one text do from the start, and
    `link=""` lets a view go its own way.

    Subclasses set `_kinds`: kind -> {"layers", "heads", "queries", "keys"} before these.
    """

    layer = Int(0).tag(sync=True)
    head = Int(0).tag(sync=True)
    kind = t.Unicode("").tag(sync=True)
    selected = t.Tuple(
        Int(allow_none=True), Int(allow_none=True), allow_none=True, default_value=None
    ).tag(sync=True)
    link = t.Unicode("").tag(sync=True)

    @property
    def kinds(self) -> dict[str, dict[str, Any]]:
        """kind of attention -> how many "layers", "heads", "queries" and "keys" there are, and more."""
        return self._results["_kinds"]

    @property
    def chosen_head(self) -> tuple[str, int, int]:
        """(kind, layer, head): the chosen one, or the nearest that this kind of attention has."""
        kind = self.kinds[self.kind]
        return self.kind, min(self.layer, kind["layers"] - 1), min(self.head, kind["heads"] - 1)

    def _look_at(self, heads: Any, place: tuple[str, int, int]) -> None:
        """Show these `Heads`, and choose this one.

        Raises:
            ValueError: when there is no such head; nothing has changed then.
        """
        results = heads.traits(place)
        self.heads = heads
        with self.hold_sync():
            self._publish(**results)
            self.kind, self.layer, self.head = place

    @t.validate("kind")
    def _check_kind(self, proposal: Any) -> str:
        if self.kinds and proposal["value"] not in self.kinds:
            known = ", ".join(self.kinds)
            raise t.TraitError(f"kind={proposal['value']!r} is not in this trace; it has {known}")
        return proposal["value"]

    @t.validate("layer", "head")
    def _check_place(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        # The browser sets kind, layer and head at once, in an order of its own.
        most = max((k[f"{name}s"] for k in self.kinds.values()), default=None)
        if value < 0 or (most is not None and value >= most):
            raise t.TraitError(f"{name}={value} is outside 0 … {(most or 1) - 1}")
        return value

    @t.validate("selected")
    def _check_selected(self, proposal: Any) -> tuple[int | None, int | None] | None:
        pair = proposal["value"]
        if pair is None or pair == (None, None) or not self.kinds:
            return None
        counts = max((k["queries"], k["keys"]) for k in self.kinds.values())
        for name, value, count in zip(("query", "key"), pair, counts, strict=True):
            if value is not None and not 0 <= value < count:
                raise t.TraitError(f"selected={pair}: {name} {value} is outside 0 … {count - 1}")
        return pair
