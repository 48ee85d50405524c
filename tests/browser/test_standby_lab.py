"""Live views whose kernel is busy, gone or restarted: the page computes what it can, says so, and
Python goes on afterwards."""

import os
import re

import nbformat
import pytest

from tests.browser.fixtures import choose_head
from tests.browser.test_explorer_lab import EXPLORE, TEXT, shown, wait_until

# A kernel with subshells answers a view during a cell, but not while native code holds the
# interpreter: here a call that waits for a writer.
BUSY = """
import ctypes, pathlib
pathlib.Path({started!r}).touch()
ctypes.PyDLL(None).open({pipe!r}.encode(), 0)
"""
ROWS = """from transformer_lab.views.shared.messages import percent
def rows(*edits):
    view.edits = edits
    found = [[r.token, percent(r.before)] + ([] if r.after is None else [percent(r.after)]) for r in view.predictions]
    view.edits = []
    return found
[rows(), rows(tl.ablate(2, 2)), rows(tl.ablate(2, 2), tl.ablate(1, 1))]"""
LINE = "[data-part=standby]:visible"
# `standing.told`: the views that have asked whether the page may take over, and got an answer.
STANDING = """() => {
    const asked = new Map();
    globalThis.standing = { told: new Set() };
    SESSION.session.kernel.anyMessage.connect((_, { direction, msg }) => {
        if (msg.header.msg_type !== "comm_msg") return;
        const { comm_id, data } = msg.content;
        const { type, request, part } = data.content ?? {};
        if (direction === "send" && type === "standby" && part === undefined) asked.set(request, comm_id);
        if (direction === "recv" && asked.has(request)) standing.told.add(asked.get(request));
    });
}"""
HELD = "() => globalThis.transformerLabModels?.size === 1"


def off(page, layer, head, edits):
    choose_head(page, layer, head)
    page.wait_for_selector(
        f"[data-edits='{edits}'][data-settled=true][data-shown='decoder/{layer}/{head}']"
    )


def ready(book):
    """Wait for the view and for its model, which the page fetches while the kernel is idle."""
    page = book.page
    book.run_all()
    page.wait_for_selector("[data-ready]")
    wanted = eval(book.run(ROWS))
    page.wait_for_function(HELD)
    page.locator("[data-part=tool] [data-value=off]").click()
    return page, wanted


def held(book, tmp_path):
    """Block the kernel until the returned pipe is opened for writing."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    book.page.evaluate(
        f"code => {{ {book.SESSION}.session.kernel.requestExecute({{code}}) }}",
        BUSY.format(started=str(tmp_path / "started"), pipe=str(pipe)),
    )
    wait_until((tmp_path / "started").exists)
    return pipe


def test_a_long_cell_stops_no_click(notebook, tmp_path, screenshot):
    book = notebook(EXPLORE)
    page, wanted = ready(book)
    assert page.locator(LINE).count() == 0
    pipe = held(book, tmp_path)
    off(page, 2, 2, 1)
    page.wait_for_selector(LINE)
    assert (
        page.locator(LINE).inner_text()
        == "The kernel is busy or gone: this was computed in the page."
    )
    assert shown(page) == wanted[1] != wanted[0]
    screenshot(page, "standby-light")
    off(page, 1, 1, 2)
    assert shown(page) == wanted[2]
    with open(pipe, "w"):  # the cell goes on, and ends
        pass
    page.wait_for_function("() => document.querySelector('[data-part=standby]').hidden")
    # Python has the edits, and the results are its own.
    assert book.run("view.edits") == "[tl.ablate(layer=2, head=2), tl.ablate(layer=1, head=1)]"
    page.wait_for_selector("[data-edits='2'][data-settled=true]")
    assert shown(page) == wanted[2]
    off(page, 1, 1, 1)
    assert shown(page) == wanted[1] and page.locator(LINE).count() == 0
    assert book.run("view.edits") == "[tl.ablate(layer=2, head=2)]"
    assert page.errors == []


def test_a_dead_kernel_stops_no_click(notebook):
    book = notebook(EXPLORE)
    page, wanted = ready(book)
    page.evaluate(f"async () => {{ await {book.SESSION}.session.kernel.shutdown() }}")
    off(page, 2, 2, 1)
    page.wait_for_selector(LINE)
    assert re.match(
        r"The kernel is (busy or )?gone: this was computed in the page\.",
        page.locator(LINE).inner_text(),
    )
    assert shown(page) == wanted[1]
    off(page, 1, 1, 2)
    assert shown(page) == wanted[2]
    # Another text is read there too, and the edits stay.
    page.locator("[data-part=text]").fill("import os")
    page.locator("[data-part=text]").press("Enter")
    page.wait_for_function(
        "() => document.querySelectorAll('[data-part=strip-text] [data-index]').length < 12"
    )
    assert page.errors == []


VIEWS = f"""
import torch, transformer_lab as tl
from transformer_lab.views import BlockView, FlowView, HeadView, PatchingView, PositionView, WhyView
from transformer_lab.views.heads import data
torch.set_num_threads(1)
data.ALL_MAPS_BYTES = 0  # as of long texts: each map is asked for
model = tl.shipped("manual")
pair = [f"for key in self.{{name}}:\\n    if key not in self." for name in ("keys", "names")]
trace = model.trace("{TEXT}")
heads, why = HeadView(trace, layer=1, link=""), WhyView(trace, 1, 1, 9, 3, link="")
block, desk = BlockView(trace, link=""), PatchingView(model, *pair, link="")
flow, place = FlowView(trace, link=""), PositionView("rotary")
display(heads, why, block, desk, flow, place)
"""
COMPUTED = "The kernel is busy or gone: this was computed in the page."
WAITS = "The kernel is busy or gone: it answers when it is free. What is on the page still works."
LOST = "The kernel stopped or was restarted. Run this cell again. What is on the page still works."


def test_every_view_goes_on_or_says_why_not(notebook, tmp_path, screenshot):
    book = notebook(VIEWS)
    page = book.page
    page.evaluate(STANDING.replace("SESSION", book.SESSION))
    book.run_all()
    of = lambda view, part="": page.locator(f".tl-view-{view} {part}")  # noqa: E731
    for view in ("heads", "why", "block", "patching", "flow", "positions"):
        page.wait_for_selector(f".tl-view-{view}[data-ready]")
    page.wait_for_function(HELD)  # one model for all of them
    page.wait_for_function("() => standing.told.size === 5")  # and each has its answer
    line = lambda view: of(view, "[data-part=standby]").text_content()  # noqa: E731
    says = lambda view: of(view, "[data-part=sentence]").first.text_content()  # noqa: E731
    wanted = eval(
        book.run(
            "[HeadView(trace, layer=2, head=0).sentence, WhyView(trace, 1, 0, 9, 3).sentence, "
            "BlockView(trace, 1).sentence, FlowView(trace, position=-2).sentence, PatchingView(model, *pair).measure([desk.place])[desk.site].exact.nan_to_num().sum().item()]"
        )
    )
    pipe = held(book, tmp_path)
    choose_head(of("heads"), 2, 0)
    of("why", "[data-part=head-back]").click()
    of("patching", "[data-part=measure]").click()
    of("block", "[data-part=head]").select_option(label="L1H0")
    of("flow", "[data-part=position-back]").click()
    page.wait_for_selector(".tl-view-heads[data-shown='decoder/2/0']")
    page.wait_for_selector(
        ".tl-view-patching [data-measured='1'], .tl-view-patching[data-measured='1']"
    )
    for view, told in zip(("why", "block", "flow"), wanted[1:], strict=False):
        page.wait_for_function(
            "([view, want]) => document.querySelector(`.tl-view-${view} [data-part=sentence]`).textContent === want",
            arg=[view, told],
        )
    assert says("heads") == wanted[0]
    alive = ("heads", "why", "patching", "block", "flow")
    assert [line(view) for view in alive] == 5 * [COMPUTED]
    of("positions", "[data-part=save]").click()
    of("positions", "[data-part=csv]").click()
    page.wait_for_function(
        "want => document.querySelector('.tl-view-positions [data-part=standby]').textContent === want",
        arg=WAITS,
    )
    screenshot(page, "standby-views")
    with open(pipe, "w"):
        pass
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-part=standby]')].every(line => line.hidden)"
    )
    book.until("(heads.layer, heads.head, why.head, block.layer)", "(2, 0, 0, 1)")
    assert says("block") == book.run("block.sentence").strip("'") == wanted[2]
    # Restarted, without what had been computed.
    page.evaluate(f"async () => {{ await {book.SESSION}.session.kernel.restart() }}")
    page.wait_for_function(
        "want => document.querySelector('.tl-view-positions [data-part=standby]').textContent === want",
        arg=LOST,
    )
    assert line("heads") == "The kernel is gone: from here on the page computes everything."
    choose_head(of("heads"), 0, 1)
    page.wait_for_selector(".tl-view-heads[data-shown='decoder/0/1']")
    assert line("heads") == "The kernel is gone: this was computed in the page."
    assert page.errors == []


TWO = f"""
import torch, transformer_lab as tl
from transformer_lab.views import CompareView, ResidualView
from transformer_lab.views.compare import view as compared
from transformer_lab.views.residual import view as streams
torch.set_num_threads(1)
compared.ALL_MAPS_BYTES = streams.FIRST_SCREEN = 0  # as of long texts: maps and tokens are asked for
model = tl.shipped("manual")
texts = 2 * "{TEXT}", "for name in self.names:"
stream = ResidualView(model.trace(texts[0], keep="all"), link="")
both = CompareView.of_texts(model, *texts, layer=1, head=1)
display(stream, both)
"""
# Python's sentences on token 0 and on layer 2, head 1, and their numbers.
TOLD = """told = [ResidualView(stream.trace), CompareView.of_texts(model, *texts, layer=2, head=1)]
told[0].selected = (0, None)
lens = tl.circuits.logit_lens(stream.trace, k=5, positions=range(16))
changes = told[1].difference().nan_to_num().abs().flatten().sort(descending=True).values[:5]
[[one.sentence for one in told], lens.probabilities[stream.layer + 1, 0].tolist(), changes.tolist()]"""


def test_a_stream_and_two_texts_go_on_too(notebook, tmp_path):
    book = notebook(TWO)
    page = book.page
    page.evaluate(STANDING.replace("SESSION", book.SESSION))
    book.run_all()
    of = lambda view, part: page.locator(f".tl-view-{view} [data-part={part}]")  # noqa: E731
    for view in ("residual", "compare"):
        page.wait_for_selector(f".tl-view-{view}[data-ready]")
    page.wait_for_function(HELD)  # one model for both
    page.wait_for_function("() => standing.told.size === 2")
    sentences, likeliest, changes = eval(book.run(TOLD))

    def says_what_python_says():
        for view, told in zip(("residual", "compare"), sentences, strict=True):
            page.wait_for_function(
                "([view, want]) => document.querySelector(`.tl-view-${view} [data-part=sentence]`).textContent === want",
                arg=[view, told],
            )
        shown = of("residual", "lens-top").locator("b").all_text_contents()
        assert [float(x) for x in shown] == pytest.approx(likeliest, abs=1e-4)
        shown = of("compare", "table").locator("td:last-child").all_text_contents()
        assert [float(x.lstrip("−")) for x in shown] == pytest.approx(changes, abs=1e-4)

    assert [of(view, "sentence").text_content() for view in ("residual", "compare")] != sentences
    pipe = held(book, tmp_path)
    while of("residual", "earlier").is_enabled():
        of("residual", "earlier").click()
    of("residual", "lens").locator("thead [data-token='0']").click()
    of("compare", "grid").focus()
    page.keyboard.press("ArrowDown")
    says_what_python_says()
    assert [of(view, "standby").text_content() for view in ("residual", "compare")] == 2 * [
        COMPUTED
    ]
    with open(pipe, "w"):
        pass
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-part=standby]')].every(line => line.hidden)"
    )
    book.until("(both.layer, both.head, stream.token)", "(2, 1, 0)")
    says_what_python_says()
    assert page.errors == []


SAVED = """import torch, transformer_lab as tl
torch.set_num_threads(1)
trace = tl.shipped("manual").trace("for key in self.keys:")
tl.views.HeadView(trace, layer=2, head=2)"""
CLOSED = """async ([path, stopped]) => {
    const { commands, shell } = window.jupyterapp;
    const panel = shell.currentWidget;
    await commands.execute("docmanager:save");
    if (stopped) await panel.sessionContext.shutdown();
    panel.dispose();
    await commands.execute("docmanager:open", { path });
    await shell.currentWidget.context.ready;
}"""
# Opening a notebook starts a kernel, or asks which.
CONNECTED = """() => {
    document.querySelector(".jp-Dialog .jp-mod-accept")?.click();
    const { session } = window.jupyterapp.shell.currentWidget.sessionContext;
    return session?.kernel?.connectionStatus === "connected";
}"""
PICTURE = ".jp-OutputArea-output:has(.tl-saved) img"


def test_a_notebook_that_is_opened_again_shows_pictures_in_place_of_lost_views(
    notebook, screenshot
):
    book = notebook(SAVED, "tl.views.PositionView('rotary')")
    page = book.page
    book.run_all()
    page.wait_for_function("() => document.querySelectorAll('.tl-view[data-ready]').length === 2")
    assert page.locator(".tl-saved").count() == 0
    # While its kernel lives, the views come back.
    page.evaluate(CLOSED, [book.path.name, False])
    page.wait_for_function("() => document.querySelectorAll('.tl-view[data-ready]').length === 2")
    page.wait_for_function("() => !document.querySelector('.tl-saved')")
    page.evaluate(CLOSED, [book.path.name, True])
    page.wait_for_function("n => document.querySelectorAll('.tl-saved').length === n", arg=2)
    shown = page.locator(PICTURE)
    assert [shown.nth(i).evaluate("image => image.naturalWidth > 300") for i in (0, 1)] == [
        True
    ] * 2
    assert "layer 2, head 2" in shown.nth(0).get_attribute("alt").lower()
    assert "model not found" not in page.locator(".jp-Notebook").inner_text()
    screenshot(page, "reopened")
    # Only a view's image is saved.
    saved = nbformat.read(book.path, as_version=4)
    outputs = [output for cell in saved.cells for output in cell.outputs]
    pictures = sum(len(output["data"]["image/png"]) for output in outputs)
    assert pictures > 0.95 * book.path.stat().st_size
    # In an untrusted notebook JupyterLab shows the images itself, and we say the same below.
    for cell in saved.cells:
        cell.source += "  # by somebody else"
    nbformat.write(saved, book.path)
    page.wait_for_function(CONNECTED)
    page.evaluate(
        CLOSED.replace('await commands.execute("docmanager:save");', ""), [book.path.name, True]
    )
    page.wait_for_function(
        "() => document.querySelectorAll('.jp-RenderedImage + .tl-saved, .jp-RenderedImage .tl-saved').length === 2"
    )
    # Run again, the view is back.
    page.wait_for_function(CONNECTED)
    book.run_all()
    page.wait_for_function("() => document.querySelectorAll('.tl-view[data-ready]').length === 2")
    assert page.locator(".tl-saved").count() == 0
    # JupyterLab's own error if a kernel ends before it has confirmed a subshell.
    assert [error for error in page.errors if "create_subshell_request" not in error] == []
