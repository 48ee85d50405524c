"""Data of a vision model for the browser: rows of all heads, and the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...adapters.lookup import network_of
from ...adapters.network import Inputs, Network
from ...heads.pictures import patch_distance
from ...pictures.image_model import ImageModel
from ...tracing.packing import pack_weights
from ...tracing.running import trace
from ...tracing.trace import Trace
from ..shared.rows import HeadRows, evenly

PAGE_BYTES = 48 << 20  # limit on rows in a saved page
STRETCHED = (
    "The model's image processor is not known: the picture's colours are stretched from its least "
    "to its largest pixel."
)


@dataclass(frozen=True, eq=False)
class Seen:
    """An image in a model: bytes [height, width, 3] as shown, and the trace."""

    network: Network
    pixels: Tensor
    picture: Tensor
    trace: Trace
    note: str


def look(
    model: Any, picture: Any, tokens: Any = None, labels: Any = None, given: Any = None
) -> Seen:
    """Run an `ImageModel` on an image, or another model on pixels and, if it reads text, tokens.

    Raises:
        ValueError: for an invalid image, several images, or a model whose patch positions are not
            known.
    """
    ready = isinstance(model, ImageModel)
    more = {**(given or {}), "pixel_values": model.prepare(picture) if ready else picture}
    made = trace(model.model if ready else model, tokens, labels=labels, keep="maps", **more)
    if ready:
        made.model_name = model.name
    if made.batch_size != 1:
        raise ValueError(f"picture holds {made.batch_size} pictures; give one")
    if made.patches is None:
        raise ValueError(
            f"the positions of the patches of {made.model_name} are unknown, so they cannot be shown; "
            "HeadView(trace) shows its maps"
        )
    network = network_of(model).evaluated()
    pixels = network.picture(Inputs(made.tokens, given=made.given))
    if pixels is None:
        raise ValueError(
            f"{made.model_name} reads patches one by one, and how they lie in a picture is not known; "
            "HeadView(trace) shows its maps"
        )
    seen = model.seen(pixels) if ready else _stretched(pixels)
    note = model.note if ready else STRETCHED
    return Seen(network, pixels, seen, made, " ".join(filter(None, (note, made.note))))


def _stretched(pixels: Tensor) -> Tensor:
    x = pixels.detach().float().cpu()[:3]
    x = (x - x.min()) / (x.max() - x.min()).clamp(min=1e-9)
    return (x * 255).round().to(torch.uint8).expand(3, -1, -1).permute(1, 2, 0)


class Rows(HeadRows):
    """The rows of all heads for one position: codes [layer, head, key] in 16 bits."""

    def __init__(self, trace: Trace):
        super().__init__(trace, trace.kind())

    def codes(self, query: int) -> np.ndarray:
        return pack_weights(self.weights(query)).numpy().astype("<u2")

    def packed(self, query: int) -> bytes:
        return self.codes(query).tobytes()

    def kept(self) -> list[int]:
        """Positions whose rows a saved page holds.

        All of them, or those that are not patches and as many evenly spaced patches as fit.
        """
        patches = self.trace.patches
        assert patches is not None
        room = max(1, PAGE_BYTES // (2 * int(np.prod(self.shape))))
        first = patches.others[:room]
        cells = evenly(patches.n, room - len(first))
        return sorted([*first, *(patches.start + i for i in cells)])


def distances(trace: Trace) -> list[list[float | None]]:
    """`patch_distance` to one decimal; None where it is NaN."""
    return [
        [None if x != x else round(x, 1) for x in row] for row in patch_distance(trace).tolist()
    ]
