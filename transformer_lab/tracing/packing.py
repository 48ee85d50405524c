"""Attention weights in 16 bits, as stored in runs and sent to browsers."""

from __future__ import annotations

import torch
from torch import Tensor

from ..graphs import analyses
from ..graphs.analyses import WEIGHT_SCALE


def pack_weights(weights: Tensor) -> Tensor:
    """Weights 0 … 1 as uint16 ⌊w · 60000⌋; 0 means exactly 0, a tiny weight gets 1.

    60000 is twice a multiple of 10000, so every edge of rounding to one, two, three or four
    decimals falls between two codes: a code rounds to the same number as its weight.
    """
    return analyses.codes(weights.detach().double())["codes"].to(torch.int32).to(torch.uint16)


def unpack_weights(codes: Tensor) -> Tensor:
    """The middle of the interval of each code, float32; 0 stays 0, and 1 stays 1."""
    whole = codes.to(torch.int32).double()
    middle = ((whole + 0.5) / WEIGHT_SCALE).clamp(max=1)
    return middle.where(whole > 0, 0).float()
