"""The results of a sweep: numbers computed from logits, and a table of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..files.tables import Table
from ..tracing.provenance import Provenance
from .kinds import Edit, EditError
from .passes import Passes

LOGIT_MEASURES = ("log_prob", "probability", "kl")
LogitMeasure = Callable[[Tensor], Any]


class Effect(NamedTuple):
    """One cell of a sweep: where it is, how much it changed, and its edits."""

    where: dict[str, int]
    value: float
    edits: tuple[Edit, ...]


@dataclass(frozen=True, eq=False)
class Sweep(Table):
    """The effect of each of many edits.

    Attributes:
        measures: name -> fp32 array over the axes. "log_prob" and "probability": how much that of
            the chosen token changes (below 0: the edit hurt it). "kl": the divergence KL(clean ‖
            edited) of the whole prediction, in nats. With a custom measure, "measure": its change.
            NaN where there is nothing to edit.
        measure: which of them `values` holds.
        axes: such as ("layer", "head").
        labels: axis -> the label of each index.
        baseline: name -> the clean pass's own value.
        tokens: the chosen token's id, one per text; positions: where they are predicted.
        edits: the edits of each cell, rows first.
        estimated: whether the measures are estimates from one gradient pass, see
            `estimate_effects`.
        each: name -> fp32 [text, over the axes], `measures` of each text of a batch; empty with a
            custom measure.
        provenance: how it was made, see `tl.report`.
    """

    measures: dict[str, Tensor]
    measure: str
    axes: tuple[str, ...]
    labels: dict[str, list[str]]
    baseline: dict[str, float]
    tokens: list[int]
    positions: list[int]
    kind: str
    edits: tuple[tuple[Edit, ...], ...]
    estimated: bool = False
    each: dict[str, Tensor] = field(default_factory=dict, repr=False)
    provenance: Provenance | None = field(default=None, repr=False)

    @property
    def values(self) -> Tensor:
        return self.measures[self.measure]

    def top(self, k: int = 5) -> list[Effect]:
        """The k largest changes, either way, largest first."""
        flat = self.values.flatten()
        order = flat.abs().nan_to_num(-1.0).argsort(descending=True, stable=True)
        found = [i for i in order.tolist() if not math.isnan(flat[i])]
        return [self._effect(i) for i in found[:k]]

    def best(self) -> Effect:
        """The largest change."""
        return self.top(1)[0]

    def cells(self) -> tuple[list[str], list[list[Any]]]:
        """A row for each cell: its label on each axis, and its change in every measure."""
        rows = []
        for place in itertools.product(*(range(n) for n in self.values.shape)):
            numbers = plain_values([float(values[place]) for values in self.measures.values()])
            names = [self._label(axis, i) for axis, i in zip(self.axes, place, strict=True)]
            rows.append([*names, *numbers])
        return [*self.axes, *self.measures], rows

    def _label(self, axis: str, index: int) -> str | int:
        label = self.labels[axis][index]
        return int(label) if axis in ("layer", "head") and label.isdecimal() else label

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; None where there is nothing to edit."""
        measures = {name: plain_values(values.tolist()) for name, values in self.measures.items()}
        return {
            "axes": list(self.axes),
            "labels": self.labels,
            "measure": self.measure,
            "measures": measures,
            "baseline": self.baseline,
            "tokens": self.tokens,
            "positions": self.positions,
            "kind": self.kind,
            "estimated": self.estimated,
        }

    def _effect(self, index: int) -> Effect:
        place = torch.unravel_index(torch.tensor(index), self.values.shape)
        where = {axis: int(i) for axis, i in zip(self.axes, place, strict=True)}
        return Effect(where, float(self.values.flatten()[index]), self.edits[index])

    def __repr__(self) -> str:
        size = " × ".join(
            f"{n} {axis}s" for n, axis in zip(self.values.shape, self.axes, strict=True)
        )
        first = "; ".join(
            " ".join(f"{axis} {self.labels[axis][i]}" for axis, i in effect.where.items())
            + f" {'≈ ' * self.estimated}{effect.value:+.3g}"
            for effect in self.top(3)
        )
        clean = f"{self.baseline[self.measure]:.3g}"
        name = "Estimate" if self.estimated else "Sweep"
        return (
            f"<{name} of {self.measure} over {size} ({self.kind}); clean {clean}; largest: {first}>"
        )


class Judge:
    """Turn the outputs of a pass into the numbers of a sweep."""

    def __init__(self, passes: Passes, clean: Tensor, measure, token, places):
        self.passes, self.places = passes, places
        self.own: Any = measure if callable(measure) else None
        if self.own is None and measure not in (None, *LOGIT_MEASURES):
            raise EditError(
                f"measure must be one of {', '.join(LOGIT_MEASURES)}, or a function of the "
                f"logits, got {measure!r}"
            )
        self.names = ("measure",) if self.own else LOGIT_MEASURES
        self.shown = measure if isinstance(measure, str) else self.names[0]
        self.tokens: list[int] = []
        if self.own:
            self.clean = 0.0
            self.clean = self(clean)[0]
            self.baseline = {"measure": self.clean}
            return
        if clean.shape[1] == 1 and not passes.cut:  # a classifier's one answer
            self.places = torch.zeros_like(places)
        elif clean.shape[1] != passes.inputs.n_outputs and not passes.cut:
            raise EditError(
                f"{passes.network.name} gives {list(clean.shape)}, not a prediction for each "
                "token; give a function of it, measure=lambda logits: …"
            )
        self.log_probs = self._log_probs(clean)
        size = self.log_probs.shape[-1]
        checked_token(token, size)
        chosen = self.log_probs.argmax(-1)
        self.chosen = chosen if token is None else of_each_text(token, chosen)
        self.tokens = self.chosen.tolist()
        self.own_log_prob = self._of_chosen(self.log_probs)
        self.baseline = {
            "log_prob": float(self.own_log_prob.mean()),
            "probability": float(self.own_log_prob.exp().mean()),
            "kl": 0.0,
        }

    def __call__(self, rows: Tensor) -> list[float]:
        return self.of_texts(rows).mean(-1).tolist()

    def of_texts(self, rows: Tensor) -> Tensor:
        """Return the changes, fp32 [measure, text] on the CPU; a custom measure gives one for all
        texts.
        """
        if self.own:
            return torch.tensor([[float(self.own(self.passes.logits(rows))) - self.clean]])
        log_probs = self._log_probs(rows)
        now, before = self._of_chosen(log_probs), self.own_log_prob
        kl = (self.log_probs.exp() * (self.log_probs - log_probs)).nan_to_num().sum(-1)
        changes = (now - before, now.exp() - before.exp(), kl.clamp(min=0))
        return torch.stack(changes).cpu()

    def _log_probs(self, outputs: Tensor) -> Tensor:
        at = self.passes.at(outputs, self.places)
        return self.passes.logits(at[:, None])[:, 0].log_softmax(-1)

    def _of_chosen(self, log_probs: Tensor) -> Tensor:
        return log_probs.gather(-1, self.chosen[:, None])[:, 0]


def checked_token(token: int | Tensor | None, size: int) -> None:
    """Check that each token is None or in a vocabulary of this size.

    Raises:
        EditError: for a token, or one of the texts' [batch], that is not in it.
    """
    for one in token.tolist() if isinstance(token, Tensor) else [token]:
        if one is not None and not 0 <= one < size:
            raise EditError(f"token={one} is outside the vocabulary of {size} tokens")


def of_each_text(token: int | Tensor, like: Tensor) -> Tensor:
    """A token for every text of a batch, [batch]: one for all, or each text's own."""
    return torch.as_tensor(token, device=like.device).expand_as(like)


def plain_values(values: Any) -> Any:
    """A number, or lists of them, with None for NaN."""
    if isinstance(values, list):
        return [plain_values(v) for v in values]
    return None if math.isnan(values) else values
