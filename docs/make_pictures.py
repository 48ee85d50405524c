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


def main() -> None:
    model = tl.TextModel.from_pretrained("smollm2-135m")
    alone = tl.sweep_heads(model, TEXT)
    layer, head = divmod(int(alone.values.argmin()), alone.values.shape[1])  # missed most
    print(f"P falls most without layer {layer}, head {head}")
    view = tl.views.Explorer(model, TEXT, layer=layer, head=head, edits=[tl.ablate(layer, head)])
    view.selected = (len(view._data.queries[view.kind]) - 1, None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder, "explorer.html")
        view.save_html(page_file)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=FLAGS
        )
        for scheme in ("light", "dark"):
            page = browser.new_page(
                viewport={"width": 1200, "height": 800},
                color_scheme=scheme,
                device_scale_factor=1.5,
            )
            page.goto(page_file.as_uri())
            page.wait_for_selector("[data-ready]")
            page.screenshot(path=OUT / f"explorer-{scheme}.png", full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
