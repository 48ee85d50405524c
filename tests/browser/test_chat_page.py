"""A conversation in the Explorer's page: named turns, which can be folded and follow the text."""

import pytest

import transformer_lab as tl
from tests.browser.test_alive_page import after, part, same, type_text
from tests.factories import small, talking

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Name a colour."},
]
STRIP = "[data-part=strip-text]"
NAMES = f"{STRIP} [data-segment]"


@pytest.fixture(scope="module")
def view():
    model = small(vocab_size=260, n_ctx=400, n_heads=2, d_model=16, noise=0.1)
    return tl.explore(tl.TextModel(model, talking(), "bytes"), MESSAGES)


def names(page):
    return page.locator(NAMES).all_inner_texts()


def pairs(page):
    return page.locator("[data-part=segments] option").all_inner_texts()[1:]


def test_turns_are_named_folded_and_follow_what_is_typed_and_written(
    open_page, view, accessible, screenshot
):
    page = open_page(view.to_html())
    system = range(*view.segments["system"])
    tokens = view.kinds["decoder"]["query_tokens"]
    shown = page.locator(f"{STRIP} [data-index]")
    assert names(page) == [f"▸ system · {len(system)} tokens", "▾ user", "▾ assistant"]
    assert shown.all_inner_texts() == tokens[len(system) :]
    assert page.locator(NAMES).first.get_attribute("aria-expanded") == "false"
    assert "which the model reads too" in page.locator(NAMES).first.get_attribute("title")
    accessible(page)
    screenshot(page, "chat-page-light")
    # By keyboard: into the strip, to its first item, where the focus stays.
    page.locator(f"{STRIP} [tabindex='0']").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{NAMES}:has-text('▾ system'):focus")
    same(page, view)
    page.locator(NAMES).nth(1).click()
    page.wait_for_selector(f"{NAMES}:has-text('▸ user')")
    assert names(page)[0] == "▾ system"
    page.locator(NAMES).nth(1).click()
    page.locator(part("spans")).click()
    wanted = ["within system", "user → system", "within user", "assistant → system"]
    assert pairs(page)[:4] == wanted
    page.locator(part("segments")).select_option("1,0")
    page.wait_for_selector("[data-part=span-row] .tl-in-a")
    view.mark(view.segments["user"], view.segments["system"])
    assert page.locator(part("sentence")).inner_text().startswith(view.head_sentence[:60])
    # Text typed within a turn, and text written by the model.
    text = view.text.replace("a colour", "two fine colours")
    type_text(page, text)
    view.text = text
    same(page, view)
    assert names(page) == ["▾ system", "▾ user", "▾ assistant"]
    after(page, lambda: page.locator(part("write")).click())
    view.write()
    same(page, view)
    assert names(page) == ["▾ system", "▾ user", "▾ assistant"]
    after(page, lambda: page.locator(part("head-off")).click())
    view.edits = [tl.ablate(view.layer, view.head)]
    same(page, view)
    type_text(page, "No conversation.")
    assert names(page) == pairs(page) == []
    assert "names of its parts were removed" in page.locator(part("effect")).inner_text()
    page.locator(part("undo")).click()
    page.wait_for_selector(NAMES)
    assert len(pairs(page)) > 5
    view.close()


def test_a_page_without_its_model_folds_too(open_page, view):
    page = open_page(tl.explore(view.text_model, MESSAGES).to_html(model=False))
    assert names(page)[0].startswith("▸ system · ")
    page.locator(NAMES).first.click()
    page.wait_for_selector(f"{NAMES}:has-text('▾ system')")
    assert page.locator(f"{STRIP} [data-index='0']").is_visible()
