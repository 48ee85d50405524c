"""Measurements as plotly figures: scores of heads, sweeps, attributions, runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .shared.plots import Plot

PARTS = 20  # parts of a logit that are shown


def to_plotly(
    found: Any,
    *,
    name: str = "",
    axes: Sequence[str] = ("layer", "head"),
    labels: Mapping[str, Sequence[str]] | None = None,
    title: str = "",
    theme: str = "light",
) -> Plot:
    """Plot the result of a measurement, a sweep or an attribution, a view or training runs.

    Args:
        found: scores [layer, head], such as `tl.heads.induction(trace)`, or any numbers with one or
            two axes; the result of `sweep_heads` and similar functions; a `LogitAttribution`; a
            score split by dimension, or its key's side by source; a `LogitLens`; a `BlockShare`
            (its median over positions); a view; or a `Run`, its steps, or a mapping of runs, as
            `compare_runs` takes them.
        name: what the numbers are; shown beside the colours.
        axes: names of rows and columns.
        labels: axis -> a label for each entry along it; numbers by default.
        title: of the figure.
        theme: as in `View.to_plotly`.

    Raises:
        ValueError: if `found` is anything else.
    """
    if hasattr(found, "to_plotly"):
        return found.to_plotly(theme=theme)
    if hasattr(found, "baseline") and hasattr(found, "axes"):
        sentence = repr(found).strip("<>")
        title, name = title or f"Sweep over {' and '.join(found.axes)}s", name or found.measure
        return plot_of_numbers(found.values, name, found.axes, found.labels, title, sentence, theme)
    if hasattr(found, "ranked"):
        return _parts(found, title, theme)
    known = _known(found)
    if known is not None:
        values, what, axes, own, heading = known
        return plot_of_numbers(
            values, name or what, axes, {**own, **(labels or {})}, title or heading, "", theme
        )
    if hasattr(found, "shape"):
        return plot_of_numbers(
            found, name, axes, labels or {}, title or name or "Scores", "", theme
        )
    from .runs.curves import compare_runs

    try:
        return compare_runs(found, **({"title": title} if title else {})).to_plotly(theme=theme)
    except ValueError as error:
        raise ValueError(
            f"found is a {type(found).__name__} ({error}); give scores [layer, head], what a sweep "
            "or a split returned, a view, or runs"
        ) from error


def _known(found: Any) -> tuple[Any, str, tuple[str, ...], Mapping[str, Sequence[str]], str] | None:
    """Values, their name, axes, labels and title, for results with a plot of their own, or None."""
    if hasattr(found, "products"):
        title = f"A score, by dimension: layer {found.layer}, head {found.head}"
        return found.products, "product", ("dimension",), {}, title
    if hasattr(found, "answer_probability"):
        rows = ["start", *map(str, range(len(found.answer_probability) - 1))]
        labels = {"after layer": rows, "position": [str(at) for at in found.positions]}
        title = "Logit lens: probability of the answer"
        return found.answer_probability, "probability", ("after layer", "position"), labels, title
    if hasattr(found, "share") and hasattr(found, "parts"):
        title = "What each block adds, beside the stream's length"
        median = found.share.median(-1).values
        return median, "times the length", ("part", "layer"), {"part": found.parts}, title
    return None


def plot_of_numbers(
    found: Any,
    name: str,
    axes: Sequence[str],
    labels: Mapping[str, Sequence[str]],
    title: str,
    sentence: str,
    theme: str,
) -> Plot:
    from .marks.draw_plotly import plotly_of
    from .marks.scene import Axis, Bars, Panel, Scene, scene_of_maps

    values = np.asarray(found.detach().cpu() if hasattr(found, "detach") else found, dtype=float)
    if values.ndim not in (1, 2) or not values.size:
        raise ValueError(
            f"found has shape {list(values.shape)}; give numbers of one axis or two, such as "
            "scores [layer, head]"
        )
    axes = list(axes)[-values.ndim :]
    named = [
        list(labels.get(axis) or map(str, range(n)))
        for axis, n in zip(axes, values.shape, strict=True)
    ]
    for axis, names, n in zip(axes, named, values.shape, strict=True):
        if len(names) != n:
            raise ValueError(f"labels[{axis!r}] has {len(names)} entries; the axis has {n} places")
    if values.ndim == 2:
        panel = (title, values, None, axes, dict(zip(axes, named, strict=True)))
        return plotly_of(scene_of_maps([panel], sentence, title, name), theme)
    bars = Bars(values, Axis("", named[0]), means=name)
    return plotly_of(Scene(title, sentence, [[Panel("", bars)]]), theme)


def _parts(found: Any, title: str, theme: str) -> Plot:
    """Plot the largest parts of a logit, or of a score's key side, with all others as one bar."""
    from .marks.draw_plotly import plotly_of
    from .marks.scene import Axis, Bars, Panel, Scene

    ranked, is_logit = found.ranked(), hasattr(found, "logit")
    what = "logit" if is_logit else "score"
    where = f"position {found.position}" if is_logit else f"query {found.query}, key {found.key}"
    total = found.logit if is_logit else found.total
    shown = ranked[:PARTS]
    if len(ranked) > PARTS:
        shown.append((f"{len(ranked) - PARTS} others", sum(value for _, value in ranked[PARTS:])))
    names, values = [name for name, _ in shown], [value for _, value in shown]
    bars = Bars(
        values, Axis("", names), means=what, shades=[0.7 if x >= 0 else -0.7 for x in values]
    )
    return plotly_of(
        Scene(
            title or f"A {what}, by who wrote it",
            f"The parts sum to {total:.3f}, at {where}.",
            [[Panel("", bars)]],
        ),
        theme,
    )
