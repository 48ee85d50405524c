"""A model learns in a page with only a browser, and what it learns can be switched off."""

import pytest

from docs.courses import neighbours, sort
from transformer_lab.views.learning.page import learning_page

part = "[data-part={}]".format
# Record the gaps between the page's frames, in milliseconds.
WATCH = """() => {
  window.gaps = [];
  let last = performance.now();
  const turn = (now) => { gaps.push(now - last); last = now; requestAnimationFrame(turn); };
  requestAnimationFrame(turn);
}"""


@pytest.fixture(scope="module")
def text():
    return "".join(learning_page([neighbours(), sort()], "Learning"))


def reaches(page, step):
    page.wait_for_function(
        "step => Number(document.querySelector('#tl-root').dataset.step) >= step",
        arg=step,
        timeout=120_000,
    )


def losses(page):
    return float(page.locator(part("status")).inner_text().split("loss ")[1].split()[0])


def test_a_head_forms_while_it_is_watched(open_page, text, accessible, screenshot):
    page = open_page(text)
    begun = page.locator(part("small")).locator("canvas").first.evaluate("c => c.toDataURL()")
    assert "nothing is learned yet" in page.locator(part("status")).inner_text()
    page.evaluate(WATCH)
    page.locator(part("go")).click()
    reaches(page, 5)
    first = losses(page)
    reaches(page, 60)
    assert losses(page) < 0.7 * first
    page.locator(part("go"), has_text="Stop").click()
    page.wait_for_selector("[data-training=false]")
    gaps = page.evaluate("() => gaps.sort((a, b) => a - b)")
    assert gaps[len(gaps) // 2] < 100  # it keeps drawing while its worker trains
    assert (
        page.locator(part("small")).locator("canvas").first.evaluate("c => c.toDataURL()") != begun
    )
    accessible(page)
    screenshot(page, "learning")
    said = page.locator(part("said")).inner_text()
    page.locator("[data-head='0/2'] input").check()
    page.wait_for_function(
        "was => document.querySelector('[data-part=said]').innerText !== was", arg=said
    )
    page.locator("[data-head='0/2'] button").click()
    page.wait_for_selector("[data-head='0/2'] [aria-pressed=true]")
    assert page.locator(part("which")).inner_text() == "Head 2"
    page.locator(part("text")).fill("abc")
    page.locator(part("text")).press("Enter")
    page.wait_for_function(
        "() => document.querySelectorAll('[data-part=said] tbody tr').length === 3"
    )
    page.locator(part("text")).fill("abcdefghijklm")
    page.locator(part("text")).press("Enter")
    page.locator(part("message"), has_text="Text has 13 tokens").wait_for()
    page.locator(part("text")).fill("abc")
    page.locator(part("text")).press("Enter")
    page.locator(part("reset")).click()
    page.wait_for_selector("[data-step='0']")
    page.locator(part("go"), has_text="Train").wait_for()
    assert not page.locator("[data-head='0/2'] input").is_checked()


def test_a_seed_is_another_model_and_comes_again(open_page, text, accessible):
    page = open_page(text, scheme="dark", width=390)
    accessible(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    maps = []
    for seed in ("0", "1", "0"):
        page.locator(part("seed")).fill(seed)
        page.locator(part("seed")).press("Enter")
        page.wait_for_selector(f"[data-seed='{seed}']")
        maps.append(page.locator(part("said")).inner_text())
    assert maps[0] == maps[2] != maps[1]


def test_a_map_is_read_with_keys_and_a_legend(open_page, text, accessible, screenshot):
    page = open_page(text, scheme="dark")
    legend = page.locator(part("legend"))
    assert "attention weight" in legend.inner_text()
    assert legend.locator(".tl-ticks span").all_inner_texts() == ["0", "0.1", "0.4", "1"]
    page.locator("[data-head='0/1'] button").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-head='0/1'] [aria-pressed=true]")
    readout, big = page.locator(part("readout")), page.locator(part("big"))
    assert "arrow keys" in readout.inner_text()
    big.focus()
    page.keyboard.press("ArrowDown")
    for key in ("ArrowUp", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    tokens = page.locator("[data-part=said] th[scope=row]").all_inner_texts()
    last = len(tokens) - 1
    told = readout.inner_text()
    assert told.startswith(f"{tokens[last - 1]} ({last - 1}) attends to {tokens[2]} (2) with 0.")
    row = []
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    for _ in tokens:
        row.append(float(readout.inner_text().rpartition(" ")[2]))
        page.keyboard.press("ArrowRight")
    label = big.get_attribute("aria-label")
    assert f"({last - 1}) attends to" in label and label.endswith("Arrow keys move.")
    assert sum(row) == pytest.approx(1, abs=2e-3)  # a row of the map, cell by cell
    accessible(page)
    screenshot(page, "learning-dark")
    page.keyboard.press("Escape")
    assert "arrow keys" in readout.inner_text()


def test_another_task_is_another_model(open_page, text):
    page = open_page(text)
    page.locator(part("go")).click()
    reaches(page, 5)
    page.locator(part("task")).select_option("sort")
    page.wait_for_selector("[data-step='0'][data-training=false]")
    page.wait_for_function("() => document.querySelectorAll('[data-head]').length === 2")
    assert page.locator(part("text")).input_value() == sort().text
    assert page.locator(part("said")).locator("tbody tr").count() == 17
    page.set_viewport_size({"width": 700, "height": 900})
    assert page.locator("[data-head]").count() == 2


def test_a_damaged_page_says_so_in_a_sentence(open_page, text):
    for block in ("learning", "examples/neighbours"):
        head, _, rest = text.partition(f'data-block="{block}"')
        at = rest.index(">") + 3000
        other = "A" if rest[at] != "A" else "B"
        page = open_page(f'{head}data-block="{block}"{rest[:at]}{other}{rest[at + 1 :]}')
        said = page.locator(part("message"))
        assert said.inner_text().startswith("This page is not as it was written")
