"""Whether the output projection of a layer reads just what its heads gave, or what a gate or a norm
made of it (Qwen3-Next, BitNet): seen in one pass over one token."""

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
    """Whether something does; False also where that cannot be seen (in training, where dropout
    stands there, and of what reads no text)."""
    module = network.module
    if module.training:
        return False
    if module not in _known:
        _known[module] = _seen(network)
    attending, straight = _known[module]
    return site in attending and site not in straight


def _seen(network: Any) -> tuple[frozenset[Site], frozenset[Site]]:
    """The sites that attend, and of them those whose output is read as it is."""
    ids = torch.zeros(1, 1, dtype=torch.long, device=network.device)
    both = network.kind == "encoder-decoder"
    try:
        found = Anatomy(network, Inputs(ids, ids if both else None))
    except Exception:  # what reads no such text, in whatever way it says so
        return frozenset(), frozenset()
    seen = {site for site in found.attention if network.blocks(_stack(site))}
    return frozenset(seen), frozenset(found.outs)


def _stack(site: Site) -> str:
    return "decoder" if site.kind == "cross" else site.kind
