"""Training lesson 03's model in a page: 300 steps in ≤ 10 s, while the page keeps drawing.

One layer, d 32, 64 texts of 12 letters a step, in Chromium, with the loss, every head and the answers
drawn 60 times along the way. The bar assumes two idle cores; the row reports the load, and the CPU
seconds of all the page's threads.
"""

import os
import tempfile
from pathlib import Path

from docs.courses import neighbours
from transformer_lab.views.learning.page import learning_page
from transformer_lab.views.pages.export import write_page

from .browser import launch
from .report import Row, at_most

# Records the time between frames, in milliseconds.
WATCH = """() => {
    window.gaps = [];
    let last = performance.now();
    const turn = (now) => { gaps.push(now - last); last = now; requestAnimationFrame(turn); };
    requestAnimationFrame(turn);
    window.begun = performance.now();
}"""
DONE = """(steps) => {
    if (Number(document.querySelector("#tl-root").dataset.step) < steps) return false;
    return { seconds: (performance.now() - begun) / 1000, gaps: [...gaps].sort((a, b) => a - b) };
}"""


def run(options):
    from playwright.sync_api import sync_playwright

    course = neighbours()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = write_page(Path(folder) / "page.html", learning_page([course], "Learning"))
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1300, "height": 950})
        page.goto(path.as_uri())
        page.wait_for_selector("[data-ready]")
        page.locator("[data-part=seed]").fill(str(options.seed))
        page.locator("[data-part=seed]").press("Enter")
        page.wait_for_selector(f"[data-seed='{options.seed}']")
        before = _cpu(browser)
        page.evaluate(WATCH)
        page.locator("[data-part=go]").click()
        found = page.wait_for_function(DONE, arg=course.steps, timeout=600_000).json_value()
        cpu = _cpu(browser) - before
        status = page.locator("[data-part=status]").inner_text()
        browser.close()
    gaps = found["gaps"]
    common = dict(seconds=cpu, seed=options.seed)
    name = f"training in a page, {course.steps} steps"
    note = f"{status}; load {os.getloadavg()[0]:.1f}"
    yield at_most(name, found["seconds"], 10, unit="s", note=note, **common)
    yield Row(
        f"{name}, CPU time of the page", round(cpu, 1), "s", None, None, round(cpu, 1), options.seed
    )
    late = gaps[int(0.99 * len(gaps))] / 1000
    yield at_most(
        f"{name}, 99 of 100 frames take at most",
        late,
        0.1,
        unit="s",
        note=f"median {gaps[len(gaps) // 2]:.0f} ms, longest {gaps[-1]:.0f} ms",
        **common,
    )


def _cpu(browser) -> float:
    """CPU seconds of the browser's pages so far."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return sum(process["cpuTime"] for process in processes if process["type"] == "renderer")
