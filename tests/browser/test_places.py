"""Views outside JupyterLab, without network: in Notebook 7, marimo, Colab, JupyterLite and a
learning platform's frame."""

import html
import os
import subprocess
import sys
from base64 import b64encode
from functools import partial
from pathlib import Path
from textwrap import indent

import nbformat
import pytest

import transformer_lab as tl
from tests.browser import colab
from tests.browser.fixtures import Notebook, choose_head, jupyter, server, watched
from tests.browser.test_alive_page import OTHER, WORDS, small
from transformer_lab.views.shared.messages import quoted

EXPLORE = """
import torch, transformer_lab as tl
torch.set_num_threads(1)
view = tl.explore(tl.shipped("manual"), "for key in self.", layer=1, head=1)
"""
MARIMO = f"""
import marimo
app = marimo.App()

@app.cell
def _():
    import marimo as mo
{indent(EXPLORE.strip(), "    ")}
    shown = mo.ui.anywidget(view)
    shown
    return mo, shown, view

@app.cell
def _(mo, shown, view):
    mo.md(f"chosen: {{shown.value['layer']}}.{{shown.value['head']}}, edits: {{len(view.edits)}}")
    return

app.run() if __name__ == "__main__" else None
"""
HEAD_OFF = "[data-part=head-off]"
SAVED = ("book.ipynb", "page.html")
LMS = (  # as Canvas embeds a page; and without an origin, isolated from the platform
    "allow-scripts allow-same-origin allow-forms allow-popups allow-downloads",
    "allow-scripts",
)


@pytest.fixture
def cut_off(browser):
    """Open an address without network: requests beyond this machine are refused and listed."""
    pages = []

    def open_(url, **look):
        page = watched(browser.new_page(), **look)
        pages.append(page)
        page.refused = []

        def answer(route):
            asked = route.request.url
            if asked.startswith(("http://127.0.0.1:", "file:", "data:", "blob:")):
                return route.continue_()
            page.refused.append(asked)
            return route.abort()

        page.route("**", answer)
        page.goto(url)
        return page

    yield open_
    for page in pages:
        page.close()


@pytest.mark.needs("where")
@pytest.mark.timeout(600)
def test_notebook_7(cut_off, tmp_path, screenshot):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"{EXPLORE}view")])
    book.metadata.kernelspec = dict(name="python3", display_name="Python 3", language="python")
    nbformat.write(book, tmp_path / "book.ipynb")
    with jupyter(tmp_path, "notebook") as (url, token, root):
        address = f"{url}/notebooks/book.ipynb?token={token}"
        page = cut_off(address, seconds=200)
        opened = Notebook(page, root / "book.ipynb")
        page.wait_for_function(
            f"() => {Notebook.SESSION.replace('.', '?.')}?.session?.kernel?.status === 'idle'"
        )
        opened.run_all()
        page.wait_for_selector("[data-ready]")
        page.locator(HEAD_OFF).click()
        page.wait_for_selector("[data-edits='1'][data-settled=true]")
        assert opened.run("[e.code() for e in view.edits]") == "['tl.ablate(layer=1, head=1)']"
        screenshot(page, "notebook-7")
        # Saved and reopened: live while the kernel is; then an image that says how to go on.
        opened.command("docmanager:save")
        page.wait_for_function(
            "() => !window.jupyterapp.shell.currentWidget.context.model.dirty", polling=200
        )
        page.goto("about:blank")
        page.goto(address)
        page.wait_for_selector("[data-ready][data-edits='1']")
        page.locator(HEAD_OFF).click()
        page.wait_for_selector("[data-edits='0'][data-settled=true]")
        opened.until("view.edits", "[]")
        page.evaluate(f"() => {Notebook.SESSION}.shutdown()")
        page.goto("about:blank")
        page.goto(address)
        page.get_by_text("To get the interactive view back").wait_for()
        # Notebook's own error, even without a view.
        own = "Cannot read properties of undefined (reading 'schema')"
        assert {*page.errors} <= {own} and page.refused == []


@pytest.mark.needs("where")
@pytest.mark.timeout(600)
def test_marimo(cut_off, tmp_path, screenshot):
    file = tmp_path / "app.py"
    file.write_text(MARIMO)
    command = ["marimo", "run", str(file), "--headless", "--port", "{port}", "--no-token"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CONFIG_HOME": str(tmp_path)}
    with server(command, "/health", tmp_path, environment) as url:
        page = cut_off(url, seconds=200)
        page.locator("[data-ready]").wait_for()
        page.get_by_text("chosen: 1.1, edits: 0").wait_for()
        choose_head(page, 2, 0)
        page.get_by_text("chosen: 2.0, edits: 0").wait_for()  # a cell that reads its value follows
        page.locator(HEAD_OFF).click()
        page.locator("[data-edits='1'][data-settled=true]").wait_for()
        page.locator("[data-part=thumbnails]").hover()
        choose_head(page, 1, 0)
        page.get_by_text("chosen: 1.0, edits: 1").wait_for()
        screenshot(page, "marimo")
        assert page.errors == []


@pytest.mark.needs("where")
@pytest.mark.timeout(600)
def test_a_page_that_marimo_exports(cut_off, tmp_path, screenshot):
    """Its scripts come from marimo's own package, in place of the CDN."""
    import marimo

    page_of_ours = "mo.iframe(view.to_html(), height='900px')"
    text = MARIMO.replace("    shown\n", f"    mo.vstack([shown, {page_of_ours}])\n")
    (tmp_path / "app.py").write_text(text)
    command = ["marimo", "export", "html", "app.py", "-o", "book.html"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CONFIG_HOME": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-m", *command], check=True, cwd=tmp_path, env=environment, timeout=200
    )
    page = cut_off("about:blank", seconds=60)
    scripts = Path(marimo.__file__).parent / "_static"
    allowed = {"access-control-allow-origin": "*"}
    page.route(
        "https://cdn.jsdelivr.net/npm/@marimo-team/frontend@*/dist/**",
        lambda route: route.fulfill(
            path=scripts / route.request.url.split("/dist/")[1], headers=allowed
        ),
    )
    page.goto((tmp_path / "book.html").as_uri())
    # Our page in a frame has its model: it is live.
    ours = page.frame_locator("iframe")
    ours.locator("[data-ready]").wait_for()
    ours.locator(HEAD_OFF).click()
    ours.locator("[data-edits='1'][data-settled=true]").wait_for()
    # A view in marimo's page has no kernel: what is saved works, and it says why the rest does not.
    page.locator("[data-ready]").wait_for()
    choose_head(page, 2, 0)
    page.locator("[data-shown='decoder/2/0']").wait_for()
    page.locator(HEAD_OFF).click()
    page.locator("[data-part=standby]", has_text="The kernel is busy or gone").wait_for()
    screenshot(page, "marimo-exported", full_page=True)
    assert page.errors == page.refused == []


@pytest.mark.needs("where")
@pytest.mark.timeout(600)
def test_jupyterlite(cut_off, tmp_path, screenshot):
    """Torch does not run in a browser, so there is no kernel: a notebook shows its saved images,
    and our page brings its model."""
    files = tmp_path / "files"
    files.mkdir()
    view = tl.explore(small("decoder"), WORDS, layer=1, head=1)
    view.save_html(files / SAVED[1], model=True)
    data, metadata = view._repr_mimebundle_()
    view.close()
    data["image/png"] = b64encode(data["image/png"]).decode()
    output = nbformat.v4.new_output("display_data", data=data, metadata=metadata)
    cell = nbformat.v4.new_code_cell("view", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), files / SAVED[0])
    build = ["jupyterlite_core", "build", f"--contents={files}", "--output-dir=site"]
    command = [sys.executable, "-m", *build]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=200, stdout=subprocess.DEVNULL)
    address = ["http.server", "{port}", "--bind=127.0.0.1", "-d", str(tmp_path / "site")]
    with server(address, "/lab/index.html", tmp_path, {**os.environ}) as url:
        book, page = (cut_off(f"{url}/lab/index.html?path={x}", seconds=60) for x in SAVED)
        book.locator(".jp-Dialog-button.jp-mod-reject", has_text="No Kernel").click()
        book.get_by_text("To get the interactive view back").wait_for()
        assert "layer 1, head 1" in book.locator(".jp-OutputArea img").get_attribute("alt").lower()
        page.get_by_text("Trust HTML", exact=True).click()
        ours = page.frame_locator("iframe")
        ours.locator(HEAD_OFF).click()
        ours.locator("[data-edits='1'][data-settled=true]").wait_for()
        screenshot(page, "jupyterlite")
        assert book.errors == page.errors == book.refused == page.refused == []


@pytest.mark.needs("colab")
@pytest.mark.timeout(600)
def test_colab(cut_off, lab, screenshot):
    page = cut_off("about:blank", seconds=40)
    with colab.kernel(lab) as address:
        colab.frame(page, lab)
        page.evaluate("address => { globalThis.colab = new Colab(address) }", address)
        run = partial(page.evaluate, "code => colab.run(code)")
        run(f"{colab.RUNTIME}{EXPLORE}view")
        # Colab shows third-party widgets with the manager that their output names.
        shown = page.evaluate("colab.views.at(-1)")
        manager = shown["metadata"]["application/vnd.jupyter.widget-view+json"]["colab"]
        assert manager == {"custom_widget_manager": {"url": colab.THEIRS}}
        page.evaluate(
            "id => render(colab, id, document.querySelector('#output'))", shown["model_id"]
        )
        page.locator("[data-ready]").wait_for()
        choose_head(page, 2, 0)
        page.locator("[data-shown='decoder/2/0']").wait_for()
        page.locator(HEAD_OFF).click()
        page.locator("[data-edits='1'][data-settled=true]").wait_for()
        run("assert str(view.edits) == '[tl.ablate(layer=2, head=0)]', view.edits")
        page.locator("[data-part=text]").fill("import os")
        page.locator("[data-part=text]").press("Enter")
        page.locator("[data-part=strip-text]", has_text="import").wait_for()
        run("assert view.text == 'import os', view.text")
        screenshot(page, "colab")
        assert page.errors == page.refused == []


def test_a_page_in_the_frame_of_a_learning_platform(open_page):
    view = tl.explore(small("decoder"), WORDS, layer=1, head=1)
    text = html.escape(view.to_html(), quote=True)
    frames = [
        f'<iframe sandbox="{allowed}" width=1200 height=900 srcdoc="{text}"></iframe>'
        for allowed in LMS
    ]
    page = open_page(f"<!DOCTYPE html><meta charset=utf-8>{''.join(frames)}", ready="iframe")
    off, typed = tl.ablate(1, 1), OTHER
    for frame, allowed in zip(page.frames[1:], LMS, strict=True):
        view.text, view.edits = WORDS, [off]
        frame.wait_for_selector("[data-ready]")
        frame.locator(HEAD_OFF).click()
        frame.wait_for_selector("[data-edits='1'][data-settled=true]")
        said = frame.locator("[data-part=effect]").inner_text()
        assert said.startswith(view._outcome["sentence"].split(" Overall change")[0])
        frame.locator("[data-part=text]").fill(typed)
        frame.locator("[data-part=text]").press("Enter")
        # A frame without an origin stores no tools; with few, a text starts without edits.
        view.edits, view.text = [off] if "same-origin" in allowed else [], typed
        said = view._outcome["sentence"].split(" Overall change")[0]
        said = said if view.edits else f"the model guesses {quoted(view._outcome['rows'][0][0])}"
        frame.locator("[data-part=effect]").filter(has_text=said).wait_for()
    view.close()
