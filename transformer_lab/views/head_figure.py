"""The still picture of a HeadView: every head small, the chosen one as a map."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from .colours import ACCENT, BLOCKED, INK, LINE, QUIET, colour_map
from .words import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELLED = 40  # tokens up to which every one is named
NUMBERED = 12  # … and every weight written
LARGEST_IMAGE = 512
MONO = ["DejaVu Sans Mono", "monospace"]


def head_figure(
    *,
    title: str,
    sentence: str,
    thumbnails: Tensor,
    weights: Tensor,
    queries: Sequence[str],
    keys: Sequence[str],
    layer: int,
    head: int,
    causal: bool,
    hidden: Sequence[int],
    selected: tuple[int | None, int | None] | None,
    value_weighted: bool,
) -> Figure:
    """thumbnails [layer, head, small, small]; weights [query, key] as shown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 5.6), facecolor="white")
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=[0.36, 0.64], squeeze=False)[0]
    figure.subplots_adjust(top=0.82)
    write(figure, 0.02, 0.965, f"{title} · layer {layer}, head {head}", size=12, weight="bold")
    lines = textwrap.wrap(sentence, 118)
    sentence = "\n".join([*lines[:1], textwrap.shorten(" ".join(lines[1:]), 116, placeholder=" …")])
    write(figure, 0.02, 0.92, sentence.strip(), size=10)
    draw_heads(left.add_axes((0.13, 0.06, 0.84, 0.68)), thumbnails, layer, head)
    axes = right.add_axes((0.2, 0.08, 0.66, 0.6))
    draw_map(axes, weights, queries, keys, causal, hidden, selected)
    scale = figure.colorbar(axes.images[0], ax=axes, fraction=0.04, pad=0.03)
    scale.outline.set_edgecolor(LINE)
    name = "weight × value length" if value_weighted else "attention weight"
    scale.set_label(name, color=QUIET, fontsize=9)
    scale.ax.tick_params(labelsize=8, colors=QUIET)
    return figure


def write(target, x: float, y: float, text: str, *, size: float, **style) -> None:
    """Text that is never read as a formula."""
    style = {"color": INK, "va": "top", "parse_math": False, **style}
    target.text(x, y, text, fontsize=size, **style)


def draw_heads(axes: Axes, thumbnails: Tensor, layer: int, head: int) -> None:
    layers, heads, height, width = thumbnails.shape
    gap = max(1, width // 12)
    sheet = F.pad(thumbnails.float().cpu(), (0, gap, 0, gap), value=float("nan"))
    sheet = sheet.permute(0, 2, 1, 3).reshape(layers * (height + gap), heads * (width + gap))
    axes.imshow(
        sheet[:-gap, :-gap].numpy(), cmap=colour_map(), norm=_scale(1.0), interpolation="nearest",
        aspect=width / height,
    )  # fmt: skip
    axes.set_facecolor(LINE)
    pitch = (width + gap, height + gap)
    axes.add_patch(_box(head * pitch[0] - 1, layer * pitch[1] - 1, width + 1, height + 1, 2))
    step = max(1, -(-max(heads, layers) // 16))
    axes.set_xticks(
        [i * pitch[0] + width / 2 for i in range(0, heads, step)],
        [str(i) for i in range(0, heads, step)],
    )
    axes.set_yticks(
        [i * pitch[1] + height / 2 for i in range(0, layers, step)],
        [str(i) for i in range(0, layers, step)],
    )
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8, colors=QUIET, pad=2)
    axes.set_xlabel("head →", color=QUIET, fontsize=9)
    axes.xaxis.set_label_position("top")
    axes.set_ylabel("layer ↓", color=QUIET, fontsize=9)
    axes.spines[:].set_visible(False)


def draw_map(axes, weights, queries, keys, causal, hidden, selected) -> None:
    n_query, n_key = weights.shape
    largest = float(weights.max()) or 1.0
    shown = weights.float().cpu()
    if max(n_query, n_key) > LARGEST_IMAGE:
        size = (min(n_query, LARGEST_IMAGE), min(n_key, LARGEST_IMAGE))
        shown = F.adaptive_max_pool2d(shown[None], size)[0]
    shown = shown.numpy().copy()
    if causal and shown.shape == (n_query, n_key):
        offset = n_key - n_query
        for query in range(n_query):
            shown[query, query + 1 + offset :] = float("nan")
    for key in hidden:
        if shown.shape[1] == n_key:
            shown[:, key] = float("nan")
    end = 1.0 if 0.5 < largest <= 1.001 else largest
    axes.set_facecolor(BLOCKED)
    axes.imshow(
        shown, cmap=colour_map(), norm=_scale(end), interpolation="nearest",
        extent=(-0.5, n_key - 0.5, n_query - 0.5, -0.5),
    )  # fmt: skip
    _label_axes(axes, queries[:n_query], keys[:n_key])
    if max(n_query, n_key) <= NUMBERED:
        for query in range(n_query):
            for key in range(n_key):
                weight = float(weights[query, key])
                if weight >= 0.005:
                    colour = "white" if weight > 0.3 * end else INK
                    style = dict(ha="center", va="center", color=colour)
                    write(axes, key, query, short(weight), size=8, **style)
    if selected is not None:
        query, key = selected
        x, w = (-0.5, n_key) if key is None else (key - 0.5, 1)
        y, h = (-0.5, n_query) if query is None else (query - 0.5, 1)
        axes.add_patch(_box(x, y, w, h, 2))


def _label_axes(axes, queries: Sequence[str], keys: Sequence[str]) -> None:
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    for axis, tokens, limit in ((axes.xaxis, keys, 14), (axes.yaxis, queries, 18)):
        if len(tokens) <= LABELLED:
            names = [t if len(t) <= limit else t[: limit - 1] + "…" for t in tokens]
            size = 9 if len(tokens) <= 20 else 6.5
            axis.set_ticks(range(len(tokens)), names, fontsize=size, family=MONO, parse_math=False)
    if len(keys) <= LABELLED:
        for label in axes.get_xticklabels():
            label.set(rotation=60, ha="left", rotation_mode="anchor")
    axes.tick_params(length=0, colors=INK, pad=3)
    axes.set_ylabel("query ↓ row looks at column → key", color=QUIET, fontsize=9)
    axes.spines[:].set_color(LINE)


def _scale(end: float):
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, 0, end, clip=True)


def _box(x: float, y: float, width: float, height: float, line: float):
    from matplotlib.patches import Rectangle

    return Rectangle(
        (x, y), width, height, fill=False, edgecolor=ACCENT, linewidth=line, clip_on=False, zorder=5
    )
