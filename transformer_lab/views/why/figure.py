"""The still picture of a WhyView."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..shared.colours import ACCENT, INK, LINE, OTHER, QUIET, colour_map
from ..shared.figures import MONO, blank, wrapped, write
from ..shared.words import short
from .words import Why, plain, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COMPETITORS = 8
SHOWN_SOURCES = 8


@dataclass(frozen=True)
class WhyScene:
    """What the picture is drawn from; `info` and `numbers` are those of one cell: see data.py."""

    title: str
    sentence: str
    why: Why
    info: Mapping[str, Any]
    numbers: Mapping[str, Any]
    keys: Sequence[str]


def why_figure(scene: WhyScene) -> Figure:
    why, info, numbers = scene.why, scene.info, scene.numbers
    split = numbers["splits"].get("above" if why.above else "score")
    height = 3.9 if split is None else 6.7
    figure = blank(10.5, height)
    place = lambda x, y, w, h: (x, y / height, w, h / height)  # noqa: E731
    name = f"{scene.title} · layer {info['layer']}, head {info['head']}: why here?"
    write(figure, 0.02, 1 - 0.15 / height, name, size=12, weight="bold")
    write(figure, 0.02, 1 - 0.45 / height, wrapped(scene.sentence, 122, 3), size=10)
    top = height - 3.4
    _row(figure.add_axes(place(0.14, top, 0.22, 2.1)), info, numbers, scene.keys)
    products = numbers["above_products" if why.above else "products"]
    _waterfall(figure.add_axes(place(0.46, top, 0.51, 2.1)), products, why.above)
    if split is not None:
        for side, left in (("key", 0.2), ("query", 0.68)):
            names = info["sources"][side]["names"]
            _sources(figure.add_axes(place(left, 0.35, 0.29, 2.1)), side, names, split[side])
    return figure


def _row(
    axes: Axes, info: Mapping[str, Any], numbers: Mapping[str, Any], keys: Sequence[str]
) -> None:
    weights, scores = numbers["weights"], numbers["scores"]
    best: list[int] = np.argsort(-weights, kind="stable")[:COMPETITORS].tolist()
    if info["key"] not in best:
        best[-1] = info["key"]
    colours = [ACCENT if key == info["key"] else OTHER for key in best]
    axes.barh(range(len(best)), weights[best], color=colours)
    for i, key in enumerate(best):
        score = plain(float(scores[key])) if np.isfinite(scores[key]) else "masked"
        label = f" {short(float(weights[key]))} (score {score})"
        axes.text(float(weights[key]), i, label, va="center", fontsize=7, color=INK)
    names = [keys[k] if len(keys[k]) <= 12 else keys[k][:11] + "…" for k in best]
    axes.set_yticks(range(len(best)), names, fontsize=8, family=MONO, parse_math=False)
    axes.set_ylim(len(best) - 0.5, -0.5)
    axes.set_xlim(0, 1.6 * max(float(weights.max()), 1e-6))
    axes.set_xticks([])
    axes.set_title("the row’s largest weights", fontsize=8, color=QUIET, loc="left")
    _tidy(axes)


def _waterfall(axes: Axes, products: np.ndarray, above: bool) -> None:
    order = np.argsort(-products, kind="stable")
    values = products[order].astype(float)
    after = np.cumsum(values)
    colours = colour_map("diverging_light")
    most = max(float(np.abs(values).max()), 1e-9)
    fills = [colours(0.5 + 0.35 * v / most + (0.15 if v > 0 else -0.15)) for v in values]
    x = np.arange(len(values))
    axes.bar(x, values, bottom=after - values, color=fills, width=0.9)
    total = float(after[-1])
    axes.bar([len(values) + 0.5], [total], color=INK, width=1.2)
    axes.annotate(
        plain(total), (len(values) + 0.5, max(total, 0)), ha="center", va="bottom", fontsize=8,
        color=INK,
    )  # fmt: skip
    axes.axhline(0, color=LINE, linewidth=1)
    step = max(1, len(values) // 16)
    shown = range(0, len(values), step)
    axes.set_xticks(list(shown), [str(order[i]) for i in shown], fontsize=7)
    axes.set_xlabel("dimension, largest product first; then the sum", color=QUIET, fontsize=8)
    what = "score above the row’s mean" if above else "score"
    axes.set_title(f"{what}, dimension by dimension", fontsize=8, color=QUIET, loc="left")
    axes.tick_params(labelsize=7, colors=INK, length=0)
    _tidy(axes)


def _sources(axes: Axes, side: str, names: Sequence[str], values: np.ndarray) -> None:
    order = np.argsort(-np.abs(values), kind="stable")
    kept: list[int] = order[:SHOWN_SOURCES].tolist()
    rest = float(values[order[SHOWN_SOURCES:]].sum())
    labels = [names[i] for i in kept]
    shown = [float(values[i]) for i in kept]
    if len(values) > len(kept):
        labels.append(f"{len(values) - len(kept)} others")
        shown.append(rest)
    colours = colour_map("diverging_light")
    most = max(max(abs(v) for v in shown), 1e-9)
    fills = [colours(0.5 + 0.35 * v / most + (0.15 if v > 0 else -0.15)) for v in shown]
    axes.barh(range(len(shown)), shown, color=fills)
    for i, value in enumerate(shown):
        axes.text(max(value, 0), i, f" {signed(value)}", va="center", fontsize=7, color=INK)
    axes.set_yticks(range(len(shown)), labels, fontsize=8)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    low, high = min(0.0, *shown), max(0.0, *shown)
    axes.set_xlim(low, high + 0.25 * (high - low + 1e-9))
    axes.axvline(0, color=LINE, linewidth=1)
    axes.set_xticks([])
    axes.set_title(
        f"the {side}’s side: who wrote what it carries (sum {plain(float(values.sum()))})",
        fontsize=8, color=QUIET, loc="left",
    )  # fmt: skip
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)
