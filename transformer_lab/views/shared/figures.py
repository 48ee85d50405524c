"""Shared parts of still images: a blank figure, text, frames."""

from __future__ import annotations

import io
import textwrap
import warnings
from typing import TYPE_CHECKING

from .colours import ACCENT, INK, PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_DPI = 110
MONO = ["DejaVu Sans Mono", "monospace"]


def blank(width: float, height: float) -> Figure:
    """A figure without a window and outside pyplot; sizes in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def png_of(figure: Figure, kind: str = "png") -> bytes:
    """A figure as PNG, or in another format of matplotlib."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # a script that the font lacks shows as boxes
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format=kind, dpi=PNG_DPI)
    return buffer.getvalue()


def write(target, x: float, y: float, text: str, *, size: float, **style) -> None:
    """Write text that is never parsed as a formula."""
    style = {"color": INK, "va": "top", "parse_math": False, **style}
    target.text(x, y, text, fontsize=size, **style)


def shortened(sentence: str, lines: int) -> str:
    """Wrap a sentence to `lines` lines and one more, which ends in … if words are left out."""
    lines_of_text = textwrap.wrap(sentence, 118)
    rest = textwrap.shorten(" ".join(lines_of_text[lines:]), 116, placeholder=" …")
    return "\n".join([*lines_of_text[:lines], rest]).strip()


def frame(
    x: float,
    y: float,
    width: float,
    height: float,
    line: float = 2,
    colour: str = ACCENT,
    *,
    clip: bool = False,
):
    """The frame around a selection; clip: cut it off at the edge of the axes."""
    from matplotlib.patches import Rectangle

    return Rectangle(
        (x, y), width, height, fill=False, edgecolor=colour, linewidth=line, clip_on=clip, zorder=5
    )
