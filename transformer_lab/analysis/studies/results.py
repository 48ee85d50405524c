"""The results of a study."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...files.paths import as_path
from ...files.tables import Table, html_table
from ...files.text_files import write_text
from ...tracing.provenance import Provenance
from .prompts import Prompt
from .spread import QUANTILES, Spread, StudyRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ...views.shared.plots import Plot

SHOWN = 40  # rows in a notebook
COLUMNS = ("measure", "layer", "axis", "place", "label", "n", "mean", "std", "low", "high")


@dataclass(frozen=True, eq=False)
class StudyTable(Table):
    """Cells as rows; see `Study.table`.

    rows: the cells. about: what its numbers are, in a sentence.
    """

    rows: tuple[StudyRow, ...]
    about: str

    def cells(self) -> tuple[list[str], list[list[Any]]]:
        """A row for each cell of each measure."""
        columns = [*COLUMNS, *(f"quantile {q:g}" for q in QUANTILES)]
        rows = ([*row[:-1], *row.quantiles] for row in self.rows)
        return columns, [[None if x != x else x for x in row] for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[StudyRow]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> StudyRow:
        return self.rows[index]

    def __repr__(self) -> str:
        return f"<StudyTable of {len(self.rows)} cells. {self.about}>"

    def _repr_html_(self) -> str:
        lines = ([html.escape(_told(value)) for value in row[:-1]] for row in self.rows[:SHOWN])
        return html_table(self.about, COLUMNS, lines, len(self.rows) - SHOWN)


@dataclass(frozen=True, eq=False)
class Study(Table, Mapping[str, Spread]):
    """A `Spread` over prompts for each measure, by its name.

    Attributes:
        prompts: those that were measured. model: its name.
        missing: requested measure that no prompt has -> why.
        baselines: one number per prompt each: for patches, the metric of both runs.
        provenance: how it was made, see `tl.report`.
    """

    spreads: Mapping[str, Spread]
    prompts: tuple[Prompt, ...] = field(repr=False)
    model: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
    baselines: Mapping[str, Spread] = field(default_factory=dict, repr=False)
    provenance: Provenance | None = field(default=None, repr=False)

    def table(self) -> StudyTable:
        """Return every cell as a row: how many prompts have it, mean, standard deviation, interval
        and quantiles. The largest means come first; if measures have several units, one measure
        comes after another.
        """
        rows = [row for spread in self.spreads.values() for row in spread.rows()]
        units = {spread.unit for spread in self.spreads.values()}
        order = {name: i * (len(units) > 1) for i, name in enumerate(self.spreads)}
        rows.sort(key=lambda row: (order[row.measure], -abs(row.mean)))
        return StudyTable(tuple(rows), self.sentence)

    @property
    def sentence(self) -> str:
        """What was measured on which model, and the largest means of the first measure."""
        gone = "".join(f" {name}: {why}." for name, why in self.missing.items())
        return f"{self.model}: {self._first.sentence}{gone}"

    def cells(self) -> tuple[list[str], list[list[Any]]]:
        """The rows of `table()`."""
        return self.table().cells()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; None for what is not known."""
        first = self._first
        return {
            "model": self.model,
            "n_prompts": len(self.prompts),
            "missing": dict(self.missing),
            "bootstrap": {n: getattr(first, n) for n in ("seed", "resamples", "level")},
            "measures": {name: spread.to_dict() for name, spread in self.spreads.items()},
            "baselines": {name: spread.to_dict() for name, spread in self.baselines.items()},
        }

    def save(self, path: str | os.PathLike) -> Path:
        """Write `table()` to a .csv file or `to_dict()` to a .json file.

        Raises:
            ValueError: for another ending, or a path that cannot hold a file.
        """
        end = as_path(path).suffix.lower()
        if end not in (".csv", ".json"):
            raise ValueError(
                f"path must end in .csv or .json, got {str(path)!r}; name a file such as study.csv"
            )
        text = self.csv() if end == ".csv" else json.dumps(self.to_dict(), allow_nan=False)
        return write_text(path, [text], such_as="study.csv")

    def figure(self) -> Figure:
        """Draw the means of all measures below each other; cells whose interval contains 0 have a
        dot.
        """
        from ...views.marks.draw_matplotlib import figure_of
        from ...views.marks.scene import scene_of_maps

        panels = [spread.panel() for spread in self.spreads.values()]
        return figure_of(scene_of_maps(panels, f"{self.sentence} Dots: the interval contains 0."))

    def to_plotly(self, *, theme: str = "light") -> Plot:
        """The first measure as a plotly figure; `study[name].to_plotly()` gives another."""
        return self._first.to_plotly(theme=theme)

    @property
    def seed(self) -> int:
        """Seed of the bootstrap."""
        return self._first.seed

    @property
    def _first(self) -> Spread:
        return next(iter(self.spreads.values()))

    def __getitem__(self, name: str) -> Spread:
        if name in self.spreads:
            return self.spreads[name]
        why = f": {self.missing[name]}" if name in self.missing else ""
        raise ValueError(f"{name!r} is not one of {', '.join(self.spreads)}{why}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.spreads)

    def __len__(self) -> int:
        return len(self.spreads)

    def __repr__(self) -> str:
        return f"<Study of {', '.join(self.spreads)} over {len(self.prompts)} prompts. {self.sentence}>"

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def _told(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
