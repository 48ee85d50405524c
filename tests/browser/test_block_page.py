"""A saved BlockView in a browser: stepped by keys, every number Python's."""

import pytest

from tests.browser.fixtures import choose_head
from transformer_lab.analysis.circuits import block_steps
from transformer_lab.views import BlockView
from transformer_lab.views.shared.messages import short

part = "[data-part={}]".format


def shows(page, place):
    page.wait_for_selector(f".tl-view[data-shown='{place}']")


def number(text):
    return float(text.replace("−", "-"))


def test_stepped_by_keys_and_every_number_is_pythons(open_page, trace, accessible, screenshot):
    view = BlockView(trace, 2, 1, 8, title="Small decoder")
    page = open_page(view.to_html())
    shows(page, "decoder/2/1/8/stream")
    page.locator(f"{part('step')} [aria-checked=true]").focus()
    for step in view.steps[1:]:
        page.keyboard.press("ArrowRight")
        shows(page, f"decoder/2/1/8/{step}")
        view.step = step
        assert page.locator(part("sentence")).inner_text() == view.sentence
        if step == "product":
            heads = page.locator(f"{part('keys')} thead th").all_inner_texts()
            assert heads == ["token", "key", "q · k"]
        if step == "softmax":
            cells = page.locator(f"{part('keys')} tbody tr")
            weights = block_steps(trace, 2, 1, 8).weights
            for key in range(13):
                told = cells.nth(key).locator("td.tl-number").last.inner_text()
                assert told == short(float(weights[key]))
            screenshot(page, "block-softmax")
    # The focus is still in the rail: Home goes to the first step.
    page.keyboard.press("Home")
    shows(page, "decoder/2/1/8/stream")
    strip = page.locator(f"{part('vectors')} canvas").first
    box = strip.bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 4)
    steps = block_steps(trace, 2, 1, 8)
    assert page.locator(part("readout")).inner_text().startswith("x, number 0: ")
    assert number(page.locator(part("number")).inner_text()) == pytest.approx(
        float(steps.stream[0]), abs=6e-5
    )
    # The page holds other tokens and heads, but no other layer: there the view stays as it is.
    page.locator(part("token-back")).click()
    shows(page, "decoder/2/1/7/stream")
    assert page.evaluate("document.activeElement.dataset.part") == "token-back"
    page.locator(part("token")).select_option("8")
    shows(page, "decoder/2/1/8/stream")
    page.locator(part("head-on")).click()
    shows(page, "decoder/2/2/8/stream")
    page.locator(part("head")).select_option(label="L0H2")
    page.wait_for_selector(f"{part('message')}:not([hidden])")
    assert "needs a live kernel" in page.locator(part("message")).inner_text()
    assert page.errors == []


TRAVELLING = """async () => {
    const root = document.querySelector("#tl-root"), before = root.dataset.shown;
    root.querySelector("[data-part=on]").click();
    while (root.dataset.shown === before) await new Promise(requestAnimationFrame);
    return root.querySelector(".tl-body").getAnimations({ subtree: true }).map(({ effect }) => effect.target.dataset.moves.split(" ")[0]);
}"""


def test_numbers_travel_from_step_to_step_where_motion_is_wanted(open_page, trace):
    for motion in ("no-preference", "reduce"):
        page = open_page(BlockView(trace, 2, 1, 8, step="mask").to_html())
        page.emulate_media(reduced_motion=motion)
        shows(page, "decoder/2/1/8/mask")
        moving = page.evaluate(TRAVELLING)
        assert ("bar" in moving) == bool(moving) == (motion == "no-preference")
    page = open_page(BlockView(trace, 2, 1, 8).to_html())
    assert "vector" in page.evaluate(TRAVELLING)  # norm(x) comes out of x


LIVE = """
import torch, transformer_lab as tl
from IPython.display import display
torch.set_num_threads(1)
trace = tl.shipped("manual").trace("for key in self.keys:\\n    if key not in self.")
heads, walk = tl.views.HeadView(trace, layer=2, head=2), tl.views.BlockView(trace, 2, 2, step="values")
display(heads, walk)
"""


def test_live_it_follows_the_heads(notebook, screenshot):
    book = notebook(LIVE)
    page = book.page
    book.run_all()
    page.wait_for_function("() => document.querySelectorAll('.tl-view[data-ready]').length === 2")
    heads, walk = (page.locator(".tl-view[data-ready]").nth(i) for i in range(2))
    choose_head(heads, 3, 2)
    place = book.run("walk.shown[3]")
    page.wait_for_selector(f".tl-view[data-shown='decoder/3/2/{place}/values']")
    walk.locator("[data-value=answer]").click()
    page.wait_for_selector(f".tl-view[data-shown='decoder/3/2/{place}/answer']")
    book.until("walk.step", "'answer'")
    sentence = book.run("walk.sentence").strip("'\"")
    assert walk.locator(part("sentence")).inner_text() == sentence
    walk.scroll_into_view_if_needed()
    screenshot(page, "block-lab")
    assert page.errors == []
