"""What an Explorer finds out about all heads by itself: estimates, scores, and what each does."""

from __future__ import annotations

import math
import threading
from typing import Any

import torch
import traitlets as t

from ...heads.measures import MEASURES, all_scores
from ...training.usage import ModelIsTraining
from ..heads.heads import Place, name_of
from ..shared.base import one_line
from ..shared.messages import change_text
from ..shared.traits import Int
from .background import Background, Interrupted
from .runs import Reading
from .singles import Singles, estimate
from .state import QUICK, Explored

SEVERAL = 2**26  # numbers of all maps: the heads of a longer text are not scored on it
UNASKED = 60.0  # seconds that what nobody asked for may take; then the most promising are done
NONE = torch.full((), math.nan)


class Measured(Explored):
    """An Explorer that goes on to measure every head while nobody waits for the model.

    What it finds goes to the browser in messages as it comes, and into traits when all is done.
    """

    _estimates = t.Bytes(b"").tag(sync=True)  # of the kinds in turn [layer, head], fp32, NaN: none
    _scores = t.Bytes(b"").tag(sync=True)  # of the kinds in turn [score, layer, head], fp32
    _score_names = t.Dict().tag(sync=True)  # kind -> [name, its short name, its unit] of each score
    _facts_of = Int(0).tag(sync=True)  # counts texts and positions: effects of another are old

    _background: Background
    _naming: threading.Lock
    _singles: Singles | None = None
    _facts_are_of: tuple[Reading, int] | None = None

    def _show(
        self, reading: Reading, edits: list[dict], position: int | None, note: str = ""
    ) -> None:
        with self.hold_sync():
            super()._show(reading, edits, position, note)
            now = (self._reading, self._place())
            if self._facts_are_of != now:
                self._facts_are_of = now
                self._facts_of += 1
                self._tell_estimates(*now)
                self._tell_scores(reading)
        self._background.wake()

    @t.observe("layer", "head", "kind")
    def _another_head(self, _change: Any) -> None:
        if getattr(self, "_background", None) is not None:
            self._background.wake()

    def _start_facts(self) -> None:
        model = self.text_model.model
        self._background = Background(model, self._next_fact, self._fact_failed)

    def close(self) -> None:
        """Take the view away; what it does in the background ends."""
        if getattr(self, "_background", None) is not None:
            self._background.close()
        super().close()

    def _most_promising(self, kind: str) -> tuple[int, int]:
        """(layer, head) with the largest estimate, where a quick pass gives one; else the first."""
        reading, place = self._reading, self._place()
        first = (reading.trace.attending(kind)[0], 0)
        if not self._measures(reading) or reading.seconds > QUICK:
            return first
        try:
            estimate(self._runs, reading, kind, place)
        except ModelIsTraining:
            return first
        found = reading.estimates[kind, place]
        if found is None or not found.nan_to_num().any():
            return first
        n_heads = found.shape[1]
        best = int(found.abs().nan_to_num(-1.0).argmax())
        return best // n_heads, best % n_heads

    def _measures(self, reading: Reading) -> bool:
        """Whether there is something that effects could be measured by."""
        nowhere = reading.trace.logits is not None and not self._runs.positions(reading)
        return self._can_edit(reading) and not nowhere

    # -- the work, a step at a time --------------------------------------------------------------

    def _next_fact(self) -> bool:
        """Do what is most wanted of what is not known yet; False where all is."""
        reading, place = self._reading, self._place()
        if not self._runs.is_fresh(reading):
            return False
        if self._can_edit(reading) and not reading.is_prepared:
            self._runs.prepare(reading)
            return True
        if self._measures(reading):
            kinds = sorted(self._kinds, key=lambda name: name != self.kind)
            for kind in kinds:
                if estimate(self._runs, reading, kind, place):
                    self._if_still(reading, place, lambda: self._tell_estimates(reading, place))
                    return True
        if not reading.scores and self._score(reading):
            self._if_still(reading, place, lambda: self._tell_scores(reading))
            return True
        if self._measures(reading) and self._measure_some(reading, place):
            return True
        effects = self._single.known(reading, place)
        if len(effects) != len(self._effects):
            self._if_still(reading, place, lambda: self.set_trait("_effects", effects))
        return False

    def _measure_some(self, reading: Reading, place: int) -> bool:
        if self._naming.locked():  # two at once would be slower than one after the other
            raise Interrupted
        singles = self._singles
        if singles is None or singles.reading is not reading or singles.position != place:
            singles = self._singles = Singles(self._runs, reading, place, self._background.check)
        shown = self.shown
        every = list(self.heads.every(shown[0]))
        left = singles.order(every, shown)
        done = len(every) - len(left)
        if not left or (left[0] != shown and done * reading.seconds / 3 > UNASKED):
            return False
        found = singles.measure(left, shown)
        told = self._single.told(reading, found, place)
        self._if_still(
            reading,
            place,
            lambda: self.send({"type": "effects", "of": self._facts_of, "found": told}),
        )
        return True

    def _fact_failed(self, error: Exception) -> None:
        self.send({"type": "effects", "of": self._facts_of, "found": {}, "failed": one_line(error)})

    def _if_still(self, reading: Reading, place: int, tell: Any) -> None:
        """Tell what was found out, where it is of what is on view."""
        with self._lock:
            if self._facts_are_of == (reading, place):
                tell()

    # -- what the browser is told -----------------------------------------------------------------

    def _tell_estimates(self, reading: Reading, place: int) -> None:
        found = [reading.estimates.get((kind, place)) for kind in self._kinds]
        if all(one is None for one in found):
            self._estimates = b""
            return
        sizes = [(kind["layers"], kind["heads"]) for kind in self._kinds.values()]
        each = [
            NONE.expand(size) if one is None else one
            for one, size in zip(found, sizes, strict=True)
        ]
        self._estimates = b"".join(one.float().contiguous().numpy().tobytes() for one in each)

    def _score(self, reading: Reading) -> bool:
        """Score every head on the text; False where it is too long for that."""
        trace = reading.trace
        sizes = [(trace.n_layers(k), trace.n_heads(k), *trace.shape(k)) for k in trace.kinds]
        if sum(math.prod(size) for size in sizes) > SEVERAL:
            return False
        reading.scores = {kind: all_scores(trace, kind=kind) for kind in trace.kinds}
        return True

    def _tell_scores(self, reading: Reading) -> None:
        self._scores = b"".join(
            score.float().contiguous().numpy().tobytes()
            for kind in self._kinds
            if reading.scores
            for score in reading.scores[kind].values()
        )
        self._score_names = {
            kind: [[name, MEASURES[name].tag or name, MEASURES[name].unit] for name in scores]
            for kind, scores in reading.scores.items()
        }

    def _known(self, place: Place) -> str:
        """What is known of a head, in a few letters: its effect, and its label."""
        kind, layer, head = place
        labels = self._labels.get(kind)
        tag = labels[layer][head]["tag"] if labels else ""
        reading, position = self._reading, self._place()
        measured = self._single.known(reading, position).get(name_of(place))
        estimates = reading.estimates.get((kind, position))
        told = ""
        if measured is not None:
            told = change_text(
                measured["mean"]
                if measured["mean"] is not None
                else (measured["after"] or 0) - (measured["before"] or 0)
            )
        elif estimates is not None and not estimates[layer, head].isnan():
            told = f"≈ {change_text(float(estimates[layer, head]))}"
        return " · ".join(filter(None, [told, tag]))

    def _all_facts(self) -> None:
        """For a page: what costs little, now."""
        reading, place = self._reading, self._place()
        if self._measures(reading) and reading.seconds <= QUICK:
            for kind in self._kinds:
                estimate(self._runs, reading, kind, place)
            self._tell_estimates(reading, place)
        if not reading.scores and self._score(reading):
            self._tell_scores(reading)
