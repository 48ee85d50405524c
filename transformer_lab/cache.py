"""What a model that writes keeps of the tokens that it has read."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class KVCache:
    """Keys and values of the tokens read so far, so that each is computed once.

    Every layer has a pair of its own: `own` of the decoder's tokens, which are `length` so far,
    `cross` of an encoder's, which stay as they are. Tensors are [batch, kv_head, capacity, d_head].
    A recurrent model has its state in `own`, [batch, layer, d_model].
    """

    capacity: int
    length: int = 0
    own: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    cross: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new positions of one layer; return all that its queries may look at."""
        if layer not in self.own:
            batch, heads, _, width = key.shape
            empty = key.new_empty(2, batch, heads, self.capacity, width)
            self.own[layer] = (empty[0], empty[1].to(value.dtype))
        keys, values = self.own[layer]
        end = self.length + key.shape[2]
        keys[:, :, self.length : end] = key
        values[:, :, self.length : end] = value
        return keys[:, :, :end], values[:, :, :end]

    def reorder(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order (beam search)."""
        for store in (self.own, self.cross):
            for layer, (key, value) in store.items():
                store[layer] = (key[rows], value[rows])
