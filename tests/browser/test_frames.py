"""Views in frames, as a rendered notebook holds them: each as tall as what it shows."""

from transformer_lab.views import HeadView
from transformer_lab.views.export import frame


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
    low.locator("summary").click()  # a table opens below
    page.wait_for_function(
        "before => document.querySelector('iframe').offsetHeight > before + 20", arg=before
    )
    low.locator("summary").click()
    page.wait_for_function(
        "before => document.querySelector('iframe').offsetHeight === before", arg=before
    )
