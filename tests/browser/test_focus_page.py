"""The focus stays in a view when the focused element goes: else the host gets the next keys."""

import pytest

import transformer_lab as tl
from tests.every_view import TEXT
from transformer_lab.views import Explorer, HeadView

REFUSED = """() => { navigator.clipboard.writeText = async () => {
    await new Promise((done) => { window.refuse = done; });
    throw new Error("no");
}; }"""
AT = "document.activeElement.dataset.part"


def test_copying_the_old_way_leaves_the_focus_where_it_was(open_page):
    """Without https or localhost there is no clipboard API, and a text field takes the focus."""
    page = open_page(Explorer(tl.shipped("manual"), TEXT).to_html())
    page.evaluate(REFUSED)
    page.locator("[data-part=save]").click()
    page.locator("[data-part=copy]").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => window.refuse")
    page.evaluate("window.refuse()")
    page.wait_for_selector("[data-copied]")
    assert page.evaluate(AT) == "copy"
    assert page.locator("[data-part=copy]").is_visible()  # the menu is still open


def test_a_copy_that_is_refused_late_leaves_the_focus_where_it_is_by_then(open_page):
    page = open_page(HeadView(tl.shipped("manual").trace(TEXT)).to_html())
    page.evaluate(REFUSED)
    page.locator("[data-part=save]").click()
    page.keyboard.press("ArrowDown")
    assert page.evaluate(AT) == "copy"
    page.keyboard.press("Enter")
    page.wait_for_function("() => window.refuse")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(AT) == "link"
    page.evaluate("window.refuse()")
    page.wait_for_selector("[data-copied]")
    assert page.evaluate(AT) == "link"


@pytest.mark.parametrize("way", ["a style", "a closed box"])
def test_what_is_no_longer_seen_gives_the_focus_to_its_view(open_page, way):
    page = open_page(HeadView(tl.shipped("manual").trace(TEXT)).to_html())
    if way == "a style":
        page.locator("[data-part=present]").focus()
        page.evaluate("document.activeElement.style.display = 'none'")
    else:
        page.locator("[data-part=save]").click()
        page.keyboard.press("ArrowDown")
        page.evaluate("document.activeElement.closest('details').open = false")
    page.wait_for_function("() => document.activeElement.matches('.tl-view')")


def test_the_focus_is_let_go_where_the_reader_lets_go(open_page):
    page = open_page(HeadView(tl.shipped("manual").trace(TEXT)).to_html())
    page.locator("[data-part=present]").focus()
    page.evaluate("""() => { document.activeElement.blur();
        setTimeout(() => setTimeout(() => { window.later = true; })); }""")
    page.wait_for_function("() => window.later")
    assert page.evaluate("document.activeElement === document.body")
