"""What an Explorer gives the page, so that the page goes on while the kernel is busy or gone."""

from __future__ import annotations

from typing import Any

import traitlets as t

from ..pages.standing_by import NO_MODEL, mark_of, part_of
from .facts import Measured
from .runs import Reading


class StandsBy(Measured):
    """An Explorer whose page may ask for the model, and then answers what Python does not."""

    # mark: of the model that read the text, "" where it does not run in a page, and why; given, first, wished:
    # as in `_carried` of a saved page.
    _standby = t.Dict().tag(sync=True)

    _marked: tuple[bytes, tuple[str, str]] | None = None  # of some weights

    def _show(
        self, reading: Reading, edits: list[dict], position: int | None, note: str = ""
    ) -> None:
        with self.hold_sync():
            super()._show(reading, edits, position, note)
            mark, why = self._mark(reading)
            self._standby = {
                "mark": mark,
                "why": why,
                "given": None if reading.given is None else list(reading.given),
                "first": self._runs.first_position(reading),
                "wished": position,
            }

    def _mark(self, reading: Reading) -> tuple[str, str]:
        """A name for the model with these weights; "" where it is too large, or not ours, and why."""
        if self._marked is None or self._marked[0] != reading.version:
            mark = mark_of(self._runs.quiet(reading.version), reading.version)
            self._marked = (reading.version, mark)
        return self._marked[1]

    def _standby_part(self, part: str) -> tuple[dict[str, Any], list[bytes]]:
        """The engine, or the model that it runs.

        Raises:
            ValueError: where the page cannot have it, or the model has learned since.
        """
        reading = self._reading
        if not self._runs.is_fresh(reading):
            raise ValueError(NO_MODEL)
        return part_of(self._runs.quiet(reading.version), self._mark(reading)[0], part, self.send)
