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
from typing import Any

import torch
from torch import Tensor

from ..adapters.hooks import hook
from ..adapters.interrupts import sheltered
from ..adapters.lookup import network_of
from ..adapters.network import AdapterError, Network, no_heads
from ..adapters.wrappers import is_compiled
from ..attention import AttentionCall, Site, Tap
from .calls import real_keys, start_of
from .kinds import Edit, EditError


def edit(model: Any, *edits: Edit, this_thread: bool = False) -> AbstractContextManager[Any]:
    """Edit every forward pass of the model inside a `with` block; afterwards it is unchanged.

    Edits apply in the order of the pass: layer by layer, and within a layer first to the incoming
    stream, then to edges, heads and the outgoing stream. At one site they apply in the order given
    (a head that is patched and then scaled is a scaled patch), those of an outer block before those
    of an inner one. A compiled model runs uncompiled meanwhile, since compiled code calls no new
    hooks.

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
    passes: list[int] = []
    with uncompiled(model), ExitStack() as hung:
        counter = hook(network.module, lambda *_: passes.append(1), before=True)
        hung.callback(counter.remove)
        for tap in taps:
            _hang(network, tap, hung)
        try:
            yield model
        except AdapterError as error:
            raise EditError(_not_editable(network, error)) from error
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
    """The hook of one edit on one model."""

    def __init__(self, edit: Edit, kind: str, owner: int | None = None):
        self.edit, self.kind, self.owner = edit, kind, owner
        self.stream_kind, self.streams = edit.stream_kind(kind), edit.streams()
        self.applied = 0
        # Of each thread's last self-attention: its first query's position, and which queries are
        # real.
        self._seen: dict[int, tuple[int, Tensor | None]] = {}

    def here(self, kind: str, site: Site | None) -> bool:
        """Whether the edit acts at this site, for this thread."""
        if site is None or site.kind != kind:
            return False
        if self.owner is not None and threading.get_ident() != self.owner:
            return False
        return self.edit.layer is None or self.edit.layer == site.layer

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
    tap = EditTap(edit, kind, owner)
    if edit.layer is not None and edit.needs_heads and heads[edit.layer] == 0:
        layers = network.layers(kind)
        raise EditError(f"{edit.code()}: {no_heads(layers[edit.layer], layers)}")
    if tap.streams and (why := network.refuses_stream(tap.streams, tap.stream_kind)):
        raise EditError(f"{edit.code()}: {why}")
    return tap


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
