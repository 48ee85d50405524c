"""From a click to the new prediction, in a real JupyterLab.

For each model, heads are switched off and on and edges are cut, each by a click; the time runs from
the click to the paint of the new predictions. The bars, 0.3 s for the shipped model and 0.2 s for
SmolLM2-135M, assume two idle cores; each row reports the load. Every click requests something new, so
that no answer is cached. The weights of SmolLM2-135M come with the extra "models".
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import nbformat

import transformer_lab as tl

from .browser import launch, show_tools
from .report import Clock, Row, at_most

BARS = {"shipped": 0.3, "smollm2-135m": 0.2}
CLICKS = 20
CELL = """
import time, transformer_lab as tl
model = tl.TextModel.from_pretrained({name!r})
view = tl.explore(model)
view
"""
# Records the time of the last click and of the first paint after its result.
WATCH = """() => {
    const root = document.querySelector(".tl-view-explorer");
    document.addEventListener("click", () => { window.clicked = performance.now(); }, true);
    document.addEventListener("keydown", () => { window.clicked = performance.now(); }, true);
    new MutationObserver(() => {
        if (window.stamp === root.dataset.stamp) return; // it counts results of Python that are shown
        window.stamp = root.dataset.stamp;
        requestAnimationFrame(() => setTimeout(() => { window.painted = performance.now(); }));
    }).observe(root, {attributes: true, attributeFilter: ["data-stamp"]});
}"""
ANSWER = """
from statistics import median
times = []
for layer in range(view._kinds[view.kind]["layers"]):
    started = time.perf_counter()
    view.edits = [tl.ablate(layer, 0, kind=view.kind)]
    times.append(time.perf_counter() - started)
view.edits = []
open({file!r}, "w").write(str(median(times)))
"""
# Seconds for each measurement over all heads, one after another, in the view's kernel.
ALL_HEADS = """
import json
def seconds(run):
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
view._facts.background.close()
found = {{
    "labelling all heads": seconds(lambda: tl.heads.labels(model, ablation=False)),
    "estimates of all heads": seconds(lambda: tl.estimate_effects(model, view.text)),
    "exact effects of all heads": seconds(lambda: tl.sweep_heads(model, view.text)),
}}
open({file!r}, "w").write(json.dumps(found))
"""
ALL_BARS = {
    "labelling all heads": 4.0,
    "estimates of all heads": 1.0,
    "exact effects of all heads": 10.0,
}


def run(options):
    from playwright.sync_api import sync_playwright

    with (
        tempfile.TemporaryDirectory() as folder,
        Lab(Path(folder)) as lab,
        sync_playwright() as playwright,
    ):
        browser = launch(playwright)
        for name, bar in BARS.items():
            try:
                tl.TextModel.from_pretrained(name)
            except (FileNotFoundError, ImportError, OSError, ValueError) as error:
                yield Row(f"{name}, a click", str(error), "", None, None, 0, options.seed)
                continue
            with Clock() as clock:
                found = measure(browser, lab, name)
            answer, text, of_all = (found.pop(name) for name in ("answer", "text", "of all"))
            for what, seconds in of_all.items():
                yield at_most(
                    f"{name}, {what}",
                    seconds,
                    ALL_BARS[what],
                    unit="s",
                    seconds=clock.cpu,
                    seed=options.seed,
                    note=f"one run; load {os.getloadavg()[0]:.1f}",
                )
            for what, times in found.items():
                note = (
                    f"largest of {len(times)}, median {statistics.median(times):.3f} s; Python "
                    f"alone {answer:.3f} s; load {os.getloadavg()[0]:.1f}"
                )
                yield at_most(
                    f"{name}, from a click on {what} to the new prediction",
                    max(times),
                    bar,
                    unit="s",
                    seconds=clock.cpu,
                    seed=options.seed,
                    note=note,
                )
            yield Row(
                f"{name}, from a newly typed text to its prediction",
                round(text, 3),
                "s",
                None,
                None,
                round(clock.cpu, 1),
                options.seed,
            )
        browser.close()


def measure(browser, lab: Lab, name: str) -> dict:
    """Seconds for each click on a head and on an edge, for a new text, and for Python's answer alone."""
    page = lab.open(browser, CELL.format(name=name))
    page.wait_for_selector("[data-ready]", timeout=120_000)
    if page.locator("[data-part=names]:visible").count() == 0:  # labels are computed right away
        page.wait_for_timeout(5000)
    page.evaluate(WATCH)
    show_tools(page)
    page.locator("[data-part=tool] [data-value=off]").click()
    grid = page.locator("[data-part=thumbnails]")
    layers, n_heads = map(
        int, page.locator(".tl-panel-heads .tl-quiet").first.inner_text().split(" × ")
    )
    heads = []
    for i in range(CLICKS):
        layer, head = i * layers // CLICKS, i % n_heads
        box = grid.bounding_box()
        at = {
            "x": (head + 0.5) * box["width"] / n_heads,
            "y": (layer + 0.5) * box["height"] / layers,
        }
        heads.append(timed(page, lambda at=at: grid.click(position=at)))
    page.locator("[data-part=tool] [data-value=cut]").click()
    canvas = page.locator("[data-part=map]")
    canvas.scroll_into_view_if_needed()
    place = canvas.evaluate("c => ({...c.dataset})")
    cell, left, top = (float(place[n]) for n in ("cell", "left", "top"))
    edges = []
    for i in range(CLICKS):
        at = {"x": left + (i % 4 + 0.5) * cell, "y": top + 9.5 * cell}
        edges.append(timed(page, lambda at=at: canvas.click(position=at)))
    box = page.locator("[data-part=text]")
    box.fill(box.input_value() + " it")
    text = timed(page, lambda: box.press("Enter"))
    file = lab.folder / "answer"
    lab.run(page, ANSWER.format(file=str(file)))
    lab.run(page, ALL_HEADS.format(file=str(lab.folder / "all")))
    page.close()
    return {
        "a head": heads,
        "an edge": edges,
        "text": text,
        "answer": float(file.read_text()),
        "of all": json.loads((lab.folder / "all").read_text()),
    }


def timed(page, act) -> float:
    """Seconds from the user's action to the paint of its result."""
    page.evaluate("() => { window.painted = 0; }")
    act()
    page.wait_for_function("() => window.painted > window.clicked", timeout=60_000)
    return page.evaluate("() => window.painted - window.clicked") / 1000


class Lab:
    """A JupyterLab with separate settings."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __enter__(self) -> Lab:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.token, self.url = secrets.token_hex(16), f"http://127.0.0.1:{port}"
        hidden = self.folder / ".jupyter"
        names = ("LAB_SETTINGS", "LAB_WORKSPACES", "_CONFIG", "_DATA", "_RUNTIME")
        environment = os.environ | {f"JUPYTER{n}_DIR": str(hidden / n.lower()) for n in names}
        environment.pop("OMP_NUM_THREADS", None)  # as in a reader's notebook
        settings = hidden / "lab_settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        quiet = {"fetchNews": "false", "checkForUpdates": False}
        (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
        self.server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyterlab",
                "--no-browser",
                "--allow-root",
                "--ip=127.0.0.1",
                f"--port={port}",
                "--ServerApp.port_retries=0",
                f"--IdentityProvider.token={self.token}",
                f"--ServerApp.root_dir={self.folder}",
                "--expose-app-in-browser",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
        )
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.url}/api/status?token={self.token}", timeout=2)
                return self
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("JupyterLab did not start")

    def __exit__(self, *_) -> None:
        os.killpg(self.server.pid, signal.SIGTERM)
        self.server.wait(30)

    def open(self, browser, code: str):
        path = self.folder / f"{secrets.token_hex(4)}.ipynb"
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        book.metadata.kernelspec = dict(name="python3", display_name="Python 3", language="python")
        nbformat.write(book, path)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{self.url}/lab/tree/{path.name}?token={self.token}&reset")
        session = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session"
        page.wait_for_function(f"() => {session}?.kernel?.status === 'idle'", timeout=90_000)
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
        return page

    def run(self, page, code: str) -> None:
        page.evaluate(
            "async code => { await window.jupyterapp.shell.currentWidget.sessionContext.session"
            ".kernel.requestExecute({code}).done }",
            code,
        )
