"""A measure of how far heads attend in an image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..graphs.analyses import patch_distances
from ..tracing.trace import Trace, TraceError


def patch_distance(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """How far a head attends: the mean distance, in patches, from a patch to the patches that it
    attends to, fp32 [layer, head]. Attention to [CLS] and registers is left out, and the rest
    scaled to sum to 1.

    NaN where there is no head, or it gives patches no attention. A head that attends uniformly has
    `trace.patches.distances.mean()`.

    Raises:
        TraceError: if the positions of the patches are not known.

    Source: the mean attention distance of Dosovitskiy et al. 2021, D.7.
    """
    patches = trace.patches
    if patches is None:
        raise TraceError(
            f"the positions of the patches in this trace of {trace.model_name} are not known"
        )
    found = torch.full((trace.n_layers(kind), trace.n_heads(kind)), float("nan"))
    here = slice(patches.start, patches.start + patches.n)
    at = torch.tensor([divmod(i, patches.columns) for i in range(patches.n)]).float()
    for layer in trace.attending(kind):
        call: Any = trace.call(layer, kind=kind, batch=batch)
        for head in range(call.n_heads):
            maps = call.pattern(batch, head)[None, here, here].float().cpu()
            found[layer, head] = patch_distances(maps, at, torch.ones(patches.n))["distance"][0]
    return found
