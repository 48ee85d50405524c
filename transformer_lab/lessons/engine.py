"""Papermill's engine for running lessons, which saves the notebook only now and then.

By default papermill writes the notebook twice per cell, with all its images: as much work as
running a short lesson.
"""

from __future__ import annotations

from typing import Any

from papermill.engines import NBClientEngine, papermill_engines

NAME = "now-and-then"


class NowAndThen(NBClientEngine):
    """Writes the notebook at the start, at most once per `autosave_cell_every` seconds (30 by
    default) while it runs, and when it ends, with or without an error."""

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
