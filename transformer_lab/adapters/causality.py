"""Find out whether a model's tokens attend to earlier ones only, by running the model where its
modules do not say so. (Some say that they are not causal, and are passed a causal mask.)

The model reads a few tokens up to the first attention call, whose pattern is checked.
"""

from __future__ import annotations

import threading
import weakref
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import nn

from ..attention import AttentionCall, Tap
from . import attention_interface
from . import model_inputs as reading
from .hooks import SESSION, hook, hooked
from .interrupts import no_grad, together
from .linear import device_of
from .network import Inputs
from .structure import Structure, mark_of

N_TOKENS = 5
LOOPS = ("loop", "cycle")  # in the names of settings for running some layers several times
_known: weakref.WeakKeyDictionary[nn.Module, tuple[type, bool]] = weakref.WeakKeyDictionary()
_structures: weakref.WeakKeyDictionary[nn.Module, tuple[Any, Structure]] = (
    weakref.WeakKeyDictionary()
)
# A model's loop settings, and the order in which its layers ran with them.
_orders: weakref.WeakKeyDictionary[nn.Module, tuple[Any, list[int]]] = weakref.WeakKeyDictionary()


def structure_of(model: Any) -> Structure:
    """A model's structure, with whether its attention is causal. It is determined once, and again
    when the modules or the config have changed."""
    session = model.__dict__.get(SESSION)
    if session is not None:  # a pass now would be seen by the taps that are on it
        return session.structure
    mark = mark_of(model)
    before, kept = _structures.get(model, (None, None))
    if kept is not None and before == mark:
        return kept.again(model)
    structure = _read_off(model)
    if model not in structure.attending:
        _structures[model] = mark, structure.kept()
    return structure


def _read_off(model: Any) -> Structure:
    structure = Structure(model, order=_order_of(model))
    said = structure.both or (structure.says_causal and structure.causal)
    reads = getattr(model, "main_input_name", "input_ids") == "input_ids"
    # BigBird switches to another attention for good when it reads a short text.
    turns = any(hasattr(m, "set_attention_type") for m in structure.names)
    if said or not reads or turns:
        return structure
    if model not in _known:
        with suppress(Exception):  # a trace reports the error
            found = _first_call(model, structure)
            if found is not None:
                _known[model] = found
    known = _known.get(model)
    return structure if known is None else Structure(model, known, structure.order)


def _order_of(model: Any) -> list[int] | None:
    """The numbers of a decoder's blocks in the order in which they run, if it has loop settings and
    some blocks run several times (Dory's); else None."""
    config = getattr(model.config, "get_text_config", lambda: model.config)()
    loops = {n: x for n, x in vars(config).items() if isinstance(x, int) and x > 1}
    loops = {n: x for n, x in loops.items() if any(word in n.lower() for word in LOOPS)}
    stacks = Structure(model).stacks if loops else []
    if len(stacks) != 1 or stacks[0].shared or stacks[0].each > 1:
        return None
    if model not in _orders or _orders[model][0] != loops:
        owner, order = threading.get_ident(), list[int]()

        def enter(_module: Any, _args: Any, number: int) -> None:
            if threading.get_ident() == owner:
                order.append(number)

        blocks = enumerate(stacks[0].blocks)
        hooks = [partial(hook, b, partial(enter, number=i), before=True) for i, b in blocks]
        with suppress(Exception), hooked(*hooks):  # a trace reports the error
            _read(model)
        _orders[model] = loops, order
    order = _orders[model][1]
    return order if len(order) > len(set(order)) else None


class _Seen(Exception):
    """Raised at the first attention call, to end the pass."""


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
    """The class of the first attention that runs, and whether it attends to earlier tokens only."""
    first = _First()
    with attention_interface.tapping(model, first, structure), suppress(_Seen):
        _read(model)
    return first.seen


def _read(model: Any) -> None:
    """Run the model on a few tokens."""
    device = device_of(model)
    vocabulary = int(getattr(model.config.get_text_config(), "vocab_size", None) or 32)
    # Higher ids are words, not padding or another special token.
    ids = torch.arange(vocabulary // 2, vocabulary // 2 + N_TOKENS, device=device) % vocabulary
    # Dropout of a model in training draws random numbers, which must not disturb training's.
    own_random = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with together(no_grad(), own_random):
        model(**reading.inputs_of(Inputs(ids[None]), model))
