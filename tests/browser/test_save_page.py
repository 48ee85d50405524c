"""What a reader takes away from a page that has no kernel."""

import csv
import io
import json

import numpy as np
import pytest

from tests.browser.fixtures import choose_head
from transformer_lab.views import CompareView, HeadView, MixView


def part(name):
    return f"[data-part={name}]"


def saved(page, kind):
    page.locator(part("save")).click()
    with page.expect_download() as download:
        page.locator(part(kind)).click()
    return download.value.suggested_filename, download.value.path().read_text("utf-8")


def same_numbers(page, view, within=2e-4):
    """Both of a page's files hold what Python's hold, as near as the page has it."""
    told, ours = json.loads(saved(page, "json")[1]), view.to_dict()
    assert told["axes"] == {name: list(ours["axes"][name]) for name in told["axes"]}
    for name, one in told["arrays"].items():
        wanted = np.array(ours["arrays"][name]["values"], dtype=object).astype(float)
        found = np.array(one["values"], dtype=object).astype(float)
        np.testing.assert_allclose(found, wanted, atol=within)
    rows = list(csv.reader(io.StringIO(saved(page, "csv")[1], newline="")))
    columns = list(view._numbers().table())
    assert rows[0] == [*columns, "about"]
    assert json.loads(rows[1][-1])["computed"]["versions"] == ours["computed"]["versions"]
    assert len(rows) - 1 == len(view._numbers().table()[columns[0]])
    return told


def test_the_head_on_view_by_keyboard(open_page, trace, accessible, screenshot):
    view = HeadView(trace, layer=1, head=2)
    page = open_page(view.to_html())
    page.locator(part("save")).focus()
    for key in ("Enter", "ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.dataset.part") == "csv"
    # Nobody is there to draw an SVG or to write arrays.
    assert page.locator(f"{part('svg')}, {part('npz')}").count() == 0
    accessible(page)
    screenshot(page, "save-light-1200")
    page.keyboard.press("Escape")
    assert page.locator(part("csv")).is_hidden()
    assert page.evaluate("document.activeElement.dataset.part") == "save"
    choose_head(page, 2, 0)
    view.layer, view.head = 2, 0
    page.locator(part("hide-first")).check()
    view._options = {"hide_first": True}
    # What is left of a row is scaled up, and so is what the page rounds.
    told = same_numbers(page, view, within=2e-3)
    assert {k: told["chosen"][k] for k in ("layer", "head", "hide_first")} == {
        "layer": 2, "head": 0, "hide_first": True,
    }  # fmt: skip
    name, _ = saved(page, "csv")
    assert name.startswith("headview-transformer-layer-2-head-0-the-animal-did")
    assert page.evaluate("document.activeElement.dataset.part") == "save"


@pytest.mark.parametrize("name", ["compare", "mix"])
def test_other_views_give_their_numbers(open_page, trace, name):
    view = (
        CompareView(trace, trace)
        if name == "compare"
        else MixView(["the", "cat", "the"], [0, 6, 1], [[0, 0], [4, 0], [1, 3]], d=4, hidden=[2])
    )
    same_numbers(open_page(view.to_html()), view)
