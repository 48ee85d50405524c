"""Curves of several runs, grouped by name (such as seeds): numbers, a sentence, and figures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..marks.draw_matplotlib import figure_of
from ..marks.scene import Axis, Curve, Curves, Panel, Scene
from ..shared.codecs import shown_text
from ..shared.figures import png_of
from ..shared.messages import fixed
from .data import CURVE_POINTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..shared.plots import Plot

NAMES = {
    "loss": "loss, nats a token",
    "eval_loss": "held-out loss, nats a token",
    "lr": "learning rate",
    "grad_norm": "norm of the gradient",
    "tokens_per_second": "tokens a second",
    "seconds": "seconds",
}


@dataclass(frozen=True, eq=False)
class RunCurves:
    """The result of `compare_runs`.

    of: the metric that is drawn; seeds: name -> the points of each run of that name, fp64
    [point, (step, value)].
    """

    of: str
    seeds: Mapping[str, Sequence[np.ndarray]] = field(repr=False)
    title: str = "Runs"

    def mean(self, name: str) -> np.ndarray:
        """The mean over the runs of a name, fp64 [point, (step, value)], at their common steps."""
        runs = [dict(points.tolist()) for points in self.seeds[name]]
        steps = sorted(set.intersection(*map(set, runs)))
        return np.array([(s, np.mean([run[s] for run in runs])) for s in steps]).reshape(-1, 2)

    @property
    def sentence(self) -> str:
        """The final value of each run, or the mean and the range of several."""
        lines = []
        for name, runs in self.seeds.items():
            mean, ends = self.mean(name), [float(points[-1, 1]) for points in runs]
            if len(runs) == 1:
                lines.append(f"{name} {_number(ends[0])}")
            elif len(mean):
                lines.append(
                    f"{name} {_number(float(mean[-1, 1]))} (mean of {len(runs)} runs, "
                    f"{_number(min(ends))} to {_number(max(ends))})"
                )
            else:
                lines.append(f"{name}: {len(runs)} runs with no step in common")
        last = {int(points[-1, 0]) for runs in self.seeds.values() for points in runs}
        when = f"at step {last.pop()}" if len(last) == 1 else "at their last steps"
        return f"{self._name[:1].upper()}{self._name[1:]}, {when}: {'; '.join(lines)}."

    @property
    def _name(self) -> str:
        return NAMES.get(self.of, self.of)

    def _scene(self) -> Scene:
        """A thick line per name, the mean of its runs; thin lines for the runs if there are several."""
        curves = []
        for i, (name, runs) in enumerate(self.seeds.items()):
            for seed, points in enumerate(map(thin, runs if len(runs) > 1 else ())):
                text = f"{name}, run {seed}"
                curves.append(Curve(text, *points.T, faint=True, group=name, nth=i))
            curves.append(Curve(name, *thin(self.mean(name)).T, strong=True, group=name, nth=i))
        mark = Curves(curves, Axis("step"), Axis(self._name), legend=True)
        return Scene(self.title, self.sentence, [[Panel("", mark)]])

    def figure(self) -> Figure:
        """Draw a thick line per name, the mean of its runs; thin lines for the runs if several."""
        return figure_of(self._scene())

    def to_plotly(self, *, theme: str = "light") -> Plot:
        """Draw the same with plotly.

        Hovering shows step and value of every run; a click in the legend hides all runs of a name.

        Args:
            theme: as in `View.to_plotly`.
        """
        from ..marks.draw_plotly import plotly_of

        return plotly_of(self._scene(), theme)

    def __repr__(self) -> str:
        return f"<RunCurves: {self.sentence}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        data = {"text/plain": repr(self), "image/png": png_of(self.figure())}
        return data, {"image/png": {"alt": self.sentence}}


def compare_runs(
    runs: Mapping[str, Any] | Sequence[Any], of: str = "loss", *, title: str = "Runs"
) -> RunCurves:
    """Compare a metric's curves over several runs.

    Args:
        runs: name -> a run, or a list of runs of that name, such as one per seed; or a list of
            runs, named by their folders. A run is a `Run`, its folder, a `TrainingView`, or a list
            of `Step` that `train` yielded.
        of: the metric: "loss", "eval_loss", "lr", "grad_norm", "tokens_per_second", "seconds".

    Raises:
        ValueError: if there is no run, or one does not have this metric.
    """
    if isinstance(runs, Mapping):
        groups = {str(name): _as_runs(given) for name, given in runs.items()}
    elif isinstance(runs, (list, tuple)) and not _is_history(runs):
        groups = {}
        for i, run in enumerate(runs):
            groups.setdefault(_name_of(run) or f"run {i}", []).append(run)
    else:
        groups = {_name_of(runs) or "run": [runs]}
    if not groups or not all(groups.values()):
        empty = next((name for name, found in groups.items() if not found), None)
        where = "runs is empty" if empty is None else f"runs[{empty!r}] is empty"
        raise ValueError(f"{where}; give a name and a Run, a folder or a list of steps for each")
    seeds = {
        shown_text(name): [_points(run, of, name) for run in found]
        for name, found in groups.items()
    }
    return RunCurves(of, seeds, shown_text(title))


def thin(points: np.ndarray) -> np.ndarray:
    """All points; if there are very many, the means of equal stretches."""
    if len(points) <= CURVE_POINTS:
        return points
    return np.stack([part.mean(0) for part in np.array_split(points, CURVE_POINTS)])


def _is_history(given: Any) -> bool:
    """Whether this is a list of the steps of one run."""
    return isinstance(given, (list, tuple)) and bool(given) and all(map(_is_step, given))


def _is_step(one: Any) -> bool:
    return (
        "index" in one
        if isinstance(one, Mapping)
        else hasattr(one, "index") and hasattr(one, "loss")
    )


def _as_runs(given: Any) -> list[Any]:
    several = isinstance(given, (list, tuple)) and not _is_history(given)
    return list(given) if several else [given]


def _name_of(run: Any) -> str:
    folder = getattr(run, "folder", run)
    return (
        os.path.basename(os.path.abspath(folder)) if isinstance(folder, (str, os.PathLike)) else ""
    )


def _points(run: Any, of: str, name: str) -> np.ndarray:
    rows = [row if isinstance(row, Mapping) else vars(row) for row in _history(run, name)]
    known = sorted({key for row in rows for key in row} - {"index"})
    if rows and of not in known:
        raise ValueError(f"of={of!r} is not in run {name!r}; it has {', '.join(known)}")
    found = [(row["index"], row[of]) for row in rows if row.get(of) is not None]
    if not found:
        raise ValueError(f"run {name!r} has no {of} at any step")
    return np.array(found, dtype=np.float64)


def _history(run: Any, name: str) -> Iterable[Any]:
    from ...training.run import Run

    if isinstance(run, (str, os.PathLike)):
        run = Run(run)
    if isinstance(run, Run):
        return run.metrics()
    history = getattr(run, "history", run)
    if isinstance(history, (list, tuple)) and (not history or _is_history(history)):
        return history
    raise ValueError(
        f"run {name!r} is a {type(run).__name__}; give a Run, its folder, a TrainingView or a list "
        "of steps"
    )


def _number(x: float) -> str:
    return fixed(x, 2) if 0.1 <= abs(x) < 1000 else f"{x:.3g}"
