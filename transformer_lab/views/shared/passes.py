"""Run a model on one input with edits, and compare its output with the pass without."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from ...adapters.interrupts import no_grad
from ...adapters.network import Inputs, Network, Output
from ...edits.constructors import ablate
from ...edits.interventions import edit
from ...edits.kinds import Edit
from ...graphs import analyses
from ...tracing.trace import Trace
from .javascript import call
from .modules import VIEWS

OVERLAID = VIEWS / "shared" / "overlaid.js"


class HasSize(Protocol):
    @property
    def size(self) -> float | list[float]: ...


EffectT = TypeVar("EffectT", bound=HasSize)


@dataclass(frozen=True)
class Effect:
    """The effect of edits.

    `size` is the change of one probability; for an embedding, the cosine distance.
    `rows` are (name, probability before, after); an embedding has none. `facts` are what the
    sentence says besides.
    """

    size: float
    rows: tuple[tuple[str, float, float], ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        return call(OVERLAID, "effectSentence", self.plain())

    def plain(self) -> dict[str, Any]:
        """What a page gets, from Python and from its own engine."""
        return {"size": self.size, "rows": [list(row) for row in self.rows], **self.facts}


class Passes(Generic[EffectT]):
    """Passes over one input. Subclasses define `read`, which extracts a tensor from an output, and
    `effect`, which compares that of an edited pass with `before`."""

    def __init__(self, network: Network, inputs: Inputs, trace: Trace, kind: str):
        self.network, self.inputs, self.trace, self.kind = network, inputs, trace, kind
        start = time.perf_counter()
        self.before = self.answer()
        self.seconds = time.perf_counter() - start  # of a pass
        self._kept: dict[str, EffectT] = {}
        self._every = torch.full((trace.n_layers(kind), trace.n_heads(kind)), float("nan"))

    def read(self, output: Output) -> Tensor:
        raise NotImplementedError

    def effect(self, after: Tensor) -> EffectT:
        raise NotImplementedError

    def of(self, edits: Sequence[Edit]) -> EffectT:
        """The effect of some edits, measured once.

        Raises:
            EditError: for an edit that matches nothing in the model.
        """
        name = ";".join(e.code() for e in edits)
        if name not in self._kept:
            with edit(self.network, *edits, this_thread=True):
                after = self.answer()
            self._kept[name] = self.effect(after)
        return self._kept[name]

    def alone(self, layer: int | None = None) -> list[tuple[int, int, Edit]]:
        """(layer, head, the edit that switches it off) of every head, or of each in one layer."""
        trace, kind = self.trace, self.kind
        return [
            (layer, head, off(trace, layer, head, kind))
            for layer in (trace.attending(kind) if layer is None else [layer])
            for head in range(trace.heads_of(layer, kind))
        ]

    def every(self, layer: int | None = None) -> Tensor:
        """Effect size of switching off each head alone, fp32 [layer, head], or [size, layer, head]
        if effects have several sizes; NaN where it is not known.

        Args:
            layer: measure this layer only; other layers keep what is known.
        """
        for at, head, switched_off in self.alone(layer):
            size = torch.tensor(self.of([switched_off]).size)
            if self._every.dim() < size.dim() + 2:
                self._every = self._every.expand(*size.shape, -1, -1).clone()
            self._every[..., at, head] = size
        return self._every

    def answer(self) -> Tensor:
        """Run the model as it is now, and `read` its output."""
        with no_grad():
            return self.read(self.network.run(self.inputs))


def off(trace: Trace, layer: int, head: int, kind: str) -> Edit:
    """The edit that switches one head off; it names the kind only if it is not the trace's
    default."""
    return ablate(layer, head) if kind == trace.kind() else ablate(layer, head, kind=kind)


def changed(
    before: Tensor, after: Tensor, name: Callable[[int], str], watched: int | None = None
) -> Effect:
    """Compare probabilities [class or token] before and after.

    Args:
        watched: index of the class or token that the sentence is about; the likeliest by default.
    """
    best = before.argmax() if watched is None else torch.tensor(watched)
    found: dict[str, Any] = {
        part: x.tolist() for part, x in analyses.answer_changes(before, after, best).items()
    }
    rows = tuple(zip(map(name, found["listed"]), found["before"], found["after"], strict=True))
    now = name(found["now"]) if found["now"] != found["was"] else None
    return Effect(found["change"], rows, {"now": now, "chance": float(after[found["now"]])})
