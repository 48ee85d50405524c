"""Checks of every view: axe-core in both themes, at three widths, and a storm of events."""

import json
import re
from functools import cache

import pytest
import torch

import transformer_lab as tl
from tests.browser.rest import PLACES, REST, resized
from tests.factories import picture, vision
from tests.missing import package
from tests.sounds import RATE, TARGET, WORDS, chirp, whisper
from transformer_lab import views

package("transformers")

CODE = "for key in self.keys:\n    if key not in self."
OTHER = "for name in self.names:\n    if name not in self."
NAMES = [
    "head",
    "explorer",
    "flow",
    "residual",
    "why",
    "cloud",
    "block",
    "model",
    "compare",
    "position",
    "mix",
    "training",
    "run",
    "patches",
    "embedding",
    "spectrogram",
    "patching",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = tl.datasets.induction(
        length=24, vocab=24, held_out_lags=(9,), segment=(4, 12), size=400, held_out=20
    )
    torch.manual_seed(0)
    model = tl.Transformer(
        tl.ModelConfig(vocab_size=data.vocab_size, n_layers=2, n_heads=2, d_model=16, n_ctx=25)
    )
    folder, probe = tmp_path_factory.mktemp("run") / "run", data.epoch(20)[0].tokens[0]
    watch = views.TrainingView(probe, tokenizer=data.tokenizer)
    for _ in tl.train(
        model,
        data.batches(8, seed=0),
        steps=20,
        run=folder,
        snapshot_every=2,
        probe=probe,
        watch=watch,
    ):
        pass
    return views.RunView(folder, tokenizer=data.tokenizer), watch


def patches():
    view = views.PatchView(tl.ImageModel(vision(num_labels=3), name="small"), picture())
    view.every_head()
    view.edits = [tl.ablate(1, 1), tl.knock_out(1, 0, query=0, key=6)]
    return view


def spectrogram():
    model = whisper(sharpness=6)
    view = views.SpectrogramView(model, chirp(), sampling_rate=RATE, target=TARGET, labels=WORDS)
    view.every_head()
    cut = [tl.knock_out(1, 0, query=1, key=k, kind="cross") for k in range(34, 38)]
    view.edits, view.span = [tl.ablate(1, 1, kind="cross"), *cut], (10, 19)
    return view


def patching():
    view = views.PatchingView(tl.shipped("manual"), CODE, CODE.replace(".keys", ".names"))
    view.measure("z")
    view.site = "k"
    return view


def flow():
    """A FlowView with a circuit laid over it, and an edge cut."""
    model = tl.shipped("manual")
    circuit = tl.circuit(model, CODE, OTHER, n=12, by="eap", draws=2)
    return views.FlowView(model.trace(CODE), circuit=circuit, cuts=[(2, 2, 14, 5)])


@pytest.fixture(scope="module")
def page_of(run):
    """page_of("head"): a view's page, generated once for this file."""
    model = tl.shipped("manual")
    trace = model.trace(CODE)
    made = {
        "head": lambda: views.HeadView(trace, layer=2, head=2),
        "explorer": lambda: views.Explorer(model, CODE, edits=[tl.ablate(0, 1)]),
        "flow": flow,
        "residual": lambda: views.ResidualView(trace),
        "why": lambda: views.WhyView(trace, 2, 2, 14, 5),
        "cloud": lambda: views.CloudView(trace, 2, 2, colour="attention"),
        "block": lambda: views.BlockView(trace, 2, 2, 14),
        "model": lambda: views.ModelView(trace, edits=[tl.ablate(2, 2)]),
        "compare": lambda: views.CompareView(trace, model.trace(OTHER)),
        "position": lambda: views.PositionView("rotary"),
        "mix": lambda: views.MixView(
            ["the", "cat", "drank"], [0, 6, 0], [[0, 0], [4, 0], [1, 3]], query="its", d=4
        ),
        "patches": patches,
        "embedding": lambda: views.EmbeddingView(trace),
        "spectrogram": spectrogram,
        "patching": patching,
        "training": lambda: run[1],
        "run": lambda: run[0],
    }
    return cache(lambda name: made[name]().to_html())


@pytest.mark.parametrize("name", NAMES)
def test_nothing_serious_for_axe(open_page, accessible, page_of, name, screenshot):
    page = open_page(page_of(name), scheme="dark", width=1200)
    for closed in page.locator("details:not([open]):not(.tl-popover) > summary:visible").all():
        closed.click()
    for scheme, width, height in (("dark", 1200, 950), ("light", 700, 950), ("light", 390, 844)):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_selector(f"#tl-root [data-theme={scheme}], #tl-root[data-theme={scheme}]")
        resized(page, width, height)
        accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        screenshot(page, f"every-{name}-{scheme}-{width}", full_page=True)


# Interactive elements with the role of an image, and labels with a double full stop.
NAMED = """() => [...document.querySelectorAll("#tl-root [role=img][tabindex], #tl-root [aria-label]")]
    .filter((part) => part.matches("[role=img][tabindex]") || /\\.\\.(?!\\.)/.test(part.ariaLabel.replaceAll("...", "…")))
    .map((part) => part.outerHTML)"""


# The bottom of the first sentence about the view, and the top of its first figure.
ABOVE = """() => {
    const seen = (what) => [...document.querySelectorAll(what)].map((part) => part.getBoundingClientRect()).filter(({ width, height }) => width > 60 && height);
    return [seen("[data-part$=sentence]")[0].bottom, Math.min(...seen("canvas, .tl-plot, .tl-space").map(({ top }) => top))];
}"""


COLOURED = """() => [...document.querySelectorAll("#tl-root [style*=background]:not(.tl-token)")].map((part) => {
    const { backgroundColor, backgroundImage, color } = getComputedStyle(part);
    return [part.className, backgroundColor, backgroundImage, part.textContent && color];
})"""

# A cloud is drawn last; if it cannot be turned, a sentence says so.
IN_SPACE = """() => document.querySelector("[data-space='1']")
    || document.body.innerText.includes("two projections are shown")"""


@pytest.mark.parametrize("name", NAMES)
def test_a_page_says_what_it_shows_and_in_forced_colours_still_shows_it(open_page, page_of, name):
    """It has a name, and its sentence comes before its figures; interactive ones do not have an
    image's role, and their labels are sentences. Map ramps, head dots and table cells keep their
    colours: a map means nothing without them."""
    page = open_page(page_of(name))
    assert page.locator("main :is(h1, [role=heading][aria-level='1'])").count() == 1
    title = page.title().split(" · ")
    assert title[-1] == "Transformer Lab" and len(title) > 2
    if name == "explorer":  # the sentence of the chosen head is part of the name
        page.wait_for_function(
            "() => document.querySelector('[data-part=thumbnails]').ariaLabel.includes('likely: ')"
        )
    assert page.evaluate(NAMED) == []
    if name == "embedding":
        page.wait_for_function(IN_SPACE)
    own = page.evaluate(COLOURED)
    page.emulate_media(forced_colors="active")
    assert page.evaluate("matchMedia('(forced-colors: active)').matches")
    assert page.evaluate(COLOURED) == own
    page.emulate_media(forced_colors="none")
    for width in (1200, 390):
        resized(page, width, 900)
        said, drawn = page.evaluate(ABOVE)
        assert said <= drawn, width
        save = page.locator("[data-part=save]").first.bounding_box()
        assert width - save["x"] - save["width"] < 60, width  # at the right, beside the title


@pytest.mark.parametrize("name", ["run", "training"])
def test_a_run_never_scrolls_sideways(open_page, page_of, name):
    page = open_page(page_of(name))
    for width in range(360, 1300, 20):
        resized(page, width, 740)
        room = page.locator("#tl-root").evaluate("root => [root.scrollWidth, root.clientWidth]")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert room[0] == room[1], width


# Chips, sliders, checkboxes and keys on figures, each many times, with short pauses.
STORM = (
    f"async () => {{{REST} const places = {PLACES};"
    + """
    const all = (what) => [...document.querySelectorAll(what)].filter((part) => part.offsetParent);
    let told = 0;
    for (let i = 0; told < 200; i++) {
        const chips = all("[role=radio], input[type=checkbox]");
        const sliders = all("input[type=range]");
        const maps = all("canvas[tabindex='0']");
        if (chips.length) { chips[i % chips.length].click(); told++; }
        if (sliders.length) {
            const slider = sliders[i % sliders.length];
            const [low, high] = [Number(slider.min), Number(slider.max)];
            slider.value = low + (((7 * i) % 11) / 10) * (high - low);
            slider.dispatchEvent(new Event("input"));
            told++;
        }
        if (maps.length) {
            const map = maps[i % maps.length];
            const { left, top } = map.getBoundingClientRect();
            const at = { clientX: left + 40 + (i % 60), clientY: top + 40 + (i % 50), bubbles: true };
            map.dispatchEvent(new PointerEvent("pointermove", at));
            map.dispatchEvent(new KeyboardEvent("keydown", { key: ["ArrowDown", "ArrowRight", "ArrowUp"][i % 3], bubbles: true }));
            told++;
        }
        if (!(chips.length + sliders.length + maps.length)) throw new Error("nothing to touch");
        if (i % 25 === 0) await new Promise((done) => setTimeout(done, 20));
    }
    // Timers end in the order of their times, and none that a view sets for itself is longer than 250 ms.
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 300)));
    let turn = 0;
    await rest(() => (document.querySelector("[data-settled=false]") ? ++turn : places()));
    return told;
}"""
)


# Record each text that a canvas draws, with its colour and the colour of most of what is beneath.
DRAWN = """() => {
    const { fillText } = CanvasRenderingContext2D.prototype;
    const under = (context, text, x, y, room) => {
        const { width, actualBoundingBoxAscent: up, actualBoundingBoxDescent: down, actualBoundingBoxLeft: before } = context.measureText(text);
        const wide = Math.min(width, room ?? Infinity);
        const left = x - (wide * before) / (width || 1);
        const place = context.getTransform();
        const counts = new Map();
        for (let i = 0.5; i < 9; i++) for (let j = 0.5; j < 3; j++) {
            const at = place.transformPoint({ x: left + (i / 9) * wide, y: y - up + (j / 3) * (up + down) });
            const pixel = context.getImageData(at.x, at.y, 1, 1).data.join();
            counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
        }
        const [r, g, b, alpha] = [...counts].sort((a, b) => b[1] - a[1])[0][0].split(",").map(Number);
        return [`rgb(${r},${g},${b})`, alpha / 255];
    };
    window.drawn = [];
    CanvasRenderingContext2D.prototype.fillText = function (text, ...where) {
        if (String(text).trim()) drawn.push([text, this.canvas, under(this, text, ...where), [this.fillStyle, this.globalAlpha]]);
        return fillText.call(this, text, ...where);
    };
}"""

# Those of a contrast below 4.5 (WCAG).
PALE = """async () => {
    await Promise.allSettled(document.getAnimations().map((one) => one.finished));
    const probe = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const luminance = (layers) => {
        for (const [colour, alpha] of layers) {
            Object.assign(probe, { fillStyle: colour, globalAlpha: alpha });
            probe.fillRect(0, 0, 1, 1);
        }
        return [...probe.getImageData(0, 0, 1, 1).data].slice(0, 3).map((c) => c / 255)
            .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4))
            .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0.05);
    };
    const faded = (part) => (part ? getComputedStyle(part).opacity * faded(part.parentElement) : 1);
    const pale = {};
    for (const [text, canvas, [under, ...a], [colour, ...b]] of drawn) {
        const view = canvas.closest?.(".tl-view") ?? document.querySelector(".tl-view");
        // What is drawn apart comes onto any of the view's canvases.
        const seen = Math.min(...(canvas.isConnected ? [canvas] : [...document.querySelectorAll("canvas")]).map(faded));
        const ground = [[getComputedStyle(view).backgroundColor, 1], [under, seen * a]];
        const [dark, light] = [luminance(ground), luminance([...ground, [colour, seen * b]])].sort((x, y) => x - y);
        if (light / dark < 4.5) pale[text] = [(light / dark).toFixed(2), colour, under, seen];
    }
    return pale;
}"""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_on_a_canvas_can_be_read(open_page, page_of, name, scheme):
    """axe does not see it."""
    page = open_page(page_of(name), scheme=scheme)
    page.evaluate(DRAWN)
    resized(page, 700, 900)
    if name == "explorer":  # what is off is marked, not faded
        page.locator("[data-part=head-off]").click()
        page.wait_for_selector(".tl-head-off")
        assert page.evaluate(PALE) == {}
    page.evaluate(STORM)
    resized(page, 1300, 900)
    assert page.evaluate("drawn.length") > 10 or name == "block"  # its numbers are elements
    assert page.evaluate(PALE) == {}


def held(page):
    """(bytes held by scripts, DOM nodes, listeners) after garbage collection."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    usage = session.send("Runtime.getHeapUsage")
    counts = session.send("Memory.getDOMCounters")
    memory = usage["usedSize"] + usage.get("backingStorageSize", 0)
    return memory, counts["nodes"], counts["jsEventListeners"]


@pytest.mark.parametrize("name", NAMES)
def test_events_leave_nothing_behind(open_page, page_of, name):
    page = open_page(page_of(name), alone=True)
    assert page.evaluate(STORM) >= 200  # one-time allocations are done by now
    before = held(page)
    for _ in range(2):
        page.evaluate(STORM)
    memory, nodes, listeners = (b - a for a, b in zip(before, held(page), strict=True))
    assert memory < 3e6
    assert nodes < 200
    assert listeners < 40
    page.keyboard.press("Escape")
    assert page.locator("[data-part=sentence]").first.inner_text()


# Several views in one window, as in a notebook, each given what its page would give it.
TOGETHER = (
    f"async (payloads) => {{{REST} const places = {PLACES};"
    + """
    const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
    const roots = {};
    for (const [name, { state, buffers }] of Object.entries(payloads)) {
        for (const [key, text] of Object.entries(buffers)) state[key] = bytes(text);
        const heard = [];
        const model = {
            get: (key) => state[key], set: (key, value) => { state[key] = value; },
            on: (names, handler) => names === "msg:custom" && heard.push(handler), off() {}, save_changes() {},
            // At once, for a view says after 4 s that nobody answers: too early in a slow window, too late in a fast one.
            send: ({ request }) => queueMicrotask(() => heard.forEach((handler) => handler({ type: "error", message: "not here", request }, []))),
        };
        const style = document.createElement("style");
        style.textContent = state._css;
        document.head.append(style);
        const root = document.createElement("div");
        root.style.width = "1100px";
        document.body.append(root);
        const url = URL.createObjectURL(new Blob([state._esm], { type: "text/javascript" }));
        await (await import(url)).default.render({ model, el: root, signal: new AbortController().signal });
        roots[name] = root;
    }
    const look = (root) => {
        const { left, top } = root.getBoundingClientRect();
        return [root, ...root.querySelectorAll("*")].map((part) => {
            const box = part.getBoundingClientRect();
            const style = getComputedStyle(part);
            const seen = box.width || box.height ? [box.left - left, box.top - top, box.width, box.height] : [];
            const place = seen.map((x) => Math.round(2 * x) / 2);
            const drawn = ["color", "backgroundColor", "font", "padding", "margin", "border", "opacity", "cursor"].map((x) => style[x]);
            return JSON.stringify([part.tagName, String(part.getAttribute("class")), place, drawn]);
        });
    };
    // A background is on its way for a moment, and a cloud says after its first paint how it is drawn.
    const coming = () => document.getAnimations().length || document.querySelector("[data-part=space-note]:empty");
    let turn = 0;
    await rest(() => (coming() ? ++turn : places()));
    return Object.fromEntries(Object.entries(roots).map(([name, root]) => [name, look(root)]));
}"""
)


def test_no_view_changes_another_in_the_same_window(open_page, page_of):
    payloads = {}
    for name in NAMES:
        text = re.search(r'id="tl-state">(.*?)</script>', page_of(name), re.S)[1]
        payloads[name] = {k: v for k, v in json.loads(text).items() if k != "absent"}
    page = open_page(
        "<!DOCTYPE html><html><head></head><body><p>Views</p></body></html>", ready="p"
    )

    def shown(*names):
        """Show views in a fresh window: a reload gives a new document and globals."""
        page.reload()
        assert page.requests.pop() == page.url
        return page.evaluate(TOGETHER, {name: payloads[name] for name in names})

    alone = {}
    for name in NAMES:
        alone |= shown(name)
    for order in (NAMES, NAMES[::-1]):
        found = shown(*order)
        for name in NAMES:
            changed = [
                pair for pair in zip(alone[name], found[name], strict=True) if len({*pair}) > 1
            ]
            assert not changed, "\n".join(map(str, [name, *changed[:3]]))
