"""Encode numbers and tokens for a browser. The counterpart of shared/codecs.js."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...graphs import analyses
from ...tokenizers import PositionName, display
from ...tracing.packing import pack_weights as codes_of


def pack_weights(weights: Tensor) -> bytes:
    """Weights 0 … 1 as little-endian 16 bits; see `tracing.packing`."""
    return codes_of(weights).cpu().numpy().astype("<u2").tobytes()


def pack_shades(weights: Tensor) -> bytes:
    """Weights 0 … 1 as one byte, their position on the square-root colour scale."""
    shades = analyses.shades(weights.detach().float())["shades"]
    return shades.to(torch.uint8).cpu().numpy().tobytes()


def pack_floats(values: Tensor, dtype: str = "<f4") -> bytes:
    """Numbers as little-endian "<f4" or "<f2"."""
    return values.detach().float().cpu().numpy().astype(dtype).tobytes()


def png_of_bytes(picture: Any) -> bytes:
    """Bytes [row, column] or [row, column, 3], an array or a tensor, as a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def shown_token(token: object) -> str:
    """A token as every view shows it: invisible characters made visible, and nothing that JSON or a
    browser would trip over."""
    return shown_text(token) if isinstance(token, PositionName) else display(str(token))


def shown_text(text: str) -> str:
    """The same for a title or a note, in which spaces stay spaces."""
    return " ".join(display(word) for word in str(text).split(" "))
