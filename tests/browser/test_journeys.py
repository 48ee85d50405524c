"""Readers' journeys in a real JupyterLab and with stock tools."""

import os
import shutil
import subprocess
import sys

import nbformat
import papermill
import pytest

from tests.browser.fixtures import choose_head

TRACE = """
import torch, transformer_lab as tl
torch.set_num_threads(1); torch.manual_seed(0)
words = "The animal did n't cross the street because it was too tired .".split() * {times}
model = tl.Transformer(tl.ModelConfig(vocab_size=50, n_layers=2, n_heads=4, d_model=32, n_ctx=1024)).eval()
trace = tl.trace(model, torch.arange(len(words)) % 50, labels=words)
view = tl.views.HeadView(trace, title="Small decoder")
view
"""


def test_run_all_choose_lock_and_read_it_back(notebook, map_of, screenshot):
    """Run all; click a head; lock a cell; move by arrows; Python knows; dark theme; Python sets."""
    book = notebook(TRACE.format(times=1))
    page = book.page
    book.run_all()
    page.wait_for_selector("[data-ready]")
    grid = page.locator("[data-part=thumbnails]")
    box = grid.bounding_box()
    grid.click(position={"x": box["width"] * 0.6, "y": box["height"] * 0.9})
    page.wait_for_selector("[data-shown='decoder/1/2']")
    the_map = map_of(page)
    the_map.canvas.scroll_into_view_if_needed()
    the_map.hover(8, 1)
    the_map.click(8, 1)
    the_map.canvas.focus()
    cells = book.cells()
    for key in ("ArrowDown", "ArrowRight", "a", "b"):
        page.keyboard.press(key)
    assert book.cells() == cells  # JupyterLab's shortcuts do not fire in the view
    page.mouse.move(2, 2)
    page.wait_for_selector("[data-selected='9,2']")
    book.until("(view.layer, view.head, view.selected)", "(1, 2, (9, 2))")
    assert book.run("f'{trace.pattern(1, 2)[9, 2]:.4f}'").strip("'") == the_map.number()
    sentence = page.locator("[data-part=sentence]").inner_text()
    assert book.run("view.sentence").strip("'\"") == sentence
    # The corner that no query can attend to is nearly as light or dark as the background.
    corner = """canvas => {
        const {width, height} = canvas;
        const {data} = canvas.getContext("2d").getImageData(0.96 * width, 0.3 * height, 1, 1);
        return data[3] * (data[0] + data[1] + data[2]) / 765;
    }"""
    assert the_map.canvas.evaluate(corner) > 180
    screenshot(page, "lab-light")
    book.command("apputils:change-theme", theme="JupyterLab Dark")
    page.wait_for_selector("[data-theme=dark]")
    page.wait_for_selector("#jupyterlab-splash", state="detached")
    page.wait_for_function(  # the theme's colours load a moment after its name
        f"() => ({corner})(document.querySelector('[data-part=map]')) < 80"
    )
    screenshot(page, "lab-dark")
    book.run("view.selected = (4, None)\nNone")
    page.wait_for_selector("[data-selected='4,']")
    book.run("view.head = 0\nNone")
    page.wait_for_selector("[data-shown='decoder/1/0']")
    assert page.errors == []


def test_long_text_on_demand_and_without_a_kernel(notebook, map_of):
    """Heads that are not on the first screen come from Python; without it, the view says so."""
    book = notebook(TRACE.format(times=50))
    page = book.page
    book.run_all()
    page.wait_for_selector("[data-ready]")
    choose_head(page, 0, 3)
    page.wait_for_selector("[data-shown='decoder/0/3']")
    the_map = map_of(page)
    the_map.canvas.scroll_into_view_if_needed()
    the_map.click(600, 300)
    selected = page.locator("[data-selected]").get_attribute("data-selected")
    weight = float(book.run(f"float(trace.pattern(0, 3)[{selected}])"))
    error = float(book.run("view.heads.data.head('decoder', 0, 3).info['error']"))
    assert abs(float(the_map.number()) - weight) <= 4 * error + 5e-4
    page.evaluate(
        "async () => { await window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.shutdown() }"
    )
    choose_head(page, 1, 3)
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-part=standby], [data-part=message]')]"
        ".some(e => !e.hidden && /The kernel is (busy or )?gone|cannot be shown/.test(e.textContent))"
    )
    choose_head(page, 0, 3)
    page.wait_for_selector("[data-part=busy]", state="hidden")


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A notebook as papermill saves it, with the views' state."""
    folder = tmp_path_factory.mktemp("executed")
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(TRACE.format(times=1))])
    made.metadata.kernelspec = dict(name="python3", display_name="Python 3", language="python")
    nbformat.write(made, folder / "in.ipynb")
    papermill.execute_notebook(
        folder / "in.ipynb", folder / "out.ipynb", store_widget_state=True, progress_bar=False
    )
    return folder / "out.ipynb"


def test_reopened_untrusted_shows_the_picture(notebook, executed, screenshot):
    book = notebook(file=executed)
    image = book.page.locator(".jp-OutputArea-output img")
    image.wait_for()
    assert image.evaluate("i => i.naturalWidth") > 800
    screenshot(book.page, "lab-untrusted")


def test_stock_nbconvert_with_no_network_shows_live_heads(executed, open_page, map_of, tmp_path):
    command = [
        sys.executable,
        "-m",
        "jupyter",
        "nbconvert",
        "--to",
        "html",
        str(executed),
        "--output-dir",
        str(tmp_path),
    ]
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path / "none")}
    unshare = shutil.which("unshare")
    if unshare and subprocess.run([unshare, "-rn", "true"], capture_output=True).returncode == 0:
        command = [unshare, "-rn", *command]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert run.returncode == 0, run.stderr
    page = open_page(tmp_path / "out.html", ready="iframe")
    frame = page.frame_locator("iframe")
    frame.locator("[data-ready]").wait_for()
    choose_head(frame, 0, 2)
    frame.locator("[data-shown='decoder/0/2']").wait_for()
    # nbconvert's own page requests MathJax and require.js; our frames request nothing.
    page.requests[1:] = [r for r in page.requests[1:] if "cdnjs" not in r and "jsdelivr" not in r]


TRAINING = """
import torch, transformer_lab as tl
torch.set_num_threads(1); torch.manual_seed(0)
class Counting:
    def batch(self, step):
        start = torch.randint(0, 20, (4, 1), generator=torch.Generator().manual_seed(step))
        tokens = (start + torch.arange(9)) % 20
        return tl.datasets.Batch(tokens=tokens[:, :-1], targets=tokens[:, 1:])
model = tl.Transformer(tl.ModelConfig(vocab_size=20, n_layers=2, n_heads=2, d_model=16, n_ctx=16))
watch = tl.views.TrainingView(torch.arange(6))
for step in tl.train(model, Counting(), steps=100_000, watch=watch):
    pass
"""


def test_training_is_live_and_interrupt_keeps_it(notebook, screenshot):
    book = notebook(TRAINING, "after = True")
    page = book.page
    book.run_all()
    page.wait_for_selector("[data-ready]")
    page.wait_for_selector("[data-state=training]")
    page.wait_for_function(
        "() => /^The heads on the probe, at step \\d{2,}/.test(document.querySelector('[data-part=note]')?.textContent)"
    )
    screenshot(page, "lab-training")
    page.evaluate(
        "async () => { await window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt() }"
    )
    page.wait_for_selector("[data-state=stopped]")
    headline = page.locator("[data-part=headline]").last.inner_text()
    # The interrupt may come between the update of the weights and that of the history.
    steps = int(book.run("len(watch.history)"))
    said = [f"Training stopped at step {n}; history kept." for n in (steps, steps + 1)]
    assert headline in said
    assert book.run("'after' in globals()") == "False"
    screenshot(page, "lab-training-stopped")
