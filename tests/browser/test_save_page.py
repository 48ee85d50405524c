"""What a reader can save from a page without a kernel."""

import csv
import io
import json
import re
from contextlib import contextmanager

import numpy as np
import pytest

import transformer_lab as tl
from tests.browser.fixtures import choose_head
from tests.every_view import VIEWS
from transformer_lab.views import HeadView


def part(name):
    return f"[data-part={name}]"


def saved(page, kind):
    page.locator(part("save")).click()
    with page.expect_download() as download:
        page.locator(part(kind)).click()
    return download.value.suggested_filename, download.value.path().read_text("utf-8")


def same_numbers(page, view, within=2e-4):
    """Check that a page's JSON and CSV have Python's numbers, within the page's precision."""
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
    # Without a kernel there is no SVG and no arrays.
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
    # The rest of a row is scaled up, and with it the page's rounding errors.
    told = same_numbers(page, view, within=2e-3)
    assert {k: told["chosen"][k] for k in ("layer", "head", "hide_first")} == {
        "layer": 2,
        "head": 0,
        "hide_first": True,
    }
    name, _ = saved(page, "csv")
    assert name.startswith("headview-transformer-layer-2-head-0-the-animal-did")
    assert page.evaluate("document.activeElement.dataset.part") == "save"


# Show every view in one page; returns their files' contents, at first and after choices.
FILES = """async (payloads) => {
    const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
    const made = [];
    URL.createObjectURL = ((own) => (blob) => (made.push(blob), own(blob)))(URL.createObjectURL.bind(URL));
    HTMLAnchorElement.prototype.click = () => {};
    const found = {};
    for (const [name, { state, buffers, choices, said }] of Object.entries(payloads)) {
        for (const [key, text] of Object.entries(buffers)) state[key] = bytes(text);
        state._saved = true;
        const heard = {};
        const model = {
            get: (key) => state[key], off() {}, send() {}, save_changes() {},
            set(key, value) { state[key] = value; (heard[`change:${key}`] ?? []).forEach((told) => told()); },
            on(names, told) { names.split(" ").forEach((one) => (heard[one] ??= []).push(told)); },
        };
        const style = document.createElement("style");
        style.textContent = state._css;
        const root = document.createElement("div");
        document.body.append(style, root);
        const url = URL.createObjectURL(new Blob([state._esm], { type: "text/javascript" }));
        await (await import(url)).default.render({ model, el: root, signal: new AbortController().signal });
        const saved = async (kind) => {
            made.length = 0;
            delete root.dataset.saved;
            root.querySelector(`[data-part=${kind}]`).click();
            for (let i = 0; i < 200 && !root.dataset.saved; i++) await new Promise((done) => setTimeout(done, 10));
            return made[0].text();
        };
        found[name] = [];
        for (const [chosen, wanted] of [[{}, said[0]], [choices, said[1]]]) {
            Object.entries(chosen).forEach(([key, value]) => model.set(key, value));
            const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
            await drawn();
            let told = await saved("json");
            for (let i = 0; i < 500 && JSON.parse(told).sentence !== wanted; i++) {
                await drawn();
                told = await saved("json");
            }
            found[name].push([told, await saved("csv")]);
        }
        root.remove();
        style.remove();
    }
    return found;
}"""

CHOICES = {
    "BlockView": {"step": "mlp"},
    "CompareView": {"selected": (3, 1)},
    "EmbeddingView": {"shows": "paths", "row": 1, "colour": "position"},
    "Explorer": {"_options": {"map": "difference"}},
    "FlowView": {"threshold": 0.5},
    "HeadView": {"layer": 0, "head": 1, "_options": {"hide_first": True}},
    "ModelView": {"step": 3},
    "MixView": {"d": 16, "hidden": [0]},
    "PatchView": {"layer": 0, "head": 1},
    "PatchingView": {
        "site": "resid_pre",
        "layer": 1,
        "selected": (2, None),
        "direction": "noising",
    },
    "PositionView": {"scheme": "relative", "causal": True, "test": "shuffle", "head": 2},
    "ResidualView": {"selected": (3, None)},
    "RunView": {"head": 1, "measure": "first token"},
    "SpectrogramView": {"mean": "layer", "layer": 0},
    "TrainingView": {"head": 1},
    "CloudView": {"shows": "values", "selected": (2, None)},
    "WhyView": {"_options": {"above": True}},
}
PACKED = 4e-5  # weights in 16 bits, scaled up with the rest of their row
WITHIN = {
    "CompareView": 2e-4,
    "Explorer": PACKED,
    "HeadView": 2e-3,
    "RunView": PACKED,
    "TrainingView": PACKED,
}


@contextmanager
def choices_made(name, view):
    """Apply a view's choices, and restore it afterwards."""
    before = {key: getattr(view, key) for key in CHOICES[name]}
    for key, value in CHOICES[name].items():
        setattr(view, key, value)
    try:
        yield
    finally:
        for key, value in before.items():
            setattr(view, key, value)


def same_files(told, table, view, within):
    """Check that a page's files are Python's: names, axes, words, and numbers within `within`."""
    ours = view.to_dict()
    wanted = {"computed": ours["computed"], "axes": ours["axes"]}
    assert json.loads(json.dumps(wanted)) == {k: told[k] for k in wanted}
    assert (told["view"], told["title"]) == (ours["view"], ours["title"])
    for name, value in json.loads(json.dumps(ours["chosen"])).items():
        assert told["chosen"][name] == value, name
    assert told["arrays"].keys() == ours["arrays"].keys()
    for name, one in told["arrays"].items():
        assert one["means"] and one["axes"] == ours["arrays"][name]["axes"]
        wanted = ours["arrays"][name]["values"]
        # A page holds the spectrogram as an image of 256 shades.
        near(one["values"], wanted, np.ptp(wanted) / 509 if name == "spectrogram" else within)
    rows = list(csv.reader(io.StringIO(table, newline="")))
    wanted = view._numbers().table()
    assert rows[0] == [*wanted, "about"]
    assert json.loads(rows[1][-1])["chosen"] == told["chosen"]
    for column, values in zip(zip(*rows[1:], strict=True), wanted.values(), strict=False):
        near(column, ["" if v is None else inert(v) for v in values], within)


def inert(value):
    """A word as in CSV: an apostrophe keeps a spreadsheet from running it as a formula."""
    return (
        f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
    )


def near(found, wanted, within):
    """Check that words are the same, and numbers within this tolerance."""
    found, wanted = (np.array(x, dtype=object).ravel() for x in (found, wanted))
    try:
        found, wanted = (np.where(x == "", None, x).astype(float) for x in (found, wanted))
    except ValueError:
        assert found.tolist() == [str(x) if isinstance(found[0], str) else x for x in wanted]
        return
    np.testing.assert_allclose(found, wanted, atol=within, rtol=1e-6)


def test_every_page_gives_the_numbers_that_python_writes(open_page, made):
    """One page for all: names, axes, words and numbers, at first and after choices."""
    payloads = {}
    for name, view in [(name, made(name)) for name in VIEWS]:
        text = re.search(r'id="tl-state">(.*?)</script>', view.to_html(), re.S)[1]
        said = [view.sentence]
        with choices_made(name, view):
            said.append(view.sentence)
        payloads[name] = {**json.loads(text), "choices": CHOICES[name], "said": said}
    empty = "<!DOCTYPE html><html><head></head><body><p>Views</p></body></html>"
    found = open_page(empty, ready="p").evaluate(FILES, payloads)
    for name in VIEWS:
        view = made(name)
        first, then = [(json.loads(told), table) for told, table in found[name]]
        assert first[0]["sentence"] == view.sentence, name
        same_files(*first, view, WITHIN.get(name, 1e-6))
        with choices_made(name, view):
            assert then[0]["sentence"] == view.sentence, name
            same_files(*then, view, WITHIN.get(name, 1e-6))


# Choose what can be chosen by chips, boxes, sliders, menus and keys.
CHOOSE = """() => {
    const all = (what) => [...document.querySelectorAll(what)].filter((one) => one.offsetParent && !one.disabled);
    for (const chip of all("[role=radio][aria-checked=false], input[type=checkbox]")) chip.click();
    for (const choice of all("input[type=range], select")) {
        choice.value = choice.min ?? choice.options[choice.options.length - 1].value;
        for (const name of ["input", "change"]) choice.dispatchEvent(new Event(name));
    }
    for (const figure of all("canvas[tabindex='0']")) {
        for (const key of ["ArrowDown", "Enter"]) figure.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    }
}"""


def state(page):
    """The line of Python that restores what is on view."""
    page.evaluate("document.querySelector('[data-part=state]').click()")
    page.wait_for_selector("#tl-root[data-restoring]")
    return page.locator("#tl-root").get_attribute("data-restoring")


@pytest.mark.parametrize("name", VIEWS)
def test_a_line_of_python_restores_what_is_on_view(open_page, made, name):
    view = made(name)
    page = open_page(view.to_html())
    before = state(page)
    assert before == view.as_python
    page.evaluate(CHOOSE)
    page.locator("[data-settled=false]").wait_for(state="detached")
    after = state(page)
    assert after != before and "\n" not in after
    if name == "PositionView":  # Python's has no pair of tokens: its traces are computed on request
        after = after.replace(", selected=[4, 0]", "")
    again = open_page(view.to_html())
    assert state(again) == before  # what was clicked in a page does not reach Python
    try:
        exec(after, {"tl": tl, "view": view})
        assert view.as_python == after
        assert state(open_page(view.to_html(), instead=again)) == after
    finally:
        exec(before, {"tl": tl, "view": view})
