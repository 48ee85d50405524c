"""From A to B in a notebook: what the reader marks Python knows, and what Python marks the reader sees."""

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
    assert " on average; even attention" in said
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
