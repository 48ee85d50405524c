"""A WhyView as a plotly figure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ..shared import plots
from .figure import COMPETITORS, SHOWN_SOURCES, WhyScene, why_figure


def why_plotly(scene: WhyScene, theme: str) -> plots.Plot:
    """The row's largest weights, the score dimension by dimension and, where they are known, the parts
    by source."""
    why, info, numbers = scene.why, scene.info, scene.numbers
    split = numbers["splits"].get("above" if why.above else "score")
    what = "score above the row’s mean" if why.above else "score"
    titles = ["the row’s largest weights", f"{what}, dimension by dimension"]
    sides = () if split is None else ("key", "query")
    titles += [f"the {side}’s side: who wrote what it carries" for side in sides]
    figure = plots.panels(
        2 if sides else 1, 2, subplot_titles=titles, horizontal_spacing=0.2, vertical_spacing=0.16
    )
    _row(figure, scene, theme)
    _dimensions(figure, numbers["above_products" if why.above else "products"], theme)
    for column, side in enumerate(sides, 1):
        assert split is not None
        names = info["sources"][side]["names"]
        _sources(figure, names, split[side], theme, column)
    return plots.Plot(
        figure, title=f"{scene.title} · layer {info['layer']}, head {info['head']}: why here?",
        sentence=scene.sentence, theme=theme, still=partial(why_figure, scene),
    ).update_layout(height=820 if sides else 480, showlegend=False)  # fmt: skip


def _row(figure: Any, scene: WhyScene, theme: str) -> None:
    weights, scores, key = scene.numbers["weights"], scene.numbers["scores"], scene.info["key"]
    best: list[int] = np.argsort(-weights, kind="stable")[:COMPETITORS].tolist()
    if key not in best:
        best[-1] = key
    names = [scene.keys[k] for k in best]
    chosen, other = plots.ink("accent", theme), plots.heads_of(theme)[0]
    told = [f"score {scores[k]:.3f}" if np.isfinite(scores[k]) else "masked" for k in best]
    figure.add_trace(
        plots.bars(
            weights[best], names, "%{x:.4f} (%{text})", text=told, textposition="auto",
            marker_color=[chosen if k == key else other for k in best],
        ), row=1, col=1,
    )  # fmt: skip
    plots.name_rows(figure, names, row=1, col=1)
    figure.update_xaxes(title_text="attention weight", row=1, col=1)


def _dimensions(figure: Any, products: np.ndarray, theme: str) -> None:
    order = np.argsort(-products, kind="stable")
    along, against, whole = _signs(theme)
    figure.add_waterfall(
        x=[*(f"dim {i}" for i in order.tolist()), "sum"],
        y=[*products[order].astype(float).tolist(), 0.0],
        measure=[*["relative"] * len(order), "total"],
        increasing_marker_color=along, decreasing_marker_color=against,
        totals_marker_color=whole, connector_visible=False,
        hovertemplate="%{x}: %{delta:+.4f}, sum so far %{final:.4f}<extra></extra>", row=1, col=2,
    )  # fmt: skip
    figure.update_xaxes(title_text="dimension, largest product first; then the sum", row=1, col=2)


def _sources(
    figure: Any, names: Sequence[str], values: np.ndarray, theme: str, column: int
) -> None:
    order = np.argsort(-np.abs(values), kind="stable")
    kept: list[int] = order[:SHOWN_SOURCES].tolist()
    labels, shown = [names[i] for i in kept], [float(values[i]) for i in kept]
    if len(values) > len(kept):
        labels.append(f"{len(values) - len(kept)} others")
        shown.append(float(values[order[SHOWN_SOURCES:]].sum()))
    along, against, _ = _signs(theme)
    figure.add_trace(
        plots.bars(
            shown, labels, "%{x:+.4f}", marker_color=[along if v >= 0 else against for v in shown]
        ), row=2, col=column,
    )  # fmt: skip
    plots.name_rows(figure, labels, row=2, col=column)


def _signs(theme: str) -> tuple[str, str, str]:
    """What is above 0, what below, and a whole."""
    scale = plots.colour_scale("diverging", theme)
    return scale[43][1], scale[8][1], plots.ink("ink", theme)
