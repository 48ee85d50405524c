"""From numbers and tokens to what a browser is sent. The counterpart of static/codecs.js."""

from __future__ import annotations

import torch
from torch import Tensor

from ..tokenizers import display

WEIGHT_SCALE = 60_000


def pack_weights(weights: Tensor) -> bytes:
    """Weights 0 … 1 as 16-bit ⌊w · 60000⌋; 0 is for what is exactly 0, a tiny weight gets 1.

    60000 is twice a multiple of 10000, so every edge of rounding to one, two, three or four
    decimals falls between two codes: the browser's rounded number is that of the weight itself.
    """
    codes = (weights.detach().double().clamp(0, 1) * WEIGHT_SCALE).floor()
    codes = codes.clamp(min=1).where(weights > 0, 0)
    return codes.to(torch.int32).cpu().numpy().astype("<u2").tobytes()


def pack_shades(weights: Tensor) -> bytes:
    """Weights 0 … 1 as one byte, their place on the square-root colour scale."""
    shades = (255 * weights.detach().float().clamp(0, 1).sqrt()).round()
    return shades.to(torch.uint8).cpu().numpy().tobytes()


def pack_floats(values: Tensor, dtype: str = "<f4") -> bytes:
    """Numbers as little-endian "<f4" or "<f2"."""
    return values.detach().float().cpu().numpy().astype(dtype).tobytes()


def shown_token(token: object) -> str:
    """A token as every view shows it: invisible characters visible, nothing that JSON or a
    browser would trip over."""
    return display(str(token))


def shown_text(text: str) -> str:
    """The same for a title or a note, where spaces are spaces."""
    return " ".join(display(word) for word in str(text).split(" "))
