"""Saved pages of 12 × 12 heads compared with BertViz and CircuitsVis, and pages of long texts.

The weights of one random model go into every page. Each page is loaded in a separate browser; then
another head is selected again and again. The time to the first heads ends when the page has painted
them: for BertViz the lines of layer 0, for CircuitsVis any part of the large map. BertViz cannot switch
single heads, so another layer is selected instead. CircuitsVis gets one layer with 12 heads, because
with 144 it shows nothing within two minutes at 128 tokens. Both load scripts from the network; here the
scripts come from the local disk, which is faster. Memory is measured at the end, after a garbage
collection and a short rest.

The others are measured if you install them like this (otherwise rows say what to install):

    mkdir peers && cd peers
    pip install --no-deps --target python bertviz==1.4.1 circuitsvis==1.43.3
    npm install requirejs@2.3.6 d3@5.7.0 jquery@2.1.0
    cd .. && TL_PEERS=peers python -m benchmarks views
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch

import transformer_lab as tl

from .browser import launch, megabytes
from .report import Clock, Row, at_most

LAYERS = HEADS = 12
D_HEAD = 64
BESIDE = (32, 128, 256)
ALONE = (512, 1024, 4096)
PATIENCE = 180  # s
SWITCHES = 20
REST = 3000  # ms before memory is read: a browser returns freed memory a little later
INSTALL = "not installed: see benchmarks/views.py"
SCRIPTS = {
    "require": "requirejs/require.js",
    "d3": "d3/dist/d3.min.js",
    "jquery": "jquery/dist/jquery.min.js",
}

# Polls from the start of the page for the paint that follows the first heads.
FIRST = """(() => {
    const here = () => { %s };
    const look = () => here()
        ? painted().then(() => { window.firstHeads = performance.now(); })
        : setTimeout(look, 5);
    setTimeout(look, 5);
    window.painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
})();"""
OURS_HERE = "return document.querySelector('[data-ready]');"
OURS_SWITCH = """async (turn) => {
    const root = document.querySelector("#tl-root"), start = performance.now();
    const [layer, head] = [turn * 5 % 12, turn * 7 % 12];
    const grid = root.querySelector("[data-part=thumbnails]"), box = grid.getBoundingClientRect();
    const at = { clientX: box.left + (head + 0.5) * grid.dataset.across, clientY: box.top + (layer + 0.5) * grid.dataset.down };
    grid.dispatchEvent(new MouseEvent("click", { ...at, bubbles: true }));
    const wanted = `decoder/${layer}/${head}`;
    while (root.dataset.shown !== wanted) await new Promise((r) => setTimeout(r, 1));
    await painted();
    return performance.now() - start;
}"""
BERTVIZ_HERE = "return document.querySelector('#attention line[stroke-opacity]');"
BERTVIZ_SWITCH = """async (turn) => {
    const layers = document.querySelector("#layer"), start = performance.now();
    layers.value = String(turn * 5 % 12);
    layers.dispatchEvent(new Event("change", {bubbles: true}));
    await painted();
    return performance.now() - start;
}"""
CIRCUITSVIS_PATCH = """const patch = () => {
        const all = document.querySelectorAll("canvas");
        if (all.length < 13) return "";
        const large = all[12], size = Math.min(60, large.width >> 1);
        const data = large.getContext("2d").getImageData(large.width >> 1, large.height >> 1, size, size).data;
        return data.some((v) => v) ? data.join() : "";
    };"""
CIRCUITSVIS_HERE = f"{CIRCUITSVIS_PATCH} return patch();"
CIRCUITSVIS_SWITCH = """async (turn) => {
    PATCH
    const before = patch(), start = performance.now();
    const small = document.querySelectorAll("canvas")[turn * 7 % 12].parentElement;
    small.dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
    while (patch() === before) await new Promise((r) => setTimeout(r, 1));
    return performance.now() - start;
}""".replace("PATCH", CIRCUITSVIS_PATCH)


@dataclass(frozen=True)
class Kit:
    """One way to make a page of a trace, to detect its first heads and to switch heads."""

    name: str
    html: Callable[[tl.Trace], str]
    here: str
    switch: str


@dataclass(frozen=True)
class Measured:
    """MB of the page; seconds to the first heads and to another head; MB that the page added to the
    browser (each None if nothing was shown in time); number of DOM elements."""

    size: float
    first: float | None = None
    switch: float | None = None
    memory: float | None = None
    nodes: int = 0


def run(options):
    from playwright.sync_api import sync_playwright

    ours = Kit("ours", lambda trace: tl.views.HeadView(trace).to_html(), OURS_HERE, OURS_SWITCH)
    peers = installed()
    missing = {"BertViz", "CircuitsVis"} - {kit.name for kit in peers}
    for name in sorted(missing):
        yield Row(f"{name} beside our pages", INSTALL, "", None, None, 0, options.seed)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        for length in BESIDE:
            with Clock() as clock:
                trace = random_trace(length, options.seed)
                found = {
                    kit.name: measure(playwright, kit, trace, Path(folder))
                    for kit in (ours, *peers)
                }
            yield from compared(length, found, clock.cpu, options.seed)
        sizes = {}
        for length in ALONE:
            with Clock() as clock:
                trace = random_trace(length, options.seed)
                alone = measure(playwright, ours, trace, Path(folder))
            sizes[length] = alone.size
            yield from long_rows(length, alone, clock.cpu, options.seed)
    shorter, longer = ALONE[-2:]
    yield at_most(
        f"saved page of {longer} tokens / of {shorter} (4 × as long)",
        sizes[longer] / sizes[shorter],
        4.1,
        unit="×",
        seconds=0,
        seed=options.seed,
    )


def random_trace(length: int, seed: int) -> tl.Trace:
    torch.manual_seed(seed)
    config = tl.ModelConfig(
        vocab_size=1000, n_layers=LAYERS, n_heads=HEADS, d_model=D_HEAD * HEADS, n_ctx=length
    )
    return tl.trace(tl.Transformer(config).eval(), torch.randint(0, 1000, (length,)))


def compared(length, found: dict[str, Measured], seconds, seed):
    """Our rows, with the best of the others as the bar; for bytes, the best of those with all heads."""
    ours, *others = found.items()
    quantities = (
        ("saved page", "size", "MB"),
        ("time to the first heads", "first", "s"),
        ("time to another head", "switch", "s"),
        ("memory that the page adds to the browser", "memory", "MB"),
    )
    for what, field, unit in quantities:
        value = getattr(ours[1], field)
        if value is None:
            continue
        peers = [
            f"{name} {_told(getattr(measured, field), unit)}"
            + (" with one layer" if name == "CircuitsVis" else "")
            for name, measured in others
        ]
        note = "; ".join(peers)
        known = [  # a page with 12 heads sets no bar for the bytes of one with 144
            getattr(measured, field)
            for name, measured in others
            if getattr(measured, field) is not None
            and not (field == "size" and name == "CircuitsVis")
        ]
        name = f"{what}, 12 × 12 heads, {length} tokens"
        if known:
            bar = float(f"{min(known):.3g}")
            yield at_most(name, value, bar, unit=unit, seconds=seconds, seed=seed, note=note)
        else:
            yield Row(name, round(value, 4), unit, None, None, round(seconds, 1), seed, note)


def _told(value: float | None, unit: str) -> str:
    return f"nothing in {PATIENCE} s" if value is None else f"{value:.3g} {unit}"


def long_rows(length, alone: Measured, seconds, seed):
    def row(what, value, unit, bar=None, note=""):
        name = f"{what}, 12 × 12 heads, {length} tokens"
        if bar is None:
            return Row(name, round(value, 4), unit, None, None, round(seconds, 1), seed, note)
        return at_most(name, value, bar, unit=unit, seconds=seconds, seed=seed, note=note)

    yield row("saved page", alone.size, "MB", note="queries and keys of 64 numbers")
    yield row("time to the first heads", alone.first, "s", bar=1.0 if length <= 1024 else None)
    yield row("time to another head", alone.switch, "s", note=f"{alone.nodes} DOM nodes")
    if alone.memory is not None:
        yield row("memory that the page adds to the browser", alone.memory, "MB", bar=300)


def installed() -> list[Kit]:
    """The other projects that are installed together with the scripts they load."""
    folder = Path(os.environ.get("TL_PEERS", "peers"))
    if (folder / "python").is_dir():
        sys.path.append(str((folder / "python").resolve()))
    kits = []
    scripts = folder / "node_modules"
    if all((scripts / path).is_file() for path in SCRIPTS.values()) and _import("bertviz"):
        kits.append(Kit("BertViz", _bertviz, BERTVIZ_HERE, BERTVIZ_SWITCH))
    if _import("circuitsvis.attention"):
        kits.append(Kit("CircuitsVis", _circuitsvis, CIRCUITSVIS_HERE, CIRCUITSVIS_SWITCH))
    return kits


def _import(name: str) -> bool:
    try:
        import_module(name)
    except ImportError:
        return False
    return True


def _bertviz(trace: tl.Trace) -> str:
    maps = [trace.pattern(layer)[None] for layer in range(LAYERS)]
    view = import_module("bertviz").head_view(maps, trace.key_tokens(), html_action="return")
    return f"<!DOCTYPE html><meta charset=utf-8>{view.data}"


def _circuitsvis(trace: tl.Trace) -> str:
    heads = import_module("circuitsvis.attention").attention_heads
    view = heads(attention=trace.pattern(0).numpy(), tokens=trace.key_tokens())
    return f"<!DOCTYPE html><meta charset=utf-8>{view.local_src}"


def measure(playwright, kit: Kit, trace: tl.Trace, folder: Path) -> Measured:
    path = folder / "page.html"
    path.write_text(kit.html(trace), encoding="utf-8")
    size = path.stat().st_size / 1e6
    firsts: list[float] = []
    while True:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1300, "height": 950})
        page.route(re.compile("^https:"), _from_disk)
        page.set_default_timeout(PATIENCE * 1000)
        page.goto("about:blank")
        empty = megabytes(browser)
        page.add_init_script(FIRST % kit.here)
        try:
            page.goto(path.as_uri(), wait_until="commit")
            page.wait_for_function("() => window.firstHeads")
        except Exception as error:
            browser.close()
            if type(error).__name__ != "TimeoutError":
                raise
            return Measured(size)
        firsts.append(page.evaluate("window.firstHeads") / 1000)
        if len(firsts) == 3 or firsts[-1] > 10:
            break
        browser.close()
    page.wait_for_load_state("load")
    turns = SWITCHES if firsts[-1] < 10 else 2
    switches = [page.evaluate(kit.switch, turn) / 1000 for turn in range(1, turns + 1)]
    page.context.new_cdp_session(page).send("HeapProfiler.collectGarbage")
    page.wait_for_timeout(REST)
    full = megabytes(browser)
    nodes = page.evaluate("document.querySelectorAll('*').length")
    browser.close()
    added = None if full is None or empty is None else full - empty
    return Measured(size, statistics.median(firsts), statistics.median(switches), added, nodes)


def _from_disk(route) -> None:
    folder = Path(os.environ.get("TL_PEERS", "peers")) / "node_modules"
    wanted = next((path for name, path in SCRIPTS.items() if name in route.request.url), None)
    if wanted is None:
        route.abort()
    else:
        route.fulfill(body=(folder / wanted).read_bytes(), content_type="text/javascript")
