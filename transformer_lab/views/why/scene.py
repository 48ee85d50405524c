"""The scene of a WhyView."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..marks.scene import Axis, Bars, Panel, Scene, Waterfall
from ..shared.exports import Array, Numbers
from ..shared.messages import fixed, messages, short, with_sign

say = messages("why")

COMPETITORS = 8
SHOWN_SOURCES = 8


def why_scene(
    title: str,
    sentence: str,
    above: bool,
    info: Mapping[str, Any],
    numbers: Mapping[str, Any],
    keys: Sequence[str],
) -> Scene:
    """Draw the row's largest weights, the score by dimension and, if known, its parts by source.

    `info` and `numbers` are those of one cell: see data.py.
    """
    products = numbers["above_products" if above else "products"]
    order = np.argsort(-products, kind="stable")
    what = "score above the row’s mean" if above else "score"
    dims = Axis("dimension, largest product first", [f"dim {i}" for i in order.tolist()])
    panels = [
        [
            Panel("the row’s largest weights", _row(info, numbers, keys), 0.38),
            Panel(f"{what}, dimension by dimension", Waterfall(products[order], dims), 0.62),
        ]
    ]
    split = numbers["splits"].get("above" if above else "score")
    if split is not None:
        panels.append(
            [
                Panel(
                    f"the {side}’s side: who wrote what it carries "
                    f"(sum {fixed(float(split[side].sum()))})",
                    _sources(info["sources"][side]["names"], split[side]),
                )
                for side in ("key", "query")
            ]
        )
    name = f"{title} · layer {info['layer']}, head {info['head']}: why here?"
    return Scene(name, sentence, panels, _numbers(info, numbers, keys))


def _row(info: Mapping[str, Any], numbers: Mapping[str, Any], keys: Sequence[str]) -> Bars:
    weights, scores = numbers["weights"], numbers["scores"]
    best: list[int] = np.argsort(-weights, kind="stable")[:COMPETITORS].tolist()
    if info["key"] not in best:
        best[-1] = info["key"]
    labels = [fixed(float(scores[k])) if np.isfinite(scores[k]) else say("masked") for k in best]
    return Bars(
        weights[best],
        Axis("", [keys[k] for k in best], tokens=True),
        means="attention weight",
        chosen=[best.index(info["key"])],
        text=[f"{short(float(weights[k]))} (score {s})" for k, s in zip(best, labels, strict=True)],
    )


def _sources(names: Sequence[str], values: np.ndarray) -> Bars:
    order = np.argsort(-np.abs(values), kind="stable")
    kept: list[int] = order[:SHOWN_SOURCES].tolist()
    labels, shown = [names[i] for i in kept], [float(values[i]) for i in kept]
    if len(values) > len(kept):
        labels.append(say("others", n=len(values) - len(kept)))
        shown.append(float(values[order[SHOWN_SOURCES:]].sum()))
    most = max(max(abs(v) for v in shown), 1e-9)
    shades = [0.7 * v / most + (0.3 if v > 0 else -0.3) for v in shown]
    return Bars(shown, Axis("", labels), shades=shades, text=[with_sign(v) for v in shown])


def _numbers(info: Mapping[str, Any], numbers: Mapping[str, Any], keys: Sequence[str]) -> Numbers:
    """One score by dimension, its row, and its parts by source."""
    d = ("dimension",)
    found = [
        Array("q", numbers["q"], d, say("is_q")),
        Array("k", numbers["k"], d, say("is_k")),
        Array("product", numbers["products"], d, say("is_product")),
        Array("score", numbers["scores"], ("key",), say("is_score")),
        Array("weight", numbers["weights"], ("key",), say("is_weight")),
    ]
    axes = {"key": list(keys)[: len(numbers["scores"])]}
    if info["mean"] is not None:
        above = numbers["above_products"]
        found.append(Array("product_above_mean", above, d, say("is_above")))
    for name, split in numbers["splits"].items():
        for side in ("query", "key"):
            axis = f"{side}_source"
            axes[axis] = info["sources"][side]["names"]
            means = say("is_by", name=name, side=side)
            found.append(Array(f"{name}_by_{axis}", split[side], (axis,), means))
    return Numbers(found, axes)
