"""What an Explorer finds out about all heads by itself: estimates, scores, labels, and what each does."""

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
from .session import QUICK, Session
from .singles import Singles, estimate, ranked_heads

SEVERAL = 2**26  # numbers of all maps: the heads of a longer text are not scored on it
UNASKED = 60.0  # seconds that what nobody asked for may take; then the most promising are done
NONE = torch.full((), math.nan)


class Facts:
    """What is known of the heads of a session. More is measured while nobody waits for the model, once
    `start` was called.

    Args:
        chosen: the head on view.
        send: a message to the browser, with what has just been measured.
        changed: gets the names of properties of this object that have changed together.
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
        self.count = 0  # of texts and positions: effects of another are old
        self.labels: dict[str, Any] = {}
        self.samples: list[dict[str, Any]] = []  # texts to begin with: see samples.py
        self._samples_of: bytes | None = None  # the weights that they were checked on
        self._naming, self._names_wanted = threading.Lock(), True
        self._singles: Singles | None = None
        self._published = 0  # effects
        self._of: tuple[Reading, int] = session.reading, -1
        self.follow()

    def follow(self) -> bool:
        """The session has changed; returns whether the text or the position has."""
        now = self._session.reading, self._session.place
        moved = self._of != now
        if moved:
            self._of = now
            self.count += 1
        self._published = len(self.effects)
        self.background.wake()
        return moved

    # -- what is known ----------------------------------------------------------------------------

    @property
    def effects(self) -> dict[str, Any]:
        """ "kind/layer/head" -> what happens without this one head."""
        session = self._session
        return session.effects.known(session.reading, session.place)

    @property
    def estimates(self) -> bytes:
        """Of the kinds in turn [layer, head], fp32; NaN where there is none."""
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
        """Of the kinds in turn [score, layer, head], fp32."""
        scores = self._session.reading.scores
        kinds = self._session.heads.kinds if scores else ()
        return b"".join(_packed(score) for kind in kinds for score in scores[kind].values())

    @property
    def score_names(self) -> dict[str, list[list[str]]]:
        """kind -> [name, its short name, its unit, what a head does that scores high] of each score."""
        return {
            kind: [
                [name, one.tag or name, one.unit, one.says]
                for name, one in ((name, MEASURES[name]) for name in scores)
            ]
            for kind, scores in self._session.reading.scores.items()
        }

    def known(self, place: Place) -> str:
        """What is known of a head, in a few letters: its effect, and its label."""
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
        """(layer, head) of the head that matters most, where passes are quick; else the first."""
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
        """For a page: what costs little, now."""
        session, reading = self._session, self._session.reading
        if session.measures and reading.seconds <= QUICK:
            for kind in session.heads.kinds:
                estimate(session.runs, reading, kind, session.place)
        if not reading.scores:
            self._score(reading)
        self._find_samples(reading)
        self._changed("estimates", "scores", "score_names")

    def name_heads(self) -> None:
        """Short labels of the heads, with their evidence; once. It sends how far it is, and that it ended."""
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
            except Exception as error:  # in a thread it would end up in no cell
                ended["failed"] = one_line(error)
            self._send(ended)

    def _tell_naming(self, done: int, total: int) -> None:
        if not self._names_wanted:
            raise Interrupted
        self._send({"type": "naming", "done": done, "of": total})

    # -- the work, a step at a time ---------------------------------------------------------------

    def start(self) -> None:
        """Measure from now on."""
        self.background.open()

    def want_names(self, wanted: bool) -> None:
        """Find known head types beside everything else, which takes seconds and edits nothing; or stop."""
        self._names_wanted = wanted
        if wanted:
            start_thread(threading.Thread(target=self.name_heads, daemon=True))

    def close(self) -> None:
        self._names_wanted = False
        self.background.close()

    def _step(self) -> bool:
        """Do what is most wanted of what is not known yet; False where all is."""
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
        """Whether the samples were looked for now, on these weights."""
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
        """Score every head on the text; False where it is too long for that."""
        trace = reading.trace
        sizes = [(trace.n_layers(k), trace.n_heads(k), *trace.shape(k)) for k in trace.kinds]
        if sum(math.prod(size) for size in sizes) > SEVERAL:
            return False
        reading.scores = {kind: all_scores(trace, kind=kind) for kind in trace.kinds}
        return True

    def _publish(self, reading: Reading, place: int, *names: str) -> None:
        """Tell of what was found out, where it is of what is on view."""
        with self._session.lock:
            if self._of == (reading, place):
                self._changed(*names)

    def _failed(self, error: Exception) -> None:
        self._send({"type": "effects", "of": self.count, "found": {}, "failed": one_line(error)})


def _packed(numbers: torch.Tensor) -> bytes:
    return numbers.float().contiguous().numpy().tobytes()
