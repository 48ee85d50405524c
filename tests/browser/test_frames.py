"""Views in frames, as a rendered notebook holds them: each as tall as what it shows."""

from pathlib import Path

import nbformat

from transformer_lab.views import HeadView
from transformer_lab.views.pages.export import frame, live_views


def test_a_frame_grows_and_shrinks_to_its_view(open_page, trace):
    text = HeadView(trace).to_html()
    page = open_page(
        "<!DOCTYPE html><meta charset=utf-8>"
        + "".join(frame(text, "Heads", height=height) for height in (60, 3500)),
        ready="iframe",
    )
    low, high = page.frames[1:]
    for inner in (low, high):
        inner.wait_for_selector("[data-ready]")
    page.wait_for_function(
        """() => { const [low, high] = document.querySelectorAll("iframe");
        return low.offsetHeight > 300 && low.offsetHeight === high.offsetHeight; }"""
    )
    assert abs(page.locator("iframe").first.bounding_box()["height"] - low.evaluate(
        "document.querySelector('#tl-root').offsetHeight"
    )) < 2  # fmt: skip
    before = page.locator("iframe").first.bounding_box()["height"]
    wide = page.viewport_size
    page.set_viewport_size({**wide, "width": 480})  # one part below the other
    page.wait_for_function(
        "before => document.querySelector('iframe').offsetHeight > before + 20", arg=before
    )
    page.set_viewport_size(wide)
    page.wait_for_function(
        "before => document.querySelector('iframe').offsetHeight === before", arg=before
    )


def test_a_notebook_of_the_first_edition_is_alive_in_a_browser(open_page):
    path = Path(__file__).parent.parent / "views" / "pages" / "first_edition_notebook.json"
    book = nbformat.read(path, as_version=4)
    assert live_views(book) == 1
    shown = book.cells[0].outputs[0].data["text/html"]
    page = open_page(f"<!DOCTYPE html><meta charset=utf-8>{shown}", ready="iframe")
    view = page.frame_locator("iframe")
    view.locator("[data-ready]").wait_for()
    view.locator("[data-part=head] [data-value='1']").click()
    view.locator("[data-shown='decoder/0/1']").wait_for()
    assert "Layer 0, head 1" in view.locator("[data-part=sentence]").inner_text()
