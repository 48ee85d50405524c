"""16,384 tokens in a 12 × 12 model: one head's exact pyramid, a zoomed tile, memory of page and kernel.

One random model of GPT-2-small's shape (d_head 64) reads the text once; everything reported is
measured after that trace. The tile is the most expensive kind: it lies below the levels that are kept.
The kernel's memory is the peak of the process between the trace and the written page, relative to the
memory of the trace.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import transformer_lab as tl

from .browser import launch, megabytes
from .report import Clock, at_most
from .views import random_trace

LENGTH = 16_384
TURNS = 5
REST = 3000  # ms before memory is read


def run(options):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield from measure(options.seed)
    finally:
        torch.set_num_threads(before)


def measure(seed: int):
    with Clock() as clock:
        trace = random_trace(LENGTH, seed)
    kept, held = trace.kept_bytes() / 1e6, peak()
    common: dict[str, Any] = dict(seed=seed, seconds=clock.cpu)
    note = f"{kept:.0f} MB of queries and keys, {clock.wall:.1f} s to read the text"
    shape = f"12 × 12 heads, {LENGTH} tokens"

    times = [timed(lambda turn=turn: trace.pyramid(3, turn)) for turn in range(TURNS)]
    yield at_most(
        f"pyramid of one head, {shape}", statistics.median(times), 4, unit="s", note=note, **common
    )
    pyramid = trace.pyramid(5, 5)
    level = pyramid.base - 1
    rows = pyramid.shape(level)[0]
    places = [(rows - 256 * (turn + 2), rows - 256 * (turn + 1)) for turn in range(TURNS)]
    tiles = [timed(lambda at=at: pyramid.tile(level, at, (0, 256))) for at in places]
    yield at_most(
        f"a tile of 256 × 256 cells of {2**level} × {2**level} weights, {shape}",
        statistics.median(tiles),
        0.15,
        unit="s",
        **common,
    )
    with Clock() as first:
        view = tl.views.HeadView(trace, layer=5, head=5)
    with Clock() as saved:
        html = view.to_html()
    note = f"{first.wall:.1f} s to the view, with small maps of every head; {saved.wall:.1f} s to the page of {len(html) / 1e6:.1f} MB"
    most = (peak() - held + kept) / kept
    yield at_most(
        f"memory of the kernel / of the trace, {shape}", most, 1.5, unit="×", note=note, **common
    )
    yield at_most(
        f"memory that the page adds to the browser, {shape}",
        page_memory(html),
        400,
        unit="MB",
        **common,
    )


def timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak() -> float:
    """Peak memory of this process in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e6 if sys.platform == "darwin" else 1e3)


def page_memory(html: str) -> float:
    """MB that the page adds to the browser, after every zoom level was shown."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(html, encoding="utf-8")
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1300, "height": 950})
        page.goto("about:blank")
        empty = megabytes(browser)
        page.goto(path.as_uri())
        page.wait_for_selector("[data-ready]")
        page.locator("[data-part=map]").focus()
        for key in "++++----":
            page.keyboard.press(key)
            page.wait_for_timeout(300)
        page.context.new_cdp_session(page).send("HeapProfiler.collectGarbage")
        page.wait_for_timeout(REST)
        full = megabytes(browser)
        browser.close()
    if empty is None or full is None:
        raise RuntimeError("the browser's memory can only be measured on Linux")
    return full - empty
