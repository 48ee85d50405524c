"""Make the screenshots of README and docs: our own views in headless Chromium.

make models && .venv/bin/python docs/make_pictures.py [NAME …]
"""

import sys
import tempfile
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright

import transformer_lab as tl
from transformer_lab.doctor.report import chromium

TEXT = "When Mary and John went to the store, John gave a drink to"
OUT = Path(__file__).parent / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--enable-unsafe-swiftshader"]  # WebGL by software, for the cloud


def explorer():
    """The Explorer at an induction head, with the head it depends on ablated."""
    text = 'The method "format()" takes a list; the method "'
    return tl.views.Explorer(tl.shipped("manual"), text, layer=2, head=2, edits=[tl.ablate(1, 2)])


def cloud():
    model = tl.TextModel.from_pretrained("smollm2-135m")
    # This model's vector of the first token is so long that it would hide all others.
    view = tl.views.EmbeddingView(model.trace(TEXT, keep="all"), without=[0])
    view.shows, view.colour, view.selected = "paths", "position", (13, None)
    return view


def prompts():
    """The two prompts of research.md, and the answer."""
    half = torch.randint(100, 1000, (24,), generator=torch.Generator().manual_seed(0))
    clean = torch.cat((half, half[:12]))
    corrupted = clean.clone()
    corrupted[11] = 300
    return clean, corrupted, int(half[12])


def desk():
    clean, corrupted, answer = prompts()
    view = tl.views.PatchingView(tl.shipped("manual"), clean, corrupted, metric=answer)
    for site in ("resid_pre", "z", "k", "v"):
        view.measure(site)
    view.site, view.layer, view.selected = "resid_pre", 2, (12, None)
    return view


def flow():
    model, (clean, corrupted, answer) = tl.shipped("manual").model, prompts()
    circuit = tl.circuit(model, clean, corrupted, metric=answer, n=10)
    return tl.views.FlowView(tl.trace(model, clean), answer, circuit=circuit, threshold=0.02)


def model():
    """A quotation that one head closes, with that head ablated."""
    trace = tl.shipped("manual").trace('The "with" statement and the "for')
    return tl.views.ModelView(trace, 0, 1, edits=[tl.ablate(0, 1)])


SHOTS = {
    "model": (model, "[data-ready]", (1240, 850), 1),
    "explorer": (explorer, "[data-ready]", (985, 740), 2),
    "cloud": (cloud, "[data-space='1']", (1200, 800), 1),
    "desk": (desk, "[data-ready]", (1200, 600), 1),
    "flow": (flow, "[data-ready]", (1200, 860), 1),
}


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for name in names or SHOTS:
            make, ready, (width, height), scale = SHOTS[name]
            shown = make()
            page_file = shown.save_html(Path(folder, f"{name}.html"))
            for scheme in ("light", "dark"):
                page = browser.new_page(
                    viewport={"width": width, "height": height},
                    color_scheme=scheme,
                    device_scale_factor=scale,
                )
                page.goto(page_file.as_uri())
                page.wait_for_selector(ready)
                page.wait_for_timeout(500)  # for the last frame in 3D
                page.screenshot(path=OUT / f"{name}-{scheme}.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
