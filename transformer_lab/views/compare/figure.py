"""The still picture of a CompareView."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..heads.figure import draw_nothing
from ..shared.colours import BLOCKED, LINE, QUIET, colour_map
from ..shared.figures import MONO, blank, frame, spot_frame, wrapped, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class CompareScene:
    """What the picture is drawn from.

    names: of the two traces; moved [layer, head]: the share of attention that lies elsewhere; maps,
    difference [query, key] of the head on view; nothing [query] of both, where heads may look there.
    """

    title: str
    sentence: str
    names: tuple[str, str]
    moved: Tensor
    maps: tuple[Tensor, Tensor]
    difference: Tensor
    queries: Sequence[str]
    keys: Sequence[str]
    layer: int
    head: int
    causal: bool
    selected: tuple[int | None, int | None] | None
    nothing: tuple[Tensor, Tensor] | None = None

    def panels(self) -> list[tuple[str, Tensor, Tensor | None]]:
        """a, b and b − a: name, map, and what goes to nothing of each row."""
        a, b = self.names
        first, second = self.nothing or (None, None)
        change = None if first is None or second is None else second - first
        return [
            (a, self.maps[0], first), (b, self.maps[1], second), (f"{b} − {a}", self.difference, change)
        ]  # fmt: skip

    @property
    def most(self) -> float:
        """The end of the colours of a difference."""
        changes = [self.difference, *[x for *_, x in self.panels()[2:] if x is not None]]
        return max(0.1, *[float(x.nan_to_num(0).abs().max()) for x in changes])


def compare_figure(scene: CompareScene) -> Figure:
    """Every head by how much of its attention lies elsewhere; both maps and their difference."""
    a, b = scene.names
    figure = blank(11.5, 4.4)
    title = f"{scene.title} · {a} and {b} · layer {scene.layer}, head {scene.head}"
    write(figure, 0.02, 0.97, title, size=12, weight="bold")
    write(figure, 0.02, 0.905, wrapped(scene.sentence, 135, 2), size=10)
    _draw_grid(figure.add_axes((0.05, 0.12, 0.15, 0.56)), scene)
    for i, (name, values, nothing) in enumerate(scene.panels()):
        axes = figure.add_axes((0.285 + 0.245 * i, 0.06, 0.205, 0.56))
        _draw_map(axes, scene, name, values, nothing, signs=i == 2, labelled=i == 0)
    return figure


def _draw_grid(axes, scene: CompareScene) -> None:
    grid = scene.moved
    axes.imshow(grid.numpy(), cmap=colour_map(), vmin=0, vmax=max(0.05, float(grid.max())))
    axes.add_patch(frame(scene.head - 0.5, scene.layer - 0.5, 1, 1, clip=True))
    axes.set_title("attention that lies elsewhere", fontsize=9, color=QUIET, loc="left")
    for axis, count in ((axes.xaxis, grid.shape[1]), (axes.yaxis, grid.shape[0])):
        axis.set_ticks(range(0, count, max(1, -(-count // 12))))
    axes.set_xlabel("head", color=QUIET, fontsize=9)
    axes.set_ylabel("layer", color=QUIET, fontsize=9)
    axes.tick_params(colors=QUIET, labelsize=8, length=0)
    axes.spines[:].set_color(LINE)


def _draw_map(
    axes, scene: CompareScene, name: str, values: Tensor, nothing: Tensor | None, *, signs: bool,
    labelled: bool,
) -> None:  # fmt: skip
    most = scene.most
    shown = values.double().numpy().copy()
    if scene.causal:
        for query in range(len(shown)):
            shown[query, query + 1 :] = float("nan")
    axes.set_facecolor(BLOCKED)
    colours: dict[str, Any] = dict(
        vmin=-most if signs else 0, vmax=most if signs else 1, aspect="auto",
        cmap=colour_map("diverging_light") if signs else colour_map(),
    )  # fmt: skip
    axes.imshow(shown, interpolation="nearest", **colours)
    _label(axes, scene, labelled=labelled)
    axes.set_xlabel(name, color=QUIET, fontsize=9, parse_math=False)
    if nothing is not None:
        draw_nothing(axes, nothing, shown.shape[1], colours)
    for place in spot_frame(scene.selected, *shown.shape):
        axes.add_patch(frame(*place, clip=True))


def _label(axes, scene: CompareScene, *, labelled: bool) -> None:
    queries, keys = scene.queries, scene.keys
    axes.xaxis.tick_top()
    style = dict(family=MONO, parse_math=False)
    for axis, names, shown in ((axes.xaxis, keys, True), (axes.yaxis, queries, labelled)):
        if len(names) > 40:
            continue
        cut = [(n if len(n) <= 11 else n[:10] + "…") if shown else "" for n in names]
        axis.set_ticks(range(len(names)), cut, fontsize=8 if len(names) <= 20 else 6, **style)
    for label in axes.get_xticklabels():
        label.set(rotation=60, ha="left", rotation_mode="anchor")
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_color(LINE)
