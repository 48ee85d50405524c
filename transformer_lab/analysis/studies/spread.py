"""One measure over many prompts, cell by cell: mean, standard deviation, quantiles and interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ...views.shared.plots import Plot

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_TOGETHER = 4096  # cells whose resampled means are in memory at once


class StudyRow(NamedTuple):
    """One cell: how many prompts have it, and their statistics.

    place: index on the last axis; label: its name.
    std: between prompts, divided by n − 1. low, high: the bootstrap interval of the mean.
    """

    measure: str
    layer: int
    axis: str
    place: int
    label: str
    n: int
    mean: float
    std: float
    low: float
    high: float
    quantiles: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Spread:
    """One measure over many prompts.

    Attributes:
        name, unit: of the measure. axes: such as ("layer", "head"); () for one number per prompt.
        labels: axis -> the label of each index.
        values: fp32 [prompt, over the axes]; NaN where a prompt has nothing to measure.
        seed, resamples, level: of the bootstrap.
    """

    name: str
    unit: str
    axes: tuple[str, ...]
    labels: Mapping[str, list[str]] = field(repr=False)
    values: Tensor = field(repr=False)
    seed: int = 0
    resamples: int = 2000
    level: float = 0.95

    @property
    def n(self) -> Tensor:
        """Number of prompts in which each cell is known, int64."""
        return (~self.values.isnan()).sum(0)

    @cached_property
    def mean(self) -> Tensor:
        """Mean over the prompts, fp32; NaN where none has the cell."""
        return self.values.double().nanmean(0).float()

    @cached_property
    def std(self) -> Tensor:
        """Standard deviation between prompts, divided by n − 1, fp32; NaN for fewer than two."""
        known = self.values.double()
        away = (known - known.nanmean(0)).square().nansum(0)
        n = self.n
        return torch.where(n > 1, away / (n - 1).clamp(min=1), torch.nan).sqrt().float()

    def quantile(self, q: float) -> Tensor:
        """Quantile over the prompts, fp32, q from 0 to 1."""
        return self.values.nanquantile(q, dim=0)

    @property
    def low(self) -> Tensor:
        """The lower end of each cell's interval, fp32."""
        return self.interval[0]

    @property
    def high(self) -> Tensor:
        return self.interval[1]

    @cached_property
    def interval(self) -> tuple[Tensor, Tensor]:
        """Where the mean of other prompts like these would fall, for each cell separately: the
        percentile bootstrap, with prompts drawn with replacement and the same draws for all cells.
        NaN where fewer than two prompts are known. Of many cells, a fraction 1 − level misses by
        chance.

        Source: Efron and Tibshirani 1993, ch. 13.
        """
        n, shape = len(self.values), self.values.shape[1:]
        flat = self.values.reshape(n, -1).double()
        draws = torch.Generator().manual_seed(self.seed)
        counts = torch.zeros(self.resamples, n, dtype=torch.float64)
        for row in counts:
            row += torch.bincount(torch.randint(n, (n,), generator=draws), minlength=n)
        ends = (1 - self.level) / 2, (1 + self.level) / 2
        found = torch.full((2, flat.shape[1]), torch.nan)
        for at in range(0, flat.shape[1], _TOGETHER):
            cells = flat[:, at : at + _TOGETHER]
            there = ~cells.isnan()
            means = (counts @ cells.nan_to_num()) / (counts @ there.double())
            of = np.nanquantile if bool(means.isnan().any()) else np.quantile
            enough = there.sum(0) > 1
            numbers = means[:, enough].numpy()
            if numbers.size:
                some = torch.from_numpy(of(numbers, ends, axis=0)).float()
                found[:, at : at + _TOGETHER][:, enough] = some
        low, high = found.reshape(2, *shape)
        return low, high

    def rows(self) -> Iterator[StudyRow]:
        """Yield every cell that some prompt has."""
        if len(self.axes) != 2:
            return
        quantiles = torch.stack([self.quantile(q) for q in QUANTILES], -1)
        n, names = self.n, self.labels[self.axes[1]]
        for layer, place in (n > 0).nonzero().tolist():
            at = layer, place
            numbers = (float(x[at]) for x in (self.mean, self.std, self.low, self.high))
            yield StudyRow(
                self.name,
                layer,
                self.axes[1],
                place,
                names[place],
                int(n[at]),
                *numbers,
                quantiles=tuple(quantiles[at].tolist()),
            )

    def top(self, k: int = 5) -> list[StudyRow]:
        """The cells with the largest means, either way, largest first."""
        return sorted(self.rows(), key=lambda row: -abs(row.mean))[:k]

    @property
    def sentence(self) -> str:
        """What the numbers are, and which are the largest."""
        most = "; ".join(
            f"layer {row.layer}, {row.axis} {row.label} {_said(row.mean)}{_between(row)}"
            for row in self.top(3)
        )
        counts = self.n[self.n > 0]
        least, n = int(counts.min()) if len(counts) else 0, len(self.values)
        some = "" if least == n else f", of which at least {least} have what is measured"
        return (
            f"{self.name} ({self.unit}): mean over {n} prompts{some}, with the {100 * self.level:g}% "
            f"bootstrap interval; largest: {most}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; None for what is not known."""
        from ...views.shared.exports import listed

        numbers = {"mean": self.mean, "std": self.std, "low": self.low, "high": self.high}
        numbers |= {f"quantile {q:g}": self.quantile(q) for q in QUANTILES}
        return {
            "unit": self.unit,
            "axes": list(self.axes),
            "labels": dict(self.labels),
            "n": self.n.tolist(),
            **{name: listed(x.numpy()) for name, x in numbers.items()},
        }

    def to_plotly(self, *, theme: str = "light") -> Plot:
        """The means as a plotly figure.

        Args:
            theme: as in `View.to_plotly`.
        """
        from ...views.measured import plot_of_numbers

        said = (f"{self.name}, mean", self.sentence)
        return plot_of_numbers(self.mean, self.unit, self.axes, self.labels, *said, theme)

    def figure(self) -> Figure:
        """Draw the means in a matplotlib figure; cells whose interval contains 0 have a dot."""
        from ...views.marks.draw_matplotlib import figure_of
        from ...views.marks.scene import scene_of_maps

        text = f"{self.sentence} Dots: the interval contains 0."
        return figure_of(scene_of_maps([self.panel()], text))

    def panel(self) -> Any:
        """The panel for `scene_of_maps`."""
        dots = (self.low <= 0) & (self.high >= 0)
        return (f"{self.name}, mean", self.mean, dots, self.axes, self.labels)


def _between(row: StudyRow) -> str:
    """Its interval in words, if it has one."""
    return "" if row.n < 2 else f" ({_said(row.low)} to {_said(row.high)})"


def _said(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")
