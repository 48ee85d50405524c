"""A saved PositionView in a browser: every number read here is compared with Python's."""

import random

import pytest
import torch

import transformer_lab as tl
from tests.browser.fixtures import part_says as says
from transformer_lab.positions import SCHEMES
from transformer_lab.views import PositionView

part = "[data-part={}]".format


def text(page, name):
    return page.locator(part(name)).inner_text()


def four(value):
    return f"{value:.4f}".replace("-0.0000", "0.0000").replace("-", "−")


def cell(page, name, row, column):
    data = page.locator(part(name)).evaluate("c => ({...c.dataset})")
    left, top, across, down = (float(data[n]) for n in ("left", "top", "across", "down"))
    return {"x": left + (column + 0.5) * across, "y": top + (row + 0.5) * down}


def slide(page, name, key, times=1):
    page.locator(part(name)).focus()
    for _ in range(times):
        page.keyboard.press(key)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = tl.ModelConfig(
        kind="encoder",
        vocab_size=12,
        n_layers=2,
        n_heads=2,
        d_model=16,
        n_ctx=48,
        positions="learned",
    )
    model = tl.Transformer(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(6 if "query" in name or "key" in name or "positions" in name else 1)
    return model


@pytest.mark.parametrize("scheme", SCHEMES)
def test_numbers_and_sentence(open_page, scheme):
    view = PositionView(scheme, length=24, shift=9, head=1)
    page = open_page(view.to_html())
    assert text(page, "sentence") == view.sentence
    shown = view.encoding()
    if shown is not None:
        shown = shown[1] if shown.dim() == 3 else shown
        for row, column in ((0, 3), (17, 1), (23, shown.shape[1] - 1)):
            page.locator(part("encoding")).hover(position=cell(page, "encoding", row, column))
            says(page, "encoding-number", four(shown[row, column]))
    page.locator(part("distances")).focus()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    distances, values = view.by_distance()
    at = distances.tolist().index(-4)
    says(page, "distance-number", four(values[1 if len(values) == 4 else 0, at]))
    before, after = view.weights()
    page.locator(part("after")).click(position=cell(page, "after", 3, 1))
    says(page, "number-before", four(before[3, 1]))
    says(page, "number-after", four(after[3, 1]))


def test_sliders_and_tests_work_in_a_saved_page(open_page, screenshot):
    view = PositionView(length=24, shift=9)
    page = open_page(view.to_html())
    slide(page, "d_model", "ArrowRight", 2)
    slide(page, "base", "ArrowLeft", 4)
    slide(page, "length", "End")
    slide(page, "shift", "ArrowRight", 3)
    view.d_model, view.base, view.length, view.shift = 256, 100.0, 512, 12
    says(page, "sentence", view.sentence)
    assert page.locator("[data-part=d_model]").get_attribute("aria-valuetext") == "256"
    page.locator(part("encoding")).hover(position=cell(page, "encoding", 400, 200))
    says(page, "encoding-number", four(view.encoding()[400, 200]))
    page.locator("[data-part=test] [data-value=shuffle]").click()
    page.locator(part("again")).click()
    view.test, view.shuffle = "shuffle", 1
    says(page, "sentence", view.sentence)
    page.locator("[data-part=scheme] [data-value=none]").click()
    view.scheme = "none"
    says(page, "sentence", view.sentence)
    page.locator(part("causal")).check()
    view.causal = True
    says(page, "sentence", view.sentence)
    screenshot(page, "position-none", full_page=True)


def test_a_models_measurements_in_a_page(open_page, model):
    view = PositionView(model, text=[1, 2, 3, 1, 4], labels=["a", "<i>b", "c", "a", "d"], shift=4)
    page = open_page(view.to_html(), scheme="dark")
    assert text(page, "sentence") == view.sentence
    assert page.locator(part("d_model")).is_disabled()
    page.locator("[data-part=head]").select_option(label="L1H1")
    view.layer = view.head = 1
    says(page, "sentence", view.sentence)
    slide(page, "shift", "ArrowRight")
    view.shift = 8
    says(page, "sentence", view.sentence)
    before, after = view.weights()
    page.locator(part("difference")).click(position=cell(page, "difference", 2, 1))
    says(page, "number-before", four(before[2, 1]))
    says(page, "number-after", four(after[2, 1]))
    page.locator(part("difference")).focus()
    page.keyboard.press("ArrowDown")
    says(page, "number-after", four(after[3, 1]))
    page.locator("[data-part=test] [data-value=shuffle]").click()
    page.locator("[data-part=scheme] [data-value=none]").click()
    view.test, view.scheme = "shuffle", "none"
    says(page, "sentence", view.sentence)
    assert "positions taken out" in text(page, "sentence")


def test_a_scheme_without_a_formula_is_shown_by_what_was_measured(open_page, halving):
    config = tl.ModelConfig(
        vocab_size=12, n_layers=2, n_heads=2, d_model=16, n_ctx=48, positions=halving
    )
    view = PositionView(tl.Transformer(config).eval(), text=torch.arange(6), length=24, shift=8)
    page = open_page(view.to_html())
    says(page, "sentence", view.sentence)
    assert not page.locator(part("encoding")).is_visible()
    assert not page.locator(part("distances")).is_visible()
    page.locator("[data-part=test] [data-value=shuffle]").click()
    view.test = "shuffle"
    says(page, "sentence", view.sentence)
    before, after = view.weights()
    page.locator(part("difference")).click(position=cell(page, "difference", 4, 1))
    says(page, "number-before", four(before[4, 1]))
    says(page, "number-after", four(after[4, 1]))
    for other in ("rotary", "none", halving):
        page.locator(f"[data-part=scheme] [data-value={other}]").click()
        view.scheme = other
        says(page, "sentence", view.sentence)
    page.locator("[data-part=save]").click()
    with page.expect_download():
        page.locator("[data-part=png]").click()


def test_a_model_that_is_tested_is_accessible(open_page, accessible, model):
    page = open_page(PositionView(model, text=[1, 2, 3]).to_html(), scheme="dark", width=400)
    page.locator("[data-part=test] [data-value=shuffle]").click()
    accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_many_slider_events_leave_the_last_state(open_page):
    view = PositionView("rotary")
    page = open_page(view.to_html())
    page.evaluate(
        """() => { const slider = document.querySelector("[data-part=base]");
        for (let i = 0; i < 1000; i++) {
            slider.value = i % 11; slider.dispatchEvent(new Event("input"));
        } }"""
    )
    view.base = 500000.0  # stop 9 of 0 … 10, where 999 % 11 ends
    page.locator(part("encoding")).hover(position=cell(page, "encoding", 60, 5))
    says(page, "encoding-number", four(view.encoding()[60, 5]))


# One query for the whole page, instead of one for each button.
BUTTONS = "button:visible:enabled:not(:text-is('Copy as Python'))"


def test_a_page_that_was_used_is_saved_and_used_again(open_page, tmp_path):
    """Whatever was chosen, the page saved from the page shows the same, and works."""
    config = tl.ModelConfig(
        kind="decoder",
        vocab_size=12,
        n_layers=2,
        n_heads=2,
        d_model=16,
        n_ctx=48,
        positions="sinusoidal",
    )
    view = PositionView(tl.Transformer(config).eval(), text=torch.arange(6), length=24)
    page, dice = open_page(view.to_html()), random.Random(0)
    for turn in range(3):
        for _ in range(6):
            dice.choice(page.query_selector_all(BUTTONS)).click()
            for slider in page.query_selector_all("input[type=range]:visible"):
                slider.focus()
                page.keyboard.press(dice.choice(["End", "Home", "ArrowRight", "ArrowLeft"]))
        page.locator("[data-part=save]").click()
        with page.expect_download() as found:
            page.locator("[data-part=html]").click()
        found.value.save_as(tmp_path / f"again{turn}.html")
        again = open_page((tmp_path / f"again{turn}.html").read_text("utf-8"))
        assert text(again, "sentence") == text(page, "sentence")
        page = again


def test_it_fits_a_notebook_1200_pixels_wide(open_page):
    page = open_page(PositionView("rotary").to_html(), width=1010)
    first, second, third = (
        page.locator(part(name)).bounding_box() for name in ("before", "after", "difference")
    )
    assert first["y"] == second["y"] < third["y"]
    assert page.locator("#tl-root").bounding_box()["height"] < 900
