"""Interventions: change what a head does and see whether it matters.

    with tl.edit(model, tl.ablate(layer=1, head=2), tl.knock_out(layer=1, head=0, query=5, key=3)):
        after = tl.trace(model, tokens)

Edits are hooks on the attention interface: heads are ablated in z, before W_O mixes them, and edges
are cut before the softmax, so that the rest of the row takes their weight. They work on our models
and on Hugging Face's, and are removed when the block ends.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointError

from ..adapters.checkpointing import checkpointed, computing_again
from ..adapters.hooks import Passes, hook
from ..adapters.interrupts import sheltered
from ..adapters.lookup import network_of
from ..adapters.network import AdapterError, Network, no_heads
from ..adapters.wrappers import is_compiled
from ..arguments import said_by
from ..attention import AttentionCall, Site, Tap
from .calls import real_keys, start_of
from .kinds import Edit, EditError


def edit(model: Any, *edits: Edit, this_thread: bool = False) -> AbstractContextManager[Any]:
    """Edit every forward pass of the model inside a `with` block; afterwards it is unchanged.

    Edits apply in the order of the pass: layer by layer, and within a layer first to the incoming
    stream, then to edges, heads and the outgoing stream. At one site they apply in the order given
    (a head that is patched and then scaled is a scaled patch), those of an outer block before those
    of an inner one. A compiled model runs uncompiled meanwhile, since compiled code calls no new
    hooks. With gradient checkpointing, a layer is recomputed under the edits of its own pass,
    whether `backward()` is called within the block or after it.

    Args:
        model: a `Transformer`, a Hugging Face model or a `TextModel`; if it is compiled, what
            `torch.compile` returned.
        edits: from `ablate`, `knock_out`, `scale`, `patch`, `skip` and `steer`; all of them apply.
        this_thread: edit only the passes of the calling thread.

    Raises:
        EditError: for an edit that matches nothing in the model, or a model whose attention does
            not go through the attention interface. What only a pass can show is raised during it or
            when the block ends.
    """
    network = editable(model)
    if not edits:
        raise EditError("tl.edit needs at least one edit; try tl.ablate(layer=0, head=0)")
    owner = threading.get_ident() if this_thread else None
    taps = [tap_for(network, e, owner) for e in edits]
    return _edited(model, network, taps)


@sheltered
def _edited(model: Any, network: Network, taps: list[EditTap]) -> Iterator[Any]:
    passes = Passes()
    with uncompiled(model), ExitStack() as hung:
        counter = hook(network.module, passes, before=True)
        hung.callback(counter.remove)
        for tap in taps:
            _hang(network, tap, hung)
            tap.ended = False
        try:
            yield model
        except AdapterError as error:
            raise EditError(_not_editable(network, error)) from error
        except CheckpointError as error:
            raise EditError(
                "a checkpointed pass of before this edit cannot be computed again under it; call "
                f"backward() after the block, or set use_reentrant=True ({said_by(error)})"
            ) from error
        finally:
            for tap in taps:
                tap.ended = True
    for tap in taps:
        if passes and not tap.applied:
            raise EditError(
                f"{tap.edit.code()} changed nothing in {len(passes)} forward passes: "
                f"{type(network.module).__name__} has no such edge or layer, or its window or mask "
                "leaves it out"
            )


@sheltered
def tapping(network: Network, tap: Tap) -> Iterator[None]:
    """Register the tap on the model while this is open.

    Raises:
        EditError: if its attention does not go through the attention interface.
    """
    try:
        with network.tapping(tap):
            yield
    except AdapterError as error:
        raise EditError(f"{network.name} cannot be edited: {error}") from error


class EditTap(Tap):
    """The hook of one edit on one model. A checkpointed layer that ran under it is recomputed under
    it, also after the edit has ended; one that did not is not."""

    ended: bool | None = None  # None: not of `tl.edit`, and so of no pass that is differentiated

    def __init__(self, network: Network, edit: Edit, kind: str, owner: int | None = None):
        self.network, self.edit, self.kind, self.owner = network, edit, kind, owner
        self._again: set[int] = set()  # threads that recompute a layer that ran under it
        self.stream_kind, self.streams = edit.stream_kind(kind), edit.streams()
        self.applied = 0
        # Of each thread's last self-attention: its first query's position, and which queries are
        # real.
        self._seen: dict[int, tuple[int, Tensor | None]] = {}

    def here(self, kind: str, site: Site | None) -> bool:
        """Whether the edit acts at this site, for this thread."""
        if not self._holds() or site is None or site.kind != kind:
            return False
        return self.edit.layer is None or self.edit.layer == site.layer

    def _holds(self) -> bool:
        """Whether the edit holds for what this thread computes now."""
        thread = threading.get_ident()
        if thread in self._again:
            holds = True
        elif self.ended or (self.owner is not None and thread != self.owner):
            return False
        elif self.ended is None:
            return True
        else:
            holds = not computing_again()
        region = checkpointed()
        if region is None:  # of a kind that is unknown here, if it is computed again
            return True
        if holds and self not in (under := region.rerun().under):
            under[self] = partial(_recomputing, self, self.network.pass_now())
        return holds

    def recompute(self, again: bool) -> bool:
        """Note whether this thread recomputes what ran under the edit; return what was noted."""
        thread = threading.get_ident()
        before = thread in self._again
        (self._again.add if again else self._again.discard)(thread)
        return before

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        thread = threading.get_ident()
        if call.site is not None and call.site.kind != "cross":
            start, n_query = start_of(call), call.shape[2]
            real = real_keys(call) if getattr(self.edit, "value", None) == "mean" else None
            if real is not None:  # the keys that are queries too
                first = start - call.first_key
                real = real[:, first : first + n_query]
            self._seen[thread] = start, real
        if not self.here(self.kind, call.site):
            return call
        changed = self.edit.change_attention(call, self._seen.get(thread, (0, None))[0])
        self.applied += changed is not call
        return changed

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        if not self.here(self.kind, call.site):
            return z
        start, real = self._seen.get(threading.get_ident(), (0, None))
        changed = self.edit.change_heads(call, z, start, real)
        self.applied += changed is not z
        return changed

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        if name not in self.streams or not self.here(self.stream_kind, site):
            return x
        changed = self.edit.change_stream(name, site, x)
        self.applied += changed is not x
        return changed


def editable(model: Any) -> Network:
    """Return the network of a model that has attention.

    Raises:
        EditError: if it has none, or is not a model.
    """
    try:
        network = network_of(model)
    except ValueError as error:
        raise EditError(f"a {type(model).__name__} cannot be edited: {error}") from error
    if not network.kinds:
        raise EditError(
            f"this {type(network.module).__name__} has no attention, so there is nothing to edit; "
            "a recurrent model has attention with kind='encoder-decoder' and attention='bahdanau'"
        )
    return network


def default_kind(kinds: Sequence[str]) -> str:
    return "decoder" if "decoder" in kinds else kinds[0]


def kind_in(network: Network, kind: str | None) -> str:
    """Return the kind of attention: the one named, or the model's default.

    Raises:
        EditError: for a kind that the model does not have.
    """
    if kind is not None and kind not in network.kinds:
        raise EditError(f"kind={kind!r} is not in this model; it has {', '.join(network.kinds)}")
    return kind or default_kind(network.kinds)


def heads_in(network: Network, kind: str) -> Sequence[int | None]:
    """Return the number of heads of each layer: 0 for none, None if it is not known.

    Raises:
        EditError: if the number of layers is not known.
    """
    try:
        return network.heads(kind)
    except AdapterError as error:
        raise EditError(str(error)) from error


def tap_for(network: Network, edit: Edit, owner: int | None = None) -> EditTap:
    """Check an edit against the model and return its tap.

    Raises:
        EditError: if it matches nothing.
    """
    if not isinstance(edit, Edit):
        raise EditError(
            f"{edit!r} is not an edit; use tl.ablate(…), tl.knock_out(…), tl.scale(…), "
            "tl.patch(…), tl.skip(…) or tl.steer(…)"
        )
    kind = kind_in(network, edit.kind)
    heads = heads_in(network, kind)
    known = [n for n in heads if n is not None]
    edit.check(kind, len(heads), max(known, default=None))
    tap = EditTap(network, edit, kind, owner)
    if edit.layer is not None and edit.needs_heads and heads[edit.layer] == 0:
        layers = network.layers(kind)
        raise EditError(f"{edit.code()}: {no_heads(layers[edit.layer], layers)}")
    if tap.streams and (why := network.refuses_stream(tap.streams, tap.stream_kind)):
        raise EditError(f"{edit.code()}: {why}")
    return tap


@sheltered
def _recomputing(tap: EditTap, state: Any) -> Iterator[None]:
    """While open, this thread recomputes what ran under the tap, in a pass with this state."""
    with ExitStack() as hung:
        if tap.ended:
            _hang(tap.network, tap, hung)
        hung.enter_context(tap.network.resumed(state))
        hung.callback(tap.recompute, tap.recompute(True))
        yield


def _hang(network: Network, tap: EditTap, hung: ExitStack) -> None:
    try:
        hung.enter_context(network.tapping(tap))
    except AdapterError as error:
        raise EditError(_not_editable(network, error)) from error
    if not tap.streams:
        return
    where = (tap.streams, tap.stream_kind, tap.edit.layer)
    try:
        hung.enter_context(network.changing_stream(tap, *where))
    except AdapterError as error:
        raise EditError(f"{type(network.module).__name__} cannot be edited: {error}") from error


def _not_editable(network: Network, error: AdapterError) -> str:
    return (
        f"{type(network.module).__name__} cannot be edited: its attention does not go through the "
        f"attention interface ({error})"
    )


_stance_lock = threading.Lock()
_stances: list[Any] = []  # a process-wide stance, then the models that run under it


@sheltered
def uncompiled(model: Any) -> Iterator[None]:
    """Run a compiled model uncompiled while this is open; do nothing for others.

    Raises:
        EditError: for a compiled model if torch cannot do that (before 2.6).
    """
    if not is_compiled(model.module if isinstance(model, Network) else model):
        yield
        return
    if not hasattr(torch.compiler, "set_stance"):
        raise EditError(
            "this model is compiled, and torch before 2.6 would silently ignore the edits; pass "
            "the model from before torch.compile"
        )
    with _stance_lock:
        if not _stances:
            _stances.append(torch.compiler.set_stance("force_eager"))
            _stances[0].__enter__()
        _stances.append(model)
    try:
        yield
    finally:
        with _stance_lock:
            _stances.pop()
            if len(_stances) == 1:
                _stances.pop().__exit__(None, None, None)
