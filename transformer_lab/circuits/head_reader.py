"""How a head of ours turns what stands in the stream into queries and keys, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..hub.sources import BIASES, Source
from ..tracing.trace import Trace, TraceError
from .sources import MISSING, FixedNorm, our_model, precise, stream_at, stream_sources


def kv_head(call: Any, head: int) -> int:
    """The key head that a query head looks through (grouped queries share one)."""
    return head // (call.n_heads // call.key.shape[1])


class HeadReader:
    """One head of one of our models, at work on one text of a trace."""

    def __init__(self, trace: Trace, call: Any, kind: str, layer: int, head: int, batch: int):
        self.trace, self.call, self.kind = trace, call, kind
        self.layer, self.head, self.batch = layer, head, batch
        self.model: Any = our_model(trace)
        stack = self.model.encoder if kind == "encoder" else self.model.decoder
        self.block = stack.blocks[layer]
        self.attention = self.block.cross if kind == "cross" else self.block.attention

    def side(self, side: str, rows: Tensor) -> tuple[tuple[Source, ...], Tensor]:
        """Who wrote the queries ("query") or keys ("key") at these positions: sources, and what each
        gives, [source, row, d_head] in fp64; the sum is what the head compares.

        Raises:
            TraceError: when values or streams were not kept, or do not add up.
        """
        norm, streams = self._streams(side, rows)
        head = self.head if side == "query" else kv_head(self.call, self.head)
        layer = getattr(self.attention, side)
        own = slice(head * self.attention.d_head, (head + 1) * self.attention.d_head)
        weight = precise(layer.weight[own])
        bias = 0.0 if layer.bias is None else precise(layer.bias[own])
        constant = torch.zeros(len(rows), self.attention.d_head, dtype=torch.float64)
        constant += bias if norm.shift is None else norm.shift @ weight.T + bias
        names: list[Source] = []
        parts: list[Tensor] = []
        for found, stream in streams:
            part = norm.linear(stream) @ weight.T
            if found == [BIASES]:
                constant += part[0]
            else:
                names += found
                parts.append(part)
        vectors = torch.cat((*parts, constant[None]))
        vectors = self._turned(side, vectors, rows)
        whole = self.call.query if side == "query" else self.call.key
        actual = precise(whole[self.batch, head])[rows]
        room = (1e-3 if whole.dtype == torch.float32 else 5e-2) * actual.norm(dim=-1).clamp(
            min=1e-3
        )
        if bool(((vectors.sum(0) - actual).norm(dim=-1) > room).any()):
            raise TraceError(MISSING.format(layer=self.layer))
        sources = (*names, BIASES)
        if self.kind == "cross" and side == "key":
            sources = tuple(replace(source, stack="encoder") for source in sources)
        return sources, vectors

    def _streams(
        self, side: str, rows: Tensor
    ) -> tuple[FixedNorm, Iterator[tuple[list[Source], Tensor]]]:
        """The norm that the head reads through, and what stands in the stream before it."""
        trace, batch, layer = self.trace, self.batch, self.layer
        if self.kind != "cross":
            x = stream_at(trace, self.kind, "resid_pre", layer, rows, batch)
            norm = FixedNorm(self.block.norm1, x)
            return norm, stream_sources(trace, layer, rows, kind=self.kind, batch=batch)
        if side == "query":
            x = stream_at(trace, "decoder", "resid_pre", layer, rows, batch)
            x = x + stream_at(trace, "decoder", "attn_out", layer, rows, batch)
            norm = FixedNorm(self.block.norm2, x)
            return norm, stream_sources(
                trace, layer, rows, kind="decoder", batch=batch, after_attention=True
            )
        last = trace.n_layers("encoder")
        x = stream_at(trace, "encoder", "resid_post", last - 1, rows, batch)
        norm = FixedNorm(self.model.encoder.norm, x)
        return norm, stream_sources(trace, last, rows, kind="encoder", batch=batch)

    def _turned(self, side: str, vectors: Tensor, rows: Tensor) -> Tensor:
        """QK-norm at its actual scale, then rotary positions."""
        if self.attention.qk_norm:
            whole = vectors.sum(0)
            eps = torch.finfo(self.call.query.dtype).eps
            vectors = vectors * (whole.square().mean(-1, keepdim=True) + eps).rsqrt()
        if self.kind == "cross" or not self.model.positions.rotates:
            return vectors
        of_target = self.kind == "decoder" and self.trace.target is not None
        ids = self.trace.target if of_target else self.trace.tokens
        mask = self.trace.target_mask if of_target else self.trace.mask
        _, places = self.model.places(ids, mask)
        places = (places if places.dim() == 1 else places[self.batch])[rows.to(places.device)]
        dtype = torch.float32 if places.device.type == "mps" else torch.float64
        turned = self.model.positions.rotate(vectors.to(places.device, dtype)[None], places)
        return precise(turned[0])
