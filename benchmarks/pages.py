"""From typing, a click on a head or a click on an edge to the prediction, in a page with its model.

Nothing but a browser and the page: no kernel, no network. The shipped model reads 53 tokens. Every
text and every click requests something new, so that no answer is cached. The time runs from the key or
the click to the paint of the first predictions that differ from those before. MiniLM's shape (6
layers, 12 heads, d 384, 30,522 words, no head for predictions) has random weights; there the time ends
with the paint of the new text's maps. SmolLM2-135M's shape (Hugging Face's Llama with 30 layers, 9
heads over 3 of keys, d 576, 49,152 words) has random weights in 8 bits; in 32 bits a pass in node takes
turns with PyTorch's on one thread. All bars assume two idle cores; each row reports the load.

For comparison: Transformer Explainer (Cho et al. 2024, arXiv 2408.04619) runs the whole of GPT-2
(small, 124 million parameters) in a page. According to its source, the page downloads 63 parts of
10 MiB for it. Abstract and README publish no time to the first prediction.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

import transformer_lab as tl
from transformer_lab.adapters.lookup import network_of
from transformer_lab.adapters.network import Inputs
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views.pages.carried import config_of, exported_of

from .browser import launch, megabytes, show_tools
from .report import Clock, Row, at_most

TOKENS, TURNS, LOADS = 53, 20, 5
WORDS, READ = 30_522, 12
LARGE_WORDS, LARGE_READ = 49_152, 14
PASSES, WARM_UP = 14, 3
SETTLE = 1500  # ms: by then the page has finished its own measurements of a text
OPENED = """(() => {
    const look = () => document.querySelector("[data-ready]")
        ? requestAnimationFrame(() => setTimeout(() => { window.firstHeads = performance.now(); }))
        : setTimeout(look, 5);
    look();
})();"""
# Records the first paint after the value of `read` has changed since the user's last action; a
# change within a frame is painted by that frame.
WATCH = """(name) => {
    const root = document.querySelector(".tl-view-explorer");
    const read = {
        predictions: () => [...root.querySelectorAll("[data-part=predictions] [title]")].map((cell) => cell.title).join(),
        maps: () => root.dataset.settled === "true" && root.dataset.stamp,
    }[name];
    const acted = () => Object.assign(window, { was: read(), acted: performance.now(), seen: false, painted: 0 });
    for (const act of ["click", "keydown"]) document.addEventListener(act, acted, true);
    const frame = window.requestAnimationFrame.bind(window);
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => { window.painted = performance.now(); };
    let within = false;
    let waits = false;
    const painted = () => {  // a message that is sent within a frame comes after its paint
        if (waits) port2.postMessage(0);
        waits = false;
    };
    window.requestAnimationFrame = (run) => frame((time) => {
        painted();  // before what the page does after the same paint
        within = true;
        setTimeout(() => { within = false; });
        run(time);
    });
    new MutationObserver(() => {
        if (window.seen || !read() || read() === window.was) return;
        window.seen = waits = true;
        if (within) painted();
        else frame(painted);
    }).observe(root, { attributes: true, childList: true, subtree: true });
}"""


def run(options):
    from playwright.sync_api import sync_playwright

    seed = options.seed
    model = tl.shipped("manual")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        with Clock() as clock:
            view = tl.explore(model)
            path = view.save_html(Path(folder) / "shipped.html")
            opened = [first_heads(playwright, path) for _ in range(LOADS)]
            found = measure(playwright, path, texts_of(model, TURNS + 1))
        size = path.stat().st_size / 1e6
        common = dict(seconds=clock.cpu, seed=seed)
        yield at_most(
            "the shipped model’s page", size, 3.5, unit="MB", note=_weights_of(view), **common
        )
        yield _seconds("the shipped model’s page, first heads", opened, 0.3, **common)
        for what, (times, bar) in found.items():
            yield _seconds(
                f"shipped, {TOKENS} tokens, from {what} to the prediction", times, bar, **common
            )
        with Clock() as clock:
            view = tl.explore(like_minilm(seed), words(0, READ))
            path = view.save_html(Path(folder) / "minilm.html", model=True)
            times = read_anew(playwright, path)
        common = dict(seconds=clock.cpu, seed=seed)
        size = path.stat().st_size / 1e6
        yield Row(
            "a page of MiniLM’s shape",
            round(size, 1),
            "MB",
            None,
            None,
            round(clock.cpu, 1),
            seed,
            note=_weights_of(view),
        )
        yield _seconds(
            f"MiniLM’s shape, {READ} tokens, from a typed text to its maps", times, 1.5, **common
        )
        yield from of_smollm2(playwright, folder, seed)
        yield in_32_bits(Path(folder), seed)


def of_smollm2(playwright, folder: str, seed: int):
    """Rows of a Hugging Face model in 8 bits: its page, a text, a click on a head, and memory."""
    with Clock() as clock:
        view = tl.explore(like_smollm2(seed), words(0, LARGE_READ))
        path = view.save_html(Path(folder) / "smollm2.html", model=True, precision="int8")
        typed, heads, memory = measure_large(playwright, path)
    common = dict(seconds=clock.cpu, seed=seed)
    what = f"SmolLM2-135M’s shape in 8 bits, {LARGE_READ} tokens"
    size = round(path.stat().st_size / 1e6, 1)
    yield Row(f"a page of {what}", size, "MB", None, None, round(clock.cpu, 1), seed)
    yield _seconds(f"{what}, from a typed text to the prediction", typed, 0.5, **common)
    yield _seconds(f"{what}, from a click on a head to the prediction", heads, 0.4, **common)
    if memory is not None:
        note = "all processes of the browser, less those of an empty page"
        yield at_most(f"{what}, memory of the page", memory, 500, unit="MB", note=note, **common)


def in_32_bits(folder: Path, seed: int) -> Row:
    """CPU time of a pass of SmolLM2's shape in node, over PyTorch's on one thread."""
    name = f"SmolLM2-135M’s shape in 32 bits, {LARGE_READ} tokens, a pass in node / in PyTorch"
    if not shutil.which("node"):
        return Row(name, "no node on this machine", "", "≤ 1.6", None, 0, seed)
    model, threads = like_smollm2(seed), torch.get_num_threads()
    tokens = torch.as_tensor(model.encode(words(0, LARGE_READ))).reshape(1, -1)
    with Clock() as clock:
        graph = exported_of(model)
        config = config_of(network_of(model.model), graph, Inputs(tokens))
        about = {"config": config, "graph": graph.description(), "tokens": tokens[0].tolist()}
        (folder / "model.json").write_text(json.dumps(about))
        weights = {key: x.detach().float().contiguous() for key, x in graph.weights.items()}
        save_file(weights, folder / "model.safetensors")
        command = ["node", str(Path(__file__).parent / "one_pass.mjs"), str(folder)]
        pipe = subprocess.PIPE
        torch.set_num_threads(1)
        times = []
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as node, torch.no_grad():
            assert node.stdin is not None and node.stdout is not None
            for _ in range(PASSES):
                started = time.process_time()
                logits = model.model(tokens).logits[0, -1]
                seconds = time.process_time() - started
                print(file=node.stdin, flush=True)
                told = json.loads(node.stdout.readline())
                assert abs(told["largest"] - float(logits.max())) < 1e-4
                times.append((told["seconds"], seconds))
            node.stdin.close()
        torch.set_num_threads(threads)
    times = times[WARM_UP:]
    ours, theirs = (statistics.median(x[i] for x in times) for i in (0, 1))
    ratio = statistics.median(a / b for a, b in times)
    note = (
        f"{ours:.3f} and {theirs:.3f} CPU s, median of {len(times)}; load {os.getloadavg()[0]:.1f}"
    )
    return at_most(name, ratio, 1.6, unit="×", note=note, seconds=clock.cpu, seed=seed)


def _weights_of(view) -> str:
    """The precision of the weights in a page, as `precision="auto"` chose it."""
    return f"weights in {view.carried.bits} bits"


def _seconds(name: str, times: list[float], bar: float, **common) -> Row:
    note = f"median of {len(times)}, largest {max(times):.3f} s; load {os.getloadavg()[0]:.1f}"
    return at_most(name, statistics.median(times), bar, unit="s", note=note, **common)


def texts_of(model: tl.TextModel, count: int) -> list[str]:
    """Pieces of Python code, which the shipped model was trained on, each of the same number of tokens."""
    source = Path(statistics.__file__).read_text("utf-8")[8000:]
    found = []
    for _ in range(count):
        end = next(n for n in range(TOKENS, 10 * TOKENS) if len(model.encode(source[:n])) == TOKENS)
        found.append(source[:end])
        source = source[end:]
    return found


def words(first: int, count: int) -> str:
    return " ".join(f"w{i}" for i in range(first, first + count))


def like_minilm(seed: int) -> tl.TextModel:
    """A random model in the shape of all-MiniLM-L6-v2."""
    torch.manual_seed(seed)
    tokenizer = WordTokenizer.train(words(0, WORDS - 6))
    config = tl.ModelConfig(
        kind="encoder",
        vocab_size=WORDS,
        n_layers=6,
        n_heads=12,
        d_model=384,
        d_ff=1536,
        n_ctx=512,
        norm_first=False,
        head=False,
    )
    return tl.TextModel(tl.Transformer(config).eval(), tokenizer, "MiniLM’s shape")


def like_smollm2(seed: int) -> tl.TextModel:
    """A random model in the shape of SmolLM2-135M."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    tokenizer = WordTokenizer.train(words(0, LARGE_WORDS - 6))
    config = LlamaConfig(
        vocab_size=LARGE_WORDS,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    return tl.TextModel(LlamaForCausalLM(config).eval(), tokenizer, "SmolLM2’s shape")


def measure_large(playwright, path: Path) -> tuple[list[float], list[float], float | None]:
    """Seconds for texts and for clicks on heads, and megabytes of memory."""
    browser = launch(playwright)
    page = browser.new_page(viewport={"width": 1300, "height": 950})
    page.set_default_timeout(120_000)
    empty = megabytes(browser)
    page.goto(path.as_uri())
    page.wait_for_selector("[data-ready]")
    page.evaluate(WATCH, "predictions")
    box = page.locator("[data-part=text]")
    given = [words(LARGE_READ * i, LARGE_READ) for i in range(1, 7)]
    typed = [typing(page, box, text) for text in given][1:]
    show_tools(page)
    page.locator("[data-part=tool] [data-value=off]").click()
    grid = page.locator("[data-part=thumbnails]")
    size = numbers(grid, "heads", "across", "down")
    places = [
        {"x": (i % size["heads"] + 0.4) * size["across"], "y": (i + 0.6) * size["down"]}
        for i in range(5)
    ]
    heads = [timed(page, lambda at=at: grid.click(position=at)) for at in places]
    used = megabytes(browser)
    browser.close()
    return typed, heads, None if used is None or empty is None else used - empty


def first_heads(playwright, path: Path) -> float:
    """Seconds from the start of the page to the paint of its heads, in a new browser."""
    browser = launch(playwright)
    page = browser.new_page(viewport={"width": 1300, "height": 950})
    page.add_init_script(OPENED)
    page.goto(path.as_uri(), wait_until="commit")
    page.wait_for_function("() => window.firstHeads")
    seconds = page.evaluate("window.firstHeads") / 1000
    browser.close()
    return seconds


def measure(playwright, path: Path, texts: list[str]) -> dict[str, tuple[list[float], float]]:
    """Action of the user -> (its times in seconds, its bar)."""
    browser = launch(playwright)
    page = browser.new_page(viewport={"width": 1300, "height": 950})
    page.goto(path.as_uri())
    page.wait_for_selector("[data-ready]")
    page.evaluate(WATCH, "predictions")
    box = page.locator("[data-part=text]")
    typed = [typing(page, box, text) for text in texts][
        1:
    ]  # the first one waits for the engine too
    show_tools(page)
    page.locator("[data-part=tool] [data-value=cut]").click()
    canvas = page.locator("[data-part=map]")
    edges = []  # before the heads, because a head that is off has no edges to cut
    for i in range(TURNS):
        place = numbers(canvas, "cell", "left", "top")
        at = {
            "x": place["left"] + (i + 0.5) * place["cell"],
            "y": place["top"] + (TOKENS - 0.5) * place["cell"],
        }
        edges.append(timed(page, lambda at=at: canvas.click(position=at)))
    show_tools(page)
    page.locator("[data-part=tool] [data-value=off]").click()
    grid = page.locator("[data-part=thumbnails]")
    size = numbers(grid, "heads", "across", "down")
    layers = round(grid.bounding_box()["height"] / size["down"])
    heads = []
    for i in range(TURNS):
        at = {
            "x": (i % size["heads"] + 0.4) * size["across"],
            "y": (i * layers // TURNS + 0.6) * size["down"],
        }
        heads.append(timed(page, lambda at=at: grid.click(position=at)))
    browser.close()
    return {
        "a typed text": (typed, 0.05),
        "a click on a head": (heads, 0.04),
        "a click on an edge": (edges, 0.04),
    }


def read_anew(playwright, path: Path) -> list[float]:
    """Seconds from a typed text to its maps, for a model without predictions."""
    browser = launch(playwright)
    page = browser.new_page(viewport={"width": 1300, "height": 950})
    page.set_default_timeout(120_000)
    page.goto(path.as_uri())
    page.wait_for_selector("[data-ready]")
    page.evaluate(WATCH, "maps")
    box = page.locator("[data-part=text]")
    times = [typing(page, box, words(READ * i, READ)) for i in range(1, 5)][1:]
    browser.close()
    return times


def numbers(canvas, *names: str) -> dict[str, float]:
    """The layout of a canvas's cells, from its data attributes."""
    found = canvas.evaluate("c => ({...c.dataset})")
    return {name: float(found[name]) for name in names}


def typing(page, box, text: str) -> float:
    box.fill(text)
    seconds = timed(page, lambda: box.press("Enter"))
    page.wait_for_timeout(SETTLE)
    return seconds


def timed(page, act: Callable[[], object]) -> float:
    """Seconds from the user's action to the paint of its result."""
    page.evaluate("() => { window.painted = 0; }")
    act()
    page.wait_for_function("() => window.painted > 0", timeout=120_000)
    seconds = page.evaluate("() => (window.painted - window.acted) / 1000")
    page.wait_for_selector("[data-settled=true]")
    return seconds
