"""The key/value cache of a model that generates text."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class KVCache:
    """Keys and values of the tokens read so far, so that each is computed once.

    Every layer has its pair: in `own` those of the decoder's tokens, [batch, kv_head, capacity,
    d_head], of which `length` are filled; in `cross` those of the encoder's tokens, [batch,
    kv_head, source position, d_head], which stay the same. A recurrent model keeps its state in
    `own`, [batch, layer, d_model].
    """

    capacity: int
    length: int = 0
    own: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    cross: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new positions of one layer; return all that its queries may attend to."""
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
