"""Where the numbers of a walk through a block come from: what its modules read and give."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Place:
    """What a module of a block "read" or "gave", when it ran for the `turn`-th time in the block."""

    module: nn.Module
    turn: int
    side: str


@dataclass(frozen=True)
class BlockParts:
    """Where the fields of `BlockSteps` are that a module of the block reads or gives ("middle" is not
    among them where it is stream + attention, nor "mlp" where it is what the sum lacks), and the names
    of the norms that `reads` and `mlp_reads` come out of."""

    places: dict[str, Place]
    norm: str
    mlp_norm: str
    after: bool
