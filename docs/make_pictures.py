"""Draw the README's pictures: our own view of a real model, photographed in headless Chromium.

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
    trace = model.trace(TEXT)
    view = tl.views.HeadView(trace, layer=23, head=0)
    view.selected = (len(trace.query_tokens()) - 1, None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder, "heads.html")
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
            page.screenshot(path=OUT / f"smollm2-heads-{scheme}.png", full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
