"""A saved CompareView in a browser: every number read here is compared with Python's."""

from functools import partial

import pytest
import torch

import transformer_lab as tl
from tests.adapters.families import ours, text, tiny
from tests.browser.fixtures import WRITTEN
from tests.browser.fixtures import part_says as says
from tests.browser.rest import resized
from tests.browser.test_save_page import same_numbers
from tests.factories import small
from transformer_lab.views import CompareView, HeadView

part = "[data-part={}]".format
FIRST = ["the", "animal", "was", "too", "tired"]
SECOND = ["the", "<i>old", "animal", "was", "too", "wide"]


def cell(page, name, row, column):
    data = page.locator(part(name)).evaluate("c => ({...c.dataset})")
    left, top, across, down = (float(data[n]) for n in ("left", "top", "across", "down"))
    return {"x": left + (column + 0.5) * across, "y": top + (row + 0.5) * down}


def four(value):
    return "–" if value != value else f"{value:.4f}".replace("-", "−")


model = partial(small, kind="encoder", sharpness=4, vocab_size=20, n_heads=3, d_model=24, n_ctx=100)


def traces(made):
    words = sorted({*FIRST, *SECOND})
    ids = [torch.tensor([words.index(word) for word in text]) for text in (FIRST, SECOND)]
    return [tl.trace(made, i, labels=t) for i, t in zip(ids, (FIRST, SECOND), strict=True)]


def test_a_page_holds_every_head_of_many(open_page):
    many = model(n_layers=13, n_heads=16, d_model=32)  # more heads than a page keeps by default
    view = CompareView(*traces(many), layer=12, head=15)
    page = open_page(view.to_html())
    page.locator(part("head")).select_option("0")
    view.layer = view.head = 0
    says(page, "sentence", view.sentence)
    assert page.locator(part("message")).is_hidden()


def test_numbers_gaps_and_one_selection(open_page, screenshot):
    view = CompareView(*traces(model()), names=("tired", "wide"))
    page = open_page(view.to_html())
    says(page, "sentence", view.sentence)
    a, b = view.maps()
    for side, query, key in (
        ("first", 3, 2),
        ("second", 5, 1),
        ("difference", 2, 5),
        ("first", 4, 1),
    ):
        page.locator(part(side)).hover(position=cell(page, side, query, key))
        view.selected = (query, key)
        says(page, "sentence", view.sentence)
        says(page, "number-first", four(float(a[query, key])))
        says(page, "number-second", four(float(b[query, key])))
        says(page, "number-difference", four(float(b[query, key]) - float(a[query, key])))
    page.locator(part("second")).click(position=cell(page, "second", 3, 2))
    page.mouse.move(5, 5)
    view.selected = (3, 2)
    says(page, "sentence", view.sentence)
    assert page.locator(part("lock")).is_visible()
    page.evaluate(WRITTEN)
    for width in range(900, 1300, 50):
        resized(page, width, 900)
    numbers = [text for text in page.evaluate("window.written") if text.startswith("−0.")]
    assert numbers and {len(text) for text in numbers} == {5}  # drawn in full or not at all
    page.locator(part("difference")).focus()
    page.keyboard.press("ArrowDown")
    view.selected = (4, 2)
    says(page, "sentence", view.sentence)
    page.keyboard.press("Escape")
    view.selected = None
    says(page, "sentence", view.sentence)
    screenshot(page, "compare-light", full_page=True)


def test_heads_by_the_grid(open_page):
    view = CompareView(*traces(model()), layer=0, head=0)
    page = open_page(view.to_html(), scheme="dark")
    grid = view.moved()
    page.locator(part("grid")).hover(position=cell(page, "grid", 1, 2))
    says(page, "moved", f"{100 * grid[1, 2]:.1f}%")
    page.locator(part("grid")).click(position=cell(page, "grid", 1, 2))
    page.wait_for_selector("#tl-root[data-shown='encoder/1/2']")
    view.layer, view.head = 1, 2
    says(page, "sentence", view.sentence)
    page.locator(part("grid")).focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#tl-root[data-shown='encoder/1/1']")
    page.locator("details:not(.tl-popover) summary").click()
    view.head = 1
    difference = view.difference().nan_to_num(0)
    most = float(difference.flatten()[difference.abs().argmax()])
    assert page.locator("[data-part=table] tbody tr").first.inner_text().endswith(four(most))


def test_heads_that_come_one_by_one(open_page):
    made = model(kind="decoder", n_layers=6, n_heads=12)
    ids = torch.arange(90) % 20
    view = CompareView(tl.trace(made, ids), tl.trace(made, ids.flip(0)), layer=0, head=0)
    page = open_page(view.to_html())
    page.locator("[data-part=head-back]").click()  # from the first head to the last
    page.wait_for_selector("#tl-root[data-shown='decoder/5/11']")
    view.layer, view.head = 5, 11
    says(page, "sentence", view.sentence)
    page.evaluate(
        """() => { for (let i = 0; i < 1000; i++) document.querySelector("[data-part=head-on]").click(); }"""
    )
    page.wait_for_selector("#tl-root[data-shown='decoder/5/3']")
    view.layer, view.head = divmod((5 * 12 + 11 + 1000) % 72, 12)
    says(page, "sentence", view.sentence)


def test_three_maps_stand_in_a_row_in_a_notebook_1200_pixels_wide(open_page):
    page = open_page(CompareView(*traces(model())).to_html(), width=1010)
    boxes = [page.locator(part(side)).bounding_box() for side in ("first", "second", "difference")]
    assert len({box["y"] for box in boxes}) == 1
    rights = [box["x"] + box["width"] for box in boxes]
    assert rights == sorted(rights)
    assert rights[-1] <= 1010


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_goes_to_nothing_stands_apart_from_the_keys(open_page, accessible, screenshot, scheme):
    sunk = [tl.trace(made, **ours(text(made))) for made in (tiny("gpt_oss"), tiny("mimo_v2_flash"))]
    view = CompareView(*sunk, names=("oss", "mimo"), layer=0, head=1)
    page = open_page(view.to_html(), scheme=scheme)
    says(page, "sentence", view.sentence)
    assert "Dashed: what goes to no token." in page.locator(part("note")).inner_text()
    n = view.maps()[0].shape[1]
    first, second = (float(side[2]) for side in view.to_nothing())
    place = cell(page, "first", 2, n)
    page.locator(part("first")).hover(position={**place, "x": place["x"] + 7})
    says(page, "number-first", four(first))
    says(page, "number-second", four(second))
    view.selected = (2, n)
    says(page, "sentence", view.sentence)
    page.locator(part("first")).hover(
        position={
            **place,
            "x": place["x"]
            - 0.5 * float(page.locator(part("first")).get_attribute("data-across"))
            + 3,
        }
    )
    view.selected = None
    says(page, "sentence", view.sentence)  # the gap is not a cell
    accessible(page)
    screenshot(page, f"compare-nothing-{scheme}")
    same_numbers(page, view)


PIXEL = """(canvas, { x, y }) => {
    const ratio = canvas.width / canvas.clientWidth;
    return [...canvas.getContext("2d").getImageData(x * ratio, y * ratio, 1, 1).data];
}"""


def test_a_weight_has_the_colour_of_a_heads_map(open_page):
    made = small(n_layers=9, n_heads=2, d_model=16, sharpness=4)
    a, b = (tl.trace(made, torch.tensor(ids)) for ids in ([3, 5, 7, 2], [3, 6, 7, 2]))
    view, pixels = CompareView(a, b), {}
    for name, shown in (("first", view), ("map", HeadView(a, layer=view.layer, head=view.head))):
        page = open_page(shown.to_html(), width=1200)
        canvas = page.locator(part(name))
        # beside the number in the cell
        at = [cell(page, name, i, j - 0.4) for i in range(4) for j in range(i + 1)]
        pixels[name] = [canvas.evaluate(PIXEL, spot) for spot in at]
    # A head's weights are sent in 16 bits, which may shift a shade.
    for one, other in zip(pixels["first"], pixels["map"], strict=True):
        assert one == pytest.approx(other, abs=2)
    assert len({str(pixel) for pixel in pixels["map"]}) > 3
