"""A saved ModelView in a browser: it plays, steps and scrubs; with an embedded model it reads other
texts and makes edits, with Python's numbers."""

import json

import pytest
import torch

import transformer_lab as tl
from tests.browser.fixtures import says
from tests.browser.rest import resized
from tests.browser.test_alive_page import OTHER, WORDS, part, small
from tests.browser.test_alive_views import type_text
from tests.factories import small as plain
from transformer_lab.views import ModelView

KINDS = ("decoder", "encoder", "encoder-decoder")


def at(page, step):
    page.wait_for_selector(f"#tl-root[data-step='{step}'][data-playing=false]")


def press(page, key):
    page.locator(part("model")).focus()
    page.keyboard.press(key)


def scrub(page, step):
    slider = page.locator("input[data-part=step]")
    slider.evaluate("(it, to) => { it.value = to; it.dispatchEvent(new Event('input')); }", step)


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_it_plays_steps_and_scrubs(open_page, trace, accessible, motion):
    view = ModelView(trace)
    page = open_page(view.to_html())
    page.emulate_media(reduced_motion=motion)
    says(page, view)
    last = len(view.found.steps) - 1
    at(page, last)
    above, below = (page.locator(part(name)).bounding_box()["y"] for name in ("legend", "model"))
    assert above < below
    press(page, "Home")
    for step in range(4):
        at(page, step)
        view.step = step
        says(page, view)
        if motion == "reduce":  # one frame per step, none in between
            assert page.locator(part("model")).get_attribute("aria-label").startswith(view.sentence)
        press(page, "ArrowRight")
    at(page, 4)
    press(page, "ArrowLeft")
    at(page, 3)
    page.locator("[data-part=speed] [data-value='4']").click()
    page.locator(part("play")).click()
    page.wait_for_selector("#tl-root[data-playing=true]")
    assert page.locator(part("play")).inner_text() == "❚❚ Pause"
    press(page, " ")
    page.wait_for_selector("#tl-root[data-playing=false]")
    scrub(page, 6)
    at(page, 6)
    view.step = 6
    says(page, view)
    page.locator(part("play")).click()
    at(page, last)
    view.step = None
    says(page, view)
    assert page.locator(part("play")).inner_text() == "↻ Replay"
    accessible(page)
    assert page.errors == []


def test_playing_draws_a_picture_between_two_steps_and_reduced_motion_none(open_page, trace):
    drawn = {}
    for motion in ("no-preference", "reduce"):
        page = open_page(ModelView(trace).to_html())
        page.emulate_media(reduced_motion=motion)
        scrub(page, 0)
        at(page, 0)
        drawn[motion] = page.evaluate(
            """async () => {
                const root = document.querySelector("#tl-root"), canvas = root.querySelector("[data-part=model]"), seen = new Set();
                root.querySelector("[data-part=step-on]").click();
                for (let i = 0; i < 900; i++) {
                    seen.add(canvas.toDataURL());
                    if (root.dataset.playing === "false" && root.dataset.step === "1") break;
                    await new Promise(requestAnimationFrame);
                }
                seen.add(canvas.toDataURL());
                return seen.size;
            }"""
        )
    assert drawn["reduce"] == 1 < drawn["no-preference"]


def test_a_single_step_is_not_playing_and_the_next_press_ends_it_at_once(open_page, trace):
    page = open_page(ModelView(trace).to_html())
    scrub(page, 0)
    at(page, 0)
    seen = page.evaluate(
        """async () => {
            const root = document.querySelector("#tl-root"), [play, on] = ["play", "step-on"].map((it) => root.querySelector(`[data-part=${it}]`));
            on.click();
            const told = [root.dataset.playing, play.innerText];
            for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
            on.click();
            told.push(root.dataset.playing, root.dataset.step);
            play.click(); // plays on
            return [...told, play.innerText];
        }"""
    )
    assert seen == ["true", "▶ Play", "false", "1", "❚❚ Pause"]


def numbers_of(told):
    """(kind, layer, head, query, key) -> what the edge carries, and the other arrays."""
    arrays = {name: one["values"] for name, one in told["arrays"].items()}
    names = ("kind", "layer", "head", "query", "key")
    carried = [arrays.pop(n) for n in ("carried", "carried_edited") if n in arrays]
    places = zip(*(arrays.pop(n) for n in names), strict=True)
    edges = {
        place: row
        for place, row in zip(places, zip(*carried, strict=True), strict=True)
        if max(row) > 1e-5
    }
    return edges, arrays


def same_numbers(page, view, tmp_path):
    """Check that a page saves what Python writes."""
    page.locator(part("save")).first.click()
    with page.expect_download() as download:
        page.locator(part("json")).first.click()
    download.value.save_as(tmp_path / "page.json")
    (edges, others), (wanted, rest) = (
        numbers_of(told)
        for told in (
            json.loads((tmp_path / "page.json").read_text()),
            json.loads(json.dumps(view.to_dict())),
        )
    )
    assert edges.keys() == wanted.keys() and others.keys() == rest.keys()
    for place, row in wanted.items():
        assert edges[place] == pytest.approx(row, abs=2e-3), place
    for name, values in rest.items():
        torch.testing.assert_close(
            torch.tensor(others[name]), torch.tensor(values), atol=2e-3, rtol=1e-3
        )


@pytest.mark.parametrize("kind", KINDS)
def test_another_text_and_edits_in_a_page_with_the_model(open_page, accessible, tmp_path, kind):
    model = small(kind)
    page = open_page(ModelView(model.trace(WORDS)).to_html())
    type_text(page, OTHER)
    view = ModelView(model.trace(OTHER, keep="all"))
    says(page, view)
    same_numbers(page, view, tmp_path)
    page.locator(part("head")).select_option(label="L1H0")
    page.locator(part("off")).click()
    page.wait_for_selector("#tl-root[data-edits='1']")
    several = {"kind": "decoder"} if kind == "encoder-decoder" else {}
    view.edits = [tl.ablate(1, 0, **several)]
    says(page, view)
    same_numbers(page, view, tmp_path)
    accessible(page)
    page.locator(part("undo-0")).click()
    page.wait_for_selector("#tl-root[data-edits='0']")
    view.edits = []
    says(page, view)
    assert page.errors == []


def test_an_edge_is_chosen_and_cut(open_page):
    model = small("decoder")
    page = open_page(ModelView(model.trace(WORDS)).to_html())
    page.locator("summary", has_text="The strongest in layer").click()
    edge = page.locator("[data-part=strongest] button").first
    head, query, key = (int(x) for x in edge.get_attribute("data-part").split("-")[1:])
    edge.click()
    layer = int(page.locator(f"{part('head')} option:checked").inner_text()[1])
    page.locator(part("cut")).click()
    page.wait_for_selector("#tl-root[data-edits='1']")
    view = ModelView(
        model.trace(WORDS, keep="all"),
        layer=layer,
        head=head,
        edits=[tl.knock_out(layer, head, query=query, key=key)],
    )
    view.selected = (query, key)
    says(page, view)
    press(page, "c")
    page.wait_for_selector("#tl-root[data-edits='0']")


def test_a_layer_opens_into_its_steps_and_a_head_into_its_map(open_page, trace, accessible):
    view = ModelView(trace)
    page = open_page(view.to_html())
    press(page, "Enter")
    place = f"decoder/{view.layer}/{view.head}/12"
    page.wait_for_selector(f".tl-view-block[data-shown='{place}/stream']")
    page.locator("[data-part=step] [data-value=softmax]").click()
    page.wait_for_selector(f".tl-view-block[data-shown='{place}/softmax']")
    accessible(page)
    press(page, "m")
    page.wait_for_selector("[data-part=unfolded] canvas[data-part=map]")
    assert page.locator("[data-part=unfolded] b").inner_text() == (
        f"Layer {view.layer}, head {view.head}: rows attend to columns"
    )
    assert page.locator(".tl-view-block").count() == 0
    press(page, "Escape")
    page.wait_for_selector("[data-part=unfolded]", state="hidden")
    assert page.errors == []


def test_a_page_without_the_model_plays_and_says_why_it_makes_no_edits(open_page, trace):
    page = open_page(ModelView(trace, edits=[tl.ablate(0, 1)]).to_html())
    assert page.locator(part("off")).is_disabled()
    assert "This saved page is a snapshot" in page.locator(part("edits")).inner_text()
    press(page, "x")
    press(page, "ArrowUp")  # another token, whose predictions are in the page
    view = ModelView(trace, edits=[tl.ablate(0, 1)])
    view.selected = (11, None)
    says(page, view)
    assert page.locator("#tl-root").get_attribute("data-edits") == "1"


def test_nothing_is_wider_than_the_page(open_page):
    trace = tl.trace(plain(n_layers=30, n_heads=2, n_ctx=200), torch.arange(200) % 50)
    page = open_page(ModelView(trace).to_html())
    for width in (1440, 1024, 600, 390, 320):
        resized(page, width, 800)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "curves at the edge come from the others" in page.locator(part("pager")).inner_text()
    back, on = (page.locator(part(name)).bounding_box() for name in ("earlier", "later"))
    assert back["y"] == on["y"]
    before = page.locator(part("pager")).inner_text()
    page.locator(part("earlier")).click()
    page.wait_for_function(
        "was => document.querySelector('[data-part=pager]').innerText !== was", arg=before
    )


def test_what_a_page_does_not_hold_is_taken_back_with_a_reason(open_page):
    n = 1001
    view = ModelView(tl.trace(plain(n_ctx=n), torch.arange(n) % 50))
    page = open_page(view.to_html())
    assert page.locator(part("open-map")).is_disabled()
    assert "open a HeadView of it" in page.locator(part("note")).inner_text()
    before = page.locator(part("pager")).inner_text()
    for _ in range(3):  # beyond the 64 tokens
        page.locator(part("earlier")).click()
    page.wait_for_function(
        "() => document.querySelector('[data-part=message]').textContent.includes('does not hold that')"
    )
    page.locator(part("model")).focus()
    page.wait_for_function("() => document.querySelector('[data-part=sentence]').textContent")
    said = page.locator(part("sentence")).inner_text()
    wanted = ModelView(view.trace)
    for token in range(n - 64, n):
        wanted.selected = (token, None)
        if wanted.sentence == said:
            break
    assert wanted.sentence == said  # of a token in the page
    assert page.locator(part("pager")).inner_text().split("of")[1] == before.split("of")[1]
    assert page.errors == []
