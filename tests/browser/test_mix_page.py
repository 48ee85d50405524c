"""Drag a score, divide, hide a word: the page says what Python computes."""

from tests.browser.fixtures import says
from transformer_lab.views import MixView

WORDS = ["the", "cat", "<img src=x onerror=alert(1)>", "its", "milk"]
VALUES = [[0, 0], [4, 0], [1, 3], [1, 1], [0, 4]]


def test_scores_are_dragged_and_everything_follows(open_page, screenshot, accessible):
    view = MixView(WORDS, [0, 6, 0, 0, 0], VALUES, query="its", d=4)
    page = open_page(view.to_html(theme="dark"), width=700)
    says(page, view)
    slider = page.locator("[data-part=score-4]")
    slider.focus()
    for _ in range(25):
        page.keyboard.press("ArrowRight")
    view.scores = [0, 6, 0, 0, 2.5]
    says(page, view)
    box = page.locator("[data-part=score-0]").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    view.scores = [12, 6, 0, 0, 2.5]
    page.locator("[data-part=size] [data-value='1']").click()
    view.d = 1
    page.locator("[data-part=hide-1]").check()
    view.hidden = [1]
    says(page, view)
    for word, weight in enumerate(view.weights):
        shown = page.locator(f"[data-part=weight-{word}]").inner_text()
        assert shown == ("<0.01" if 0 < weight < 0.005 else f"{weight:.2f}")
    screenshot(page, "mix-dark")
    accessible(page)
    page.locator("[data-part=reset]").click()
    view.scores, view.d, view.hidden = [0, 6, 0, 0, 0], 4, []
    says(page, view)
    assert page.locator("th bdi").all_inner_texts() == [word.replace(" ", "·") for word in WORDS]


def test_all_of_it_is_seen_on_a_phone(open_page):
    words = ["the", "cat", "drank", "its", "milk"]
    view = MixView(words, [0, 6, 0, 0, 0], VALUES, query="its", d=4)
    page = open_page(view.to_html(), width=358)  # the book's column on a screen of 390
    assert page.evaluate("document.documentElement.scrollWidth") == 358
    for box in page.locator("[data-part^=hide-], th").all():
        place = box.bounding_box()
        assert place["x"] + place["width"] <= 358
