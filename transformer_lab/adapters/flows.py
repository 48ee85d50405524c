"""Decompose a logit along its way up: what the stream at each token contributes to it, and what
each head carries from token to token.

The pass is that of `parts` (frozen norms, mlp outputs taken as they are), but attention patterns
are frozen instead of the heads' outputs, so that a head's output is a sum over the tokens that it
attends to. The logit is then a sum over every path from an embedding or an mlp through the heads;
an edge has the sum of all paths through it.
Source: Elhage et al. 2021; Ferrando and Voita 2024, on routes through edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..attention import AttentionCall, Site
from ..softmax import spread_heads
from .interrupts import sheltered
from .network import AdapterError, Inputs, Network
from .parts import HeldPass, room_of, with_grad
from .sources import PartsError
from .stream_writers import Anatomy


@dataclass(frozen=True, eq=False)
class Flow:
    """Contributions to a logit, fp32 on the CPU: `edges` [layer, head, query, key];
    `stream` [layer + 1, position], of a token before each layer and after the last;
    `mlps` [layer, position]; `constant`: what does not depend on the text. The stream before
    layer 0, the mlps and the constant sum to `logit`."""

    edges: Tensor
    stream: Tensor
    mlps: Tensor
    constant: float
    logit: float


def flow_of(
    network: Network, inputs: Inputs, position: int, token: int, against: int | None = None
) -> Flow:
    """The flow to a token's logit at a position, or to its logit difference from `against`.

    Raises:
        PartsError: if the logit is not such a sum, with the reason.
    """
    kind = kind_of_flows(network)
    if not network.blocks(kind):
        raise PartsError(f"the layers of {network.name} were not found")
    with with_grad():
        held = _FlowPass(network, inputs, kind)
        return held.flow(position, token, against)


def kind_of_flows(network: Network) -> str:
    """The kind of attention of a model with a single stack.

    Raises:
        PartsError: for a model with several.
    """
    kinds = [kind for kind in network.kinds if kind != "cross"]
    if len(kinds) != 1 or "cross" in network.kinds:
        raise PartsError(
            f"{network.name} has several stacks, and a flow to a logit needs a single one"
        )
    return kinds[0]


class _FlowPass(HeldPass):
    """One pass with frozen norms and attention patterns."""

    def __init__(self, network: Network, inputs: Inputs, kind: str):
        self.kind, self._layers = kind, len(network.blocks(kind))
        self.calls: dict[int, tuple[AttentionCall, Tensor]] = {}  # and z, with its graph
        self.streams: dict[int, Tensor] = {}
        super().__init__(network, inputs, Anatomy(network, inputs), None)

    # -- hooks ------------------------------------------------------------------------------------

    @sheltered
    def _more_seen(self) -> Iterator[None]:
        network = self._network
        with ExitStack() as stack:
            try:
                for name, layer in (("resid_pre", None), ("resid_post", self._layers - 1)):
                    stack.enter_context(network.changing_stream(self, [name], self.kind, layer))
            except AdapterError as error:
                raise PartsError(
                    f"the residual stream of {network.name} cannot be read: {error}"
                ) from error
            yield

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        if not self._place.here:
            return call
        held = {
            n: getattr(call, n).detach()[:1].expand_as(getattr(call, n)) for n in ("query", "key")
        }
        return replace(call, **held)

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        if not self._place.here:
            return z
        site = call.site or self._place.site
        self._place.site = site
        if call.part or site.layer in self.calls or call.value is None:
            raise PartsError(f"heads of {self._network.name} return their values in several parts")
        self.calls[site.layer] = call, z
        return z

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        if self._place.here and site.kind == self.kind:
            last = name == "resid_post" and site.layer == self._layers - 1
            if name == "resid_pre" or last:
                self.streams[site.layer + last] = x
        return x

    def _out(self, module: nn.Module, args: Any, output: Any) -> Any:
        return None  # the heads' outputs are not leaves

    # -- the sum ----------------------------------------------------------------------------------

    def flow(self, position: int, token: int, against: int | None) -> Flow:
        """The flow to a logit, from this pass.

        Raises:
            PartsError: if it does not sum to the logit.
        """
        name = self._network.name
        if self.logits is None:
            raise PartsError(f"{name} has no head that predicts tokens")
        read = self.logits[:, position]
        size = float(read[0].detach().abs().max())
        cap = self._network.logit_softcap
        if cap is not None:
            read = cap * torch.atanh((read / cap).clamp(-1 + 1e-7, 1 - 1e-7))
        read = read[:, token] if against is None else read[:, token] - read[:, against]
        if not read.requires_grad or len(self.streams) != self._layers + 1:
            raise PartsError(
                f"{name} runs without gradients, or its residual stream cannot be read"
            )
        every = range(self._layers)
        asked = [leaf.value for leaf in self.leaves]
        asked += [self.streams[i] for i in range(self._layers + 1)]
        asked += [self.calls[i][1] for i in every if i in self.calls]
        slopes = torch.autograd.grad(read[0], asked, allow_unused=True)
        grads = [
            torch.zeros_like(x) if g is None else g for x, g in zip(asked, slopes, strict=True)
        ]
        n, mlps = len(self.leaves), torch.zeros(self._layers, self.streams[0].shape[1])
        total = torch.zeros(())
        shared = read[1].detach().float().cpu()
        for leaf, grad in zip(self.leaves, grads[:n], strict=True):
            part = _along(leaf.value, grad)
            total, shared = total + part.sum(), shared + leaf.share * part.sum()
            if leaf.source.layer is not None:
                mlps[leaf.source.layer] += part
        whole, constant, third = (float(x) for x in read.detach())
        room = room_of(self.logits) * size
        off = max(abs(float(total) + constant - whole), abs(float(shared) - third))
        if not off <= room:
            raise PartsError(
                f"the paths through its heads do not sum to {name}'s logit (off by {off:.2g}): "
                f"there are more than norms and linear layers on them{self.unheld}"
            )
        stream = torch.stack(
            [_along(self.streams[i], grads[n + i]) for i in range(self._layers + 1)]
        )
        heads = max(z.shape[1] for _, z in self.calls.values())
        edges = torch.zeros(self._layers, heads, *self._edges_shape())
        for layer, grad in zip(sorted(self.calls), grads[n + self._layers + 1 :], strict=True):
            call, z = self.calls[layer]
            assert call.value is not None
            value = spread_heads(call.value.detach()[:1], call.n_heads)[0].float()
            toward = grad[0].float() @ value.transpose(-1, -2)
            edges[layer, : z.shape[1]] = (call.pattern(0).detach() * toward).cpu()
        return Flow(edges, stream, mlps, constant, whole)

    def _edges_shape(self) -> tuple[int, int]:
        call, _ = next(iter(self.calls.values()))
        return call.shape[2], call.shape[3]


def _along(x: Tensor, slope: Tensor) -> Tensor:
    """The contribution of x [3, position, d] along its gradient, in the real run: [position]."""
    return (x.detach()[0].float() * slope[0].float()).sum(-1).cpu()
