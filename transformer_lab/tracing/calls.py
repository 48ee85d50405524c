"""The attention calls of one pass, by kind and layer, and the patterns computed from them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..adapters.network import AdapterError, Layer, Network, no_heads
from ..arguments import shown
from ..attention import KINDS, AttentionCall
from .maps import GivenMaps, padded, patterns_of, thumbnail, within_budget
from .pyramid import Pyramid


class TraceError(ValueError):
    """The trace does not hold what was requested."""


class Calls:
    """The attention calls of one pass and their patterns; the part of a `Trace` that needs no text.

    Args:
        network: the model that ran; None for stored patterns.
        calls: kind -> layer -> `AttentionCall` or `GivenMaps`.
        left_out: kind -> layer -> why its attention is not among them ("has 7 queries and …").
    """

    def __init__(
        self,
        network: Network | None,
        calls: dict[str, dict[int, Any]],
        left_out: Mapping[str, dict[int, str]] | None = None,
    ):
        self.network, self._calls, self._left_out = network, calls, dict(left_out or {})
        self.budget_mib = 1024
        self._know_layers()

    def take_calls(self, before: Calls) -> None:
        """Add missing layers from the calls of another pass over the same text."""
        take(self._calls, before._calls)
        take(self._left_out, before._left_out)
        self._know_layers()

    # -- what there is --------------------------------------------------------------------------

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(kind for kind in KINDS if kind in self._calls)

    @property
    def batch_size(self) -> int:
        return self._any_call(None).shape[0]

    def layers(self, kind: str | None = None) -> tuple[Layer, ...]:
        """Every layer of a kind; its `label` describes it."""
        return self._layers[self.kind(kind)]

    def heads_of(self, layer: int, kind: str | None = None) -> int:
        """How many heads a layer has; 0 for one without attention."""
        return self.layers(kind)[layer].heads or 0

    def attending(self, kind: str | None = None) -> list[int]:
        """The layers that have heads."""
        return sorted(self._calls[self.kind(kind)])

    def n_layers(self, kind: str | None = None) -> int:
        """Number of layers, including those without attention."""
        return len(self.layers(kind))

    def n_heads(self, kind: str | None = None) -> int:
        """Number of heads of the layer with the most."""
        kind = self.kind(kind)
        if kind not in self._most_heads:
            self._most_heads[kind] = max(call.n_heads for call in self._calls[kind].values())
        return self._most_heads[kind]

    def d_head(self, kind: str | None = None) -> int | None:
        call = self._any_call(kind)
        return None if isinstance(call, GivenMaps) else call.query.shape[-1]

    def shape(self, kind: str | None = None) -> tuple[int, int]:
        """(queries, keys)."""
        return self._any_call(kind).shape[2:]

    def kind(self, kind: str | None = None) -> str:
        """Return a kind, checked; for None, the decoder if the trace has one, else its first kind.

        Raises:
            TraceError: for a kind that is not in this trace.
        """
        if kind is None:
            return "decoder" if "decoder" in self._calls else self.kinds[0]
        if kind not in self._calls:
            raise TraceError(f"kind={kind!r} is not in this trace; it has {', '.join(self.kinds)}")
        return kind

    def text(self, batch: int) -> int:
        """Return the index of a text, checked.

        Raises:
            TraceError: for a text that is not in this trace.
        """
        if not 0 <= _whole("batch", batch) < self.batch_size:
            raise TraceError(
                f"batch={batch} is outside 0 … {self.batch_size - 1}, this trace's texts"
            )
        return batch

    def causal(self, kind: str | None = None) -> bool:
        """Whether no query attends to later keys: false for a decoder whose mask lets a prefix
        attend to all of itself."""
        kind = self.kind(kind)
        if kind not in self._causal:
            calls = self._calls[kind].values()
            self._causal[kind] = kind == "decoder" and not any(map(_looks_ahead, calls))
        return self._causal[kind]

    def call(
        self, layer: int, head: int | None = None, *, kind: str | None = None, batch: int = 0
    ) -> Any:
        """The attention call of one layer, for the whole batch: an `AttentionCall`, or
        `GivenMaps` if the model returned its patterns only.

        Raises:
            TraceError: for a layer, head, text or kind that does not exist, and for a layer without
                heads, saying what it is and which layers have some.
        """
        layers = self.layers(kind)
        self.text(batch)
        if not 0 <= _whole("layer", layer) < len(layers):
            raise TraceError(f"layer={layer} is outside 0 … {len(layers) - 1}")
        call = self._calls[self.kind(kind)].get(int(layer))
        if call is None:
            raise TraceError(no_heads(layers[layer], layers))
        if head is not None and not 0 <= _whole("head", head) < call.n_heads:
            raise TraceError(f"head={head} is outside 0 … {call.n_heads - 1}")
        return call

    # -- patterns -------------------------------------------------------------------------------

    def pattern(
        self, layer: int, head: int | None = None, *, kind: str | None = None, batch: int = 0
    ) -> Tensor:
        """Attention weights, fp32 [query, key], or [head, query, key] with no head named.

        Rows sum to 1 minus `to_nothing`; a query that may attend to no key has a row of 0.

        Raises:
            TraceError: for a layer, head or kind that does not exist.
            MemoryBudgetError: if all heads together exceed `budget_mib`.
        """
        call = self.call(layer, head, kind=kind, batch=batch)
        if head is None:
            self._guard(call, call.n_heads)
        return call.pattern(batch, slice(None) if head is None else head)

    def to_nothing(
        self, layer: int, head: int | None = None, *, kind: str | None = None, batch: int = 0
    ) -> Tensor:
        """The fraction of each row that goes to no key, if heads have sinks (gpt-oss) or windows
        that reach beyond the image (SAM): [query], or [head, query]; 0 for others. With it a row of
        `pattern` sums to 1.

        Raises:
            TraceError: as `pattern`.
        """
        call = self.call(layer, head, kind=kind, batch=batch)
        return call.to_nothing(batch, slice(None) if head is None else head)

    def has_sinks(self, layer: int | None = None, *, kind: str | None = None) -> bool:
        """Whether heads of a layer (None: of any) can put weight on no key."""
        calls = self._calls[self.kind(kind)]
        chosen = calls.values() if layer is None else (calls[layer],) if layer in calls else ()
        return any(
            bool((call.to_nothing() > 0).any()) if isinstance(call, GivenMaps) else call.has_rest
            for call in chosen
        )

    def scores(
        self, layer: int, head: int | None = None, *, kind: str | None = None, batch: int = 0
    ) -> Tensor:
        """Scores before the softmax, −inf where masked; axes and errors as in `pattern`."""
        call = self.call(layer, head, kind=kind, batch=batch)
        if head is None:
            self._guard(call, call.n_heads)
        return call.scores(batch, slice(None) if head is None else head)

    def patterns(
        self, *, kind: str | None = None, batch: int = 0, budget_mib: float = 256
    ) -> Tensor:
        """All patterns of one kind at once: [layer, head, query, key]. Heads that a layer does not
        have are NaN.

        Raises:
            MemoryBudgetError: if they take more than budget_mib, saying how much and what to
                do instead.
        """
        n_layers, n_heads = self.n_layers(kind), self.n_heads(kind)
        self._guard(self._any_call(kind), n_layers * n_heads, budget_mib)
        self.text(batch)
        return self._stacked(kind, lambda call: call.pattern(batch), float("nan"))

    def all_heads(self, layer: int, *, kind: str | None = None, batch: int = 0) -> Tensor:
        """`pattern` of a layer, padded with zeros to the head count of the layer with the most,
        [head, query, key]; a layer without heads is all 0."""
        calls, n_heads = self._calls[self.kind(kind)], self.n_heads(kind)
        if layer in calls:
            return padded(self.pattern(layer, kind=kind, batch=batch), n_heads, 0.0)
        like = self._any_call(kind)
        return padded(like.pattern(batch, slice(0, 0)), n_heads, 0.0)

    def all_heads_of(
        self, layers: Sequence[int], *, kind: str | None = None, batch: int = 0
    ) -> Tensor:
        """`all_heads` of several layers, [layer, head, query, key]; similar layers are computed
        together.

        Raises:
            TraceError: as `pattern`.
            MemoryBudgetError: if they exceed `budget_mib` together.
        """
        calls, n_heads = self._calls[self.kind(kind)], self.n_heads(kind)
        self._guard(self._any_call(kind), len(layers) * n_heads)
        here = [layer for layer in layers if layer in calls]
        found = patterns_of([calls[layer] for layer in here], self.text(batch))
        made = {i: padded(one, n_heads, 0.0) for i, one in zip(here, found, strict=True)}
        for layer in set(layers) - set(made):
            made[layer] = self.all_heads(layer, kind=kind, batch=batch)
        return torch.stack([made[layer] for layer in layers])

    def of_attention(self, what: str, layer: int, *, kind: str | None = None) -> Tensor:
        """A tensor of one layer's attention, for the whole batch: "q", "k" or "v" [batch, head,
        position, d_head], as they enter attention (keys and values shared by several heads, once),
        or "pattern", the weights, fp32 [batch, head, query, key].

        Raises:
            TraceError: if the model does not show it, or it was not kept.
            MemoryBudgetError: for patterns that take more than `budget_mib`.
        """
        call = self.call(layer, kind=kind)
        if what == "pattern":
            self._guard(call, call.n_heads * call.shape[0])
            return call.pattern()
        name = {"q": "query", "k": "key", "v": "value"}[what]
        x = getattr(call, name, None)
        if getattr(call, "windows", None) is not None:
            raise TraceError(
                f"layer={layer} attends within windows, so there is no {what} for the whole image"
            )
        if isinstance(call, GivenMaps) or (x is not None and not x.shape[-1]):
            why = "computes its scores in its own code"
            why = "gave attention maps only" if isinstance(call, GivenMaps) else why
            raise TraceError(f"the model {why}, so what={what!r} is not available")
        if x is None:
            raise TraceError(
                f"this trace kept maps only, not {what}; use trace(..., keep='all') to keep it"
            )
        return x

    def queries_keys(
        self, layer: int, head: int, *, kind: str | None = None, batch: int = 0
    ) -> tuple[Tensor, Tensor, float] | None:
        """(q [query, d_head], k [key, d_head], scale) if the pattern is exactly
        softmax(scale · q·kᵀ), with the causal mask where `causal`; None if a padding mask, a
        bias, a softcap, sinks, windows or an edit change it."""
        call = self.call(layer, head, kind=kind, batch=batch)
        if isinstance(call, GivenMaps) or call.bias is not None or call.softcap is not None:
            return None
        if call.sinks is not None or type(call) is not AttentionCall:
            return None
        if any(head in range(call.n_heads)[cut.heads] for cut in call.cuts):
            return None
        if call.causal != self.causal(kind) and call.shape[2] > 1:
            return None
        group = call.n_heads // call.key.shape[1]
        return call.query[batch, head].float(), call.key[batch, head // group].float(), call.scale

    def thumbnails(
        self,
        size: int = 32,
        *,
        kind: str | None = None,
        batch: int = 0,
        layers: Collection[int] | None = None,
    ) -> Tensor:
        """Every pattern shrunk by max-pooling: [layer, head, ≤ size, ≤ size]. Heads that a layer
        does not have are 0; with `layers`, so are all other layers.

        A few MiB of weights are computed at a time, or one pattern. Above 1024 queries, 8 · size of
        them, spread over the text, are sampled; with very many keys fewer, at least 2 · size.
        """
        self.text(batch)
        return self._stacked(kind, lambda call: thumbnail(call, size, batch), 0.0, layers)

    def pyramid(self, layer: int, head: int, *, kind: str | None = None, batch: int = 0) -> Pyramid:
        """One head's pattern at every zoom, for texts whose pattern is too large to display or to
        hold: tiles of maximum and mean weights, exact, computed row by row. Memory grows with the
        number of tokens.

        Raises:
            TraceError: as `pattern`.
        """
        return Pyramid(self.call(layer, head, kind=kind, batch=batch), int(head), self.text(batch))

    # -- inside ---------------------------------------------------------------------------------

    def _know_layers(self) -> None:
        self._causal: dict[str, bool] = {}
        self._most_heads: dict[str, int] = {}
        self._layers = {kind: self._all_layers(kind) for kind in self.kinds}

    def _all_layers(self, kind: str) -> tuple[Layer, ...]:
        """The model's layers of a kind, each with the number of heads that were recorded."""
        calls = self._calls[kind]
        try:
            layers = () if self.network is None else self.network.layers(kind)
        except AdapterError:
            layers = ()
        found = []
        for number in range(max(len(layers), 1 + max(calls))):
            layer = layers[number] if number < len(layers) else Layer(number, 0, "not known")
            if number in calls:
                layer = replace(layer, heads=calls[number].n_heads, what="attention", by="")
            elif why := self._left_out.get(kind, {}).get(number):
                layer = replace(layer, heads=0, what=f"attention that is not shown: it {why}")
            elif layer.heads != 0:
                layer = replace(layer, heads=0, what="a layer that was skipped")
            found.append(layer)
        return tuple(found)

    def _any_call(self, kind: str | None) -> Any:
        """The call of the first layer that has heads."""
        return self._calls[self.kind(kind)][self.attending(kind)[0]]

    def _stacked(
        self,
        kind: str | None,
        small: Callable[[Any], Tensor],
        fill: float,
        layers: Collection[int] | None = None,
    ) -> Tensor:
        """Stack `small` of the calls of each layer, or of some: [layer, head, …]."""
        calls, n_heads = self._calls[self.kind(kind)], self.n_heads(kind)
        some = calls if layers is None else {i: calls[i] for i in calls if i in layers}
        made = {i: padded(small(call), n_heads, fill) for i, call in some.items()}
        empty = torch.full_like(next(iter(made.values())), fill)
        return torch.stack([made.get(i, empty) for i in range(self.n_layers(kind))])

    def _guard(self, call: AttentionCall, n_maps: int, budget_mib: float | None = None) -> None:
        budget = self.budget_mib if budget_mib is None else budget_mib
        way = "ask for one map with pattern(layer, head), or thumbnails(), or raise the budget"
        within_budget(n_maps * call.shape[2] * call.shape[3], budget, way)


def take(mine: dict[Any, dict[int, Any]], others: Mapping[Any, Mapping[int, Any]]) -> None:
    """Add the layers of `others` that `mine` lacks."""
    for place, layers in others.items():
        mine[place] = {**layers, **mine.get(place, {})}


def _looks_ahead(call: Any) -> bool:
    """Whether some query may attend to a later key."""
    n_query, n_key = call.shape[2:]
    if call.causal or n_query != n_key or n_query == 1:
        return False
    if isinstance(call, GivenMaps):
        return bool((call.maps.triu(1) > 0).any())
    if call.bias is None:
        return True
    allowed = call.bias
    if allowed.dtype != torch.bool:  # transformers masks with the smallest number
        allowed = allowed > torch.finfo(allowed.dtype).min / 2
    return bool(allowed.expand(*allowed.shape[:-2], n_query, n_key).triu(1).any())


def _whole(name: str, value: Any) -> int:
    """Return a whole number, which may be a tensor's or NumPy's."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TraceError(f"{name} must be a whole number, got {shown(value)}")
    return operator.index(value)
