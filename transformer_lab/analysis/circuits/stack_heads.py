"""The weights of all heads of a model, for composition scores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...adapters.lookup import network_of, transformer_of
from ...adapters.network import no_heads
from .head_weights import HeadWeights, kind_of, post_norms, rotated, stack_of, through, weight_of

NAMES = ("query", "key", "value")


class StackHeads:
    """The heads of our Transformer. `counts`: the number of heads of each layer that has any."""

    def __init__(self, model: Any, stack: str | None):
        self._model, (self._network, self._name) = model, stack_of(model, stack, "stack")
        self._stack: Any = getattr(self._network, self._name)
        config = self._network.config
        self.n_layers, self.d_model, self.d_head = len(self._stack), config.d_model, config.d_head
        self.counts: dict[int, int] = dict.fromkeys(range(self.n_layers), int(config.n_heads))

    def check(self, layer: int, head: int) -> None:
        """Check that a head exists.

        Raises:
            ValueError: if it does not.
        """
        HeadWeights(self._model, layer, head, self._name)

    def weights(self, name: str, layer: int) -> Tensor:
        """fp64 [head, d_model, d_head] of query, key or value, shared heads repeated; of out
        [head, d_head, d_model]."""
        return _all_heads(self._stack.blocks[layer].attention, name)

    def carried(self, earlier: int, later: int) -> Tensor:
        """W_O of a layer as a later one reads it, with gains and centring of the norms between:
        fp64 [head, d_head, d_model].
        """
        reader = self._stack.blocks[later]
        norms = [reader.norm1] if reader.norm_first else post_norms(self._stack, earlier, later)
        return through(norms, self.weights("out", earlier))

    def turned(self, x: Tensor, layer: int, distance: int) -> Tensor:
        """Rotate query weights [head, d_model, d_head] to `distance` tokens after the key."""
        if not self._network.positions.rotates:
            return x
        return rotated(self._network, x.float(), distance).double()


class OtherHeads(StackHeads):
    """The heads of any other network, computed by its own code."""

    def __init__(self, model: Any, stack: str | None):
        network = network_of(model)
        self._kind = kind_of(network, stack, "stack")
        self._alone = network.alone()
        self._layers = network.layers(self._kind)
        self.n_layers = len(self._layers)
        self._weights: dict[int, dict[str, Tensor]] = {}
        self._carried: dict[int, dict[int, Tensor]] = {}
        self._turns: dict[tuple[int, int, int], Tensor | None] = {}
        attending = [layer.number for layer in self._layers if layer.heads != 0]
        self.counts = {i: len(self.weights("query", i)) for i in attending}
        self.d_model, self.d_head = self.weights("query", attending[0]).shape[1:]

    def check(self, layer: int, head: int) -> None:
        if not 0 <= layer < self.n_layers:
            raise ValueError(
                f"layer={layer} is outside 0 … {self.n_layers - 1} of this {self._kind}"
            )
        if layer not in self.counts:
            raise ValueError(no_heads(self._layers[layer], self._layers))
        if not 0 <= head < self.counts[layer]:
            raise ValueError(
                f"head={head} is outside 0 … {self.counts[layer] - 1} of this {self._kind}"
            )

    def weights(self, name: str, layer: int) -> Tensor:
        if layer not in self._weights:
            found = dict(zip(NAMES, self._alone.weights(self._kind, layer), strict=True))
            n = len(found["query"])
            spread = {k: x.repeat_interleave(n // len(x), 0).double() for k, x in found.items()}
            out = self._alone.out(self._kind, layer).unflatten(0, (n, -1)).double()
            self._weights[layer] = {**spread, "out": out}
        return self._weights[layer][name]

    def carried(self, earlier: int, later: int) -> Tensor:
        if earlier not in self._carried:
            out = self.weights("out", earlier)
            after = [i for i in self.counts if i > earlier]
            read = self._alone.onward(self._kind, earlier, out.flatten(0, 1).float(), after).read
            self._carried[earlier] = {
                i: x.unflatten(0, out.shape[:2]).double() for i, x in read.items()
            }
        return self._carried[earlier][later]

    def turned(self, x: Tensor, layer: int, distance: int) -> Tensor:
        if distance == 0:
            return x
        limit = self._alone.network.n_ctx
        if not 0 <= distance < (limit or distance + 1):
            raise ValueError(f"distance={distance} is outside the model's context (0 … {limit})")
        turned = []
        for head, one in enumerate(x):
            place = (layer, head, distance)
            if place not in self._turns:
                self._turns[place] = self._alone.turn(self._kind, layer, head, distance)
            turn = self._turns[place]
            turned.append(one if turn is None else one @ turn.double())
        return torch.stack(turned)


def stack_heads(model: Any, stack: str | None) -> StackHeads:
    """Return the heads of a stack.

    Raises:
        ValueError: for a stack that does not exist, or a model whose parts are not known.
    """
    return (StackHeads if transformer_of(model) is not None else OtherHeads)(model, stack)


def _all_heads(attention: Any, name: str) -> Tensor:
    """fp64 [head, d_model, d_head], or of out [head, d_head, d_model]; shared heads repeated."""
    group = attention.n_heads // attention.n_kv_heads
    heads = range(attention.n_heads)
    at = [h if name in ("query", "out") else h // group for h in heads]
    return torch.stack([weight_of(attention, name, h) for h in at]).double()
