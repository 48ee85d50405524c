"""A scene: what a view shows, as panels of marks. `draw_matplotlib.py` and `draw_plotly.py` draw every mark in
one place each, and files hold the scene's numbers."""

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
    """What stands along one side of a mark.

    Args:
        title: its name; "" where the labels say it.
        labels: one for each place; None counts from 0.
        tokens: whether they are tokens (in a font of fixed width).
        parts: (name, start, end) of named parts of it, as in slices, such as the turns of a conversation;
            they are named at the opposite side of a still picture.
    """

    title: str = ""
    labels: Sequence[Any] | None = None
    tokens: bool = False
    parts: Sequence[tuple[str, int, int]] = ()

    def names(self, n: int, cut: int = 0) -> list[str]:
        """The labels of n places as text, shortened to `cut` characters where it is given."""
        found = [str(x) for x in (range(n) if self.labels is None else self.labels)]
        return [x if not cut or len(x) <= cut else f"{x[: cut - 1]}…" for x in found]


@dataclass(frozen=True, eq=False)
class Matrix:
    """Coloured cells, [row, column]; NaN is left empty.

    Args:
        rows, columns: their axes.
        means: what the colours are, beside them; "" shows no scale.
        end: the number at the end of the colours; by default the largest size. `signed` colours run
            from −end to end.
        power: a number's share of `end`, to this power, is its place on the colours: .5 shows small
            ones.
        text: what is written into each cell, [row, column]; `bold` of as many, those set in bold.
        chosen: (row, column) outlined; either may be None, for a whole column or row.
        hatched: bool [row, column] of numbers that are estimates.
        dots: bool [row, column] of cells with a dot.
        beside: [row], one more column, set apart from the others; `beside_name` names it.
        says: what pointing at a cell shows after the names, [row, column]; the number by default.
        square: whether cells are square.
        flipped: whether what is below 0 has the colours of what is above.
        bare: whether nothing is written beside it.
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
        """The number at the end of the colours."""
        if self.end is not None:
            return self.end
        every = [x for x in (self.values, self.beside) if x is not None]
        sizes = [np.abs(as_array(x)) for x in every]
        found = max(float(x[np.isfinite(x)].max(initial=0.0)) for x in sizes)
        return found or 1.0


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """Every head small, [layer, head, row, column] of weights 0 … 1, NaN where a layer has no such head;
    of still pictures alone.

    Args:
        chosen: every (layer, head) that is framed; those in `off` are crossed out.
        picture: below each, as in `Overlay`; then each has a scale of its own.
        layers: which these are; by default all.
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
    """A picture under weights, whose colours are as opaque as they are large.

    Args:
        picture: bytes [row, column, 3]; or numbers [row, column], which are shown in greys, the first
            row below.
        weights: [row, column], spread evenly over their box.
        says: what pointing at a weight shows, [row, column].
        picture_box, weights_box: left, right, bottom, top; by default the weights are 1 × 1 each.
        framed: left, right, bottom, top of what is selected.
        fade: 0 shows the picture alone.
        y: places and names beside it.
        unit: what x is, where it is a measure; then the picture may be stretched.
        name, picture_name: what weights and picture are.
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
        """Of the picture and of the weights."""
        rows, columns = np.shape(self.weights)
        whole = (0.0, float(columns), float(rows), 0.0)
        return [self.picture_box or whole, self.weights_box or whole]


@dataclass(frozen=True, eq=False)
class Bars:
    """Horizontal bars, the first on top.

    Args:
        values: [row], or [group, row] for several bars a row; NaN has none.
        rows: their axis.
        groups: a name for each group.
        means: the axis of numbers.
        shades: as many as values, −1 … 1: where a bar's colour lies on the diverging scale; `shade`
            says what they are.
        chosen: rows in the colour of what is selected.
        text: what stands at the end of each bar, as many as values.
        colours: of the groups, by the names of palette.json; the first colours of heads by default.
        most: so many rows in a still picture, those of the largest numbers; 0 for all.
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
        filled, steps: whether the area below is filled, and whether the line is a step function.
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
    colour: str = (
        ""  # a name of palette.json; otherwise that of `nth`, or of its place among the curves
    )
    nth: int | None = None


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves over one axis; `at` is marked by a vertical line. `x_says` are names for the points."""

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
    """Vectors of different lengths under each other, each as a strip of colours on its own scale. What
    a reader can point at has `curves` instead, which are the same numbers. `chosen` rows are framed."""

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
        special: (x, y) of one that is none of them, and its name.
        groups: a name for each point; every group has a shape of its own.
        shades: [point], numbers that are shown by colour, `shades_mean` says which; NaN has none.
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
    """Points in three dimensions, [point, (x, y, z)]; a still picture has x beside y, and x beside z.

    Args:
        names, says: a name for each point, and what pointing at it shows.
        axes: three names.
        colours: a number or a category for each point; `colours_mean` says what they are.
        paths: [step, point, 3], lines that lead to the points through these steps.
        chosen: one of the points.
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
        """In the order in which they come; none where colours are numbers."""
        return list(dict.fromkeys(x for x in self.colours if isinstance(x, str)))


@dataclass(frozen=True, eq=False)
class Routes:
    """What heads carry from token to token through the layers; of still pictures alone.

    Args:
        stream: [layer + 1, position], what stands at each token.
        stays, mlps: [layer, position], what goes on at its token, and what an MLP writes.
        places, values: (layer, head, query, key) of every edge, and what it carries.
        cuts: places of edges that are cut.
        heads: edges of other (layer, head) are faint; None for none.
        at: the position whose logit it is; `says` is written there.
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
    """Words in the place of what is not known; or paragraphs, `wide` over a whole row."""

    text: str
    wide: bool = False
    kind: ClassVar[str] = "note"

    @property
    def lines(self) -> list[str]:
        """Those of the text, none of them longer than there is room for."""
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
    """A mark under its title; `width` is its share of the row."""

    title: str
    mark: Mark
    width: float = 1.0


@dataclass(frozen=True, eq=False)
class Scene:
    """What a view shows.

    Args:
        title, sentence: over it.
        panels: in rows.
        numbers: what files hold.
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
    """Maps under each other, each on a scale of its own.

    Args:
        maps: (title, numbers [row, column], bool of as many cells that have a dot or None, the names of
            rows and columns, name -> what stands along it).
        means: what the numbers are.
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
    """A tensor or a list as an array of its own precision (of 16 bits: in 32)."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.dtype.itemsize < 4 else values
    return np.asarray(values)


def causal_gaps(weights: Any, ahead: int = 0) -> np.ndarray:
    """[query, key] in fp32, NaN where a causal query cannot look; `ahead`: keys beyond its own number
    that it sees."""
    shown = as_array(weights).astype("f4", copy=True)
    shown[np.triu(np.ones(shown.shape, dtype=bool), 1 + ahead)] = np.nan
    return shown
