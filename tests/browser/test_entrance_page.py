"""What a newcomer sees: few controls, surprising texts, a tour, and one head to switch off."""

import json

import pytest
import torch
from playwright.sync_api import TimeoutError

import transformer_lab as tl
from tests.browser.test_explorer_page import part, settled, small, text
from transformer_lab.views import Explorer
from transformer_lab.views.explorer import singles

WORDS = "the animal did not cross the street"
NEWCOMER = """if (!sessionStorage.entered) {
    sessionStorage.entered = "yes";
    localStorage["transformer-lab:tools"] = "few";
}"""
# Tokens, and texts to try, are one control each: a group with one Tab stop.
CONTROLS = """() => [...document.querySelectorAll("button, select, input, textarea, summary, a[href], canvas[tabindex]")]
    .filter((e) => e.checkVisibility() && !e.closest("details:not([open]) > .tl-popped") && e.tabIndex >= 0).length"""


@pytest.fixture(scope="module")
def shipped_page():
    return tl.explore(tl.shipped("manual")).to_html()


# Words that are seen on one screen, without the text and its tokens, numbers, and labels of axes.
SEEN_WORDS = r"""() => {
    const walker = document.createTreeWalker(document.querySelector("#tl-root"), NodeFilter.SHOW_TEXT);
    const words = [];
    for (let at; (at = walker.nextNode());) {
        const part = at.parentElement, box = part.getBoundingClientRect();
        if (!part.checkVisibility({ visibilityProperty: true }) || box.top >= innerHeight || !box.width) continue;
        if (part.closest(".tl-strip, .tl-unseen, bdi, .tl-heard, .tl-predictions, .tl-ticks, textarea, option, style, details:not([open]) > .tl-popped")) continue;
        words.push(...(at.data.match(/\p{L}[\p{L}’-]*/gu) ?? []));
    }
    return words;
}"""


def again(page):
    page.reload()
    page.wait_for_selector("#tl-root[data-ready]")
    del page.requests[1:]  # the reload


@pytest.fixture
def entered(open_page):
    """Open a page as a first-time reader sees it."""

    def enter(source, script="", **look):
        page = open_page(source, alone=True, **look)  # with storage of its own
        page.add_init_script(NEWCOMER + script)
        again(page)
        return page

    return enter


def test_the_first_screen(entered, shipped_page, screenshot, accessible):
    page = entered(shipped_page)
    page.locator(part("best")).wait_for()
    assert page.evaluate(CONTROLS) <= 14
    page.set_viewport_size({"width": 1440, "height": 900})
    assert len(page.evaluate(SEEN_WORDS)) <= 120, page.evaluate(SEEN_WORDS)
    # Map and bars stand side by side and fill the page.
    boxes = [page.locator(part(name)).bounding_box() for name in ("map", "predictions")]
    assert boxes[0]["width"] > 500 and boxes[1]["width"] > 600 and boxes[1]["x"] < 740
    assert page.locator("[role=heading][aria-level='1']").inner_text().endswith("?")
    assert (
        text(page, "effect")
        == 'After “·"”, the model expects “format” (81%). Does it need layer 2, head 2?'
    )
    for hidden in ("thumbnails", "tool", "pin", "heads-as"):
        assert not page.locator(part(hidden)).first.is_visible()
    accessible(page)
    screenshot(page, "entrance")
    first = "[data-part=predictions] .tl-chance-bar.tl-{} >> nth=0"
    length = "bar => Math.round(parseFloat(bar.style.width))"
    assert page.locator(first.format("before")).evaluate(length) == 81  # per cent of the track
    page.locator(part("head-off")).click()
    settled(page, 1)
    assert text(page, "effect").startswith(
        "With layer 2, head 2 switched off, “format” becomes less"
    )
    assert [page.locator(first.format(s)).evaluate(length) for s in ("before", "after")] == [81, 15]
    risen = page.locator("[data-part=predictions] tr.tl-new th")
    arrow = "of => of.map(token => getComputedStyle(token, '::after').content)"
    assert set(risen.evaluate_all(arrow)) == {'" ↑"'}
    # The head adds nothing now, so no token is tinted.
    assert page.locator("[data-part=strip-text] .tl-tinted").count() == 0
    page.locator(part("undo")).click()
    settled(page, 0)
    assert text(page, "effect").endswith("Does it need layer 2, head 2?")


@pytest.mark.parametrize(
    ("guess", "says"), [("yes", "You guessed right: yes."), ("no", "A surprise: yes.")]
)
def test_a_reader_guesses_before_the_result_is_shown(entered, shipped_page, guess, says):
    """The headline's question can be answered; the answer switches the head off and is compared."""
    page = entered(shipped_page)
    page.locator(part(f"guess-{guess}")).click()
    settled(page, 1)
    assert not page.locator(part("guess")).is_visible() and focused(page) == "head-off"
    assert page.locator(part("effect")).get_attribute("data-verdict") == says
    page.locator(part("undo")).click()
    settled(page, 0)
    assert page.locator(part("guess")).is_visible()


def test_tokens_in_a_sentence_are_chips(entered, shipped_page):
    """Their quotation marks, spaces and numbers are heard, and not seen."""
    page = entered(shipped_page)
    seen = """of => [...of.querySelectorAll(".tl-token-chip")].map((chip) => [...chip.querySelectorAll("*")]
        .filter((e) => getComputedStyle(e).fontSize !== "0px").map((e) => [...e.childNodes]
        .filter((n) => n.nodeType === 3).map((n) => n.data).join("")).join(""))"""
    assert page.locator(part("effect")).evaluate(seen) == ['"', "format"]
    assert page.locator(part("sentence")).evaluate(seen) == ['"', "format", "the"]
    assert "₂" in text(page, "sentence")


def test_an_arc_leads_to_the_word_that_is_copied_and_snaps(entered, shipped_page):
    """It ends at the token with most weight, and the headline answers its question."""
    page = entered(shipped_page)
    tokens = page.locator("[data-part=strip-text] [data-index]")
    arcs = page.locator("[data-part=strip-text] .tl-arcs path")
    page.wait_for_function("() => document.querySelectorAll('.tl-arcs path').length === 1")
    middle = "one => { const box = one.getBoundingClientRect(); return box.left + box.width / 2; }"
    ends = "one => { const box = one.getBoundingClientRect(); return [box.left, box.right]; }"
    expected = [tokens.nth(at).evaluate(middle) for at in (3, 14)]
    assert arcs.evaluate(ends) == pytest.approx(expected, abs=3)
    dashes = "one => getComputedStyle(one).strokeDasharray.match(/[\\d.]+/g).map(Number)"
    whole = arcs.evaluate(dashes)
    page.locator(part("head-off")).click()
    settled(page, 1)
    page.wait_for_function("() => document.querySelector('.tl-arcs.tl-off path')")
    page.wait_for_timeout(500)  # of the transition
    assert (whole[1], arcs.evaluate(dashes)[1]) == (0, 0.2)  # the gap in its middle
    verdict = page.locator(part("effect")).evaluate(
        "of => getComputedStyle(of, '::before').content"
    )
    assert "Yes." in verdict
    # Without an arc: a head that spreads its attention. With a loop: one that stays.
    page.locator(part("undo")).click()
    settled(page, 0)
    page.locator(part("head")).select_option(label="L0H1")
    page.wait_for_function(
        "() => document.querySelector('[data-part=tint]').textContent.includes('mostly to itself')"
    )
    assert arcs.count() == 1
    left, right = arcs.evaluate(ends)
    assert right - left < 40
    # All tools have the map and its lines.
    page.locator(part("all-tools")).click()
    assert not arcs.first.is_visible()


def test_the_text_goes_on_from_the_first_screen(entered, shipped_page):
    """Both continuations under an edit; what the model wrote is marked, what the reader wrote is not."""
    page = entered(shipped_page)
    fresh = "all => all.map(one => one.classList.contains('tl-fresh'))"
    tokens = page.locator("[data-part=strip-text] [data-index]")
    before = tokens.count()
    assert not any(tokens.evaluate_all(fresh))
    page.locator(part("head-off")).click()
    settled(page, 1)
    page.locator(part("write")).click()
    page.wait_for_function(
        "n => document.querySelectorAll('[data-part=strip-text] [data-index]').length > n",
        arg=before,
    )
    settled(page, 1)
    now = tokens.evaluate_all(fresh)
    assert now == [at >= before for at in range(len(now))]
    other = page.locator("[data-part=strip-other] [data-index]")
    assert other.evaluate_all(fresh)[before - 1 : before + 1] == [False, True]
    assert (
        page.locator(part("written")).inner_text().startswith("With layer 2, head 2 switched off")
    )


def test_words_carry_the_weights_of_the_locked_token(entered, shipped_page):
    page = entered(shipped_page)
    view = tl.explore(tl.shipped("manual"))
    tints = """all => all.map(one => parseFloat(one.style.getPropertyValue("--tl-weight")))"""
    tokens = page.locator("[data-part=strip-text] [data-index]")
    for query in (view.position, 5):
        tokens.nth(query).click()
        settled(page, 0)
        page.mouse.move(0, 0)
        row = 55 * view.trace.pattern(view.layer, view.head)[query]
        page.wait_for_function(
            "q => document.querySelector('[data-part=tint]').textContent.includes(q)",
            arg=view.trace.query_tokens()[query].strip().replace(" ", "·"),
        )
        assert tokens.evaluate_all(tints) == pytest.approx(row.tolist(), abs=0.06)


def test_a_sample_is_run_with_its_head_and_surprises(entered, shipped_page):
    page = entered(shipped_page)
    samples = page.locator(part("sample"))
    assert samples.count() == 3
    model, heads = tl.shipped("manual"), set()
    for at in range(3):
        samples.nth(at).click()
        page.wait_for_function(
            f"() => document.querySelectorAll('[data-part=sample]')[{at}].ariaPressed === 'true'"
        )
        settled(page, 0)
        words = page.locator("[data-part=text]").input_value()
        place = page.evaluate("() => document.querySelector('#tl-root').dataset.shown")
        kind, layer, head = place.split("/")
        heads.add(place)
        before = model.trace(words).logits[0, -1].softmax(-1)
        with tl.edit(model, tl.ablate(int(layer), int(head), kind=kind)):
            after = model.trace(words).logits[0, -1].softmax(-1)
        assert before.max() > 0.5 and after[before.argmax()] < 0.8 * before.max()
    assert len(heads) == 3
    page.locator(part("head-off")).click()
    page.wait_for_function(
        "() => document.querySelector('[data-part=effect]').innerText.startsWith('With layer')"
    )
    asks = "() => document.querySelector('[data-part=effect]').innerText.includes('Does it need')"
    samples.nth(0).click()  # a new text starts without the last one's edits
    page.wait_for_function(asks)
    page.locator(part("head-off")).click()
    page.wait_for_function(f"() => !({asks})()")
    page.locator(part("text")).fill("for name in names: ")  # and so does the reader's own text
    page.locator(part("run")).click()
    page.wait_for_function(asks)
    ends = "This text ends with a space, which is a token of its"  # a note on the text as read
    page.wait_for_function(
        "said => document.querySelector('[data-part=unread]').textContent.startsWith(said)",
        arg=ends,
    )


def test_more_tools_are_remembered(entered, shipped_page):
    page = entered(shipped_page)
    page.locator(part("all-tools")).click()
    assert page.locator(part("thumbnails")).is_visible()
    assert page.locator(part("head-effect")).is_visible()
    again(page)
    assert page.locator(part("thumbnails")).is_visible()
    page.locator("[data-part=tool] [data-value=cut]").click()
    page.wait_for_selector("[data-tool=cut]")
    page.locator(part("all-tools")).click()
    assert not page.locator(part("thumbnails")).is_visible()
    page.wait_for_selector("[data-tool=look]")  # no hidden tool stays active


# What is seen of a view: visible parts and controls with their places, texts and states, and the map.
SEEN = """() => {
    const at = (e) => { const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, r.height].map(Math.round); };
    const own = (e) => [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data).join("");
    const root = document.querySelector("#tl-root");
    const { tool, shown, edits, size = "" } = root.dataset;
    return JSON.stringify([[tool, shown, edits, size], ...[...root.querySelectorAll("*")]
        .filter((e) => e.checkVisibility({ visibilityProperty: true }) && e.clientWidth && !e.closest(".tl-unseen, option, svg"))
        .map((e) => [e.tagName, e.dataset.part ?? "", ...at(e), own(e), e.disabled ?? "", e.tagName === "CANVAS" ? e.toDataURL() : ""])]);
}"""


def same_as(page, expected):
    """Wait until the page looks as it did."""
    try:
        page.wait_for_function(f"seen => ({SEEN})() === seen", arg=expected, timeout=8000)
    except TimeoutError:
        now, then = json.loads(page.evaluate(SEEN)), json.loads(expected)
        extra = [[x for x in a if x not in b] for a, b in ((now, then), (then, now))]
        raise AssertionError(
            [[[str(y)[:60] for y in x] for x in part[:8]] for part in extra]
        ) from None


def press(*parts):
    def does(page):
        for name in parts:
            page.locator(name if name.startswith("[") else part(name)).first.click()

    return does


def mark_a_block(page):
    page.locator(part("spans")).click()
    page.locator("[data-part=span-row] [data-index='14']").click()
    page.locator("[data-part=span-row] [data-index='3']").click()
    page.wait_for_selector("#tl-root:not([data-between=''])")


def several(page):
    page.locator("[data-part=heads-as] [data-value=grid]").click()
    grid = page.locator(part("thumbnails"))
    box = grid.bounding_box()
    for at in (0.1, 0.4, 0.6):  # the last is the head that was chosen, which leaves the others
        grid.click(position={"x": at * box["width"], "y": at * box["height"]}, modifiers=["Shift"])
    page.wait_for_function(
        "() => document.querySelector('[data-part=head-off]').innerText.includes('2 heads')"
    )


def difference(page):
    page.locator(part("head-off")).click()
    settled(page, 1)
    page.locator("[data-part=map-mode] [data-value=difference]").click()
    page.locator(part("head-off")).click()
    settled(page, 0)


def by_keys(*keys):
    def does(page):
        page.locator(part("map")).focus()
        for key in keys:
            page.keyboard.press(key)

    return does


def choices(page):
    page.locator(part("view")).click()
    page.locator(part("hide-first")).check()
    page.locator(part("weights")).select_option("value")
    page.locator(part("colours")).select_option(index=1)
    page.keyboard.press("Escape")


def lines(page):
    switch = page.locator("[data-part=show] [data-value=lines]")
    if switch.is_visible():  # in the place of the map
        switch.click()
    page.locator("[data-part=line-switch] [data-value=layer]").click()


MORE_TOOLS = {
    "switch off": press("[data-part=tool] [data-value=off]"),
    "table": press("[data-part=heads-as] [data-value=table]"),
    "difference": difference,
    "what the map shows": choices,
    "several heads": several,
    "from A to B": mark_a_block,
    "pin": press("pin"),
    "zoom": by_keys("+", "+"),
    "cut": press("[data-part=tool] [data-value=cut]"),  # on a phone, in the place of other tools
    "lines": lines,
    "present": press("present"),
}


@pytest.mark.parametrize("width", [1440, 390])
def test_fewer_tools_restores_the_simple_page(entered, shipped_page, width):
    """The simple page was squeezed after a table, and its map stayed blank after "difference"."""
    page = entered(shipped_page, width=width, height=900)
    page.emulate_media(reduced_motion="reduce")
    all_tools, off = page.locator(part("all-tools")), page.locator(part("head-off"))
    page.locator(part("best")).wait_for()  # everything is measured
    looks, acts = page.evaluate(SEEN), None
    together = {name: does for name, does in MORE_TOOLS.items() if does is not several}
    if width > 740:
        runs = [[], *([does] for does in MORE_TOOLS.values())]
    else:
        together.pop("present")  # phones do not have it
        runs = [[]]
    for actions in [*runs, list(together.values())]:
        all_tools.click()
        page.wait_for_selector(".tl-screen:not(.tl-few)")
        for does in actions:
            does(page)
        all_tools.click()
        page.mouse.move(0, 0)
        all_tools.evaluate("button => button.blur()")
        same_as(page, looks)
        if len(actions) == 1:
            continue
        off.click()
        settled(page, 1)
        page.mouse.move(0, 0)
        off.evaluate("button => button.blur()")
        if acts:
            same_as(page, acts)
        else:
            page.wait_for_function(
                "() => document.querySelector('[data-part=flag]').innerText.includes('switched off')"
            )
            acts = page.evaluate(SEEN)
        off.click()
        settled(page, 0)


def test_a_text_is_run_with_its_own_line_ends(entered):
    page = entered(tl.explore(tl.shipped("manual"), 'line one\r\nline two "the').to_html())
    tokens = page.locator(part("strip-text")).inner_text()
    assert "␍" in tokens and not page.locator(part("unrun")).is_visible()
    page.locator(part("run")).click()
    settled(page, 0)
    assert page.locator(part("strip-text")).inner_text() == tokens
    page.locator(part("text")).press("End")
    page.keyboard.type("m")
    assert text(page, "unrun").startswith("Not run yet")
    page.locator(part("run")).click()
    page.locator(part("unrun")).wait_for(state="hidden")
    assert "␍" not in page.locator(part("strip-text")).inner_text()


def test_the_tour_can_be_left_and_does_not_come_by_itself(entered, shipped_page, accessible):
    page = entered(shipped_page)
    step = page.locator(part("tour-step"))
    assert not step.is_visible()
    page.locator(part("tour")).click()
    told = []
    for at in range(5):
        told.append(step.inner_text())
        assert page.locator(".tl-toured").count() == 1
        box = step.bounding_box()
        assert box["x"] >= 0 and box["y"] >= 0
        if at == 1:
            accessible(page)
        page.locator(part("tour-next")).click()
    assert len(set(told)) == 5 and not step.is_visible()
    assert focused(page) == "tour"
    page.locator(part("tour")).click()
    page.locator(part("text")).focus()
    page.keyboard.press("Escape")
    assert not step.is_visible() and page.locator(".tl-toured").count() == 0
    assert page.evaluate("() => document.activeElement.dataset.part") == "tour"


def focused(page):
    return page.evaluate("() => document.activeElement.dataset.part")


def test_the_focus_stays_where_a_control_goes(entered, shipped_page):
    page = entered(shipped_page)
    page.locator(part("head-off")).click()
    settled(page, 1)
    page.locator(part("undo")).focus()
    page.keyboard.press("Enter")
    settled(page, 0)
    assert not page.locator(part("undo")).is_visible() and focused(page) == "head-off"
    page.locator(part("best")).wait_for()
    assert text(page, "best").endswith("matters most: L0H1")  # its effect is for the reader to find
    page.locator(part("best")).focus()
    page.keyboard.press("Enter")
    page.locator(part("best")).wait_for(state="hidden")
    assert focused(page) == "head-off"


# Record what is offered as the head that matters most, and what stands in its place until then.
OFFERED = """window.offered = [];
new MutationObserver(() => {
    for (const name of ["measuring", "best"]) {
        const one = document.querySelector(`[data-part=${name}]`);
        if (one?.checkVisibility() && window.offered.at(-1) !== one.textContent) window.offered.push(one.textContent);
    }
}).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });"""


def test_the_head_that_matters_most_is_offered_once_it_is_known(entered, monkeypatch):
    """First an estimate was offered, and some seconds later another head."""
    monkeypatch.setattr(singles, "MEASURED_WITHIN", 0.0)
    view = tl.explore(tl.shipped("manual"), layer=0, head=3)
    assert view._effects == {}
    page = entered(view.to_html(), OFFERED)
    page.locator(part("best")).wait_for()
    measuring, best = page.evaluate("window.offered")
    assert measuring == "Measuring which head matters most …"
    assert best == "Look at the head that matters most: L0H1"


def test_undo_says_when_it_brings_a_text_back_and_a_freed_token_has_a_way_back(
    entered, shipped_page
):
    page = entered(shipped_page)
    page.locator(part("all-tools")).click()
    undo = page.locator(part("undo"))
    page.locator("[data-part=strip-text] [data-index='5']").click()
    settled(page, 0)
    here = page.locator(part("predict-here"))
    assert not here.is_visible() and text(page, "where").startswith("after")
    chosen = page.locator(".tl-tok.tl-chosen")
    assert "tl-tinted" in chosen.get_attribute("class")
    page.keyboard.press("Escape")
    assert here.inner_text() == "after the last token"
    here.click()
    settled(page, 0)
    here.wait_for(state="hidden")
    was = page.locator(part("text")).input_value()
    page.locator(part("text")).fill("for name in names:\n    print(")
    assert text(page, "unrun").startswith("Not run yet: press Enter.")
    page.locator(part("run")).click()
    page.wait_for_function("() => document.querySelector('[data-part=undo]').innerText !== '↶'")
    assert undo.get_attribute("title") == "Undo: the text before (Z)"
    undo.click()
    page.wait_for_function("w => document.querySelector('[data-part=text]').value === w", arg=was)
    page.locator(part("head-off")).click()
    settled(page, 1)
    assert undo.get_attribute("aria-label") == "Undo the last change (Z)"


SPOKEN_OF = [
    ["text", "strip-text"],
    ["predictions", "card"],
    ["map", "effect", "strip-text", "predictions"],
    ["head-off", "predictions"],
    ["all-tools"],
]


def test_the_tour_covers_nothing_that_it_speaks_of(entered, shipped_page):
    page = entered(shipped_page)
    for width, height in ((1440, 900), (1280, 800), (1024, 768), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        page.locator(part("tour")).click()
        for names in SPOKEN_OF:
            step = page.locator(part("tour-step")).bounding_box()
            for name in names:
                box = page.locator(part(name)).first.bounding_box()
                apart = any(
                    box[low] + box[size] <= step[low] or step[low] + step[size] <= box[low]
                    for low, size in (("x", "width"), ("y", "height"))
                )
                assert apart, (width, name, step, box)
            page.locator(part("tour-next")).click()


def test_on_a_phone_cause_and_effect_are_on_one_screen(entered, shipped_page, screenshot):
    page = entered(shipped_page, width=390, height=844)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for name in ("effect", "strip-text", "predictions", "head-off"):
        box = page.locator(part(name)).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 844, name
    button = page.locator(part("head-off")).bounding_box()
    page.locator(part("head-off")).click()
    settled(page, 1)
    assert page.locator(part("head-off")).bounding_box()["y"] == button["y"]  # where the finger is
    screenshot(page, "entrance-phone")
    for name in ("effect", "predictions", "head-off"):
        box = page.locator(part(name)).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 844, name
    page.locator(part("all-tools")).click()
    page.locator(part("write")).wait_for()  # on its own line: the tokens keep theirs
    assert page.locator(part("strip-text")).bounding_box()["width"] > 340
    for tool in ("look", "off", "cut"):  # the overlay is one row of buttons
        page.locator(f"[data-part=tool] [data-value={tool}]").click()
        assert page.locator(".tl-tools").bounding_box()["height"] < 60, tool


@pytest.mark.parametrize("kind", ["decoder", "encoder", "encoder-decoder"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 4)])
def test_any_model_has_an_entrance(entered, kind, shape):
    """Models with one head, and ones that no sample surprises: nothing unavailable is offered."""
    model = small(kind, *shape)
    page = entered(Explorer(model, WORDS).to_html())
    assert page.locator(part("sample")).count() == 0
    assert page.locator(part("head-off")).is_visible()
    assert page.evaluate(CONTROLS) <= 16


def test_without_the_model_a_page_offers_no_other_text(entered, shipped_page):
    page = entered(tl.explore(tl.shipped("manual")).to_html(model=False))
    assert page.locator(part("sample")).count() == 0
    page.locator(part("head-off")).click()
    settled(page, 1)
    assert "becomes less likely" in text(page, "effect")


def test_terms_explain_themselves_and_named_heads_can_be_chosen(entered, shipped_page, accessible):
    page = entered(shipped_page)
    page.locator(part("all-tools")).click()
    page.locator(part("head-off")).click()
    settled(page, 1)
    tip = page.locator(".tl-tip")
    assert page.locator("[data-layer].tl-named").count() == 0  # the head is selected
    page.locator("[data-part=sentence] .tl-named", has_text="·list").click()
    page.wait_for_function(
        "() => document.querySelector('.tl-tok.tl-chosen')?.textContent === '·list'"
    )
    page.keyboard.press("Escape")
    page.locator("[data-part=kl] .tl-term").hover()
    assert tip.inner_text().startswith("KL divergence: how much the whole prediction changed")
    box = tip.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 1300
    page.mouse.move(0, 0)
    assert not tip.is_visible()
    page.locator("[data-part=kl] .tl-term").focus()
    assert tip.is_visible()
    accessible(page)
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    page.locator(part("head-on")).click()
    page.wait_for_function(
        "() => document.querySelector('#tl-root').dataset.shown === 'decoder/2/3'"
    )
    page.locator("[data-part=effect] .tl-named", has_text="layer").click()
    page.wait_for_function(
        "() => document.querySelector('#tl-root').dataset.shown === 'decoder/2/2'"
    )


def test_bars_slide_and_maps_fade_unless_motion_is_unwanted(entered, shipped_page):
    page = entered(shipped_page)
    moving = "() => document.getAnimations().filter((one) => one.playState === 'running').length"
    page.evaluate(
        "() => { const made = Element.prototype.animate;"
        " Element.prototype.animate = function (...all) { window.animated = (window.animated ?? 0) + 1; return made.apply(this, all); }; }"
    )
    page.locator(part("head-off")).click()
    settled(page, 1)
    page.locator(part("head")).select_option(label="L2H3")
    page.wait_for_function(
        "() => document.querySelector('#tl-root').dataset.shown === 'decoder/2/3'"
    )
    assert page.evaluate("window.animated") >= 8
    page.wait_for_function(f"() => ({moving})() === 0")
    assert page.locator(".tl-tile canvas").count() == 1  # what faded out is gone
    page.emulate_media(reduced_motion="reduce")
    page.evaluate("window.animated = 0")
    page.locator(part("undo")).click()
    settled(page, 0)
    page.locator(part("head")).select_option(label="L2H2")
    page.wait_for_function(
        "() => document.querySelector('#tl-root').dataset.shown === 'decoder/2/2'"
    )
    assert page.evaluate("window.animated") == 0
    page.emulate_media(reduced_motion="no-preference")


def test_presentation_size(entered, shipped_page, screenshot):
    page = entered(shipped_page)
    page.locator(part("all-tools")).click()

    def size(name):
        return page.locator(part(name)).bounding_box()["height"]

    before, small = size("head-off"), size("map")
    page.locator(part("present")).click()
    assert size("head-off") == pytest.approx(1.4 * before, rel=0.02)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1300
    panels = page.locator("[data-part=panel] [role=radio]")
    assert panels.all_inner_texts() == ["Heads", "Map"]
    page.wait_for_function(
        "high => document.querySelector('[data-part=map]').getBoundingClientRect().height > high",
        arg=1.2 * small,
    )
    assert not page.locator(part("thumbnails")).is_visible()
    # Pointers and pixels are as exact as before.
    ratio = "([c]) => c.width / c.getBoundingClientRect().width"
    assert page.locator(part("map")).evaluate_all(ratio) == pytest.approx(1, abs=0.02)
    panels.first.click()
    grid = page.locator(part("thumbnails"))
    box = grid.bounding_box()
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"])
    page.wait_for_function(
        "() => document.querySelector('#tl-root').dataset.shown === 'decoder/3/3'"
    )
    screenshot(page, "present")
    page.locator(part("present")).click()
    assert size("head-off") == pytest.approx(before, rel=0.02)


def test_samples_are_checked_on_the_model(monkeypatch):
    from transformer_lab.views.explorer.samples import samples_of

    model = tl.shipped("manual")
    assert [sample["label"] for sample in samples_of(model)] == [
        "Copy a word",
        "Close a quotation",
        "Finish a line of code",
    ]
    with torch.no_grad():
        for parameter in model.model.parameters():
            parameter.mul_(0.01)
    assert samples_of(model) == []
