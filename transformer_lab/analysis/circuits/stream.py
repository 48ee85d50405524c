"""The residual stream: how large it is, and what each block adds to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...adapters.interrupts import no_grad
from ...graphs import analyses
from ...tracing.trace import Trace

PART_NAMES = {"attn_out": "attention", "cross_out": "cross-attention", "mlp_out": "MLP"}


@dataclass(frozen=True, eq=False)
class BlockShare:
    """How much every block adds, by part: [part, layer, position] each.

    `norm` is the length of what the part adds; `share` that length over the length of the stream
    that it is added to; `cosine` the direction: 1 lengthens the stream, 0 turns it, −1 erases.
    `parts` are "attention", "cross-attention" and "MLP", or one "block" if only the stream before
    and after each block is known: its change then counts as one part (with the norm that follows
    it, in a model that normalises after adding).
    """

    parts: tuple[str, ...]
    norm: Tensor = field(repr=False)
    share: Tensor = field(repr=False)
    cosine: Tensor = field(repr=False)

    @property
    def whole(self) -> bool:
        """Whether attention and MLP are counted together."""
        return self.parts == ("block",)

    @property
    def note(self) -> str:
        if self.whole:
            return (
                "For this model the stream is recorded only before and after each block, so "
                "attention and MLP are counted together."
            )
        return ""


def stream_norms(trace: Trace, *, kind: str | None = None, batch: int = 0) -> Tensor:
    """L2 norm of the residual stream, [layer + 1, position]: row 0 before the first block, row
    l + 1 after block l. Source: Elhage et al. 2021.

    Raises:
        TraceError: if this model's stream is not known.
    """
    return trace.residual_norms(kind, batch).cpu()


def block_share(trace: Trace, *, kind: str | None = None, batch: int = 0) -> BlockShare:
    """Compare what each block's attention and MLP add with the stream that they are added to.

    Args:
        kind: "encoder" or "decoder" ("cross" means the decoder's stream too).

    Raises:
        TraceError: if the stream was not kept (keep="all" keeps it) or is not known.
    """
    streams = {n: x.float().cpu() for n, x in trace.residual(kind, batch).items()}
    before = streams["resid_pre"]
    if "attn_out" not in streams or not _adds_up(streams):
        return _shares(("block",), [(streams["resid_post"] - before, before)])
    parts, at = ["attn_out"], [(streams["attn_out"], before)]
    if "cross_out" in streams:
        parts.append("cross_out")
        at.append((streams["cross_out"], _after_attention(trace, before, streams["attn_out"])))
    if "mlp_out" in streams:
        parts.append("mlp_out")
        at.append((streams["mlp_out"], streams.get("resid_mid", before + streams["attn_out"])))
    return _shares(tuple(PART_NAMES[p] for p in parts), at)


def _adds_up(streams: dict[str, Tensor]) -> bool:
    """Whether the stream in the middle of each block is recorded, or follows because the block's
    parts are all that it adds.
    """
    if "resid_mid" in streams or "mlp_out" not in streams:
        return True
    if not streams["resid_pre"].shape == streams["attn_out"].shape == streams["mlp_out"].shape:
        return False
    names = ("resid_pre", "attn_out", "mlp_out", "resid_post")
    return bool(analyses.adds_up(*(streams[name] for name in names))["adds_up"])


def _after_attention(trace: Trace, before: Tensor, added: Tensor) -> Tensor:
    """The stream between self- and cross-attention: [layer, position, d_model]."""
    model: Any = None if trace.network is None else trace.network.transformer
    stream = before + added
    if model is None or model.config.norm_first or model.decoder is None:
        return stream
    with no_grad():
        device = model.device
        rows = [b.norm1(x.to(device)) for b, x in zip(model.decoder, stream, strict=True)]
    return torch.stack(rows).float().cpu()


def _shares(parts: tuple[str, ...], at: list[tuple[Tensor, Tensor]]) -> BlockShare:
    each = [analyses.shares(added, stream) for added, stream in at]
    norm, share, cosine = (torch.stack([x[n] for x in each]) for n in ("norm", "share", "cosine"))
    return BlockShare(parts, norm, share, cosine)
