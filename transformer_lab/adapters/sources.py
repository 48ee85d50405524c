"""Who writes into the residual stream, and what is read of it as a sum over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class PartsError(ValueError):
    """What a model reads is no sum of parts that are known; the message says why."""


@dataclass(frozen=True)
class Source:
    """A writer into the stream. `part` is "token", "position", "segment", "rest" (what else comes to
    the first layer: other positions, patches of a picture, biases there), "head", "cross head", "mlp",
    "mixer" (a state-space layer, a convolution …) or "biases" (all that is added whatever the
    text); layers and heads count from 0. `stack` is "encoder" where a decoder reads what the encoder
    wrote."""

    part: str
    layer: int | None = None
    head: int | None = None
    stack: str = ""

    @property
    def name(self) -> str:
        start = f"{self.stack} " if self.stack else ""
        if self.layer is None:
            return start + {
                "token": "token embedding",
                "position": "position embedding",
                "segment": "segment embedding",
                "rest": "rest of the embedding",
            }.get(self.part, self.part)
        if self.head is None:
            return f"{start}layer {self.layer}, {'MLP' if self.part == 'mlp' else self.part}"
        kind = "cross head" if self.part == "cross head" else "head"
        return f"{start}layer {self.layer}, {kind} {self.head}"

    @property
    def short(self) -> str:
        """The name where room is scarce: "L1 H2"."""
        start = f"{self.stack[:3]} " if self.stack else ""
        if self.layer is None:
            return start + self.part
        if self.head is None:
            return f"{start}L{self.layer} {'MLP' if self.part == 'mlp' else self.part}"
        return f"{start}L{self.layer} {'X' if self.part == 'cross head' else 'H'}{self.head}"


BIASES = Source("biases")


class Split(NamedTuple):
    """What was read, as a sum: `values` [source, …]; their sum over the first axis is what the model
    itself computed."""

    sources: tuple[Source, ...]
    values: Tensor


class Parts:
    """One text as a network reads it, part by part; what `Network.parts` returns.

    Every norm on the way is held at the scale that it had in the run, which makes it linear. A
    subclass checks that its parts sum to what the model computed, and raises `PartsError` where they
    do not.
    """

    def of_head(self, kind: str, layer: int, head: int, side: str, rows: Sequence[int]) -> Split:
        """What a head compares: its queries (side="query") or the keys that it looks through
        ("key"), as they meet in the dot product, at these positions: [source, row, d_head]."""
        raise NotImplementedError

    def of_logit(self, position: int, token: int, against: int | None = None) -> Split:
        """A logit before any softcap, or what it is more than another's: [source]."""
        raise NotImplementedError
