"""The still picture of a ResidualView."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...circuits import BlockShare, LogitLens
from ..heads.figure import LABELLED
from ..shared.codecs import shown_token
from ..shared.colours import INK, LINE, PAPER, QUIET, colour_map
from ..shared.figures import MONO, blank, frame, wrapped, write
from ..shared.words import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LENS_TOKENS = 12


@dataclass(frozen=True)
class ResidualScene:
    """What the picture is drawn from.

    norms [layer + 1, position]; `lens` gives the logit lens of (first, count) positions; token: the
    one on view, None for the typical one; notes: why a part is missing.
    """

    title: str
    sentence: str
    tokens: Sequence[str]
    norms: Tensor
    shares: BlockShare | None
    token: int | None
    lens: Callable[[int, int], LogitLens] | None
    notes: Mapping[str, str]


def residual_figure(scene: ResidualScene) -> Figure:
    tokens, norms, token = scene.tokens, scene.norms, scene.token
    rows = len(norms)
    table = min(4.2, 0.24 * rows + 0.5)
    height = 4.6 + table
    figure = blank(10.5, height)
    place = lambda x, y, w, h: (x, y / height, w, h / height)  # noqa: E731
    write(
        figure, 0.02, 1 - 0.15 / height, f"{scene.title} · residual stream", size=12, weight="bold"
    )
    write(figure, 0.02, 1 - 0.45 / height, wrapped(scene.sentence, 122, 2), size=10)
    _lengths(figure.add_axes(place(0.07, table + 0.35, 0.4, 2.4)), tokens, norms, token)
    right = figure.add_axes(place(0.58, table + 0.35, 0.4, 2.75))
    if scene.shares is None:
        _say(right, scene.notes["parts"])
    else:
        _added(right, scene.shares, token)
    below = figure.add_axes(place(0.07, 0.1, 0.91, table - 0.45))
    if scene.lens is None:
        _say(below, f"No logit lens: {scene.notes['lens']}.")
    else:
        _lens(below, tokens, scene.lens(*lens_window(scene)), token)
    return figure


def lens_window(scene: ResidualScene) -> tuple[int, int]:
    """(first, count) of the tokens whose logit lens is shown: the last ones, or those around the
    chosen one."""
    count = min(LENS_TOKENS, len(scene.tokens))
    first = len(scene.tokens) - count
    if scene.token is not None:
        first = max(0, min(first, scene.token - count // 2))
    return first, count


def _lengths(axes: Axes, tokens: Sequence[str], norms: Tensor, token: int | None) -> None:
    most, usual = float(norms.max()), 2.5 * float(norms.amax(0).median())
    image = axes.imshow(
        norms.numpy(), cmap=colour_map(), vmin=0, vmax=min(most, usual), aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    axes.xaxis.tick_top()
    if len(tokens) <= LABELLED:
        names = [t if len(t) <= 12 else t[:11] + "…" for t in tokens]
        size = 8 if len(tokens) <= 20 else 6
        axes.set_xticks(range(len(tokens)), names, fontsize=size, family=MONO, parse_math=False)
        for label in axes.get_xticklabels():
            label.set(rotation=60, ha="left", rotation_mode="anchor")
    step = max(1, len(norms) // 12)
    shown = range(0, len(norms), step)
    axes.set_yticks(list(shown), ["start" if r == 0 else str(r - 1) for r in shown], fontsize=8)
    axes.set_ylabel("after layer ↓", color=QUIET, fontsize=9)
    axes.tick_params(length=0, colors=INK, pad=2)
    axes.spines[:].set_color(LINE)
    if token is not None:
        axes.add_patch(frame(token - 0.5, -0.5, 1, len(norms), 1.8))
    figure = axes.figure
    scale = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    scale.outline.set_edgecolor(LINE)  # type: ignore[operator]
    scale.set_label("length of the stream", color=QUIET, fontsize=8)
    scale.ax.tick_params(labelsize=7, colors=QUIET)


def _added(axes: Axes, shares: BlockShare, token: int | None) -> None:
    """Bars by layer, one group a part, coloured by the cosine."""
    of_one = (lambda x: x[..., token]) if token is not None else (lambda x: x.median(-1).values)
    share, cosine = of_one(shares.share), of_one(shares.cosine)
    parts, layers = share.shape
    colours = colour_map("diverging_light")
    thick = 0.8 / parts
    for part in range(parts):
        where = torch.arange(layers) + (part - (parts - 1) / 2) * thick
        fills = [colours((float(c) + 1) / 2) for c in cosine[part]]
        axes.barh(where.numpy(), share[part].numpy(), thick * 0.9, color=fills, edgecolor=QUIET)
        if layers * parts <= 30:
            for y, value in zip(where.tolist(), share[part].tolist(), strict=True):
                name = f" {shares.parts[part]}" if layers <= 8 else ""
                axes.text(value, y, f" {value:.2f}{name}", va="center", fontsize=7, color=INK)
    axes.set_ylim(layers - 0.5, -0.5)
    axes.set_xlim(0, float(share.max()) * 1.35)
    axes.set_yticks(range(0, layers, max(1, layers // 12)))
    axes.tick_params(labelsize=8, colors=INK, length=0)
    axes.set_ylabel("layer ↓", color=QUIET, fontsize=9)
    names = " and ".join(shares.parts)
    axes.set_title(
        f"{names}: times the stream’s length (blue along it, orange against)",
        fontsize=8, color=QUIET, loc="left",
    )  # fmt: skip
    axes.spines[:].set_color(LINE)


def _lens(axes: Axes, tokens: Sequence[str], lens: LogitLens, token: int | None) -> None:
    rows, columns = lens.tokens.shape[:2]
    axes.imshow(
        lens.answer_probability.numpy(), cmap=colour_map(), vmin=0, vmax=1, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    size = 7.5 if rows <= 16 else 5
    for row in range(rows):
        for column in range(columns):
            name, probability = lens.top(row, column)[0]
            name = shown_token(name)
            name = name if len(name) <= 9 else name[:8] + "…"
            ink = PAPER if lens.answer_probability[row, column] > 0.55 else INK
            agrees = int(lens.answer_rank[row, column]) == 0
            write(
                axes, column, row, f"{name} {short(probability)}", size=size, color=ink, ha="center",
                va="center", weight="bold" if agrees else "normal", family=MONO, clip_on=True,
            )  # fmt: skip
    axes.xaxis.tick_top()
    names = [tokens[p] if len(tokens[p]) <= 12 else tokens[p][:11] + "…" for p in lens.positions]
    axes.set_xticks(range(columns), names, fontsize=8, family=MONO, parse_math=False)
    step = max(1, rows // 16)
    axes.set_yticks(
        list(range(0, rows, step)),
        ["start" if r == 0 else str(r - 1) for r in range(0, rows, step)],
        fontsize=8,
    )
    axes.set_ylabel("after layer ↓", color=QUIET, fontsize=9)
    axes.tick_params(length=0, colors=INK, pad=2)
    axes.spines[:].set_color(LINE)
    if token is not None and token in lens.positions:
        at = lens.positions.index(token)
        axes.add_patch(frame(at - 0.5, -0.5, 1, rows, 1.8))


def _say(axes: Axes, text: str) -> None:
    axes.set_axis_off()
    lines = "\n".join(textwrap.wrap(text, 60))
    write(axes, 0.02, 0.9, lines, size=9, color=QUIET, transform=axes.transAxes)
