"""The still picture of a BlockView: every step's vectors, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..shared.colours import INK, LINE, OTHER, QUIET, colour_map
from ..shared.figures import MONO, blank, frame, wrapped, write
from ..shared.words import fixed, short
from .stages import Stage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 10  # keys in the still picture
NUMBERS = 96  # of a vector that are drawn; of longer ones the largest by size of every few


@dataclass(frozen=True)
class BlockScene:
    """What the pictures are drawn from. `keys` are the names and `shown` the places of the rows of
    every table of keys; `chosen` is the step on view."""

    title: str
    sentence: str
    stages: Sequence[Stage]
    chosen: int
    keys: Sequence[str]
    shown: Sequence[int]
    token: str
    layer: int
    head: int

    @property
    def heading(self) -> str:
        return f"{self.title} · “{self.token}” through layer {self.layer}, head {self.head}"

    @property
    def rows(self) -> list[tuple[str, str, np.ndarray]]:
        """(step, name, numbers) of every vector, in the order in which it is made; each once."""
        found: list[tuple[str, str, np.ndarray]] = []
        seen: list[np.ndarray] = []
        for stage in self.stages:
            for vector in stage.vectors:
                values = vector.values.numpy()
                if any(len(values) == len(other) and (values == other).all() for other in seen):
                    continue
                seen.append(values)
                found.append((stage.tab, vector.name, values))
        return found

    def stage(self, name: str) -> Stage | None:
        return next((stage for stage in self.stages if stage.name == name), None)


def block_figure(scene: BlockScene) -> Figure:
    rows = [row for row in scene.rows if not row[1].startswith("z of head")]
    height = 2.1 + 0.3 * max(len(rows), SHOWN)
    figure = blank(10.5, height)
    write(figure, 0.02, 1 - 0.15 / height, scene.heading, size=12, weight="bold")
    told = f"{scene.stages[scene.chosen].title}. {scene.sentence}"
    write(figure, 0.02, 1 - 0.45 / height, wrapped(told, 122, 3), size=10)
    bottom, top = 0.35 / height, 1 - 1.35 / height
    _weights(figure.add_axes((0.1, bottom, 0.2, top - bottom)), scene)
    _vectors(figure.add_axes((0.5, bottom, 0.42, top - bottom)), rows, scene)
    return figure


def _weights(axes: Axes, scene: BlockScene) -> None:
    softmax = scene.stage("softmax")
    assert softmax is not None and softmax.keys is not None
    weights = softmax.keys.numbers[-1].numpy()[list(scene.shown)]
    best: list[int] = np.argsort(-weights, kind="stable")[:SHOWN].tolist()
    axes.barh(range(len(best)), weights[best], color=OTHER)
    for i, key in enumerate(best):
        axes.text(
            float(weights[key]),
            i,
            f" {short(float(weights[key]))}",
            va="center",
            fontsize=8,
            color=INK,
        )
    names = [scene.keys[k] if len(scene.keys[k]) <= 12 else scene.keys[k][:11] + "…" for k in best]
    axes.set_yticks(range(len(best)), names, fontsize=8, family=MONO, parse_math=False)
    axes.set_ylim(max(len(best), 1) - 0.5, -0.5)
    axes.set_xlim(0, 1.3 * max(float(weights.max()), 1e-6))
    axes.set_xticks([])
    axes.set_title(f"what head {scene.head} looks at", fontsize=9, color=QUIET, loc="left")
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)


def _vectors(axes: Axes, rows: list[tuple[str, str, np.ndarray]], scene: BlockScene) -> None:
    colours = colour_map("diverging_light")
    chosen = scene.stages[scene.chosen]
    names = {vector.name for vector in chosen.vectors}
    for i, (_, name, values) in enumerate(rows):
        drawn = picked(values)
        most = max(float(np.abs(drawn).max()), 1e-9)
        axes.imshow(
            drawn[None], cmap=colours, vmin=-most, vmax=most, aspect="auto", interpolation="nearest",
            extent=(0, 1, i + 0.36, i - 0.36),
        )  # fmt: skip
        axes.text(
            1.01,
            i,
            f"length {fixed(float(np.linalg.norm(values)))}",
            va="center",
            fontsize=8,
            color=QUIET,
        )
        axes.add_patch(frame(0, i - 0.36, 1, 0.72, 1, INK if name in names else LINE))
    labels = [f"{tab}: {name}" if tab != name else name for tab, name, _ in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=8, parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    axes.set_title(
        "the vectors, each on its own scale (brown below 0, blue above)",
        fontsize=9,
        color=QUIET,
        loc="left",
    )
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)


def picked(values: np.ndarray) -> np.ndarray:
    """At most `NUMBERS` of them: of every few, the one that is furthest from 0."""
    if len(values) <= NUMBERS:
        return values
    parts = np.array_split(values, NUMBERS)
    return np.array([part[np.abs(part).argmax()] for part in parts])
