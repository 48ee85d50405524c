"""The modules of a block that read or give each number of `BlockSteps`."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Place:
    """What a module of a block "read" or "gave" in its `turn`-th run within the block, counted from
    0.
    """

    module: nn.Module
    turn: int
    side: str


@dataclass(frozen=True)
class BlockParts:
    """The fields of `BlockSteps` that a module of the block reads or gives, and where.

    "middle" is missing if it is stream + attention, and "mlp" if it is what the sum lacks. `norm`
    and `mlp_norm` name the norms that give `reads` and `mlp_reads`.
    """

    places: dict[str, Place]
    norm: str
    mlp_norm: str
    after: bool
