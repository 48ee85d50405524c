"""Data of a trace's heads for the browser, in a form chosen by size.

If all maps are small, they are sent at once; otherwise the thumbnails and the first head, and each
further head on request. For long texts queries and keys are sent, if the trace has them, and the
browser computes the map: their size grows with N, not with N².
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...heads.spans import named_segments
from ...tracing.maps import padded
from ..shared.codecs import pack_floats, pack_shades, pack_weights, shown_text, shown_token

if TYPE_CHECKING:
    from ...tracing.trace import Trace

ALL_MAPS_BYTES = 4 * 2**20
LONGEST_BY_SCORES = 4096  # tokens shown where the browser computes the map
LONGEST_BY_MAPS = 1024  # … and where maps are sent
THUMBNAIL = 32
CHECKED_ROWS = 64
HALF_ERROR = 2e-3  # above this error in a weight, queries and keys are sent as fp32


@dataclass(frozen=True)
class HeadBytes:
    """One head: its encoding, its map (or queries and keys), its value norms."""

    info: dict[str, Any]
    data: bytes
    norms: bytes

    @property
    def buffers(self) -> list[bytes]:
        return [self.data, self.norms]


class HeadData:
    """The heads of one text of a trace, as bytes.

    Args:
        like: other heads of the same text, whose form and shown part are used here too.
        beside: further heads of the same text, which may share layers with these.
    """

    def __init__(
        self,
        trace: Trace,
        batch: int = 0,
        like: HeadData | None = None,
        beside: HeadData | None = None,
    ):
        self.trace, self.batch = trace, batch
        self.queries = {k: self._tokens(trace.query_tokens(k, batch)) for k in trace.kinds}
        self.keys = {k: self._tokens(trace.key_tokens(k, batch)) for k in trace.kinds}
        if like is None:
            self.sinks = {kind: _sinks(trace, kind) for kind in trace.kinds}
            self.by_scores = {kind: self._sends_scores(kind) for kind in trace.kinds}
            self.all_maps = self.size <= ALL_MAPS_BYTES
        else:
            self.sinks, self.by_scores, self.all_maps = like.sinks, like.by_scores, like.all_maps
        self._small: dict[tuple[str, int], Tensor] = {}
        self._layers: dict[tuple[str, int], _Layer] = {}
        self._norms: dict[tuple[str, int], bytes] = {}
        for other in filter(None, (like, beside)):
            self._take(other)

    def _take(self, other: HeadData) -> None:
        """Reuse what was computed for layers whose attention call is the same object in both."""
        for kind in self.trace.kinds:
            mine = (self._layers, self._norms, self._small)
            theirs = other.made(kind, _as_there(self.trace, other.trace, kind))
            for here, there in zip(mine, theirs, strict=True):
                here.update(there)

    def made(self, kind: str, layers: Collection[int]) -> tuple[dict, dict, dict]:
        """What is computed so far, by (kind, layer): maps, value norms, thumbnails."""
        wanted = [(kind, layer) for layer in layers]
        made: tuple[dict, ...] = (self._layers, self._norms, self._small)
        layers_, norms, small = ({at: x[at] for at in wanted if at in x} for x in made)
        return layers_, norms, small

    @staticmethod
    def _tokens(tokens: list[str]) -> list[str]:
        return [shown_token(token) for token in tokens]

    def shown(self, kind: str) -> tuple[int, int]:
        """The number of (queries, keys) shown; the rest of a very long text is left out."""
        n_query, n_key = len(self.queries[kind]), len(self.keys[kind])
        limit = LONGEST_BY_SCORES if self.by_scores[kind] else LONGEST_BY_MAPS
        return min(n_query, limit), min(n_key, limit)

    @property
    def is_cut(self) -> bool:
        """Whether part of the text is left out."""
        return any(
            self.shown(kind) != (len(self.queries[kind]), len(self.keys[kind]))
            for kind in self.trace.kinds
        )

    @property
    def size(self) -> int:
        """Bytes of all maps."""
        total = 0
        for kind in self.trace.kinds:
            n_query, n_key = len(self.queries[kind]), len(self.keys[kind])
            columns = n_key + bool(self.sinks[kind])
            total += 2 * self.trace.n_layers(kind) * self.trace.n_heads(kind) * n_query * columns
        return total

    def nothing(self, kind: str, layer: int, head: int) -> Tensor:
        """Attention to no key, [query], of the queries that are shown."""
        n_query, _ = self.shown(kind)
        if layer not in self.sinks[kind] or head >= self.trace.heads_of(layer, kind):
            return torch.zeros(n_query)
        return self.trace.to_nothing(layer, head, kind=kind, batch=self.batch)[:n_query].cpu()

    def _packed(self, kind: str, layer: int, heads: Sequence[int], maps: Tensor) -> bytes:
        """Maps [head, query, key] of these heads, as bytes.

        With a further column for attention to no key, if some layer of the kind has sinks.
        """
        n_query, n_key = self.shown(kind)
        maps = maps[:, :n_query, :n_key]
        if self.sinks[kind]:
            nothing = torch.stack([self.nothing(kind, layer, head) for head in heads])
            maps = torch.cat((maps, nothing[..., None].to(maps)), -1)
        return pack_weights(maps)

    def _sends_scores(self, kind: str) -> bool:
        """Whether queries and keys suffice to compute the map and are at most half its size."""
        n_query, n_key, d_head = (
            len(self.queries[kind]),
            len(self.keys[kind]),
            self.trace.d_head(kind),
        )
        if not d_head or (n_query + n_key) * d_head * 2 > n_query * n_key:
            return False
        # Without the causal mask, keys that are left out would be missing from every softmax.
        if max(n_query, n_key) > LONGEST_BY_SCORES and not self.trace.causal(kind):
            return False
        first = self.trace.attending(kind)[0]
        return self.trace.queries_keys(first, 0, kind=kind, batch=self.batch) is not None

    def kinds(self) -> dict[str, dict[str, Any]]:
        """What the browser needs to know about each kind of attention before it has weights."""
        described, thumbs, maps, norms = {}, 0, 0, 0
        for kind in self.trace.kinds:
            layers, heads = self.trace.n_layers(kind), self.trace.n_heads(kind)
            n_query, n_key = self.shown(kind)
            small = [min(THUMBNAIL, len(self.queries[kind])), min(THUMBNAIL, len(self.keys[kind]))]
            special = self.trace.special(kind, self.batch)
            described[kind] = {
                "layers": layers,
                "heads": heads,
                "queries": n_query,
                "keys": n_key,
                "all_queries": len(self.queries[kind]),
                "all_keys": len(self.keys[kind]),
                "causal": bool(self.trace.causal(kind)),
                "same": kind != "cross",
                "query_tokens": self.queries[kind][:n_query],
                "key_tokens": self.keys[kind][:n_key],
                "headless": self._headless(kind),
                "special": [i for i, is_special in enumerate(special[:n_key]) if is_special],
                "has_norms": self.value_norms(kind, 0) is not None,
                "value_note": shown_text(self.trace.value_note),
                "thumbnail": small,
                "thumbs": thumbs,
                "maps": maps,
                "norms": norms,
            }
            if self.sinks[kind]:
                described[kind]["sinks"] = self.sinks[kind]
            parts = named_segments(self.trace, kind=kind, batch=self.batch)
            seen = {name: span for name, span in parts.items() if span[0] < n_query}
            if seen:
                described[kind]["segments"] = [[a, min(b, n_query)] for a, b in seen.values()]
                described[kind]["segment_names"] = [*seen]
            thumbs += layers * heads * small[0] * small[1]
            maps += 2 * layers * heads * n_query * (n_key + bool(self.sinks[kind]))
            norms += 4 * layers * heads * n_key if described[kind]["has_norms"] else 0
        return described

    def _headless(self, kind: str) -> dict[str, str]:
        """Layers without attention -> what they have instead."""
        layers = self.trace.layers(kind)
        return {str(x.number): x.label.partition(": ")[2] for x in layers if not x.heads}

    def thumbnail(self, kind: str) -> Tensor:
        """Thumbnails [layer, head, small, small]; computed once."""
        every = range(self.trace.n_layers(kind))
        if self.all_maps:
            return torch.stack([layer.small for layer in self._made(kind)])
        missing = [layer for layer in every if (kind, layer) not in self._small]
        if missing:
            some = {} if len(missing) == len(every) else {"layers": missing}
            found = self.trace.thumbnails(THUMBNAIL, kind=kind, batch=self.batch, **some).cpu()
            self._small.update({(kind, layer): found[layer] for layer in missing})
        return torch.stack([self._small[kind, layer] for layer in every])

    def thumbnails(self) -> bytes:
        """The thumbnails of every kind, concatenated, one byte per pixel."""
        return b"".join(pack_shades(self.thumbnail(kind)) for kind in self.trace.kinds)

    def maps(self) -> bytes:
        """The weights of every head of every kind."""
        return b"".join(layer.maps for kind in self.trace.kinds for layer in self._made(kind))

    def norms(self) -> bytes:
        """The value norms of every head of every kind."""
        every = ((kind, i) for kind in self.trace.kinds for i in range(self.trace.n_layers(kind)))
        return b"".join(self._norms_of(*at) for at in every)

    def _made(self, kind: str) -> list[_Layer]:
        """All heads of every layer, if maps are small; computed once."""
        every = range(self.trace.n_layers(kind))
        missing = [layer for layer in every if (kind, layer) not in self._layers]
        if missing:
            maps = self.trace.all_heads_of(missing, kind=kind, batch=self.batch).cpu()
            size = [min(THUMBNAIL, n) for n in maps.shape[2:]]
            small = F.adaptive_max_pool2d(maps.flatten(0, 1), size).unflatten(0, maps.shape[:2])
            heads = range(maps.shape[1])
            if self.sinks[kind]:
                packed = [
                    self._packed(kind, i, heads, one) for i, one in zip(missing, maps, strict=True)
                ]
            else:  # packed as one, then divided by layer
                whole = self._packed(kind, missing[0], heads, maps.flatten(0, 1))
                one = len(whole) // len(missing)
                packed = [whole[i * one : (i + 1) * one] for i in range(len(missing))]
            for layer, found, shades in zip(missing, packed, small, strict=True):
                self._layers[kind, layer] = _Layer(found, shades)
        return [self._layers[kind, layer] for layer in every]

    def _norms_of(self, kind: str, layer: int) -> bytes:
        at = kind, layer
        if at not in self._norms:
            found = self.value_norms(kind, layer)
            n_key = self.shown(kind)[1]
            self._norms[at] = b"" if found is None else pack_floats(found[:, :n_key])
        return self._norms[at]

    def head(self, kind: str, layer: int, head: int) -> HeadBytes:
        """One head.

        Raises:
            ValueError: if the trace has no such head.
        """
        if kind not in self.trace.kinds:
            raise ValueError(f"kind={kind!r} is not in this trace")
        for name, value, count in (
            ("layer", layer, self.trace.n_layers(kind)),
            ("head", head, self.trace.n_heads(kind)),
        ):
            if not 0 <= value < count:
                raise ValueError(f"{name}={value} is outside 0 … {count - 1}")
        _, n_key = self.shown(kind)
        found = self.value_norms(kind, layer)
        norms = b"" if found is None else pack_floats(found[head, :n_key])
        there = head < self.trace.heads_of(layer, kind)
        if there and self.by_scores[kind]:
            given = self.trace.queries_keys(layer, head, kind=kind, batch=self.batch)
            if given is not None:
                return self._scores(kind, *given, norms)
        info = {"encoding": "weights", "error": 0}
        pattern = self.pattern(kind, layer, head)
        return HeadBytes(info, self._packed(kind, layer, [head], pattern[None]), norms)

    def pattern(self, kind: str, layer: int, head: int) -> Tensor:
        """Attention pattern [query, key]; 0 for a head that the layer does not have."""
        if head < self.trace.heads_of(layer, kind):
            return self.trace.pattern(layer, head, kind=kind, batch=self.batch)
        return self.trace.all_heads(layer, kind=kind, batch=self.batch)[head]

    def _scores(self, kind: str, q: Tensor, k: Tensor, scale: float, norms: bytes) -> HeadBytes:
        n_query, n_key = self.shown(kind)
        q, k = (q.detach().float() * scale)[:n_query], k.detach().float()[:n_key]
        error = _half_error(q, k, causal=bool(self.trace.causal(kind)))
        half = error <= HALF_ERROR
        info = {
            "encoding": "scores16" if half else "scores32",
            "error": float(f"{max(error, 1e-6):.1e}") if half else 1e-6,
            "d": q.shape[1],
        }
        dtype = "<f2" if half else "<f4"
        return HeadBytes(info, pack_floats(q, dtype) + pack_floats(k, dtype), norms)

    def value_norms(self, kind: str, layer: int) -> Tensor | None:
        """Value norms [head, key], 0 for heads that the layer does not have; None if unknown."""
        attending, n_heads = self.trace.attending(kind), self.trace.n_heads(kind)
        own = layer if layer in attending else attending[0]
        found = self.trace.value_norms(own, kind=kind, batch=self.batch)
        if found is None:
            return None
        return padded(found if own == layer else found[:0], n_heads, 0.0)


@dataclass(frozen=True)
class _Layer:
    """All heads of a layer: maps as bytes, and thumbnails."""

    maps: bytes
    small: Tensor


def _as_there(trace: Trace, other: Trace, kind: str) -> set[int]:
    """The layers whose attention is the same call object in both."""
    shared = set(trace.attending(kind)) & set(other.attending(kind) if kind in other.kinds else ())
    return {i for i in shared if trace.call(i, kind=kind) is other.call(i, kind=kind)}


def _sinks(trace: Trace, kind: str) -> list[int]:
    """The layers whose heads have sinks: part of each row goes to no key."""
    return [i for i in trace.attending(kind) if trace.has_sinks(i, kind=kind)]


def _half_error(q: Tensor, k: Tensor, *, causal: bool) -> float:
    """The largest change in a weight if queries and keys are rounded to fp16.

    Checked on some rows spread over the text.
    """
    rows = torch.linspace(0, len(q) - 1, min(CHECKED_ROWS, len(q)), device=q.device).round().long()
    later = None
    if causal:
        keys = torch.arange(len(k), device=q.device)
        later = keys[None] > (rows[:, None] + len(k) - len(q))

    def weights(q: Tensor, k: Tensor) -> Tensor:
        scores = q[rows] @ k.T
        return (scores if later is None else scores.masked_fill(later, -torch.inf)).softmax(-1)

    rounded = weights(q.half().float(), k.half().float())
    difference = (rounded - weights(q, k)).abs().max()
    return float(difference) if bool(torch.isfinite(difference)) else float("inf")
