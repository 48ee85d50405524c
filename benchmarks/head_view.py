"""How large and how quick a saved HeadView is: 12 × 12 heads, 512 tokens, d_head 64.

    python benchmarks/head_view.py [--tokens 512] [--layers 12] [--heads 12]

Prints the size of the page, the time to the first heads, the time to switch heads and the number
of DOM nodes in headless Chromium. Weights are random; what a trained model would change is how
well its maps compress, which this page does not rely on.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright

import transformer_lab as tl

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
SWITCH = """async ([layer, head]) => {
    const root = document.querySelector("#tl-root"), start = performance.now();
    root.querySelector(`[data-part=layer] [data-value="${layer}"]`).click();
    root.querySelector(`[data-part=head] [data-value="${head}"]`).click();
    const wanted = `decoder/${layer}/${head}`;
    while (root.dataset.shown !== wanted) await new Promise((r) => setTimeout(r, 1));
    await new Promise((r) => requestAnimationFrame(() => setTimeout(r)));
    return performance.now() - start;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = tl.ModelConfig(
        vocab_size=1000, n_layers=given.layers, n_heads=given.heads, d_model=64 * given.heads,
        n_ctx=given.tokens,
    )  # fmt: skip
    trace = tl.trace(tl.Transformer(config).eval(), torch.randint(0, 1000, (given.tokens,)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "heads.html"
        start = time.perf_counter()
        view = tl.views.HeadView(trace)
        print(f"make the view        {time.perf_counter() - start:8.2f} s")
        start = time.perf_counter()
        view.save_html(path)
        print(f"save the page        {time.perf_counter() - start:8.2f} s")
        print(f"size, every head     {path.stat().st_size / 1e6:8.2f} MB")
        one = view.save_html(Path(folder) / "one.html", layers=[0])
        print(f"size, one layer      {one.stat().st_size / 1e6:8.2f} MB")
        state = sum(len(v) for v in view.get_state().values() if isinstance(v, bytes))
        print(f"state in a notebook  {state / 1e6:8.2f} MB (other heads on demand)")
        measure(path, given)


def measure(path: Path, given: argparse.Namespace) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given.chromium, args=FLAGS)
        firsts = []
        for _ in range(5):
            page = browser.new_page(viewport={"width": 1300, "height": 950})
            page.add_init_script(
                "new MutationObserver(() => { const r = document.querySelector('[data-ready]');"
                " if (r && !window.firstHeads) window.firstHeads = performance.now(); })"
                ".observe(document, {subtree: true, attributes: true, childList: true});"
            )
            page.goto(path.as_uri(), wait_until="commit")
            page.wait_for_selector("[data-ready]", timeout=120_000)
            firsts.append(page.evaluate("window.firstHeads") / 1000)
            page.wait_for_load_state("load")
            last = page
            if len(firsts) < 5:
                page.close()
        print(
            f"first heads          {statistics.median(firsts):8.3f} s (median of 5: {[round(f, 3) for f in firsts]})"
        )
        spots = [(i * 5 % given.layers, i * 7 % given.heads) for i in range(1, 21)]
        times = [last.evaluate(SWITCH, list(spot)) / 1000 for spot in spots]
        print(
            f"head switch          {statistics.median(times):8.3f} s (20 switches, largest {max(times):.3f})"
        )
        print(f"DOM nodes            {last.evaluate('document.querySelectorAll(`*`).length'):8d}")
        browser.close()


if __name__ == "__main__":
    main()
