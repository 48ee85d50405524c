"""Activation patching on a page: its own engine measures cells, with Python's numbers."""

import json

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.browser.rest import REST
from tests.factories import small
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views import PatchingView

part = "[data-part={}]".format
TEXT, OTHER = "the cat sat on the mat", "the dog sat on the mat"
LONGER = "the very old cat sat on the mat"
PAIRS = [(0, 0), (3, 1), (4, 2), (5, 3), (6, 4), (7, 5)]
STREAM = [f"resid_{where}" for where in ("pre", "mid", "post")] + ["attn_out", "mlp_out"]
# `asked`: the ids of requests that the page's worker has not answered. A request that follows an
# answer is added before the answered one is removed.
ASKED = """() => {
    const { postMessage } = Worker.prototype;
    const heard = ({ data }) => data.part === undefined && setTimeout(() => asked.delete(data.id));
    globalThis.asked = new Set();
    Worker.prototype.postMessage = function (message) {
        asked.add(message.id);
        this.addEventListener("message", heard); // once, however often it is added
        postMessage.call(this, message);
    };
}"""
MEASURED = f"""async () => {{
    {REST}
    const measured = () => document.querySelector("#tl-root").dataset.measured;
    await rest(measured);
    return measured();
}}"""


def words(kind="decoder", **options):
    tokenizer = WordTokenizer.train(f"{TEXT} {OTHER} {LONGER}")
    model = small(kind, noise=0.4, vocab_size=tokenizer.vocab_size, **options)
    with torch.no_grad():
        for weight in model.parameters():  # rounded as in the page
            weight.copy_(weight.half().float())
    return tl.TextModel(model, tokenizer, "words")


SCENES = {
    "decoder": lambda: PatchingView(words(), TEXT, OTHER, metric=("mat", "cat")),
    "encoder": lambda: PatchingView(
        words("encoder"), TEXT, OTHER, metric="cat", position=1, sites=["z", "pattern", *STREAM[2:]]
    ),
    "shared keys, paired by hand": lambda: PatchingView(
        words(n_kv_heads=2),
        LONGER,
        OTHER,
        metric=tl.Logit("cat"),
        align=PAIRS,
        direction="noising",
        sites=["v", "z", *STREAM],
    ),
}


def numbers(page):
    page.locator(part("save")).click()
    with page.expect_download() as download:
        page.locator(part("json")).click()
    return json.loads(download.value.path().read_text("utf-8"))["arrays"]


@pytest.mark.parametrize("name", SCENES)
def test_a_page_measures_what_python_measures(open_page, name):
    view = SCENES[name]()
    page = open_page(view.to_html())
    cells = sum(int(grid.there.sum()) for grid in view.grids.values())
    assert "Hatched: estimates" in page.locator(part("legend")).inner_text()
    page.locator(part("measure-all")).click()
    page.wait_for_selector(f"[data-measured='{cells}']")
    page.wait_for_selector(part("stop"), state="hidden")
    assert page.locator(part("message")).is_hidden()
    assert page.locator(part("count")).inner_text() == f"{cells} of {cells} cells measured"
    assert "Hatched" not in page.locator(part("legend")).inner_text()
    view.measure()
    found, wanted = numbers(page), view.to_dict()["arrays"]
    assert found.keys() == wanted.keys()
    moved = 0
    for key, one in wanted.items():
        np.testing.assert_allclose(
            np.array(found[key]["values"], float), np.array(one["values"], float), atol=2e-5
        )
        moved += key.startswith("exact") and np.abs(np.array(one["values"], float)).max() > 1e-3
    assert moved == len(wanted) / 2  # no grid is all zeros
    # The same in the other direction, where the page reads the other text.
    other = "denoising" if view.direction == "noising" else "noising"
    page.locator(f"{part('direction')} [data-value={other}]").click()
    page.wait_for_selector("[data-measured='0']")
    page.locator(part("measure")).click()
    page.wait_for_selector("[data-measured='1']")
    view.direction = other
    view.measure([view.place])
    assert page.locator(part("sentence")).inner_text() == view.sentence


def test_clicks_and_keys_measure_cells_and_all_gives_way(open_page, accessible, screenshot):
    model = tl.shipped("manual")
    half = torch.randint(100, 1000, (24,), generator=torch.Generator().manual_seed(0))
    clean = torch.cat((half, half[:12]))
    corrupted = clean.clone()
    corrupted[11] = 300
    view = PatchingView(model, clean, corrupted, metric=int(half[12]))
    view.site, view.layer, view.head = "z", 2, 2
    page = open_page(view.to_html())
    assert page.evaluate("document.querySelector('#tl-root').dataset.cell") == "z.2.2"
    assert "an estimated " in page.locator(part("sentence")).inner_text()
    page.evaluate(ASKED)
    grid = page.locator(part("map"))
    grid.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-measured='1']")
    told = page.locator(part("sentence")).inner_text()
    assert told.endswith("head 2 of layer 2 restores 12.4 of 12.5 (estimate 28.5).")
    page.keyboard.press("ArrowUp")
    page.wait_for_selector("[data-cell='z.1.2']")
    page.locator(part("measure-all")).click()
    page.wait_for_selector(part("stop"))
    # A click in between is answered before the rest.
    data = grid.evaluate(
        "({ dataset }) => ['left', 'top', 'across', 'down'].map(x => Number(dataset[x]))"
    )
    left, top, across, down = data
    grid.click(position={"x": left + 3.5 * across, "y": top + 3.5 * down})
    page.wait_for_function(
        "() => document.querySelector('[data-part=sentence]').textContent.includes('head 3 of layer 3 ') "
        "&& document.querySelector('[data-part=sentence]').textContent.includes('(estimate')"
    )
    assert page.locator(part("stop")).is_visible()
    page.locator(part("stop")).click()
    page.wait_for_selector(part("stop"), state="hidden")
    accessible(page)
    screenshot(page, "patching-1200")
    # Pending answers have arrived, and no request followed.
    page.wait_for_function("() => !asked.size")
    assert 2 < int(page.evaluate(MEASURED)) < 512


def test_another_copy_of_the_page_holds_what_was_measured(open_page):
    view = SCENES["decoder"]()
    view.site = "z"
    page = open_page(view.to_html())
    page.locator(part("measure-site")).click()
    page.wait_for_selector("[data-measured='8']")
    page.locator(part("save")).click()
    with page.expect_download() as download:
        page.locator(part("html")).click()
    again = open_page(download.value.path().read_text("utf-8"))
    assert again.locator(part("count")).inner_text().startswith("8 of ")
    again.locator(f"{part('site')} [data-value=k]").click()
    again.locator(part("measure")).click()
    again.wait_for_selector("[data-measured='9']")


def test_a_page_without_the_model_says_who_measures(open_page):
    view = SCENES["decoder"]()
    view.measure("z")
    page = open_page(view.to_html(model=False))
    assert page.locator(part("measure")).is_hidden() and page.locator(part("ask")).is_hidden()
    assert "Hatched cells stay estimates" in page.locator(part("note")).inner_text()
    page.locator(f"{part('site')} [data-value=resid_pre]").click()
    page.locator(part("map")).focus()
    page.keyboard.press("Enter")
    assert "not measured" in page.locator(part("sentence")).inner_text()
    assert page.locator(part("count")).inner_text().startswith("8 of ")


def test_what_is_copied_makes_the_chosen_cell(open_page):
    view = SCENES["decoder"]()
    page = open_page(view.to_html())
    page.locator(f"{part('site')} [data-value=mlp_out]").click()
    page.locator(part("measure")).click()
    page.wait_for_selector("[data-measured='1']")
    page.locator(part("save")).click()
    page.locator(part("copy")).click()
    page.wait_for_selector("[data-copied]")
    page.keyboard.press("Escape")
    code = page.evaluate("document.querySelector('#tl-root').dataset.copied")
    _, layer, place = page.evaluate("document.querySelector('#tl-root').dataset.cell").split(".")
    model = view._desks.model
    names = {"tl": tl, "model": model}
    exec(code, names)
    logits = names["patched"].logits[0, -1]
    moved = float(logits[model.token_id("mat")] - logits[model.token_id("cat")])
    found = numbers(page)["exact"]["values"][int(layer)][int(place)]
    assert found == pytest.approx(moved - names["grids"]["mlp_out"].into, abs=1e-4)
