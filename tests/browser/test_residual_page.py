"""A saved ResidualView in a browser. Every number read here is compared with Python's."""

import pytest
import torch

import transformer_lab as tl
from tests.browser.fixtures import WRITTEN
from tests.factories import small
from tests.missing import package
from transformer_lab.analysis.circuits import block_share, logit_lens, stream_norms
from transformer_lab.views import ResidualView
from transformer_lab.views.shared.messages import size, with_sign

part = "[data-part={}]".format
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "\u202eabc",
    "&lt;",
]


def text(page, name):
    return page.locator(part(name)).inner_text()


def says(page, sentence):
    page.wait_for_function(
        "s => document.querySelector('[data-part=sentence]').textContent === s", arg=sentence
    )


def cell(page, row, token):
    return page.locator(f"[data-part=lens] td[data-row='{row}'][data-token='{token}']")


def blocks(page):
    rows = page.locator("[data-part=blocks] tbody tr").all()
    return [[c.strip() for c in r.locator(".tl-count").all_inner_texts()] for r in rows]


def test_numbers_are_pythons(open_page, trace, screenshot):
    view = ResidualView(trace, title="Small decoder")
    page = open_page(view.to_html())
    says(page, view.sentence)
    norms, shares, lens = stream_norms(trace), block_share(trace), logit_lens(trace)
    for row, token in ((0, 0), (2, 8), (4, 12)):
        cell(page, row, token).hover()
        view.selected = (token, None)
        says(page, view.sentence)
        assert text(page, "number") == f"{norms[row, token]:.3f}"
        wanted = [[size(float(n))] for n in norms[:, token]]
        for layer in range(4):
            for p in range(2):
                share, turn = shares.share[p, layer, token], shares.cosine[p, layer, token]
                wanted[layer + 1] += [f"× {size(float(share))}", with_sign(float(turn))]
        assert blocks(page) == wanted
        top = page.locator(f"{part('lens-top')} .tl-top-token").all_inner_texts()
        assert top == [f"{name} {p:.4f}" for name, p in lens.top(row, token)]
        assert cell(page, row, token).locator("bdi").inner_text() == lens.top(row, token)[0][0]
        agrees = "tl-agrees" in cell(page, row, token).get_attribute("class")
        assert agrees == (int(lens.answer_rank[row, token]) == 0)
    screenshot(page, "residual-light-1300", full_page=True)


def test_a_page_in_german(open_page, trace):
    view = ResidualView(trace, language="de")
    page = open_page(view.to_html())
    says(page, view.sentence)
    cell(page, 2, 8).hover()
    view.selected = (8, None)
    says(page, view.sentence)
    panels = page.locator("#tl-root .tl-panels, [data-part=readout]").all_inner_texts()
    english = ("layer", "token here", "stream", " of ", "Choose", "cosine", "probability")
    assert not [word for word in english if any(word in panel for panel in panels)]
    assert page.locator("#tl-root").get_attribute("lang") == "de"
    page.evaluate("globalThis.matchMedia = () => ({ matches: true })")  # as if there were no mouse
    page.keyboard.press("Escape")
    page.mouse.move(2, 2)
    page.get_by_text("Ein Token antippen hält es fest.").wait_for()


def test_keyboard_locks_and_moves(open_page, trace):
    view = ResidualView(trace)
    page = open_page(view.to_html())
    root = page.locator("#tl-root")
    page.locator(part("map")).focus()
    for key, token, layer in (
        ("ArrowLeft", "12", "0"),
        ("ArrowLeft", "11", "0"),
        ("ArrowDown", "11", "1"),
        ("Home", "0", "1"),
        ("ArrowUp", "0", "0"),
        ("Escape", "", "0"),
    ):
        page.keyboard.press(key)
        page.wait_for_selector(f"#tl-root[data-selected='{token}'][data-layer='{layer}']")
    cell(page, 3, 7).click()
    page.wait_for_selector("#tl-root[data-selected='7'][data-layer='2']")
    page.mouse.move(5, 5)
    view.selected = (7, None)
    says(page, view.sentence)
    page.locator(part("save")).click()
    page.locator(part("copy")).click()
    page.wait_for_selector("[data-copied]")
    code = root.get_attribute("data-copied")
    assert code == "tl.circuits.stream_norms(trace)[:, 7]"
    assert torch.equal(eval(code), stream_norms(trace)[:, 7])
    assert page.locator(part("layer")).input_value() == "2"
    with page.expect_download() as download:
        page.locator(part("png")).click()
    assert download.value.path().read_bytes()[:4] == b"\x89PNG"


def test_both_streams_of_an_encoder_decoder(open_page, translation, accessible, screenshot):
    view = ResidualView(translation)
    page = open_page(view.to_html(), scheme="dark")
    says(page, view.sentence)
    cell(page, 1, 4).hover()
    accessible(page)
    screenshot(page, "residual-dark-1300", full_page=True)
    page.locator("[data-part=kind] [data-value=encoder]").click()
    view.kind = "encoder"
    page.mouse.move(5, 5)
    says(page, view.sentence)
    assert "encoder of an encoder-decoder predicts no tokens" in text(page, "lens-note")
    assert len(blocks(page)[1]) == 1 + 2 * 2


def test_long_texts_have_a_window(open_page, long_trace):
    view = ResidualView(long_trace)
    view.selected = (300, None)
    page = open_page(view.to_html())
    says(page, view.sentence)
    assert page.locator("[data-part=lens] thead th").count() < 30
    cell(page, 2, 300).hover()
    wanted = logit_lens(long_trace, positions=[300]).top(2, 0)
    top = page.locator(f"{part('lens-top')} .tl-top-token").all_inner_texts()
    assert top == [f"{name} {p:.4f}" for name, p in wanted]
    page.locator(part("earlier")).click()
    assert text(page, "window").endswith("of 600")
    cell(page, 0, 290 - 2).wait_for()
    page.evaluate(
        WRITTEN
    )  # columns have numbers now; the first row is still before the first layer
    page.set_viewport_size({"width": 1000, "height": 900})
    page.wait_for_function("() => window.written.includes('start')")


def test_hostile_tokens_are_literal_and_narrow_pages_hold_everything(open_page, accessible):
    torch.manual_seed(0)
    model = tl.Transformer(tl.ModelConfig(vocab_size=50, n_layers=2, n_heads=2, d_model=16)).eval()
    trace = tl.trace(model, torch.arange(len(HOSTILE)), labels=HOSTILE)
    trace._vocabulary = lambda i: HOSTILE[i % len(HOSTILE)]
    view = ResidualView(trace, title="<b>\u202e")
    for width in (400, 1000):
        page = open_page(view.to_html(), width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("img, iframe, a[href]").count() == 0
        cell(page, 1, len(HOSTILE) - 1).hover()
        shown = page.locator("[data-part=lens] thead bdi").all_text_contents()
        assert shown[-1] == HOSTILE[-1]
        top = page.locator(f"{part('lens-top')} bdi").all_text_contents()
        assert "⟨U+202E⟩abc" in top + shown
        accessible(page)


def test_a_head_view_on_the_same_page_leads(open_page, trace):
    """Its messages reach this view; the page sends them in place of a second widget."""
    view = ResidualView(trace)
    page = open_page(view.to_html())
    told = dict(group=view.link, kind="decoder", layer=3, head=2, selected=[5, 1])
    dispatch = """message => document.dispatchEvent(new CustomEvent(
        "transformer-lab-selection", {detail: {from: {}, message}}))"""
    page.evaluate(dispatch, told)
    page.wait_for_selector("#tl-root[data-selected='5'][data-layer='3']")
    view.selected = (5, 1)
    says(page, view.sentence)
    page.evaluate(dispatch, told | {"hover": {"query": 9, "key": None}})
    view.selected = (9, None)
    says(page, view.sentence)
    page.evaluate(dispatch, told | {"hover": None})
    view.selected = (5, 1)
    says(page, view.sentence)


@pytest.mark.parametrize("scheme", ["light"])
def test_hugging_face_parts_that_are_not_known_say_so(open_page, scheme):
    transformers = package("transformers")
    config = transformers.GPT2Config(n_layer=3, n_head=4, n_embd=32, vocab_size=100)
    torch.manual_seed(0)
    trace = tl.trace(transformers.GPT2LMHeadModel(config).eval(), torch.arange(7))
    page = open_page(ResidualView(trace).to_html(), scheme=scheme)
    assert "attention and MLP are counted together" in text(page, "block-note")
    assert len(blocks(page)[1]) == 3


def test_every_layer_of_a_deep_model_is_seen(open_page):
    model = small(n_layers=28, n_heads=2, d_model=16)
    page = open_page(ResidualView(tl.trace(model, torch.arange(5))).to_html(), width=1200)
    for box in (".tl-blocks-box", ".tl-lens-box"):
        assert page.locator(f"{box} tbody tr").count() == 29
        assert page.locator(box).evaluate("box => box.scrollHeight <= box.clientHeight"), box
