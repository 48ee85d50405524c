"""Activation patching and steering, as edits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..attention import AttentionCall, Site
from ..tracing.trace import Trace, TraceError
from .calls import Put, own_part, with_put
from .kinds import Edit, EditError, whole_or_none, written
from .sites import OF_STREAM

OF_CALL = {"q": "query", "k": "key", "v": "value"}
_OF_CROSS = ("attn_out",)  # the stream's sites that cross-attention has of its own


@dataclass(frozen=True, eq=False, repr=False)
class Patch(Edit):
    source: Any = None
    position: Any = None
    what: str = "z"

    name = "patch"

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.source, Trace):
            raise EditError(
                "source_trace must be a Trace, tl.trace(model, tokens, keep='all'), got a "
                f"{type(self.source).__name__}"
            )
        if self.what in OF_STREAM and self.head is not None:
            raise EditError(
                f"{self.what} belongs to a layer, not to a head; leave out head={self.head}"
            )
        if self.what in OF_STREAM and self.kind == "cross" and self.what not in _OF_CROSS:
            raise EditError(f"{self.what} belongs to kind='decoder', not to 'cross'")
        try:
            layer = self.layer
            if layer is None:
                layer = self.source.attending(self.kind)[0] if self.needs_heads else 0
            self.source.activation(self._name(self.kind), layer, kind=self.kind)
        except TraceError as error:
            raise EditError(f"source_trace cannot be patched in: {error}") from error

    def check(self, kind: str, n_layers: int, n_heads: int | None) -> None:
        if self.what in ("k", "v") and self.head is not None:
            layer = self.source.attending(kind)[0] if self.layer is None else self.layer
            if 0 <= layer < n_layers and n_heads:  # groups of heads may share one
                n_heads = self.source.activation(self.what, layer, kind=kind).shape[1]
        super().check(kind, n_layers, n_heads)

    def streams(self) -> tuple[str, ...]:
        return (self._name(self.kind),) if self.what in OF_STREAM else ()

    @property
    def needs_heads(self) -> bool:
        return self.what not in OF_STREAM or self.what in _OF_CROSS

    # -- what it does ---------------------------------------------------------------------------

    def change_attention(self, call: AttentionCall, start: int) -> AttentionCall:
        if self.what == "pattern":
            put = self.put_of(call, start)
            return call if put is None else with_put(call, put)
        name = OF_CALL.get(self.what)
        if name is None:
            return call
        self._whole_texts(call)
        x: Tensor | None = getattr(call, name)
        if x is None or not x.shape[-1]:
            raise EditError(
                f"{self.code()}: the model's own attention code does not show what={self.what!r}"
            )
        first, end = start, start + call.shape[2]
        if self.what != "q":
            first, end = call.first_key, call.shape[3] if _sees_all(call) else end
        changed = self._into(x, call, first, end)
        return call if changed is x else replace(call, **{name: changed})

    def change_heads(self, call, z, start, real):
        if self.what != "z":
            return z
        return self._into(z, call, start, start + z.shape[2])

    def change_stream(self, name, site, x):
        source = self._from(site)
        if source.shape[2] != x.shape[2]:
            raise EditError(
                f"source_trace has d_model={source.shape[2]} and this model has "
                f"d_model={x.shape[2]}: patch from a trace of the same architecture"
            )
        there, here = self._positions(source.shape[1], 0, x.shape[1])
        if not here:
            return x
        x = x.clone()
        x[:, here] = _for_batch(source, len(x))[:, there].to(x)
        return x

    def put_of(self, call: AttentionCall, start: int) -> Put | None:
        """Return the weights that replace the call's own, or None if none of its queries is
        patched.
        """
        self._whole_texts(call)
        source = self._from(call.site)
        _, n_heads, n_query, n_key = call.shape
        if source.shape[1] != n_heads or source.shape[3] != n_key:
            raise EditError(
                f"source_trace has maps of {source.shape[1]} heads and {source.shape[3]} keys, "
                f"and this text has {n_heads} and {n_key}: patch maps between texts of the same "
                "length"
            )
        there, here = self._positions(source.shape[2], start, start + n_query)
        if not here:
            return None
        source = _for_batch(source, call.shape[0])[:, self.heads(call)]
        heads = range(n_heads)[self.heads(call)]
        return Put(heads, torch.tensor(here, device=source.device), source[:, :, there])

    def _into(self, x: Tensor, call: AttentionCall, first: int, end: int) -> Tensor:
        """Return x [batch, head, position, …] with the other run's values at the patched positions;
        x holds the text's positions from `first` up to `end`.
        """
        site = call.site
        assert site is not None  # or the edit would not act here
        source = self._from(site)
        parts = (
            1 if self.what in ("q", "k") else 1 + self.source.call(site.layer, kind=site.kind).part
        )
        if source.shape[1] != x.shape[1] or source.shape[3] != parts * x.shape[3]:
            raise EditError(
                f"source_trace has {source.shape[1]} heads of {source.shape[3]} dimensions and "
                f"this model has {x.shape[1]} of {x.shape[3]}: patch from a trace of the same "
                "architecture"
            )
        source = source if parts == 1 else own_part(source, call, x)
        there, here = self._positions(source.shape[2], first, end)
        if not here:
            return x
        if self.head is not None and not 0 <= self.head < x.shape[1]:
            raise EditError(f"head={self.head} is outside 0 … {x.shape[1] - 1}")
        heads = slice(None) if self.head is None else slice(self.head, self.head + 1)
        x = x.clone()
        x[:, heads, here] = _for_batch(source, len(x))[:, heads, there].to(x)
        return x

    def _name(self, kind: str | None) -> str:
        """The trace's name for the site."""
        return "cross_out" if kind == "cross" and self.what == "attn_out" else self.what

    def _from(self, site: Any) -> Tensor:
        kind = self.kind if self.kind == "cross" else site.kind  # stream: the decoder's
        try:
            return self.source.activation(self._name(kind), site.layer, kind=kind)
        except TraceError as error:
            raise EditError(f"source_trace cannot be patched in: {error}") from error

    def _whole_texts(self, call: AttentionCall) -> None:
        if call.windows is not None:
            raise EditError(
                f"{self.code()}: this layer attends within windows of an image, so "
                f"what={self.what!r} does not cover the whole image; patch z"
            )

    def _positions(self, n_source: int, first: int, end: int) -> tuple[list[int], list[int]]:
        """Return the positions in the source, and their indices in the current pass, which holds
        the text's positions from `first` up to `end`.
        """
        if self.position is None:
            if n_source != end:
                raise EditError(
                    f"source_trace has {n_source} tokens and this text has {end}: name a "
                    "position, or patch between texts of the same length"
                )
            pairs = [(place, place) for place in range(first, end)]
        else:
            wanted = [self.position] if isinstance(self.position, int) else self.position
            pairs = [place if isinstance(place, tuple) else (place, place) for place in wanted]
        for pair in pairs:
            limits = (("source_trace", n_source), ("this text", end))
            for place, (whose, limit) in zip(pair, limits, strict=True):
                whole_or_none("position", place)
                if not 0 <= place < limit:
                    raise EditError(
                        f"position={place} is outside the {limit} tokens of {whose} "
                        f"(0 … {limit - 1})"
                    )
        pairs = [(there, here) for there, here in pairs if here >= first]
        return [there for there, _ in pairs], [here - first for _, here in pairs]

    # -- descriptions ---------------------------------------------------------------------------

    def where(self) -> str:
        found = super().where()
        return found.rpartition(", ")[0] if self.what in OF_STREAM else found

    def _what(self) -> str:
        at = "" if self.position is None else f" at {self.position}"
        return f"{self.what}{at} from another run"

    def code(self) -> str:
        values = self.arguments()
        del values["source"]
        return f"tl.patch(source_trace, {written(values)})"


@dataclass(frozen=True, eq=False, repr=False)
class Steer(Edit):
    vector: Any = None
    by: float = 1.0
    position: Any = None
    what: str = "resid_post"

    name = "steer"

    def streams(self) -> tuple[str, ...]:
        return ("cross_out" if self.kind == "cross" else self.what,)

    @property
    def needs_heads(self) -> bool:
        return self.what == "attn_out"

    def change_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        vector: Tensor = self.vector
        if vector.shape[-1] != x.shape[-1]:
            raise EditError(
                f"vector must have d_model={x.shape[-1]} numbers, the width of this model's "
                f"stream, got {vector.shape[-1]}"
            )
        here = slice(None)
        if self.position is not None:
            here = [self.position] if isinstance(self.position, int) else list(self.position)
            for place in here:
                if not 0 <= place < x.shape[1]:
                    raise EditError(
                        f"position={place} is outside the {x.shape[1]} tokens of this pass (0 … "
                        f"{x.shape[1] - 1}); a cached pass holds one token at a time: write with "
                        "cached=False"
                    )
        if vector.dim() == 2 and len(vector) != x[:, here].shape[1]:
            raise EditError(
                "vector must be one vector [d_model] or one for each of the "
                f"{x[:, here].shape[1]} steered positions, got {len(vector)}"
            )
        x = x.clone()
        x[:, here] += self.by * vector.to(x)
        return x

    def where(self) -> str:
        return super().where().rpartition(", ")[0]

    def _what(self) -> str:
        at = "" if self.position is None else f" at {self.position}"
        return f"{self.by:g} × a vector added to {self.what}{at}"

    def code(self) -> str:
        values = self.arguments()
        del values["vector"]
        return f"tl.steer(vector, {written(values)})"


def _sees_all(call: AttentionCall) -> bool:
    """Whether every key of the call is a position of the text; a cache may hold more."""
    cross = call.site is not None and call.site.kind == "cross"
    return cross or call.start is None


def _for_batch(source: Tensor, batch: int) -> Tensor:
    if len(source) not in (1, batch):
        raise EditError(
            f"source_trace has {len(source)} texts and this batch has {batch}: patch from one "
            "text, or from as many as the batch has"
        )
    return source
