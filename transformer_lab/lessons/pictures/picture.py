"""A figure with alt text and caption, shown as two vector images, one for each theme of the page."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transformer_lab.lessons.cards import prose
from transformer_lab.lessons.pictures.numbers import spelt
from transformer_lab.lessons.pictures.themes import DARK, LIGHT, Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox


STYLE = (
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
    """A figure with its alt text and caption.

    Args:
        draw: returns a matplotlib Figure in the colours of a theme.
        alt: the text for screen readers, and for places that cannot show images.
        caption: the finding in one sentence, shown below the figure.
    """

    draw: Callable[[Theme], Figure]
    alt: str
    caption: str = ""

    def figure(self, theme: Theme = LIGHT) -> Figure:
        """The figure as a matplotlib Figure."""
        import matplotlib as mpl

        plain: Any = {"text.parse_math": False, "font.family": "DejaVu Sans"}
        with mpl.rc_context(plain):
            return self.draw(theme)

    def svg(self, theme: Theme = LIGHT) -> str:
        """The figure as an SVG document, in the fonts of the viewer's system."""
        figure = self.figure(theme)
        return _svg(figure, theme, _box(figure))

    def svg_of_both(self) -> str:
        """One SVG document for a file, which takes the light or dark colours of the surrounding
        page."""
        return joined(self.svg(LIGHT), self.svg(DARK))

    def png(self, theme: Theme = LIGHT) -> bytes:
        figure = self.figure(theme)
        return _saved(figure, theme, "png", _box(figure))

    def _image(self, theme: Theme, svg: str) -> str:
        data = base64.b64encode(svg.encode("utf-8")).decode("ascii")
        hidden = ' style="display:none"' if theme is DARK else ""
        return (
            f'<img class="tl-{theme.name}"{hidden} alt="{html.escape(self.alt)}" '
            f'src="data:image/svg+xml;base64,{data}">'
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        words = "var(--jp-ui-font-family, system-ui, sans-serif)"
        caption = (
            f'<figcaption style="font-family:{words};font-size:13px;line-height:20px;'
            "max-width:80ch;margin-top:4px;color:var(--jp-content-font-color1, inherit)"
            f'">{prose(spelt(self.caption))}</figcaption>'
            if self.caption
            else ""
        )
        # Drawing is slow, so each theme is drawn once. All three images are cropped alike.
        figure = self.figure(LIGHT)
        box = _box(figure)
        light = self._image(LIGHT, _svg(figure, LIGHT, box))
        dark = self._image(DARK, _svg(self.figure(DARK), DARK, box))
        page = (
            f'{STYLE}<figure class="tl-picture" style="margin:4px 0 8px 0">'
            f"{light}{dark}{caption}</figure>"
        )
        return {
            "text/html": page,
            "image/png": base64.b64encode(_saved(figure, LIGHT, "png", box)).decode("ascii"),
            "text/plain": f"[picture: {self.alt}] {spelt(self.caption)}".strip(),
        }

    def __repr__(self) -> str:
        return f"[picture: {self.alt}]"


def _box(figure: Figure) -> Bbox:
    """The part of a figure that is not empty, with a margin, in inches."""
    figure.set_dpi(144)  # at 100, monospaced letters are measured 4% narrower than they are drawn
    return figure.get_tightbbox().padded(0.04)


def _saved(figure: Figure, theme: Theme, kind: str, box: Bbox) -> bytes:
    import matplotlib as mpl

    stream = io.BytesIO()
    options: dict[str, Any] = {"metadata": {"Date": None}} if kind == "svg" else {"dpi": 144}
    for axes in figure.axes:  # normally part of finding the box, which was given here
        axes.apply_aspect()
    # Text stays text, so that the page's own fonts are used and the file stays small.
    plain: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "transformer-lab",
        "text.parse_math": False,
    }
    with mpl.rc_context(plain):
        figure.savefig(stream, format=kind, bbox_inches=box, facecolor=theme.page, **options)
    return stream.getvalue()


def _svg(figure: Figure, theme: Theme, box: Bbox) -> str:
    text = _saved(figure, theme, "svg", box).decode("utf-8")
    words = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
    mono = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
    text = text.replace("'DejaVu Sans Mono'", "@MONO@").replace("'DejaVu Sans'", words)
    return text.replace("@MONO@", mono)


_CHOICE = (
    ".tl-dark{display:none}"
    "@media (prefers-color-scheme:dark){.tl-light{display:none}.tl-dark{display:inline}}"
)


def joined(light: str, dark: str) -> str:
    """Join two SVG documents of the same size in one, which shows the one for the page's theme."""
    dark = re.sub(r'(id="|xlink:href="#|url\(#)', r"\1dark-", dark)  # ids must be unique
    start, inside = _opened(light)
    groups = "".join(
        f'<g class="tl-{name}">{text}</g>'
        for name, text in (("light", inside), ("dark", _opened(dark)[1]))
    )
    return f'{start}<style type="text/css">{_CHOICE}</style>{groups}</svg>\n'


def _opened(svg: str) -> tuple[str, str]:
    """The start of a document up to its first tag, and the content of that tag."""
    match = re.match(r"(.*?<svg\b[^>]*>)(.*)</svg>\s*$", svg, re.S)
    assert match, "matplotlib writes one <svg>"
    return match[1], match[2]
