"""A scene: what a view shows, as panels of marks.

`draw_matplotlib.py` and `draw_plotly.py` draw the marks; exported files hold the scene's numbers.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..shared.exports import Numbers

CUT = 12  # characters of a name in a still picture


@dataclass(frozen=True)
class Axis:
    """One axis of a mark.

    Args:
        title: its name; "" where the labels make it clear.
        labels: one per position; None counts from 0.
        tokens: whether labels are tokens (set in a monospaced font).
        parts: (name, start, end) of named parts, as in slices, such as the turns of a conversation;
            a still picture names them on the opposite side.
    """

    title: str = ""
    labels: Sequence[Any] | None = None
    tokens: bool = False
    parts: Sequence[tuple[str, int, int]] = ()

    def names(self, n: int, cut: int = 0) -> list[str]:
        """The labels of n positions as text, shortened to `cut` characters if it is not 0."""
        found = [str(x) for x in (range(n) if self.labels is None else self.labels)]
        return [x if not cut or len(x) <= cut else f"{x[: cut - 1]}…" for x in found]


@dataclass(frozen=True, eq=False)
class Matrix:
    """Coloured cells, [row, column]; NaN is left empty.

    Args:
        rows, columns: their axes.
        means: the label of the colour scale; "" shows no scale.
        end: the number at the end of the scale; by default the largest absolute value. `signed`
            scales run from −end to end.
        power: exponent of the colour scale, applied to value / end; 0.5 makes small values visible.
        text: the text of each cell, [row, column]; `bold` (same shape) marks those set in bold.
        chosen: (row, column) outlined; either may be None, for a whole column or row.
        hatched: bool [row, column], cells that are estimates.
        dots: bool [row, column], cells with a dot.
        beside: [row], one more column, set apart from the others; `beside_name` names it.
        says: hover text after the names, [row, column]; the number by default.
        square: whether cells are square.
        flipped: whether the colours of negative and positive numbers are swapped.
        bare: whether to leave out tick labels and axis titles.
    """

    values: Any
    rows: Axis = Axis()
    columns: Axis = Axis()
    means: str = ""
    end: float | None = None
    signed: bool = False
    power: float = 1.0
    text: Any = None
    bold: Any = None
    chosen: tuple[int | None, int | None] | None = None
    hatched: Any = None
    dots: Any = None
    beside: Any = None
    beside_name: str = ""
    says: Any = None
    square: bool = False
    flipped: bool = False
    bare: bool = False
    name: str = ""
    kind: ClassVar[str] = "matrix"

    @property
    def numbers(self) -> np.ndarray:
        """fp32 or fp64 [row, column]."""
        return as_array(self.values)

    @property
    def limit(self) -> float:
        """The number at the end of the colour scale."""
        if self.end is not None:
            return self.end
        every = [x for x in (self.values, self.beside) if x is not None]
        sizes = [np.abs(as_array(x)) for x in every]
        found = max(float(x[np.isfinite(x)].max(initial=0.0)) for x in sizes)
        return found or 1.0


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """Thumbnails of all heads, [layer, head, row, column], weights 0 … 1; for still pictures only.

    NaN where a layer has no such head.

    Args:
        chosen: every (layer, head) that is framed; those in `off` are crossed out.
        picture: drawn below each, as in `Overlay`; then each head has its own scale.
        layers: the numbers of the layers; by default all.
    """

    values: Any
    chosen: Sequence[tuple[int, int]]
    off: Sequence[tuple[int, int]] = ()
    picture: Any = None
    fade: float = 1.0
    layers: Sequence[int] | None = None
    kind: ClassVar[str] = "thumbnails"


@dataclass(frozen=True, eq=False)
class Overlay:
    """An image with weights drawn over it; a larger weight is more opaque.

    Args:
        picture: bytes [row, column, 3]; or numbers [row, column], shown in grey, the first row at
            the bottom.
        weights: [row, column], spread evenly over their box.
        says: hover text of each weight, [row, column].
        picture_box, weights_box: left, right, bottom, top; by default a weight is 1 × 1.
        framed: left, right, bottom, top of the selection.
        fade: 0 shows the picture alone.
        y: (position, label) of the ticks beside it.
        unit: of x, if x is a quantity such as time; then the picture may be stretched.
        name, picture_name: names of the weights and the picture.
    """

    picture: Any
    weights: Any
    says: Any
    fade: float = 1.0
    picture_box: tuple[float, float, float, float] | None = None
    weights_box: tuple[float, float, float, float] | None = None
    framed: tuple[float, float, float, float] | None = None
    x_range: tuple[float, float] | None = None
    y: Sequence[tuple[float, str]] = ()
    unit: str = ""
    name: str = ""
    picture_name: str = ""
    kind: ClassVar[str] = "overlay"

    @property
    def boxes(self) -> list[tuple[float, float, float, float]]:
        """The boxes of the picture and of the weights."""
        rows, columns = np.shape(self.weights)
        whole = (0.0, float(columns), float(rows), 0.0)
        return [self.picture_box or whole, self.weights_box or whole]


@dataclass(frozen=True, eq=False)
class Bars:
    """Horizontal bars, the first on top.

    Args:
        values: [row], or [group, row] for several bars per row; NaN draws no bar.
        rows: their axis.
        groups: a name for each group.
        means: label of the numeric axis.
        shades: same shape as values, −1 … 1: each bar's colour on the diverging scale; `shade` is
            their label.
        chosen: rows drawn in the selection colour.
        text: label at the end of each bar, same shape as values.
        colours: of the groups, as names in palette.json; the first colours of heads by default.
        most: a still picture shows this many rows, those with the largest numbers; 0 for all.
    """

    values: Any
    rows: Axis = Axis()
    groups: Sequence[str] = ("",)
    means: str = ""
    shades: Any = None
    shade: str = ""
    chosen: Sequence[int] = ()
    text: Sequence[Any] | None = None
    colours: Sequence[str] = ()
    most: int = 0
    kind: ClassVar[str] = "bars"

    @property
    def numbers(self) -> np.ndarray:
        """[group, row]."""
        return np.atleast_2d(as_array(self.values))


@dataclass(frozen=True, eq=False)
class Curve:
    """Points joined by a line: x and y [point].

    Args:
        strong, faint: drawn thicker, or thinner and left out of the legend.
        points: whether the points are marked.
        filled, steps: whether the area below is filled; whether the line is a step function.
        hidden: drawn only after a reader switches it on in the legend.
        band: (low, high) [point], an area around the line.
        group: curves of one group are switched on and off together.
    """

    name: str
    x: Any
    y: Any
    strong: bool = False
    faint: bool = False
    group: str = ""
    points: bool = False
    filled: bool = False
    steps: bool = False
    hidden: bool = False
    band: tuple[Any, Any] | None = None
    colour: str = ""  # a name in palette.json; by default chosen by `nth`, or by the curve's index
    nth: int | None = None


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves over one axis; a vertical line marks `at`. `x_says` names the points."""

    curves: Sequence[Curve]
    x: Axis = Axis()
    y: Axis = Axis()
    at: float | None = None
    x_range: tuple[float, float] | None = None
    legend: bool = False
    x_says: Sequence[str] | None = None
    kind: ClassVar[str] = "curves"


@dataclass(frozen=True, eq=False)
class Strips:
    """Vectors of different lengths below each other, each a strip of colours on its own scale.

    Interactive figures draw `curves` instead, which are the same numbers. `chosen` rows are framed.
    """

    vectors: Sequence[Any]
    rows: Axis
    chosen: Sequence[int] = ()
    curves: Sequence[Curve] = ()
    kind: ClassVar[str] = "strips"


@dataclass(frozen=True, eq=False)
class Waterfall:
    """Numbers added one after the other, [part], and their sum."""

    values: Any
    parts: Axis = Axis()
    total: str = "sum"
    kind: ClassVar[str] = "waterfall"


@dataclass(frozen=True, eq=False)
class Points:
    """Points in a plane, [point, (x, y)].

    Args:
        sizes: [point], 0 … 1.
        special: (x, y) of one more point; `special_name` is its name.
        groups: the group of each point; every group has its own shape.
        shades: [point], numbers shown by colour (`shades_mean` labels them); NaN has no colour.
    """

    places: Any
    names: Sequence[str]
    sizes: Any
    sizes_mean: str = ""
    special: tuple[float, float] | None = None
    special_name: str = ""
    groups: Sequence[str] = ()
    shades: Any = None
    shades_mean: str = ""
    kind: ClassVar[str] = "points"

    @property
    def parts(self) -> dict[str, np.ndarray]:
        """The points of each group."""
        groups = np.array(self.groups or [""] * len(self.names))
        return {str(name): np.flatnonzero(groups == name) for name in dict.fromkeys(groups)}


@dataclass(frozen=True, eq=False)
class Space:
    """Points in three dimensions, [point, (x, y, z)]; a still picture plots y and z against x.

    Args:
        names, says: a name for each point, and its hover text.
        axes: three names.
        colours: a number or a category for each point; `colours_mean` labels them.
        paths: [step, point, 3], lines that lead to the points through these steps.
        chosen: the selected point.
    """

    places: Any
    names: Sequence[str]
    says: Sequence[str]
    axes: Sequence[str]
    colours: Sequence[Any]
    colours_mean: str = ""
    paths: Any = None
    steps: Sequence[str] = ()
    chosen: int | None = None
    kind: ClassVar[str] = "space"

    @property
    def categories(self) -> list[str]:
        """In order of appearance; empty if colours are numbers."""
        return list(dict.fromkeys(x for x in self.colours if isinstance(x, str)))


@dataclass(frozen=True, eq=False)
class Routes:
    """What heads carry between tokens through the layers; for still pictures only.

    Args:
        stream: [layer + 1, position], the stream's size, or its part of a logit, at each token.
        stays, mlps: [layer, position], what stays at its token, and what an MLP writes.
        places, values: (layer, head, query, key) of every edge, and what it carries.
        cuts: places of edges that are cut.
        heads: edges of any other (layer, head) are faint; None: no edge is faint.
        at: the position whose logit is shown; `says` is written there.
        down: whether layers go from top to bottom.
    """

    tokens: Sequence[str]
    stream: Any
    stays: Any
    mlps: Any
    places: Sequence[Sequence[int]]
    values: Sequence[float]
    cuts: Sequence[Sequence[int]]
    heads: frozenset[tuple[int, int]] | None
    n_heads: int
    at: int
    says: str
    down: bool = False
    kind: ClassVar[str] = "routes"


@dataclass(frozen=True)
class Note:
    """Text in place of something unknown; or paragraphs, `wide` if they take a whole row."""

    text: str
    wide: bool = False
    kind: ClassVar[str] = "note"

    @property
    def lines(self) -> list[str]:
        """The lines of the text, wrapped to the available width."""
        width = 120 if self.wide else 60
        return [line for part in self.text.split("\n") for line in textwrap.wrap(part, width)]


Mark = (
    Matrix
    | Thumbnails
    | Overlay
    | Bars
    | Curves
    | Strips
    | Waterfall
    | Points
    | Space
    | Routes
    | Note
)


@dataclass(frozen=True)
class Panel:
    """A mark under its title; `width` is its relative width in the row."""

    title: str
    mark: Mark
    width: float = 1.0


@dataclass(frozen=True, eq=False)
class Scene:
    """What a view shows.

    Args:
        title, sentence: shown above the panels.
        panels: in rows.
        numbers: the content of exported files.
    """

    title: str
    sentence: str
    panels: Sequence[Sequence[Panel]]
    numbers: Numbers = field(default_factory=lambda: Numbers(()))


def scene_of_maps(
    maps: Sequence[tuple[str, Any, Any, Sequence[str], Mapping[str, Sequence[Any]]]],
    sentence: str,
    title: str = "",
    means: str = "",
) -> Scene:
    """Draw maps below each other, each on its own scale.

    Args:
        maps: (title, numbers [row, column], bool [row, column] of cells with a dot or None, names
            of the two axes, axis -> labels).
        means: label of the numbers.
    """
    panels = []
    for name, numbers, dots, axes, labels in maps:
        values = as_array(numbers).astype(float)
        rows, columns = (Axis(axis, labels.get(axis)) for axis in axes)
        signed = bool((values < 0).any())
        matrix = Matrix(values, rows, columns, means or name, signed=signed, dots=dots)
        panels.append([Panel(name if len(maps) > 1 or not title else "", matrix)])
    return Scene(title, sentence, panels)


def as_array(values: Any) -> np.ndarray:
    """A tensor or a list as an array of the same precision, but of at least 32 bits."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.dtype.itemsize < 4 else values
    return np.asarray(values)


def causal_gaps(weights: Any, ahead: int = 0) -> np.ndarray:
    """Weights [query, key] in fp32, NaN where the causal mask blocks attention.

    `ahead`: how many keys beyond its own index a query may attend to.
    """
    shown = as_array(weights).astype("f4", copy=True)
    shown[np.triu(np.ones(shown.shape, dtype=bool), 1 + ahead)] = np.nan
    return shown
