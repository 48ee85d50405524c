"""Shared parts of plotly figures: our colours as templates, heatmaps of weights, names on axes.

Importing plotly takes a while, so views import this module only when a figure is requested.
"""

from __future__ import annotations

import base64
import html
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
from plotly.subplots import make_subplots

from ..pages.export import PLOTLY_MIME
from .colours import head_colours, palette
from .figures import png_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 60  # up to so many tokens, each is named on an axis
LONGEST = 1024  # tokens of a pattern that are drawn
THEMES = ("light", "dark")
WORDS = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, sans-serif"
CODE = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"


class Plot(go.Figure):
    """A plotly figure, with a still image of the same numbers for places without scripts.

    Args:
        title, sentence: the text above it.
        theme: "light" or "dark": selects the template, `transformer_lab` or
            `transformer_lab_dark`.
        space: pixels between that text and the panels, for names on top of a pattern.
        still: draws the same with matplotlib, for notebooks.

    Raises:
        ValueError: for an unknown theme.
    """

    def __init__(
        self,
        *args: Any,
        title: str = "",
        sentence: str = "",
        theme: str = "",
        space: int = 0,
        still: Callable[[], Figure] | None = None,
        **options: Any,
    ):
        super().__init__(*args, **options)
        self._still, self._alt = still, ". ".join(filter(None, (title, sentence)))
        if theme:
            words = heading(title, sentence)
            self.update_layout(
                template=template_of(theme),
                title_text=words,
                margin_t=78 + space + 18 * words.count("<br>"),
            )

    # plotly's own method uses the first renderer; without it, IPython requests the bundle below.
    _ipython_display_: Any = None
    # If the bundle has no HTML, plotly's method adds some, which loads a script from the network.
    _repr_html_: Any = None

    def update_layout(self, *args: Any, **kwargs: Any) -> Plot:  # type: ignore[override]
        super().update_layout(*args, **kwargs)
        return self

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None, validate: bool = True, **kwargs: Any
    ) -> Any:
        # "notebook" would put all of plotly.js into the notebook, "…_connected" use the network.
        kept = [
            n for n in str(pio.renderers.default or "").split("+") if not n.startswith("notebook")
        ]
        kept = [name for name in kept if name] or ["plotly_mimetype"]
        if kept != ["plotly_mimetype"]:  # the user chose another renderer
            return super()._repr_mimebundle_(include, exclude, validate, **kwargs)
        shown = self.to_plotly_json()
        # Not responsive: JupyterLab itself resizes the figure, and a responsive one would take the
        # height of its container, which has the height of the figure: none.
        shown["config"] = {"displaylogo": False}
        data: dict[str, Any] = {PLOTLY_MIME: plain_json(shown), "text/plain": repr(self)}
        if self._still is None:
            return data
        # Not as PNG: JupyterLab's plotly would show that, and the figure only on hover.
        data["image/jpeg"] = base64.b64encode(png_of(self._still(), "jpeg")).decode("ascii")
        return data, {"image/jpeg": {"alt": self._alt}}

    def __repr__(self) -> str:
        return f"<Plot: {self._alt}>" if self._alt else super().__repr__()


def plain_json(shown: Any) -> Any:
    """Convert a figure to plain JSON for a notebook: no arrays, and null for NaN."""
    import json

    return json.loads(str(pio.to_json(shown, validate=False)))


def panels(rows: int, columns: int, **options: Any) -> Any:
    """Subplots, to be filled and then passed to `Plot`."""
    return make_subplots(rows, columns, **options).update_annotations(font_size=13)


# -- words --------------------------------------------------------------------------------------


def said(text: str) -> str:
    """Escape text so that plotly does not read it as markup."""
    return html.escape(str(text), quote=False)


def heading(title: str, sentence: str = "", width: int = 110) -> str:
    lines = "<br>".join(said(line) for line in textwrap.wrap(sentence, width)[:3])
    shown = f"<b>{said(title)}</b>"
    return f'{shown}<br><span style="font-size:13px">{lines}</span>' if lines else shown


def token_axis(tokens: Sequence[str], side: str) -> tuple[list[Any], dict[str, Any]]:
    """The coordinates of tokens on an axis, and the axis' options. Equal tokens stay apart: in a
    short text each has a number as its coordinate; in a long one the number is part of the name."""
    if len(tokens) <= NAMED:
        at = list(range(len(tokens)))
        names = {"tickvals": at, "ticktext": [said(token) for token in tokens]}
    else:
        at, names = [f"{i} {said(token)}" for i, token in enumerate(tokens)], {"type": "category"}
    down = {"range": [len(tokens) - 0.5, -0.5]} if side == "y" else {"side": "top"}
    return at, {
        "tickfont": {"family": CODE, "size": 11},
        "showgrid": False,
        "zeroline": False,
        **names,
        **down,
    }


def apart(axis: dict[str, Any], n: int, name: str) -> Any:
    """Add a named column, set apart from the n of a `token_axis`; return its coordinate."""
    if "tickvals" not in axis:
        return f" {name}"
    at = n + 0.4
    axis["tickvals"], axis["ticktext"] = (
        [*axis["tickvals"], at],
        [*axis["ticktext"], f"<i>{name}</i>"],
    )
    return at


# -- colours ------------------------------------------------------------------------------------


def colour_scale(
    name: str, theme: str = "light", power: float = 1.0, clear: bool = False
) -> list[list[Any]]:
    """A colour table of palette.json, in plotly's format.

    Args:
        power: position on the scale = (position in the table) ** power; 2 gives small weights more
            of the colours, as in the views.
        clear: let the opacity grow with the position in the table.
    """
    template_of(theme)
    digits = "".join(palette()["tables"][name if name == "viridis" else f"{name}_{theme}"])
    colours = [bytes.fromhex(digits[i : i + 6]) for i in range(0, len(digits), 6)]

    def colour(at: int) -> str:
        r, g, b = colours[at]
        return f"rgba({r},{g},{b},{at / 255:.3f})" if clear else f"#{colours[at].hex()}"

    return [[(at / 255) ** power, colour(at)] for at in range(0, 256, 5)]


def heads_of(theme: str) -> tuple[str, ...]:
    template_of(theme)
    return head_colours()


# Text colour of the page that shows a figure: JupyterLab, VS Code, Colab, a page of ours; else ink.
_PAGE_INK = (
    "var(--jp-content-font-color1,var(--vscode-editor-foreground,"
    f"var(--colab-primary-text-color,var(--tl-page-ink,{palette()['light']['ink']}))))"
)
_EITHER = palette()["either"]
BOTH = _EITHER["mark"]


def follow_page(figure: Any) -> Plot:
    """Let a figure of the light theme follow the colours of the page that shows it, also when these
    change. plotly's colours cannot be CSS variables; the style of its text can."""
    start, end = f'<span style="color:{_PAGE_INK}">', "</span>"
    figure.update_layout(
        paper_bgcolor=_EITHER["clear"],
        plot_bgcolor=_EITHER["clear"],
        title_text=f"{start}{figure.layout.title.text}{end}",
        modebar=dict(bgcolor=_EITHER["clear"], color=BOTH, activecolor=ink("accent", "light")),
    )
    for trace in figure.data:
        trace.name = f"{start}{trace.name}{end}"
    faint = _EITHER["faint"]
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        axis.update(gridcolor=faint, linecolor=faint, zerolinecolor=faint, tickcolor=faint)
        axis.update(title_text=f"{start}{axis.title.text or ''}{end}")
        if axis.ticktext is None:
            axis.update(tickprefix=start, ticksuffix=end)
        else:
            axis.update(ticktext=[f"{start}{words}{end}" for words in axis.ticktext])
    return figure


def ink(name: str, theme: str) -> str:
    """A colour of the theme by its name in palette.json: "ink", "quiet", "accent" …"""
    template_of(theme)
    return palette()[theme][name]


def template_of(theme: str) -> str:
    if theme not in THEMES:
        raise ValueError(f"theme={theme!r} is not known; choose 'light' or 'dark'")
    return "transformer_lab" if theme == "light" else "transformer_lab_dark"


def _template(theme: str) -> go.layout.Template:
    colours = palette()[theme]
    axis: dict[str, Any] = dict(gridcolor=colours["line"], linecolor=colours["line"])
    axis |= dict(zerolinecolor=colours["line"], tickcolor=colours["line"], automargin=True)
    axis |= dict(title=dict(font=dict(color=colours["quiet"]), standoff=8))
    solid = dict(backgroundcolor=colours["panel"], showbackground=True, **axis)
    solid.pop("automargin")
    solid["title"] = dict(font=dict(color=colours["quiet"]))
    layout = dict(
        font=dict(family=WORDS, size=13, color=colours["ink"]),
        paper_bgcolor=colours["paper"],
        plot_bgcolor=colours["paper"],
        colorway=list(head_colours()),
        title=dict(
            x=0.01,
            xanchor="left",
            y=1,
            yref="container",
            yanchor="top",
            pad=dict(t=20),
            font=dict(size=15),
        ),
        colorscale=dict(
            sequential=colour_scale("sequential", theme), diverging=colour_scale("diverging", theme)
        ),
        xaxis=axis,
        yaxis=axis,
        scene=dict(xaxis=solid, yaxis=solid, zaxis=solid),
        coloraxis=dict(colorbar=dict(outlinewidth=0, thickness=14)),
        hoverlabel=dict(
            bgcolor=colours["panel"], bordercolor=colours["line"], font=dict(color=colours["ink"])
        ),
    )
    return go.layout.Template(layout=layout)


for _theme in THEMES:
    pio.templates[template_of(_theme)] = _template(_theme)


# -- marks --------------------------------------------------------------------------------------


def heat(
    values: Any, x: Sequence[Any], y: Sequence[Any], hover: str, name: str = "", **options: Any
) -> go.Heatmap:
    """A heatmap of numbers [row, column], NaN for empty cells. `hover` is a plotly template."""
    numbers = np.asarray(values, dtype=np.float32)
    return go.Heatmap(
        z=numbers,
        x=list(x),
        y=list(y),
        name=name,
        hoverongaps=False,
        hovertemplate=f"{hover}<extra>{said(name)}</extra>",
        **options,
    )


def outline(
    x: float, y: float, width: float, height: float, theme: str, **where: Any
) -> dict[str, Any]:
    """The frame around the selection, as a shape of a layout."""
    line = dict(color=ink("accent", theme), width=2)
    return dict(type="rect", x0=x, x1=x + width, y0=y, y1=y + height, line=line, **where)


def bars(values: Any, names: Sequence[str], hover: str = "%{x:.4f}", **options: Any) -> go.Bar:
    """Horizontal bars, the first on top; equal names stay apart (see `name_rows`)."""
    return go.Bar(
        x=[float(v) for v in values],
        y=list(range(len(names))),
        orientation="h",
        customdata=[said(n) for n in names],
        hovertemplate="%{customdata}: " + hover + "<extra></extra>",
        **options,
    )


def name_rows(figure: go.Figure, names: Sequence[str], **where: Any) -> None:
    """Name the rows of `bars`."""
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[said(n) for n in names],
        autorange="reversed",
        showgrid=False,
        tickfont={"family": CODE, "size": 12},
        **where,
    )
