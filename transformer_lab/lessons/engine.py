"""Papermill's engine as lessons are run: what has run so far is written now and then.

By its own rule papermill writes the notebook twice a cell, with all pictures that are in it: as much
work as a short lesson is itself.
"""

from __future__ import annotations

from typing import Any

from papermill.engines import NBClientEngine, papermill_engines

NAME = "now-and-then"


class NowAndThen(NBClientEngine):
    """Writes the notebook at its start, at most every half minute while it runs, and once it has
    ended, however it did."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> Any:
        write = nb_man.save

        def save(**now: Any) -> None:
            passed = nb_man.now() - nb_man.last_save_time
            if passed.total_seconds() >= nb_man.autosave_cell_every:
                write(**now)

        nb_man.save = save
        try:
            return super().execute_managed_notebook(nb_man, kernel_name, **kwargs)
        finally:
            nb_man.save = write


papermill_engines.register(NAME, NowAndThen)
