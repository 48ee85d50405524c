"""A live Explorer whose kernel is busy or gone: the page computes, says so, and Python goes on afterwards."""

import os
import re

from tests.browser.fixtures import choose_head
from tests.browser.test_explorer_lab import EXPLORE, shown, wait_until

# A kernel that has subshells answers a view beside a cell, but not while code below Python holds the
# interpreter: here a call that waits for somebody who writes.
BUSY = """
import ctypes, pathlib
pathlib.Path({started!r}).touch()
ctypes.PyDLL(None).open({pipe!r}.encode(), 0)
"""
ROWS = """from transformer_lab.views.shared.words import short
def rows(*edits):
    view.edits = edits
    found = [[r.token, short(r.before)] + ([] if r.after is None else [short(r.after)]) for r in view.predictions]
    view.edits = []
    return found
[rows(), rows(tl.ablate(2, 2)), rows(tl.ablate(2, 2), tl.ablate(1, 1))]"""
LINE = "[data-part=standby]:visible"
HELD = "() => globalThis.transformerLabModels?.size === 1"


def off(page, layer, head, edits):
    choose_head(page, layer, head)
    page.wait_for_selector(
        f"[data-edits='{edits}'][data-settled=true][data-shown='decoder/{layer}/{head}']"
    )


def ready(book):
    """The view is there, and so is its model, which the page fetched while nothing was asked."""
    page = book.page
    book.run_all()
    page.wait_for_selector("[data-ready]")
    wanted = eval(book.run(ROWS))
    page.wait_for_function(HELD)
    page.locator("[data-part=tool] [data-value=off]").click()
    return page, wanted


def test_a_long_cell_stops_no_click(notebook, tmp_path, screenshot):
    book = notebook(EXPLORE)
    page, wanted = ready(book)
    assert page.locator(LINE).count() == 0
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    page.evaluate(
        f"code => {{ {book.SESSION}.session.kernel.requestExecute({{code}}) }}",
        BUSY.format(started=str(tmp_path / "started"), pipe=str(pipe)),
    )
    wait_until((tmp_path / "started").exists)
    off(page, 2, 2, 1)
    page.wait_for_selector(LINE)
    assert (
        page.locator(LINE).inner_text()
        == "The kernel is busy or gone: this was computed in the page."
    )
    assert shown(page) == wanted[1] != wanted[0]
    screenshot(page, "standby-light")
    off(page, 1, 1, 2)
    assert shown(page) == wanted[2]
    with open(pipe, "w"):  # the cell goes on, and ends
        pass
    page.wait_for_function("() => document.querySelector('[data-part=standby]').hidden")
    # Python has been told, and what stands there is its own.
    assert book.run("view.edits") == "[tl.ablate(layer=2, head=2), tl.ablate(layer=1, head=1)]"
    page.wait_for_selector("[data-edits='2'][data-settled=true]")
    assert shown(page) == wanted[2]
    off(page, 1, 1, 1)
    assert shown(page) == wanted[1] and page.locator(LINE).count() == 0
    assert book.run("view.edits") == "[tl.ablate(layer=2, head=2)]"
    assert page.errors == []


def test_a_dead_kernel_stops_no_click(notebook):
    book = notebook(EXPLORE)
    page, wanted = ready(book)
    page.evaluate(f"async () => {{ await {book.SESSION}.session.kernel.shutdown() }}")
    off(page, 2, 2, 1)
    page.wait_for_selector(LINE)
    assert re.match(
        r"The kernel is (busy or )?gone: this was computed in the page\.",
        page.locator(LINE).inner_text(),
    )
    assert shown(page) == wanted[1]
    off(page, 1, 1, 2)
    assert shown(page) == wanted[2]
    # Another text is read there too, and what was edited stays.
    page.locator("[data-part=text]").fill("import os")
    page.locator("[data-part=text]").press("Enter")
    page.wait_for_function(
        "() => document.querySelectorAll('[data-part=strip-text] [data-index]').length < 12"
    )
    assert page.errors == []
