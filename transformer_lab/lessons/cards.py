"""The small boxes that checks and claims show: HTML for people, plain text for everything else.

No JavaScript and no style sheet: every rule is inline, so that a card looks the same in JupyterLab,
VS Code, nbconvert and a printed page, and colours come from the page's own theme where it has one.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Mid tones: at least 3:1 against both white and near-black, so one value serves both themes. They
# colour only the mark and the rule at the left; words keep the page's own text colour.
TONES = {
    "good": "#2a9150",
    "bad": "#e0484d",
    "wait": "#b0741a",
    "info": "#3f80ea",
    "guess": "#8a63d2",
}
MARKS = {"good": "✓", "bad": "✗", "wait": "○", "info": "·", "guess": "?"}

_TEXT = "var(--jp-content-font-color1, var(--vscode-editor-foreground, inherit))"
_QUIET = "var(--jp-content-font-color2, var(--vscode-descriptionForeground, inherit))"
_LINE = "var(--jp-border-color2, var(--vscode-panel-border, #8888))"
_WORDS = "var(--jp-ui-font-family, system-ui, -apple-system, 'Segoe UI', sans-serif)"
_MONO = "var(--jp-code-font-family, ui-monospace, Menlo, Consolas, monospace)"


def variables() -> str:
    """The colours and fonts of cards for a style sheet, as `--tl-text` and so on."""
    names = {
        "text": _TEXT,
        "quiet": _QUIET,
        "line": _LINE,
        "words": _WORDS,
        "guess": TONES["guess"],
    }
    return " ".join(f"--tl-{name}: {value};" for name, value in names.items())


def prose(text: str) -> str:
    """HTML of a sentence: everything escaped, `` `code` `` in backticks set in monospace."""
    escaped = html.escape(text)
    return re.sub(
        r"`([^`\n]+)`", rf'<code style="font-family:{_MONO};font-size:.95em">\1</code>', escaped
    )


@dataclass(frozen=True)
class Card:
    """A box with a mark, a headline, some sentences and, where there is one, a block of code.

    Args:
        tone: "good", "bad", "wait", "info" or "guess".
        title: the headline, one short sentence.
        lines: further sentences; backticks set code.
        code: preformatted text below them, for instance what a function printed.
        aside: a short remark at the right of the headline.
        fields: named values below the headline: {"measured": "0.93", "bound": "at least 0.7"}.
        columns: texts side by side, by their headings; one below the other on a narrow page.
    """

    tone: str
    title: str
    lines: Sequence[str] = field(default=())
    code: str = ""
    aside: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)

    def html(self) -> str:
        tone = TONES[self.tone]
        aside = (
            f'<span style="margin-left:auto;padding-left:16px;color:{_QUIET};'
            f'font-variant-numeric:tabular-nums">{prose(self.aside)}</span>'
            if self.aside
            else ""
        )
        fields = "".join(
            f'<div style="flex:none;max-width:100%"><span style="color:{_QUIET}">'
            f"{html.escape(name)}</span> {prose(value)}</div>"
            for name, value in self.fields.items()
        )
        if fields:  # no <dl>: JupyterLab floats its terms over their values
            fields = (
                '<div style="display:flex;flex-wrap:wrap;gap:0 24px;margin:0 0 0 24px;'
                f'font-variant-numeric:tabular-nums">{fields}</div>'
            )
        columns = "".join(
            f'<div style="flex:1 1 240px;min-width:0;overflow-wrap:anywhere"><div style="color:{_QUIET}">'
            f"{html.escape(name)}</div>{prose(text)}</div>"
            for name, text in self.columns.items()
        )
        if columns:
            columns = f'<div style="display:flex;flex-wrap:wrap;gap:8px 24px;margin:4px 0 0 24px">{columns}</div>'
        lines = "".join(
            f'<div style="margin:4px 0 0 24px;color:{_TEXT};max-width:76ch">{prose(line)}</div>'
            for line in self.lines
        )
        code = (
            f'<pre style="margin:8px 0 0 24px;padding:4px 8px;border-left:1px solid {_LINE};'
            f"font-family:{_MONO};font-size:12px;color:{_QUIET};background:transparent;"
            f'white-space:pre-wrap;max-height:12em;overflow:auto">{html.escape(self.code)}</pre>'
            if self.code
            else ""
        )
        return (
            f'<div class="tl-card" role="status" style="border:1px solid {_LINE};border-left:4px solid {tone};'
            f"border-radius:4px;padding:8px 12px;margin:4px 0;font-family:{_WORDS};"
            f'font-size:13px;line-height:20px;color:{_TEXT};max-width:860px">'
            '<div style="display:flex;align-items:baseline">'
            f'<span aria-hidden="true" style="color:{tone};font-weight:700;flex:none;width:24px">'
            f"{MARKS[self.tone]}</span>"
            '<div style="display:flex;flex-wrap:wrap;flex:1;min-width:0">'
            f'<span style="font-weight:600;flex:0 1 auto;min-width:0">{prose(self.title)}</span>'
            f"{aside}</div></div>{fields}{columns}{lines}{code}</div>"
        )

    def text(self) -> str:
        head = f"{MARKS[self.tone]} {self.title}" + (f"  [{self.aside}]" if self.aside else "")
        body = ["  " + " · ".join(f"{name} {value}" for name, value in self.fields.items())]
        body = body[: bool(self.fields)] + [f"  {line}" for line in self.lines]
        body += [f"  {name}: {text}" for name, text in self.columns.items()]
        body += [f"  | {line}" for line in self.code.splitlines()]
        return "\n".join([head, *body])


class Shown:
    """Mixin for an object that a notebook shows as its card: define `card()`."""

    def card(self) -> Card:
        raise NotImplementedError

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        card = self.card()
        return {"text/html": card.html(), "text/plain": card.text()}

    def __repr__(self) -> str:
        return self.card().text()
