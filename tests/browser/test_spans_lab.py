"""Spans A and B, and heads side by side, in a notebook: Python has the page's marks and pins, and
the reverse."""

from tests.browser.rest import resized
from tests.browser.test_spans_page import drag, part

LIVE = """
import torch, transformer_lab as tl
torch.set_num_threads(1); torch.manual_seed(0)
model = tl.Transformer(tl.ModelConfig(vocab_size=50, n_layers=2, n_heads=4, d_model=32, n_ctx=64)).eval()
trace = tl.trace(model, torch.arange(26).reshape(2, 13))
view = tl.views.HeadView(trace, layer=1, head=2); view
"""
SAID = "t => document.querySelector('[data-part=sentence]').textContent === t"


def test_spans_go_both_ways(notebook):
    book = notebook(LIVE)
    page = book.page
    book.run_all()
    page.wait_for_selector("[data-ready]")
    page.locator(part("spans")).click()
    page.locator(part("span-row")).first.scroll_into_view_if_needed()
    drag(page, 5, 8)
    drag(page, 0, 2)
    book.until("view.block", "((5, 9), (0, 3))")
    said = eval(book.run("view.sentence"))
    assert " on average; uniform attention" in said
    page.wait_for_function(SAID, arg=said)
    book.run("view.mark((10, 13), (4, 6))\n0")
    page.wait_for_selector("[data-between='10,13,4,6']")
    page.wait_for_function(SAID, arg=eval(book.run("view.sentence")))
    book.run("view.text = 1\n0")  # other tokens
    page.wait_for_selector("[data-text='1'][data-between='']")
    book.run("view.mark((10, 13), (4, 6))\n0")
    page.wait_for_selector("[data-between='10,13,4,6']")
    page.wait_for_function(SAID, arg=eval(book.run("view.sentence")))
    page.locator("[data-part=span-row]:not([hidden]) [tabindex='0']").focus()
    page.keyboard.press("Escape")
    book.until("(view.a, view.b)", "(None, None)")
    assert page.errors == [] and book.cells() == 1


EXPLORE = """
import torch, transformer_lab as tl
torch.set_num_threads(1)
view = tl.explore(tl.shipped("manual"), "for key in self.keys:\\n    if key not in self.", layer=2, head=2); view
"""


def test_an_explorer_marks_and_pins_both_ways(notebook, screenshot):
    book = notebook(EXPLORE)
    page = book.page
    book.run_all()
    page.wait_for_selector("[data-ready]")
    page.locator(".tl-view").scroll_into_view_if_needed()
    page.locator(part("thumbnails")).focus()
    page.keyboard.press("p")
    book.until("view.pins", "[(2, 2)]")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("[data-part=pinned-map][data-head='2/2']")
    book.run("view.pins = [(0, 1), (3, 3)]\n0")
    page.wait_for_selector("[data-part=pinned-map][data-head='3/3']")
    book.run("view.edits = [tl.ablate(0, 1)]\nview.mark((9, 15), (0, 5))\n0")
    page.wait_for_selector("[data-between='9,15,0,5'][data-edits='1'][data-settled=true]")
    page.wait_for_function(SAID, arg=eval(book.run("view.head_sentence")))
    page.locator("[data-part=map-mode] [data-value=difference]").click()
    book.until("view.map_mode", "'difference'")
    page.wait_for_function(SAID, arg=eval(book.run("view.head_sentence")))
    for width, height in ((1440, 900), (1024, 768)):
        resized(page, width, height)
        page.locator(".tl-view").evaluate("view => view.scrollIntoView()")
        screenshot(page, f"pins-lab-{width}")
    book.run(
        "view.append(view.session.runs.text_model.encode('key').tolist()[0])\n0"
    )  # the text goes on
    book.until("view.block", "((9, 15), (0, 5))")
    assert page.errors == [] and book.cells() == 1
