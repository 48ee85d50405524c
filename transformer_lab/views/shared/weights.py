"""Detect whether a model's weights have changed."""

import torch
from torch import nn

from ...adapters.interrupts import no_grad
from ...adapters.linear import stored


@no_grad()
def weights_mark(model: nn.Module) -> bytes:
    """A few numbers of each parameter, which change when the weights are updated. (torch's own
    counter does not count a fused optimizer's steps.)"""
    # A view of each, not a copy: this runs at every click.
    few = [
        x.reshape(-1)[:: max(1, x.numel() // 3)]
        for p in model.parameters()
        for x in stored(p)
        if not x.is_meta  # on disk until it is used
    ]
    if len({(x.dtype, x.device) for x in few}) > 1:
        few = [x.float().cpu() for x in few]
    return torch.cat(few).float().cpu().numpy().tobytes() if few else b""
