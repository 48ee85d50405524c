"""A page with a model in 8 bits says what they change, and computes what Python does with them."""

import random
import re

import pytest

import transformer_lab as tl
from tests.browser.test_alive_page import OTHER, WORDS, part, same, type_text
from tests.factories import small
from tests.views.pages.test_precision import in_eight_bits
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views import Explorer, HeadView
from transformer_lab.views.pages.carried import carried


@pytest.fixture(scope="module")
def model():
    tokenizer = WordTokenizer.train(WORDS)
    sizes = dict(vocab_size=tokenizer.vocab_size, noise=0.3, sharpness=3.0)
    return tl.TextModel(small("decoder", **sizes), tokenizer, "narrow")


@pytest.fixture(scope="module")
def text(model):
    return Explorer(model, WORDS, layer=0, head=0).to_html(precision="int8")


def test_what_is_typed_is_answered_with_the_weights_of_the_page(model, text, open_page, accessible):
    page = open_page(text)
    told = page.locator(part("narrow")).inner_text()
    assert told.startswith(
        "Weights in 8 bits: over 12 positions of the saved text the top prediction’s"
    )
    assert told == carried(model, "int8", [model.trace(WORDS)]).note
    type_text(page, OTHER)
    narrow = Explorer(in_eight_bits(model), OTHER, layer=0, head=0)
    same(page, narrow)
    whole = model.trace(OTHER).predictions(k=5)  # the unrounded weights predict otherwise
    shown = dict(narrow.trace.predictions(k=5))
    assert max(abs(shown.get(token, 0.0) - value) for token, value in whole) > 1e-3
    accessible(page)
    heads = open_page(HeadView(model.trace(WORDS), layer=1).to_html(precision="int8"))
    assert heads.locator(part("narrow")).inner_text() == told
    assert open_page(HeadView(model.trace(WORDS)).to_html()).locator(part("narrow")).count() == 0


def test_a_flipped_letter_of_the_model_is_a_sentence(text, open_page):
    """Anywhere in the element: its name, its metadata, its bytes."""
    start, end = re.search(r'<template data-block="model".*?</template>', text, re.S).span()
    chance, letters = random.Random(7), "Aa0+/={<>;"
    for at in (start + 25, *(chance.randrange(start + 60, end - 12) for _ in range(7))):
        letter = chance.choice([x for x in letters if x != text[at]])
        page = open_page(text[:at] + letter + text[at + 1 :])
        page.wait_for_function(
            """() => [...document.querySelectorAll("[role=alert], [role=status], [data-part=note]")]
                .some((e) => /not as it was written|does not hold it|not in this page/.test(e.textContent))"""
        )
        assert page.locator("script").count() == 3  # the page's own
