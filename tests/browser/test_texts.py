"""Several texts in one HeadView: saved as a page, and live in JupyterLab."""

import torch

import transformer_lab as tl
from tests.browser.fixtures import choose_head
from transformer_lab.views import HeadView

part = "[data-part={}]".format
SETUP = """
import torch, transformer_lab as tl
from tests.factories import WORDS, small
torch.set_num_threads(1)
tokens = torch.stack([torch.arange(13), torch.arange(13) + 9, torch.arange(13) * 3])
mask = torch.arange(13)[None] < torch.tensor([13, 9, 11])[:, None]
labels = [WORDS, WORDS[4:] + WORDS[:4], WORDS[::-1]]
trace = tl.trace(small(sharpness=3.0), tokens, mask=mask, labels=labels)
"""


def made():
    """The trace of the cell above."""
    space: dict = {}
    exec(SETUP, space)
    return space["trace"]


def sentence_is(place, sentence):
    place.locator(part("sentence"), has_text=sentence).wait_for()
    assert place.locator(part("sentence")).inner_text() == sentence


def test_a_page_shows_each_text_and_their_average(open_page, map_of, accessible, tmp_path):
    trace = made()
    view = HeadView(trace, layer=1, head=2)
    page = open_page(view.to_html())
    root, menu = page.locator("#tl-root"), page.locator(part("text"))
    assert menu.locator("option").all_inner_texts() == [
        *(f"text {name}" for name in view._texts["names"]),
        "mean of all 3",
        "spread of all 3",
    ]
    page.locator(part("text-on")).click()
    page.wait_for_selector("[data-text='1']")
    view.text = 1
    sentence_is(page, view.sentence)
    assert map_of(page).hover(8, 1) == f"{trace.pattern(1, 2, batch=1)[8, 1]:.4f}"
    page.mouse.move(5, 5)
    average = tl.heads.average_map(trace, 1, 2)
    profile = tl.heads.by_distance(trace, 1, 2)
    for what in ("mean", "spread"):
        menu.select_option(what)
        page.wait_for_selector(f"[data-text={what}]")
        view.text = what
        sentence_is(page, view.sentence)
        assert map_of(page).hover(8, 1) == f"{getattr(average, what)[8, 1]:.4f}"
        page.mouse.move(5, 5)
    assert page.locator(part("over-texts")).inner_text().startswith(average.sentence)
    canvas = page.locator(part("distance"))
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    numbers = [f"{x[1]:.2f}" for x in (profile.mean, profile.spread, profile.shuffled)]
    assert page.locator(part("distance-number")).inner_text() == (
        "1 back: {} ± {}; keys shuffled: {}".format(*numbers)
    )
    accessible(page)
    page.locator(part("save")).click()
    page.locator(part("copy")).click()
    page.wait_for_selector("[data-copied]")
    code = root.get_attribute("data-copied")
    assert torch.equal(eval(code), average.spread)
    with page.expect_download() as download:
        page.locator(part("html")).click()
    download.value.save_as(tmp_path / "again.html")
    again = open_page(tmp_path / "again.html", scheme="dark")
    sentence_is(again, view.sentence)
    accessible(again)
    again.locator(part("text")).select_option("0")
    again.wait_for_selector("[data-text='0']")
    view.text = 0
    sentence_is(again, view.sentence)


def test_a_page_of_one_text_has_no_picker(open_page, trace):
    page = open_page(HeadView(trace).to_html())
    assert not page.locator(part("text")).count() and not page.locator(part("distance")).count()


def test_python_sends_the_text_that_is_chosen(notebook):
    book = notebook(SETUP, "view = tl.views.HeadView(trace, layer=1, head=2)\nview")
    book.run_all()
    page = book.page
    page.wait_for_selector(".tl-view[data-ready]")
    shown = page.locator(".tl-view")
    for what in ("2", "mean", "spread"):
        shown.locator(part("text")).select_option(what)
        page.wait_for_selector(f".tl-view[data-text='{what}']")
        book.until("str(view.text)", repr(what))
        sentence_is(shown, eval(book.run("view.sentence")))
    choose_head(shown, 0, 3)
    book.until("(view.layer, view.head)", "(0, 3)")
    sentence_is(shown, eval(book.run("view.sentence")))
    book.run("view.text = 1\n0")
    page.wait_for_selector(".tl-view[data-text='1']")
    sentence_is(shown, eval(book.run("view.sentence")))
