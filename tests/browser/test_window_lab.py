"""Every view in one JupyterLab window: each gets its own keys, and no view changes another."""

import pytest

from tests.browser.fixtures import notebooks
from transformer_lab import views

SETUP = """
import tempfile, torch, transformer_lab as tl
from pathlib import Path
from IPython.display import display
from tests.factories import picture, vision
from tests.sounds import RATE, TARGET, WORDS, chirp, whisper
torch.set_num_threads(1)
model = tl.shipped("manual")
trace = model.trace("for key in self.keys:\\n    if key not in self.")
class Counting:
    def batch(self, step):
        start = torch.randint(0, 20, (4, 1), generator=torch.Generator().manual_seed(step))
        tokens = (start + torch.arange(9)) % 20
        return tl.datasets.Batch(tokens=tokens[:, :-1], targets=tokens[:, 1:])
small = tl.Transformer(tl.ModelConfig(vocab_size=20, n_layers=2, n_heads=2, d_model=16, n_ctx=16))
folder, probe = Path(tempfile.mkdtemp()) / "run", torch.tensor([1, 2, 3, 1, 2, 3])
watch = tl.views.TrainingView(probe)
for step in tl.train(small, Counting(), steps=20, run=folder, snapshot_every=10, probe=probe, watch=watch):
    pass
"""
# Each view of views.__all__ by name; a test reports a new one without a line here.
SHOWN = {
    "BlockView": "tl.views.BlockView(trace, 1, 2, 8)",
    "CloudView": "tl.views.CloudView(trace, 2, 2)",
    "CompareView": 'tl.views.CompareView(trace, model.trace("for name in self.names:\\n    if name"))',
    "EmbeddingView": "tl.views.EmbeddingView(trace)",
    "Explorer": 'tl.views.Explorer(model, "for key in self.keys:\\n    if key not in self.")',
    "FlowView": "tl.views.FlowView(trace)",
    "HeadView": "tl.views.HeadView(trace, layer=2, head=2)",
    "MixView": 'tl.views.MixView(["the", "cat", "drank"], [0, 6, 0], [[0, 0], [4, 0], [1, 3]], query="its", d=4)',
    "ModelView": "tl.views.ModelView(trace)",
    "PatchView": 'tl.views.PatchView(tl.ImageModel(vision(num_labels=3), name="small"), picture())',
    "PatchingView": 'tl.views.PatchingView(model, "for key in self.keys:\\n    if", "for name in self.keys:\\n    if")',
    "PositionView": 'tl.views.PositionView("rotary")',
    "ResidualView": "tl.views.ResidualView(trace)",
    "RunView": "tl.views.RunView(folder)",
    "SpectrogramView": "tl.views.SpectrogramView(whisper(sharpness=6), chirp(), sampling_rate=RATE, target=TARGET, labels=WORDS)",
    "TrainingView": "watch",
    "WhyView": "tl.views.WhyView(trace, 2, 2, 14, 5)",
}
SHOW = "made = {" + ", ".join(f"{name!r}: {code}" for name, code in SHOWN.items()) + "}\n"
SHOW += "display(*made.values())"
OURS = ["x", "X", "z", "y", "p", "Enter", " ", "Delete", "PageDown", "Home", "End"]
OURS += [f"Arrow{side}" for side in ("Up", "Down", "Left", "Right")]
HOSTS = ["a", "b", "d", "d", "m", "0", "0"]
PARTS = ["x", "z", "Enter", " ", "ArrowDown", *HOSTS]  # " " stops what Enter started

# Where the focus may be: in the view itself, after a click on its text, and in each kind of part
# that takes the focus.
PLACES = """view => {
    const found = new Map();
    for (const part of view.querySelectorAll("button, select, input, textarea, summary, canvas, [tabindex]")) {
        if (!part.offsetParent || part.disabled || part.tabIndex < 0) continue;
        if (!found.has(part.tagName)) found.set(part.tagName, part);
    }
    return [view, ...found.values()];
}"""
PLAIN = """view => [...view.querySelectorAll("b, p, span")].find((part) =>
    part.offsetParent && part.textContent.trim() && part.getBoundingClientRect().width > 20
    && !part.closest("button, label, select, a, summary, [tabindex='0'], [data-index], [aria-hidden=true]")) ?? view"""
# While one view is used, the others keep their size but are not drawn: each frame would lay out and
# paint all of them. They cannot take the focus either, so attempts are recorded.
ALONE = """view => {
    window.jupyterapp.shell.currentWidget.content.node.focus(); // or who had it asks for it back
    const roots = [...document.querySelectorAll(".tl-view[data-ready]")];
    const sizes = roots.map((root) => root.getBoundingClientRect());
    roots.forEach((root, i) => {
        const skipped = Boolean(view) && root !== view;
        root.style.containIntrinsicSize = skipped ? `${sizes[i].width}px ${sizes[i].height}px` : "";
        root.style.contentVisibility = skipped ? "hidden" : "";
    });
    const focus = (HTMLElement.prototype.tlFocus ??= HTMLElement.prototype.focus);
    globalThis.strayed = [];
    HTMLElement.prototype.focus = !view ? focus : function (...how) {
        const root = this.closest(".tl-view");
        if (root && root !== view) strayed.push(root.className);
        return focus.apply(this, how);
    };
}"""
SOURCES = """() => window.jupyterapp.shell.currentWidget.content.widgets.map(
    cell => [cell.model.type, cell.model.sharedModel.getSource()])"""


@pytest.fixture(scope="module")
def window(window_of_all, browser):
    """The notebook of all views, once for this file."""
    with notebooks(window_of_all) as open_:
        book = open_(SETUP, SHOW, "'below'")
        book.page.set_default_timeout(180_000)  # every view is drawn
        # No animation runs during measurements.
        book.page.emulate_media(reduced_motion="reduce")
        book.run_all()
        book.page.wait_for_function(
            "n => document.querySelectorAll('.tl-view[data-ready]').length === n",
            arg=len(SHOWN) + 1,  # the training view also shows in its training cell
        )
        yield book


def test_no_view_is_forgotten():
    kinds = {name: getattr(views, name) for name in views.__all__}
    kinds = {name: kind for name, kind in kinds.items() if isinstance(kind, type)}
    assert {name for name, kind in kinds.items() if kind is not views.View} == set(SHOWN)


def test_keys_in_a_view_never_reach_the_notebook(window):
    page = window.page
    cells = page.evaluate(SOURCES)
    kernel = page.evaluate(f"() => {window.SESSION}.session.kernel.id")
    try:
        for view in page.locator(".tl-view[data-ready]").element_handles():
            name = view.get_attribute("class")
            view.evaluate(ALONE)
            # A click on plain text: JupyterLab took the focus, and X was "cut cell".
            view.evaluate_handle(PLAIN).as_element().click(position={"x": 3, "y": 3})
            assert view.evaluate("view => view.contains(document.activeElement)"), name
            for place in range(view.evaluate(f"view => ({PLACES})(view).length")):
                view.evaluate(f"(view, at) => ({PLACES})(view)[at]?.focus()", place)
                for key in PARTS if place else (*OURS, *HOSTS):
                    page.keyboard.press(key)
                assert view.evaluate("view => view.contains(document.activeElement)"), name
            assert page.evaluate(SOURCES) == cells, name
            assert page.evaluate("strayed") == [], name
    finally:
        page.evaluate(ALONE, None)
    assert page.evaluate(f"() => {window.SESSION}.session.kernel.id") == kernel
    assert page.locator(".jp-Dialog").count() == 0  # "Restart kernel?" would be one
    assert page.errors == []


def test_the_notebooks_keys_are_its_own_outside_of_views_and_chords_everywhere(window):
    page, cells = window.page, window.cells()
    view = page.locator(".tl-view-explorer[data-ready]").element_handle()
    view.evaluate_handle(PLAIN).as_element().click(position={"x": 3, "y": 3})
    dirty = "window.jupyterapp.shell.currentWidget.context.model.dirty"
    page.evaluate(f"{dirty} = true")  # earlier changes may have been autosaved
    page.keyboard.press("Control+s")
    page.wait_for_function(f"() => !{dirty}")
    page.keyboard.press("b")
    assert window.cells() == cells
    page.keyboard.press("Escape")  # nothing is left to clear: the focus is the notebook's again
    assert page.evaluate("!document.activeElement.closest('.tl-view')")
    page.keyboard.press("b")
    page.wait_for_function(
        "n => window.jupyterapp.shell.currentWidget.content.widgets.length === n", arg=cells + 1
    )
    page.keyboard.press("d")
    page.keyboard.press("d")
    page.wait_for_function(
        "n => window.jupyterapp.shell.currentWidget.content.widgets.length === n", arg=cells
    )
    assert page.errors == []


THEMES = ("JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast")
# Views that look different with all the window's style sheets than with their own alone.
LOOKS = """async () => {
    const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 30)));
    const look = (root) => {
        const { left, top } = root.getBoundingClientRect();
        return [root, ...root.querySelectorAll("*")].map((part) => {
            const box = part.getBoundingClientRect();
            const style = getComputedStyle(part);
            const seen = box.width || box.height ? [box.left - left, box.top - top, box.width, box.height] : [];
            const place = seen.map((x) => Math.round(2 * x) / 2);
            const drawn = ["color", "backgroundColor", "font", "padding", "margin", "border", "opacity", "cursor", "display"].map((x) => style[x]);
            return JSON.stringify([part.tagName, String(part.getAttribute("class")), place, drawn]);
        });
    };
    const soon = async (root) => (await frame(), look(root));
    const settled = async (root) => { // what it looks like when it has drawn itself anew
        for (let last = ""; ; await frame()) {
            const now = look(root);
            if (last === (last = JSON.stringify(now))) return now;
        }
    };
    const sheets = [...document.styleSheets].filter((s) => s.ownerNode.textContent.includes(".tl-view {"));
    const changed = [];
    // While one view is looked at, the others keep their places and are not laid out: every sheet that
    // goes or comes would draw all of them anew.
    const roots = [...document.querySelectorAll(".tl-view[data-ready]")];
    const sizes = new Map(roots.map((root) => [root, root.getBoundingClientRect()]));
    const rest = (root, skipped) => {
        const { width, height } = sizes.get(root);
        root.style.containIntrinsicSize = skipped ? `${width}px ${height}px` : "";
        root.style.contentVisibility = skipped ? "hidden" : "";
    };
    for (const root of roots) {
        for (const other of roots) rest(other, other !== root);
        const own = [...root.classList].find((name) => name.startsWith("tl-view-"));
        const has = (name) => sheets.filter((sheet) => sheet.ownerNode.textContent.includes(`.tl-view.${name}`));
        const kept = has(own).length ? has(own) : sheets.filter((sheet) => !has("tl-view-").includes(sheet));
        // Where two quick looks differ, once more: on a busy machine a view draws between the two.
        let see = soon;
        for (let tries = 4; ; see = settled, await new Promise((done) => setTimeout(done, 500))) {
            const together = await see(root);
            for (const sheet of sheets) sheet.disabled = !kept.includes(sheet);
            const alone = await see(root);
            for (const sheet of sheets) sheet.disabled = false;
            const at = together.findIndex((part, i) => part !== alone[i]);
            if (kept.length && at < 0 && together.length === alone.length) break;
            if (--tries) continue;
            changed.push([own, kept.length, together[at], alone[at]]);
            break;
        }
    }
    for (const root of roots) rest(root, false);
    return [sheets.length, changed];
}"""
# Text with too little contrast to what is behind it, and views with parts cut off.
LEGIBLE = """() => {
    const channels = (text) => {
        const all = (text.match(/[\\d.]+/g) ?? []).map(Number);
        return text.startsWith("color(srgb") ? all.map((x, i) => (i < 3 ? 255 * x : x)) : all;
    };
    const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255).map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4))
        .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (part) => {
        const grounds = [];
        for (let at = part; at; at = at.parentElement) {
            const [r, g, b, a = 1] = channels(getComputedStyle(at).backgroundColor);
            if (a > 0) grounds.push([r, g, b, a]);
            if (a === 1) break;
        }
        return grounds.reduceRight((under, [r, g, b, a]) => [r, g, b].map((x, i) => a * x + (1 - a) * under[i]), [255, 255, 255]);
    };
    const found = [];
    for (const root of document.querySelectorAll(".tl-view[data-ready]")) {
        if (root.scrollWidth > root.clientWidth + 1) found.push([root.className, "is cut off", root.scrollWidth, root.clientWidth]);
        for (const part of root.querySelectorAll("*")) {
            const own = [...part.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
            if (!own || !part.offsetParent || part.closest("button:disabled")) continue;
            const [high, low] = [channels(getComputedStyle(part).color), behind(part)].map(light).sort((a, b) => b - a);
            if ((high + 0.05) / (low + 0.05) < 3) found.push([root.className, part.textContent.slice(0, 40), getComputedStyle(part).color]);
        }
    }
    return found;
}"""
# How far the labels left of a map differ from its background: they are drawn, not styled.
LABELS = """() => [...document.querySelectorAll(".tl-view[data-ready] canvas[data-part=map]")].map((canvas) => {
    const ratio = canvas.width / parseFloat(canvas.style.width);
    const [left, top] = [Number(canvas.dataset.left), Number(canvas.dataset.top)];
    const { data } = canvas.getContext("2d").getImageData(0, top * ratio, left * ratio, canvas.height - top * ratio);
    const root = canvas.closest(".tl-view");
    const ground = getComputedStyle(root).backgroundColor.match(/[\\d.]+/g).map(Number);
    let most = 0;
    for (let i = 0; i < data.length; i += 4) {
        const far = Math.abs((data[i] + data[i + 1] + data[i + 2] - ground[0] - ground[1] - ground[2]) / 3);
        most = Math.max(most, (far * data[i + 3]) / 255);
    }
    return [root.className, most];
})"""


def test_no_view_changes_another_and_all_can_be_read_in_every_theme(window, screenshot):
    page = window.page
    try:
        # In reverse order the second time: a theme change redraws all views, and this saves one.
        for width, height, themes in ((1440, 900, THEMES), (1024, 768, THEMES[::-1])):
            page.set_viewport_size({"width": width, "height": height})
            for theme in themes:
                page.evaluate(
                    "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
                    theme,
                )
                dark = "light" if theme.endswith("Light") else "dark"
                page.wait_for_function(
                    "dark => [...document.querySelectorAll('.tl-view')].every(v => v.dataset.theme === dark)",
                    arg=dark,
                )
                sheets, changed = page.evaluate(LOOKS)
                assert sheets >= len(SHOWN) - 1  # the two views of a run share one
                assert changed == [], (theme, width)
                for _ in range(100):  # a view that was hidden takes its new width a moment later
                    if not (illegible := page.evaluate(LEGIBLE)):
                        break
                    page.wait_for_timeout(100)
                assert illegible == [], (theme, width)
                for name, most in page.evaluate(LABELS):
                    assert most > 100, (theme, width, name)
                screenshot(page, f"window-{theme.replace(' ', '-').lower()}-{width}")
    finally:
        page.evaluate(
            "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})"
        )
    assert page.errors == []
