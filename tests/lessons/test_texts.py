"""Shaded texts show the numbers they are given, and no text becomes markup."""

import re

import numpy as np
import pytest
from matplotlib.colors import to_hex

from transformer_lab.lessons.pictures import DARK, LIGHT
from transformer_lab.lessons.texts import Lookup, _wrapped, marked

WORDS = ["the", "<b>cat</b>", "drank", "its", "milk"]


def lookup(**more):
    weights = np.eye(5)[:2] * 0.8
    return Lookup(["who?", "<i>what</i>?"], WORDS, weights, alt="what is looked at", **more)


def test_every_choice_has_its_text_and_the_first_is_chosen():
    page = lookup(first=1, told=["the cat", "milk & more"]).html()
    assert page.count('type="radio"') == page.count('class="tl-text') == 2
    assert re.findall(r'id="tl\w+-(\d)" checked', page) == ["1"]
    assert "milk &amp; more" in page
    names = set(re.findall(r'name="(tl\w+)"', page))
    assert len(names) == 1
    assert f"#{names.pop()}-0:checked~.t0" in page


def test_numbers_in_sentences_have_the_sign_that_those_of_pictures_have():
    page = lookup(told=["falls by -0.3", "rises"], caption="from -2 to 5e-08").html()
    assert "<div>falls by −0.3</div>" in page
    assert "<figcaption>from −2 to 5e−8</figcaption>" in page


def test_weights_become_shades_and_text_stays_text():
    page = lookup().html()
    assert re.findall(r'--w:(\d\.\d\d)" title="(\d\.\d\d)">([^/]*)<', page)[0] == (
        "0.80",
        "0.80",
        "the",
    )
    assert "<b>cat" not in page
    assert "<i>what" not in page
    assert "&lt;b&gt;cat" in page
    assert "who?: the 0.80" in repr(lookup())


def test_two_lookups_on_a_page_do_not_share_their_choice():
    one, two = lookup().html(), lookup(told=["a", "b"]).html()
    assert not set(re.findall(r'name="(tl\w+)"', one)) & set(re.findall(r'name="(tl\w+)"', two))


@pytest.mark.parametrize(
    "bad",
    [
        dict(weights=np.zeros((2, 4))),
        dict(told=["one"]),
        dict(first=2),
        dict(weights=np.zeros(5)),
        dict(words=[["a"], ["b", "c"]]),
        dict(words=[["a"] * 5]),
    ],
)
def test_what_does_not_fit_is_refused(bad):
    given = dict(words=WORDS, weights=np.zeros((2, 5)), alt="x")
    with pytest.raises(ValueError, match=r"shape|sentences|outside|texts"):
        Lookup(["a", "b"], **{**given, **bad})


def test_each_choice_may_have_words_of_its_own():
    page = Lookup(["a", "b"], [["one", "two"], ["six", "ten"]], np.eye(2), alt="x")
    assert re.findall(r'"1.00">(\w+)<', page.html()) == ["one", "ten"]
    assert "b: ten 1.00" in repr(page)


def test_marked_text_is_wrapped_in_order_and_drawn_for_both_pages():
    spots, rows = _wrapped(["aaaa"] * 10, columns=20)
    assert rows == 3
    assert sorted(spots, key=lambda s: (s[1], s[0])) == spots
    assert all(column + 4 <= 20 for column, _ in spots)
    picture = marked({"one": (WORDS, np.arange(5) / 5), "two": (WORDS, np.zeros(5))}, alt="words")
    for theme in (LIGHT, DARK):
        grounds = [to_hex(patch.get_facecolor()) for patch in picture.figure(theme).axes[0].patches]
        plain = [ground == theme.page for ground in grounds]
        assert plain == [True] + 4 * [False] + 5 * [True]  # zero looks like the page
    for theme in (LIGHT, DARK):
        drawn = picture.svg(theme)
        assert drawn.count("&lt;b&gt;cat&lt;/b&gt;") == 2
    with pytest.raises(ValueError, match="one number per word"):
        marked({"one": (WORDS, [1.0])}, alt="words")
