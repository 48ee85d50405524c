"""What one position attends to in every head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...tracing.trace import Trace


class HeadRows:
    """One position's row of weights in all heads of one kind."""

    def __init__(self, trace: Trace, kind: str):
        self.trace, self.kind = trace, kind
        self.shape = (trace.n_layers(kind), trace.n_heads(kind), trace.shape(kind)[1])
        self._last: tuple[int, Tensor] | None = None

    def weights(self, query: int) -> Tensor:
        """fp32 [layer, head, key]; 0 for heads that a layer does not have."""
        if self._last is None or self._last[0] != query:
            found = torch.zeros(self.shape)
            for layer in self.trace.attending(self.kind):
                call: Any = self.trace.call(layer, kind=self.kind)
                at = torch.tensor([query], device=_device(call))
                found[layer, : call.n_heads] = call.pattern(0, slice(None), at)[:, 0].float().cpu()
            self._last = (query, found)
        return self._last[1]


def _device(call: Any) -> torch.device:
    return call.query.device if hasattr(call, "query") else call.maps.device


def evenly(n: int, room: int) -> range:
    """At most `room` of n indices, evenly spread; at least one."""
    step = -(-n // max(1, room))
    return range(step // 2, n, step)
