"""The positions of an image's patches, in a model that reads pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Patches:
    """An image's patches from the top left, row by row, and the positions before and after them.

    Args:
        rows, columns: the numbers of rows and columns of patches.
        before, after: names of the other positions, such as "[CLS]" and "register 1".
    """

    rows: int
    columns: int
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def start(self) -> int:
        """The position of the first patch."""
        return len(self.before)

    @property
    def n(self) -> int:
        """The number of patches."""
        return self.rows * self.columns

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """A name for every position; rows and columns count from 1, "patch 1,1" is at the top left."""
        cells = [
            f"patch {row},{column}"
            for row in range(1, self.rows + 1)
            for column in range(1, self.columns + 1)
        ]
        return (*self.before, *cells, *self.after)

    @property
    def others(self) -> list[int]:
        """The positions that are not patches."""
        return [i for i in range(len(self.labels)) if self.place(i) is None]

    def place(self, position: int) -> tuple[int, int] | None:
        """(row, column) of a position, from 0; None if it is not a patch."""
        at = position - self.start
        return divmod(at, self.columns) if 0 <= at < self.n else None

    def position(self, row: int, column: int) -> int:
        """The position of a patch; row and column count from 0.

        Raises:
            ValueError: for a patch that does not exist.
        """
        if not (0 <= row < self.rows and 0 <= column < self.columns):
            raise ValueError(
                f"row={row}, column={column} is outside the {self.rows} × {self.columns} patches"
            )
        return self.start + row * self.columns + column

    @cached_property
    def distances(self) -> Tensor:
        """[patch, patch]: distances between centres, in patches."""
        row = torch.arange(self.rows).repeat_interleave(self.columns)
        column = torch.arange(self.columns).repeat(self.rows)
        at = torch.stack([row, column], -1).float()
        return torch.cdist(at, at, compute_mode="donot_use_mm_for_euclid_dist")
