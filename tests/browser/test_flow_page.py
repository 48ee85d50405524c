"""A FlowView's page: edges are selected, cut and thinned, with Python's sentences."""

import pytest
import torch

import transformer_lab as tl
from tests.factories import small
from transformer_lab import views

WORDS = ["the", "cat", "sat", "on", "a", "mat"]
TOKENS = torch.tensor([5, 9, 11, 5, 7, 3])


@pytest.fixture(scope="module")
def view():
    return views.FlowView(tl.trace(small(noise=0.2), TOKENS, labels=WORDS, keep="all"))


@pytest.fixture
def page(view, open_page):
    view.cuts, view.threshold = [], 0.05
    return open_page(view.to_html())


def said(page, part="sentence"):
    return page.locator(f"[data-part={part}]").inner_text()


def test_an_edge_that_is_clicked_is_cut_and_the_prediction_answers(page, view):
    assert said(page) == view.sentence
    layer, head, query, key = edge = tuple(view.found.places[0].tolist())
    canvas = page.locator("[data-part=flow]")
    # Halfway between the two tokens and layers, shifted by the head's fraction of a step.
    box = canvas.bounding_box()
    step = (box["width"] - 62 - 26) / 6
    row = max(26, min(104, 460 / 2))
    off = step * 0.5 * ((head + 0.5) / 4 - 0.5) * (1.6 if query == key else 0.8) * 0.75
    x = 62 + step * ((query + key) / 2 + 0.5) + off
    y = 30 + row * (2 - layer - 0.5)
    canvas.hover(position={"x": x, "y": y})
    told = said(page, "readout")
    assert told.startswith(
        f"Layer {layer}, head {head}: {WORDS[key]} ({key}) → {WORDS[query]} ({query})"
    )
    canvas.click(position={"x": x, "y": y})
    view.cuts = [edge]
    page.wait_for_function(
        "wanted => document.querySelector('[data-part=sentence]').textContent === wanted",
        arg=view.sentence,
    )
    assert "is cut; click to remove the cut" in said(page, "readout")
    rows = page.locator("[data-part=answers] tbody tr")
    after = view.found.answers[0][2]
    assert rows.first.locator("td").nth(1).inner_text() in (f"{100 * after:.0f}%", "<1%")
    page.locator("[data-part=remove-all]").click()
    view.cuts = []
    page.wait_for_function(
        "wanted => document.querySelector('[data-part=sentence]').textContent === wanted",
        arg=view.sentence,
    )


def test_the_picture_is_as_wide_as_its_box(page):
    """Its box scrolls only if there are many tokens."""
    box = page.locator(".tl-flow-box")
    inner, outer = box.evaluate("box => [box.scrollWidth, box.clientWidth]")
    assert inner == outer > 400


def test_a_narrow_screen_begins_at_what_is_followed(open_page):
    view = views.FlowView(tl.trace(small(noise=0.2, n_ctx=40), TOKENS.repeat(5), keep="all"))
    box = open_page(view.to_html(), width=390).locator(".tl-flow-box")
    scrolled, most = box.evaluate("box => [box.scrollLeft, box.scrollWidth - box.clientWidth]")
    assert scrolled == pytest.approx(most, abs=1) and most > 0


def test_keys_choose_and_cut(page, view):
    page.locator("[data-part=flow]").focus()
    page.keyboard.press("ArrowRight")
    first, second = (tuple(view.found.places[i].tolist()) for i in (0, 1))
    chosen = "Layer {0}, head {1}"
    page.wait_for_function(
        "wanted => document.querySelector('[data-part=readout]').textContent.startsWith(wanted)",
        arg=chosen.format(*first),
    )
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "wanted => document.querySelector('[data-part=readout]').textContent.startsWith(wanted)",
        arg=chosen.format(*second),
    )
    page.keyboard.press("Enter")
    view.cuts = [second]
    page.wait_for_function(
        "wanted => document.querySelector('[data-part=sentence]').textContent === wanted",
        arg=view.sentence,
    )
    page.keyboard.press("x")
    view.cuts = []
    page.wait_for_function(
        "wanted => document.querySelector('[data-part=sentence]').textContent === wanted",
        arg=view.sentence,
    )
    page.keyboard.press("Escape")
    page.wait_for_function(
        "() => document.querySelector('[data-part=readout]').textContent.startsWith('Hover over')"
    )


def test_the_slider_thins_and_the_table_lists(page, view):
    many = int(page.locator("[data-edges]").get_attribute("data-edges"))
    page.locator("[data-part=threshold]").fill("10")  # the stop for 0.5
    view.threshold = 0.5
    page.wait_for_function(
        "wanted => document.querySelector('[data-part=sentence]').textContent === wanted",
        arg=view.sentence,
    )
    few = int(page.locator("[data-edges]").get_attribute("data-edges"))
    assert few == view.shown < many
    page.locator("details summary", has_text="The edges as a table").click()
    rows = page.locator("[data-part=edges] tbody tr")
    assert rows.count() == few
    rows.first.locator("button").click()
    view.cuts = [tuple(view.found.places[0].tolist())]
    page.wait_for_function(
        "wanted => document.querySelector('[data-part=sentence]').textContent === wanted",
        arg=view.sentence,
    )


def test_what_a_page_does_not_hold_it_says(page, view):
    before = said(page)
    page.locator("[data-part=position-back]").click()
    page.wait_for_function("() => !document.querySelector('[data-part=message]').hidden")
    assert "other cuts, tokens and positions need Python" in said(page, "message")
    assert said(page) == before and page.locator("[data-part=position]").input_value() == "5"


def test_of_many_layers_names_and_legend_stay_in_sight_and_every_mlp_is_listed(open_page):
    trace = tl.trace(small(noise=0.2, n_layers=28, n_heads=2, d_model=16), TOKENS, labels=WORDS)
    page = open_page(views.FlowView(trace).to_html(model=False), height=600)
    legend, names, picture = (
        page.locator(part).bounding_box()
        for part in (".tl-legend", ".tl-flow-names", "canvas[data-part=flow]")
    )
    assert legend["y"] < names["y"] < picture["y"] < 600
    page.mouse.move(picture["x"] + 5, picture["y"] + 5)
    page.mouse.wheel(0, picture["y"] + 200)
    page.wait_for_function(
        "() => document.querySelector('[data-part=flow]').getBoundingClientRect().top < -100"
    )
    assert page.locator(".tl-flow-names").bounding_box()["y"] >= 0

    def listed(part):
        rows = page.locator(f"[data-part={part}] tbody tr").all_text_contents()
        return {row[:-5]: float(row[-5:].replace("−", "-")) for row in rows}

    parts, every = listed("sum"), listed("mlps")
    *added, logit = parts.values()
    assert len(parts) == 12 and len(every) == 28  # eight MLPs, and the sum of the others
    assert sum(added) == pytest.approx(logit, abs=0.06)
    others = sum(value for name, value in every.items() if name not in parts)
    assert others == pytest.approx(parts["20 other MLPs"], abs=0.06)
