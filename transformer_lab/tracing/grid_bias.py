"""Biases by rows and columns: SAM adds a number for the key's row and one for its column to each
score. Stored that way, a bias takes a few dozen numbers a query, instead of one for every patch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..adapters.patches import Patches
from ..attention import AttentionCall
from ..softmax import as_slice, drop_axes, part_of
from .maps import MemoryBudgetError

LARGE = 2**22  # numbers of a bias: smaller ones are kept as they are
EXACT = 1e-6  # of the largest number
BUDGET_MIB = 2048  # for the biases of all layers


@dataclass(frozen=True, eq=False)
class GridCall(AttentionCall):
    """A call whose bias is `of_row` [batch, head, query, row] + `of_column` [batch, head, query,
    column] at the key's position in an image; `bias` itself is None."""

    of_row: Tensor | None = None
    of_column: Tensor | None = None

    def scores(self, batch=slice(None), head=slice(None), rows=None, dtype=torch.float32) -> Tensor:
        assert self.of_row is not None and self.of_column is not None
        some = as_slice(batch), as_slice(head)
        parts = (part_of(x, *some, rows) for x in (self.of_row, self.of_column))
        of_row, of_column = (x.to(dtype) for x in parts if x is not None)
        bias = (of_row[..., None] + of_column[..., None, :]).flatten(-2)
        return super().scores(batch, head, rows, dtype) + drop_axes(bias, batch, head)


def by_rows_and_columns(call: AttentionCall, patches: Patches | None) -> AttentionCall:
    """Split a call's bias into rows and columns, if it is large and has that form; else return the
    call unchanged."""
    bias, shape = call.bias, call.shape
    if bias is None or patches is None or bias.dim() != 4 or bias.numel() < LARGE:
        return call
    if type(call) is not AttentionCall or bias.shape[2:] != shape[2:] or patches.n != shape[3]:
        return call
    grid = bias.unflatten(3, (patches.rows, patches.columns))
    if not bias.is_floating_point() or not bool(torch.isfinite(grid[:, :, :, 0]).all()):
        return call
    of_row = grid[..., 0].clone()
    of_column = grid[..., 0, :] - of_row[..., :1]
    for i in range(grid.shape[1]):  # a head at a time, to hold no second bias
        off = grid[:, i] - of_row[:, i, ..., None]
        off -= of_column[:, i, :, None]
        if not float(off.abs_().max()) <= EXACT * max(1.0, float(grid[:, i].abs().max())):
            return call
    fields = {name: value for name, value in vars(call).items() if name != "bias"}
    return GridCall(**fields, bias=None, of_row=of_row, of_column=of_column)


class Biases:
    """Memory accounting for the biases of a pass over images.

    Args:
        name: of the model.
        patches: their positions in its images, if known.
    """

    def __init__(self, name: str, patches: Patches | None):
        self.name, self.patches = name, patches
        self._bytes: dict[int, int] = {}  # by address in memory

    def kept(self, call: AttentionCall) -> AttentionCall:
        """Return the call in the form that a trace keeps.

        Raises:
            MemoryBudgetError: if all biases together take more than `BUDGET_MIB`.
        """
        call = by_rows_and_columns(call, self.patches)
        if call.bias is not None:
            storage = call.bias.untyped_storage()
            self._bytes[storage.data_ptr()] = storage.nbytes()
        if sum(self._bytes.values()) > BUDGET_MIB * 2**20:
            raise MemoryBudgetError(
                f"what {self.name} adds to its scores takes more than {BUDGET_MIB:,} MiB in all "
                "layers, and every map needs it: use fewer or smaller images; a SAM loaded with "
                "attn_implementation='sdpa' needs less"
            )
        return call
