"""Effects of switching off single heads: for the grid, for a click, for a saved page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from ...files.waiting import waiting
from ...training.usage import is_training
from ..heads.heads import Place, name_of
from ..pages.export import Block
from ..shared.javascript import in_words
from ..shared.map_sentences import if_off, long_time, without_head
from .runs import Outcome, Reading, Runs

EFFECTS_WITHIN = 180.0  # seconds that a page may take to compute the effects of all heads


class HeadEffects:
    """Effects of a text's heads, each switched off alone and measured once."""

    def __init__(self, runs: Runs):
        self.runs = runs
        # Summaries with the outcome that each was made from, cached since every click needs them.
        self._summaries: dict[tuple[Place, int], tuple[Outcome, dict[str, Any]]] = {}
        self._read: Reading | None = None

    def compute(self, reading: Reading, places: Iterable[Place], position: int) -> None:
        places, wanted = list(places), self.runs.wanted_positions(reading, position)
        with waiting("Switching off, one by one") as tell:
            for done, place in enumerate(places):
                tell(done, len(places))
                self.runs.effect(reading, *place, wanted)

    def known(
        self, reading: Reading, position: int, places: Iterable[Place] | None = None
    ) -> dict[str, Any]:
        """The effects computed so far at a position: "kind/layer/head" -> summary; `places`: of
        these heads only."""
        places = list(reading.effects) if places is None else places  # another thread may add some
        effects = {place: reading.effects[place].get(position) for place in places}
        return {
            name_of(place): self._summary(reading, place, effect)
            for place, effect in effects.items()
            if effect is not None
        }

    def _summary(self, reading: Reading, place: Place, effect: Outcome) -> dict[str, Any]:
        if reading is not self._read:
            self._read, self._summaries = reading, {}
        made, summary = self._summaries.get((place, effect.position), (None, {}))
        if made is not effect:
            summary = self._summed_up(reading, place, effect)
            self._summaries[place, effect.position] = effect, summary
        return summary

    @staticmethod
    def _summed_up(reading: Reading, place: Place, effect: Outcome) -> dict[str, Any]:
        several = len(reading.trace.kinds) > 1
        row = effect.rows[0] if effect.rows else None
        return {
            "kl": effect.kl,
            "mean": effect.mean_change,
            "token": row.token if row else None,
            "before": row.before if row else None,
            "after": row.after if row else None,
            "sentence": in_words(lambda: effect.sentence(without_head(*place, several))),
            # For a head not switched off.
            "if_off": in_words(lambda: effect.sentence(if_off(*place, several))),
        }

    def block(self, reading: Reading, place: Place, position: int) -> Block:
        """The predictions without one head, at every position if there are not too many."""
        wanted = self.runs.wanted_positions(reading, position)
        effects = self.runs.effect(reading, *place, wanted)
        tables = {
            str(p): {**e.to_dict(), **self._summary(reading, place, e)} for p, e in effects.items()
        }
        data = json.dumps(tables, ensure_ascii=True, separators=(",", ":")).encode()
        return Block(f"effect/{name_of(place)}", {}, [data])

    def why_not(
        self, reading: Reading, places: list[Place], position: int, wanted: bool | None
    ) -> str:
        """A sentence saying why a page leaves them out; "" if it does not."""
        if is_training(self.runs.module):
            return "What happens without each head is left out: the model was training."
        if wanted is None and len(places) * reading.seconds > EFFECTS_WITHIN:
            self._time_again(reading, places[0], position)
        seconds = len(places) * reading.seconds
        if wanted is not None or seconds <= EFFECTS_WITHIN:
            return ""
        return (
            f"What happens without each of the {len(places)} heads is left out: it takes about "
            f"{long_time(seconds)}; save_html(path, effects=True) computes it."
        )

    def _time_again(self, reading: Reading, first: Place, position: int) -> None:
        """Time another pass, since a model's first one is its slowest, and use it for one head's
        effect."""
        if first in reading.effects:
            return
        began = time.perf_counter()
        self.compute(reading, [first], position)
        reading.seconds = min(reading.seconds, time.perf_counter() - began)
