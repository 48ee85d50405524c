"""The page of a report: the finding, its model and inputs, and the Python code; HTML without
scripts.
"""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...tracing.provenance import code
from . import kinds

MOST_CELLS = 2000  # of a map that is shown as a table; a larger one is an image
MOST_ROWS = 24
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_STYLE = """
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 22px; margin: 0 0 6px; } h2 { font-size: 16px; margin: 30px 0 8px; }
p { margin: 0 0 12px; max-width: 78ch; } .quiet, caption, dt, th { color: var(--quiet); }
.wide { overflow-x: auto; } .wide:focus-visible, pre:focus-visible { outline: 2px solid var(--accent); }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 6px; } th { font-weight: 500; padding: 3px 7px; text-align: right; }
thead th { text-align: center; vertical-align: bottom; }
td { padding: 3px 7px; text-align: right; border-bottom: 1px solid var(--line); }
.maps { display: flex; flex-wrap: wrap; gap: 0 44px; } .maps section { min-width: 0; max-width: 100%; }
.rows td, .rows th { text-align: left; white-space: nowrap; }
.map td { border: 1px solid var(--paper); min-width: 34px; background: var(--l); color: var(--li); }
.map td.none { background: var(--panel); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0; }
dd { margin: 0; overflow-wrap: anywhere; } .text { white-space: pre-wrap; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: 12px 14px;
  overflow-x: auto; font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; margin: 0; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .92em; }
img { max-width: 100%; }
@media (max-width: 640px) { dl { grid-template-columns: 1fr; } dd { margin-bottom: 8px; } }
@media (prefers-color-scheme: dark) { .map td { background: var(--d); color: var(--di); } }
"""


def page_of(finding: Any, report: Mapping[str, Any], file: str) -> Iterator[str]:
    """Yield the pieces of the page.

    Args:
        report: the content of the report's JSON file; `file`: that file's name, to reproduce it.
    """
    title = f"{report['function']} of {report['model']['name']}"
    yield (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_(title)}</title>\n<style>{_colours()}{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{_(title)}</h1>\n<p>{_(report['sentence'])}</p>\n"
    )
    yield from _maps(finding)
    yield _table(*kinds.rows_of(finding))
    yield _about(report)
    yield (
        f"<h2>Reproduce it</h2>\n<p><code>transformer-lab report {_(file)}</code> computes it again and "
        f'reports what differs. In Python:</p>\n<pre tabindex="0" aria-label="Python">{_(report["python"])}</pre>\n'
        "</main>\n</body>\n</html>\n"
    )


def _maps(finding: Any) -> Iterator[str]:
    panels = kinds.panels_of(finding)
    if sum(int(np.asarray(numbers).size) for _, numbers, *_ in panels) > MOST_CELLS:
        from ...views.marks.draw_matplotlib import figure_of
        from ...views.marks.scene import scene_of_maps
        from ...views.shared.figures import png_of

        png = png_of(figure_of(scene_of_maps(panels, "")))
        data = base64.b64encode(png).decode("ascii")
        alt = _(", ".join(title for title, *_ in panels))
        yield f'<h2>Maps</h2>\n<img alt="{alt}" src="data:image/png;base64,{data}">\n'
        return
    yield '<div class="maps">\n'
    for title, numbers, marked, axes, labels in panels:
        yield _map(title, np.asarray(numbers, float), np.asarray(marked), axes, labels)
    yield "</div>\n"


def _map(title: str, numbers: Any, marked: Any, axes: Any, labels: Mapping[str, Any]) -> str:
    known = np.abs(numbers[np.isfinite(numbers)])
    end = float(known.max()) if known.size else 0.0
    heads = "".join(f'<th scope="col">{_(name)}</th>' for name in labels[axes[1]])
    lines = "".join(
        f'<tr><th scope="row">{_(name)}</th>'
        + "".join(_cell(value, end, mark) for value, mark in zip(row, marks, strict=True))
        + "</tr>\n"
        for name, row, marks in zip(labels[axes[0]], numbers, marked, strict=True)
    )
    sides = f"rows: {axes[0]}, columns: {axes[1]}" if axes[0] else f"columns: {axes[1]}"
    some = (
        ""
        if not marked.any()
        else ("; ≈ an estimate" if "mean" not in title else "; ≈ the interval contains 0")
    )
    return (
        f"<section><h2>{_(title)}</h2>\n"
        f'<div class="wide" tabindex="0" role="region" aria-label="{_(title)}">'
        f'<table class="map"><caption>{_(sides + some)}</caption><thead><tr><td class="none"></td>{heads}'
        f"</tr></thead><tbody>\n{lines}</tbody></table></div></section>\n"
    )


def _cell(value: float, end: float, mark: bool) -> str:
    if not math.isfinite(value):
        return '<td class="none"></td>'
    at = round(127.5 + 127.5 * (value / end if end else 0.0))
    light, dark = (_shade(theme, at) for theme in ("light", "dark"))
    style = f"--l:{light};--li:{_ink(light)};--d:{dark};--di:{_ink(dark)}"
    return f'<td style="{style}">{"≈ " * bool(mark)}{_short(value)}</td>'


def _table(columns: list[str], rows: list[list[Any]]) -> str:
    heads = "".join(f'<th scope="col">{_(name)}</th>' for name in columns)
    lines = "".join(
        f"<tr>{''.join(f'<td>{_(_told(value))}</td>' for value in row)}</tr>\n"
        for row in rows[:MOST_ROWS]
    )
    more = f"; {len(rows) - MOST_ROWS} more are in the JSON" if len(rows) > MOST_ROWS else ""
    return (
        '<h2>In numbers</h2>\n<div class="wide" tabindex="0" role="region" aria-label="In numbers">'
        f'<table class="rows"><caption>The largest first{more}</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>\n{lines}</tbody></table></div>\n"
    )


def _about(report: Mapping[str, Any]) -> str:
    model = report["model"]
    entries = [
        ("Model", f"{model['name']} ({model['class']})"),
        ("Loaded from", model["loaded_from"] or "memory, not from a file"),
        ("Revision", model["revision"] or "not known; the checksum of the weights identifies it"),
        ("Weights", f"sha256 {model['weights']}"),
        ("Random weights", ", ".join(model["random_weights"])),
        *((name.capitalize(), _text(value)) for name, value in report["texts"].items()),
        ("Metric", report["metric"]),
        (
            "Seeds",
            ", ".join(f"{n} {v}" for n, v in report["seeds"].items())
            or "no random numbers were drawn",
        ),
        ("Versions", ", ".join(f"{name} {value}" for name, value in report["versions"].items())),
    ]
    lines = "".join(
        f'<dt>{_(name)}</dt><dd class="text">{_(value)}</dd>\n' for name, value in entries if value
    )
    return f"<h2>Model and input</h2>\n<dl>\n{lines}</dl>\n"


def _text(value: Any) -> str:
    """Show a text as it is; of a list of prompts, their number and the first."""
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        first = json.dumps(value[0].get("table", value[0]), ensure_ascii=False)
        return f"{len(value)} prompts; the first: {first}"
    return value if isinstance(value, str) else code(value)


def _colours() -> str:
    from ...views.shared.colours import palette

    light, dark = (
        "".join(f"--{name}:{value};" for name, value in palette()[theme].items())
        for theme in ("light", "dark")
    )
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
    )


def _shade(theme: str, at: int) -> str:
    from ...views.shared.colours import palette

    digits = "".join(palette()["tables"][f"diverging_{theme}"])
    return f"#{digits[6 * at : 6 * at + 6]}"


def _ink(colour: str) -> str:
    """Black or white, whichever is easier to read on a colour: one always has enough contrast.
    Source: WCAG 2.2.
    """
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else "white"


def _short(value: float) -> str:
    return f"{value:.2g}".replace("-", "−")


def _told(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.4g}".replace("-", "−") if isinstance(value, float) else str(value)


def _(text: Any) -> str:
    return html.escape(str(text), quote=True)
