"""Token text, titles and model names run nothing and show literally, in every view and export."""

import base64
import json
import re
import warnings
from functools import partial

import nbformat
import pytest
import torch

import transformer_lab as tl
from tests.browser.fixtures import choose_head
from tests.factories import small
from transformer_lab.views import HeadView, TrainingView
from transformer_lab.views.pages.export import STATE_MIME, live_views

pytestmark = pytest.mark.xss

# Input, and what a reader must see.
TOKENS = {
    "<img src=x onerror=alert(1)>": "<img·src=x·onerror=alert(1)>",
    "</script><script>alert(2)</script>": "</script><script>alert(2)</script>",
    "<!--": "<!--",
    "$\\frac$": "$\\frac$",
    "\u202eabc": "⟨U+202E⟩abc",
    "a\0b": "a␀b",
    "\ud800": "⟨U+D800⟩",
    "😀": "😀",
    "שלום": "שלום",
    "&lt;b&gt;": "&lt;b&gt;",
    "\u2028'\"`${alert(3)}": "⟨U+2028⟩'\"`${alert(3)}",
}
TITLE = "</title><script>alert(4)</script>\u202e\0\ud800 & \"'><img src=x onerror=alert(5)>"
TITLE_SHOWN = (
    "</title><script>alert(4)</script>⟨U+202E⟩␀⟨U+D800⟩ & \"'><img src=x onerror=alert(5)>"
)


model = partial(small, n_heads=2, d_model=16, n_ctx=600)


@pytest.fixture(scope="module")
def view():
    labels = list(TOKENS)
    trace = tl.trace(model(), torch.arange(len(labels)), labels=labels)
    return HeadView(trace, title=TITLE)


def test_every_token_is_literal_on_a_page(view, open_page, map_of):
    page = open_page(view.to_html())
    for side in ("queries", "keys"):
        words = page.locator(f"[data-part={side}] bdi")
        assert words.all_text_contents() == list(TOKENS.values())
        assert words.evaluate_all("all => all.every(e => e.childElementCount === 0)")
    assert page.locator(".tl-title bdi").text_content() == TITLE_SHOWN
    assert page.title().startswith(f"{TITLE_SHOWN} · ")
    for index, token in enumerate(TOKENS.values()):
        page.locator(f"[data-part=queries] [data-index='{index}']").hover()
        assert f"“{token}”" in page.locator("[data-part=sentence]").text_content()
    map_of(page).click(len(TOKENS) - 1, 0)
    page.locator("details:not(.tl-popover) summary").click()
    assert page.locator("img, iframe, object, embed, a[href]").count() == 0
    assert page.locator("script").count() == 3
    page.locator("[data-part=save]").click()
    page.locator("[data-part=copy]").click()
    page.wait_for_selector("[data-copied]")
    assert (
        page.locator("#tl-root").get_attribute("data-copied")
        == "trace.pattern(layer=0, head=0)[10, 0]"
    )
    with page.expect_download() as png:
        page.locator("[data-part=png]").click()
    assert re.fullmatch(r"[\w-]+\.png", png.value.suggested_filename)


def test_a_page_saved_from_a_page_is_as_safe(view, open_page, tmp_path):
    page = open_page(view.to_html())
    page.locator("[data-part=queries] [data-index='0']").click()
    page.locator("[data-part=save]").click()
    with page.expect_download() as again:
        page.locator("[data-part=html]").click()
    again.value.save_as(tmp_path / "again.html")
    page = open_page(tmp_path / "again.html")
    assert page.locator("[data-part=queries] bdi").all_text_contents() == list(TOKENS.values())


def test_long_hostile_texts(open_page):
    labels = (list(TOKENS) * 60)[:600]
    trace = tl.trace(model(n_layers=4, n_heads=8), torch.arange(600) % 50, labels=labels)
    page = open_page(HeadView(trace, title=TITLE).to_html())
    choose_head(page, 0, 5)
    page.wait_for_selector("[data-shown='decoder/0/5']")
    assert page.locator("img").count() == 0


def test_nothing_of_a_page_ends_a_script_early(view):
    text = view.to_html()
    assert "\0" not in text
    text.encode("utf-8")
    for script in re.findall(r"<script[^>]*>(.*?)</script>", text, re.S):
        if script.startswith("{"):
            state = json.loads(script)["state"]
            assert state["_kinds"]["decoder"]["key_tokens"] == list(TOKENS.values())
    assert "alert(1)>" not in text.replace("onerror=alert(1)\\u003e", "")


def test_pictures_read_no_formula_and_warn_of_nothing_but_glyphs(view):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for selected in (None, (3, 0), (3, None), (None, 3)):
            view.selected = selected
            assert view.png()[:4] == b"\x89PNG"
    view.selected = None


def test_notebooks_keep_hostile_text_in_a_sandbox(view, open_page, tmp_path):
    from ipywidgets import Widget

    data, metadata = view._repr_mimebundle_()
    data["image/png"] = base64.b64encode(data["image/png"]).decode()
    output = nbformat.v4.new_output("display_data", data=data, metadata=metadata)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("view", outputs=[output])])
    book.metadata["widgets"] = {STATE_MIME: Widget.get_manager_state(widgets=[view])}
    nbformat.write(book, tmp_path / "hostile.ipynb")
    book = nbformat.read(tmp_path / "hostile.ipynb", as_version=4)
    assert live_views(book) == 1
    frame = book.cells[0].outputs[0]["data"]["text/html"]
    page = open_page(f"<!DOCTYPE html><meta charset=utf-8><body>{frame}</body>", ready="iframe")
    inner = page.frame_locator("iframe")
    inner.locator("[data-ready]").wait_for()
    assert inner.locator("[data-part=queries] bdi").all_text_contents() == list(TOKENS.values())


def test_training_views_too(open_page):
    class Coder:
        def encode(self, text):
            return list(range(len(TOKENS)))

        def tokens(self, ids):
            return list(TOKENS)

    view = TrainingView("probe", tokenizer=Coder(), title=TITLE)
    view.start(model(), 10)
    view.finish("failed at step 0: ValueError: <img src=x onerror=alert(6)>\u202e")
    page = open_page(view.to_html())
    assert page.locator("[data-part=queries] bdi").all_text_contents() == list(TOKENS.values())
    headline = page.locator("[data-part=headline]").text_content()
    assert "<img src=x onerror=alert(6)>⟨U+202E⟩" in headline
    assert page.locator("img").count() == 0


def test_explorers_too(open_page):
    class Coder:
        mask_id = bos_id = eos_id = pad_id = unk_id = None
        vocab_size = 50

        def encode(self, text):
            return list(range(len(TOKENS)))

        def tokens(self, ids):
            return [list(TOKENS)[i % len(TOKENS)] for i in ids]

    text = "".join(TOKENS)
    hostile = tl.TextModel(model(), Coder(), TITLE)
    view = tl.views.Explorer(hostile, text, edits=[tl.knock_out(0, 0, query=3, key=1)])
    page = open_page(view.to_html())
    assert page.locator(".tl-name bdi").text_content() == TITLE_SHOWN
    shown = page.locator("[data-part=predictions] bdi").all_text_contents()
    assert shown == [row.token for row in view.predictions]
    assert set(shown) <= set(TOKENS.values())
    strip = page.locator("[data-part=strip-text] [data-index] bdi").all_text_contents()
    assert strip == list(TOKENS.values())
    tokens = list(TOKENS.values())
    chip = f"“{tokens[3]}” → “{tokens[1]}” cut in layer 0, head 0"
    assert page.locator("[data-part=edits] bdi").text_content() == chip
    # A browser's text box replaces NUL and lone surrogates.
    wanted = text.replace("\ud800", "?").replace("\0", "\ufffd")
    assert page.locator("[data-part=text]").input_value() in (wanted, text.replace("\ud800", "?"))
    page.locator("[data-part=head-off]").click()
    page.wait_for_selector("[data-edits='2'][data-settled=true]")
    page.locator("[data-part=save]").click()
    with page.expect_download():
        page.locator("[data-part=html]").click()
    page.locator("[data-part=save]").click()
    with page.expect_download():
        page.locator("[data-part=png]").click()
    assert page.locator("img, iframe, object, embed, a[href]").count() == 0
    assert view.png()[:4] == b"\x89PNG"
