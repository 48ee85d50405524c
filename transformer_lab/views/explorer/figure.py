"""The still picture of an Explorer: every head, the chosen one as a map, the predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..heads.figure import HeadScene, draw_heads, draw_maps, draw_nothing, label_axes
from ..shared.colours import EDITED, INK, QUIET, colour_map
from ..shared.figures import MONO, blank, frame, shortened, spot_frame, write
from ..shared.words import short, signed
from .runs import Outcome, kl_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAP_TITLES = {
    "before": "attention weight",
    "after": "attention weight, edited",
    "difference": "change of the attention weight",
}


@dataclass(frozen=True)
class ExplorerScene:
    """What the picture is drawn from.

    heads: their weights are signed where the mode is "difference"; off: (layer, head) of those that
    are switched off; where: the place of the prediction, in words.
    """

    heads: HeadScene
    mode: str
    off: Sequence[tuple[int, int]]
    effect: Outcome
    where: str


def explorer_figure(scene: ExplorerScene) -> Figure:
    heads, effect = scene.heads, scene.effect
    figure = blank(10.5, 6.4)
    name = f"{heads.title} · layer {heads.layer}, head {heads.head}"
    write(figure, 0.02, 0.975, name, size=12, weight="bold")
    write(figure, 0.02, 0.935, shortened(heads.sentence, 2), size=10)
    grid = figure.add_axes((0.06, 0.46, 0.3, 0.33))
    draw_heads(grid, heads)
    _cross_out(grid, heads.thumbnails.shape, scene.off)
    bars = figure.add_axes((0.13, 0.06, 0.23, 0.28))
    if effect.rows:
        _draw_predictions(bars, effect, scene.where)
    elif effect.states:
        _draw_states(bars, effect)
    else:
        bars.set_axis_off()
    change, what = scene.mode == "difference", MAP_TITLES[scene.mode]
    name = "weight × value length" if heads.value_weighted and not change else what
    scale = draw_maps(
        figure, (0.48, 0.08, 0.4, 0.62), heads, name, _draw_difference if change else None
    )
    if change:
        most = heads.largest
        scale.set_ticks([-1, 0, 1], labels=[signed(-most), "0", signed(most)])
    return figure


def _cross_out(axes: Axes, shape: Sequence[int], off: Sequence[tuple[int, int]]) -> None:
    _, _, height, width = shape
    gap = max(1, width // 12)
    axes.autoscale(False)
    for layer, head in off:
        left, top = head * (width + gap), layer * (height + gap)
        for xs in ((left, left + width - 1), (left + width - 1, left)):
            axes.plot(xs, (top, top + height - 1), color=EDITED, linewidth=1.6)
        axes.add_patch(frame(left - 1, top - 1, width + 1, height + 1, 1.5, EDITED))


def _draw_predictions(axes: Axes, effect: Outcome, where: str) -> None:
    rows = effect.rows
    places = torch.arange(len(rows)).tolist()
    edited = rows[0].after is not None
    height = 0.38 if edited else 0.66
    before = [r.before for r in rows]
    axes.barh([p - (height / 2 if edited else 0) for p in places], before, height, color=QUIET)
    if edited:
        after = [r.after or 0.0 for r in rows]
        axes.barh([p + height / 2 for p in places], after, height, color=EDITED)
    most = max([*before, *[r.after or 0.0 for r in rows]]) or 1.0
    for place, row in zip(places, rows, strict=True):
        told = (
            short(row.before) if row.after is None else f"{short(row.before)} → {short(row.after)}"
        )
        longest = max(row.before, row.after or 0.0)
        write(axes, longest + 0.02 * most, place, told, size=8, va="center")
    axes.set_xlim(0, 1.5 * most)
    told = f"\ngrey before, brown after · KL {kl_text(effect.kl or 0.0)} nats" if edited else ""
    _name_rows(axes, [r.token for r in rows], f"predictions {where}{told}")


def _draw_states(axes: Axes, effect: Outcome) -> None:
    values = [s.change for s in effect.states]
    axes.barh(range(len(values)), values, 0.66, color=EDITED)
    for place, value in enumerate(values):
        write(axes, value, place, f" {100 * value:.1f} %", size=8, va="center")
    axes.set_xlim(0, 1.4 * max(values) or 1.0)
    _name_rows(axes, [s.token for s in effect.states], "how far final states move")


def _name_rows(axes: Axes, names: Sequence[str], title: str) -> None:
    shown = [n if len(n) <= 12 else n[:11] + "…" for n in names]
    axes.set_yticks(range(len(shown)), shown, fontsize=9, family=MONO, parse_math=False)
    axes.set_xticks([])
    axes.invert_yaxis()
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)
    write(axes, 0, 1.04, title, size=9, color=QUIET, transform=axes.transAxes, va="bottom")


def _draw_difference(axes: Axes, scene: HeadScene) -> None:
    change = scene.weights
    most = scene.largest

    # As in the browser: small changes are seen.
    def small(x: Tensor) -> Tensor:
        return x.sign() * (x.abs() / most).sqrt()

    n_query, n_key = change.shape
    colours: dict[str, Any] = dict(cmap=colour_map("diverging_light"), vmin=-1, vmax=1)
    axes.imshow(
        small(change).numpy(), interpolation="nearest", **colours,
        extent=(-0.5, n_key - 0.5, n_query - 0.5, -0.5),
    )  # fmt: skip
    label_axes(axes, scene.queries[:n_query], scene.keys[:n_key])
    if scene.nothing is not None:
        draw_nothing(axes, small(scene.nothing), n_key, colours)
    for place in spot_frame(scene.selected, n_query, n_key):
        axes.add_patch(frame(*place))
