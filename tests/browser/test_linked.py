"""Views of one trace have one selection, in one document and across the frames of a notebook."""

import nbformat
from ipywidgets import Widget

import transformer_lab as tl
from tests.browser.fixtures import choose_head
from transformer_lab.views.pages.export import STATE_MIME, VIEW_MIME

# A second view in the same document, as JupyterLab would place it, with a model of its own.
SECOND = """async (link) => {
    const payload = JSON.parse(document.getElementById("tl-state").textContent);
    const state = { ...payload.state, link };
    for (const [name, text] of Object.entries(payload.buffers)) {
        const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
        state[name] = new DataView(bytes.buffer);
    }
    const handlers = {};
    const model = {
        get: (name) => state[name],
        set(name, value) { state[name] = value; (handlers[`change:${name}`] ?? []).forEach((f) => f()); },
        save_changes() {}, send() {}, off() {},
        on(names, f) { for (const n of names.split(" ")) (handlers[n] ??= []).push(f); },
    };
    const root = document.createElement("div");
    root.id = "second";
    document.body.append(root);
    const url = URL.createObjectURL(new Blob([state._esm], { type: "text/javascript" }));
    await (await import(url)).default.render({ model, el: root, signal: new AbortController().signal });
    window.second = model;
}"""


def test_two_views_in_one_document_follow_each_other(trace, open_page):
    view = tl.views.HeadView(trace)
    page = open_page(view.to_html())
    page.evaluate(SECOND, view.link)
    page.wait_for_selector("#second[data-ready]")
    choose_head(page.locator("#tl-root"), 2, 1)
    page.wait_for_selector("#second[data-shown='decoder/2/1']")
    page.evaluate("() => window.second.set('selected', [8, 1])")
    page.wait_for_selector("#tl-root[data-selected='8,1']")
    first, second = (page.locator(f"{at} [data-part=sentence]") for at in ("#tl-root", "#second"))
    assert first.inner_text() == second.inner_text()


def test_a_hovered_token_is_seen_in_the_other_view(trace, open_page):
    view = tl.views.HeadView(trace)
    page = open_page(view.to_html())
    page.evaluate(SECOND, view.link)
    page.wait_for_selector("#second[data-ready]")
    canvas = page.locator("#tl-root [data-part=map]")
    data = canvas.evaluate("c => ({...c.dataset})")
    cell, left, top = (float(data[name]) for name in ("cell", "left", "top"))
    canvas.hover(position={"x": left + 1.5 * cell, "y": top + 8.5 * cell})
    number = page.locator("#tl-root [data-part=number]").inner_text()
    assert number == f"{trace.pattern(0, 0)[8, 1]:.4f}"
    page.wait_for_function(
        "want => document.querySelector('#second [data-part=number]')?.textContent === want",
        arg=number,
    )


def test_a_view_of_another_group_goes_its_own_way(trace, open_page):
    page = open_page(tl.views.HeadView(trace).to_html())
    page.evaluate(SECOND, "another")
    page.wait_for_selector("#second[data-ready]")
    choose_head(page.locator("#tl-root"), 2, 0)
    page.wait_for_selector("#tl-root[data-shown='decoder/2/0']")
    assert page.locator("#second").get_attribute("data-shown") == "decoder/0/0"


def test_the_frames_of_a_rendered_notebook_follow_each_other(trace, open_page, tmp_path):
    views = [tl.views.HeadView(trace), tl.views.HeadView(trace, link="")]
    views.insert(1, tl.views.HeadView(trace, layer=1))
    made = nbformat.v4.new_notebook()
    states = {}
    for view in views:
        data, _ = view._repr_mimebundle_()
        made.cells.append(nbformat.v4.new_code_cell(""))
        made.cells[-1].outputs.append(
            nbformat.v4.new_output("display_data", {VIEW_MIME: data[VIEW_MIME]})
        )
        states |= Widget.get_manager_state(widgets=[view])["state"]
    made.metadata.widgets = {STATE_MIME: {"version_major": 2, "version_minor": 0, "state": states}}
    nbformat.write(made, tmp_path / "in.ipynb")
    tl.views.notebook_to_html(tmp_path / "in.ipynb", tmp_path / "out.html")
    # A frame out of view draws nothing until it is scrolled to.
    page = open_page(tmp_path / "out.html", ready="iframe", height=2800)
    frames = [page.frame_locator("iframe").nth(i) for i in range(3)]
    for frame in frames:
        frame.locator("#tl-root[data-ready]").wait_for()
    choose_head(frames[0], 0, 3)
    frames[1].locator("[data-shown='decoder/0/3']").wait_for()
    assert frames[2].locator("#tl-root").get_attribute("data-shown") == "decoder/0/0"
    # nbconvert's own page requests MathJax and require.js; our frames request nothing.
    page.requests[1:] = [r for r in page.requests[1:] if "cdnjs" not in r and "jsdelivr" not in r]
