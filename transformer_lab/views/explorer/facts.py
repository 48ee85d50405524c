"""Facts that an Explorer computes about all heads: estimates, scores, labels and effects."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import torch

from ...adapters.interrupts import start_thread, taken
from ...heads.measures import MEASURES, all_scores
from ...training.usage import ModelIsTraining
from ..heads.heads import Place, name_of
from ..shared.base import one_line
from ..shared.messages import change_text
from .background import Background, Interrupted
from .labels import labels_of
from .runs import Reading
from .samples import samples_of
from .session import QUICK, UNASKED, Session
from .singles import Singles, estimate, ranked_heads

SEVERAL = 2**26  # limit for the numbers in all patterns: heads are not scored on a longer text
NONE = torch.full((), math.nan)


class Facts:
    """Facts about the heads of a session. After `start`, more are measured while the model is idle.

    Args:
        chosen: returns the head on view.
        send: sends a message with new measurements to the browser.
        changed: called with the names of this object's properties that have changed together.
    """

    def __init__(
        self,
        session: Session,
        chosen: Callable[[], Place],
        send: Callable[[dict[str, Any]], Any],
        changed: Callable[..., None],
    ):
        self._session, self._chosen, self._send, self._changed = session, chosen, send, changed
        self.background = Background(session.text_model.model, self._step, self._failed)
        self.count = 0  # of texts and positions: effects with another count are outdated
        self.labels: dict[str, Any] = {}
        self.samples: list[dict[str, Any]] = []  # see samples.py
        self._samples_of: bytes | None = None  # the weights that they were checked on
        self._naming, self._names_wanted = threading.Lock(), True
        self._singles: Singles | None = None
        self._published = 0  # effects
        self._of: tuple[Reading, int] = session.reading, -1
        self.follow()

    def follow(self) -> bool:
        """Follow a change of the session; return whether the text or the position has changed."""
        now = self._session.reading, self._session.place
        moved = self._of != now
        if moved:
            self._of = now
            self.count += 1
        self._published = len(self.effects)
        self.background.wake()
        return moved

    # -- results ----------------------------------------------------------------------------------

    @property
    def effects(self) -> dict[str, Any]:
        """ "kind/layer/head" -> effect of switching off this head."""
        session = self._session
        return session.effects.known(session.reading, session.place)

    @property
    def estimates(self) -> bytes:
        """Estimated effects, fp32 [layer, head] of each kind in turn; NaN where there is none."""
        kinds = self._session.heads.kinds
        estimates = [self._estimate(kind) for kind in kinds]
        if all(each is None for each in estimates):
            return b""
        sizes = [(kind["layers"], kind["heads"]) for kind in kinds.values()]
        return b"".join(
            _packed(NONE.expand(size) if each is None else each)
            for each, size in zip(estimates, sizes, strict=True)
        )

    def _estimate(self, kind: str) -> torch.Tensor | None:
        return self._session.reading.estimates.get((kind, self._session.place))

    @property
    def scores(self) -> bytes:
        """Scores, fp32 [score, layer, head] of each kind in turn."""
        scores = self._session.reading.scores
        kinds = self._session.heads.kinds if scores else ()
        return b"".join(_packed(score) for kind in kinds for score in scores[kind].values())

    @property
    def score_names(self) -> dict[str, list[list[str]]]:
        """kind -> [name, short name, unit, what a head with a high score does] of each score."""
        return {
            kind: [
                [name, one.tag or name, one.unit, one.says]
                for name, one in ((name, MEASURES[name]) for name in scores)
            ]
            for kind, scores in self._session.reading.scores.items()
        }

    def known(self, place: Place) -> str:
        """A head's effect and label, in a few letters."""
        kind, layer, head = place
        labels = self.labels.get(kind)
        tag = labels[layer][head]["tag"] if labels else ""
        effect, estimates = self.effects.get(name_of(place)), self._estimate(kind)
        change = ""
        if effect is not None:
            mean, before, after = (effect[name] for name in ("mean", "before", "after"))
            change = change_text((after or 0) - (before or 0) if mean is None else mean)
        elif estimates is not None and not estimates[layer, head].isnan():
            change = f"≈ {change_text(float(estimates[layer, head]))}"
        return " · ".join(filter(None, [change, tag]))

    def most_promising(self, kind: str) -> tuple[int, int]:
        """(layer, head) of the head that matters most if passes are quick, else of the first."""
        session, reading = self._session, self._session.reading
        first = (reading.trace.attending(kind)[0], 0)
        if reading.trace.logits is None or not session.measures or reading.seconds > QUICK:
            return first
        try:
            ranked = ranked_heads(session.runs, reading, kind, session.place)
        except ModelIsTraining:
            return first
        return ranked[0][1:] if ranked else first

    def compute_quick(self) -> None:
        """Compute now, for a page, what costs little."""
        session, reading = self._session, self._session.reading
        if session.measures and reading.seconds <= QUICK:
            for kind in session.heads.kinds:
                estimate(session.runs, reading, kind, session.place)
        if not reading.scores:
            self._score(reading)
        self._find_samples(reading)
        self._changed("estimates", "scores", "score_names")

    def name_heads(self) -> None:
        """Compute the heads' labels, with their evidence, once. Sends its progress, and that it
        ended."""
        with taken(self._naming) as free:
            if not free or self.labels:
                return
            model, trace = self._session.text_model, self._session.reading.trace
            ended: dict[str, Any] = {"type": "naming", "ended": True}
            try:
                self.labels = labels_of(model, trace, self._tell_naming)
                self._changed("labels")
            except Interrupted:
                pass
            except Exception as error:  # no cell would show a thread's error
                ended["failed"] = one_line(error)
            self._send(ended)

    def _tell_naming(self, done: int, total: int) -> None:
        if not self._names_wanted:
            raise Interrupted
        self._send({"type": "naming", "done": done, "of": total})

    # -- the work, a step at a time ---------------------------------------------------------------

    def start(self) -> None:
        """Start measuring in the background."""
        self.background.open()

    def want_names(self, wanted: bool) -> None:
        """Start to find known head types in a thread, which takes seconds and edits nothing; or
        stop."""
        self._names_wanted = wanted
        if wanted:
            start_thread(threading.Thread(target=self.name_heads, daemon=True))

    def close(self) -> None:
        self._names_wanted = False
        self.background.close()

    def _step(self) -> bool:
        """Compute the most urgent missing fact; return False if there is none."""
        session, (reading, place) = self._session, self._of  # both of one change
        if not session.runs.is_fresh(reading):
            return False
        if session.can_edit and not reading.is_prepared:
            session.runs.prepare(reading)
            return True
        chosen = self._chosen()
        if session.measures:
            for kind in sorted(session.heads.kinds, key=lambda name: name != chosen[0]):
                if estimate(session.runs, reading, kind, place):
                    self._publish(reading, place, "estimates")
                    return True
        if not reading.scores and self._score(reading):
            self._publish(reading, place, "scores", "score_names")
            return True
        if self._find_samples(reading):
            return True
        if session.measures and self._measure_some(reading, place, chosen):
            return True
        effects = session.effects.known(reading, place)
        if len(effects) != self._published:
            self._publish(reading, place, "effects")
            self._published = len(effects)
        return False

    def _find_samples(self, reading: Reading) -> bool:
        """Find samples for these weights; return False if that was done before, or passes are
        slow."""
        if self._samples_of == reading.version or reading.seconds > QUICK:
            return False
        self._samples_of = reading.version
        self.samples = samples_of(self._session.runs.quiet(reading.version))
        self._changed("samples")
        return True

    def _measure_some(self, reading: Reading, place: int, chosen: Place) -> bool:
        if self._naming.locked():  # two at once would be slower than one after the other
            raise Interrupted
        session, singles = self._session, self._singles
        if singles is None or singles.reading is not reading or singles.position != place:
            singles = Singles(session.runs, reading, place, self.background.check)
            self._singles = singles
        every = list(session.heads.every(chosen[0]))
        left = singles.order(every, chosen)
        done = len(every) - len(left)
        if not left or (left[0] != chosen and done * reading.seconds / 3 > UNASKED):
            return False
        effects = session.effects.known(reading, place, singles.measure(left, chosen))
        with session.lock:
            if self._of == (reading, place):
                self._send({"type": "effects", "of": self.count, "found": effects})
        return True

    def _score(self, reading: Reading) -> bool:
        """Score every head on the text; return False if it is too long for that."""
        trace = reading.trace
        sizes = [(trace.n_layers(k), trace.n_heads(k), *trace.shape(k)) for k in trace.kinds]
        if sum(math.prod(size) for size in sizes) > SEVERAL:
            return False
        reading.scores = {kind: all_scores(trace, kind=kind) for kind in trace.kinds}
        return True

    def _publish(self, reading: Reading, place: int, *names: str) -> None:
        """Publish new facts if they belong to the text and position on view."""
        with self._session.lock:
            if self._of == (reading, place):
                self._changed(*names)

    def _failed(self, error: Exception) -> None:
        self._send({"type": "effects", "of": self.count, "found": {}, "failed": one_line(error)})


def _packed(numbers: torch.Tensor) -> bytes:
    return numbers.float().contiguous().numpy().tobytes()
