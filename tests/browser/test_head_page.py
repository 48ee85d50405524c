"""A saved HeadView in a browser. Every number read here is compared with Python's."""

import numpy as np
import pytest
import torch
from PIL import Image

import transformer_lab as tl
from tests.adapters import families
from tests.browser.fixtures import choose_head
from tests.factories import small
from transformer_lab.views import HeadView

part = "[data-part={}]".format


def text(page, name):
    return page.locator(part(name)).inner_text()


def test_first_screen_and_numbers(open_page, map_of, trace, screenshot):
    view = HeadView(trace, layer=1, head=2, title="Small decoder")
    page = open_page(view.to_html())
    assert page.locator("#tl-root").get_attribute("data-shown") == "decoder/1/2"
    assert text(page, "sentence") == view.sentence
    assert text(page, "map-note").startswith("Raw attention weights; each row sums to 1.")
    weights = trace.pattern(1, 2)
    for query, key in ((0, 0), (8, 1), (12, 12), (8, 7), (3, 9)):
        page.locator(part("map")).hover(position=map_of(page).place(query, key))
        if key > query:  # it cannot attend there
            page.locator(part("number")).wait_for(state="detached")
        else:
            assert map_of(page).number() == f"{weights[query, key]:.4f}"
        view.selected = (query, key)
        assert text(page, "sentence") == view.sentence
    screenshot(page, "head-light-1300", full_page=True)


# What a host does when it changes its theme: a view's parts have no size for some frames; or
# JupyterLab widens the view, narrows it again and hides it within a frame, while it is drawn.
THEME = """async ([theme, long]) => {
    const raf = window.requestAnimationFrame;
    const frames = async (n) => { while (n--) await new Promise((done) => raf(done)); };
    const root = document.querySelector("#tl-root"), panels = document.querySelector(".tl-panels");
    if (long) {
        panels.style.display = "none";
        await frames(2);
        document.documentElement.dataset.theme = theme;
        await frames(4);
        panels.style.display = "";
        await frames(1); // this one is painted with what was drawn before
    } else {
        document.documentElement.dataset.theme = theme;
        root.style.width = "95%";
        while (root.dataset.theme !== theme) await frames(1);
        await frames(3);
        const hidden = new Promise((done) => window.requestAnimationFrame = (draw) => raf((time) => {
            document.body.style.display = "none";
            draw(time);
            document.body.style.display = "";
            window.requestAnimationFrame = raf;
            done();
        }));
        root.style.width = "";
        await hidden;
        await frames(3);
    }
}"""
DRAWN = """() => {
    const map = document.querySelector("[data-part=map]"), lines = document.querySelector(".tl-strands canvas");
    const pixels = lines.getContext("2d").getImageData(0, 0, lines.width, lines.height).data;
    const drawn = pixels.some((value, i) => i % 4 === 3 && value);
    const box = map.closest(".tl-map-box");
    return [map.style.width, map.style.height, map.dataset.cell, lines.style.width, lines.style.height, drawn, box.scrollHeight > box.clientHeight];
}"""


@pytest.mark.parametrize("long", [True, False])
def test_map_and_lines_are_as_they_were_when_a_theme_has_changed(open_page, trace, long):
    """The map was drawn without room for a frame, at 200 × 90 pixels and without names; lines were
    drawn at 40 × 1 pixels, and stayed so."""
    page = open_page(HeadView(trace, layer=1, head=2).to_html(), height=620)  # no height to spare
    before = page.evaluate(DRAWN)
    assert before[-2:] == [True, False]
    for theme in ("dark", "light", "dark", "light", "dark"):
        page.evaluate(THEME, [theme, long])
        assert page.evaluate(DRAWN) == before
        page.wait_for_selector(f"[data-theme={theme}] >> [data-part=map]")
        assert page.evaluate(DRAWN) == before


def test_click_locks_escape_frees_arrows_move(open_page, map_of, trace):
    view = HeadView(trace)
    page = open_page(view.to_html())
    the_map, root = map_of(page), page.locator("#tl-root")
    the_map.click(8, 1)
    assert root.get_attribute("data-selected") == "8,1"
    assert page.locator(part("lock")).is_visible()
    page.mouse.move(5, 5)
    assert the_map.number() == f"{trace.pattern(0, 0)[8, 1]:.4f}"
    the_map.canvas.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert root.get_attribute("data-selected") == "9,3"
    assert the_map.number() == f"{trace.pattern(0, 0)[9, 3]:.4f}"
    view.selected = (9, 3)
    assert view.sentence in the_map.canvas.get_attribute("aria-label")
    page.keyboard.press("Enter")  # the arrows have locked it already
    assert root.get_attribute("data-selected") == "9,3"
    assert the_map.canvas.evaluate("c => getComputedStyle(c).outlineOffset") == "-2px"
    page.keyboard.press("Escape")
    assert root.get_attribute("data-selected") == ""
    the_map.click(4, 4)
    the_map.click(4, 4)
    assert root.get_attribute("data-selected") == ""
    token = page.locator("[data-part=queries] [data-index='8']")
    token.click()
    view.selected = (8, None)
    assert root.get_attribute("data-selected") == "8,"
    assert text(page, "sentence") == view.sentence
    page.keyboard.press("Escape")


def test_heads_by_thumbnail_and_by_keyboard(open_page, trace):
    page = open_page(HeadView(trace).to_html())
    grid = page.locator(part("thumbnails"))
    box = grid.bounding_box()
    grid.click(position={"x": box["width"] * 0.6, "y": box["height"] * 0.9})
    page.wait_for_selector("[data-shown='decoder/3/2']")
    assert page.locator("[data-part=head] option:checked").inner_text() == "L3H2"
    # Single steps go through all layers, and wrap from the last head to the first.
    for press, shown in (("on", "3/3"), ("on", "0/0"), ("back", "3/3"), ("back", "3/2")):
        page.locator(part(f"head-{press}")).click()
        page.wait_for_selector(f"[data-shown='decoder/{shown}']")
    page.keyboard.press("Shift+Tab")  # so that the focus counts as set by keyboard
    grid.focus()
    ring = grid.evaluate(
        "c => [getComputedStyle(c).outlineStyle, getComputedStyle(c).outlineWidth]"
    )
    assert ring == ["solid", "2px"]
    page.keyboard.press("ArrowUp")
    page.wait_for_selector("[data-shown='decoder/2/2']")


def test_the_table_holds_the_five_largest(open_page, trace):
    page = open_page(HeadView(trace, layer=1, head=1).to_html())
    page.locator("[data-part=queries] [data-index='11']").hover()
    page.locator("details:not(.tl-popover) summary").click()
    page.locator("[data-part=queries] [data-index='11']").hover()
    rows = [r.locator("td, th").all_inner_texts() for r in page.locator("table tbody tr").all()]
    best = trace.pattern(1, 1)[11].topk(5)
    assert [int(row[2]) for row in rows] == best.indices.tolist()
    assert [row[3] for row in rows] == [f"{w:.4f}" for w in best.values.tolist()]
    assert [row[1] for row in rows] == [trace.key_tokens()[i] for i in best.indices.tolist()]


def test_hiding_and_value_weighting_are_flagged_and_exact(open_page, map_of, trace):
    view = HeadView(trace, layer=2, head=3)
    page = open_page(view.to_html())
    assert not page.locator(part("flag")).is_visible()
    page.locator(part("hide-first")).check()
    assert "Raw" not in text(page, "map-note")
    view._options = {"hide_first": True}
    assert "Without the first token" in text(page, "flag")
    shown = float(map_of(page).hover(9, 4))
    assert shown == pytest.approx(float(view.row(9)[4]), abs=1.5e-4)
    page.mouse.move(5, 5)
    page.wait_for_function(
        "s => document.querySelector('[data-part=sentence]').textContent === s", arg=view.sentence
    )
    page.locator(part("hide-first")).uncheck()
    page.locator(part("weights")).select_option("value")
    view._options = {"weights": "value"}
    assert "‖value · W_O‖" in text(page, "flag")
    shown = float(map_of(page).hover(9, 4))
    assert shown == pytest.approx(float(view.row(9)[4]), abs=1e-3)


def test_what_goes_to_nothing_stands_apart_and_is_no_key(open_page, map_of):
    model = families.tiny("mimo_v2_flash")  # with sinks only in layer 0
    found = tl.trace(model, **families.ours(families.text(model)))
    view = HeadView(found, layer=0, head=1)
    page = open_page(view.to_html())
    the_map, root = map_of(page), page.locator("#tl-root")
    canvas = page.locator(part("map"))
    where = canvas.evaluate("e => ({...e.dataset})")
    query, nothing = 5, found.to_nothing(0, 1)
    cell = {"x": float(where["nothing"]), "y": float(where["top"]) + 5.5 * float(where["cell"])}
    canvas.hover(position=cell)
    page.wait_for_function("document.querySelector('[data-part=number]')")
    assert text(page, "number") == f"{nothing[query]:.4f}" and "→ to nothing" in text(
        page, "readout"
    )
    assert "to nothing. That is not a token" in text(page, "sentence")
    canvas.click(position=cell)  # selects only the row
    assert root.get_attribute("data-selected") == "5,"
    page.mouse.move(5, 5)
    view.selected = (query, None)
    assert text(page, "sentence") == view.sentence and "goes to nothing" in view.sentence
    assert text(page, "nothing").split() == ["to", "nothing", f"{nothing[query]:.2f}"]
    assert "each row, with what goes to nothing, sums to 1" in text(page, "map-note")
    page.locator("details:not(.tl-popover) summary").click()
    assert f"to nothing\t\t{nothing[query]:.4f}" in text(page, "table")
    page.locator(part("weights")).select_option("value")  # nothing has no value
    assert canvas.get_attribute("data-nothing") == "" and page.locator(part("nothing")).count() == 0
    page.locator(part("weights")).select_option("raw")
    assert the_map.hover(5, 3) == f"{found.pattern(0, 1)[5, 3]:.4f}"
    choose_head(page, 1, 1)
    page.wait_for_selector("[data-shown='decoder/1/1']")
    assert canvas.get_attribute("data-nothing") == ""


def test_lines_cover_what_they_say(open_page, trace):
    page = open_page(HeadView(trace, layer=1, head=2).to_html())
    note = text(page, "line-note")
    weights = trace.pattern(1, 2)
    first = weights.max(1)  # each query keeps its strongest line
    others = weights.scatter(1, first.indices[:, None], 0).flatten().sort(descending=True).values
    missing = 0.7 * weights.sum() - first.values.sum()
    more = int((others.cumsum(0) < missing).sum()) + 1 if missing > 0 else 0
    share = round(100 * float((first.values.sum() + others[:more].sum()) / weights.sum()))
    said = f"Lines: each token’s strongest, then the strongest of this head; {share}% of the weight"
    assert note == f"{said} ({len(weights) + more} lines)."
    page.locator("[data-part=line-switch] [data-value=layer]").click()
    assert "4 heads" in text(page, "line-note")
    page.locator("[data-part=line-head][data-value='2']").click()
    assert "3 heads" in text(page, "line-note")


def test_encoder_decoder_and_cross(open_page, map_of, translation, screenshot):
    page = open_page(HeadView(translation).to_html(), scheme="dark")
    for kind, shape in (("encoder", (13, 13)), ("cross", (9, 13)), ("decoder", (9, 9))):
        page.locator(f"[data-part=kind] [data-value={kind}]").click()
        page.wait_for_selector(f"[data-shown='{kind}/0/0']")
        query, key = shape[0] - 1, shape[1] - 3
        weight = translation.pattern(0, 0, kind=kind)[query, key]
        assert map_of(page).hover(query, key) == f"{weight:.4f}"
    page.locator("[data-part=kind] [data-value=cross]").click()
    page.locator("[data-part=line-switch] [data-value=layer]").click()
    page.locator("[data-part=queries] [data-index='2']").hover()
    screenshot(page, "cross-dark-1300", full_page=True)
    page.locator(part("hide-special")).check()
    assert "special tokens" in text(page, "flag")


def test_long_texts(open_page, map_of, long_trace, screenshot):
    view = HeadView(long_trace, layer=1, head=3)
    page = open_page(view.to_html())
    root = page.locator("#tl-root")
    nodes = page.evaluate("document.querySelectorAll('*').length")
    assert nodes < 600 + 8 * 4 * 10
    screenshot(page, "long-light-1300", full_page=True)
    for _ in range(4):
        page.locator(part("zoom-in")).click()
    map_of(page).canvas.focus()
    page.keyboard.press("PageDown")
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    assert root.get_attribute("data-selected").endswith(",599")
    assert text(page, "map-note").endswith("of 600.")


def test_a_page_limited_to_layers_says_what_is_missing(open_page, long_trace):
    view = HeadView(long_trace)
    page = open_page("".join(view._page(layers=[0])))
    assert "keeps the heads of layer 0, of 4" in text(page, "note")
    choose_head(page, 0, 5)
    page.wait_for_selector("[data-shown='decoder/0/5']")
    choose_head(page, 2, 5)
    page.wait_for_selector("[data-part=message]:visible")
    assert text(page, "message") == "Layer 2, head 5 cannot be shown: this page does not hold it"
    choose_head(page, 0, 5)
    page.wait_for_selector("[data-part=message]", state="hidden")


def holds_much(path):
    """Check that an image has narrow margins and no empty third."""
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=int)
    drawn = (abs(pixels - pixels[0, 0]) > 12).any(-1)
    for lines in (drawn.any(0), drawn.any(1)):
        at = np.flatnonzero(lines)
        assert at[0] <= 60 and at[-1] >= len(lines) - 60
        assert np.diff(at).max() < len(lines) / 3


def test_what_can_be_taken_away(open_page, trace, tmp_path, map_of):
    page = open_page(HeadView(trace).to_html())
    choose_head(page, 2, 0)
    map_of(page).click(8, 3)
    page.locator(part("save")).click()
    page.locator(part("copy")).click()
    page.wait_for_selector("[data-copied]")
    code = page.locator("#tl-root").get_attribute("data-copied")
    assert code == "trace.pattern(layer=2, head=0)[8, 3]"
    assert float(eval(code)) == float(trace.pattern(2, 0)[8, 3])
    with page.expect_download() as download:
        page.locator(part("png")).click()
    download.value.save_as(tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    holds_much(tmp_path / "x.png")
    page.locator(part("save")).click()
    with page.expect_download() as download:
        page.locator(part("html")).click()
    download.value.save_as(tmp_path / "again.html")
    again = open_page(tmp_path / "again.html")
    root = again.locator("#tl-root")
    assert root.get_attribute("data-shown") == "decoder/2/0"
    assert root.get_attribute("data-selected") == "8,3"


@pytest.mark.parametrize("width", [400, 650, 1000])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off(open_page, trace, width, scheme, screenshot):
    page = open_page(HeadView(trace, layer=1, head=2).to_html(), width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("map", "thumbnails", "sentence"):
        box = page.locator(part(name)).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    assert page.locator("#tl-root").get_attribute("data-theme") == scheme
    screenshot(page, f"head-{scheme}-{width}", full_page=True)


def test_lines_end_where_the_tokens_begin(open_page, trace):
    """The numbers beside the tokens change the columns' width; lines ran through the tokens."""
    page = open_page(HeadView(trace, layer=1, head=2).to_html(), width=1000)
    for side in ("queries", "keys"):
        for index in (0, 8, 12):
            page.locator(f"[data-part={side}] [data-index='{index}']").hover()
            left, right, end = page.evaluate(
                """() => { const box = (what) => document.querySelector(what).getBoundingClientRect();
                const lines = box(".tl-strands canvas");
                return [lines.left - box("[data-part=queries]").right, lines.right, box("[data-part=keys]").left]; }"""
            )
            assert left >= -0.5 and right <= end + 0.5, (side, index)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_later_tokens_are_grey_in_every_colour(open_page, trace, scheme):
    """Viridis and cividis are dark at zero, and hid the mask."""
    page = open_page(HeadView(trace, layer=1, head=2).to_html(), scheme=scheme)
    at = """([query, key]) => { const canvas = document.querySelector("[data-part=map]");
        const ratio = canvas.width / parseFloat(canvas.style.width);
        const [left, top, cell] = ["left", "top", "cell"].map((name) => Number(canvas.dataset[name]));
        const place = [left + (key + 0.5) * cell, top + (query + 0.3) * cell].map((x) => Math.round(x * ratio));
        return [...canvas.getContext("2d").getImageData(...place, 1, 1).data.slice(0, 3)]; }"""
    small = """() => { const canvas = document.querySelector("[data-part=thumbnails]");
        const size = canvas.width / 4;
        return [...canvas.getContext("2d").getImageData(0.7 * size, 0.1 * size, 1, 1).data.slice(0, 3)]; }"""
    weights = trace.pattern(1, 2)
    query, key = divmod(
        int(weights.tril().add((1 - weights.new_ones(13, 13).tril()) * 9).argmin()), 13
    )
    for name in ("default", "viridis", "cividis"):
        page.locator(part("colours")).select_option(name)
        zero, later = page.evaluate(at, [query, key]), page.evaluate(at, [2, 11])
        assert max(later) - min(later) <= 12, (name, later)  # grey
        assert max(abs(a - b) for a, b in zip(zero, later, strict=True)) >= 12, (name, zero, later)
        found = page.evaluate(small)
        assert max(abs(a - b) for a, b in zip(found, later, strict=True)) <= 1, (name, found, later)


def test_a_single_head_has_none_before_and_none_after_it(open_page, trace):
    steps = "[data-part=head-back], [data-part=head-on]"
    only = HeadView(tl.trace(small(n_layers=1, n_heads=1), torch.arange(4)))
    for view, off in ((only, True), (HeadView(trace), False)):
        page = open_page(view.to_html())
        assert page.eval_on_selector_all(steps, "all => all.map(one => one.disabled)") == [off, off]
