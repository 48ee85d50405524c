"""A run in a browser: drag through it and watch an induction head form."""

import re

import pytest
import torch

import transformer_lab as tl
from tests.browser.fixtures import part_says as says
from tests.browser.rest import resized
from tests.browser.test_one_screen import SIZES
from transformer_lab.views import RunView, TrainingView
from transformer_lab.views.shared.messages import short

part = "[data-part={}]".format


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two attention layers on sequences with a repeated segment; 2 s on a CPU."""
    data = tl.datasets.induction(
        length=32, vocab=32, held_out_lags=(9,), segment=(6, 16), size=6000, held_out=20
    )
    torch.manual_seed(0)
    config = tl.ModelConfig.modern(
        vocab_size=data.vocab_size,
        n_layers=2,
        n_heads=2,
        d_model=32,
        n_ctx=33,
        qk_norm=False,
        attention_only=True,
    )
    model, probe = tl.Transformer(config), data.epoch(20)[0].tokens[0]
    folder = tmp_path_factory.mktemp("run") / "induction"
    watch = TrainingView(probe, tokenizer=data.tokenizer)
    for _ in tl.train(
        model,
        data.batches(64, seed=0),
        steps=200,
        optimizer="modern",
        lr=0.03,
        run=folder,
        snapshot_every=10,
        probe=probe,
        watch=watch,
    ):
        pass
    return folder, data, watch


def test_an_induction_head_forms_before_ones_eyes(open_page, map_of, run, screenshot):
    folder, data, _ = run
    view = RunView(folder, tokenizer=data.tokenizer)
    scores = view.score("induction")
    assert scores[0].max() < 0.2 < 0.9 < scores[-1].max()
    page = open_page(view.to_html())
    says(page, "run-sentence", view.run_sentence)
    assert "Induction" in page.locator(part("run-sentence")).inner_text()
    slider, root = page.locator(part("step")), page.locator("#tl-root")
    query = int(tl.heads.induction_pairs(view.trace).any(-1).nonzero()[-1])
    key = int(tl.heads.induction_pairs(view.trace)[query].nonzero()[0])
    for keys, step in (("Home", 0), ("ArrowRight", 10), ("PageUp", None), ("End", 200)):
        slider.focus()
        page.keyboard.press(keys)
        step = int(slider.get_attribute("aria-valuetext").split()[0]) if step is None else step
        view.step = step
        page.wait_for_selector(f"#tl-root[data-step='{step}']")
        says(page, "run-sentence", view.run_sentence)
        weight = float(view.row(query)[key])
        map_of(page).hover(query, key)
        says(page, "number", f"{weight:.4f}")
    assert weight > 0.8
    assert root.get_attribute("data-step") == "200"
    screenshot(page, "run-light", full_page=True)


def test_dragging_playing_and_choosing(open_page, run):
    folder, data, _ = run
    view = RunView(folder, tokenizer=data.tokenizer, step=0)
    page = open_page(view.to_html(), scheme="dark")
    box = page.locator(part("scores")).bounding_box()
    data_ = page.locator(part("scores")).evaluate("c => ({...c.dataset})")
    left, width = float(data_["left"]), float(data_["width"])
    at = lambda step: box["x"] + left + step / 200 * width  # noqa: E731
    page.mouse.move(at(0), box["y"] + 40)
    page.mouse.down()
    for step in (31, 68, 123):
        page.mouse.move(at(step), box["y"] + 40)
    page.mouse.up()
    page.wait_for_selector("#tl-root[data-step='120']")  # the nearest snapshot
    view.step = 120
    says(page, "run-sentence", view.run_sentence)
    page.locator("[data-part=best] tr", has_text="previous token").locator("button").click()
    now = view.score("previous token")[view.snapshots.index(120)]
    best = int(now.argmax())
    view.measure, view.layer, view.head = "previous token", best // 2, best % 2
    says(page, "run-sentence", view.run_sentence)
    assert page.locator(part("measure")).input_value() == "previous token"
    shown = page.locator("[data-part=best] tr", has_text="previous token").inner_text()
    assert short(float(now.max())) in shown
    page.locator(part("loss")).focus()
    page.keyboard.press("Home")
    page.wait_for_selector("#tl-root[data-step='0']")
    page.locator(part("play")).click()
    page.wait_for_selector("#tl-root[data-step='200']")
    page.wait_for_selector("[data-part=play]:has-text('Play')")


def test_the_slider_the_heads_and_the_map_stand_on_one_screen(open_page, run, screenshot):
    folder, data, _ = run
    width, height = SIZES[0]
    page = open_page(
        RunView(folder, tokenizer=data.tokenizer).to_html(), width=width, height=height
    )
    for width, height in SIZES:
        resized(page, width, height)
        for name in ("step", "play", "thumbnails", "map"):
            box = page.locator(part(name)).bounding_box()
            assert box["y"] >= 0 and box["y"] + box["height"] <= height, (name, width)
        screenshot(page, f"run-screen-{width}")
    chips = page.locator("[data-part=best] button").all_inner_texts()
    assert chips and all(re.fullmatch(r"L\d+H\d+", chip) for chip in chips)  # not "1.0"


def test_a_thousand_steps_leave_the_last_one(open_page, run):
    folder, data, _ = run
    view = RunView(folder, tokenizer=data.tokenizer)
    page = open_page(view.to_html())
    page.evaluate(
        """() => { const slider = document.querySelector("[data-part=step]");
        for (let i = 0; i < 1000; i++) {
            slider.value = i % 20; slider.dispatchEvent(new Event("input"));
        } }"""
    )
    view.step = view.snapshots[999 % 20]
    page.wait_for_selector(f"#tl-root[data-step='{view.step}']")
    says(page, "run-sentence", view.run_sentence)


def test_a_training_view_afterwards(open_page, run, accessible, screenshot):
    _, _, view = run
    page = open_page(view.to_html(), scheme="dark")
    assert view.snapshots[0] == 0 and view.snapshots[-1] == 200
    says(page, "run-sentence", view.run_sentence)
    page.locator(part("step")).focus()
    page.keyboard.press("Home")
    page.wait_for_selector("#tl-root[data-step='0']")
    view.step = 0
    says(page, "run-sentence", view.run_sentence)
    says(page, "sentence", view.head_sentence)
    accessible(page)
    screenshot(page, "training-scrub-dark", full_page=True)
    view.step = 200
