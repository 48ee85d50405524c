"""One self-contained page of a view, and notebooks whose views need neither kernel nor network.

Nothing here imports torch or ipywidgets: stock `jupyter nbconvert` loads this module, by way of
`views.notebook_pass`.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

STATIC = Path(__file__).parent / "static"
VIEW_MIME = "application/vnd.jupyter.widget-view+json"
STATE_MIME = "application/vnd.jupyter.widget-state+json"
OURS = "transformer_lab.views."
FRAME_HEIGHT = 820
COMPRESS_FROM = 4096

# No host is named anywhere: the page cannot load, send or open anything.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)
_PAGE_STYLE = """
:root { color-scheme: light dark; --tl-page: #fff; }
:root[data-theme="light"] { color-scheme: light; }
:root[data-theme="dark"] { color-scheme: dark; --tl-page: #191c21; }
@media (prefers-color-scheme: dark) { :root:not([data-theme]) { --tl-page: #191c21; } }
body { margin: 0; background: var(--tl-page); }
#tl-root { max-width: 1400px; margin: 0 auto; }
noscript, .tl-still { display: block; padding: 16px; font: 15px system-ui, sans-serif; }
"""
_NOT_A_STATE = ("layout", "tabbable", "tooltip", "_dom_classes")


class Block(NamedTuple):
    """A part of a view that a page holds for later: its name, what it is, and its bytes."""

    name: str
    info: Mapping[str, Any]
    buffers: list[bytes]


def safe_json(value: Any) -> str:
    """JSON that ends no script element and is JavaScript too."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@cache
def _page_script() -> str:
    return (STATIC / "page.js").read_text("utf-8")


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
    """The pieces of a page that shows a view: offline, alone, interactive.

    The view is drawn as soon as its first screen has been read; the blocks follow it.

    Args:
        state: the view's traits, without its bytes.
        buffers: trait name -> bytes, or their base64.
        sentence: for readers without JavaScript.
        absent: what to say when something is asked for that no block holds.
        theme: "light" or "dark"; None follows the reader's system.
    """
    encoded = {k: v if isinstance(v, str) else _base64(v) for k, v in buffers.items()}
    kept = {k: v for k, v in state.items() if k not in _NOT_A_STATE and k not in encoded}
    if "_live" in kept:  # no kernel answers a page
        kept["_live"] = False
    payload = safe_json({"state": kept, "buffers": encoded, "absent": absent})
    shown = html.escape(title)
    attribute = f' data-theme="{theme}"' if theme in ("light", "dark") else ""
    yield (
        f'<!DOCTYPE html>\n<html lang="en"{attribute}>\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{shown}</title>\n<style>{_PAGE_STYLE}</style>\n</head>\n<body>\n"
        '<div id="tl-root"></div>\n'
        f"<noscript>{shown}: {html.escape(sentence)} The picture needs JavaScript.</noscript>\n"
        f'<script type="application/json" id="tl-state">{payload}</script>\n'
        f"<script>{_page_script()}</script>\n"
    )
    for block in blocks:
        yield _block(block)
    yield "</body>\n</html>\n"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _block(block: Block) -> str:
    data = b"".join(block.buffers)
    packed = gzip.compress(data, 5, mtime=0) if len(data) >= COMPRESS_FROM else data
    pays = len(packed) < 0.9 * len(data)
    info = {"sizes": [len(b) for b in block.buffers], "info": block.info}
    # A template's text is kept once; a script's is kept a second time, as its source.
    return (
        f'<template data-block="{html.escape(block.name, quote=True)}" '
        f'data-info="{html.escape(json.dumps(info), quote=True)}"{" data-gzip=1" if pays else ""}>'
        f"{_base64(packed if pays else data)}</template>\n"
    )


def write_page(path: str | os.PathLike, pieces: Iterable[str]) -> Path:
    """Write a page, whole or not at all.

    Raises:
        ValueError: when the folder does not exist or cannot be written to, or the path is one.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"path={str(path)!r} is a folder; name a file such as heads.html")
    if not path.parent.is_dir():
        raise ValueError(f"path={str(path)!r}: the folder {str(path.parent)!r} does not exist")
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        file = open(part, "w", encoding="utf-8", newline="\n")  # noqa: SIM115
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ValueError(
            f"path={str(path)!r} cannot be written ({why}); name a file in a folder of your own"
        ) from error
    try:
        with file:
            for piece in pieces:
                file.write(piece)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


# -- notebooks ---------------------------------------------------------------------------------


def frame(text: str, title: str, height: int = FRAME_HEIGHT) -> str:
    """HTML of a sandboxed frame that holds a page, grows to its height, and tells the other frames
    what is selected in it."""
    return (
        '<div class="tl-frame">'
        f'<iframe title="{html.escape(title, quote=True)}" sandbox="allow-scripts allow-downloads" '
        f'style="width:100%;height:{height}px;border:0" srcdoc="{html.escape(text, quote=True)}">'
        "</iframe><script>(() => {"
        'const frame = document.currentScript.parentElement.querySelector("iframe");'
        'addEventListener("message", (event) => {'
        "if (event.source !== frame.contentWindow) return;"
        "const height = Number(event.data?.transformerLabHeight);"
        "if (height > 0)"
        'frame.style.height = Math.min(4000, Math.max(120, Math.ceil(height))) + "px";'
        "const transformerLabSelection = event.data?.transformerLabSelection;"
        "if (transformerLabSelection)"
        'for (const other of document.querySelectorAll(".tl-frame iframe"))'
        'if (other !== frame) other.contentWindow.postMessage({ transformerLabSelection }, "*");'
        "});})();</script></div>"
    )


def _states(notebook: Any) -> dict[str, Any]:
    return notebook.metadata.get("widgets", {}).get(STATE_MIME, {}).get("state", {})


def _is_ours(model: Mapping[str, Any] | None) -> bool:
    return bool(model) and str(model.get("state", {}).get("_anywidget_id", "")).startswith(OURS)


def live_views(notebook: Any, *, theme: str | None = "light") -> int:
    """Put a live page in the place of each of our views; returns how many.

    Where the notebook does not hold the view's state, its picture stays. Other widgets are left
    alone.
    """
    states, count = _states(notebook), 0
    for output in _outputs(notebook):
        data = output["data"]
        model = states.get(data.get(VIEW_MIME, {}).get("model_id"))
        if VIEW_MIME in data and model is not None and _is_ours(model):
            text = _page_of_model(model, theme)
            title = model["state"].get("_title") or "Interactive view"
            del data[VIEW_MIME]
            data["text/html"] = frame(text, title)
            count += 1
        elif VIEW_MIME in data and model is None and "image/png" in data:
            del data[VIEW_MIME]
    _drop_our_state(notebook)
    return count


def _page_of_model(model: Mapping[str, Any], theme: str | None) -> str:
    buffers = {b["path"][0]: b["data"] for b in model.get("buffers", []) if len(b["path"]) == 1}
    state = model["state"]
    return "".join(
        page(
            state,
            buffers,
            title=state.get("_title") or "Interactive view",
            sentence=state.get("_sentence") or "",
            absent="the notebook holds this one only while its kernel runs; save the view with "
            "save_html to keep every head",
            theme=theme,
        )
    )


def clean_notebook(notebook: Any) -> Any:
    """Make an executed notebook fit to be committed or published: pictures and text stay, live
    views and their state go. In place; returns the notebook.

    A trusted notebook that has a view but no state shows "model not found" instead of the picture.
    """
    for output in _outputs(notebook):
        if "image/png" in output["data"] or "text/plain" in output["data"]:
            output["data"].pop(VIEW_MIME, None)
    notebook.metadata.pop("widgets", None)
    return notebook


def _outputs(notebook: Any) -> Iterator[Any]:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "data" in output:
                yield output


def _drop_our_state(notebook: Any) -> None:
    """Without our views' states; without the whole block when no widget needs it, for stock
    nbconvert would load a script from the network for it."""
    states = _states(notebook)
    for name in [name for name, model in states.items() if _is_ours(model)]:
        del states[name]
    wanted = any(VIEW_MIME in output["data"] for output in _outputs(notebook))
    if not wanted:
        notebook.metadata.pop("widgets", None)


def notebook_to_html(notebook: str | os.PathLike, path: str | os.PathLike) -> Path:
    """Write an executed notebook as one page with its views alive; no kernel, no network."""
    import nbformat
    from nbconvert import HTMLExporter

    read = nbformat.read(notebook, as_version=4)
    live_views(read)
    text, _ = HTMLExporter().from_notebook_node(read)
    return write_page(path, [text])
