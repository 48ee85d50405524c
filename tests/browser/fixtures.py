"""Chromium and JupyterLab for tests. The conftest of each folder that needs them imports them;
tests/conftest.py imports what starts once for all folders."""

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

import nbformat
import pytest

from tests.browser.rest import grid_at_rest
from tests.kernels import FORKED
from tests.missing import need
from tests.ports import free_port
from transformer_lab.doctor.report import chromium
from transformer_lab.views.shared.modules import VIEWS

ARTIFACTS = Path(__file__).parent / "artifacts"
UNWANTED = [
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable",
    "LensOverlay",
    "MediaRouter",
    "PaintHolding",
    "ThirdPartyStoragePartitioning",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "OptimizationHints",
    "NetworkTimeServiceQuerying",
    "AimEnabled",
    "PreconnectToSearch",
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxFullPopup",
]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # WebGL in software
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Only the last such list counts: Playwright's, and a renderer for each window's address bar.
    "--disable-features=" + ",".join(UNWANTED),
]


@pytest.fixture(scope="session")
def chromium_of_all():
    """One browser for all files that need it, and the event loop that drives it."""
    need("browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        yield found, loop
        asyncio._set_running_loop(loop)
        found.close()


@pytest.fixture(scope="module")
def browser(chromium_of_all):
    """The browser. During other files' tests its event loop must not seem to run."""
    found, loop = chromium_of_all
    asyncio._set_running_loop(loop)
    yield found
    asyncio._set_running_loop(None)


ALL_TOOLS = "try { localStorage['transformer-lab:tools'] ??= 'all' } catch {}"


def watched(page, **look):
    """Record what a page must not cause: errors, dialogs, requests. Pages show all tools, as if
    chosen before; tests of the entrance show few."""
    page.add_init_script(ALL_TOOLS)
    unmarked(page, **look)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("dialog", lambda dialog: (page.dialogs.append(dialog.message), dialog.dismiss()))
    page.on(
        "request",
        lambda r: r.url.startswith(("blob:", "data:", "about:")) or page.requests.append(r.url),
    )
    return page


def unmarked(page, *, width=1300, height=950, scheme="light", seconds=20):
    """Reset a page to the state in which a test starts, with nothing recorded."""
    page.errors, page.dialogs, page.requests = [], [], []
    page.set_default_timeout(1000 * seconds)
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme, reduced_motion="no-preference", forced_colors="none")
    return page


@pytest.fixture(scope="session")
def tabs(chromium_of_all):
    """Idle pages, for reuse: the most expensive part of a page is its renderer process."""
    return []


@pytest.fixture
def open_page(browser, tabs, tmp_path):
    """Show a view's page (or any file) from file://; no page may cause errors, dialogs or requests.

    `alone`: in a process of its own, for measuring memory. `instead`: a page no longer needed,
    whose process this one takes over.
    """
    pages, own, problems = [], [], []
    opened = 0

    def done(page):
        problems.append((page.errors, page.dialogs, page.requests[1:]))
        if page in own:
            page.close()
        else:
            page.mouse.up()
            page.mouse.move(-1, -1)
            page.goto("about:blank")
            tabs.append(page)

    def open_(source, *, ready="[data-ready]", alone=False, instead=None, **look):
        nonlocal opened
        if instead:
            pages.remove(instead)
            done(instead)
        path = source if isinstance(source, Path) else tmp_path / f"page{opened}.html"
        opened += 1
        if not isinstance(source, Path):
            path.write_text(source, encoding="utf-8")
        if alone or not tabs:
            page = watched(browser.new_page(), **look)
        else:
            page = unmarked(tabs.pop(), **look)
        pages.append(page)
        if alone:
            own.append(page)
        page.goto(path.as_uri())
        page.wait_for_selector(ready)
        return page

    yield open_
    for page in pages:
        done(page)
    assert problems == [([], [], [])] * len(problems), problems


class Map:
    """The large map of a view on a page (or in a frame)."""

    def __init__(self, page):
        self.page, self.canvas = page, page.locator("[data-part=map]")

    def place(self, query, key):
        data = self.canvas.evaluate("c => ({...c.dataset})")
        cell = float(data["cell"])
        left, top = float(data["left"]), float(data["top"])
        return {"x": left + (key + 0.5) * cell, "y": top + (query + 0.5) * cell}

    def hover(self, query, key):
        self.canvas.hover(position=self.place(query, key))
        return self.number()

    def click(self, query, key):
        self.canvas.click(position=self.place(query, key))

    def number(self):
        return self.page.locator("[data-part=number]").inner_text()


def says(page, view):
    """Wait until the page's sentence is the view's."""
    page.wait_for_function(
        "want => document.querySelector('[data-part=sentence]').textContent === want",
        arg=view.sentence,
    )


def part_says(page, name, wanted):
    """Wait until a part with this name has this text."""
    page.wait_for_function(
        "([part, want]) => [...document.querySelectorAll(`[data-part=${part}]`)].some(e => e.textContent === want)",
        arg=[name, wanted],
    )


def without_a_head(page, view, off):
    """Switch the selected head off, as Python does with the edit `off`."""
    page.locator("[data-part=off]").click()
    view.edits = [off]
    says(page, view)
    button = page.locator("[data-part=off]")
    assert button.inner_text() == "Switch this head on again"
    assert button.get_attribute("title") == f"layer {off.layer}, head {off.head}"


def cut_needs_a_notebook(page, view):
    """Check that the page reports a cut that it cannot compute and stays as it was; undo edits."""
    page.wait_for_selector("[data-part=message]:visible")
    assert "need the view in a notebook" in page.locator("[data-part=message]").inner_text()
    says(page, view)
    page.locator("[data-part=remove-all]").click()
    view.edits = []
    says(page, view)


def another_head_by_keys(page, view):
    """Move by keys from layer 1, head 0 up and right in the grid of heads."""
    page.locator("[data-part=heads]").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    view.layer, view.head = 0, 1
    says(page, view)


def choose_head(place, layer, head):
    """Click a head in the grid of a view, a page or a frame."""
    grid = place.locator("[data-part=thumbnails]")
    grid.scroll_into_view_if_needed()
    size = grid_at_rest(grid)
    across, down = float(size["across"]), float(size["down"])
    per_row, heads = int(size["perRow"]), int(size["heads"])
    row, column = divmod(layer * heads + head, per_row)
    grid.click(position={"x": (column + 0.4) * across, "y": (row + 0.6) * down})


# The same as a script in the page: heads(layer, head) clicks one.
HEADS = """const heads = (layer, head) => {
    const grid = document.querySelector("[data-part=thumbnails]");
    const { across, down, perRow, heads } = grid.dataset;
    const cell = layer * heads + Number(head);
    const [row, column] = [Math.floor(cell / perRow), cell % perRow];
    const { left, top } = grid.getBoundingClientRect();
    const at = { clientX: left + (column + 0.5) * across, clientY: top + (row + 0.5) * down };
    grid.dispatchEvent(new MouseEvent("click", { ...at, bubbles: true }));
};"""


# Record the texts that canvases draw in window.written.
WRITTEN = """() => {
    const { fillText } = CanvasRenderingContext2D.prototype;
    window.written = [];
    CanvasRenderingContext2D.prototype.fillText = function (text, ...more) {
        window.written.push(text);
        return fillText.call(this, text, ...more);
    };
}"""


@pytest.fixture
def map_of():
    return Map


@pytest.fixture
def screenshot():
    """Save a screenshot under tests/browser/artifacts, except in CI."""

    def shoot(page, name, **options):
        if os.environ.get("CI"):
            return
        ARTIFACTS.mkdir(exist_ok=True)
        page.screenshot(path=ARTIFACTS / f"{name}.png", **options)

    return shoot


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A JupyterLab with no settings but its own: (url, token, folder)."""
    with jupyter(tmp_path_factory.mktemp("lab"), "jupyterlab") as found:
        yield found


@contextmanager
def jupyter(root, application):
    """JupyterLab or Notebook 7 in a folder: (url, token, folder)."""
    need("browser")
    hidden = root / ".jupyter"
    shipped = {
        "jupyter_server_config.json": "jupyter_server_config.d",
        "jupyter_lab_defaults.json": "labconfig/default_setting_overrides.d",
    }
    for name, folder in shipped.items():
        (hidden / "config" / folder).mkdir(parents=True)
        shutil.copy(VIEWS / name, hidden / "config" / folder / "transformer_lab.json")
    shutil.copytree(
        VIEWS / "labextension", hidden / "data" / "labextensions" / "transformer-lab-notebooks"
    )
    token = secrets.token_hex(16)
    folders = {
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
    }
    environment = {**os.environ, **{name: str(hidden / part) for name, part in folders.items()}}
    environment |= {"OMP_NUM_THREADS": "1", "JUPYTER_PATH": os.environ[FORKED]}
    command = [
        application,
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        "--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={root}",
        "--expose-app-in-browser",
    ]
    with server(command, f"/api/status?token={token}", root, environment) as url:
        yield url, token, root


@contextmanager
def server(command, status, root, environment):
    """Run `python -m` this command, with a free port for "{port}", and yield its url."""
    with open(root / "server.log", "w") as log:
        for _ in range(5):
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            run = [part.replace("{port}", str(port)) for part in command]
            process = subprocess.Popen(
                [sys.executable, "-m", *run],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment,
            )
            try:
                if _answers(f"{url}{status}", process):
                    yield url
                    return
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)  # its process group: the kernels too
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
    pytest.fail(f"{command[0]} did not start: {(root / 'server.log').read_text()[-2000:]}")


def _answers(url, process):
    """Wait until a server answers; False if another process has its port, or if it ended."""
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=2)
            return True
        except HTTPException:  # the answer is not HTTP
            return False
        except OSError:
            if process.poll() is not None:
                return False
            time.sleep(0.1)
    return False


class Notebook:
    """An open notebook: `page` to look at, `run` to execute code in its kernel."""

    SESSION = "window.jupyterapp.shell.currentWidget.sessionContext"

    def __init__(self, page, path):
        self.page, self.path = page, path

    def run_all(self):
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")

    def command(self, name, **arguments):
        self.page.evaluate(
            "([n, a]) => window.jupyterapp.commands.execute(n, a)", [name, arguments]
        )

    def run(self, code):
        """Run statements in the kernel; returns the repr of the expression on the last line."""
        file = self.path.with_suffix(".answer")
        file.unlink(missing_ok=True)
        lines = code.strip().splitlines()
        store = f"open({str(file)!r}, 'w').write(repr({lines[-1]}))"
        for _ in range(20):  # after an interrupt the kernel drops queued requests
            self.page.evaluate(
                f"async code => {{ await {self.SESSION}.session.kernel.requestExecute({{code}}).done }}",
                "\n".join([*lines[:-1], store]),
            )
            if file.exists():
                return file.read_text()
            time.sleep(0.2)
        raise AssertionError(f"the kernel did not run {code!r}")

    def until(self, code, expected, seconds=20):
        """Wait until an expression has this value: the browser's messages to Python take time."""
        end = time.monotonic() + seconds
        while (found := self.run(code)) != expected:
            assert time.monotonic() < end, f"{code} is {found}, not {expected}"
            time.sleep(0.1)

    def cells(self):
        return self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
        )


# Clear what a notebook leaves in the window: kernels, tabs, and settings made by a test.
LEAVE = """async () => {
    const { commands, serviceManager, shell } = window.jupyterapp;
    for (const widget of [...shell.widgets("main")]) {
        await widget.sessionContext?.shutdown();
        widget.dispose();
    }
    if (document.body.dataset.jpThemeName !== "JupyterLab Light")
        await commands.execute("apputils:change-theme", { theme: "JupyterLab Light" });
    if (shell.leftCollapsed) shell.expandLeft();
    globalThis.transformerLabModels?.clear();
    // What a kernel was still asked is given up just now: it is told in this turn, and not in the next test.
    // Who else holds a connection with it hears that it is gone when JupyterLab asks for all of them.
    await serviceManager.sessions.refreshRunning();
    await serviceManager.kernels.refreshRunning();
    await new Promise((done) => setTimeout(done));
}"""


class Window:
    """A page with JupyterLab, which is loaded once and opens the tests' notebooks in turn."""

    def __init__(self, lab, browser):
        self.url, self.token, self.root = lab
        self.browser, self.page = browser, None

    def open(self, path):
        look = dict(width=1400, height=1000, seconds=60)
        if self.page:
            unmarked(self.page, **look)
        else:
            self.page = watched(self.browser.new_page(), **look)
            self.page.goto(f"{self.url}/lab?token={self.token}&reset")
            self.page.wait_for_function("() => window.jupyterapp?.restored")
        self.page.evaluate(
            """async path => {
                await window.jupyterapp.restored;
                await window.jupyterapp.commands.execute("docmanager:open", { path });
            }""",
            path.name,
        )
        self.page.wait_for_function(
            """path => {
                const open = window.jupyterapp.shell.currentWidget;
                return open?.context?.path === path
                    && open.sessionContext?.session?.kernel?.status === "idle";
            }""",
            arg=path.name,
            timeout=90_000,
        )
        return Notebook(self.page, path)

    def leave(self):
        page, self.page = self.page, None
        try:
            page.mouse.move(-1, -1)  # else it is over the next test's view
            page.evaluate(LEAVE)
            self.page = page  # one that did not respond is not used again
        finally:
            if not self.page:
                page.close()
        assert page.dialogs == []


@pytest.fixture(scope="session")
def window_of_all(lab, chromium_of_all):
    return Window(lab, chromium_of_all[0])


@pytest.fixture
def notebook(window_of_all, browser):
    """Open a notebook of these cells (or a file) in JupyterLab."""
    with notebooks(window_of_all) as open_:
        yield open_


@contextmanager
def notebooks(window):
    """Yield a function that opens a notebook; close the notebook at the end."""
    opened = []

    def open_(*cells, file=None):
        assert not opened, "one at a time: a test looks for views in the whole window"
        path = window.root / f"{secrets.token_hex(4)}.ipynb"
        if file is None:
            made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
            made.metadata.kernelspec = dict(
                name="python3", display_name="Python 3", language="python"
            )
            nbformat.write(made, path)
        else:
            shutil.copy(file, path)
        opened.append(path)
        return window.open(path)

    yield open_
    if opened:
        window.leave()


FIND = """
const book = window.jupyterapp.shell.currentWidget.content;
const index = book.widgets.findIndex(cell => cell.model.sharedModel.id === id);
const cell = book.widgets[index];
"""


class Lesson:
    """A lesson open in JupyterLab, with its cells by id."""

    def __init__(self, opened):
        self.opened, self.page = opened, opened.page

    def run_all(self):
        self.opened.run_all()

    def run(self, id, source=None):
        self.page.evaluate(
            f"""async ([id, source]) => {{ {FIND}
            if (source) cell.model.sharedModel.setSource(source);
            book.activeCellIndex = index; book.deselectAll();
            await window.jupyterapp.commands.execute('notebook:run-cell'); }}""",
            [id, source],
        )

    def run_each(self, *ids):
        """Run only these cells, in turn."""
        for id in ids:
            self.run(id)

    def run_below(self, id):
        """Run a cell and all that follow; returns at once."""
        self.page.evaluate(
            f"id => {{ {FIND} book.activeCellIndex = index; book.deselectAll();"
            " window.jupyterapp.commands.execute('notebook:run-all-below') }",
            id,
        )

    def scroll_to(self, id, block="start"):
        self.page.evaluate(
            f"([id, block]) => {{ {FIND} cell.node.scrollIntoView({{block}}) }}", [id, block]
        )

    def shown(self, id):
        """The text of a cell's output, once it is on the page."""
        self.page.wait_for_function(
            # JupyterLab renders only visible cells, and outputs above may push this one away.
            # An output may be on the page for a moment before it is laid out, without its text.
            # While cells above run, scrolling to it would lay out the notebook five times a second.
            f"""id => {{ {FIND}
            if (!cell.model.outputs.length) return false;
            cell.node.scrollIntoView({{block: "center"}});
            const out = cell.node.querySelector('.jp-OutputArea-output') && cell.node.querySelector('.jp-OutputArea');
            return out && (out.innerText.trim() || out.querySelector('img, svg, picture')) }}""",
            arg=id,
            polling=200,
            timeout=180_000,  # ms: a lesson's cells above it may train
        )
        return self.page.evaluate(
            f"id => {{ {FIND} return cell.node.querySelector('.jp-OutputArea').innerText }}", id
        )

    def shows(self, id, text):
        """Whether a cell's output has this text within 30 seconds."""
        for _ in range(150):
            if text in self.shown(id):
                return True
            self.page.wait_for_timeout(200)
        return False

    def visible_pictures(self, id):
        """Class and alt text of the images that a cell visibly shows."""
        self.shown(id)
        return self.page.evaluate(
            f"""id => {{ {FIND}
            return [...cell.node.querySelectorAll('.tl-picture img')]
              .filter(image => image.offsetWidth > 100).map(image => [image.className, image.alt]) }}""",
            id,
        )

    def view(self, id):
        """The view in a cell's output, once it is drawn."""
        self.scroll_to(id)
        self.page.wait_for_function(
            f"""id => {{ {FIND}
            const view = cell.node.querySelector('.tl-view[data-ready]');
            if (view) view.dataset.cell = id;
            return view }}""",
            arg=id,
        )
        return self.page.locator(f".tl-view[data-cell='{id}']")
