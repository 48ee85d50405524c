"""A saved WhyView in a browser. Every number read here is compared with Python's."""

import pytest
import torch

import transformer_lab as tl
from tests.browser.fixtures import choose_head
from tests.missing import package
from transformer_lab.analysis.circuits import row_scores, score_by_dimension, score_by_source
from transformer_lab.views import WhyView

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


def number(text):
    return float(text.replace("−", "-"))


def rows(page, name):
    lines = page.locator(f"{part(name)} tbody tr").all()
    return [[c.strip() for c in line.locator("th, td").all_inner_texts()] for line in lines]


def test_numbers_are_pythons(open_page, trace, accessible, screenshot):
    view = WhyView(trace, 3, 2, 8, 1, title="Small decoder")
    page = open_page(view.to_html())
    says(page, view.sentence)
    found = score_by_source(trace, 3, 2, 8, 1)
    ledger = {name: number(value) for name, value, _ in rows(page, "ledger")}
    for name, wanted in (
        ("query · key", found.dot),
        ("× scale", found.scaled),
        ("= score", found.score),
    ):
        assert ledger[name] == pytest.approx(wanted, abs=6e-4)
    assert ledger["softmax"] == pytest.approx(found.weight, abs=6e-5)
    scores, weights = row_scores(trace, 3, 2, 8)
    listed = rows(page, "row")
    best = weights.topk(8).indices.tolist()
    if 1 not in best:
        best[-1] = 1
    assert [int(line[0].split()[-1]) for line in listed] == best
    for key, (_, score, weight) in zip(best, listed, strict=True):
        assert number(score) == pytest.approx(float(scores[key]), abs=6e-3)
        shown = weight if not weight.startswith("<") else "0"
        assert number(shown) == pytest.approx(float(weights[key]), abs=1e-4)
    for side in ("key", "query"):
        wanted = found.ranked(side)
        shown = rows(page, f"{side}-side")
        assert [(n, number(v)) for n, v in shown[:8]] == [
            (n, pytest.approx(v, abs=6e-3)) for n, v in wanted[:8]
        ]
        assert number(shown[8][1]) == pytest.approx(sum(v for _, v in wanted[8:]), abs=6e-3)
    accessible(page)
    screenshot(page, "why-light-1300", full_page=True)


def test_dimensions_by_keyboard_and_as_a_table(open_page, trace):
    view = WhyView(trace, 1, 2, 8, 1)
    page = open_page(view.to_html())
    found = score_by_dimension(trace, 1, 2, 8, 1)
    order = found.products.argsort(descending=True, stable=True).tolist()
    page.locator(part("waterfall")).focus()
    for place in range(2):
        page.keyboard.press("ArrowRight")
        shown = number(text(page, "number"))
        assert shown == pytest.approx(float(found.products[order[place]]), abs=6e-5)
    page.locator("details:not(.tl-popover) summary").click()
    table = rows(page, "dimensions")
    assert [int(line[0]) for line in table] == order
    assert number(table[-1][-1]) == pytest.approx(found.scaled, abs=6e-4)
    page.locator("[data-part=unit] [data-value=pair]").click()
    half = len(order) // 2
    page.wait_for_function(
        "n => document.querySelectorAll('[data-part=dimensions] tbody tr').length === n", arg=half
    )
    pairs = [number(line[1]) for line in rows(page, "dimensions")]
    wanted = found.by_pair().sort(descending=True).values
    assert pairs == pytest.approx(wanted.tolist(), abs=6e-4)


def test_above_the_mean_and_both_sources_together(open_page, trace, accessible, screenshot):
    view = WhyView(trace, 1, 2, 8, 1)
    page = open_page(view.to_html(), scheme="dark")
    page.locator("[data-part=split] [data-value=above]").click()
    view._options = {"above": True}
    says(page, view.sentence)
    found = score_by_source(trace, 1, 2, 8, 1, above_mean=True)
    assert number(text(page, "source-hint").split(", ")[-1]) == pytest.approx(found.total, abs=6e-3)
    kept = view.cell.info["splits"]["above"]
    page.locator(part("table")).focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    wanted = found.parts[kept["rows"][1], kept["columns"][1]]
    assert number(text(page, "table-number")) == pytest.approx(float(wanted), abs=6e-4)
    accessible(page)
    screenshot(page, "why-dark-1300", full_page=True)
    page.locator(part("save")).click()
    page.locator(part("copy")).click()
    page.wait_for_selector("[data-copied]")
    code = page.locator("#tl-root").get_attribute("data-copied")
    assert code == "tl.circuits.score_by_source(trace, 1, 2, 8, 1, above_mean=True)"
    assert torch.equal(eval(code).parts, found.parts)


def test_a_page_has_its_row_and_says_what_it_lacks(open_page, trace):
    view = WhyView(trace, 1, 2, 8, 1)
    page = open_page(view.to_html())
    page.locator(f"{part('row')} [data-key]:not([data-key='1'])").first.click()
    key = int(trace.pattern(1, 2)[8].argmax())
    key = key if key != 1 else int(trace.pattern(1, 2)[8].topk(2).indices[1])
    page.wait_for_selector(f"[data-shown='decoder/1/2/8/{key}']")
    view.selected = (8, key)
    says(page, view.sentence)
    page.locator(part("key")).select_option("0")
    page.wait_for_selector("[data-shown='decoder/1/2/8/0']")
    page.locator(part("head-on")).click()
    page.wait_for_selector(f"{part('message')}:visible")
    assert "This page holds the row of “it” (8) of layer 1, head 2 only" in text(page, "message")
    page.locator(part("head-back")).click()
    page.wait_for_selector(f"{part('message')}", state="hidden")
    page.locator(part("save")).click()
    with page.expect_download() as download:
        page.locator(part("png")).click()
    assert download.value.path().read_bytes()[:4] == b"\x89PNG"


def test_another_view_of_the_page_leads(open_page, trace):
    view = WhyView(trace, 1, 2, 8, 1)
    page = open_page(view.to_html())
    message = dict(group=view.link, kind="decoder", layer=1, head=2, selected=[8, 3])
    dispatch = """message => document.dispatchEvent(new CustomEvent(
        "transformer-lab-selection", {detail: {from: {}, message}}))"""
    page.evaluate(dispatch, message)
    page.wait_for_selector("[data-shown='decoder/1/2/8/3']")
    best = int(trace.pattern(1, 2)[8].argmax())
    page.evaluate(dispatch, message | {"hover": {"query": 8, "key": best}})
    page.wait_for_selector(f".tl-pointed[data-key='{best}']")
    for key in [0, 1, 2, 3, 4, 5, 6, 7, 8] * 20:  # in quick succession: the last one stays
        page.evaluate(dispatch, message | {"selected": [8, key]})
    page.evaluate(dispatch, message | {"selected": [8, 5]})
    page.wait_for_selector("[data-shown='decoder/1/2/8/5']")
    view.selected = (8, 5)
    says(page, view.sentence)


def test_hostile_tokens_are_literal_and_narrow_pages_hold_everything(open_page, accessible):
    torch.manual_seed(0)
    model = tl.Transformer(tl.ModelConfig(vocab_size=50, n_layers=2, n_heads=2, d_model=16)).eval()
    trace = tl.trace(model, torch.arange(len(HOSTILE)), labels=HOSTILE)
    view = WhyView(trace, 1, 0, 3, 1, title="<b>\u202e")
    for width in (400, 1000):
        page = open_page(view.to_html(), width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("img, iframe, a[href]").count() == 0
        says(page, view.sentence)
        keys = page.locator(f"{part('row')} bdi").all_text_contents()
        assert sorted(keys) == sorted(view._data.keys["decoder"])
        accessible(page)


def test_what_is_masked_and_what_is_not_known(open_page, trace):
    view = WhyView(trace, 0, 0, 1, 8)
    page = open_page(view.to_html())
    says(page, view.sentence)
    assert "−∞" in text(page, "ledger")
    transformers = package("transformers")
    sizes = dict(num_attention_heads=4, num_key_value_heads=2, hidden_size=32, intermediate_size=32)
    config = transformers.Qwen3NextConfig(
        num_hidden_layers=2,
        layer_types=["full_attention"] * 2,
        head_dim=8,
        vocab_size=100,
        num_experts=2,
        num_experts_per_tok=1,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **sizes,
    )
    torch.manual_seed(0)
    gated = transformers.Qwen3NextForCausalLM(config).eval()
    other = WhyView(tl.trace(gated, torch.arange(7)), 1, 0)
    page = open_page(other.to_html())
    says(page, other.sentence)
    assert "do not sum to the queries" in text(page, "source-note")


LIVE = """
import torch, transformer_lab as tl
from IPython.display import display
torch.set_num_threads(1)
trace = tl.shipped("manual").trace("for key in self.keys:\\n    if key not in self.")
heads, stream = tl.views.HeadView(trace, layer=2, head=2), tl.views.ResidualView(trace)
why = tl.views.WhyView(trace, 2, 2)
display(heads, stream, why)
"""


def test_live_all_views_follow_and_the_latest_choice_wins(notebook, screenshot):
    """Three widgets of one trace and a kernel: Python splits a score selected in another widget."""
    book = notebook(LIVE)
    page = book.page
    book.run_all()
    page.wait_for_function("() => document.querySelectorAll('.tl-view[data-ready]').length === 3")
    heads, stream, why = (page.locator(".tl-view[data-ready]").nth(i) for i in range(3))
    query, key = map(int, book.run("why.shown[3:]").strip("()").split(","))
    assert (query, key) == (14, 5)
    choose_head(heads, 3, 2)
    page.wait_for_selector(".tl-view[data-shown^='decoder/3/2/14/']")
    map_ = heads.locator("[data-part=map]")
    map_.focus()
    for press in ["ArrowUp", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"] * 6:
        page.keyboard.press(press)
    for press in ("End", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(press)
    last = (9, 12)  # before the last keys arrive the three may agree on another cell
    book.until("(heads.selected, stream.selected, why.selected)", repr((last,) * 3))
    shown = book.run("'/'.join(map(str, why.shown))").strip("'")
    page.wait_for_selector(f".tl-view[data-shown='{shown}']")
    for view, name in ((why, "why"), (stream, "stream")):
        sentence = book.run(f"{name}.sentence").strip("'\"")
        page.wait_for_function(
            "([e, s]) => e.textContent === s",
            arg=[view.locator(part("sentence")).element_handle(), sentence],
        )
    why.scroll_into_view_if_needed()
    screenshot(page, "why-lab")
    assert page.errors == []
