"""What a trace keeps while the model runs: references to queries and keys, and a few norms."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from . import hub
from .attention import AttentionCall, Site, Tap
from .model import Transformer

KEEP_ALL_BELOW_MIB = 64


@dataclass(frozen=True, eq=False)
class GivenMaps:
    """Maps that were handed over whole (the eager fallback), behind AttentionCall's methods."""

    maps: Tensor  # [batch, head, query, key]
    site: Site
    causal: bool = False
    bias: Tensor | None = None
    softcap: float | None = None
    value: Tensor | None = None
    module: nn.Module | None = None

    @property
    def n_heads(self) -> int:
        return self.maps.shape[1]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        batch, head, query, key = self.maps.shape
        return batch, head, query, key

    def pattern(self, batch=slice(None), head=slice(None), rows=None) -> Tensor:
        maps = self.maps if rows is None else self.maps[:, :, rows]
        return maps[batch][..., head, :, :].float()

    def scores(self, batch=slice(None), head=slice(None), rows=None) -> Tensor:
        """log(pattern): the scores up to a constant a row."""
        return self.pattern(batch, head, rows).log()


class Recorder(Tap):
    """Keeps what passes, of the thread that made it. No copy, but where a reference would hold
    on to more than is kept (queries and keys of one fused projection, without the values)."""

    records = True

    def __init__(self, model: Any, keep: str):
        self.model, self.keep, self.owner = model, keep, threading.get_ident()
        self.calls: dict[str, list[Any]] = {}  # AttentionCall or GivenMaps
        self.value_norms: dict[str, list[Tensor | None]] = {}
        self.streams: dict[tuple[str, str], list[Tensor]] = {}
        self.norms: dict[str, list[Tensor]] = {}
        self.heads: dict[str, list[Tensor]] = {}

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        if threading.get_ident() == self.owner:
            site = call.site or Site("encoder", len(self.calls.get("encoder", [])))
            # Layers are counted as they come, so that layers sharing weights stay apart.
            layer = len(self.calls.setdefault(site.kind, []))
            keep: Callable[[Any], Tensor] = _detach if self.keep == "all" else _compact
            kept = replace(
                call,
                query=keep(call.query),
                key=keep(call.key),
                value=keep(call.value) if self.keep == "all" else None,
                bias=None if call.bias is None else call.bias.detach(),
                site=Site(site.kind, layer),
            )
            self.calls[site.kind].append(kept)
            norms = None if self.keep == "all" else value_norms(self.model, call)
            self.value_norms.setdefault(site.kind, []).append(norms)
        return call

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        if self.keep == "all" and threading.get_ident() == self.owner:
            site = call.site or Site("encoder", 0)
            self.heads.setdefault(site.kind, []).append(z.detach())
        return z

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        if threading.get_ident() == self.owner:
            first = name == "resid_pre" and site.kind not in self.norms
            if first or name == "resid_post":
                self.norms.setdefault(site.kind, []).append(x.detach().float().norm(dim=-1))
            if self.keep == "all":
                self.streams.setdefault((site.kind, name), []).append(x.detach())
        return x


def what_to_keep(model: Any, *texts: Tensor | None) -> str:
    """ "all" while the values, heads' outputs and the residual stream (before, inside, after each block) are small."""
    config = model.config
    width = getattr(config, "d_model", None) or getattr(config, "hidden_size", 0)
    layers = getattr(config, "n_layers", None) or getattr(config, "num_hidden_layers", 1)
    n_tokens = sum(t.numel() for t in texts if t is not None)
    return "all" if 4 * 4 * n_tokens * width * layers < KEEP_ALL_BELOW_MIB * 2**20 else "maps"


def _detach(x: Any) -> Tensor:
    return x.detach()


def _compact(x: Any) -> Tensor:
    x = x.detach()
    if x.untyped_storage().nbytes() > 1.25 * x.numel() * x.element_size():
        return x.clone(memory_format=torch.contiguous_format)
    return x


def value_norms(model: Any, call: Any) -> Tensor:
    """‖v_j W_O‖ for every head and key: [batch, head, key], fp32.

    The norm of v·W is taken through the d_head × d_head matrix W·Wᵀ, which costs a twelfth of
    a block's arithmetic less than projecting. Where a model's W_O was not found it is ‖v_j‖.
    Source: Kobayashi et al. 2020.
    """
    value = call.value.detach().float()
    weight = output_weight(model, call)
    if weight is None:
        norms = value.norm(dim=-1)
    else:
        per_head = weight.float().unflatten(0, (call.n_heads, -1))  # [head, d_head, d_model]
        gram = per_head @ per_head.transpose(-1, -2)
        if value.shape[1] != call.n_heads:
            value = value.repeat_interleave(call.n_heads // value.shape[1], 1)
        # In place: new memory for the product costs several times its arithmetic.
        norms = (value @ gram).mul_(value).sum(-1).clamp(min=0).sqrt()
    if norms.shape[1] != call.n_heads:
        norms = norms.repeat_interleave(call.n_heads // norms.shape[1], 1)
    return norms


def output_weight(model: Any, call: Any) -> Tensor | None:
    """W_O [head · d_head, d_model] of the layer that made the call, or None."""
    out = getattr(call.module, "out", None)
    if isinstance(model, Transformer) and isinstance(out, nn.Linear):
        return out.weight.detach().T
    return hub.output_projection(model, call)
