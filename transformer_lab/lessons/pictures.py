"""Static pictures of the lessons: drawn once for a light and once for a dark page.

A Picture knows how to draw itself for a Theme and carries its alt text and its caption. A notebook
shows it as two vector images of which the page's theme chooses one; places that show no HTML get
a PNG, and places that show no picture get the alt text.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Theme:
    """Colours of one kind of page. Text has 4.5:1 and marks 3:1 against `page`."""

    name: str
    page: str
    text: str
    quiet: str
    line: str
    accent: str
    second: str
    sequential: tuple[str, ...]
    negative: tuple[str, ...]


LIGHT = Theme(
    name="light",
    page="#ffffff",
    text="#1f2328",
    quiet="#5b6370",
    line="#c9ced6",
    accent="#1f6fd0",
    second="#b4530a",
    sequential=(
        "#ffffff",
        "#dbe9f9",
        "#a6caf0",
        "#6da6e1",
        "#3c7fc9",
        "#1b56a2",
        "#0a2f6b",
    ),  # as in views
    negative=("#ffffff", "#f9dcc4", "#eda66f", "#cd6a23", "#8c3f0b"),
)
DARK = Theme(
    name="dark",
    page="#111111",
    text="#e3e6ea",
    quiet="#a2aab5",
    line="#454b54",
    accent="#74aef5",
    second="#f0a35e",
    sequential=(
        "#191c21",
        "#283047",
        "#424d73",
        "#6c6d90",
        "#a38f93",
        "#dfb985",
        "#fdf3b0",
    ),  # as in views
    negative=("#1b1d21", "#2b3d55", "#3f6ea3", "#6ba4dd", "#b5d7fa"),
)

_STYLE = (
    "<style>"
    ".tl-picture img{max-width:100%;height:auto}"
    ".tl-picture .tl-dark{display:none}"
    "[data-jp-theme-light=false] .tl-picture .tl-light,"
    ".vscode-dark .tl-picture .tl-light,.vscode-high-contrast .tl-picture .tl-light,"
    "[data-theme=dark] .tl-picture .tl-light,html[theme=dark] .tl-picture .tl-light"
    "{display:none}"
    "[data-jp-theme-light=false] .tl-picture .tl-dark,"
    ".vscode-dark .tl-picture .tl-dark,.vscode-high-contrast .tl-picture .tl-dark,"
    "[data-theme=dark] .tl-picture .tl-dark,html[theme=dark] .tl-picture .tl-dark"
    "{display:inline!important}"
    "</style>"
)


@dataclass(frozen=True, repr=False)
class Picture:
    """A drawing with its words.

    Args:
        draw: makes a matplotlib Figure in the colours of a theme.
        alt: what a screen reader says and what stands where no picture can be shown.
        caption: the finding, in a sentence, below the picture.
    """

    draw: Callable[[Theme], Figure]
    alt: str
    caption: str = ""

    def figure(self, theme: Theme = LIGHT) -> Figure:
        """The picture as a matplotlib Figure."""
        import matplotlib as mpl

        plain: Any = {"text.parse_math": False, "font.family": "DejaVu Sans"}
        with mpl.rc_context(plain):
            return self.draw(theme)

    def _bytes(self, theme: Theme, kind: str) -> bytes:
        import matplotlib as mpl

        figure, stream = self.figure(theme), io.BytesIO()
        options: dict[str, Any] = {"format": kind, "bbox_inches": "tight", "pad_inches": 0.04}
        if kind == "svg":
            options["metadata"] = {"Date": None}
        else:
            options["dpi"] = 144
        # Text stays text, so that the page's own fonts are used and the file is small.
        plain: Any = {
            "svg.fonttype": "none",
            "svg.hashsalt": "transformer-lab",
            "text.parse_math": False,
        }
        with mpl.rc_context(plain):
            figure.savefig(stream, facecolor=theme.page, **options)
        return stream.getvalue()

    def svg(self, theme: Theme = LIGHT) -> str:
        """The picture as an SVG document, set in the fonts of the system that shows it."""
        text = self._bytes(theme, "svg").decode("utf-8")
        words = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
        mono = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
        text = text.replace("'DejaVu Sans Mono'", "@MONO@").replace("'DejaVu Sans'", words)
        return text.replace("@MONO@", mono)

    def png(self, theme: Theme = LIGHT) -> bytes:
        return self._bytes(theme, "png")

    def _image(self, theme: Theme) -> str:
        data = base64.b64encode(self.svg(theme).encode("utf-8")).decode("ascii")
        hidden = ' style="display:none"' if theme is DARK else ""
        return (
            f'<img class="tl-{theme.name}"{hidden} alt="{html.escape(self.alt)}" '
            f'src="data:image/svg+xml;base64,{data}">'
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        from transformer_lab.lessons.cards import prose

        words = "var(--jp-ui-font-family, system-ui, sans-serif)"
        caption = (
            f'<figcaption style="font-family:{words};font-size:13px;line-height:20px;'
            "max-width:80ch;margin-top:4px;color:var(--jp-content-font-color1, inherit)"
            f'">{prose(self.caption)}</figcaption>'
            if self.caption
            else ""
        )
        page = (
            f'{_STYLE}<figure class="tl-picture" style="margin:4px 0 8px 0">'
            f"{self._image(LIGHT)}{self._image(DARK)}{caption}</figure>"
        )
        return {
            "text/html": page,
            "image/png": base64.b64encode(self.png()).decode("ascii"),
            "text/plain": f"[picture: {self.alt}] {self.caption}".strip(),
        }

    def __repr__(self) -> str:
        return f"[picture: {self.alt}]"


@dataclass(frozen=True)
class Grid:
    """One matrix of a picture, a number in every cell.

    Args:
        values: [row, column]; −∞ marks a hidden cell.
        rows, columns: labels.
        title: the finding or the name, one line; a second line after a newline is set quietly.
        kind: "weights" (0 to 1, one colour), "scores" (signed) or "plain" (signed, small).
        x, y: names of the axes.
        box: rows to outline.
    """

    values: torch.Tensor | np.ndarray | Sequence[Sequence[float]]
    rows: Sequence[str]
    columns: Sequence[str]
    title: str = ""
    kind: str = "scores"
    x: str = "key"
    y: str = "query"
    box: Sequence[int] = ()
    limit: float | None = None


def _array(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=float)


def _rgb(stops: Sequence[str], share: float) -> np.ndarray:
    from matplotlib.colors import to_rgb

    place = min(max(share, 0.0), 1.0) * (len(stops) - 1)
    low = min(int(place), len(stops) - 2)
    a, b = (np.asarray(to_rgb(stop)) for stop in stops[low : low + 2])
    return a + (b - a) * (place - low)


def _ink(colour: np.ndarray) -> str:
    """Black or white, whichever is easier to read on a colour (WCAG relative luminance)."""
    linear = np.where(colour <= 0.03928, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    return "#000000" if luminance > 0.179 else "#ffffff"


def _written(value: float, kind: str) -> str:
    if np.isneginf(value):
        return "−∞"
    if kind == "weights":
        shown = f"{value:.2f}"
        return shown[1:] if shown.startswith("0") else shown
    if abs(value - round(value)) < 5e-3:
        return f"{round(value)}".replace("-", "−")
    shown = f"{value:.2f}".replace("-", "−")
    return shown.replace("0.", ".") if abs(value) < 1 else shown


def _draw_grid(axes: Axes, grid: Grid, theme: Theme) -> None:
    from matplotlib.patches import Rectangle

    values = _array(grid.values)
    finite = np.abs(values[np.isfinite(values)])
    limit = grid.limit or (1.0 if grid.kind == "weights" else max(float(finite.max()), 1e-9))
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            hidden = not np.isfinite(value)
            # Scores stop short of the darkest tone, which belongs to a weight of 1.
            reach = 1.0 if grid.kind == "weights" else 0.62
            stops = theme.sequential if value >= 0 else theme.negative
            share = 0.0 if hidden else reach * abs(value) / limit
            colour = _rgb(stops, share)
            axes.add_patch(
                Rectangle(
                    (column, row),
                    1,
                    1,
                    facecolor=theme.page if hidden else colour,
                    edgecolor=theme.line,
                    linewidth=0.6,
                    hatch="////" if hidden else None,
                )
            )
            axes.text(
                column + 0.5,
                row + 0.52,
                _written(value, grid.kind),
                ha="center",
                va="center",
                fontsize=9.5,
                color=theme.quiet if hidden else _ink(colour),
                bbox={"facecolor": theme.page, "edgecolor": "none", "pad": 1.0} if hidden else None,
            )
    for row in grid.box:
        axes.add_patch(
            Rectangle((0, row), values.shape[1], 1, fill=False, edgecolor=theme.second, linewidth=2)
        )
    axes.set_xlim(0, values.shape[1])
    axes.set_ylim(values.shape[0], 0)
    axes.set_aspect("equal")
    mono = {"family": "DejaVu Sans Mono", "fontsize": 9, "color": theme.text}
    axes.set_xticks(np.arange(values.shape[1]) + 0.5, grid.columns, **mono)
    axes.set_yticks(np.arange(values.shape[0]) + 0.5, grid.rows, **mono)
    if max((len(label) for label in grid.columns), default=0) > 4:
        for label in axes.get_xticklabels():
            label.set(rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0, pad=3)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(grid.x, color=theme.quiet, fontsize=9)
    axes.set_ylabel(grid.y, color=theme.quiet, fontsize=9)
    head, _, sub = grid.title.partition("\n")
    axes.set_title(head, loc="left", color=theme.text, fontsize=10.5, pad=20 if sub else 6)
    if sub:
        axes.annotate(
            sub, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points",
            color=theme.quiet, fontsize=9,
        )  # fmt: skip


def grids(*panels: Grid, alt: str, caption: str = "", steps: Sequence[str] = ()) -> Picture:
    """Matrices side by side; `steps` are written over the arrows between them."""
    if not panels:
        raise ValueError("grids() needs at least one Grid")
    if len(steps) not in (0, len(panels) - 1):
        raise ValueError(f"{len(panels)} grids have {len(panels) - 1} steps, not {len(steps)}")

    def draw(theme: Theme) -> Figure:
        from matplotlib.figure import Figure

        shapes = [_array(panel.values).shape for panel in panels]
        cell, gap = 0.44, 0.95
        width = sum(shape[1] for shape in shapes) * cell + gap * (len(panels) - 1)
        height = max(shape[0] for shape in shapes) * cell
        figure = Figure(figsize=(width, height))
        left = 0.0
        for index, (panel, shape) in enumerate(zip(panels, shapes, strict=True)):
            size = (shape[1] * cell / width, shape[0] * cell / height)
            axes = figure.add_axes((left / width, 1 - size[1], *size))
            axes.patch.set_alpha(0)
            _draw_grid(axes, panel if index == 0 else _without_rows(panel, panels[0]), theme)
            left += shape[1] * cell
            if steps and index < len(steps):
                middle = (left + gap / 2) / width
                figure.text(
                    middle, 0.5, "→", ha="center", va="center", fontsize=16, color=theme.quiet
                )
                figure.text(
                    middle, 0.5 + 0.2 / height, steps[index],
                    ha="center", va="bottom", fontsize=9, color=theme.text,
                )  # fmt: skip
            left += gap
        return figure

    return Picture(draw, alt, caption)


def _without_rows(panel: Grid, first: Grid) -> Grid:
    """The same grid, its row labels left out where the first grid already shows them."""
    from dataclasses import replace

    if list(panel.rows) != list(first.rows) or panel.y != first.y:
        return panel
    return replace(panel, rows=[""] * len(panel.rows), y="")


def mixing(
    words: Sequence[str],
    values: torch.Tensor,
    weights: torch.Tensor,
    *,
    word: int,
    title: str,
    axes_names: tuple[str, str],
    alt: str,
    caption: str = "",
) -> Picture:
    """Value vectors as points in a plane, and one word's output: their weighted mean.

    Args:
        words: one label a word.
        values: [key, 2].
        weights: [query, key].
        word: the query whose output is drawn.
    """
    points, share = _array(values), _array(weights)[word]
    if points.shape[1] != 2:
        raise ValueError(f"values has {points.shape[1]} columns; points in a plane need 2")
    target = share @ points

    def draw(theme: Theme) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.4, 3.6))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_facecolor(theme.page)
        for point, part in zip(points, share, strict=True):
            axes.plot(
                [target[0], point[0]], [target[1], point[1]],
                color=theme.accent, linewidth=0.6 + 6 * part, alpha=0.25 + 0.5 * part,
                solid_capstyle="round", zorder=1,
            )  # fmt: skip
        axes.scatter(*points.T, s=36 + 420 * share, color=theme.accent, zorder=2)
        axes.scatter(*target, s=110, marker="D", color=theme.second, zorder=3)
        for label, point, part in zip(words, points, share, strict=True):
            _label(axes, f"{label} {_written(part, 'weights')}", point, theme, mono=True)
        _label(axes, f"output of “{words[word]}”", target, theme, below=True)
        for spine in ("top", "right"):
            axes.spines[spine].set_visible(False)
        for spine in ("left", "bottom"):
            axes.spines[spine].set_color(theme.line)
        axes.tick_params(colors=theme.quiet, labelsize=9, length=3)
        axes.set_xlabel(axes_names[0], color=theme.quiet, fontsize=9)
        axes.set_ylabel(axes_names[1], color=theme.quiet, fontsize=9)
        axes.set_title(title, loc="left", color=theme.text, fontsize=10.5)
        axes.margins(0.16, 0.16)
        return figure

    return Picture(draw, alt, caption)


def _label(
    axes: Axes, text: str, point: np.ndarray, theme: Theme, *, mono: bool = False, below=False
) -> None:
    axes.annotate(
        text,
        (float(point[0]), float(point[1])),
        (0, -12 if below else 12),
        textcoords="offset points",
        ha="right" if below else "center",
        va="top" if below else "bottom",
        fontsize=9,
        color=theme.second if below else theme.text,
        family="DejaVu Sans Mono" if mono else "DejaVu Sans",
        zorder=4,
    )


def curves(
    x: Sequence[float],
    lines: dict[str, Sequence[float]],
    *,
    title: str,
    x_name: str,
    y_name: str,
    alt: str,
    caption: str = "",
    log_x: bool = False,
    y_range: tuple[float, float] | None = None,
) -> Picture:
    """Two or three lines, each labelled at its end rather than in a legend."""

    def draw(theme: Theme) -> Figure:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=(5.4, 3.0))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_facecolor(theme.page)
        looks = [(theme.second, "-", "o"), (theme.accent, "-", "s"), (theme.quiet, "--", "^")]
        for y, (colour, dash, mark) in zip(lines.values(), looks, strict=False):
            axes.plot(x, y, dash, color=colour, marker=mark, markersize=4, linewidth=1.8)
        if log_x:
            axes.set_xscale("log", base=2)
            axes.set_xticks(list(x), [f"{value:g}" for value in x])
            axes.minorticks_off()
        elif all(float(value).is_integer() for value in x):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if y_range:
            axes.set_ylim(*y_range)
        ends = [float(y[-1]) for y in lines.values()]
        low, high = axes.get_ylim()
        moves = _apart([(end - low) / (high - low) * 216 for end in ends], least=12)
        for name, end, move, (colour, *_) in zip(lines, ends, moves, looks, strict=False):
            axes.annotate(
                name, (x[-1], end), (8, move), textcoords="offset points",
                va="center", color=colour, fontsize=9.5, annotation_clip=False,
            )  # fmt: skip
        axes.grid(axis="y", color=theme.line, linewidth=0.5, alpha=0.6)
        for spine in ("top", "right"):
            axes.spines[spine].set_visible(False)
        for spine in ("left", "bottom"):
            axes.spines[spine].set_color(theme.line)
        axes.tick_params(colors=theme.quiet, labelsize=9, length=3)
        axes.set_xlabel(x_name, color=theme.quiet, fontsize=9)
        axes.set_ylabel(y_name, color=theme.quiet, fontsize=9)
        axes.set_title(title, loc="left", color=theme.text, fontsize=10.5)
        return figure

    return Picture(draw, alt, caption)


def _apart(heights: Sequence[float], least: float) -> list[float]:
    """How far to move labels up, so that no two are nearer than `least`; all in points."""
    moved = list(heights)
    order = sorted(range(len(moved)), key=lambda i: (moved[i], -i))
    for _ in range(20):
        for a, b in itertools.pairwise(order):
            short = least - (moved[b] - moved[a])
            if short > 0:
                moved[a] -= short / 2
                moved[b] += short / 2
    return [new - old for new, old in zip(moved, heights, strict=True)]


def predictions(
    lists: dict[str, Sequence[tuple[str, float]]], *, title: str = "", alt: str, caption: str = ""
) -> Picture:
    """Lists of (token, probability), one a panel, as bars on the same scale.

    Args:
        lists: the panel's name to its tokens, likeliest first.
    """
    if not lists:
        raise ValueError("predictions() needs at least one list of (token, probability)")
    longest = max(len(rows) for rows in lists.values())
    most = max((p for rows in lists.values() for _, p in rows), default=1.0)

    def draw(theme: Theme) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(3.9 * len(lists), 0.3 * longest + 0.2))
        for index, (name, rows) in enumerate(lists.items()):
            axes = figure.add_axes((index / len(lists), 0, 0.66 / len(lists), 1))
            axes.patch.set_alpha(0)
            places = np.arange(len(rows))
            colour = theme.quiet if index == 0 and len(lists) > 1 else theme.accent
            axes.barh(places, [p for _, p in rows], color=colour, height=0.62)
            for place, (_, p) in zip(places, rows, strict=True):
                shown = _written(p, "weights") if p >= 0.01 else f"{p:.3f}"[1:]
                axes.annotate(
                    shown, (p, place), (5, 0), textcoords="offset points",
                    va="center", fontsize=9, color=theme.text,
                )  # fmt: skip
            axes.set_yticks(
                places, [token for token, _ in rows],
                family="DejaVu Sans Mono", fontsize=10, color=theme.text,
            )  # fmt: skip
            axes.set_xlim(0, most * 1.02)
            axes.set_ylim(longest - 0.5, -0.6)
            axes.set_xticks([])
            axes.tick_params(length=0)
            for spine in ("top", "right", "bottom"):
                axes.spines[spine].set_visible(False)
            axes.spines["left"].set_color(theme.line)
            axes.set_title(name, loc="left", color=theme.text, fontsize=10.5)
        if title:
            figure.text(0, 1 + 0.42 / figure.get_figheight(), title, fontsize=11, color=theme.text)
        return figure

    return Picture(draw, alt, caption)
