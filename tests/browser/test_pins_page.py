"""Heads pinned beside the selected one: by button and key, with the same colours, one selection, on
one screen."""

import pytest

import transformer_lab as tl
from tests.browser.fixtures import choose_head
from tests.browser.rest import resized
from tests.browser.test_explorer_page import CODE
from tests.browser.test_one_screen import CUT_OFF, SIZES
from tests.browser.test_save_page import same_numbers
from transformer_lab.views import Explorer, HeadView

part = "[data-part={}]".format
PINNED = "[data-part=pinned-map][data-head='{}']".format
HEADS = (
    """() => [...document.querySelectorAll("[data-part=pinned-map]")].map((c) => c.dataset.head)"""
)
# Where each map's cells are on the page: left and top of the first, and their size.
CELLS = """() => [...document.querySelectorAll("[data-part=map], [data-part=pinned-map]")].map((canvas) => {
    const box = canvas.getBoundingClientRect();
    const { left, top, cell } = canvas.dataset;
    return { left: box.left + +left, top: box.top + +top, cell: +cell, bottom: box.bottom, right: box.left + +left + 13 * cell };
})"""


def told(page, head=None):
    if head is None:
        return page.locator(part("chosen-number")).inner_text()
    return page.locator(f"figure:has({PINNED(head)}) [data-part=pinned-number]").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_heads_are_pinned_and_let_go(open_page, accessible, map_of, trace, screenshot, scheme):
    view = HeadView(trace, layer=1, head=2)
    page = open_page(view.to_html(), scheme=scheme, width=1300)
    assert page.locator(part("queries")).is_visible()  # the lines
    page.locator(part("pin")).click()
    assert page.locator(part("pin")).inner_text() == "unpin"
    assert page.evaluate(HEADS) == []  # it is the selected head
    choose_head(page, 3, 1)
    page.wait_for_selector(PINNED("1/2"))
    page.locator(part("thumbnails")).press("p")
    page.locator(part("thumbnails")).press("ArrowUp")
    page.wait_for_selector(PINNED("3/1"))
    assert page.evaluate(HEADS) == ["1/2", "3/1"]
    # Cells have one size and are aligned; the lines have made room.
    first, *others = page.evaluate(CELLS)
    for one in others:
        assert one["cell"] == first["cell"]
        assert min(abs(one[side] - first[side]) for side in ("left", "top")) < 1
    assert not page.locator(part("queries")).is_visible()
    accessible(page)
    screenshot(page, f"pins-{scheme}-1300")
    # Hovering a cell in one map shows its number in all.
    page.locator(PINNED("3/1")).hover(position=at(page, PINNED("3/1"), 8, 1))
    for head, (layer, number) in {None: (2, 1), "1/2": (1, 2), "3/1": (3, 1)}.items():
        assert told(page, head) == shown(trace.pattern(layer, number)[8, 1])
    page.locator(PINNED("3/1")).click(position=at(page, PINNED("3/1"), 8, 1))
    page.wait_for_selector("[data-selected='8,1']")
    view.layer, view.head, view.selected, view.pins = 2, 1, (8, 1), [(1, 2), (3, 1)]
    assert page.locator(part("sentence")).inner_text() == view.sentence
    assert same_numbers(page, view)["chosen"]["pins"] == [[1, 2], [3, 1]]
    # A pin's name selects its head, and its cross unpins it.
    page.locator(part("pinned")).first.click()
    page.wait_for_selector("[data-shown='decoder/1/2']")
    assert page.evaluate(HEADS) == ["3/1"]
    page.locator(part("unpin")).click()
    page.wait_for_function("() => !document.querySelector('[data-part=pinned-map]')")
    assert page.evaluate("document.activeElement.dataset.part") == "map"
    page.keyboard.press("p")
    assert page.locator(part("pin")).inner_text() == "pin"


def at(page, canvas, query, key):
    data = page.locator(canvas).evaluate("c => ({...c.dataset})")
    cell = float(data["cell"])
    return {
        "x": float(data["left"]) + (key + 0.5) * cell,
        "y": float(data["top"]) + (query + 0.5) * cell,
    }


def shown(weight):
    return f"{float(weight):.2f}" if weight >= 0.005 else "<0.01"


def test_a_fifth_is_refused_and_a_page_begins_with_those_of_python(open_page, trace):
    view = HeadView(trace, layer=0, head=0, pins=[(1, 0), (1, 1), (2, 0), (3, 3)])
    page = open_page(view.to_html())
    assert page.evaluate(HEADS) == ["1/0", "1/1", "2/0", "3/3"]
    pin = page.locator(part("pin"))
    assert pin.get_attribute("aria-disabled") == "true"
    assert pin.get_attribute("title").startswith("4 heads are pinned")
    pin.click(force=True)
    assert len(page.evaluate(HEADS)) == 4 and pin.inner_text() == "pin"
    said = page.locator(part("message"))
    assert said.inner_text().startswith("4 heads are pinned") and said.is_visible()


def test_a_page_that_keeps_some_layers_says_which_pin_it_has_not(open_page, long_trace):
    view = HeadView(long_trace, layer=2, head=3, pins=[(2, 4), (0, 1)])
    page = open_page(view.to_html(layers=[2]))
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-part=pinned-number]')].every((x) => x.textContent !== '…')"
    )
    assert told(page, "2/4") == ""
    assert "this page does not hold it" in told(page, "0/1")


@pytest.fixture(scope="module")
def pinned():
    """A saved Explorer with three pins, under edits."""
    edits = [tl.ablate(2, 2), tl.knock_out(3, 1, query=14, key=5)]
    view = Explorer(
        tl.shipped("manual"), CODE, layer=3, head=1, pins=[(2, 2), (1, 0), (0, 3)], edits=edits
    )
    view._facts.name_heads()
    return view.to_html(effects=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_explorer_with_pins_stands_on_one_screen(
    open_page, accessible, screenshot, pinned, scheme
):
    page = open_page(pinned, width=SIZES[0][0], height=SIZES[0][1], scheme=scheme)
    for width, height in (*SIZES, (1300, 800)):
        resized(page, width, height)
        assert page.evaluate("document.documentElement.scrollHeight") == height
        assert page.evaluate(CUT_OFF) == []
        maps = page.evaluate(CELLS)
        assert len(maps) == 4 and len({one["cell"] for one in maps}) == 1
        foot = page.locator(part("legend")).bounding_box()
        side = page.locator(".tl-panel-side").bounding_box()
        assert max(one["bottom"] for one in maps) <= foot["y"] + 1
        assert max(one["right"] for one in maps) <= side["x"] + 1
        screenshot(page, f"pins-explorer-{width}-{scheme}")
    accessible(page)
    assert told(page, "2/2").endswith(" · induct")
    assert told(page, "1/0").startswith(("+", "−", "0"))


def test_on_a_phone_they_follow_the_chosen_map(open_page, screenshot, pinned):
    page = open_page(pinned, width=390, height=844)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    first, *others = page.evaluate(CELLS)
    assert all(one["top"] >= first["top"] - 1 for one in others)
    grid = page.locator(part("thumbnails")).bounding_box()
    assert max(one["bottom"] for one in others) <= grid["y"]
    screenshot(page, "pins-explorer-390", full_page=True)
