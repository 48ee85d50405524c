"""The model of an Explorer in its page, for a saved page, or when the kernel is busy or gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..pages.carried import Carried, why_not
from ..pages.carrying import carry
from ..pages.standing_by import NO_MODEL, mark_of, part_of
from ..shared.embedded_model import Answer
from .session import Session


class SessionModel:
    """The model of a session, and what a page needs to continue with its text."""

    def __init__(self, session: Session):
        self._session = session
        self._mark: tuple[bytes, tuple[str, str]] | None = None  # of some weights

    def take(self, model: bool | None, precision: str, effects: bool) -> tuple[Carried | None, str]:
        """Return the model to embed in a saved page, or None and a sentence saying why.

        Args:
            model, precision: as in `save_html`.
            effects: whether the page contains the effects of single heads.
        """
        runs, reading = self._session.runs, self._session.reading
        heads = "cutting" if effects else "switching heads off, cutting"
        lacks = f"{heads} edges, continuing the text, or another text needs a live kernel"
        quiet, stale = runs.quiet(reading.version), not runs.is_fresh(reading)
        return carry(quiet, model, stale, [reading.trace], lacks, precision)

    def may_travel(self, stays: str) -> bool:
        """Whether a page can embed the model on request. `stays`: what `take` said last."""
        quiet = self._session.runs.quiet(self._session.reading.version)
        return "model=True" in stays or not (stays or why_not(quiet))

    def text(self) -> dict[str, Any]:
        """What the page's engine needs for the text on view."""
        session = self._session
        ids = session.reading.exact_ids
        return {
            "given": None if ids is None else list(ids),
            "first": session.runs.first_position(session.reading),
            "wished": session.state.position,
        }

    def on_standby(self) -> dict[str, Any]:
        """The same, for a page whose kernel may stop answering. mark: identifies the model that
        read the text, "" if it cannot run in a page; why: the reason."""
        mark, why = self._marked()
        return {"mark": mark, "why": why, **self.text()}

    def _marked(self) -> tuple[str, str]:
        version = self._session.reading.version
        if self._mark is None or self._mark[0] != version:
            self._mark = version, mark_of(self._session.runs.quiet(version), version)
        return self._mark[1]

    def part(self, name: str, send: Callable[..., Any]) -> Answer:
        """The engine, or the model that it runs.

        Raises:
            ValueError: if the page cannot have it, or the model's weights have changed since.
        """
        runs, reading = self._session.runs, self._session.reading
        if not runs.is_fresh(reading):
            raise ValueError(NO_MODEL)
        return part_of(runs.quiet(reading.version), self._marked()[0], name, send)
