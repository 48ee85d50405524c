"""Draw the README's pictures: our own views of a real model, photographed in headless Chromium.

make models && .venv/bin/python docs/make_pictures.py
"""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

import transformer_lab as tl

TEXT = "When Mary and John went to the store, John gave a drink to"
OUT = Path(__file__).parent / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--enable-unsafe-swiftshader"]  # WebGL by software, for the cloud


def main() -> None:
    model = tl.TextModel.from_pretrained("smollm2-135m")
    alone = tl.sweep_heads(model, TEXT)
    layer, head = divmod(int(alone.values.argmin()), alone.values.shape[1])  # missed most
    print(f"P falls most without layer {layer}, head {head}")
    view = tl.views.Explorer(model, TEXT, layer=layer, head=head, edits=[tl.ablate(layer, head)])
    view.selected = (len(view.trace.query_tokens(view.kind)) - 1, None)
    # The first token of this model is so long that it would hide all others.
    cloud = tl.views.EmbeddingView(model.trace(TEXT, keep="all"), without=[0])
    cloud.shows, cloud.colour, cloud.selected = "paths", "position", (13, None)
    shots = {
        "explorer": (view, "[data-ready]", (985, 740), 2),
        "cloud": (cloud, "[data-space='1']", (1200, 800), 1),
    }
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=FLAGS
        )
        for name, (shown, ready, (width, height), scale) in shots.items():
            # However busy the machine is: what each head does is part of the picture.
            options = {"effects": True} if isinstance(shown, tl.views.Explorer) else {}
            page_file = shown.save_html(Path(folder, f"{name}.html"), **options)
            for scheme in ("light", "dark"):
                page = browser.new_page(
                    viewport={"width": width, "height": height},
                    color_scheme=scheme,
                    device_scale_factor=scale,
                )
                page.goto(page_file.as_uri())
                page.wait_for_selector(ready)
                page.wait_for_timeout(500)  # the last frame in space
                page.screenshot(path=OUT / f"{name}-{scheme}.png")
        browser.close()


if __name__ == "__main__":
    main()
