"""Texts of a thousand tokens: the data sent grows with the text, and numbers stay Python's."""

import pytest
import torch

import transformer_lab as tl
from tests.browser.fixtures import HEADS, choose_head
from transformer_lab.views import HeadView

part = "[data-part={}]".format
LIVE = """
import torch, transformer_lab as tl
torch.set_num_threads(1); torch.manual_seed(0)
model = tl.Transformer(tl.ModelConfig(vocab_size=50, n_layers=3, n_heads=4, d_model=64, n_ctx=1024))
for name, parameter in model.named_parameters():
    if "query" in name or "key" in name: parameter.data.mul_(1.8)
trace = tl.trace(model.eval(), torch.arange(1024) % 50)
view = tl.views.HeadView(trace); view
"""


def long_view(length, **options):
    torch.manual_seed(0)
    config = tl.ModelConfig(vocab_size=50, n_layers=3, n_heads=4, d_model=64, n_ctx=length)
    model = tl.Transformer(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "query" in name or "key" in name:
                parameter.mul_(1.8)
    return HeadView(tl.trace(model, torch.arange(length) % 50), **options)


@pytest.fixture(scope="module")
def view():
    return long_view(1024, layer=1, head=2)


def choose(page, layer, head):
    choose_head(page, layer, head)
    page.wait_for_selector(f"[data-shown='decoder/{layer}/{head}']")


def compare(page, map_of, row_of, error):
    """Compare the map's numbers where some queries attend most, at the cells that were actually
    under the pointer."""
    for place in ((q, int(torch.as_tensor(row_of(q)).argmax())) for q in (900, 640, 1000)):
        shown = map_of(page).hover(*place)
        read = page.locator(part("readout")).inner_text()
        query, key = (int(side.split()[0]) for side in read.split("→"))
        assert abs(query - place[0]) + abs(key - place[1]) < 8  # a pixel covers several cells
        digits = len(shown.partition(".")[2])
        weight = float(row_of(query)[key])
        assert float(shown) == pytest.approx(weight, abs=2 * error + 0.5 * 10**-digits)


def heap(page):
    """Bytes held by the page's scripts."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    usage = session.send("Runtime.getHeapUsage")
    return usage["usedSize"] + usage.get("backingStorageSize", 0)


def test_the_first_head_and_others_are_pythons(open_page, map_of, view, screenshot, tmp_path):
    page = open_page(view.to_html())
    assert view.heads.data.by_scores["decoder"]
    assert page.locator(part("sentence")).inner_text() == view.sentence
    for layer, head in ((1, 2), (2, 0), (0, 3), (1, 2)):
        choose(page, layer, head)
        error = view.heads.data.head("decoder", layer, head).info["error"]
        compare(page, map_of, view.trace.pattern(layer, head).__getitem__, error)
    screenshot(page, "long-light-1024", full_page=True)
    # Data that was read is removed from the page, and is in a saved copy again.
    assert page.locator("template[data-block]").count() < 12
    page.locator(part("save")).click()
    with page.expect_download() as download:
        page.locator(part("html")).click()
    download.value.save_as(tmp_path / "again.html")
    again = open_page(tmp_path / "again.html")
    choose(again, 2, 3)
    error = view.heads.data.head("decoder", 2, 3).info["error"]
    compare(again, map_of, view.trace.pattern(2, 3).__getitem__, error)


def test_a_page_grows_with_the_text():
    sizes = [len(long_view(length).to_html()) for length in (256, 512, 1024)]
    assert sizes[2] - sizes[1] == pytest.approx(2 * (sizes[1] - sizes[0]), rel=0.05)
    assert sizes[2] < 2.1 * sizes[1]


def test_a_thousand_heads_leave_the_last_one_and_little_else(open_page, view):
    page = open_page(view.to_html(), alone=True)
    choose(page, 0, 0)
    before = heap(page)
    page.evaluate(
        f"async () => {{ {HEADS}"
        """
        for (let i = 0; i < 1000; i++) {
            heads(i % 3, (i + 1) % 4);
            heads(i % 3, i % 4);
            if (i % 40 === 0) await new Promise((r) => setTimeout(r, 60));
        } }"""
    )
    page.wait_for_selector(f"[data-shown='decoder/{999 % 3}/{999 % 4}']")
    assert page.locator(part("message")).is_hidden()
    assert heap(page) - before < 60e6


def test_live_each_head_is_fetched_when_it_is_wanted(notebook, map_of):
    book = notebook(LIVE)
    page = book.page
    book.run_all()
    page.wait_for_selector("[data-ready]")
    state = "sum(len(v) for v in view.get_state().values() if isinstance(v, bytes))"
    assert int(book.run(state)) < 1e6  # all maps would be 25 MB
    page.locator(part("map")).scroll_into_view_if_needed()
    for layer, head in ((0, 0), (2, 1), (1, 3)):
        choose(page, layer, head)
        row = f"trace.pattern({layer}, {head})[{{}}].tolist()"
        error = float(book.run(f"view.heads.data.head('decoder', {layer}, {head}).info['error']"))
        compare(page, map_of, lambda query, row=row: eval(book.run(row.format(query))), error)
    assert page.errors == []
