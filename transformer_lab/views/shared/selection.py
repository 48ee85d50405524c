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
    """Check that a trace has the attribute `has`, which a view needs, and a text.

    Raises:
        ValueError: if it is not such a trace, or does not have that text.
    """
    if not hasattr(trace, has):
        raise ValueError(
            f"trace is a {type(trace).__name__}; give what transformer_lab.trace(...) returned"
        )
    if not 0 <= batch < trace.batch_size:
        raise ValueError(f"batch={batch} is outside the {trace.batch_size} texts of this trace")


def check_places(**places: tuple[int | None, int]) -> None:
    """Check indices, each passed as (index or None, count).

    Raises:
        ValueError: for an index out of range.
    """
    for name, (value, count) in places.items():
        if value is not None and not 0 <= value < count:
            raise ValueError(f"{name}={value} is outside 0 … {count - 1}")


def kind_of(trace: Trace, kind: str | None) -> str:
    """The initial kind of attention: by default the decoder's, or the trace's first.

    Raises:
        ValueError: for a kind that the trace does not have.
    """
    kind = kind or ("decoder" if "decoder" in trace.kinds else trace.kinds[0])
    if kind not in trace.kinds:
        raise ValueError(f"kind={kind!r} is not in this trace; it has {', '.join(trace.kinds)}")
    return kind


def traits_of(
    trace: Trace, batch: int, title: str | None, link: str | None, otherwise: str
) -> dict[str, Any]:
    """Initial arguments for a view of one text of a trace; `otherwise`: its title if the model has
    no name."""
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


def sizes_of(trace: Trace) -> dict[str, dict[str, Any]]:
    """The sizes of each kind of attention, on which views that share a selection must agree; with
    the heads of each layer, `counts`, where they differ."""
    sizes: dict[str, dict[str, Any]] = {}
    for kind in trace.kinds:
        n_query, n_key = trace.shape(kind)
        layers, heads = trace.n_layers(kind), trace.n_heads(kind)
        sizes[kind] = dict(layers=layers, heads=heads, queries=n_query, keys=n_key)
        counts = [trace.heads_of(layer, kind) for layer in range(layers)]
        if set(counts) != {heads}:
            sizes[kind]["counts"] = counts
    return sizes


def _content(given: Any) -> str:
    if not hasattr(given, "detach"):
        return repr(given)
    return hashlib.sha256(given.detach().float().cpu().numpy().tobytes()).hexdigest()


class SelectionView(View):
    """A view in which a head and tokens can be chosen.

    `layer`, `head`, `kind` and `selected` (a pair query, key, either of which may be None; or
    None) can be read and set from Python; they follow the reader's choices. Views on one page with
    the same `link` follow each other; by default, views of one model on one text do, and `link=""`
    makes a view independent.

    Subclasses set `_kinds` first: kind -> {"layers", "heads", "queries", "keys"}.
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
        size = self.kinds[self.kind]
        counts = size.get("counts") or [size["heads"]] * size["layers"]
        having = [layer for layer, count in enumerate(counts) if count]
        layer = min(having, key=lambda one: abs(one - self.layer))
        return self.kind, layer, min(self.head, counts[layer] - 1)

    def _look_at(self, heads: Any, place: tuple[str, int, int]) -> None:
        """Show these `Heads`, and choose the head at `place`.

        Raises:
            ValueError: if there is no such head; nothing is changed then.
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
