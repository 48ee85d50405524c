"""A page with an altered character shows no number from it, but reports the damage."""

import random
import re

import pytest
import torch

import transformer_lab as tl
from tests.browser.fixtures import choose_head
from tests.factories import small
from transformer_lab.views import HeadView
from transformer_lab.views.heads import data

SAYS = "his page is not as it was written: a part of it is damaged."


def flipped(text, at, chance):
    """Replace a character by another of its kind: a digit by a digit, so that it still parses."""
    kinds = ("0123456789", "ABCDEFGHabcdefgh", "+/=,:[]{}")
    kind = next((k for k in kinds if text[at] in k), "xyz")
    return text[:at] + chance.choice([x for x in kind if x != text[at]]) + text[at + 1 :]


@pytest.fixture(scope="module")
def text():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "ALL_MAPS_BYTES", 0)  # as for long texts: each map is requested
        return HeadView(tl.trace(small("decoder"), torch.arange(7)), layer=0).to_html()


def test_what_is_shown_first(open_page, text):
    start, end = re.search(r'id="tl-state">(.*?)</script>', text, re.S).span(1)
    chance = random.Random(3)
    numbers = [m.start() for m in re.finditer(r"\d", text[start:end])]
    bytes_ = text.index('"_maps":"', start) + 9
    places = [start + chance.choice(numbers) for _ in range(4)]
    for at in (*places, *(bytes_ + chance.randrange(60) for _ in range(4))):
        page = open_page(flipped(text, at, chance), ready="#tl-root")
        page.wait_for_function("() => document.querySelector('#tl-root').textContent")
        assert SAYS in page.locator("#tl-root").inner_text(), text[at - 30 : at + 30]
        assert page.locator("#tl-root *").count() == 0


def test_what_is_asked_for_later(open_page, text):
    found = re.search(r'<template data-block="decoder/1/2" data-info="([^"]*)"[^>]*>([^<]*)<', text)
    assert "data-gzip" not in found[0]  # gzip would detect the damage itself
    chance = random.Random(4)
    digits = [m.start() for m in re.finditer(r"\d", found[1])]
    places = [found.start(1) + chance.choice(digits) for _ in range(2)]
    for at in (*places, *(found.start(2) + chance.randrange(60) for _ in range(3))):
        page = open_page(flipped(text, at, chance))
        choose_head(page, 1, 1)
        page.wait_for_selector("[data-shown='decoder/1/1']")
        choose_head(page, 1, 2)
        page.locator("[data-part=message]", has_text=SAYS).wait_for()


def test_a_page_that_is_cut_off(open_page, text):
    state, script, block = (
        text.index(mark) for mark in ('id="tl-state"', "use strict", "<template data-block=")
    )
    cut = "This page is cut off: its end is missing"
    style = text.index("<style>", text.index("<title>"))
    for at in (style + 200, state + 60, text.index("</script>", state) - 9, script):
        page = open_page(text[:at], ready="[data-cut]")
        told = page.locator("body").inner_text().strip()
        assert told.startswith(f"{cut}, and without it nothing can be shown."), at
    for at in (block, text.rindex("<template data-block") + 90, text.index("<template data-end>")):
        page = open_page(text[:at])
        page.locator("[data-cut]", has_text=f"{cut}, and with it a part").wait_for()
        assert page.locator("[data-part=map]").is_visible()
    assert open_page(text).locator("[data-cut]").count() == 0


SAYS_BEFORE = "() => getComputedStyle(document.documentElement, '::before').content"


def test_a_page_that_is_cut_off_before_its_first_script_ends(open_page, text, tmp_path):
    first = text.index("</script>")
    told = '"This page is cut off: its end is missing, and without it nothing can be shown. Save it again, or copy it again."'
    page = None
    for at in range(text.index('content: "') + 11, first, 60):
        page = open_page(text[:at], ready="html", instead=page)
        said = page.evaluate(SAYS_BEFORE).removesuffix('"')
        assert len(said) > 1 and told.startswith(said), at
        assert said == told[:-1] or at < text.index("</style>")
        assert page.locator("html").bounding_box()["height"] > 10  # it is visible
    page = open_page(text, instead=page)
    assert page.evaluate(SAYS_BEFORE) == "none"
    page.locator("[data-part=save]").click()
    with page.expect_download() as download:
        page.locator("[data-part=html]").click()
    download.value.save_as(tmp_path / "copy.html")
    copy = (tmp_path / "copy.html").read_text("utf-8")
    assert open_page(copy).evaluate(SAYS_BEFORE) == "none"
    cut = open_page(copy[: copy.index("</script>")], ready="html")
    assert cut.evaluate(SAYS_BEFORE) == told
