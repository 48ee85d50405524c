"""Passes of a model over one text or batch, whatever the model: plain, and replayed from where a
change begins.

A change in layer 7 leaves layers 0 to 6 as they were. `Passes` keeps what each block gave in one
clean pass and hands it out again instead of computing it, so that a pass with the change costs
the layers from 7 on, and is exact.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from ..attention import AttentionCall, Tap
from ..hub.network import Inputs, Network, SeamError
from ..hub.which import network_of
from ..tracing.running import inputs_for
from .hanging import uncompiled
from .kinds import EditError

_REPLAY = "forward"
_lock = threading.RLock()


def evaluated(model: Any) -> Network:
    """The network of a model or TextModel, in evaluation mode: one in training is left alone, and
    a copy of it returned.

    Raises:
        ValueError: for what is no model.
    """
    return network_of(model).evaluated()


def read(
    model: Any,
    network: Network,
    tokens: Any,
    target: Any = None,
    mask: Tensor | None = None,
    target_mask: Tensor | None = None,
    given: Mapping[str, Any] | None = None,
) -> Inputs:
    """What the network of the model is to read; text is for a TextModel, a picture for an
    ImageModel.

    Raises:
        ValueError: for what the model cannot read.
    """
    if isinstance(tokens, str) and hasattr(model, "encode") and hasattr(model, "tokenizer"):
        tokens = model.encode(tokens)
        if model.kind == "encoder-decoder" and not isinstance(target, Tensor):
            target = model.target_ids(tokens, target)
    if hasattr(model, "prepare") and tokens is not None:
        tokens, given = None, {**(given or {}), "pixel_values": model.prepare(tokens)}
    return inputs_for(network, tokens, target, mask, target_mask, given)


class Passes:
    """One clean pass of a model over `inputs`, kept so that others can begin in the middle.

    Use as a context; in it, `tap` is on the model and sees the passes of this thread only.

    Args:
        budget_mib: for what is kept; where it is not enough nothing is kept, and every pass
            begins at the beginning.
        states: take the final states of a model that has no head, for a measure of one's own.
        places: [batch], the positions that are asked about; None: all of them.
    """

    def __init__(
        self,
        network: Network,
        inputs: Inputs,
        tap: Tap,
        *,
        budget_mib: float = 256,
        states: bool = False,
        places: Tensor | None = None,
    ):
        self.network, self.inputs, self.tap, self.states = network, inputs, tap, states
        self.places = None if places is None else places.unique()
        self.budget = int(budget_mib * 2**20)
        self.block_of: dict[tuple[str, int], int] = {}  # (kind, layer) -> turn in the pass
        self._kept: list[tuple[nn.Module, Any]] = []
        self.reuses = False
        self.by_states = False  # whether `outputs` are final states
        self.cut = False  # whether they are of `places` alone

    @contextmanager
    def open(self) -> Iterator[Tensor]:
        """Yields what the clean pass gave: see `outputs`."""
        watch = _Watch(self)
        with self.again():
            with tapping(self.network, watch), watch.blocks(self.network.blocks()):
                clean = self.outputs()
            if not self.block_of:
                raise EditError(
                    f"the attention of {self.network.name} does not go through the seam, "
                    "so it cannot be edited"
                )
            calls = [module for module, _ in self._kept]
            self.reuses = watch.bytes <= self.budget and len(set(calls)) == len(calls)
            if not self.reuses:
                self._kept = []
            yield clean

    @contextmanager
    def again(self) -> Iterator[None]:
        """The same, with what is kept of a clean pass that was made before."""
        with torch.no_grad(), uncompiled(self.network), tapping(self.network, self.tap):
            yield

    def outputs(self, copies: int = 1, start: int = 0) -> Tensor:
        """Final states [copies · batch, position, d_model] of our own models that have a head
        (`logits` makes the rest of it), logits of others; those of others at `places` alone, in their
        order, where that can be had.

        Args:
            copies: so many times the batch (our own models only).
            start: the first block, counted as they come in a pass, that is computed.
        """
        inputs = self.inputs if copies == 1 else self.inputs.copies(copies)
        with self._replaying(self._kept[:start], copies):
            found = self.network.hidden(inputs) if self.network.has_head else None
            if found is not None:
                self.by_states = True
                return found
            with self._at_places():
                given = self.network.run(inputs)
        found = given.answers if given.logits is None else given.logits
        if found is None and self.states:
            found = given.states
        if found is None:
            raise EditError(
                "this model has no head (ours: head=False), so it predicts nothing to compare; say "
                "what to look at with measure=lambda states: …"
            )
        found = found if found.dim() > 2 else found[:, None]
        if self.places is not None and found is given.logits:
            self.cut = found.shape[1] == len(self.places) != self.inputs.n_outputs
        return found

    def _at_places(self) -> Any:
        return nullcontext() if self.places is None else self.network.predicting_at(self.places)

    def at(self, outputs: Tensor, places: Tensor) -> Tensor:
        """Of what `outputs` gave, the row of each text's place [batch]: [batch, d_model or vocab]."""
        rows = torch.arange(len(outputs), device=outputs.device)
        if self.cut and self.places is not None:
            places = torch.searchsorted(self.places, places)
        return outputs[rows, places]

    def logits(self, outputs: Tensor) -> Tensor:
        """[…, vocab], in fp32, of some of what `outputs` gave."""
        return (self.network.logits(outputs) if self.by_states else outputs).float()

    def start_of(self, kind: str, layer: int | None) -> int:
        """The first block that a change at this place (None: every layer) reaches."""
        if not self.reuses:
            return 0
        if layer is None:
            here = [turn for (k, _), turn in self.block_of.items() if k == kind]
            return min(here, default=0)
        kind = "decoder" if kind == "cross" and ("decoder", layer) in self.block_of else kind
        return self.block_of.get((kind, layer), 0)

    @contextmanager
    def _replaying(self, kept: list[tuple[nn.Module, Any]], copies: int) -> Iterator[None]:
        replayed, batch = [], len(self.inputs.first)
        try:
            for module, output in kept:
                _Replay.begin(module, lambda output=output: _copied(output, copies, batch))
                replayed.append(module)
            yield
        finally:
            for module in replayed:
                _Replay.end(module)


class _Watch(Tap):
    """In the clean pass: what each block gives, and which attention is in which block."""

    records = True

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
                kept = _copied(output, 1, 0) if self.bytes <= self.passes.budget else None
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
def tapping(network: Network, tap: Tap) -> Iterator[None]:
    """The tap is on the model while this is open.

    Raises:
        EditError: when its attention does not go through the seam.
    """
    try:
        with network.tapping(tap):
            yield
    except SeamError as error:
        raise EditError(f"{network.name} cannot be edited: {error}") from error


def _copied(output: Any, copies: int, batch: int) -> Any:
    """Fresh tensors, so that no model that adds in place can spoil what is kept. What is not of the
    batch (position biases that all texts share) stays one."""
    if isinstance(output, Tensor):
        times = copies if output.dim() and len(output) == batch else 1
        return output.repeat(times, *[1] * (output.dim() - 1)) if output.dim() else output.clone()
    if isinstance(output, tuple):
        return tuple(_copied(part, copies, batch) for part in output)
    return output


def _bytes(output: Any) -> int:
    if isinstance(output, Tensor):
        return output.numel() * output.element_size()
    return sum(map(_bytes, output)) if isinstance(output, tuple) else 0
