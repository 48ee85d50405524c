"""The two operations of a graph that are not PyTorch's: attention, and a named point of the stream.

They run as `attend` and as the identity. While `running_with` is open, taps see them as they see a
model's own passes, so that a graph can be edited like its model.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..attention import Site, Tap
from ..attention import attend as _attend

_here = threading.local()


@contextmanager
def running_with(*taps: Tap) -> Iterator[None]:
    """Let these taps see and change what graphs compute in this thread while this is open."""
    before = getattr(_here, "taps", ())
    _here.taps = (*before, *taps)
    try:
        yield
    finally:
        _here.taps = before


def attend_in_graph(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    sinks: Tensor | None,
    causal: bool,
    scale: float,
    softcap: float | None,
    kind: str,
    layer: int,
) -> Tensor:
    """Scaled dot-product attention at a site; see `transformer_lab.attention.attend`."""
    z = _attend(
        query,
        key,
        value,
        bias=bias,
        causal=causal,
        scale=scale,
        softcap=softcap,
        sinks=sinks,
        tap=getattr(_here, "taps", ()),
        site=Site(kind, layer),
    )
    return z.contiguous() if z.data_ptr() != value.data_ptr() else z.clone()


attend = torch.library.custom_op("transformer_lab::attend", attend_in_graph, mutates_args=())


@attend.register_fake
def _(query, key, value, bias, sinks, causal, scale, softcap, kind, layer):
    return query.new_empty(*query.shape[:3], value.shape[3])


def point_in_graph(x: Tensor, name: str, kind: str, layer: int) -> Tensor:
    """x [batch, position, d_model], changed by taps alone: a named point of the residual stream."""
    changed = x
    for tap in getattr(_here, "taps", ()):
        changed = tap.on_stream(name, Site(kind, layer), changed)
    return changed.clone()


point = torch.library.custom_op("transformer_lab::point", point_in_graph, mutates_args=())


@point.register_fake
def _(x, name, kind, layer):
    return torch.empty_like(x)
