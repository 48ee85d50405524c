"""Views in frames, as in a rendered notebook: each as tall as what it shows."""

from pathlib import Path

import nbformat

from transformer_lab.lessons.pictures import Mark, marks
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
    assert (
        abs(
            page.locator("iframe").first.bounding_box()["height"]
            - low.evaluate("document.querySelector('#tl-root').offsetHeight")
        )
        < 2
    )
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


def test_the_heading_of_a_figure_is_read_on_a_phone(open_page):
    sentence = "For each size more text is better, & for the same text a larger model is <better>."
    points = [Mark(1000, 4.0, "one"), Mark(2000, 3.5, "two")]
    figure = marks(
        {"width 8": points}, title="Loss against tokens", sentence=sentence, x_name="x", y_name="y"
    )
    bundle, _ = figure._repr_mimebundle_()
    book = nbformat.v4.new_notebook()
    book.cells = [
        nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", bundle)])
    ]
    assert live_views(book) == 1
    [output] = book.cells[0].outputs
    lines = []
    for width in (390, 1300):
        page = open_page(
            f"<!DOCTYPE html>{output['data']['text/html']}", ready="iframe", width=width
        )
        inner = page.frames[1]
        inner.wait_for_selector("[data-ready] .gtitle")
        boxes = inner.locator(".gtitle tspan.line").evaluate_all(
            "all => all.map(one => { const box = one.getBoundingClientRect(); return [box.left, box.right, box.bottom]; })"
        )
        room = inner.evaluate(
            "[innerWidth, document.querySelector('.xy').getBoundingClientRect().top]"
        )
        for left, right, bottom in boxes:
            assert left >= 0 and right <= room[0] and bottom < room[1]
        lines.append(len(boxes))
        said = inner.locator(".gtitle").text_content()
        assert said.replace(" ", "") == f"Loss against tokens{sentence}".replace(" ", "")
    assert lines[0] > lines[1] == 2
