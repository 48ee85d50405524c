"""Passes of a model over one text or batch, whatever the model: plain, and replayed from where a
change begins.

A change in layer 7 leaves layers 0 to 6 as they were. `Passes` keeps what each block gave in one
clean pass and hands it out again instead of computing it, so that a pass with the change costs
the layers from 7 on, and is exact.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from . import hub
from .attention import AttentionCall, Tap
from .blocks import Block
from .edit import network_of, uncompiled
from .edit_kinds import EditError
from .trace import _frozen_copy, _ids, _in_vocabulary

_REPLAY = "forward"
_lock = threading.RLock()


@dataclass(frozen=True)
class Inputs:
    """What a model reads: ids [batch, position] on its device, masks bool (True: real)."""

    tokens: Tensor
    target: Tensor | None = None
    mask: Tensor | None = None
    target_mask: Tensor | None = None

    @property
    def output_mask(self) -> Tensor | None:
        return self.mask if self.target is None else self.target_mask

    @property
    def n_outputs(self) -> int:
        return (self.tokens if self.target is None else self.target).shape[1]

    def copies(self, n: int) -> Inputs:
        """The batch n times over."""
        more: list[Any] = [None if x is None else x.repeat(n, 1) for x in vars(self).values()]
        return Inputs(*more)


def evaluated(model: Any) -> Any:
    """The network of a model or TextModel, in evaluation mode: one in training is left alone, and
    a copy of it returned.

    Raises:
        ValueError: for what is no model.
    """
    network = network_of(model)
    if not isinstance(network, nn.Module) or not hasattr(network, "config"):
        raise ValueError(f"model is a {type(model).__name__}; give a Transformer or a TextModel")
    return _frozen_copy(network) if network.training else network


def read(
    model: Any,
    network: Any,
    tokens: Any,
    target: Any = None,
    mask: Tensor | None = None,
    target_mask: Tensor | None = None,
) -> Inputs:
    """What the network of the model is to read; text is for a TextModel.

    Raises:
        ValueError: for what the model cannot read.
    """
    if isinstance(tokens, str) and hasattr(model, "encode") and hasattr(model, "tokenizer"):
        tokens = model.encode(tokens)
        if model.kind == "encoder-decoder" and not isinstance(target, Tensor):
            target = model._target_ids(tokens, target)
    ids, target_ids = _ids("tokens", tokens), _ids("target", target)
    assert ids is not None
    _in_vocabulary(network, ids, target_ids)
    both = getattr(network.config, "is_encoder_decoder", False)
    if (both or getattr(network.config, "kind", "") == "encoder-decoder") and target_ids is None:
        raise ValueError("an encoder-decoder needs target, the decoder's input")
    device = next(network.parameters()).device
    moved: list[Any] = [
        None if x is None else x.to(device) for x in (ids, target_ids, mask, target_mask)
    ]
    return Inputs(*moved)


def run(network: Any, inputs: Inputs, *, head: bool = True) -> Tensor | None:
    """The model's logits [batch, position, vocab]; None where it gives none.

    Args:
        head: whether logits are wanted at all.

    Raises:
        EditError: for a model that has no head, where logits are wanted.
    """
    if hub.is_hugging_face(network):
        output = network(**hub.inputs_of(**vars(inputs), model=network))
        logits = getattr(output, "logits", None)
        return getattr(output, "prediction_logits", None) if logits is None else logits
    if head and hasattr(network, "hidden") and not getattr(network.config, "head", True):
        raise EditError("this model has no head (head=False), so it predicts nothing to compare")
    given = dict(mask=inputs.mask, target_mask=inputs.target_mask)
    given = {name: x for name, x in given.items() if x is not None}
    forward = network if head or not hasattr(network, "hidden") else network.hidden
    return forward(inputs.tokens, inputs.target, **given)


class Passes:
    """One clean pass of a model over `inputs`, kept so that others can begin in the middle.

    Use as a context; in it, `tap` is on the model and sees the passes of this thread only.

    Args:
        budget_mib: for what is kept; where it is not enough nothing is kept, and every pass
            begins at the beginning.
    """

    def __init__(self, network: Any, inputs: Inputs, tap: Tap, *, budget_mib: float = 256):
        self.network, self.inputs, self.tap = network, inputs, tap
        self.budget = int(budget_mib * 2**20)
        self.hugging_face = hub.is_hugging_face(network)
        self.block_of: dict[tuple[str, int], int] = {}  # (kind, layer) -> turn in the pass
        self._kept: list[tuple[nn.Module, Any]] = []
        self.reuses = False

    @contextmanager
    def open(self) -> Iterator[Tensor]:
        """Yields what the clean pass gave: see `outputs`."""
        watch = _Watch(self)
        with torch.no_grad(), uncompiled(self.network), tapping(self.network, self.tap):
            with tapping(self.network, watch), watch.blocks(_blocks(self.network)):
                clean = self.outputs()
            if not self.block_of:
                raise EditError(
                    f"the attention of {type(self.network).__name__} does not go through the seam, "
                    "so it cannot be edited"
                )
            calls = [module for module, _ in self._kept]
            self.reuses = watch.bytes <= self.budget and len(set(calls)) == len(calls)
            if not self.reuses:
                self._kept = []
            yield clean

    def outputs(self, copies: int = 1, start: int = 0) -> Tensor:
        """Final states [copies · batch, position, d_model] of our own models that have a head
        (`logits` makes the rest of it), logits of others.

        Args:
            copies: so many times the batch (our own models only).
            start: the first block, counted as they come in a pass, that is computed.
        """
        inputs = self.inputs if copies == 1 else self.inputs.copies(copies)
        with self._replaying(self._kept[:start], copies):
            if self._has_states:
                given = dict(mask=inputs.mask, target_mask=inputs.target_mask)
                return self.network.hidden(inputs.tokens, inputs.target, **given)
            output = run(self.network, inputs)
        if output is None:
            raise EditError(f"{type(self.network).__name__} has no head that predicts tokens")
        return output if output.dim() > 2 else output[:, None]

    def logits(self, outputs: Tensor) -> Tensor:
        """[…, vocab], in fp32, of some of what `outputs` gave."""
        return (self.network.logits(outputs) if self._has_states else outputs).float()

    @property
    def _has_states(self) -> bool:
        config = self.network.config
        return (
            not self.hugging_face
            and hasattr(self.network, "logits")
            and getattr(config, "head", True)
        )

    def start_of(self, kind: str, layer: int | None) -> int:
        """The first block that a change at this place (None: every layer) reaches."""
        if not self.reuses:
            return 0
        kind = "decoder" if kind == "cross" and ("decoder", layer or 0) in self.block_of else kind
        return self.block_of.get((kind, layer or 0), 0)

    @contextmanager
    def _replaying(self, kept: list[tuple[nn.Module, Any]], copies: int) -> Iterator[None]:
        replayed = []
        try:
            for module, output in kept:
                _Replay.begin(module, lambda output=output: _copied(output, copies))
                replayed.append(module)
            yield
        finally:
            for module in replayed:
                _Replay.end(module)


class _Watch(Tap):
    """In the clean pass: what each block gives, and which attention is in which block."""

    def __init__(self, passes: Passes):
        self.passes, self.owner, self.bytes = passes, threading.get_ident(), 0

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        if threading.get_ident() == self.owner and call.site is not None:
            place = (call.site.kind, call.site.layer)
            self.passes.block_of.setdefault(place, len(self.passes._kept))
        return call

    @contextmanager
    def blocks(self, modules: list[nn.Module]) -> Iterator[None]:
        def keep(module, args, output):
            if threading.get_ident() == self.owner:
                self.bytes += _bytes(output)
                kept = _copied(output, 1) if self.bytes <= self.passes.budget else None
                self.passes._kept.append((module, kept))

        # Before hooks of the user's own, which act on what is replayed as they did on this.
        handles = [module.register_forward_hook(keep, prepend=True) for module in modules]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


class _Replay:
    """Stands in for a block's forward: gives this thread what was kept, and lets others through.

    One stands in a module at a time, whatever the number of threads."""

    def __init__(self, module: nn.Module):
        self.module, self.before = module, module.__dict__.get(_REPLAY)
        self.forward = module.forward
        self.threads: dict[int, Callable[[], Any]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        kept = self.threads.get(threading.get_ident())
        return self.forward(*args, **kwargs) if kept is None else kept()

    def __deepcopy__(self, memo: dict) -> Any:  # a model copied meanwhile computes for itself
        module = copy.deepcopy(self.module, memo)
        return MethodType(type(module).forward, module)

    @classmethod
    def begin(cls, module: nn.Module, give: Callable[[], Any]) -> None:
        with _lock:
            replay = module.__dict__.get(_REPLAY)
            if not isinstance(replay, cls):
                replay = module.__dict__[_REPLAY] = cls(module)
            replay.threads[threading.get_ident()] = give

    @classmethod
    def end(cls, module: nn.Module) -> None:
        with _lock:
            replay = module.__dict__.get(_REPLAY)
            if not isinstance(replay, cls):
                return
            replay.threads.pop(threading.get_ident(), None)
            if not replay.threads:
                del module.__dict__[_REPLAY]
                if replay.before is not None:
                    module.__dict__[_REPLAY] = replay.before


@contextmanager
def tapping(network: Any, tap: Tap) -> Iterator[None]:
    """The tap is on the model while this is open."""
    if hasattr(network, "add_tap"):
        network.add_tap(tap)
        try:
            yield
        finally:
            network.remove_tap(tap)
        return
    if not hub.is_hugging_face(network):
        raise EditError(f"{type(network).__name__} cannot be edited; its attention is unknown")
    try:
        hub.add_tap(network, tap)
    except hub.SeamError as error:
        raise EditError(f"{type(network).__name__} cannot be edited: {error}") from error
    try:
        yield
    finally:
        hub.remove_tap(network, tap)


def _blocks(network: Any) -> list[nn.Module]:
    if hasattr(network, "add_tap"):
        return [module for module in network.tapped() if isinstance(module, Block)]
    return list(hub.block_modules(network).values())


def _copied(output: Any, copies: int) -> Any:
    """Fresh tensors, so that no model that adds in place can spoil what is kept."""
    if isinstance(output, Tensor):
        return output.repeat(copies, *[1] * (output.dim() - 1))
    if isinstance(output, tuple):
        return tuple(_copied(part, copies) for part in output)
    return output


def _bytes(output: Any) -> int:
    if isinstance(output, Tensor):
        return output.numel() * output.element_size()
    return sum(map(_bytes, output)) if isinstance(output, tuple) else 0
