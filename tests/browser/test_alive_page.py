"""A page with an embedded model does what a live view does with only a browser, and with Python's
numbers."""

import json
import re

import pytest
import torch

import transformer_lab as tl
from tests.browser.fixtures import Map, choose_head
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views import Explorer, HeadView

part = "[data-part={}]".format
WORDS = "the animal did not cross the street because it was too tired"
OTHER = "the street was too tired because"


def small(kind, **options):
    torch.manual_seed(6)
    tokenizer = WordTokenizer.train(WORDS)
    sizes = dict(vocab_size=tokenizer.vocab_size, n_layers=2, n_heads=2, d_model=16, n_ctx=32)
    config = tl.ModelConfig(kind=kind, **(sizes | options))
    model = tl.Transformer(config).eval()
    with torch.no_grad():
        for weight in model.parameters():  # sharpened, and rounded as in the page
            weight.add_(0.4 * torch.randn_like(weight)).copy_(weight.half().float())
    return tl.TextModel(model, tokenizer, f"small {kind}")


def rows(page):
    found = page.locator("[data-part=predictions] tbody tr")
    return found.evaluate_all(
        "all => all.map(r => [r.querySelector('th').innerText,"
        " ...[...r.querySelectorAll('[data-side]')].map(e => Number(e.title))])"
    )


def same(page, view):
    """Check that the page shows what Python computes."""
    shown, wanted = rows(page), view.session.outcome.rows
    assert [token for token, *_ in shown] == [row.token for row in wanted]
    for (_, *numbers), row in zip(shown, wanted, strict=True):
        told = [x for x in (row.before, row.after) if x is not None]
        assert numbers == pytest.approx(told, abs=1e-4)
    effect = page.locator(part("effect")).inner_text()
    if view.edits:
        assert effect.split(" (KL ")[0] == view._outcome["sentence"].split(" (KL ")[0]
    else:
        assert effect == "" or effect.startswith(("After ", "At the mask"))
    tokens = page.locator("[data-part=strip-text] [data-index]").all_inner_texts()
    both = view.text_model.kind == "encoder-decoder"
    kind = "encoder" if both or "encoder" in view._kinds else "decoder"
    assert tokens == view._kinds[kind]["query_tokens"]
    cells = page.locator("[data-part=experts] button").all_inner_texts()
    experts = view._outcome["experts"] or ()
    assert cells == [
        str(gates[0][0]) if gates else "–" for layer in filter(None, experts) for gates in layer
    ]


def after(page, act):
    """Act, and wait until the page has settled on a new result."""
    stamp = page.locator("[data-stamp]").get_attribute("data-stamp")
    act()
    page.wait_for_function(
        "was => { const d = document.querySelector('[data-stamp]').dataset;"
        " return d.stamp !== was && d.settled === 'true'; }",
        arg=stamp,
    )


def type_text(page, text, field="text"):
    page.locator(part(field)).fill(text)
    after(page, lambda: page.locator(part(field)).press("Enter"))


def edits_are_pythons(page, view):
    """Switch two heads off and cut an edge, which is undone; (0, 0) is selected."""
    after(page, lambda: page.locator(part("head-off")).click())
    choose_head(page, 1, 1)
    after(page, lambda: page.locator(part("head-off")).click())
    view.edits = [tl.ablate(0, 0), tl.ablate(1, 1)]
    same(page, view)
    choose_head(page, 1, 0)
    view.layer, view.head = 1, 0
    big = Map(page)
    big.click(4, 2)
    after(page, lambda: big.canvas.press("x"))
    view.edits = [*view.edits, tl.knock_out(1, 0, query=4, key=2)]
    same(page, view)
    assert float(big.hover(4, 2)) == 0
    assert float(re.match(r"[.\d]+", big.hover(4, 1))[0]) == pytest.approx(
        float(view.row(4)[1]), abs=1e-3
    )
    after(page, lambda: page.locator(part("undo")).click())
    view.edits = view.edits[:2]
    same(page, view)


def test_a_decoder_lives_on_in_its_page(open_page, tmp_path, accessible):
    model = small("decoder", n_experts=3, experts_per_token=2)
    first = model.model.decoder.blocks[0]
    first.feed_forward = first.feed_forward.experts[0]  # a layer without experts
    view = Explorer(model, WORDS, layer=0, head=0)
    page = open_page(view.to_html())
    assert "kernel" not in page.locator("#tl-root").inner_text()
    type_text(page, OTHER)
    view.text = OTHER
    same(page, view)
    # The page measures every head by itself.
    page.wait_for_function("() => document.querySelector('[data-part=head-effect]').textContent")
    wanted = view.effect_of(0, 0).sentence("If layer 0, head 0 is switched off").split(" (KL ")[0]
    assert page.locator(part("head-effect")).get_attribute("title").split(" (KL ")[0] == wanted
    edits_are_pythons(page, view)
    skipped = page.locator("[data-part=experts] button[data-layer='1']").first
    expert = int(skipped.inner_text())
    assert f", layer 1: expert {expert} (" in skipped.get_attribute("title")
    after(page, skipped.click)
    view.edits = [*view.edits, tl.skip(1, "mlp", expert=expert)]
    same(page, view)
    after(page, lambda: page.locator(part("undo")).click())
    view.edits = view.edits[:2]
    page.locator("[data-part=strip-text] [data-index='2']").click()
    page.wait_for_selector("[data-settled=true] [data-part=where]:text('after “was”')")
    view.position = 2
    same(page, view)
    after(page, lambda: page.locator(part("write")).click())
    sentence = view.write()
    assert page.locator(part("written")).inner_text() == sentence
    assert page.locator(part("text")).input_value() == view.text
    same(page, view)
    accessible(page)
    page.locator(part("undo")).click()
    page.wait_for_function(
        "was => document.querySelector('[data-part=text]').value === was", arg=OTHER
    )
    type_text(page, "nobody was here")
    unread = page.locator(part("unread")).inner_text()
    view.text = "nobody was here"
    assert unread == view._about["unread"] != ""
    page.locator(part("text")).fill(" ")
    page.locator(part("text")).press("Enter")
    page.wait_for_selector("[data-state=error]")
    assert "Text is empty" in page.locator(part("status")).inner_text()
    same(page, view)
    # Saved again, the page holds what it shows, and still works.
    page.locator(part("save")).click()
    with page.expect_download() as download:
        page.locator(part("html")).click()
    download.value.save_as(tmp_path / "again.html")
    again = open_page(tmp_path / "again.html", scheme="dark", width=390)
    same(again, view)
    choose_head(again, 0, 1)
    after(again, lambda: again.locator(part("head-off")).click())
    view.edits = [*view.edits, tl.ablate(0, 1)]
    same(again, view)
    accessible(again)


def test_it_writes_as_far_as_there_is_room_unless_a_number_is_given(open_page):
    view = Explorer(small("decoder", n_ctx=14), WORDS)
    page = open_page(view.to_html())
    how_many = page.locator(part("write-n"))
    assert how_many.input_value() == "2"
    after(page, lambda: page.locator(part("write")).click())
    assert page.locator(part("written")).inner_text() == view.write()
    same(page, view)
    type_text(page, OTHER)
    assert how_many.input_value() == "8"
    page.locator(part("how")).click()
    how_many.fill("9")
    how_many.press("Enter")
    page.wait_for_selector("[data-state=error]")
    assert "N must be at least 1 and at most 8" in page.locator(part("status")).inner_text()
    type_text(page, WORDS)
    assert how_many.input_value() == "9"


FIRST = """() => {
    const root = document.querySelector("[data-stamp]"), before = root.dataset.stamp;
    new MutationObserver((_, observer) => {
        if (!root.querySelector("[data-part=predictions] [data-side=after]")) return;
        window.alone = root.dataset.stamp === before;
        observer.disconnect();
    }).observe(root, { attributes: true, childList: true, subtree: true });
}"""


def test_a_prediction_does_not_wait_for_its_maps(open_page):
    view = Explorer(small("decoder"), WORDS, layer=0, head=0)
    page = open_page(view.to_html())
    type_text(page, OTHER)
    page.evaluate(FIRST)
    after(page, lambda: page.locator(part("head-off")).click())
    assert page.evaluate("window.alone")
    view.text, view.edits = OTHER, [tl.ablate(0, 0)]
    same(page, view)


def test_masks_and_answers_too(open_page):
    view = Explorer(small("encoder"), WORDS)
    page = open_page(view.to_html())
    page.locator("[data-part=strip-text] [data-index='3']").click()
    after(page, lambda: page.locator(part("mask")).click())
    view.masked = [3]
    same(page, view)
    view = Explorer(small("encoder-decoder"), WORDS)
    page = open_page(view.to_html())
    type_text(page, OTHER)
    view.text = OTHER
    assert page.locator(part("target")).input_value() == view._target
    same(page, view)
    view = Explorer(small("encoder", head=False), WORDS, layer=1, head=0)
    page = open_page(view.to_html())
    after(page, lambda: page.locator(part("head-off")).click())
    view.edits = [tl.ablate(1, 0)]
    assert page.locator(part("effect")).inner_text() == view._outcome["sentence"]


def test_what_is_written_is_read_on_a_phone(open_page, screenshot):
    """The label of who wrote the target left its tokens no room."""
    view = Explorer(small("encoder-decoder"), WORDS)
    page = open_page(view.to_html(), width=342)
    type_text(page, "the street was", "target")
    assert page.locator(part("whose")).inner_text() == "yours; empty it for its own answer"
    assert page.evaluate("document.documentElement.scrollWidth") == 342
    tokens = page.locator("[data-part=strip-target] [data-index]")
    assert tokens.count() >= 4
    for shown in (*tokens.all(), page.locator(part("write")), page.locator(part("whose"))):
        shown.scroll_into_view_if_needed()
        box = shown.bounding_box()
        assert box["width"] > 10 and box["x"] >= 0 and box["x"] + box["width"] <= 342
    screenshot(page, "written-342")


def test_a_damaged_model_is_one_sentence_and_the_rest_stays(open_page):
    view = Explorer(small("decoder"), WORDS, layer=0, head=0)
    text = view.to_html()
    head, _, rest = text.partition('data-block="model"')
    at = rest.index(">") + 4000
    flipped = "A" if rest[at] != "A" else "B"
    page = open_page(f'{head}data-block="model"{rest[:at]}{flipped}{rest[at + 1 :]}')
    page.wait_for_function("() => document.body.innerText.includes('What was saved is still here')")
    assert [token for token, *_ in rows(page)] == [row.token for row in view.predictions]
    assert not page.locator(part("text")).is_editable() and page.locator(part("run")).is_hidden()
    assert page.locator("[data-part=strip-text] [data-index]").count() == len(WORDS.split())
    choose_head(page, 1, 1)
    told = Map(page).hover(3, 1)
    assert float(re.match(r"[.\d]+", told)[0]) == pytest.approx(
        float(view.heads.map(("decoder", 1, 1), view.shows)[3, 1]), abs=1e-3
    )
    heads, _, rest = (
        HeadView(view.text_model.trace(WORDS)).to_html().partition('data-block="model"')
    )
    page = open_page(f'{heads}data-block="model"{rest.replace("H4sI", "I4sI", 1)}')
    page.locator(part("in-page"), has_text="is not as it was written").wait_for()
    assert not page.locator(part("text")).is_editable() and page.locator(part("run")).is_hidden()


def test_where_no_worker_may_be_made_the_page_computes_by_itself(open_page):
    view = Explorer(small("decoder"), WORDS, layer=0, head=0)
    text = view.to_html().replace("base-uri 'none'", "worker-src 'none'; base-uri 'none'", 1)
    page = open_page(text)
    line = page.locator(part("in-page"))
    line.wait_for(state="visible")
    assert line.inner_text().startswith(
        "No worker may be started here: the page computes by itself"
    )
    type_text(page, "The street was too wide .")
    view.text = "The street was too wide ."
    same(page, view)
    after(page, lambda: page.locator(part("head-off")).click())
    view.edits = [tl.ablate(0, 0)]
    same(page, view)
    # With a worker the line is hidden.
    other = open_page(view.to_html())
    type_text(other, WORDS)
    assert not other.locator(part("in-page")).is_visible()


def test_a_link_opens_a_page_as_its_sender_saw_it(open_page):
    view = Explorer(small("decoder"), WORDS, layer=0, head=0)
    page = open_page(view.to_html())
    address = page.url
    type_text(page, OTHER)
    choose_head(page, 1, 1)
    after(page, lambda: page.locator(part("head-off")).click())
    page.locator("[data-part=tool] [data-value=cut]").click()
    page.locator(part("save")).click()
    page.locator(part("link")).click()
    link = page.locator("[data-link]").get_attribute("data-link")
    assert link.startswith(address + "#state=")
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_selector("[data-ready]")
    view.text, view.edits = OTHER, [tl.ablate(1, 1)]
    same(page, view)
    root = page.locator("[data-stamp]")
    assert root.get_attribute("data-shown") == "decoder/1/1"
    assert root.get_attribute("data-tool") == "cut"
    page.goto("about:blank")
    page.goto(link[:-4])
    page.wait_for_selector("[data-ready]")
    said = page.locator(part("message")).inner_text()
    assert said == "This link is damaged: the page is shown as it was saved."
    assert page.locator(part("text")).input_value() == WORDS
    assert set(page.requests) == {address}
    page.requests[1:] = []  # the page was opened three times
    strange = open_page(Explorer(small("encoder"), WORDS).to_html())
    strange.evaluate("hash => { location.hash = hash }", link[link.index("#") :])
    strange.wait_for_selector("[data-part=message]:visible")
    assert "belongs to another page" in strange.locator(part("message")).inner_text()


ODD = {
    "nothing": "",
    "blank": " \n\t",
    "too long": "x = 1\n" * 16_667,
    "too many surrogates": "\ud83d" * 50_000,
    "lone surrogates": "a\ud800b\udc00 the",
    "several scripts": "שלום \u202e evil \u202c 你好 e\u0301 the",
    "joined signs": "👩‍👩‍👧‍👦 🏳️‍🌈\u200d\ufe0f was",
    "unknown words": "the zebra [MASK] </s> was",
    "control signs": "a\x07b\x1b[31m too",
    "tags": "<img src=x onerror=alert(1)></script><script>alert(2)</script> the",
}


@pytest.mark.parametrize("made", [lambda: small("decoder"), tl.shipped], ids=["words", "bytes"])
def test_what_python_says_of_a_text_the_page_says(open_page, made):
    view = Explorer(made(), WORDS, layer=0, head=0)
    page = open_page(view.to_html())
    field = page.locator(part("text"))
    for name, odd in ODD.items():
        # Set as if pasted: Playwright cannot type every text.
        field.evaluate(
            "(box, text) => { box.value = JSON.parse(text); box.dispatchEvent(new Event('input', { bubbles: true })) }",
            json.dumps(odd),
        )
        try:
            view.text = odd
        except ValueError as error:
            said = f"{str(error)[0].upper()}{str(error)[1:]}."
            field.press("Enter")
            page.wait_for_function(
                "said => document.querySelector('[data-part=status]').textContent === said",
                arg=said,
            )
        else:
            after(page, lambda: field.press("Enter"))
        same(page, view)  # unchanged if the text was refused
        assert page.locator(part("unread")).text_content() == view._about["unread"], name
