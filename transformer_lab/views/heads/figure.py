"""The still picture of a HeadView: every head small, the chosen one as a map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ..shared.colours import BLOCKED, INK, LINE, PAPER, QUIET, colour_map
from ..shared.figures import MONO, blank, frame, shortened, spot_frame, write
from ..shared.words import TO_NOTHING, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELLED = 40  # tokens up to which every one is named
NUMBERED = 12  # … and every weight written
LARGEST_IMAGE = 512


@dataclass(frozen=True)
class PinnedMap:
    """A head beside the chosen one: weights [query, key] as shown; nothing [query], as in HeadScene;
    known: its label and its effect, where these are known."""

    layer: int
    head: int
    weights: Tensor
    nothing: Tensor | None = None
    known: str = ""


@dataclass(frozen=True)
class HeadScene:
    """What a picture of heads is drawn from.

    thumbnails [layer, head, small, small]; weights [query, key] as shown.
    """

    title: str
    sentence: str
    thumbnails: Tensor
    weights: Tensor
    queries: Sequence[str]
    keys: Sequence[str]
    layer: int
    head: int
    causal: bool
    hidden: Sequence[int] = ()
    selected: tuple[int | None, int | None] | None = None
    value_weighted: bool = False
    nothing: Tensor | None = None  # [query]: what goes to nothing, where a head may look there
    measure: str = "attention weight"  # what the colours mean
    block: tuple[tuple[int, int], tuple[int, int]] | None = None  # what part of the map this is
    ahead: int | None = (
        None  # keys beyond its own number that a causal query sees; None: to the end
    )
    known: str = ""  # as in PinnedMap
    pins: Sequence[PinnedMap] = ()
    end: float | None = None  # the largest of what is drawn, where that is of several maps
    size: int = 1  # tokens along each side of what a number stands for: of a long text, its largest
    tokens: tuple[int, int] | None = (
        None  # queries and keys of the text, where a number stands for several
    )

    @property
    def whole(self) -> tuple[int, int]:
        """(queries, keys) of the text."""
        return self.tokens or (len(self.queries), len(self.keys))

    def part(self, a: tuple[int, int], b: tuple[int, int]) -> HeadScene:
        """The block of the map that goes from the queries of a to the keys of b, (start, end) each; of
        cells of several tokens, those that it touches."""
        a, b = ((start // self.size, -(-end // self.size)) for start, end in (a, b))
        inside = [
            at is None or start <= at < end
            for at, (start, end) in zip(self.selected or (None, None), (a, b), strict=True)
        ]
        moved = [
            at if at is None else at - start
            for at, (start, _) in zip(self.selected or (None, None), (a, b), strict=True)
        ]
        n_query, n_key = self.weights.shape
        return replace(
            self, weights=self.weights[slice(*a), slice(*b)], queries=self.queries[slice(*a)],
            keys=self.keys[slice(*b)], hidden=[i - b[0] for i in self.hidden if b[0] <= i < b[1]],
            selected=(moved[0], moved[1]) if self.selected and all(inside) else None, nothing=None,
            block=(a, b), ahead=n_key - n_query + a[0] - b[0],
            pins=[replace(pin, weights=pin.weights[slice(*a), slice(*b)], nothing=None)
                  for pin in self.pins],
        )  # fmt: skip

    def side_by_side(self) -> Sequence[HeadScene]:
        """The chosen map and those beside it, each alone, on one scale."""
        alone = replace(self, pins=(), end=self.largest)
        return [alone] + [
            replace(
                alone, layer=pin.layer, head=pin.head, weights=pin.weights, nothing=pin.nothing,
                known=pin.known,
            )
            for pin in self.pins
        ]  # fmt: skip

    @property
    def largest(self) -> float:
        """The largest of what is drawn, by size; 1 where nothing is."""
        if self.end is not None:
            return self.end
        maps = [self.weights, self.nothing]
        maps += [one for pin in self.pins for one in (pin.weights, pin.nothing)]
        return max(float(x.abs().max()) for x in maps if x is not None) or 1.0


def head_figure(scene: HeadScene) -> Figure:
    figure = blank(10.5, 5.6)
    left, right = figure.subfigures(1, 2, width_ratios=[0.36, 0.64], squeeze=False)[0]
    figure.subplots_adjust(top=0.82)
    name = f"{scene.title} · layer {scene.layer}, head {scene.head}"
    write(figure, 0.02, 0.965, name, size=12, weight="bold")
    write(figure, 0.02, 0.92, shortened(scene.sentence, 1), size=10)
    draw_heads(left.add_axes((0.13, 0.06, 0.84, 0.68)), scene)
    draw_maps(right, (0.2, 0.08, 0.66, 0.6), scene, what_colours_mean(scene))
    return figure


def what_colours_mean(scene: HeadScene) -> str:
    return "weight × value length" if scene.value_weighted else scene.measure


def draw_maps(
    figure: Any, box: tuple[float, float, float, float], scene: HeadScene, name: str,
    draw: Callable[[Axes, HeadScene], None] | None = None,
):  # fmt: skip
    """The chosen map in a box (left, bottom, width, height) of a figure, and pinned ones beside it, with
    the colours' meaning; `draw` draws one. Returns the scale."""
    draw, scenes = draw or draw_map, scene.side_by_side()
    if len(scenes) == 1:
        axes = figure.add_axes(box)
        draw(axes, scene)
        return draw_scale(axes, name)
    columns = min(len(scenes), 2 if len(scenes) < 5 else 3)
    rows = -(-len(scenes) // columns)
    left, bottom, width, height = box
    wide, high = width / columns, height / rows
    every = []
    for at, one in enumerate(scenes):
        row, column = divmod(at, columns)
        place = (left + column * wide, bottom + (rows - 1 - row) * high, 0.86 * wide, 0.84 * high)
        axes = figure.add_axes(place)
        draw(axes, one)
        axes.tick_params(labelleft=column == 0, labeltop=row == 0, labelsize=6.5)
        axes.set_ylabel("")
        axes.xaxis.set_label_position("bottom")
        told = f"layer {one.layer}, head {one.head}{' · ' if one.known else ''}{one.known}"
        axes.set_xlabel(told, color=INK, fontsize=8, parse_math=False)
        every.append(axes)
    return draw_scale(every[0], name, every)


def draw_scale(axes: Axes, name: str, every: Sequence[Axes] = ()):
    """The colours' meaning, beside a map, or beside every one of several."""
    beside: Any = list(every) or axes
    scale = axes.figure.colorbar(axes.images[0], ax=beside, fraction=0.04, pad=0.03)
    scale.outline.set_edgecolor(LINE)  # type: ignore[operator]
    scale.set_label(name, color=QUIET, fontsize=9)
    scale.ax.tick_params(labelsize=8, colors=QUIET)
    # A norm that clips would put numbers beyond the end there, too.
    low, high = axes.images[0].get_clim()
    scale.set_ticks([at for at in scale.get_ticks() if (low or 0.0) <= at <= (high or 0.0)])
    return scale


def draw_heads(axes: Axes, scene: HeadScene) -> None:
    thumbnails, layer, head = scene.thumbnails, scene.layer, scene.head
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
    axes.add_patch(frame(head * pitch[0] - 1, layer * pitch[1] - 1, width + 1, height + 1, 2))
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


def draw_map(axes: Axes, scene: HeadScene) -> None:
    weights = scene.weights
    n_query, n_key = weights.shape
    shown = masked_map(scene)
    if max(n_query, n_key) > LARGEST_IMAGE:
        size = (min(n_query, LARGEST_IMAGE), min(n_key, LARGEST_IMAGE))
        shown = F.adaptive_max_pool2d(weights.float().cpu()[None], size)[0].numpy()
    end = scale_end(scene.largest)
    axes.set_facecolor(BLOCKED)
    axes.imshow(
        shown, cmap=colour_map(), norm=_scale(end), interpolation="nearest",
        extent=(-0.5, n_key - 0.5, n_query - 0.5, -0.5),
    )  # fmt: skip
    label_axes(axes, scene.queries[:n_query], scene.keys[:n_key])
    if scene.size > 1:
        name_cells(axes, scene)
    numbered = max(n_query, n_key) <= NUMBERED and scene.end is None

    def number(x: float, query: int, weight: float) -> None:
        if numbered and weight >= 0.005:
            colour = PAPER if weight > 0.3 * end else INK
            write(axes, x, query, short(weight), size=8, ha="center", va="center", color=colour)

    for query in range(n_query if numbered else 0):
        for key in range(n_key):
            number(key, query, float(weights[query, key]))
    if scene.nothing is not None:
        colours: dict[str, Any] = dict(cmap=colour_map(), norm=_scale(end))
        middle = draw_nothing(axes, scene.nothing, n_key, colours)
        for query in range(n_query):
            number(middle, query, float(scene.nothing[query]))
    for place in spot_frame(scene.selected, n_query, n_key):
        axes.add_patch(frame(*place))


def masked_map(scene: HeadScene, weights: Tensor | None = None) -> np.ndarray:
    """Weights [query, key] (those on view, by default), with NaN where the head cannot look and where
    the reader hides a key."""
    shown = (scene.weights if weights is None else weights).float().cpu().numpy().copy()
    n_query, n_key = shown.shape
    if scene.causal:
        ahead = n_key - n_query if scene.ahead is None else scene.ahead
        shown[np.triu(np.ones(shown.shape, dtype=bool), 1 + ahead)] = np.nan
    shown[:, [key for key in scene.hidden if key < n_key]] = np.nan
    return shown


def scale_end(largest: float) -> float:
    """The weight at the end of the colours."""
    return 1.0 if 0.5 < largest <= 1.001 else largest


def draw_nothing(axes: Axes, nothing: Tensor, n_key: int, colours: dict[str, Any]) -> float:
    """One more column beside a map, set apart from it: [query], what goes to no key. Returns where
    its middle lies."""
    from matplotlib.patches import Rectangle

    n_query, width = len(nothing), max(1.0, n_key / 24)
    left = n_key - 0.5 + max(0.35, n_key / 60)
    axes.imshow(
        nothing.float().numpy()[:, None], interpolation="nearest",
        extent=(left, left + width, n_query - 0.5, -0.5), **colours,
    )  # fmt: skip
    axes.add_patch(frame(left, -0.5, width, n_query, 0.8, LINE))
    axes.set_xlim(-0.5, left + width)
    axes.set_ylim(n_query - 0.5, -0.5)
    between = left - n_key + 0.5  # the gap is no column
    axes.add_patch(
        Rectangle((n_key - 0.5, -0.5), between, n_query, facecolor=PAPER, edgecolor=LINE)
    )
    if n_key > LABELLED:  # no number of a key where that column's name stands
        axes.set_xticks([at for at in axes.get_xticks() if 0 <= at < 0.95 * n_key])
    middle = left + width / 2
    write(
        axes, middle, -0.5 - n_query / 60, TO_NOTHING, size=9, style="italic", color=QUIET,
        rotation=60, ha="left", va="bottom", rotation_mode="anchor",
    )  # fmt: skip
    return middle


def label_axes(axes: Axes, queries: Sequence[str], keys: Sequence[str]) -> None:
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    points = 72 / axes.figure.dpi
    room = points * min(axes.bbox.width / len(keys), axes.bbox.height / len(queries))  # of a cell
    for axis, tokens, limit in ((axes.xaxis, keys, 14), (axes.yaxis, queries, 18)):
        if len(tokens) <= LABELLED:
            names = [t if len(t) <= limit else t[: limit - 1] + "…" for t in tokens]
            size = 9 if len(tokens) <= 20 and room >= 8 else 6.5
            step = max(1, ceil(0.9 * size / room))  # names of a flat map would lie on each other
            axis.set_ticks(
                range(0, len(tokens), step), names[::step], fontsize=size, family=MONO,
                parse_math=False,
            )  # fmt: skip
    if len(keys) <= LABELLED:
        for label in axes.get_xticklabels():
            label.set(rotation=60, ha="left", rotation_mode="anchor")
    axes.tick_params(length=0, colors=INK, pad=3)
    axes.set_ylabel("query ↓ row looks at column → key", color=QUIET, fontsize=9)
    axes.spines[:].set_color(LINE)


def name_cells(axes: Axes, scene: HeadScene) -> None:
    """Of cells of several tokens: the numbers of the tokens at which some begin."""
    for axis, names in ((axes.xaxis, scene.keys), (axes.yaxis, scene.queries)):
        step = max(1, len(names) // 6)
        places = range(0, len(names), step)
        axis.set_ticks(places, [names[at].partition("–")[0] for at in places], fontsize=8)


def _scale(end: float):
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, 0, end, clip=True)
