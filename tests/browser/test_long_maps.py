"""Maps of texts beyond 4,096 tokens show the whole text, at every zoom, on a page and live."""

import json
import re
import time

import pytest

from tests.browser.fixtures import choose_head
from transformer_lab.views import HeadView

part = "[data-part={}]".format
N = 4300
MAKE = """
import torch, transformer_lab as tl
torch.set_num_threads(1); torch.manual_seed(0)
model = tl.Transformer(tl.ModelConfig(vocab_size=50, n_layers=2, n_heads=2, d_model=16, n_ctx=4300))
for name, parameter in model.named_parameters():
    if "query" in name or "key" in name: parameter.data.mul_(6)
words = "The animal did n't cross the street because it was too tired .".split()
trace = tl.trace(model.eval(), torch.randint(0, 50, (4300,)), labels=[words[i % 13] for i in range(4300)])
"""
LIVE = MAKE + "view = tl.views.HeadView(trace, layer=1, head=1); view"


@pytest.fixture(scope="module")
def view():
    space = {}
    exec(MAKE, space)  # the very same text as in the notebook
    return HeadView(space["trace"], layer=1, head=1)


def seen(page):
    data = page.locator(part("map")).evaluate("c => ({...c.dataset})")
    return {name: float(data[name]) for name in ("query", "key", "tokens", "level")}


def settled(page, **wanted):
    """Wait until the map shows this: with the next frame, or once a tile has arrived."""
    for name, value in wanted.items():
        page.wait_for_function(
            """([name, value]) => {
                const now = document.querySelector("[data-part=map]").dataset[name];
                return typeof value === "string" ? now === value : Math.abs(Number(now) - value) < 1e-6 * (1 + value); }""",
            arg=[name, value],
        )


def copied(page, path, seconds=20):
    """Save the page until the copy has the part shown, which a page stores soon after a move."""
    end = time.monotonic() + seconds
    now = seen(page)
    wanted = pytest.approx([now[name] for name in ("query", "key", "tokens")], abs=0.006)
    while True:
        page.locator(part("save")).click()
        with page.expect_download() as download:
            page.locator(part("html")).click()
        download.value.save_as(path)
        text = re.findall(r'id="tl-state">(.*?)</script>', path.read_text("utf-8"), re.S)[0]
        window = json.loads(text)["state"]["_options"].get("window")
        if window == wanted:
            return path
        assert time.monotonic() < end, (window, now)


def wheel(page, map_, query, key, turns):
    page.mouse.move(0, 0)
    box = map_.canvas.bounding_box()
    at = map_.place(query, key)
    page.mouse.move(box["x"] + at["x"], box["y"] + at["y"])
    for _ in range(abs(turns)):
        page.mouse.wheel(0, -240 if turns > 0 else 240)


def agree(book, seconds=20):
    """Wait until page and Python have the same sentence."""
    end = time.monotonic() + seconds
    while (said := book.page.locator(part("sentence")).inner_text()) != (
        told := eval(book.run("view.sentence"))
    ):
        assert time.monotonic() < end, (said, told)
        time.sleep(0.1)


def press(page, *keys):
    page.locator(part("map")).focus()
    for key in keys:
        page.keyboard.press(key)


def cell(view, level, query, key):
    """The largest weight of the cell that holds (query, key)."""
    size = 2**level
    rows = view.trace.pattern(*view.shown[1:])[query // size * size :][:size]
    return float(rows[:, key // size * size :][:, :size].max())


def test_a_page_shows_the_whole_text_at_every_zoom(
    open_page, map_of, view, screenshot, accessible, tmp_path
):
    page = open_page(view.to_html())
    map_ = map_of(page)
    assert page.locator(part("sentence")).inner_text() == view.sentence
    assert "4,300 tokens" in page.locator(".tl-title").inner_text()
    assert "show 224 of 4,300 rows" in page.locator(part("grid-note")).inner_text()
    assert "down to tiles of 8 × 8 weights" in page.locator(part("note")).inner_text()
    assert seen(page) == dict(query=0, key=0, tokens=N, level=4)
    query, key, _ = view._first["strongest"][0]
    assert float(map_.hover(query, key)) == pytest.approx(cell(view, 4, query, key), abs=1e-4)
    accessible(page)
    screenshot(page, "long-map-light")
    # The wheel zooms about the pointer; the page holds tiles of 8 × 8.
    wheel(page, map_, query, key, 3)
    settled(page, level=3, tokens=N / 2 ** (3 * 1.2))
    now = seen(page)
    assert now["query"] <= query < now["query"] + now["tokens"]
    assert float(map_.hover(query, key)) == pytest.approx(cell(view, 3, query, key), abs=1e-4)
    assert "largest of 8 × 8 weights" in page.locator(part("map-note")).inner_text()
    # A drag moves it.
    box = map_.canvas.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 180, steps=3)
    page.mouse.up()
    most = N - now["tokens"]
    size = float(map_.canvas.get_attribute("data-cell"))
    for name, by in (("query", 20), ("key", 50)):
        settled(page, **{name: min(most, now[name] + by / size)})
    # A copy of the page shows the same part.
    again = open_page(copied(page, tmp_path / "again.html"), scheme="dark")
    for name, value in seen(page).items():
        assert seen(again)[name] == pytest.approx(value, abs=0.02)
    screenshot(again, "long-map-dark")
    # Keys: zoom in, out, to all; a cell can be locked if its largest weight's position is known.
    press(page, "0")
    settled(page, tokens=N)
    map_.click(query, key)
    page.wait_for_selector(f"[data-selected='{query},{key}']")
    told = page.locator(part("sentence"))
    view.selected = (query, key)
    page.wait_for_function(
        "t => document.querySelector('[data-part=sentence]').innerText === t", arg=view.sentence
    )
    assert "attends to" in page.locator(part("line-note")).inner_text()
    press(page, "+", "+")
    settled(page, tokens=N / 4)
    near = seen(page)
    assert near["query"] <= query < near["query"] + near["tokens"]
    press(page, "-")
    settled(page, tokens=N / 2)
    press(page, "Escape")
    page.wait_for_selector("[data-selected='']")
    view.selected = None
    assert told.inner_text() == view.sentence
    # A click in the overview goes there.
    page.locator(part("overview")).click(position={"x": 6, "y": 50})
    settled(page, query=N / 2, key=0)
    # A head that is not in the page gives a message, and the one that is in it is still there.
    choose_head(page, 0, 0)
    page.wait_for_selector(part("message"))
    assert (
        "cannot be shown: this page does not hold it" in page.locator(part("message")).inner_text()
    )
    choose_head(page, 1, 1)
    page.wait_for_function("() => !document.querySelector('[data-part=message]').innerText")
    # Sentences attend to sentences.
    page.locator(part("rows")).select_option("sentences")
    settled(page, tokens=331)
    assert page.locator(part("map")).get_attribute("data-level") == "0"
    shown = float(map_.hover(200, 3))
    rows = view.trace.pattern(1, 1)[2600:2613, 39:52]
    assert shown == pytest.approx(float(rows.sum(-1).mean()), abs=1e-4)
    assert "of its weight" in page.locator(part("readout")).inner_text()
    screenshot(page, "long-map-sentences")
    accessible(page)


@pytest.mark.parametrize("tokens", [60, 700, N])
def test_a_map_is_zoomed_moved_and_marked_alike_whatever_its_length(
    open_page, map_of, view, screenshot, tokens
):
    """With maps, with queries and keys from which rows are computed, and with tiles."""
    if tokens != N:
        space = {}
        exec(MAKE.replace(str(N), str(tokens)), space)
        view = HeadView(space["trace"], layer=1, head=1)
    page = open_page(view.to_html(layers=[0, 1]))
    map_, weights = map_of(page), view.trace.pattern(1, 1)
    query, key = divmod(int(weights[1:].argmax()), tokens)
    query += 1
    whole = seen(page)
    assert (whole["query"], whole["key"], whole["tokens"]) == (0, 0, tokens)
    wheel(page, map_, query, key, 1)
    settled(page, tokens=tokens / 2**1.2)
    now = seen(page)
    shown = float(map_.hover(query, key))
    assert shown == pytest.approx(cell(view, int(now["level"]), query, key), abs=2e-3)
    for _ in range(2):
        page.locator(part("zoom-in")).click()
    settled(page, tokens=max(8, tokens / 2**3.2))
    # A drag moves it, and its end selects no cell.
    before = seen(page)
    box = map_.canvas.bounding_box()
    size = float(map_.canvas.get_attribute("data-cell"))
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 150, steps=3)
    page.mouse.up()
    moved = max(0, min(tokens - before["tokens"], before["query"] + 50 / size))
    settled(page, query=moved, key=before["key"])
    assert page.locator("#tl-root").get_attribute("data-selected") == ""
    # Shift and a drag mark a block, which the map then shows alone; Escape shows all again.
    page.locator(part("zoom-all")).click()
    settled(page, tokens=tokens)
    box, ends = (
        map_.canvas.bounding_box(),
        [map_.place(*at) for at in ((tokens // 2, 3), (tokens - 2, tokens // 3))],
    )
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + ends[0]["x"], box["y"] + ends[0]["y"])
    page.mouse.down()
    page.mouse.move(box["x"] + ends[1]["x"], box["y"] + ends[1]["y"], steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.wait_for_selector("[data-between]:not([data-between=''])")
    marked = page.locator("#tl-root").get_attribute("data-between").split(",")
    a0, a1, b0, b1 = map(int, marked)
    assert abs(a0 - tokens // 2) <= 16 and abs(b1 - tokens // 3) <= 17
    settled(page, query=a0, key=b0, tokens=max(a1 - a0, b1 - b0))
    press(page, "Escape")
    settled(page, query=0, key=0, tokens=tokens)
    # A pinned head is beside it, and shows the same part.
    page.locator(part("pin")).click()
    choose_head(page, 0, 0)
    page.wait_for_selector("[data-part=pinned-map][data-head='1/1']")
    page.locator(part("zoom-in")).click()
    settled(page, tokens=tokens / 2)
    cells = page.locator("[data-part=map], [data-part=pinned-map]")
    one, other = cells.evaluate_all("all => all.map((c) => [c.dataset.cell, c.dataset.top])")
    assert one == other
    screenshot(page, f"zoomed-{tokens}")


def test_live_any_tile_row_and_head_is_pythons(notebook, map_of, screenshot):
    book = notebook(LIVE)
    page = book.page
    book.run_all()
    page.wait_for_selector("[data-ready]")
    state = "sum(len(v) for v in view.get_state().values() if isinstance(v, bytes))"
    assert int(book.run(state)) < 1e6  # all maps would be 150 MB
    map_ = map_of(page)
    map_.canvas.scroll_into_view_if_needed()
    # Zoomed out, a click selects the largest weight of the clicked cell.
    at = map_.place(3000, 1000)
    map_.canvas.click(position=at)
    page.wait_for_selector("[data-selected]:not([data-selected=''])")
    book.until("view.selected is None", "False")
    query, key = eval(book.run("view.selected"))
    level = int(seen(page)["level"])
    peak = f"(lambda s: float(trace.pattern(1, 1)[{query} // s * s:][:s, {key} // s * s:][:, :s].max()))({2**level})"
    weight = f"float(trace.pattern(1, 1)[{query}, {key}])"
    assert float(book.run(peak)) == pytest.approx(float(book.run(weight)), rel=1e-4)
    agree(book)
    # Zoomed in fully: single weights.
    press(page, *"+++++++")
    settled(page, level=0, coarse="false")
    shown = map_.hover(query, key)
    assert float(shown) == pytest.approx(float(book.run(weight)), abs=6e-5)
    screenshot(page, "long-map-live")
    # Shift and arrows mark a block, and Python describes the attention in it.
    press(page, "0", "+", "Shift+ArrowUp", "Shift+ArrowLeft", "Enter")  # from the selection
    page.wait_for_selector("[data-between]:not([data-between=''])")
    book.until("view.block is None", "False")
    agree(book)
    assert "give" in page.locator(part("sentence")).inner_text()
    press(page, "Escape", "Escape")  # clear the selection, then the block
    book.until("view.block is None", "True")
    # Another head, without its first token; Python shows a part of it.
    page.locator(part("hide-first")).check()
    choose_head(page, 0, 1)
    page.wait_for_selector("[data-shown='decoder/0/1']")
    book.run("view._options = {**view._options, 'window': [100, 0, 64]}\n0")
    settled(page, tokens=64, level=0, coarse="false")
    shown = map_.hover(130, 20)
    assert float(shown) == pytest.approx(float(book.run("view.row(130)[20].item()")), abs=6e-5)
    assert float(map_.hover(130, 0)) == 0
    assert page.errors == []
