"""Scenes as plotly figures: one function for each mark."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..shared import plots
from .draw_heads import OVER
from .draw_matplotlib import NAMED, figure_of
from .scene import (
    Axis,
    Bars,
    Curves,
    Matrix,
    Note,
    Overlay,
    Points,
    Scene,
    Space,
    Strips,
    Waterfall,
)

PLACES = 32  # up to this length, every position of an axis has its number


def plotly_of(scene: Scene, theme: str) -> plots.Plot:
    """Draw a scene with plotly, with its still picture where no script runs.

    Raises:
        ValueError: for an unknown theme.
    """
    whole = scene
    shown = [[panel for panel in row if panel.mark.kind in MARKS] for row in scene.panels]
    scene = replace(scene, panels=[row for row in shown if row])
    across = math.lcm(*(len(row) for row in scene.panels))
    specs: list[list[dict | None]] = []
    for row in scene.panels:
        each = across // len(row)
        kinds = ["scene" if panel.mark.kind == "space" else "xy" for panel in row]
        starts = [{"colspan": each, "type": kind} for kind in kinds]
        specs.append([starts[i // each] if i % each == 0 else None for i in range(across)])
    figure: Any = plots.panels(
        len(scene.panels),
        across,
        specs=specs,
        horizontal_spacing=0.42 / across,
        row_heights=[max(_height(panel.mark) for panel in row) for row in scene.panels],
        vertical_spacing=0.32 / len(scene.panels),
        subplot_titles=[plots.said(panel.title) for row in scene.panels for panel in row],
    )
    for i, row in enumerate(scene.panels):
        each = across // len(row)
        for j, panel in enumerate(row):
            where = dict(row=i + 1, col=j * each + 1)
            MARKS[panel.mark.kind](figure, panel.mark, theme, where)
            if panel.title and isinstance(
                panel.mark, Matrix
            ):  # at the top, names would overlap the title
                figure.update_xaxes(side="bottom", **where)
    figure.update_xaxes(title_font_size=12).update_yaxes(title_font_size=12)
    return plots.Plot(
        figure,
        title=scene.title,
        sentence=scene.sentence,
        theme=theme,
        space=20,
        still=partial(figure_of, whole),
    ).update_layout(
        height=160 + sum(max(_height(panel.mark) for panel in row) for row in scene.panels),
        barmode="group",
        legend=dict(orientation="h", x=1, xanchor="right", y=-0.08),
        plot_bgcolor=plots.ink("panel", theme),
    )


def _height(mark: Any) -> int:
    """Height of a mark in pixels."""
    if isinstance(mark, Matrix):
        return 140 + 22 * min(40, max(8, len(mark.numbers)))
    if isinstance(mark, Overlay):
        return 380
    if isinstance(mark, Space):
        return 560
    if isinstance(mark, Bars):
        return 120 + 24 * min(40, max(8, mark.numbers.size))
    return max(80, 20 * len(mark.lines)) if isinstance(mark, Note) else 340


def _side(axis: Axis, n: int, which: str) -> tuple[list[Any], dict[str, Any]]:
    """Coordinates along a side of a matrix, and the options of its axis."""
    title = {"title_text": axis.title} if axis.title else {}
    if axis.tokens:
        at, named = plots.token_axis(axis.names(n), which)
        return at, named | title
    at = list(range(n))
    named = {"showgrid": False, "zeroline": False, **title}
    if axis.labels is not None or n <= PLACES:
        named |= {"tickvals": at, "ticktext": [plots.said(x) for x in axis.names(n)]}
    return at, named | ({"autorange": "reversed"} if which == "y" else {"side": "top"})


def _matrix(figure: Any, mark: Matrix, theme: str, where: dict[str, int]) -> None:
    values = mark.numbers[: plots.LONGEST, : plots.LONGEST]
    rows, columns = values.shape
    (x, across), (y, down) = _side(mark.columns, columns, "x"), _side(mark.rows, rows, "y")
    scale = plots.colour_scale(
        "diverging" if mark.signed else "sequential", theme, power=1 / mark.power
    )
    end = mark.limit
    colours: dict[str, Any] = dict(
        colorscale=scale, zmin=-end if mark.signed else 0, zmax=end, reversescale=mark.flipped
    )
    shown = "%{customdata}" if mark.says is not None else f"%{{z:{'+' if mark.signed else ''}.4f}}"
    names = [axis.title.split(" ")[0] for axis in (mark.rows, mark.columns)]
    place = ", ".join(
        f"{name} “%{{{side}}}”" if axis.tokens else f"{name} %{{{side}}}"
        for name, axis, side in zip(names, (mark.rows, mark.columns), "yx", strict=True)
    ).strip()
    extra = {} if mark.says is None else {"customdata": np.asarray(mark.says, dtype=object)}
    if mark.text is not None:
        words = [[plots.said(str(x)) for x in line] for line in mark.text]
        extra |= dict(text=words, texttemplate="%{text}", textfont=dict(family=plots.CODE, size=11))
    row, column = where["row"], where["col"]
    domain = figure.get_subplot(row, column)
    high, wide = domain.yaxis.domain, domain.xaxis.domain
    bar = dict(
        title=dict(text=plots.said(mark.means), side="right", font=dict(size=12)),
        thickness=12,
        outlinewidth=0,
        len=high[1] - high[0],
        y=sum(high) / 2,
        x=wide[1] + 0.005,
    )
    figure.add_trace(
        plots.heat(
            values,
            x,
            y,
            f"{place}: {shown}",
            mark.name,
            showscale=bool(mark.means),
            colorbar=bar if mark.means else None,
            **colours,
            **extra,
        ),
        **where,
    )
    if mark.beside is not None:
        at = plots.apart(across, columns, mark.beside_name)
        own = np.asarray(mark.beside, dtype=np.float32)[:rows, None]
        figure.add_trace(
            plots.heat(
                own,
                [at],
                y,
                f"{names[0]} “%{{y}}”, {mark.beside_name}: %{{z:.4f}}",
                mark.name,
                showscale=False,
                **colours,
            ),
            **where,
        )
    if mark.bare:
        across["showticklabels"] = down["showticklabels"] = False
        for side in (across, down):
            side.pop("title_text", None)
    figure.update_xaxes(**across, **where)
    figure.update_yaxes(**down, **where)
    if mark.square:
        anchor = figure.get_subplot(row, column).xaxis.plotly_name.replace("axis", "")
        figure.update_xaxes(constrain="domain", **where)
        figure.update_yaxes(scaleanchor=anchor, constrain="domain", **where)
    if mark.chosen is not None and max(rows, columns) <= plots.LONGEST:
        r, c = mark.chosen
        left, w = (-0.5, columns) if c is None else (c - 0.5, 1)
        top, h = (-0.5, rows) if r is None else (r - 0.5, 1)
        figure.add_shape(plots.outline(left, top, w, h, theme), **where)


def _bars(figure: Any, mark: Bars, theme: str, where: dict[str, int]) -> None:
    values = mark.numbers
    groups, rows = values.shape
    colours = [plots.ink(name, theme) for name in mark.colours] or list(plots.heads_of(theme))
    chosen, other = plots.ink("accent", theme), plots.heads_of(theme)[0]
    for group in range(groups):
        marker: dict[str, Any] = dict(color=colours[group % len(colours)])
        if mark.chosen:
            marker = dict(color=[chosen if i in mark.chosen else other for i in range(rows)])
        hover, extra = "%{x:.4f}", {}
        if mark.shades is not None:
            shades = np.atleast_2d(np.asarray(mark.shades, dtype=float))[group].tolist()
            marker: dict[str, Any] = dict(color=shades, cmin=-1, cmax=1)
            marker |= dict(colorscale=plots.colour_scale("diverging", theme))
            marker |= dict(line=dict(color=plots.ink("quiet", theme), width=1))
            extra, hover = {"text": shades}, f"%{{x:.4f}}, {mark.shade} %{{text:+.3f}}"
        elif mark.text is not None:
            extra = {"text": list(np.atleast_2d(np.asarray(mark.text, dtype=object))[group])}
            hover = "%{x:.4f} (%{text})"
        figure.add_trace(
            plots.bars(
                values[group],
                mark.rows.names(rows),
                hover,
                name=mark.groups[group] or None,
                marker=marker,
                showlegend=groups > 1 and mark.shades is None,
                textposition="none",
                **extra,
            ),
            **where,
        )
    plots.name_rows(figure, mark.rows.names(rows), **where)
    figure.update_xaxes(title_text=mark.means, **where)
    if mark.rows.title:
        figure.update_yaxes(title_text=mark.rows.title, **where)


def _curves(figure: Any, mark: Curves, theme: str, where: dict[str, int]) -> None:
    colours = plots.heads_of(theme)
    for i, curve in enumerate(mark.curves):
        nth = i if curve.nth is None else curve.nth
        colour = plots.ink(curve.colour, theme) if curve.colour else colours[nth % len(colours)]
        x, y = np.asarray(curve.x).tolist(), np.asarray(curve.y).tolist()
        if curve.band is not None:
            for bound, fill in zip(curve.band, (None, "tonexty"), strict=True):
                figure.add_scatter(
                    x=x,
                    y=np.asarray(bound).tolist(),
                    mode="lines",
                    line_width=0,
                    fill=fill,
                    fillcolor=colour,
                    opacity=0.2,
                    hoverinfo="skip",
                    showlegend=False,
                    **where,
                )
        names = {} if mark.x_says is None else {"customdata": list(mark.x_says)}
        what = "%{customdata}" if names else f"{mark.x.title} %{{x}}"
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines+markers" if curve.points else "lines",
            name=plots.said(curve.name) or None,
            legendgroup=plots.said(curve.group) or None,
            opacity=0.55 if curve.faint else 1.0,
            line=dict(
                color=colour,
                width=2.8 if curve.strong else 1.0 if curve.faint else 1.4,
                shape="hvh" if curve.steps else "linear",
            ),
            fill="tozeroy" if curve.filled else None,
            showlegend=mark.legend and not curve.faint,
            visible="legendonly" if curve.hidden else True,
            hovertemplate=f"{what}: %{{y:.4f}}",
            **names,
            **where,
        )
    if mark.at is not None:
        figure.add_vline(x=mark.at, line=dict(color=plots.ink("accent", theme), width=1), **where)
    figure.update_xaxes(title_text=mark.x.title, **where)
    figure.update_yaxes(title_text=mark.y.title, **where)
    if mark.x_range is not None:
        figure.update_xaxes(range=list(mark.x_range), **where)


def _strips(figure: Any, mark: Strips, theme: str, where: dict[str, int]) -> None:
    _curves(figure, Curves(mark.curves, Axis("number"), legend=True), theme, where)


def _waterfall(figure: Any, mark: Waterfall, theme: str, where: dict[str, int]) -> None:
    values = np.asarray(mark.values, dtype=float).tolist()
    scale = plots.colour_scale("diverging", theme)
    figure.add_waterfall(
        x=[*(f"{x}" for x in mark.parts.names(len(values))), mark.total],
        y=[*values, 0.0],
        measure=[*["relative"] * len(values), "total"],
        connector_visible=False,
        increasing_marker_color=scale[43][1],
        decreasing_marker_color=scale[8][1],
        totals_marker_color=plots.ink("ink", theme),
        showlegend=False,
        hovertemplate="%{x}: %{delta:+.4f}, sum so far %{final:.4f}<extra></extra>",
        **where,
    )
    figure.update_xaxes(title_text=f"{mark.parts.title}; then the {mark.total}", **where)


def _points(figure: Any, mark: Points, theme: str, where: dict[str, int]) -> None:
    places = np.asarray(mark.places, dtype=float)
    sizes = np.asarray(mark.sizes, dtype=float)
    says = mark.sizes_mean if mark.shades is None else mark.shades_mean
    shades = sizes if mark.shades is None else np.asarray(mark.shades, dtype=float)
    symbols = ("diamond", "circle", "triangle-up", "square") if mark.groups else ("circle",)
    for i, (symbol, (name, at)) in enumerate(zip(symbols, mark.parts.items(), strict=False)):
        figure.add_scatter(
            x=places[at, 0],
            y=places[at, 1],
            mode="markers+text",
            textposition="top center",
            text=[plots.said(str(mark.names[j])) for j in at],
            customdata=shades[at],
            name=name,
            showlegend=bool(name),
            marker=dict(
                color=plots.heads_of(theme)[i], size=8 + 26 * np.sqrt(sizes[at]), symbol=symbol
            ),
            hovertemplate=f"%{{text}}: (%{{x}}, %{{y}}), {says} %{{customdata:.4f}}<extra></extra>",
            **where,
        )
    if mark.special is not None:
        x, y = mark.special
        figure.add_scatter(
            x=[x],
            y=[y],
            mode="markers",
            name=mark.special_name,
            showlegend=False,
            marker=dict(color=plots.ink("accent", theme), size=14, symbol="diamond"),
            hovertemplate=f"{mark.special_name} (%{{x:.4f}}, %{{y:.4f}})<extra></extra>",
            **where,
        )


def _overlay(figure: Any, mark: Overlay, theme: str, where: dict[str, int]) -> None:
    picture, weights = np.asarray(mark.picture), np.asarray(mark.weights, dtype=np.float32)
    (left, right, bottom, top), box = mark.boxes
    if picture.ndim == 3:
        where_: dict[str, Any] = dict(source=_address(picture), xref="x", yref="y", x=left, y=top)
        where_ |= dict(layer="below", sizex=right - left, sizey=bottom - top, sizing="stretch")
        figure.add_layout_image(**where_, **where)
    else:
        rows, columns = picture.shape
        x, y = _middles(left, right, columns), _middles(bottom, top, rows)
        hover = f"%{{x:.2f}} {mark.unit[:1]}, band %{{y}}: %{{z:.2f}}"
        sound: dict[str, Any] = dict(colorscale=[[0.0, "black"], [1.0, "white"]], showscale=False)
        figure.add_trace(plots.heat(picture, x, y, hover, mark.picture_name, **sound), **where)
    (left, right, bottom, top), (rows, columns) = box, weights.shape
    colours = plots.colour_scale("sequential", "dark", power=2.0, clear=True)
    says = [[plots.said(str(x)) for x in row] for row in np.asarray(mark.says, dtype=object)]
    y = [min(bottom, top), max(bottom, top)] if rows == 1 else _middles(top, bottom, rows)
    subplot = figure.get_subplot(where["row"], where["col"])
    high, wide = subplot.yaxis.domain, subplot.xaxis.domain
    bar = dict(
        title=dict(text="attention weight", side="right"),
        thickness=14,
        x=wide[1] + 0.005,
        len=high[1] - high[0],
        y=sum(high) / 2,
    )
    figure.add_trace(
        plots.heat(
            weights,
            _middles(left, right, columns),
            y,
            "%{customdata}: %{z:.4f}",
            mark.name,
            opacity=OVER * mark.fade,
            zmin=0,
            zmax=float(weights.max()) or 1.0,
            colorscale=colours,
            colorbar=bar,
            customdata=says,
        ),
        **where,
    )
    edges: dict[str, Any] = dict(showgrid=False, zeroline=False)
    names = dict(tickvals=[at for at, _ in mark.y], ticktext=[name for _, name in mark.y])
    figure.update_xaxes(**edges, showticklabels=bool(mark.unit), title_text=mark.unit, **where)
    figure.update_yaxes(**edges, **names, **where)
    if mark.unit:
        figure.update_xaxes(range=list(mark.x_range or (left, right)), **where)
    else:
        figure.update_xaxes(constrain="domain", **where)
        figure.update_yaxes(autorange="reversed", scaleanchor="x", **where)
    if mark.framed is not None:
        left, right, bottom, top = mark.framed
        shape = plots.outline(left, top, right - left, bottom - top, theme)
        figure.add_shape(shape, **where)


def _middles(first: float, last: float, n: int) -> list[float]:
    return np.round(first + (np.arange(n) + 0.5) * (last - first) / n, 9).tolist()


def _address(picture: np.ndarray) -> str:
    """A picture [row, column, 3] as a data URL."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _space(figure: Any, mark: Space, theme: str, where: dict[str, int]) -> None:
    places = np.asarray(mark.places, dtype=float)
    says, names = (
        np.array([plots.said(x).replace("\n", "<br>") for x in side], dtype=object)
        for side in (mark.says, mark.names)
    )
    mode = "markers+text" if len(places) <= NAMED else "markers"
    accent, quiet = plots.ink("accent", theme), plots.ink("quiet", theme)
    for i, group in enumerate(mark.categories or [""]):
        colour: Any = plots.heads_of(theme)[i % 16]
        members = [j for j, x in enumerate(mark.colours) if not group or x == group]
        marker: dict[str, Any] = dict(color=colour)
        if not group:
            bar = dict(
                title=dict(text=mark.colours_mean, side="right"), thickness=14, outlinewidth=0
            )
            scale = plots.colour_scale("viridis", theme)
            marker = dict(color=list(mark.colours), colorbar=bar, colorscale=scale)
        x, y, z = places[members].T.tolist()
        figure.add_scatter3d(
            x=x,
            y=y,
            z=z,
            mode=mode,
            name=plots.said(group),
            text=names[members].tolist(),
            customdata=says[members].tolist(),
            marker={"size": 3 if len(places) > 200 else 5, **marker},
            textfont=dict(size=11),
            hovertemplate="%{customdata}<extra></extra>",
            showlegend=bool(group),
            legendgroup=plots.said(group),
            **where,
        )
        for point in members if mark.paths is not None else ():
            x, y, z = np.asarray(mark.paths, dtype=float)[:, point].T.tolist()
            chosen = point == mark.chosen
            line = dict(
                width=6 if chosen else 2, color=accent if chosen else colour if group else quiet
            )
            figure.add_scatter3d(
                x=x,
                y=y,
                z=z,
                mode="lines",
                name=names[point],
                line=line,
                showlegend=False,
                legendgroup=plots.said(group),
                opacity=1 if chosen else 0.55,
                customdata=list(mark.steps),
                hovertemplate="%{fullData.name}, %{customdata}<extra></extra>",
                **where,
            )
    if mark.chosen is not None:
        x, y, z = ([v] for v in places[mark.chosen].tolist())
        ring = dict(size=9, color=accent, symbol="circle-open", line=dict(width=3))
        figure.add_scatter3d(
            x=x,
            y=y,
            z=z,
            mode="markers+text",
            name="chosen",
            showlegend=False,
            marker=ring,
            text=[names[mark.chosen]],
            textposition="top center",
            customdata=[says[mark.chosen]],
            hovertemplate="%{customdata}<extra></extra>",
            **where,
        )
    titles = {f"{axis}axis_title_text": name for axis, name in zip("xyz", mark.axes, strict=True)}
    figure.update_scenes(**titles, aspectmode="cube", **where)
    legend = dict(title=dict(text=plots.said(mark.colours_mean)), itemsizing="constant")
    figure.update_layout(legend=legend)


def _note(figure: Any, mark: Note, theme: str, where: dict[str, int]) -> None:
    text = "<br>".join(plots.said(line) for line in mark.lines)
    style: dict[str, Any] = dict(x=[0], y=[0], mode="text", text=[text])
    style |= dict(textposition="middle center", hoverinfo="skip", showlegend=False)
    figure.add_scatter(**style, **where)
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(visible=False, **where)


MARKS = {
    "matrix": _matrix,
    "overlay": _overlay,
    "bars": _bars,
    "curves": _curves,
    "strips": _strips,
    "waterfall": _waterfall,
    "points": _points,
    "space": _space,
    "note": _note,
}
