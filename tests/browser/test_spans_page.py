"""Spans A and B on a saved page: marked by mouse, keys and segments, with Python's sentences."""

import json
import re

import pytest
import torch
import transformers

import transformer_lab as tl
from tests.browser.rest import resized
from tests.browser.test_explorer_page import CODE
from tests.browser.test_one_screen import CUT_OFF, SIZES
from tests.browser.test_save_page import same_numbers
from tests.browser.test_table_page import heads, opened
from tests.factories import FRENCH, WORDS
from transformer_lab.views import Explorer, HeadView
from transformer_lab.views.heads.data import HALF_ERROR

part = "[data-part={}]".format
TOKEN = "[data-part=span-row]:not([hidden]) [data-index='{}']".format


def said(page):
    return page.locator(part("sentence")).inner_text()


def block(page):
    return page.locator("#tl-root").get_attribute("data-between")


def drag(page, first, last, row=0):
    rows = page.locator("[data-part=span-row]:not([hidden])").nth(row)
    start, end = (rows.locator(f"[data-index='{i}']").bounding_box() for i in (first, last))
    page.mouse.move(start["x"] + 4, start["y"] + 8)
    page.mouse.down()
    page.mouse.move(end["x"] + end["width"] - 4, end["y"] + 8, steps=6)
    page.mouse.up()
    page.mouse.move(3, 3)


def sentence(view, a, b):
    view.mark(a, b)
    return view.sentence


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_spans_are_marked_by_dragging(open_page, accessible, map_of, trace, screenshot, scheme):
    view = HeadView(trace, layer=1, head=2)
    whole = view.sentence
    page = open_page(view.to_html(), scheme=scheme)
    assert not page.locator(part("span-panel")).is_visible()
    page.locator(part("spans")).click()
    accessible(page)
    drag(page, 5, 8)
    assert block(page) == "" and said(page) == whole  # A alone restricts nothing
    drag(page, 0, 2)
    page.wait_for_selector("[data-between='5,9,0,3']")
    assert said(page) == sentence(view, (5, 9), (0, 3))
    assert "The small maps are of the whole text." in page.locator(part("grid-note")).inner_text()
    assert (
        page.locator(part("map-note")).inner_text().startswith("Raw attention weights from A to B;")
    )
    accessible(page)
    screenshot(page, f"spans-{scheme}-1300")
    # The map shows that block alone, with its numbers.
    assert map_of(page).hover(7, 1) == f"{trace.pattern(1, 2)[7, 1]:.4f}"
    for column, tokens in (("queries", range(5, 9)), ("keys", range(3))):
        listed = page.locator(f"{part(column)} [data-index]").evaluate_all(
            "all => all.map(x => +x.dataset.index)"
        )
        assert listed == list(tokens)
    page.mouse.move(3, 3)
    page.locator(part("head-on")).click()
    page.wait_for_selector("[data-shown='decoder/1/3']")
    view.head = 3
    assert said(page) == view.sentence


def test_spans_are_marked_by_keys_and_freed_by_escape(open_page, trace):
    view = HeadView(trace, layer=1, head=2)
    whole = view.sentence
    page = open_page(view.to_html())
    page.locator(part("spans")).press("Enter")
    page.locator(TOKEN(0)).focus()
    for key in ["ArrowRight"] * 5 + ["Shift+ArrowRight"] * 3:
        page.keyboard.press(key)
    marks_b = page.locator("[data-part=span-which] [data-value=b]")
    assert marks_b.get_attribute("aria-checked") == "false"  # A may still grow
    page.keyboard.press("Home")
    assert marks_b.get_attribute("aria-checked") == "true"
    for key in ["Shift+ArrowRight", "Shift+ArrowRight"]:
        page.keyboard.press(key)
    page.wait_for_selector("[data-between='5,9,0,3']")
    assert said(page) == sentence(view, (5, 9), (0, 3))
    marked = page.locator(
        "[data-part=span-row]:not([hidden]) [aria-selected=true]"
    ).all_inner_texts()
    assert marked == [*WORDS[0:3], *WORDS[5:9]]
    # A single token as A.
    for key in ("a", "End", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("[data-between='12,13,0,3']")
    # Escape clears a cell first, then the spans.
    page.locator(part("map")).focus()
    page.keyboard.press("ArrowUp")
    root = page.locator("#tl-root")
    assert root.get_attribute("data-selected").startswith("12,")
    page.keyboard.press("Escape")
    assert root.get_attribute("data-selected") == "" and block(page) == "12,13,0,3"
    page.keyboard.press("Escape")
    page.wait_for_selector("[data-between='']")
    assert said(page) == whole and page.locator(part("span-clear")).is_disabled()


def in_letters(refused):
    """Python's error, with its arguments named A and B as a reader sees them."""
    return re.sub(r"\b([ab])=\(\d+, \d+\)", lambda name: name[1].upper(), str(refused.value))


def test_what_cannot_be_looked_at_is_refused_as_python_refuses_it(open_page, trace):
    view = HeadView(trace)
    page = open_page(view.to_html())
    page.locator(part("spans")).click()
    for spans in (((0, 3), (5, 9)), ((2, 6), (1, 4))):
        (a, b) = spans
        drag(page, a[0], a[1] - 1)
        drag(page, b[0], b[1] - 1)
        with pytest.raises(ValueError, match=r"share tokens|attends to a later one") as refused:
            view.mark(a, b)
        assert page.locator(part("span-why")).inner_text() == in_letters(refused)
        assert block(page) == ""
        page.locator(part("span-clear")).click()
        assert page.locator(part("span-why")).inner_text() == ""


def test_queries_and_keys_of_two_texts_have_a_row_each(open_page, accessible, translation):
    view = HeadView(translation, kind="cross", layer=1, head=2)
    page = open_page(view.to_html())
    page.locator(part("spans")).click()
    drag(page, 2, 4, row=0)
    drag(page, 1, 3, row=1)
    page.wait_for_selector("[data-between='2,5,1,4']")
    assert said(page) == sentence(view, (2, 5), (1, 4))
    assert f"“{FRENCH[2]}” … “{FRENCH[4]}” (3 tokens)" in said(page)
    accessible(page)
    page.locator("[data-part=kind] [data-value=encoder]").click()
    page.wait_for_selector("[data-shown='encoder/1/2'][data-between='']")


@pytest.fixture(scope="module")
def paired():
    torch.manual_seed(0)
    sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32)
    model = transformers.BertModel(transformers.BertConfig(vocab_size=20, **sizes)).eval()
    ids = torch.arange(3, 12)
    types = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 1]])
    return tl.trace(model, ids, token_type_ids=types, labels=[f"w{i}" for i in range(9)])


def test_segments_are_in_a_menu(open_page, accessible, paired):
    view = HeadView(paired)
    page = open_page(view.to_html())
    page.locator(part("spans")).click()
    names = page.locator(f"{part('segments')} option").all_inner_texts()
    assert names == [
        "segments …",
        "within segment 1",
        "segment 1 → segment 2",
        "segment 2 → segment 1",
        "within segment 2",
    ]
    page.locator(part("segments")).select_option(label="segment 2 → segment 1")
    page.wait_for_selector("[data-between='4,9,0,4']")
    assert said(page) == sentence(view, *reversed(tl.heads.segments(paired)))
    accessible(page)


def test_a_page_holds_what_is_marked_and_its_files_hold_that_block(open_page, long_trace):
    view = HeadView(long_trace, layer=2, head=3, a=(300, 420), b=(10, 200))
    page = open_page(view.to_html())
    assert block(page) == "300,420,10,200"
    page.wait_for_function(
        "t => document.querySelector('[data-part=sentence]').textContent === t", arg=view.sentence
    )
    assert page.locator(TOKEN(300)).evaluate("x => x.classList.contains('tl-in-a')")
    same_numbers(page, view, within=HALF_ERROR)


@pytest.mark.parametrize("width", [390, 800])
def test_the_control_at_the_sentences_end_is_seen(open_page, long_trace, width):
    view = HeadView(long_trace, layer=2, head=3, a=(300, 420), b=(10, 200))
    page = open_page(view.to_html(), width=width)
    cut = "x => x.scrollHeight - x.clientHeight"
    assert page.locator(part("sentence")).evaluate(cut) <= 1


def test_hidden_keys_are_out_of_sight(open_page, trace):
    view = HeadView(trace, layer=1, head=1, a=(4, 8), b=(0, 3))
    view._options = {"hide_first": True}
    page = open_page(view.to_html())
    page.wait_for_function(
        "t => document.querySelector('[data-part=sentence]').textContent === t", arg=view.sentence
    )
    assert json.loads(page.locator("#tl-state").inner_text())["state"]["a"] == [4, 8]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_explorer_marks_them_too_and_lists_what_every_head_carries(
    open_page, accessible, screenshot, scheme
):
    view = Explorer(tl.shipped("manual"), CODE, layer=2, head=2, a=(9, 15), b=(0, 5))
    width, height = SIZES[1]
    page = open_page(view.to_html(effects=False), width=width, height=height, scheme=scheme)
    assert block(page) == "9,15,0,5"
    sentence_of = "t => document.querySelector('[data-part=sentence]').textContent === t"
    page.wait_for_function(sentence_of, arg=view.head_sentence)
    for width, height in SIZES:
        resized(page, width, height)
        assert page.evaluate("document.documentElement.scrollHeight") == height
        page.wait_for_function(
            f"want => String(({CUT_OFF})().map(([what]) => what)) === want", arg="edits"
        )
        assert page.locator(part("span-row")).first.is_visible()
        screenshot(page, f"spans-explorer-{width}-{scheme}")
    accessible(page)
    marked = page.locator("[data-part=span-row]:not([hidden]) .tl-in-a")
    assert marked.count() == 6
    line = marked.first.evaluate("x => getComputedStyle(x).borderBottomWidth")
    assert line == "3px"  # the Explorer's own tokens have none
    # The table sorts by the fractions, which are Python's.
    opened(page)
    for column, wanted in (
        ("from A to B", tl.heads.share_between(view.trace, (9, 15), (0, 5))),
        ("even", None),
    ):
        press = page.locator(f"[data-part=head-rows] [data-column='{column}']")
        press.click()
        if wanted is not None:
            order = wanted.flatten().argsort(descending=True).tolist()
            assert heads(page)[:8] == [f"decoder/{at // 4}/{at % 4}" for at in order[:8]]
    assert press.get_attribute("title").startswith("Sort by even: what would go from A to B if")
    page.locator(part("table-query")).fill("from A to B > .3")
    assert len(heads(page)) == int(
        (tl.heads.share_between(view.trace, (9, 15), (0, 5)) > 0.3).sum()
    )
    screenshot(page, f"spans-table-{scheme}")
    accessible(page)
    # Other spans, which the page computes itself, and refused ones.
    page.locator(part("table-query")).fill("")
    which = "[data-part=span-which] [data-value={}]".format
    drag(page, 5, 5)
    page.locator(which("b")).click()
    drag(page, 1, 1)
    page.wait_for_selector("[data-between='5,6,1,2']")
    shares = tl.heads.share_between(view.trace, (5, 6), (1, 2)).flatten()
    page.locator("[data-part=head-rows] [data-column='from A to B']").click()
    assert heads(page)[0] == "decoder/{}/{}".format(*divmod(int(shares.argmax()), 4))
    page.locator(which("a")).click()
    drag(page, 4, 6)
    page.locator(which("b")).click()
    drag(page, 2, 4)
    with pytest.raises(ValueError, match="share tokens") as refused:
        view.mark((4, 7), (2, 5))
    assert page.locator(part("span-why")).inner_text() == in_letters(refused)
    page.locator(part("spans")).click()
    page.wait_for_selector("[data-between='']")
    assert page.locator(part("strip-text")).is_visible()
