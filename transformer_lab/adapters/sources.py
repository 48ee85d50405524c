"""The writers into the residual stream, and what is read from it as a sum over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class PartsError(ValueError):
    """What a model reads is not a sum of known parts; the message says why."""


@dataclass(frozen=True)
class Source:
    """A writer into the stream. `part` is "token", "position", "segment", "rest" (what else reaches
    the first layer: other positions, image patches, biases there), "head", "cross head", "mlp",
    "mixer" (a state-space layer, a convolution …) or "biases" (everything that does not depend on
    the text); layers and heads count from 0. `stack` is "encoder" where a decoder reads what the
    encoder wrote."""

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
    """`values` [source, …], whose sum over the first axis is what the model itself computed."""

    sources: tuple[Source, ...]
    values: Tensor


class Parts:
    """The queries, keys and logits of one text, part by part; what `Network.parts` returns.

    Every norm on the way is frozen at its scale in the run, which makes it linear. A subclass
    checks that its parts sum to what the model computed, and raises `PartsError` if they do not.
    """

    def of_head(self, kind: str, layer: int, head: int, side: str, rows: Sequence[int]) -> Split:
        """A head's queries (side="query") or keys ("key") at these positions, as they meet in the
        dot product: [source, row, d_head]."""
        raise NotImplementedError

    def of_logit(self, position: int, token: int, against: int | None = None) -> Split:
        """A logit before any softcap, or its difference from another: [source]."""
        raise NotImplementedError
