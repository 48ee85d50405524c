"""What a trace keeps while the model runs: references to queries and keys, and a few norms."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..adapters.checkpointing import computing_again
from ..adapters.interrupts import sheltered
from ..adapters.network import AdapterError, Inputs, Network
from ..attention import KINDS, AttentionCall, Site, Tap
from ..graphs import analyses
from ..softmax import spread_heads
from .grid_bias import Biases

KEEP_ALL_BELOW_MIB = 64


class Recorder(Tap):
    """Records the activations of a pass in the thread that created it. Copies only where a
    reference would hold on to more than is kept (queries and keys of a fused projection, without
    the values)."""

    records = True

    def __init__(self, network: Network | None, keep: str, inputs: Inputs | None = None):
        self.network, self.keep, self.owner = network, keep, threading.get_ident()
        self.values = keep != "maps"
        self.shapes = {} if inputs is None else shapes_of(inputs)
        self.biases: Biases | None = None
        if network is not None and inputs is not None and inputs.tokens is None:
            self.biases = Biases(network.name, network.patches(inputs))
        # Layers whose patterns are not over the text's tokens: kind -> layer -> why it is left out.
        self.left_out: dict[str, dict[int, str]] = {}
        self.strange: set[str] = set()  # kinds whose residual is not [batch, position, d_model]
        # kind -> layer -> activation; a layer is the number of its module
        self.calls: dict[str, dict[int, Any]] = {}  # AttentionCall or GivenMaps
        self.value_norms: dict[str, dict[int, Tensor | None]] = {}
        self.heads: dict[str, dict[int, Tensor]] = {}
        self.streams: dict[tuple[str, str], dict[int, Tensor]] = {}
        self.norms: dict[str, dict[int, Tensor]] = {}  # row 0: before the first block
        # What attention and MLP add, for models that need extra hooks for it; why it is not known.
        self.parts: dict[tuple[str, str], dict[int, Tensor]] = {}
        self.unknown: dict[tuple[str, str], str] = {}

    @property
    def here(self) -> bool:
        """Whether this is the pass to record: that of the thread that created the recorder, and
        not what gradient checkpointing computes again."""
        return threading.get_ident() == self.owner and not computing_again()

    def site_of(self, call: AttentionCall) -> Site:
        """The site of a recorded call."""
        return call.site or Site("encoder", len(self.calls.get("encoder", {})) - 1)

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        if self.here:
            site = call.site or Site("encoder", len(self.calls.get("encoder", {})))
            wanted, shape = self.shapes.get(site.kind), call.shape
            if wanted not in (None, (shape[0], *shape[2:])):
                self.left_out.setdefault(site.kind, {})[site.layer] = _why_left_out(call, wanted)
                return call
            found = self.calls.setdefault(site.kind, {})
            if call.part:
                self._more_values(site, call)
                return call
            if site.layer in found:
                raise AdapterError(
                    f"two attention calls both claim to be {site.kind}, layer {site.layer}; give "
                    "each module a tl.Site of its own"
                )
            keep: Callable[[Any], Tensor] = _detach if self.values else _compact
            whole = call if self.biases is None else self.biases.kept(call)
            found[site.layer] = replace(
                whole,
                query=keep(call.query),
                key=keep(call.key),
                value=keep(call.value) if self.values else None,
                bias=None if whole.bias is None else whole.bias.detach(),
                # A copy: they may be weights, which further training would change.
                sinks=None if call.sinks is None else call.sinks.detach().clone(),
                site=site,
                d_value=None if call.value is None else call.value.shape[-1],
            )
            norms = None if self.values else value_norms(self.network, call)
            self.value_norms.setdefault(site.kind, {})[site.layer] = norms
        return call

    def _more_values(self, site: Site, call: AttentionCall) -> None:
        """Append the values of a later part to those of the earlier ones."""
        layers, norms = self.calls[site.kind], self.value_norms[site.kind]
        before, known = layers[site.layer], norms[site.layer]
        assert call.value is not None
        value = None if before.value is None else torch.cat((before.value, call.value.detach()), -1)
        width = (before.d_value or 0) + call.value.shape[-1]
        layers[site.layer] = replace(before, value=value, part=call.part, d_value=width)
        if known is not None:
            norms[site.layer] = torch.hypot(known, value_norms(self.network, call))

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        if self.keep == "all" and self.here:
            site = call.site or Site("encoder", len(self.calls["encoder"]) - 1)
            if site.layer in self.left_out.get(site.kind, ()):
                return z
            found, kept = self.heads.setdefault(site.kind, {}), z.detach()
            found[site.layer] = torch.cat((found[site.layer], kept), -1) if call.part else kept
        return z

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        if self.here:
            wanted = self.shapes.get(site.kind)
            if wanted not in (None, (*x.shape[:2], x.shape[1])):
                self.strange.add(site.kind)
            first = name == "resid_pre" and site.kind not in self.norms
            if first or name == "resid_post":
                row = 0 if first else site.layer + 1
                self.norms.setdefault(site.kind, {})[row] = torch.linalg.vector_norm(
                    x.detach().float(), dim=-1
                )
            if self.keep == "all" or name == "gates":  # a number for each expert
                self.streams.setdefault((site.kind, name), {})[site.layer] = x.detach()
        return x

    def finish(self) -> None:
        """Drop each residual stream that some layer does not show: row i must be layer i."""
        for kind in self.strange:
            self.norms.pop(kind, None)
            self.streams = {place: x for place, x in self.streams.items() if place[0] != kind}
            self.parts = {place: x for place, x in self.parts.items() if place[0] != kind}
        self.parts = {place: x for place, x in self.parts.items() if place not in self.unknown}

    def what_was_left_out(self) -> str:
        """A sentence for each kind with layers left out; empty if there are none."""
        said = []
        for kind, layers in self.left_out.items():
            whole = "" if kind in self.calls else ", all of them"
            numbers = f"layer{'s' * (len(layers) > 1)} {', '.join(map(str, sorted(layers)))}"
            why = next(iter(layers.values()))
            said.append(f"The attention of {numbers} ({kind}{whole}) is not shown: it {why}.")
        return " ".join(said)


class PartsTap(Tap):
    """Passes what attention and MLP add to a recorder, for `watching_parts`."""

    records = True

    def __init__(self, recorder: Recorder):
        self._recorder = recorder

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        if not self._recorder.here:
            return x
        found = self._recorder.parts.setdefault((site.kind, name), {})
        if x.dim() != 3 or site.layer in found:  # experts may get tokens in groups
            why = (
                f"in layer {site.layer} it is computed in several parts, or is not [batch, "
                "position, d_model]"
            )
            self._recorder.unknown[site.kind, name] = why
        else:  # a copy: some models then add to it in place
            found[site.layer] = x.detach().clone()
        return x


@sheltered
def watching_parts(network: Network, recorder: Recorder, tap: Tap) -> Iterator[None]:
    """While open, pass what attention and MLP add to the tap, for models that need extra hooks for
    it. What cannot be recorded is noted in the recorder, with the reason."""
    with ExitStack() as stack:
        for kind in network.kinds:
            own = "decoder" if kind == "cross" else kind
            for name in ("cross_out",) if kind == "cross" else ("attn_out", "mlp_out"):
                try:
                    stack.enter_context(network.changing_stream(tap, [name], own, None))
                except AdapterError as error:
                    recorder.unknown[own, name] = str(error)
        yield


def shapes_of(inputs: Inputs) -> dict[str, tuple[int, int, int]]:
    """kind -> (batch, queries, keys) of a pattern over all tokens; empty for inputs without
    tokens."""
    if inputs.tokens is None:
        return {}
    batch, n = inputs.tokens.shape
    if inputs.target is None:
        return dict.fromkeys(KINDS, (batch, n, n))
    m = inputs.target.shape[1]
    return {"encoder": (batch, n, n), "decoder": (batch, m, m), "cross": (batch, m, n)}


def _why_left_out(call: AttentionCall, wanted: tuple[int, int, int]) -> str:
    _, _, n_query, n_key = call.shape
    return f"has {n_query} queries and {n_key} keys, and the text gives {wanted[1]} and {wanted[2]}"


def what_to_keep(network: Network, inputs: Inputs) -> str:
    """Return "all" if values, heads' outputs and the residual stream (before, inside and after each
    block) are small; "values" if queries, keys and values are: their norms are then computed on
    access, and nothing is copied out of a fused projection; else "maps"."""
    one, small = 4 * network.n_positions(inputs) * network.size, KEEP_ALL_BELOW_MIB * 2**20
    return "all" if 4 * one < small else "values" if 3 * one < small else "maps"


def _detach(x: Any) -> Tensor:
    return x.detach()


def _compact(x: Any) -> Tensor:
    x = x.detach()
    if x.untyped_storage().nbytes() > 1.25 * x.numel() * x.element_size():
        return x.clone(memory_format=torch.contiguous_format)
    return x


def value_norms(network: Any, call: Any) -> Tensor:
    """‖v_j W_O‖ for every head and key: [batch, head, key], fp32.

    For more than a few keys the norm of v·W is taken through the d_head × d_head matrix W·Wᵀ, which
    costs a twelfth of a block's arithmetic less than projecting. If a model's W_O was not found,
    it is ‖v_j‖.
    Source: Kobayashi et al. 2020.
    """
    value = call.value.detach().float()
    weight = network.output_weight(call)
    if weight is None:
        norms = value.norm(dim=-1)
    else:
        per_head = weight.float().unflatten(0, (call.n_heads, -1))  # [head, d_head, d_model]
        value = spread_heads(value, call.n_heads)
        if value.shape[0] * value.shape[2] < per_head.shape[1]:
            norms = analyses.value_norms(value, per_head)["norm"]
        else:
            gram = per_head @ per_head.transpose(-1, -2)
            # In place: new memory for the product costs several times its arithmetic.
            norms = (value @ gram).mul_(value).sum(-1).clamp(min=0).sqrt()
    if norms.shape[1] != call.n_heads:
        norms = norms.repeat_interleave(call.n_heads // norms.shape[1], 1)
    return call.by_position(norms)
