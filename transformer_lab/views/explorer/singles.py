"""Effects of single heads, several measured in one pass, while the model is idle."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ...edits.cells import Cells
from ...edits.constructors import ablate
from ...edits.estimates import estimate_effects
from ...edits.interventions import tap_for
from ...edits.kinds import EditError
from ...edits.sweep_target import SweepTarget
from ...training.usage import held_for_edits
from ..heads.heads import Place
from .background import Interrupted
from .runs import Reading, Runs

MEASURED_WITHIN = 0.5  # seconds: if all heads take no longer, they are measured, else estimated
IN_A_PASS = 9  # heads measured in one pass, after which results are sent


class Singles:
    """Effects of single heads on the prediction at one position of a text.

    Args:
        check: called at every layer of a pass; if it raises, the pass ends.
    """

    def __init__(self, runs: Runs, reading: Reading, position: int, check: Callable[[], None]):
        self.runs, self.reading, self.position, self._check = runs, reading, position, check
        self._cells: dict[str, Cells] = {}
        self._running: Cells | None = None

    def order(self, places: Sequence[Place], shown: Place) -> list[Place]:
        """The heads that were not measured yet: the one on view, then those of its kind, then
        others, each by the size of the estimate."""
        left = [place for place in places if not self._is_known(place)]

        def promise(place: Place) -> float:
            kind, layer, head = place
            estimate = self.reading.estimates.get((kind, self.position))
            value = 0.0 if estimate is None else abs(float(estimate[layer, head]))
            return value if value == value else 0.0

        return sorted(left, key=lambda at: (at != shown, at[0] != shown[0], -promise(at)))

    def _is_known(self, place: Place) -> bool:
        return self.position in self.reading.effects.get(place, {})

    def measure(self, ordered: Sequence[Place], shown: Place) -> list[Place]:
        """Measure some of these heads, including the first, and return them.

        Raises:
            Interrupted: if the model is needed elsewhere; then none is measured.
            ModelIsTraining: while the model is being trained.
        """
        runs, reading, trace = self.runs, self.reading, self.reading.trace
        kind, first = ordered[0][0], ordered[0]
        with held_for_edits(runs.text_model.model, patient=True):
            self._check()
            if trace.logits is None or first[2] >= trace.heads_of(first[1], kind):
                runs.effect(reading, *first, [self.position])
                return [first]
            cells = self._of(kind)
            some = [first]
            if first != shown:  # the most promising heads run in one pass, by layer
                n = min(cells.most, IN_A_PASS) if cells.passes.kept.reuses else 1
                few = [place for place in ordered[: 3 * n] if place[0] == kind]
                there = [at for at in few if at[2] < trace.heads_of(at[1], kind)]
                some = sorted(there, key=lambda place: place[1])[:n]
            self._pass(cells, some)
        return some

    def _of(self, kind: str) -> Cells:
        """The passes of a kind, of which the clean one is run now."""
        cells = self._cells.get(kind)
        if cells is None:
            reading = self.reading
            swept = SweepTarget(
                self.runs.quiet(reading.version),
                reading.ids,
                reading.target_ids,
                None,
                None,
                kind,
                None,
                self.position,
                {},
            )
            cells = self._running = Cells(swept, between=self._between)
            with cells.passes.open():
                cells.passes.clean()
                self._between()
            self._cells[kind] = cells
        return cells

    def _between(self) -> None:
        self._check()
        # Edits that a notebook cell has in force now would be counted as the head's effect.
        if self._running is not None and not self._running.is_alone:
            raise Interrupted

    def _pass(self, cells: Cells, places: Sequence[Place]) -> None:
        self._running, passes = cells, cells.passes
        taps = [
            (tap_for(passes.network, ablate(layer, head, kind=kind)),)
            for kind, layer, head in places
        ]
        with passes.open():
            outputs = cells.outputs(taps, min(cells.start_of(cell) for cell in taps))
            self._between()
            where = torch.tensor([self.position], device=outputs[0].device)
            after = [passes.logits(passes.at(rows, where)[:, None])[0, 0] for rows in outputs]
        for place, logits in zip(places, after, strict=True):
            q = logits.double().cpu().log_softmax(-1)
            outcome = self.runs.outcome(self.reading.trace, q, self.position)
            self.reading.effects.setdefault(place, {})[self.position] = outcome


def ranked_heads(
    runs: Runs, reading: Reading, kind: str, position: int
) -> list[tuple[float, int, int]]:
    """(score, layer, head) of each head with an effect, the most important first. The score is the
    change of the likeliest token's probability without the head, times the attention that the
    position gives to other tokens: a head that attends to the token itself moves nothing between
    tokens.

    Raises:
        ModelIsTraining: while the model is being trained.
    """
    changes = quick_effects(runs, reading, kind, position)
    if changes is None:
        return []
    trace, ranked = reading.trace, []
    for layer, head in changes.abs().nan_to_num().nonzero().tolist():
        call = trace.call(layer, head, kind=kind)
        itself = 0.0
        if kind != "cross" and position < call.shape[2]:
            row = call.pattern(0, head, rows=torch.tensor([position])).reshape(-1)
            itself = float(row[position + len(row) - call.shape[2]])
        ranked.append((abs(float(changes[layer, head])) * (1 - itself), layer, head))
    return sorted(ranked, key=lambda head: -head[0])


def quick_effects(runs: Runs, reading: Reading, kind: str, position: int) -> torch.Tensor | None:
    """How the likeliest token's probability changes without each head, fp64 [layer, head]: measured
    if that takes half a second at most, else estimated; None if there is no estimate.

    Raises:
        ModelIsTraining: while the model is being trained.
    """
    layers, heads = reading.trace.n_layers(kind), reading.trace.n_heads(kind)
    if layers * heads * reading.seconds > MEASURED_WITHIN:
        estimate(runs, reading, kind, position)
        return reading.estimates[kind, position]
    changes = torch.zeros(layers, heads, dtype=torch.float64)
    for layer in range(layers):
        for head in range(heads):
            outcome = runs.effect(reading, kind, layer, head, [position])[position]
            changes[layer, head] = outcome.likeliest.change or 0.0
    return changes


def estimate(runs: Runs, reading: Reading, kind: str, position: int) -> bool:
    """Estimate the effects of a kind's heads into `reading.estimates`; return False if they were
    there.

    Raises:
        ModelIsTraining: while the model is being trained.
    """
    if (kind, position) in reading.estimates:
        return False
    effects = None
    if reading.trace.logits is not None:
        with held_for_edits(runs.text_model.model, patient=True):
            try:
                effects = estimate_effects(
                    runs.quiet(reading.version),
                    reading.ids,
                    reading.target_ids,
                    kind=kind,
                    position=position,
                    measure="probability",
                ).values
            except (EditError, RuntimeError):  # no gradient passes
                effects = None
    reading.estimates[kind, position] = effects
    return True
