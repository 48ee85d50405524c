"""Whether a model still has the weights that something was computed with."""

import torch
from torch import nn

from ...adapters.interrupts import no_grad
from ...adapters.linear import stored


@no_grad()
def weights_mark(model: nn.Module) -> bytes:
    """Changes when the weights are updated: a few numbers of each parameter. (torch's own counter does
    not count a fused optimizer's steps.)"""
    # A view of each, and no copy: it is asked at every click.
    few = [
        x.reshape(-1)[:: max(1, x.numel() // 3)]
        for p in model.parameters()
        for x in stored(p)
        if not x.is_meta  # it stays on the disk until it is used
    ]
    if len({(x.dtype, x.device) for x in few}) > 1:
        few = [x.float().cpu() for x in few]
    return torch.cat(few).float().cpu().numpy().tobytes() if few else b""
