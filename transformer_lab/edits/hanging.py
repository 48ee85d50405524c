"""Interventions: change what a head does and see whether it matters.

    with tl.edit(model, tl.ablate(layer=1, head=2), tl.knock_out(layer=1, head=0, query=5, key=3)):
        after = tl.trace(model, tokens)

Edits are taps on the seam: heads are ablated in z, before W_O mixes them, and edges are cut
before the softmax, so that the rest of the row takes their weight. They hold for our models and
for Hugging Face's alike, and are gone when the block ends.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from . import hub
from .attention import AttentionCall, Site, Tap
from .blocks import Block
from .edit_kinds import Edit, EditError, real_keys
from .hub_stream import hook_stream
from .interventions import ablate, edit_from_dict, knock_out, patch, scale, skip
from .trace import KINDS

__all__ = [
    "Edit", "EditError", "ablate", "edit", "edit_from_dict", "knock_out", "patch", "scale", "skip",
]  # fmt: skip


@contextmanager
def edit(model: Any, *edits: Edit, this_thread: bool = False) -> Iterator[Any]:
    """While open, every forward pass of the model is edited; nothing is left behind.

    Edits act where they sit in the pass: layer by layer, and at one layer first those on the
    stream that comes in, then on edges, then on heads, then on what goes out. At one place they
    act in the order given (a head that is patched and then scaled is a scaled patch), and those
    of a block opened earlier before those of a block opened inside it. A model that
    `torch.compile` made fast runs uncompiled meanwhile, since compiled code calls no new hooks.

    Args:
        model: a `Transformer`, a Hugging Face model or a `TextModel`; where it is compiled, give
            what `torch.compile` returned.
        edits: from `ablate`, `knock_out`, `scale`, `patch` and `skip`; they add up.
        this_thread: leave alone the passes that other threads run meanwhile.

    Raises:
        EditError: for an edit that matches nothing in the model, or a model whose attention does
            not go through the seam. What can only be seen in a pass is told in it or at the end.
    """
    network = network_of(model)
    if not edits:
        raise EditError("no edit was given; try tl.ablate(layer=0, head=0)")
    kinds = kinds_of(network)
    owner = threading.get_ident() if this_thread else None
    taps = [_checked(network, e, kinds, owner) for e in edits]
    passes: list[int] = []
    with uncompiled(model):
        counter = network.register_forward_pre_hook(lambda *_: passes.append(1))
        handles: list[Any] = []
        hung: list[Tap] = []
        try:
            for tap in taps:
                _hang(network, tap, handles)
                hung.append(tap)
            yield model
        finally:
            counter.remove()
            for handle in handles:
                handle.remove()
            for tap in hung:
                _unhang(network, tap)
    for tap in taps:
        if passes and not tap.applied:
            raise EditError(
                f"{tap.edit.code()} changed nothing in {len(passes)} forward passes: nothing in "
                f"{type(network).__name__} that goes through the seam fits it"
            )


class EditTap(Tap):
    """An edit as it hangs on one model."""

    def __init__(self, edit: Edit, kind: str, owner: int | None = None):
        self.edit, self.kind, self.owner = edit, kind, owner
        self.stream_kind, self.streams = edit.stream_kind(kind), edit.streams()
        self.applied = 0
        # Of each thread's last decoder self-attention: where its queries start, which are real.
        self._seen: dict[int, tuple[int, Tensor | None]] = {}

    def _here(self, kind: str, site: Site | None) -> bool:
        if site is None or site.kind != kind:
            return False
        if self.owner is not None and threading.get_ident() != self.owner:
            return False
        return self.edit.layer is None or self.edit.layer == site.layer

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        thread = threading.get_ident()
        if call.site is not None and call.site.kind != "cross":
            start = call.shape[3] - call.shape[2] if call.site.kind == "decoder" else 0
            real = real_keys(call) if getattr(self.edit, "value", None) == "mean" else None
            self._seen[thread] = start, None if real is None else real[:, start:]
        if not self._here(self.kind, call.site):
            return call
        changed = self.edit.change_attention(call, self._seen.get(thread, (0, None))[0])
        self.applied += changed is not call
        return changed

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        if not self._here(self.kind, call.site):
            return z
        start, real = self._seen.get(threading.get_ident(), (0, None))
        changed = self.edit.change_heads(call, z, start, real)
        self.applied += changed is not z
        return changed

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        if name not in self.streams or not self._here(self.stream_kind, site):
            return x
        changed = self.edit.change_stream(name, site, x)
        self.applied += changed is not x
        return changed


def network_of(model: Any) -> Any:
    """The module itself: of a TextModel, of a compiled model."""
    model = getattr(model, "model", model) if hasattr(model, "tokenizer") else model
    model = getattr(model, "_orig_mod", model)
    if isinstance(model, torch.nn.parallel.DistributedDataParallel):
        model = model.module
    return model


def kinds_of(network: Any) -> list[str]:
    """Which kinds of attention it has.

    Raises:
        EditError: when it has none that is known.
    """
    if hasattr(network, "add_tap"):
        found = {module.site.kind for module in network.tapped()}
        if not found:
            raise EditError(
                f"this {type(network).__name__} has no attention, so there is nothing to edit; a "
                "recurrent model has some with kind='encoder-decoder' and attention='bahdanau'"
            )
        return [kind for kind in KINDS if kind in found]
    if hub.is_hugging_face(network):
        if getattr(network.config, "is_encoder_decoder", False):
            return ["encoder", "decoder", "cross"]
        causal = any(getattr(m, "is_causal", False) is True for m in network.modules())
        return ["decoder" if causal else "encoder"]
    raise EditError(f"{type(network).__name__} cannot be edited; its attention is unknown")


def default_kind(kinds: list[str]) -> str:
    return "decoder" if "decoder" in kinds else kinds[0]


def shape_of(network: Any, kind: str) -> tuple[int, int | None]:
    """(layers, heads) of one kind of attention."""
    if hasattr(network, "add_tap"):
        sites = [m for m in network.tapped() if m.site.kind == kind]
        layers = 1 + max(module.site.layer for module in sites)
        heads = next((m.n_heads for m in sites if hasattr(m, "n_heads")), network.config.n_heads)
        return layers, heads
    config, side = network.config, "encoder" if kind == "encoder" else "decoder"
    both = [f"{side}_layers"]
    both += ["num_decoder_layers"] if side == "decoder" and config.is_encoder_decoder else []
    layers = _first(config, *both, "num_hidden_layers")
    if layers is None:
        raise EditError(f"the number of layers of {type(network).__name__} is not known")
    return layers, _first(config, f"{side}_attention_heads", "num_attention_heads")


def _first(config: Any, *names: str) -> int | None:
    """The first of these settings that the config has."""
    return next((getattr(config, n) for n in names if getattr(config, n, None)), None)


def tap_for(network: Any, edit: Edit, owner: int | None = None) -> EditTap:
    """The edit, checked against the model, as a tap.

    Raises:
        EditError: where it fits nothing.
    """
    return _checked(network, edit, kinds_of(network), owner)


def _checked(network: Any, e: Edit, kinds: list[str], owner: int | None) -> EditTap:
    if not isinstance(e, Edit):
        raise EditError(
            f"{e!r} is no edit; use tl.ablate(…), tl.knock_out(…), tl.scale(…), tl.patch(…) or "
            "tl.skip(…)"
        )
    if e.kind is not None and e.kind not in kinds:
        raise EditError(f"kind={e.kind!r} is not in this model; it has {', '.join(kinds)}")
    kind = e.kind or default_kind(kinds)
    e.check(kind, *shape_of(network, kind))
    tap = EditTap(e, kind, owner)
    if tap.streams and hasattr(network, "add_tap"):
        blocks = [
            m for m in network.tapped() if isinstance(m, Block) and m.site.kind == tap.stream_kind
        ]
        if not blocks:
            raise EditError(
                f"{e.code()}: a {type(network).__name__} has no blocks with a residual stream"
            )
        if "mlp_out" in tap.streams and blocks[0].feed_forward is None:
            raise EditError(f"{e.code()}: this model is attention only, it has no mlp")
    return tap


def _hang(network: Any, tap: EditTap, handles: list[Any]) -> None:
    if hasattr(network, "add_tap"):
        network.add_tap(tap)
        return
    try:
        hub.add_tap(network, tap)
        try:
            if tap.streams:
                wanted = tap.edit.layer
                handles += hook_stream(network, tap, tap.streams, tap.stream_kind, wanted)
        except hub.SeamError:
            hub.remove_tap(network, tap)
            raise
    except hub.SeamError as error:
        why = f"its attention does not go through the seam ({error})"
        if tap.streams:
            why = str(error)
        raise EditError(f"{type(network).__name__} cannot be edited: {why}") from error


def _unhang(network: Any, tap: Tap) -> None:
    if hasattr(network, "add_tap"):
        network.remove_tap(tap)
    else:
        hub.remove_tap(network, tap)


_stance_lock = threading.Lock()
_stances: list[Any] = []  # one, while anything runs uncompiled: the setting is the process's


@contextmanager
def uncompiled(model: Any) -> Iterator[None]:
    """A compiled model runs as written while this is open; for others nothing happens.

    Raises:
        EditError: for a compiled model where torch cannot do that (before 2.6).
    """
    inner = getattr(model, "model", model) if hasattr(model, "tokenizer") else model
    compiled = isinstance(inner, torch.nn.Module) and any(
        hasattr(m, "_orig_mod") or getattr(m, "_compiled_call_impl", None) is not None
        for m in inner.modules()
    )
    if not compiled:
        yield
        return
    if not hasattr(torch.compiler, "set_stance"):
        raise EditError(
            "this model is compiled, and torch before 2.6 would silently pass by the edits: give "
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
