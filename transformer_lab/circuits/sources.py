"""Who wrote what into the residual stream: the embeddings, every head, every MLP.

The network measures that (see `Network.parts`). Of our own with `norm_first`, whose weights are known
by name, it is computed here of what the trace kept, in fp64: their stream is a plain sum, so whatever
reads it through a linear map (a head's queries and keys, the unembedding) can be split by who wrote
it. The norm in between divides by one number a position; held at its actual value it is linear too,
and the parts add up exactly. Source: Elhage et al. 2021.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..hub.network import Inputs, SeamError
from ..hub.sources import BIASES, Parts, PartsError, Source
from ..model import Transformer
from ..softmax import spread_heads
from ..tracing.trace import Trace, TraceError

MISSING = (
    "the parts of layer {layer}'s stream do not add up to it: the model's weights have changed "
    "since this trace, or it was traced under edits; trace the model again, unedited"
)


class FixedNorm:
    """A norm with its scale held at what it was for x [..., position, d_model], which makes it
    linear: norm(x) = linear(x) + shift (where shift is None: nothing)."""

    def __init__(self, norm: nn.Module, x: Tensor):
        x = x.double()
        self.centred = isinstance(norm, nn.LayerNorm)
        self.shift: Tensor | None = None
        self.factor = torch.ones(1, dtype=x.dtype)
        if isinstance(norm, nn.Identity):
            return
        if not isinstance(norm, (nn.LayerNorm, nn.RMSNorm)):
            raise ValueError(
                f"only a LayerNorm or an RMSNorm can be held fixed, got a {type(norm).__name__}"
            )
        eps = torch.finfo(torch.float32).eps if norm.eps is None else norm.eps
        square = x.var(-1, correction=0) if self.centred else x.square().mean(-1)
        gain = _weight(norm, "weight")
        self.factor = (square + eps).rsqrt().unsqueeze(-1).cpu()
        self.factor = self.factor if gain is None else self.factor * gain
        self.shift = _weight(norm, "bias")

    def linear(self, x: Tensor) -> Tensor:
        """What a part of the stream [..., position, d_model] becomes."""
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        return x * self.factor


_parts: WeakKeyDictionary[Trace, tuple[int, Parts]] = WeakKeyDictionary()  # of one text each


def is_plain_sum(trace: Trace) -> bool:
    """Whether the model is one of ours whose stream is what was written, added up."""
    model = None if trace.network is None else trace.network.transformer
    return model is not None and model.config.norm_first


def our_model(trace: Trace) -> Transformer:
    """The model of such a trace."""
    assert trace.network is not None and is_plain_sum(trace)
    return trace.network.transformer


def inputs_of(trace: Trace, batch: int) -> Inputs:
    """What one text of a trace was read from, a batch of one."""
    read = (trace.tokens, trace.target, trace.mask, trace.target_mask)
    own: list[Any] = [None if x is None else x[[batch]] for x in read]
    whole = lambda x: isinstance(x, Tensor) and len(x) == trace.batch_size  # noqa: E731
    given = {name: x[[batch]] if whole(x) else x for name, x in trace.given.items()}
    return Inputs(*own, given=given)


def parts_of(trace: Trace, batch: int) -> Parts:
    """One text of a trace, part by part, by the network itself. The last text's is kept.

    Raises:
        TraceError: for maps that were kept without a model.
        PartsError: see `Network.parts`.
    """
    if trace.network is None:
        raise TraceError(
            "this trace holds saved maps without the model that made them; trace the model itself"
        )
    known = _parts.get(trace)
    if known is None or known[0] != batch:
        try:
            known = _parts[trace] = (batch, trace.network.parts(inputs_of(trace, batch)))
        except SeamError as error:
            raise PartsError(
                f"the attention of {trace.model_name} does not go through the attention interface "
                f"({error}), so it is not known which part wrote what"
            ) from error
    return known[1]


def embedding_sources(
    trace: Trace, model: Transformer, kind: str, rows: Tensor, batch: int
) -> tuple[list[Source], Tensor]:
    """What the embeddings put into the stream: sources and [source, row, d_model], fp64."""
    decoder = kind == "decoder"
    of_target = decoder and trace.target is not None
    ids = trace.target if of_target else trace.tokens
    mask = trace.target_mask if of_target else trace.mask
    assert ids is not None
    embedding = model.target_embedding if decoder else model.embedding
    ids = ids[[batch]]
    mask = None if mask is None else mask[[batch]]
    names = [Source("token")]
    token = precise(embedding.weight[ids[0]])
    parts = [token * (model.config.d_model**0.5 if model.config.scale_embedding else 1.0)]
    if model.config.token_types:
        names.append(Source("segment"))
        parts.append(precise(model.token_types.weight[torch.zeros_like(ids[0])]))
    if model.positions.adds_embedding:
        _, places = model.places(ids, mask)
        names.append(Source("position"))
        where = model.positions.embed(places)
        assert where is not None
        parts.append(precise(where).reshape(len(token), -1))
    found = torch.stack(parts)[:, rows]
    fixed = FixedNorm(model.embedding_norm, found.sum(0))
    found = fixed.linear(found)
    if fixed.shift is not None:
        names.append(BIASES)
        found = torch.cat((found, fixed.shift.expand(1, *found.shape[1:])))
    return names, found


def stream_sources(
    trace: Trace,
    layer: int,
    rows: Tensor,
    *,
    kind: str,
    batch: int = 0,
    after_attention: bool = False,
) -> Iterator[tuple[list[Source], Tensor]]:
    """Everything that was written into the stream before block `layer`, a few sources at a time:
    ([source], [source, row, d_model] in fp64). Sources that are biases come more than once.

    Args:
        layer: up to n_layers, which means after the last block.
        rows: positions in the text.
        after_attention: also what block `layer`'s self-attention writes (the stream that
            cross-attention reads).

    Raises:
        TraceError: when values were not kept, or the parts do not add up to the stream.
    """
    model = our_model(trace)
    stack: Any = model.decoder if kind == "decoder" else model.encoder
    total = torch.zeros(len(rows), model.config.d_model, dtype=torch.float64)

    def counted(names: list[Source], parts: Tensor) -> tuple[list[Source], Tensor]:
        total.add_(parts.sum(0))
        return names, parts

    names, parts = embedding_sources(trace, model, kind, rows, batch)
    n = len(names) - (names[-1] == BIASES)  # by themselves, as all biases come
    yield counted(names[:n], parts[:n])
    if n < len(names):
        yield counted(names[n:], parts[n:])
    for below in range(layer + after_attention):
        _same_stream(trace, kind, below, rows, batch, total)
        block = stack.blocks[below]
        yield from (counted(*x) for x in _heads(trace, kind, below, rows, batch, block.attention))
        if below == layer:
            return
        if block.cross is not None:
            yield from (
                counted(*x) for x in _heads(trace, "cross", below, rows, batch, block.cross)
            )
        if block.feed_forward is not None:
            written = stream_at(trace, kind, "mlp_out", below, rows, batch)
            yield counted([Source("mlp", below)], written[None])
    _same_stream(trace, kind, layer, rows, batch, total)


def _heads(
    trace: Trace, kind: str, layer: int, rows: Tensor, batch: int, attention: Any
) -> Iterator[tuple[list[Source], Tensor]]:
    call = trace.call(layer, kind=kind, batch=batch)
    if call.value is None:
        raise TraceError("this trace kept no values; use trace(..., keep='all') to keep them")
    pattern = precise(call.pattern(batch, slice(None), rows.to(call.query.device)))
    value = spread_heads(precise(call.value[[batch]]), call.n_heads)[0]
    weight = precise(attention.out.weight).unflatten(1, (call.n_heads, -1))
    parts = torch.einsum("hrk,hkd,mhd->hrm", pattern, value, weight)
    part = "cross head" if kind == "cross" else "head"
    yield [Source(part, layer, head) for head in range(call.n_heads)], parts
    if attention.out.bias is not None:
        bias = precise(attention.out.bias)
        yield [BIASES], bias.expand(1, *parts.shape[1:])


def stream_at(
    trace: Trace, kind: str, name: str, layer: int, rows: Tensor | slice, batch: int
) -> Tensor:
    """A recorded stream of one layer: [row, d_model], fp64.

    Raises:
        TraceError: when the trace did not keep it, saying how to.
    """
    return precise(trace.activation(name, layer, kind=kind)[batch])[rows]


def _same_stream(
    trace: Trace, kind: str, layer: int, rows: Tensor, batch: int, total: Tensor
) -> None:
    """Refuse parts that are not what the model added up."""
    last = trace.n_layers(kind)
    name, at = ("resid_post", last - 1) if layer == last else ("resid_pre", layer)
    actual = stream_at(trace, kind, name, at, rows, batch)
    single = trace.activation(name, at, kind=kind).dtype == torch.float32
    room = (1e-4 if single else 3e-2) * actual.norm(dim=-1).clamp(min=1e-6)
    if bool(((total - actual).norm(dim=-1) > room).any()):
        raise TraceError(MISSING.format(layer=layer))


def precise(x: Tensor) -> Tensor:
    """fp64 on the CPU."""
    return x.detach().cpu().double()  # in this order: not every device knows fp64


def _weight(norm: nn.Module, name: str) -> Tensor | None:
    found = getattr(norm, name, None)
    return None if found is None else precise(found)
