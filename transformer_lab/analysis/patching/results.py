"""Results of patching: for every cell an exact change of the metric, an estimate, or both."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ...edits.effects import plain_values
from ...edits.kinds import EditError
from ...edits.sites import OF_HEADS
from ...files.tables import Table
from ...files.text_files import write_text
from ...tracing.provenance import Provenance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ...views.shared.plots import Plot

CLOSE = 1e-6  # of a run's metric: if two runs differ by less, there is nothing to recover


class Cell(NamedTuple):
    """One cell: where it is (`place` is the head, or the index of a pair of positions), its label,
    and how far the patch moves the metric, exactly and by an estimate; None if not known.
    """

    site: str
    layer: int
    place: int
    label: str
    exact: float | None
    estimate: float | None

    @property
    def where(self) -> str:
        return f"head {self.place}" if self.site in OF_HEADS else f"position {self.label}"

    @property
    def value(self) -> float:
        """The exact number if it is known, else the estimate."""
        found = self.exact if self.exact is not None else self.estimate
        return math.nan if found is None else found


@dataclass(frozen=True, eq=False)
class PatchingGrid(Table):
    """How far patching one site moves the metric, in every layer and position or head.

    Attributes:
        site: what was patched: "z", "resid_pre" …; axes: ("layer", "position") or ("layer",
            "head").
        estimate, exact: fp32 [layer, position or head], the change of the metric; NaN if it is not
            known, or there is nothing to patch.
        there: bool, same shape: whether there is something to patch.
        labels: axis -> the label of each index.
        into, source: the metric of the run that is patched, and of the source run.
        provenance: how it was made, see `tl.report`.
        metric, direction, aligned: in words. model: its name. path: the only path by which the
            patch may reach the metric; "" for every path.
    """

    site: str
    axes: tuple[str, str]
    labels: Mapping[str, list[str]] = field(repr=False)
    estimate: Tensor = field(repr=False)
    exact: Tensor = field(repr=False)
    there: Tensor = field(repr=False)
    into: float
    source: float
    metric: str
    direction: str
    aligned: str
    model: str
    path: str = ""
    provenance: Provenance | None = field(default=None, repr=False)

    @property
    def values(self) -> Tensor:
        """The exact change where it is known, and the estimate elsewhere."""
        return torch.where(self.exact.isnan(), self.estimate, self.exact)

    @property
    def recovered(self) -> Tensor:
        """`values` as fractions of the difference between the two runs: 0 leaves the metric where
        it was, 1 moves it to the other run's.

        Raises:
            ValueError: if both runs have the same metric.
        """
        between = self.source - self.into
        if abs(between) <= CLOSE * max(1.0, abs(self.source)):
            raise ValueError(
                f"both runs have the same {self.metric}, {self.into:.4g}, so there is nothing to "
                "recover"
            )
        return self.values / between

    @property
    def estimated(self) -> bool:
        """Whether some cell is only an estimate."""
        return bool((self.exact.isnan() & ~self.estimate.isnan()).any())

    def cell(self, layer: int, place: int) -> Cell:
        """Return one cell.

        Raises:
            ValueError: for a cell that does not exist.
        """
        shape = self.estimate.shape
        for name, value, limit in zip(self.axes, (layer, place), shape, strict=True):
            if not 0 <= value < limit:
                raise ValueError(f"{name}={value} is outside 0 … {limit - 1} of {self.site}")
        numbers = (float(x[layer, place]) for x in (self.exact, self.estimate))
        exact, estimate = (None if math.isnan(x) else x for x in numbers)
        label = self.labels[self.axes[1]][place]
        return Cell(self.site, layer, place, label, exact, estimate)

    def top(self, k: int = 5) -> list[Cell]:
        """The cells that move the metric most, either way, most first."""
        flat = self.values.flatten()
        order = flat.abs().nan_to_num(-1.0).argsort(descending=True, stable=True).tolist()
        width = self.values.shape[1]
        return [self.cell(*divmod(i, width)) for i in order[:k] if not math.isnan(flat[i])]

    @property
    def title(self) -> str:
        return f"{self.site} by {self.axes[0]} and {self.axes[1]}{f', {self.path}' if self.path else ''}"

    @property
    def sentence(self) -> str:
        """What the numbers are, and which cells are the largest."""
        return self.sentence_of(self.site, self.top(3), self.estimated)

    def sentence_of(self, site: str, most: list[Cell], estimated: bool) -> str:
        """The same of a site or several, with their largest cells."""
        runs = ("clean", "corrupted") if self.direction == "denoising" else ("corrupted", "clean")
        several = len({cell.site for cell in most} | {site}) > 1
        cells = "; ".join(
            f"{f'{c.site} of ' * several}layer {c.layer}, {c.where} "
            f"{'≈ ' * (c.exact is None)}{_said(c.value, '+')}"
            for c in most
        )
        into, source = _said(self.into), _said(self.source)
        path = f" {self.path}" if self.path else ""
        how = "Some of the changes are estimated" if estimated else "Each change is measured"
        return (
            f"Change in the {self.metric} when {site} of the {runs[0]} run is patched into the "
            f"{runs[1]} run{path}. Unpatched, it is {into} in the {runs[1]} run and {source} in "
            f"the {runs[0]} run. {how}; largest: {cells}."
        )

    def to_plotly(self, *, theme: str = "light") -> Plot:
        """As a plotly figure.

        Args:
            theme: as in `View.to_plotly`.
        """
        from ...views.measured import plot_of_numbers

        said = (self.title, self.sentence)
        return plot_of_numbers(self.values, "change", self.axes, self.labels, *said, theme)

    def figure(self) -> Figure:
        """Draw a matplotlib figure; cells that are only estimates have a dot."""
        return _still([self], self.sentence)

    def panel(self) -> Any:
        """The panel for `scene_of_maps`; cells that are only estimates have a dot."""
        dots = self.exact.isnan() & ~self.estimate.isnan()
        return (self.title, self.values, dots, self.axes, self.labels)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; None for what is not known."""
        plain = {
            n: getattr(self, n)
            for n in ("site", "metric", "direction", "aligned", "model", "path", "into", "source")
        }
        numbers = {n: plain_values(getattr(self, n).tolist()) for n in ("exact", "estimate")}
        return {**plain, "axes": list(self.axes), "labels": dict(self.labels), **numbers}

    def cells(self) -> tuple[list[str], list[list[Any]]]:
        """A row for every cell that is known."""
        n_layers, n_places = self.values.shape
        found = [self.cell(layer, place) for layer in range(n_layers) for place in range(n_places)]
        return ["site", "layer", "axis", "place", "label", "exact", "estimate"], [
            [self.site, cell.layer, self.axes[1], cell.place, cell.label, cell.exact, cell.estimate]
            for cell in found
            if not math.isnan(cell.value)
        ]

    def to_json(self, path: str | os.PathLike) -> Path:
        """Write `to_dict()` to a file; errors as `to_csv`."""
        return write_text(path, [json.dumps(self.to_dict())], such_as="grid.json")

    def __repr__(self) -> str:
        return f"<PatchingGrid of {self.title}. {self.sentence}>"


@dataclass(frozen=True, eq=False)
class PatchingGrids(Table, Mapping[str, PatchingGrid]):
    """A `PatchingGrid` for each site, by its name.

    Attributes:
        missing: site -> why this model does not offer it.
        edit_of: returns the edit of a cell: `tl.edit(model, grids.edit_of("z", layer, head))`.
    """

    grids: Mapping[str, PatchingGrid]
    missing: Mapping[str, str]
    edit_of: Callable[[str, int, int], Any] = field(repr=False)
    measured: Callable[..., dict[tuple[str, int, int], float]] = field(repr=False)
    provenance: Provenance | None = field(default=None, repr=False)

    def measure(
        self,
        cells: Iterable[tuple[str, int, int]] | str | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> PatchingGrids:
        """Return the grids with these cells patched exactly, in addition to their estimates.

        Args:
            cells: (site, layer, head or index of positions) each; a site, for all of its cells;
                None: all cells of all sites.
            progress: called with (cells done, cells in all); an exception from it ends the work.

        Raises:
            EditError: for a site or cell that is not in these grids.
        """
        if cells is None or isinstance(cells, str):
            sites = list(self.grids) if cells is None else [self._known(cells)]
            wanted = [
                (site, layer, place)
                for site in sites
                for layer, row in enumerate(self.grids[site].there.tolist())
                for place, there in enumerate(row)
                if there
            ]
        else:
            wanted = [(self._known(s), layer, place) for s, layer, place in cells]
            for site, layer, place in wanted:
                self.grids[site].cell(layer, place)
                if not self.grids[site].there[layer, place]:
                    raise EditError(f"{site} of layer {layer} has nothing to patch at {place}")
        found = self.measured(wanted, progress=progress)
        grids = {site: replace(g, exact=g.exact.clone()) for site, g in self.grids.items()}
        for (site, layer, place), value in found.items():
            grids[site].exact[layer, place] = value
        return replace(self, grids=grids)

    def top(self, k: int = 5) -> list[Cell]:
        """The cells of all sites that move the metric most, either way, most first."""
        found = [cell for grid in self.grids.values() for cell in grid.top(k)]
        return sorted(found, key=lambda cell: -abs(cell.value))[:k]

    def figure(self) -> Figure:
        """Draw all grids below each other in a matplotlib figure."""
        first, *rest = self.grids.values()
        estimated = any(grid.estimated for grid in self.grids.values())
        said = first.sentence_of("each site", self.top(3), estimated) if rest else first.sentence
        return _still([first, *rest], said)

    def to_plotly(self, *, theme: str = "light") -> Plot:
        """The first grid as a plotly figure; `grids[site].to_plotly()` gives another."""
        return next(iter(self.grids.values())).to_plotly(theme=theme)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; None for what is not known."""
        grids = {site: grid.to_dict() for site, grid in self.grids.items()}
        return {"grids": grids, "missing": dict(self.missing)}

    def cells(self) -> tuple[list[str], list[list[Any]]]:
        """The rows of all grids."""
        columns, rows = [], []
        for grid in self.grids.values():
            columns, more = grid.cells()
            rows += more
        return columns, rows

    def to_json(self, path: str | os.PathLike) -> Path:
        """Write `to_dict()` to a file; errors as `PatchingGrid.to_csv`."""
        return write_text(path, [json.dumps(self.to_dict())], such_as="grids.json")

    def __getitem__(self, site: str) -> PatchingGrid:
        return self.grids[self._known(site)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.grids)

    def __len__(self) -> int:
        return len(self.grids)

    def __repr__(self) -> str:
        return f"<PatchingGrids of {', '.join(self.grids)}>"

    def _known(self, site: str) -> str:
        if site in self.grids:
            return site
        why = f": {self.missing[site]}" if site in self.missing else ""
        raise EditError(f"site must be one of {', '.join(self.grids)}, got {site!r}{why}")


def _still(grids: list[PatchingGrid], sentence: str) -> Figure:
    from ...views.marks.draw_matplotlib import figure_of
    from ...views.marks.scene import scene_of_maps

    said = f"{sentence} Dots mark estimates." if any(grid.estimated for grid in grids) else sentence
    return figure_of(scene_of_maps([grid.panel() for grid in grids], said))


def _said(value: float, sign: str = "") -> str:
    return f"{value:{sign}.3g}".replace("-", "−")
