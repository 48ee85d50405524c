"""What an Explorer gives the page, so that the page goes on while the kernel is busy or gone."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import traitlets as t

from ..pages.carried import ENGINE, carried, engine_script, packed_tokenizer
from ..pages.carrying import precision_unasked
from .facts import Measured
from .runs import Reading

NO_MODEL = "the page cannot run this model"


class StandsBy(Measured):
    """An Explorer whose page may ask for the model, and then answers what Python does not."""

    # mark: of the model that read the text, "" where it does not run in a page; given, first, wished: as in
    # `_carried` of a saved page.
    _standby = t.Dict().tag(sync=True)

    _marked: tuple[bytes, str] | None = None  # of some weights

    def _show(
        self, reading: Reading, edits: list[dict], position: int | None, note: str = ""
    ) -> None:
        with self.hold_sync():
            super()._show(reading, edits, position, note)
            self._standby = {
                "mark": self._mark(reading),
                "given": None if reading.given is None else list(reading.given),
                "first": self._runs.first_position(reading),
                "wished": position,
            }

    def _mark(self, reading: Reading) -> str:
        """A name for the model with these weights; "" where it is too large, or not ours."""
        if self._marked is None or self._marked[0] != reading.version:
            model, name = self._runs.quiet(reading.version), ""
            if precision_unasked(model):
                sides = [packed_tokenizer(x) for x in (model.tokenizer, model.target_tokenizer)]
                told = json.dumps([model.name, repr(model.model.config), sides]).encode()
                name = hashlib.sha256(reading.version + told).hexdigest()[:24]
            self._marked = (reading.version, name)
        return self._marked[1]

    def _model_block(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        """The engine, or the model that it runs, as a saved page holds them.

        Raises:
            ValueError: where the page cannot have it, or the model has learned since.
        """
        reading = self._reading
        if not self._mark(reading) or not self._runs.is_fresh(reading):
            raise ValueError(NO_MODEL)
        info: dict[str, Any] = {"mark": self._mark(reading)}
        if name == ENGINE:
            return {"type": "block", "info": info}, [engine_script().encode()]
        quiet = self._runs.quiet(reading.version)
        _, model = carried(quiet, precision_unasked(quiet)).blocks
        return {"type": "block", "info": {**info, **model.info}}, model.buffers
