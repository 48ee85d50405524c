"""The Explorer on one screen without scrolling: the text, the prediction before and after, every
head, the selected map and the answer; on a phone, stacked."""

import itertools
import re

import pytest

import transformer_lab as tl
from tests.browser.fixtures import choose_head
from tests.browser.rest import resized
from tests.browser.test_explorer_page import CODE, FRENCH, WORDS, small
from tests.missing import lacking
from transformer_lab.views import Explorer, HeadView

# A cell of JupyterLab at 1440 × 900 with its side bar, and at 1024 × 768 without.
SIZES = ((985, 740), (850, 620))
MARY = "When Mary and John went to the store, John gave a drink to"
MODELS = ("shipped", "smollm2-135m", "minilm", "encoder-decoder", "masks")

# Parts that are not fully visible, on the screen or in their containers.
CUT_OFF = """() => {
    const cut = [];
    for (const what of ["text", "strip-text", "predictions", "thumbnails", "map", "legend", "tool", "head-title", "edits", "head-off"]) {
        const part = document.querySelector(`[data-part="${what}"]`);
        if (!part || !part.getClientRects().length) { cut.push([what, "not there"]); continue; }
        const { left, top, right, bottom, width } = part.getBoundingClientRect();
        if (width && (left < -1 || top < -1 || right > innerWidth + 1 || bottom > innerHeight + 1)) cut.push([what, bottom]);
        for (let at = part.parentElement; at; at = at.parentElement) {
            const box = at.getBoundingClientRect();
            if (getComputedStyle(at).overflowY !== "visible" && bottom > box.bottom + 1) cut.push([what, at.className]);
        }
    }
    return cut;
}"""
UNSEEN = "text => [text.scrollHeight - text.clientHeight, text.clientHeight]"
LINE_HIGH = 18  # px, as in ask.js
LARGEST = """() => {
    const size = (part) => parseFloat(getComputedStyle(part).fontSize);
    const seen = [...document.querySelectorAll("#tl-root *")].filter((part) => part.getClientRects().length && part.innerText);
    const most = Math.max(...seen.map(size));
    return [...new Set(seen.filter((part) => size(part) === most).map((part) => part.closest("[data-part]").dataset.part))];
}"""


def explorer(name):
    if name == "shipped":
        return Explorer(
            tl.shipped("manual"),
            CODE,
            layer=3,
            head=1,
            edits=[tl.ablate(2, 2), tl.knock_out(3, 1, query=14, key=5)],
        )
    if name == "encoder-decoder":
        return Explorer(small(name), WORDS, FRENCH, edits=[tl.ablate(1, 2, kind="cross")])
    if name == "masks":
        view = Explorer(small("encoder"), WORDS)
        view.masked, view.edits = [3, 8], [tl.ablate(0, 1)]
        return view
    try:
        model = tl.TextModel.from_pretrained(name)
    except (FileNotFoundError, ImportError) as error:
        lacking("models", error)
    text = MARY if name == "smollm2-135m" else WORDS
    return Explorer(model, text, layer=1, head=5, edits=[tl.ablate(1, 5)])


@pytest.mark.parametrize("name", MODELS)
def test_all_of_it_stands_together(open_page, accessible, screenshot, name):
    source = explorer(name).to_html(effects=False)
    page = open_page(source, width=SIZES[0][0], height=SIZES[0][1])
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width, height in SIZES:
            resized(page, width, height)
            room = "[document.documentElement.scrollHeight, document.documentElement.scrollWidth]"
            assert page.evaluate(room) == [height, width]
            page.wait_for_function(f"() => ({CUT_OFF})().length === 0")  # once redrawn
            unseen, seen = page.locator("[data-part=text]").evaluate(UNSEEN)
            # No line is clipped; beside a second field, two are visible and the rest scrolls.
            assert unseen <= 1 or (name == "encoder-decoder" and seen >= 2 * LINE_HIGH)
            assert page.evaluate(LARGEST) == ["effect"]
            screenshot(page, f"screen-{name}-{width}-{scheme}")
        accessible(page)
        for menu in ("save", "view", "help"):  # each menu opens on screen
            page.locator(f"[data-part={menu}]").click()
            box = page.locator("details[open] > .tl-popped").bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width, menu
            assert box["y"] >= 0 and box["y"] + box["height"] <= height, menu
            accessible(page)
            page.keyboard.press("Escape")
            assert page.locator("details[open]").count() == 0


def test_so_it_does_with_edits_and_what_was_written_with_and_without_them(open_page, screenshot):
    """A text of three lines, two strips of tokens, two edits: the most that a screen must hold."""
    view = explorer("shipped")
    view.write(24)
    assert view.text.count("\n") >= 2
    source = view.to_html(effects=False, model=False)
    page = open_page(source, width=SIZES[0][0], height=SIZES[0][1])
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width, height in SIZES:
            resized(page, width, height)
            assert page.locator("[data-part=strip-other]").is_visible()
            assert page.evaluate(DIVERGE) == [True, True, True, True]
            assert page.evaluate("document.documentElement.scrollHeight") == height
            page.wait_for_function(f"() => ({CUT_OFF})().length === 0")  # once redrawn
            screenshot(page, f"screen-written-{width}-{scheme}")
        lead = page.locator("[data-part=lead]")
        assert lead.inner_text() == "Continuing the text needs a live kernel."
        box, side = lead.bounding_box(), page.locator(".tl-panel-side").bounding_box()
        assert box["y"] + box["height"] <= side["y"] + side["height"] + 1


# Whether the tokens where texts with and without edits diverge are visible and aligned.
DIVERGE = """() => {
    const strips = ["strip-text", "strip-other"].map((name) => document.querySelector(`[data-part=${name}]`));
    const marks = strips.map((strip) => strip.querySelector(".tl-masked").getBoundingClientRect());
    const seen = marks.map((mark, i) => {
        const { top, bottom } = strips[i].getBoundingClientRect();
        return mark.top >= top - 1 && mark.bottom <= bottom + 1;
    });
    const said = document.querySelector("[data-part=written]");
    const starts = document.createRange(), [, end] = /(token \\d+: .*?\\.)/.exec(said.textContent);
    starts.setStart(said.firstChild, said.textContent.indexOf(end));
    starts.setEnd(said.firstChild, said.textContent.indexOf(end) + end.length);
    const whole = starts.getBoundingClientRect().bottom <= said.getBoundingClientRect().bottom + 1;
    return [...seen, Math.abs(marks[0].left - marks[1].left) < 3, whole];
}"""


def test_four_edits_what_is_said_of_them_and_their_legend_are_whole(open_page):
    """Half of the third edit and two lines of the note were visible, above free room; numbers of
    the scale of changes overlapped."""
    edits = [
        tl.ablate(2, 2),
        tl.knock_out(3, 1, query=14, key=5),
        tl.knock_out(2, 2, query=9, key=5),
        tl.ablate(1, 1),
    ]
    view = Explorer(tl.shipped("manual"), CODE, layer=3, head=1, edits=edits)
    page = open_page(view.to_html(effects=False), width=1440, height=900)
    page.locator("[data-part=map-mode] [data-value=difference]").click()
    page.wait_for_selector("[data-part=legend] .tl-ticks >> text=−")
    unseen = "parts => parts.map((part) => part.scrollHeight - part.clientHeight)"
    boxes = page.locator(".tl-map-said, .tl-chips, .tl-panel-side, [data-part=sentence]")
    assert max(boxes.evaluate_all(unseen)) <= 0
    ticks = page.locator("[data-part=legend] .tl-ticks span")
    places = ticks.evaluate_all(
        "all => all.map((t) => t.getBoundingClientRect()).map((b) => [b.left, b.right])"
    )
    assert all(right < left for (_, right), (left, _) in itertools.pairwise(places)), places
    # A cut in a head that is off is marked as having no effect, once.
    assert page.locator("[data-part=idle]").all_inner_texts() == ["no effect: head is off"]
    assert "layer 2, head 2" in page.locator("li:has([data-part=idle]) bdi").inner_text()
    page.locator("[data-part=tool] [data-value=off]").click()
    cursor = "part => getComputedStyle(part).cursor"
    for part in ("thumbnails", "map"):
        assert page.locator(f"[data-part={part}]").evaluate(cursor) == "pointer"


def test_on_a_phone_the_answer_comes_first_then_the_map_then_the_heads(open_page, screenshot):
    page = open_page(explorer("shipped").to_html(effects=False), width=390, height=844)
    order = [
        "text",
        "strip-text",
        "effect",
        "sentence",
        "map",
        "thumbnails",
        "predictions",
        "edits",
    ]
    tops = [page.locator(f"[data-part={name}]").bounding_box()["y"] for name in order]
    assert tops == sorted(tops)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    tool = page.locator("[data-part=tool]").bounding_box()
    assert tool["y"] + tool["height"] <= 844  # the tools stay on screen
    screenshot(page, "screen-phone", full_page=True)


@pytest.mark.parametrize(("layers", "heads"), [(1, 2), (1, 16), (30, 9), (48, 25), (2, 40)])
def test_every_head_is_in_sight_however_many_there_are(open_page, layers, heads):
    """Each differs visibly from its neighbours, and can be selected by click and by keyboard."""
    model = small("decoder", n_layers=layers, n_heads=heads)
    view = HeadView(model.trace(WORDS))
    page = open_page(view.to_html(model=False), width=850, height=620)
    grid = page.locator("[data-part=thumbnails]")
    box = grid.bounding_box()
    assert box["y"] + box["height"] <= 620 and box["x"] + box["width"] <= 850
    assert page.evaluate("document.documentElement.scrollHeight") == 620
    size = grid.evaluate("c => ({...c.dataset})")
    assert min(float(size["across"]), float(size["down"])) >= 5
    choose_head(page, layers - 1, heads - 1)
    page.wait_for_selector(f"[data-shown='decoder/{layers - 1}/{heads - 1}']")
    grid.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector(f"[data-shown='decoder/{layers - 1}/{heads - 2}']")


def test_heads_of_a_short_text_leave_no_empty_room(open_page, trace, long_trace, screenshot):
    """A third of the frame was empty with thirteen tokens; a long text takes all of it."""
    for given, fills in ((trace, False), (long_trace, True)):
        page = open_page(HeadView(given).to_html(), width=985, height=740)
        height = "document.querySelector('#tl-root').getBoundingClientRect().height"
        before = page.evaluate(height)
        assert (before > 730) == fills and before > 480
        assert page.evaluate("document.documentElement.scrollHeight") == 740
        foot = page.locator(".tl-map-said").bounding_box()
        tools = page.locator(".tl-tools").bounding_box()
        assert tools["y"] - foot["y"] - foot["height"] < 60 or fills
        # Hovering moves nothing; wider, or with another head, it is fitted again.
        for place in (0, 5, -1):
            page.locator("[data-part=queries] [data-index]").nth(place).hover()
            assert page.evaluate(height) == before
        page.mouse.move(3, 3)
        page.locator("[data-part=head-on]").click()
        page.wait_for_selector("[data-shown='decoder/0/1']")
        assert page.evaluate(height) == before
        page.set_viewport_size({"width": 1300, "height": 900})
        page.wait_for_function(f"before => {height} > before", arg=before)
        assert page.evaluate("document.documentElement.scrollHeight") == 900
        screenshot(page, f"short-{not fills}")


def test_one_tool_and_one_stepper_and_lines_in_the_place_of_the_map(open_page):
    page = open_page(explorer("shipped").to_html(effects=False), width=985, height=740)
    assert page.locator("[data-part=tool]").count() == page.locator("[data-part=head]").count() == 1
    assert page.locator("[data-part=layer]").count() == 0
    page.locator("[data-part=show] [data-value=lines]").click()
    page.locator("[data-part=queries]").wait_for()
    assert not page.locator("[data-part=map]").is_visible()
    assert page.evaluate("document.activeElement.dataset.value") == "lines"
    assert page.evaluate("document.documentElement.scrollHeight") == 740
    page.keyboard.press("ArrowLeft")
    page.locator("[data-part=map]").wait_for()
    page.set_viewport_size({"width": 1300, "height": 800})  # room for both
    page.locator("[data-part=queries]").wait_for()
    assert page.locator("[data-part=map]").is_visible()
    assert not page.locator("[data-part=show]").is_visible()


def test_a_long_text_scrolls_in_its_strip(open_page):
    model = tl.shipped("manual")
    view = Explorer(model, (CODE + "keys\n") * 12)  # 216 tokens
    page = open_page(view.to_html(effects=False), width=850, height=620)
    assert page.evaluate("document.documentElement.scrollHeight") == 620
    strip = page.locator("[data-part=strip-text]")
    last = len(view._about["tokens"]) - 1
    assert last > 200
    seen = """([strip, index]) => {
        const [box, token] = [strip, strip.querySelector(`[data-index='${index}']`)].map((e) => e.getBoundingClientRect());
        return token.top >= box.top - 1 && token.bottom <= box.bottom + 1;
    }"""
    handle = strip.element_handle()
    assert page.evaluate(seen, [handle, last])
    strip.locator(f"[data-index='{last}']").focus()
    page.keyboard.press("Home")
    assert page.evaluate(seen, [handle, 0])
    assert page.evaluate("document.activeElement.dataset.index") == "0"


def test_no_rule_looks_through_the_whole_screen_at_every_change():
    """Rules with :has() on the containers of all parts took half the time of a selection."""
    style = Explorer(tl.shipped("manual"), CODE)._css
    large = re.findall(r"\.tl-(?:screen|panels|panel-heads)[^ ,{]*:has\(", style)
    assert "tl-wrote" in style and not large, large


def test_no_number_of_the_prediction_is_cut_off(open_page):
    """From 740 to 899 px each was, if two had a "<"."""
    page = open_page(
        Explorer(tl.shipped("manual"), CODE, edits=[tl.ablate(0, 1)]).to_html(model=False)
    )
    beyond = """() => [...document.querySelectorAll(".tl-predictions .tl-numbers")].map((cell) => {
        const text = document.createRange();
        text.selectNodeContents(cell);
        const [{ left, right }, box] = [text.getBoundingClientRect(), cell.getBoundingClientRect()];
        return Math.max(box.left - left, right - box.right);
    })"""
    cells = page.locator(".tl-predictions td.tl-numbers")
    assert "<1%" in "".join(cells.all_inner_texts())
    cells.first.evaluate("cell => cell.textContent = '100% → <1%'")  # the longest possible
    for width in (340, 739, 740, 820, 899, 900, 1180, 1300):
        page.set_viewport_size({"width": width, "height": 900})
        assert max(page.evaluate(beyond)) <= 0.5, width
