"""Whether a model's tokens look at earlier ones only: asked of the model itself, where its modules
do not say so. (Some say that they are not causal and are given a mask that is.)

A few tokens are read up to the first call of attention, and its map is looked at.
"""

from __future__ import annotations

import threading
import weakref
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from ..attention import AttentionCall, Tap
from . import reading, seam
from .hooks import SESSION
from .linear import device_of
from .network import Inputs
from .shield import no_grad, together
from .structure import Structure

N_TOKENS = 5
_known: weakref.WeakKeyDictionary[nn.Module, tuple[type, bool]] = weakref.WeakKeyDictionary()


def structure_of(model: Any) -> Structure:
    """A model's structure, with the direction in which its attention looks."""
    session = model.__dict__.get(SESSION)
    if session is not None:  # a pass now would be seen by the taps that are on it
        return session.structure
    structure = Structure(model)
    said = structure.both or (structure.says_causal and structure.causal)
    reads = getattr(model, "main_input_name", "input_ids") == "input_ids"
    # BigBird goes over to another attention for good when it reads a short text.
    turns = any(hasattr(m, "set_attention_type") for m in structure.names)
    if said or not reads or turns:
        return structure
    if model not in _known:
        with suppress(Exception):  # what cannot be read so is told when it is traced
            found = _first_call(model, structure)
            if found is not None:
                _known[model] = found
    known = _known.get(model)
    return structure if known is None else Structure(model, known)


class _Seen(Exception):
    """The first call of attention has been seen."""


class _First(Tap):
    def __init__(self):
        self.owner = threading.get_ident()
        self.seen: tuple[type, bool] | None = None

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        if threading.get_ident() == self.owner and call.shape[2] == call.shape[3]:
            later = torch.ones(call.shape[2:], dtype=torch.bool, device=call.query.device).triu(1)
            self.seen = type(call.module), not bool((call.pattern()[..., later] > 0).any())
            raise _Seen
        return call


def _first_call(model: Any, structure: Structure) -> tuple[type, bool] | None:
    """The class of the first attention that runs, and whether it looks at earlier tokens only."""
    first, device = _First(), device_of(model)
    vocabulary = int(getattr(model.config.get_text_config(), "vocab_size", None) or 32)
    # The higher ids are words, and not padding or another special token.
    ids = torch.arange(vocabulary // 2, vocabulary // 2 + N_TOKENS, device=device) % vocabulary
    # Dropout of a model in training draws numbers, which training would miss.
    own_random = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with together(no_grad(), own_random, seam.tapping(model, first, structure)), suppress(_Seen):
        model(**reading.inputs_of(Inputs(ids[None]), model))
    return first.seen
