"""Interventions: change what a head does and see whether it matters.

    with tl.edit(model, tl.ablate(layer=1, head=2), tl.knock_out(layer=1, head=0, query=5, key=3)):
        after = tl.trace(model, tokens)

Edits are taps on the seam: heads are ablated in z, before W_O mixes them, and edges are cut
before the softmax, so that the rest of the row takes their weight. They hold for our models and
for Hugging Face's alike, and are gone when the block ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from . import hub
from .attention import AttentionCall, Tap, add_bias
from .trace import KINDS

EVERY = None


class EditError(ValueError):
    """The edit fits nothing in this model, or cannot be made in it."""


@dataclass(eq=False)
class Edit(Tap):
    """A change at one place, or at all layers or heads where these are None."""

    layer: int | None = None
    head: int | None = None
    kind: str | None = None
    applied: int = field(default=0, init=False)

    def matches(self, call: AttentionCall) -> bool:
        site = call.site
        if site is None or (self.kind or self._default) != site.kind:
            return False
        return self.layer is None or self.layer == site.layer

    _default: str | None = field(default=None, init=False, repr=False)

    def heads(self, call: AttentionCall) -> slice:
        if self.head is None:
            return slice(None)
        if not 0 <= self.head < call.n_heads:
            raise EditError(f"head={self.head} is outside 0 … {call.n_heads - 1}")
        return slice(self.head, self.head + 1)

    def describe(self) -> str:
        where = [f"{n}={getattr(self, n)!r}" for n in ("layer", "head", "kind")]
        return f"{type(self).__name__}({', '.join(where)})"


@dataclass(eq=False)
class Ablation(Edit):
    value: str | Tensor = "zero"

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        if not self.matches(call):
            return z
        self.applied += 1
        heads, z = self.heads(call), z.clone()
        if isinstance(self.value, Tensor):
            z[:, heads] = self.value.to(z)
        elif self.value == "mean":
            z[:, heads] = z[:, heads].mean(2, keepdim=True)
        else:
            z[:, heads] = 0.0
        return z


@dataclass(eq=False)
class KnockOut(Edit):
    query: int | None = None
    key: int | None = None

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        if not self.matches(call):
            return call
        _, n_heads, n_query, n_key = call.shape
        for name, value, limit in (("query", self.query, n_query), ("key", self.key, n_key)):
            if value is not None and not 0 <= value < limit:
                raise EditError(f"{name}={value} is outside the {limit} tokens (0 … {limit - 1})")
        self.applied += 1
        allowed = torch.ones(1, n_heads, n_query, n_key, dtype=torch.bool, device=call.query.device)
        query = slice(None) if self.query is None else self.query
        key = slice(None) if self.key is None else self.key
        allowed[:, self.heads(call), query, key] = False
        return replace(call, bias=add_bias(call.bias, allowed))


def ablate(
    layer: int | None = None,
    head: int | None = None,
    *,
    kind: str | None = None,
    value: str | Tensor = "zero",
) -> Edit:
    """Switch heads off by replacing their output z before W_O.

    Args:
        layer, head: counted from 0; None means all.
        kind: "encoder", "decoder" or "cross"; the decoder's (or only) self-attention by default.
        value: "zero", "mean" (over the text's positions), or a tensor that broadcasts to
            [batch, head, query, d_head].
    """
    if not isinstance(value, Tensor) and value not in ("zero", "mean"):
        raise EditError(f"value={value!r} is not known; choose 'zero', 'mean' or a tensor")
    _check_kind(kind)
    return Ablation(layer, head, kind, value=value)


def knock_out(
    layer: int | None = None,
    head: int | None = None,
    *,
    query: int | None = None,
    key: int | None = None,
    kind: str | None = None,
) -> Edit:
    """Forbid a query to look at a key. The edge is cut before the softmax, so that the weights
    that are left sum to 1 again.

    Args:
        layer, head: counted from 0; None means all.
        query, key: positions in the text; None means all (at least one must be given).
        kind: as in `ablate`.
    """
    if query is None and key is None:
        raise EditError("knock_out needs query or key; to switch a whole head off, use ablate")
    _check_kind(kind)
    return KnockOut(layer, head, kind, query=query, key=key)


@contextmanager
def edit(model: Any, *edits: Edit) -> Iterator[Any]:
    """While open, every forward pass of the model is edited; nothing is left behind.

    Args:
        model: a `Transformer`, a Hugging Face model or a `TextModel`.
        edits: from `ablate` and `knock_out`; they add up.

    Raises:
        EditError: for an edit that matches nothing in the model, or a model whose attention does
            not go through the seam.
    """
    network = _network(model)
    if not edits:
        raise EditError("no edit was given; try tl.ablate(layer=0, head=0)")
    kinds = _kinds(network)
    for e in edits:
        if not isinstance(e, Edit):
            raise EditError(f"{e!r} is no edit; use tl.ablate(…) or tl.knock_out(…)")
        _fits(network, e, kinds)
        e.applied, e._default = 0, "decoder" if "decoder" in kinds else kinds[0]
    passes: list[int] = []
    counter = network.register_forward_pre_hook(lambda *_: passes.append(1))
    hung: list[Tap] = []
    try:
        for e in edits:
            _hang(network, e)
            hung.append(e)
        yield model
    finally:
        counter.remove()
        for e in hung:
            _unhang(network, e)
    for e in edits:
        if passes and not e.applied:
            raise EditError(
                f"{e.describe()} changed nothing in {len(passes)} forward passes: no attention of "
                f"{type(network).__name__} that goes through the seam fits it"
            )


def _network(model: Any) -> Any:
    model = getattr(model, "model", model) if hasattr(model, "tokenizer") else model
    return getattr(model, "_orig_mod", model)


def _kinds(network: Any) -> list[str]:
    if hasattr(network, "add_tap"):
        kind = network.config.kind
        return ["encoder", "decoder", "cross"] if kind == "encoder-decoder" else [kind]
    if hub.is_hugging_face(network):
        if getattr(network.config, "is_encoder_decoder", False):
            return ["encoder", "decoder", "cross"]
        causal = any(getattr(m, "is_causal", False) is True for m in network.modules())
        return ["decoder" if causal else "encoder"]
    raise EditError(f"{type(network).__name__} cannot be edited; its attention is unknown")


def _fits(network: Any, e: Edit, kinds: list[str]) -> None:
    if e.kind is not None and e.kind not in kinds:
        raise EditError(f"kind={e.kind!r} is not in this model; it has {', '.join(kinds)}")
    config, kind = network.config, e.kind or ("decoder" if "decoder" in kinds else kinds[0])
    if hasattr(network, "add_tap"):
        layers, heads = config.n_layers, config.n_heads
        if kind != "encoder" and config.n_decoder_layers is not None:
            layers = config.n_decoder_layers
    else:
        side = "encoder" if kind == "encoder" else "decoder"
        layers = getattr(config, f"{side}_layers", None) or getattr(
            config, "num_hidden_layers", None
        )
        heads = getattr(config, f"{side}_attention_heads", None)
        heads = heads or getattr(config, "num_attention_heads", None)
    for name, value, limit in (("layer", e.layer, layers), ("head", e.head, heads)):
        if value is not None and limit is not None and not 0 <= value < limit:
            raise EditError(f"{name}={value} is outside 0 … {limit - 1} of this model's {kind}")


def _hang(network: Any, tap: Tap) -> None:
    if hasattr(network, "add_tap"):
        network.add_tap(tap)
        return
    try:
        hub.add_tap(network, tap)
    except hub.SeamError as error:
        raise EditError(
            f"{type(network).__name__} cannot be edited: its attention does not go through the "
            f"seam ({error})"
        ) from error


def _unhang(network: Any, tap: Tap) -> None:
    if hasattr(network, "add_tap"):
        network.remove_tap(tap)
    else:
        hub.remove_tap(network, tap)


def _check_kind(kind: str | None) -> None:
    if kind is not None and kind not in KINDS:
        raise EditError(f"kind={kind!r} is not known; choose one of {', '.join(KINDS)}")
