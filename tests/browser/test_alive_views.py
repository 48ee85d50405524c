"""Views of one or two texts on pages with an embedded model: for another text, typed in, they show
what Python shows."""

import pytest
import torch

import transformer_lab as tl
from tests.browser.fixtures import Map, choose_head, says
from tests.browser.test_alive_page import OTHER, WORDS, part, small
from transformer_lab.views import BlockView, CompareView, FlowView, HeadView, ResidualView, WhyView
from transformer_lab.views.shared.messages import percent
from transformer_lab.views.why.view import numbers_of

KINDS = ("decoder", "encoder", "encoder-decoder")


def type_text(page, text, field="text"):
    """Run a text, and wait for its results."""
    before = page.locator("#tl-root").get_attribute("data-texts")
    page.locator(part(field)).fill(text)
    page.locator(part(field)).press("Enter")
    page.wait_for_function(
        "was => document.querySelector('#tl-root').dataset.texts !== was", arg=before
    )


@pytest.mark.parametrize("kind", KINDS)
def test_heads_of_another_text(open_page, accessible, tmp_path, kind):
    model = small(kind)
    page = open_page(HeadView(model.trace(WORDS), layer=1).to_html())
    assert page.locator(part("text")).input_value() == WORDS
    type_text(page, OTHER)
    view = HeadView(model.trace(OTHER), layer=1)
    says(page, view)
    if kind == "encoder-decoder":
        assert page.locator(part("target")).input_value() == model.target_tokenizer.decode(
            view.trace.target[0, 1:].tolist()
        )
    choose_head(page, 0, 1)
    view.layer, view.head = 0, 1
    says(page, view)
    number = float(Map(page).hover(2, 1))
    assert number == pytest.approx(float(view.row(2)[1]), abs=1e-4)
    page.locator(part("save")).click()
    page.locator(part("link")).click()
    linked = page.locator("[data-link]").get_attribute("data-link")
    sent = open_page(HeadView(model.trace(WORDS), layer=1).to_html())
    sent.evaluate("hash => { location.hash = hash }", linked[linked.index("#") :])
    says(sent, view)
    assert sent.locator(part("text")).input_value() == OTHER
    accessible(page)
    with page.expect_download() as download:
        page.locator(part("html")).click()
    download.value.save_as(tmp_path / "again.html")
    again = open_page(tmp_path / "again.html", scheme="dark", width=700)
    assert again.locator(part("text")).input_value() == OTHER
    view.selected = None
    says(again, view)
    accessible(again)


def test_a_wrong_text_is_one_sentence_and_changes_nothing(open_page):
    view = HeadView(small("decoder").trace(WORDS), layer=1)
    page = open_page(view.to_html())
    for text, wanted in ((" ", "Text is empty"), ("the " * 40, "reads at most 32; shorten it")):
        page.locator(part("text")).fill(text)
        page.locator(part("text")).press("Enter")
        page.wait_for_function(
            "want => document.querySelector('[data-part=ask-message]').textContent.includes(want)",
            arg=wanted,
        )
        says(page, view)
    type_text(page, "the unheard animal")
    page.wait_for_selector(part("ask-message"), state="hidden")
    assert "does not know 1 of the text’s 3 tokens" in page.locator(part("unread")).inner_text()


def test_what_the_stream_holds_of_another_text(open_page, accessible):
    for kind in KINDS:
        model = small(kind)
        page = open_page(ResidualView(model.trace(WORDS, keep="all")).to_html())
        type_text(page, OTHER)
        view = ResidualView(model.trace(OTHER, keep="all"))
        says(page, view)
        first = page.locator("[data-part=lens] thead [data-token]").first
        view.selected = (int(first.get_attribute("data-token")), None)
        first.click()
        says(page, view)
    accessible(page)
    page = open_page(ResidualView(model.trace(WORDS, keep="all")).to_html(model=False))
    assert page.locator(part("ask")).count() == 0


def test_a_trace_that_was_edited_does_not_travel():
    model = small("decoder")
    with tl.edit(model, tl.ablate(0, 0)):
        trace = model.trace(WORDS)
    view = HeadView(trace)
    assert 'data-block="model"' not in view.to_html()
    assert "or it was edited then" in view.stays
    with pytest.raises(ValueError, match="cannot travel in a page: its weights have changed"):
        view.to_html(model=True)
    other = HeadView(tl.trace(model.model, torch.arange(5)))
    assert 'data-block="model"' not in other.to_html() and "token ids" in other.stays
    with pytest.raises(ValueError, match="was not read by one TextModel"):
        other.to_html(model=True)


def test_two_other_texts_are_compared(open_page, accessible):
    model = small("decoder")
    a, b = "the animal was too tired", "the street was too tired because"
    page = open_page(CompareView.of_texts(model, WORDS, OTHER, names=("long", "short")).to_html())
    assert page.locator(part("text-1")).input_value() == OTHER
    page.locator(part("text-1")).fill(b)
    type_text(page, a)
    first = [int(x) for x in page.locator("#tl-root").get_attribute("data-shown").split("/")[1:]]
    view = CompareView.of_texts(model, a, b, names=("long", "short"), layer=first[0], head=first[1])
    says(page, view)
    choose = page.locator("[data-part=grid]")
    choose.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    view.layer, view.head = min(1, view.layer + 1), min(1, view.head + 1)
    says(page, view)
    moved = float(page.locator(part("moved")).inner_text().rstrip("%"))
    assert moved == pytest.approx(100 * float(view.moved()[view.layer, view.head]), abs=0.051)
    accessible(page)
    page.locator(part("text")).fill("cross")
    page.locator(part("text")).press("Enter")
    page.wait_for_selector("[data-part=ask-message]:visible")
    assert "no token in common" in page.locator(part("ask-message")).inner_text()
    says(page, view)
    models = CompareView.of_models(model, small("decoder", norm="rms"), OTHER)
    assert 'data-block="model"' not in models.to_html()
    assert "several models" in models.stays
    stays = open_page(models.to_html())
    assert stays.locator(part("stays")).inner_text() == models.stays
    assert not page.locator(part("stays")).is_visible()


def says_of_the_score(page, view):
    """Wait for Python's sentence; check the key's largest part and the table's first cell."""
    says(page, view)
    split = numbers_of(view.cell)["splits"]["above" if view._options.get("above") else "score"]
    names = view.cell.info["sources"]["key"]["names"]
    most = int(abs(split["key"]).argmax())
    row = page.locator("[data-part=key-side] tbody tr").first.inner_text()
    assert row.startswith(names[most]) and page.locator("[data-part=table]").is_visible()
    page.locator("[data-part=table]").focus()
    page.keyboard.press("ArrowRight")  # the first cell
    number = float(page.locator("[data-part=table-number]").inner_text().replace("−", "-"))
    assert number == pytest.approx(split["table"][0, 0], abs=2e-3)


@pytest.mark.parametrize("positions", [tl.Rotary(), tl.ALiBi()])
def test_the_scores_of_another_text(open_page, accessible, positions):
    for kind in KINDS[: 3 if positions.name == "rotary" else 2]:
        model = small(kind, positions=positions)
        page = open_page(WhyView(model.trace(WORDS), 1, 1, 4, 2).to_html())
        page.locator(part("head-back")).click()  # a row that is not in the saved page
        says_of_the_score(page, WhyView(model.trace(WORDS, keep="all"), 1, 0, 4, 2))
        page.locator(part("head-on")).click()
        type_text(page, OTHER)
        view = WhyView(model.trace(OTHER, keep="all"), 1, 1)
        says_of_the_score(page, view)
        page.locator(part("head-back")).click()
        page.locator("[data-part=split] [data-value=above]").click()
        view.head = 0
        view._options = {"above": True}
        says_of_the_score(page, view)
        assert "Layer norms are frozen" in page.locator(part("source-note")).inner_text()
    accessible(page)


def shows(page, place):
    page.wait_for_selector(f"#tl-root[data-shown='{place}']")


def says_of_the_step(page, view):
    """Wait until the page is at the step, with Python's sentence."""
    kind, layer, head, position = view.shown
    shows(page, f"{kind}/{layer}/{head}/{position}/{view.step}")
    says(page, view)


def saved_anew(open_page, page, accessible, path):
    """Save the page from itself and open the copy, dark and narrow: it has the typed text."""
    accessible(page)
    page.locator(part("save")).click()
    with page.expect_download() as download:
        page.locator(part("html")).click()
    download.value.save_as(path)
    again = open_page(path, scheme="dark", width=700)
    assert again.locator(part("text")).input_value() == OTHER
    accessible(again)
    return again


@pytest.mark.parametrize(
    "options",
    [{}, dict(norm="rms", positions="rotary", n_kv_heads=1, activation="swiglu", norm_first=False)],
    ids=["first", "last"],
)
def test_a_block_step_by_step_of_another_text(open_page, accessible, tmp_path, options):
    for kind in KINDS:
        model = small(kind, **options)
        page = open_page(BlockView(model.trace(WORDS), 1, 1).to_html())
        assert page.locator(part("note")).inner_text() == ""
        page.locator(part("head")).select_option(
            label="L0H1"
        )  # a block that the page does not hold
        view = BlockView(model.trace(WORDS), 0, 1)
        says_of_the_step(page, view)
        type_text(page, OTHER)
        view = BlockView(model.trace(OTHER), 0, 1)
        for step in view.steps:
            page.locator(f"[data-part=step] [data-value={step}]").click()
            view.step = step
            says_of_the_step(page, view)
        page.locator(part("token-back")).click()
        page.locator(part("head")).select_option(label="L1H0")
        view.selected, view.layer, view.head = (view.shown[3] - 1, None), 1, 0
        says_of_the_step(page, view)
        if kind == "encoder-decoder":
            page.locator("[data-part=kind] [data-value=encoder]").click()
            view.selected, view.kind = None, "encoder"
            says_of_the_step(page, view)
    again = saved_anew(open_page, page, accessible, tmp_path / "again.html")
    says_of_the_step(again, view)
    page = open_page(BlockView(model.trace(WORDS), 1, 1).to_html(model=False))
    assert page.locator(part("ask")).count() == 0
    assert page.locator(part("note")).inner_text().startswith("This page holds layer 1: ")


@pytest.mark.parametrize("options", [{}, dict(norm_first=False, positions="rotary", norm="rms")])
def test_the_flow_of_another_text(open_page, accessible, tmp_path, options):
    for kind in KINDS[:2]:
        model = small(kind, **options)
        page = open_page(FlowView(model.trace(WORDS), 4, against=1).to_html())
        page.locator(part("position-back")).click()  # what the page does not hold
        view = FlowView(model.trace(WORDS), position=-2, against=1)
        says(page, view)
        type_text(page, OTHER)
        view = FlowView(model.trace(OTHER), against=1)
        says(page, view)
        assert page.locator(part("position")).input_value() == str(view.position)
        for turn in range(2):  # cut an edge, then another; a cut edge carries nothing
            edge = tuple(view.found.places[turn].tolist())
            page.locator(part("flow")).focus()
            page.keyboard.press("Home")
            for _ in range(turn):
                page.keyboard.press("ArrowRight")
            page.wait_for_function(
                "want => document.querySelector('[data-part=readout]').textContent.startsWith(want)",
                arg=f"Layer {edge[0]}, head {edge[1]}: ",
            )
            page.keyboard.press("Enter")
            view.cuts = [*view.cuts, edge]
            says(page, view)
        after = page.locator("[data-part=answers] tbody tr").first.locator("td").nth(1)
        assert after.inner_text() == percent(view.found.answers[0][2])
        other = view.found.answers[1][0]
        page.locator(f"[data-part=token] [data-value='{other}']").click()
        view.token = other
        says(page, view)
    again = saved_anew(open_page, page, accessible, tmp_path / "again.html")
    says(again, view)


def test_a_text_that_is_too_long_for_a_flow_is_one_sentence(open_page):
    model = small("decoder", n_ctx=300)
    view = FlowView(model.trace(WORDS))
    page = open_page(view.to_html())
    page.locator(part("text")).fill("the street " * 130)
    page.locator(part("text")).press("Enter")
    page.wait_for_selector("[data-part=ask-message]:visible")
    told = "Text has 260 tokens; a flow is drawn of up to 256: shorten it."
    assert page.locator(part("ask-message")).inner_text() == told
    says(page, view)


def test_what_a_damaged_link_says_stays_beside_what_comes_later(open_page):
    """The logit lens loads once the page is open; its arrival must not clear the message."""
    page = open_page(ResidualView(small("decoder").trace(WORDS, keep="all")).to_html())
    address = page.url
    page.goto("about:blank")
    page.goto(f"{address}#state=AAAA")
    page.wait_for_function(
        "() => document.querySelector('[data-part=lens] tbody')?.innerText.match(/\\d%/)"
    )
    page.wait_for_selector("[data-ready]")
    said = page.locator(part("message")).inner_text()
    assert said == "This link is damaged: the page is shown as it was saved."
    page.requests[1:] = []  # the page was opened twice
