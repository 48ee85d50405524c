"""Self-contained pages of views, and notebooks whose views need neither kernel nor network.

Nothing here imports torch or ipywidgets: stock `jupyter nbconvert` loads this module through
`views.notebook_pass`.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ...files.paths import as_path
from ...files.text_files import write_text
from ..shared.colours import palette
from ..shared.modules import join_modules
from .commons import SHARED, Commons
from .script import plotly_script

VIEW_MIME = "application/vnd.jupyter.widget-view+json"
STATE_MIME = "application/vnd.jupyter.widget-state+json"
PLOTLY_MIME = "application/vnd.plotly.v1+json"
OURS = "transformer_lab.views."
MARK = "transformer_lab"  # key in an output's metadata: the name of the view it shows
FRAME_HEIGHT = 820
COMPRESS_FROM = 4096

# No host is allowed: the page cannot load, send or open anything.
NO_SCRIPT = "The picture needs JavaScript. In JupyterLab, press “Trust HTML” above it."
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)
# Shown if the page is cut off before its first script (whole.js), which removes it.
_CUT = (
    '<style>@media (scripting: enabled) { html::before { content: "This page is cut off: its end is '
    'missing, and without it nothing can be shown. Save it again, or copy it again." } }</style>\n'
)
_NOT_A_STATE = ("layout", "tabbable", "tooltip", "_dom_classes")


class Block(NamedTuple):
    """A part of a view that a page holds for later: its name, its description and its bytes."""

    name: str
    info: Mapping[str, Any]
    buffers: list[bytes]


def safe_json(value: Any) -> str:
    """JSON that cannot close a script element and is also valid JavaScript."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@cache
def _page_style() -> str:
    light, dark = (
        f"--tl-page: {palette()[theme]['paper']}; --tl-page-ink: {palette()[theme]['ink']};"
        for theme in ("light", "dark")
    )
    return f"""
:root {{ color-scheme: light dark; {light} }}
:root[data-theme="light"] {{ color-scheme: light; }}
:root[data-theme="dark"] {{ color-scheme: dark; {dark} }}
@media (prefers-color-scheme: dark) {{ :root:not([data-theme]) {{ {dark} }} }}
body {{ margin: 0; background: var(--tl-page); }}
#tl-root {{ max-width: 1400px; margin: 0 auto; }}
noscript, .tl-still {{ display: block; padding: 16px; font: 15px system-ui, sans-serif; }}
"""


@cache
def _script(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")


def page(
    state: Mapping[str, Any],
    buffers: Mapping[str, bytes | str],
    *,
    title: str,
    sentence: str = "",
    blocks: Iterable[Block] = (),
    absent: str = "this page does not hold it",
    theme: str | None = None,
) -> Iterator[str]:
    """The pieces of a page that shows a view: offline, self-contained, interactive.

    The view is drawn as soon as its first screen has been read; the blocks follow it.

    Args:
        state: the view's traits, without its bytes.
        buffers: trait name -> bytes, or their base64.
        sentence: for readers without JavaScript.
        absent: the message when something is requested that no block holds.
        theme: "light" or "dark"; None follows the reader's system.
    """
    encoded = {k: v if isinstance(v, str) else _base64(v) for k, v in buffers.items()}
    kept = {k: v for k, v in state.items() if k not in _NOT_A_STATE and k not in encoded}
    if "_live" in kept:  # a page has no kernel
        kept["_live"] = False
    payload = safe_json({"state": kept, "buffers": encoded, "absent": absent})
    view = _table(state.get("_how")).get("view")
    view = view if isinstance(view, str) else ""
    shown = html.escape(title)
    named = html.escape(" · ".join(filter(None, dict.fromkeys([title, view, "Transformer Lab"]))))
    attribute = f' data-theme="{theme}"' if theme in ("light", "dark") else ""
    yield (
        f'<!DOCTYPE html>\n<html lang="en"{attribute}>\n<head>\n{_CUT}<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<script>{_script('whole.js')}</script>\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{named}</title>\n<style>{_page_style()}</style>\n</head>\n<body>\n"
        '<main id="tl-root"></main>\n'
        f"<noscript>{shown}: {html.escape(sentence)} {NO_SCRIPT}</noscript>\n"
        f'<script type="application/json" data-sum="{zlib.crc32(payload.encode("ascii"))}" '
        f'id="tl-state">{payload}</script>\n'
        f"<script>{_script('page.js')}</script>\n"
    )
    for block in blocks:
        yield block_text(block)
    yield "<template data-end></template>\n</body>\n</html>\n"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def block_text(block: Block) -> str:
    """The HTML of a block in a page."""
    data = b"".join(block.buffers)
    packed = gzip.compress(data, 5, mtime=0) if len(data) >= COMPRESS_FROM else data
    pays = len(packed) < 0.9 * len(data)
    held = packed if pays else data
    info = json.dumps({"sizes": [len(b) for b in block.buffers], "info": block.info})
    checksum = zlib.crc32(held, zlib.crc32(info.encode("ascii")))
    # Browsers keep a template's text once, a script's a second time as its source.
    return (
        f'<template data-block="{html.escape(block.name, quote=True)}" '
        f'data-info="{html.escape(info, quote=True)}"{" data-gzip=1" if pays else ""} '
        f'data-sum="{checksum}">{_base64(held)}</template>\n'
    )


def write_page(path: str | os.PathLike, pieces: Iterable[str]) -> Path:
    """Write a page, whole or not at all.

    Raises:
        ValueError: if the folder does not exist or is not writable, or the path is a folder.
        NotReplacedError: if the path is a link, a pipe or a device.
        DiskFullError: if the disk is full; an existing page is untouched.
    """
    return write_text(path, pieces, such_as="heads.html")


# Gives frames plotly's script (gzipped, base64) from the page around them: it is an element of the
# page, or in a script file beside it, which sets a variable when it is loaded. Models and their
# engine are elements of the page, found by checksum.
_GIVER = (
    "(where) => window.transformerLabPlotly ??= new Promise((resolve) => {"
    'const here = document.getElementById("tl-plotly");'
    'if (here || !where || where === "here") return resolve(here?.textContent ?? "");'
    'const script = document.createElement("script");'
    "script.src = where;"
    'script.onload = () => resolve(window.transformerLabPlotlyText ?? "");'
    'script.onerror = () => resolve("");'
    "document.head.append(script); })"
)


def shared_here() -> str:
    """plotly's script as an HTML element of a page, for its frames."""
    return f'<script type="text/plain" id="tl-plotly">{_base64(plotly_script())}</script>'


def shared_script() -> str:
    """plotly's script as the text of a file beside pages, for their frames; see `live_views`."""
    return f'window.transformerLabPlotlyText="{_base64(plotly_script())}";\n'


# -- notebooks ---------------------------------------------------------------------------------


def frame(text: str, title: str, height: int = FRAME_HEIGHT, plotly: str = "") -> str:
    """HTML of a sandboxed frame that holds a page, grows to its height, and shares its selection
    with the other frames.

    Args:
        plotly: for a page that needs plotly's script but does not hold it: the address of the file
            with `shared_script`'s text, or "here" if the page around has `shared_here`'s element.
    """
    where = f' data-plotly="{html.escape(plotly, quote=True)}"' if plotly else ""
    return (
        f'<div class="tl-frame"{where}>'
        f'<iframe title="{html.escape(title, quote=True)}" sandbox="allow-scripts allow-downloads" '
        f'style="width:100%;height:{height}px;border:0" srcdoc="{html.escape(text, quote=True)}">'
        "</iframe><script>(() => {"
        'const frame = document.currentScript.parentElement.querySelector("iframe");'
        'addEventListener("message", (event) => {'
        "if (event.source !== frame.contentWindow) return;"
        'if (event.data?.transformerLabAsks === "plotly") {'
        f"({_GIVER})(frame.parentElement.dataset.plotly).then((text) => "
        'frame.contentWindow.postMessage({ transformerLabGives: "plotly", text }, "*")); return; }'
        "const asked = event.data?.transformerLabAsks;"
        f'if (typeof asked === "string" && asked.startsWith("{SHARED}")) {{'
        'const text = document.getElementById("tl-" + asked)?.textContent ?? "";'
        'frame.contentWindow.postMessage({ transformerLabGives: asked, text }, "*"); return; }'
        "const height = Number(event.data?.transformerLabHeight);"
        "if (height > 0)"
        'frame.style.height = Math.min(4000, Math.max(120, Math.ceil(height))) + "px";'
        "const transformerLabSelection = event.data?.transformerLabSelection;"
        "if (transformerLabSelection)"
        'for (const other of document.querySelectorAll(".tl-frame iframe"))'
        'if (other !== frame) other.contentWindow.postMessage({ transformerLabSelection }, "*");'
        "});})();</script></div>"
    )


def _table(value: Any, *names: str) -> dict[str, Any]:
    """A nested dict of a notebook, which any program may have written; {} if it is missing."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _states(notebook: Any) -> dict[str, Any]:
    return _table(notebook.metadata, "widgets", STATE_MIME, "state")


def _is_ours(model: Any) -> bool:
    return str(_table(model, "state").get("_anywidget_id", "")).startswith(OURS)


def _name_of(output: Any) -> str:
    """The id of the widget model that an output is a view of; "" if it is not a widget view."""
    name = _table(output["data"], VIEW_MIME).get("model_id")
    return name if isinstance(name, str) else ""


def _state_of(output: Any, states: Mapping[str, Any]) -> Any:
    """The state of an output's view in a notebook, or None."""
    return states.get(_name_of(output))


def live_views(
    notebook: Any,
    *,
    theme: str | None = "light",
    plotly: str = "",
    pages: Mapping[str, str] | None = None,
) -> int:
    """Replace each of our views, and each plotly figure (which stock exports do not draw), with a
    live page; returns how many.

    If the notebook does not hold the view's state, its picture stays. Other widgets are unchanged.

    Args:
        plotly: the address, from the page, of a file with `shared_script`'s text, for views that
            plotly draws; without one, the first of them adds the script for the whole page.
        pages: widget model id -> the page that the view wrote itself (`to_html`), which holds more
            than its state, such as every head and an embedded model.
    """
    states, count, brought, commons = _states(notebook), 0, False, Commons()
    for output in _outputs(notebook):
        data = output["data"]
        model = _state_of(output, states)
        if _is_form(output):
            del data[VIEW_MIME]
            continue
        if VIEW_MIME in data and model is not None and _is_ours(model):
            mime, needs = VIEW_MIME, "plotly" in _list_of(model, "_needs")
            title = _text_of(model, "_title") or "Interactive view"
        elif isinstance(data.get(PLOTLY_MIME), dict):
            mime, needs, title = PLOTLY_MIME, True, "Interactive figure"
        elif VIEW_MIME in data and model is None and "image/png" in data:
            del data[VIEW_MIME]
            continue
        else:
            continue
        try:
            if mime == PLOTLY_MIME:
                text = _page_of_figure(output, theme)
            else:
                text = (pages or {}).get(_name_of(output)) or _page_of_model(model or {}, theme)
        except ValueError:  # NaN, or invalid base64: the picture stays
            del data[mime]
            continue
        del data[mime]
        where = (plotly or "here") if needs else ""
        text, common = commons.take(text)
        shown = common + frame(text, title, plotly=where)
        if where == "here" and not brought:
            shown, brought = shared_here() + shown, True
        data["text/html"] = shown
        count += 1
    _drop_our_state(notebook)
    return count


def _page_of_figure(output: Any, theme: str | None) -> str:
    alt = _table(output.get("metadata"), "image/jpeg").get("alt")
    sentence = alt if isinstance(alt, str) else str(output["data"].get("text/plain", ""))
    state = {
        "_esm": join_modules(Path(__file__).with_name("plotly_page.js")),
        "_css": "",
        "_needs": ["plotly"],
        "_sentence": sentence,
        "figure": output["data"][PLOTLY_MIME],
    }
    return "".join(page(state, {}, title="Figure", sentence=sentence, theme=theme))


def _page_of_model(model: Mapping[str, Any], theme: str | None) -> str:
    state, buffers = model["state"], {}
    listed = model.get("buffers")
    for buffer in listed if isinstance(listed, list) else ():
        path, data = _table(buffer).get("path"), _table(buffer).get("data")
        if isinstance(path, list) and len(path) == 1 and isinstance(path[0], str):
            if not isinstance(data, str):
                raise ValueError(f"the bytes of {path[0]} are not text")
            base64.b64decode("".join(data.split()), validate=True)
            buffers[path[0]] = data
    return "".join(
        page(
            state,
            buffers,
            title=_text_of(model, "_title") or "Interactive view",
            sentence=_text_of(model, "_sentence"),
            absent="the notebook holds this one only while its kernel runs; save the view with "
            "save_html to keep every head",
            theme=theme,
        )
    )


def _list_of(model: Mapping[str, Any], name: str) -> list[Any]:
    value = model["state"].get(name)
    return value if isinstance(value, list) else []


def _text_of(model: Mapping[str, Any], name: str) -> str:
    value = model["state"].get(name)
    return value if isinstance(value, str) else ""


def still_views(notebook: Any, *, sanitized: bool = False) -> int:
    """Prepare a notebook for an exporter that does not know our views; returns how many it has.

    Each becomes its picture, with a line below on how to get the live view.

    Args:
        sanitized: whether the exporter prints HTML tags as text. Our HTML outputs are then replaced
            by their picture or text.
    """
    states, count = _states(notebook), 0
    for cell in notebook.cells:
        kept = []
        for output in cell.get("outputs", []):
            kept.append(output)
            data = output.get("data")
            if not isinstance(data, dict):
                continue
            if _is_form(output):
                del data[VIEW_MIME]
            if sanitized and _is_our_html(data) and {"image/png", "text/plain"} & set(data):
                del data["text/html"]
                caption = str(data.get("text/plain", "")).partition("] ")[2]
                if "image/png" in data and caption:
                    kept.append(_line(caption, sanitized))
            model, name = _state_of(output, states), output.get("metadata", {}).get(MARK)
            ours = isinstance(name, str) or (model is not None and _is_ours(model))
            if VIEW_MIME in data and ours and "image/png" in data:
                del data[VIEW_MIME]
                count += 1
                kept.append(_line(STILL, sanitized))
        if kept:
            cell.outputs = kept
    _drop_our_state(notebook)
    return count


STILL = (
    "A still picture. In a notebook the view is alive; its Save button, or view.save_html(path), "
    "writes a page of it that stays so."
)


def _is_form(output: Any) -> bool:
    """Whether an output is an input box (of a prediction), which also has its content as HTML."""
    data = output["data"]
    return VIEW_MIME in data and "text/html" in data and MARK in output.get("metadata", {})


def _is_our_html(data: Mapping[str, Any]) -> bool:
    text = data.get("text/html")
    text = "".join(text) if isinstance(text, list) else text
    return isinstance(text, str) and 'class="tl-' in text


def _line(text: str, sanitized: bool) -> Any:
    """An output of one sentence; without Markdown if tags, such as a paragraph's, are printed."""
    import textwrap

    from nbformat.v4 import new_output

    said = {} if sanitized else {"text/markdown": f"*{text}*"}
    return new_output("display_data", {**said, "text/plain": textwrap.fill(text, 100)})


def clean_notebook(notebook: Any) -> Any:
    """Remove live views and their state from an executed notebook, to commit or publish it.

    Pictures and text stay. In place; returns the notebook. Views go too, since without its state a
    view in a trusted notebook shows "model not found" if our labextension is not installed.
    """
    for output in _outputs(notebook):
        if "image/png" in output["data"] or "text/plain" in output["data"]:
            output["data"].pop(VIEW_MIME, None)
        if {"image/png", "image/jpeg"} & set(output["data"]):
            output["data"].pop(PLOTLY_MIME, None)
    notebook.metadata.pop("widgets", None)
    return notebook


def _outputs(notebook: Any) -> Iterator[Any]:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if isinstance(output.get("data"), dict):
                yield output


def _drop_our_state(notebook: Any) -> None:
    """Remove our views' states, and all widget metadata if no widget needs it.

    With it, stock nbconvert would load a script from the network.
    """
    states = _states(notebook)
    for name in [name for name, model in states.items() if _is_ours(model)]:
        del states[name]
    wanted = any(VIEW_MIME in output["data"] for output in _outputs(notebook))
    if not wanted:
        notebook.metadata.pop("widgets", None)


def notebook_to_html(notebook: str | os.PathLike, path: str | os.PathLike) -> Path:
    """Write an executed notebook as one page with live views; needs no kernel and no network."""
    import nbformat
    from nbconvert import HTMLExporter

    if not as_path(notebook, "notebook").is_file():  # a pipe would block
        raise ValueError(f"notebook={str(notebook)!r} is not a file; name a notebook")
    read = nbformat.read(notebook, as_version=4)
    live_views(read)
    text, _ = HTMLExporter().from_notebook_node(read)
    return write_page(path, [text])
