"""Find out whether a layer's output projection reads its heads' output, or what a gate or a norm
made of it (Qwen3-Next, BitNet), in one pass over one token."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import nn

from ..attention import Site
from .network import Inputs
from .stream_writers import Anatomy

_known: weakref.WeakKeyDictionary[nn.Module, tuple[frozenset[Site], frozenset[Site]]] = (
    weakref.WeakKeyDictionary()
)


def stands_between(network: Any, site: Site) -> bool:
    """Whether there is a gate or a norm at this site; False also if that cannot be seen (in
    training, where dropout comes in between, and for models that read no text)."""
    module = network.module
    if module.training:
        return False
    if module not in _known:
        _known[module] = _seen(network)
    attending, straight = _known[module]
    return site in attending and site not in straight


def _seen(network: Any) -> tuple[frozenset[Site], frozenset[Site]]:
    """The sites that attend, and those of them whose output the projection reads unchanged."""
    ids = torch.zeros(1, 1, dtype=torch.long, device=network.device)
    both = network.kind == "encoder-decoder"
    try:
        found = Anatomy(network, Inputs(ids, ids if both else None))
    except Exception:  # a model that reads no such text may raise anything
        return frozenset(), frozenset()
    seen = {site for site in found.attention if network.blocks(_stack(site))}
    return frozenset(seen), frozenset(found.outs)


def _stack(site: Site) -> str:
    return "decoder" if site.kind == "cross" else site.kind
