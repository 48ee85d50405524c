"""Lessons in a real JupyterLab: use the main view by mouse and by keyboard, interrupt, go on.

Of lessons 02 to 19 only the cells that the view needs are run, with a few steps of training;
test_lessons.py shows that each runs to its end and learns what it claims.
"""

from pathlib import Path

import nbformat
import pytest

from tests.browser.fixtures import choose_head

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]


@pytest.fixture
def lesson(open_lesson, tmp_path):
    """Open a lesson with the quick preset and further replacements in its source."""

    def open_(number, **replaced):
        [path] = NOTEBOOKS.glob(f"{number}_*.ipynb")
        book = nbformat.read(path, as_version=4)
        for cell in book.cells:
            if "parameters" in cell.metadata.get("tags", []):
                cell.source = cell.source.replace('"full"', '"quick"').replace('"auto"', '"cpu"')
            for old, new in replaced.get(cell.id.replace("-", "_"), []):
                assert old in cell.source
                cell.source = cell.source.replace(old, new)
        nbformat.write(book, tmp_path / path.name)
        opened = open_lesson(tmp_path / path.name)
        opened.page.set_default_timeout(150_000)
        return opened

    return open_


def test_00_an_interrupted_training_goes_on(lesson, screenshot):
    opened = lesson("00", train=[("quick=12", "quick=100_000")])
    page = opened.page
    opened.run_all()
    page.wait_for_selector("[data-state=training]")
    page.wait_for_function(
        "() => /^The heads on the probe, at step \\d{2,}/.test(document.querySelector('[data-part=note]')?.textContent)"
    )
    page.evaluate(
        "async () => { await window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt() }"
    )
    page.wait_for_selector("[data-state=stopped]")
    assert opened.shows("train", "TrainingStopped")
    opened.opened.run("steps")  # after an error a kernel cancels requests for a while
    opened.scroll_to("train")
    page.locator("[data-state=stopped] canvas:visible").first.wait_for()
    screenshot(page, "lesson_00_stopped")
    opened.run_below("loss-after")
    assert opened.shows("finish", "Lesson 00 ran to its end.")
    view = opened.view("heads")
    choose_head(view, 0, 2)
    page.wait_for_selector(
        "[data-cell=heads][data-shown$='/2'], [data-cell=heads] [data-shown$='/2']"
    )
    assert page.errors == []


def test_02_positions_by_slider_and_keyboard(lesson, screenshot):
    opened = lesson("02")
    opened.run_each("parameters", "setup", "view")
    view = opened.view("view")
    said = view.locator("[data-part=sentence]").first
    before = said.inner_text()
    slider = view.locator("input[type=range]").first
    slider.focus()
    opened.page.keyboard.press("End")
    opened.page.keyboard.press("Home")
    chip = view.locator("[role=radio]").nth(1)
    chip.click()
    opened.page.wait_for_function(
        "before => document.querySelector('[data-cell=view] [data-part=sentence]').textContent !== before",
        arg=before,
    )
    screenshot(opened.page, "lesson_02_positions")
    assert opened.page.errors == []


def test_04_the_stream_of_a_model_trained_here(lesson, screenshot):
    opened = lesson("04", task=[("quick=130", "quick=10")])
    opened.run_each("parameters", "setup", "ffn", "task", "without", "learn", "train-pre", "view")
    view = opened.view("view")
    said = view.locator("[data-part=sentence]").first
    before = said.inner_text()
    canvas = view.locator("canvas").first
    canvas.focus()
    opened.page.keyboard.press("ArrowRight")
    opened.page.keyboard.press("ArrowDown")
    opened.page.wait_for_function(
        "before => document.querySelector('[data-cell=view] [data-part=sentence]').textContent !== before",
        arg=before,
    )
    screenshot(opened.page, "lesson_04_stream")
    assert opened.page.errors == []


def test_08_the_cross_attention_of_a_translation(lesson, screenshot):
    opened = lesson("08", train=[("quick=200", "quick=10")])
    opened.run_each("parameters", "setup", "data", "batch", "decoder-mask", "mask-drive")
    opened.run_each("model", "train", "cross")
    view = opened.view("cross")
    canvas = view.locator("[data-part=map]")
    canvas.focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowRight"):
        opened.page.keyboard.press(key)
    opened.page.wait_for_selector(
        "[data-cell=cross][data-selected*=','], [data-cell=cross] [data-selected*=',']"
    )
    screenshot(opened.page, "lesson_08_cross")
    assert opened.page.errors == []


def test_17_a_patch_is_chosen_and_a_head_switched_off(lesson, screenshot):
    opened = lesson("17", train=[("quick=120", "quick=10")])
    opened.run_each("parameters", "setup", "data", "cut", "paste", "train", "view")
    view = opened.view("view")
    view.locator("[data-part=picture]").focus()
    opened.page.keyboard.press("ArrowDown")
    opened.page.wait_for_selector("[data-query]:not([data-query='0'])")
    view.locator("[data-part=off]").click()
    opened.page.wait_for_selector("[data-part=effect] tbody tr")
    screenshot(opened.page, "lesson_17_patches")
    assert opened.page.errors == []


def test_18_the_maps_before_and_after_are_compared(lesson, screenshot):
    opened = lesson("18", ladder=[("steps=40", "steps=5")])
    opened.run_each("parameters", "setup", "data", "plain", "lora", "lora-check", "add")
    opened.run_each("ladder", "merge", "maps")
    view = opened.view("maps")
    for side in ("before", "after"):
        assert side in view.inner_text()
    screenshot(opened.page, "lesson_18_compare")
    assert opened.page.errors == []


def test_19_a_head_is_switched_off_in_the_explorer(lesson, screenshot):
    opened = lesson("19", one=[("quick=(250, 44)", "quick=(50, 44)")])
    opened.run_each("parameters", "setup", "task", "one", "two", "trained", "scrub", "explore")
    view = opened.view("explore")
    view.locator("[data-part=head-off]").click()
    opened.page.wait_for_selector("[data-edits='1'][data-settled=true]")
    assert view.locator("[data-part=kl]").inner_text().startswith("Overall change: ")
    screenshot(opened.page, "lesson_19_explorer")
    scrub = opened.view("scrub")
    slider = scrub.locator("input[type=range]").first
    slider.focus()
    opened.page.keyboard.press("Home")
    screenshot(opened.page, "lesson_19_scrubber")
    assert opened.page.errors == []


def test_20_a_cell_of_the_desk_is_measured(lesson, screenshot):
    opened = lesson("20", train=[("quick=250", "quick=150")])
    opened.run_each("parameters", "setup", "task", "train", "qk", "through", "ov", "copying")
    opened.run_each("copies", "find", "desk", "flow")
    desk = opened.view("desk")
    desk.locator("[data-part=measure]").click()
    opened.page.wait_for_selector("[data-measured='1']")
    screenshot(opened.page, "lesson_20_desk")
    opened.view("flow").locator("[data-part=flow]").wait_for()
    screenshot(opened.page, "lesson_20_flow")
    assert opened.page.errors == []
