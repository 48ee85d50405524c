"""A cloud in a browser: two projections where 3D is not available; in 3D, turned and selected."""

import nbformat
import pytest
import torch

import transformer_lab as tl
from tests.browser.fixtures import watched
from tests.factories import WORDS, small
from transformer_lab.views import EmbeddingView, HeadView
from transformer_lab.views.pages.export import (
    VIEW_MIME,
    live_views,
    notebook_to_html,
    shared_script,
)


@pytest.fixture(scope="module")
def whole():
    labels = ["<img src=x onerror=alert(1)>", *WORDS[1:]]
    return tl.trace(small(sharpness=3.0), torch.arange(len(WORDS)), labels=labels, keep="all")


@pytest.fixture
def in_space(browser):
    """A page with a long timeout: rendering in software is slow on shared cores."""
    page = watched(browser.new_page(), width=1000, height=700, seconds=90)
    yield page
    page.close()


def turn(page, *keys):
    page.locator("[data-part=space]").focus()
    for key in keys:
        page.keyboard.press(key)


def test_in_space(in_space, accessible, whole, tmp_path):
    """Turned, selected by key and by click, under the page's own policy and without requests."""
    page = in_space
    page.goto(EmbeddingView(whole).save_html(tmp_path / "cloud.html").as_uri())
    root = page.locator("[data-space='1']")
    root.wait_for()
    accessible(page)
    assert page.locator("[data-part=flat]").is_hidden()
    canvas = page.locator("[data-part=space] canvas").first.bounding_box()
    assert canvas["width"] > 500 and canvas["height"] > 300
    before = root.get_attribute("data-eye")
    turn(page, "ArrowLeft", "ArrowUp", "+")
    assert before != root.get_attribute("data-eye")
    turn(page, "PageDown", "PageDown")
    page.locator("[data-selected='1']").wait_for()
    assert "“animal” (1) has norm" in page.locator("[data-part=sentence]").inner_text()
    turn(page, "Escape")
    page.locator("[data-selected='']").wait_for()
    # The events that plotly emits on hover and click.
    page.evaluate(
        "document.querySelector('[data-part=space]').emit('plotly_click', {points: [{curveNumber: 0, pointNumber: 8}]})"
    )
    page.locator("[data-selected='8']").wait_for()
    page.locator("[data-part=shows] [data-value=paths]").click()
    page.locator("[data-part=row]").focus()
    page.keyboard.press("Home")
    page.locator("[data-row='0']").wait_for()
    assert "The paths of 13 tokens" in page.locator("[data-part=sentence]").inner_text()
    page.locator("[data-part=save]").click()
    with page.expect_download() as download:
        page.locator("[data-part=html]").click()
    saved = tmp_path / "again.html"
    download.value.save_as(saved)
    page.goto(saved.as_uri())
    root.wait_for()
    assert root.get_attribute("data-selected") == "8" and root.get_attribute("data-row") == "0"
    assert (page.errors, page.dialogs) == ([], [])
    assert all(url.startswith("file:") for url in page.requests)


def test_in_a_notebook_plotly_stands_once_on_the_page(in_space, whole, tmp_path):
    """Two clouds, a figure and heads share one script and one selection."""
    from ipywidgets import Widget

    views = [EmbeddingView(whole), EmbeddingView(whole, without=[0]), HeadView(whole)]
    figure, meta = HeadView(whole, layer=1, head=2).to_plotly()._repr_mimebundle_()
    outputs = [
        nbformat.v4.new_output(
            "display_data", data={VIEW_MIME: v._repr_mimebundle_()[0][VIEW_MIME]}
        )
        for v in views
    ]
    outputs.append(nbformat.v4.new_output("display_data", data=figure, metadata=meta))
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("views", outputs=outputs)])
    book.metadata["widgets"] = {
        "application/vnd.jupyter.widget-state+json": Widget.get_manager_state(widgets=views)
    }
    nbformat.write(book, tmp_path / "clouds.ipynb")
    path = notebook_to_html(tmp_path / "clouds.ipynb", tmp_path / "clouds.html")
    assert path.read_text("utf-8").count('id="tl-plotly"') == 1
    page = in_space
    page.goto(path.as_uri())
    frames = [page.frame_locator("iframe").nth(i) for i in range(4)]

    def reach(i, part):
        """Scroll to a frame: out of view it gets messages, but the browser does not draw it."""
        page.locator("iframe").nth(i).scroll_into_view_if_needed()
        frames[i].locator(part).first.wait_for()

    for i, part in ((3, ".main-svg"), (1, "[data-space='1']"), (0, "[data-space='1']")):
        reach(i, part)
    frames[0].locator("[data-part=space]").focus()
    page.keyboard.press("End")
    reach(1, "[data-selected='12']")
    reach(2, "[data-selected='12,']")
    sentence = frames[2].locator("[data-part=sentence]")
    assert "“.” attends" in sentence.inner_text()
    # In the book the script is a file beside the pages.
    assert live_views(book, plotly="plotly.js") == 4
    (tmp_path / "plotly.js").write_text(shared_script())
    shown = "".join(output.data["text/html"] for output in outputs[:1])
    (tmp_path / "book.html").write_text(f"<!DOCTYPE html><meta charset=utf-8>{shown}")
    page.goto((tmp_path / "book.html").as_uri())
    page.frame_locator("iframe").locator("[data-space='1']").wait_for()
    assert (page.errors, page.dialogs) == ([], [])
    # Stock nbconvert's page around ours requests its own scripts; ours request nothing.
    asked = [url for url in page.requests if "plotly" in url]
    assert asked and all(url.startswith("file:") for url in asked)


def test_without_webgl_two_projections_stand_there(in_space, whole, tmp_path):
    page = in_space
    page.add_init_script(
        "const get = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
        "return kind.startsWith('webgl') ? null : get.call(this, kind, ...rest); };"
    )
    page.goto(EmbeddingView(whole).save_html(tmp_path / "flat.html").as_uri())
    page.wait_for_selector("[data-ready]")
    page.get_by_text("(WebGL is off), so two projections are shown.").wait_for()
    flat = page.locator("[data-part=flat]")
    drawn = "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    assert flat.evaluate(drawn) > 30
    flat.focus()
    page.keyboard.press("PageUp")
    page.locator("[data-selected='12']").wait_for()
    page.locator("[data-part=save]").click()
    with page.expect_download() as download:
        page.locator("[data-part=png]").click()
    assert download.value.path().read_bytes()[:4] == b"\x89PNG"
    assert (page.errors, page.dialogs) == ([], [])


def test_a_figure_keeps_its_height_in_a_place_that_has_none_of_its_own(open_page, whole, tmp_path):
    """As in JupyterLab: drawn where there is a line of something else, then redrawn and resized."""
    from plotly.offline import get_plotlyjs

    bundle, _ = HeadView(whole, layer=1, head=2).to_plotly()._repr_mimebundle_()
    figure = bundle["application/vnd.plotly.v1+json"]
    height = figure["layout"]["height"]
    (tmp_path / "place.html").write_text(
        f"<!DOCTYPE html><meta charset=utf-8><script>{get_plotlyjs()}</script><div id=place><span>…</span></div>",
        "utf-8",
    )
    page = open_page(tmp_path / "place.html", ready="#place")
    shown = page.evaluate(
        """async ({ data, layout, config }) => {
          const place = document.querySelector("#place");
          await Plotly.react(place, data, layout, config);
          place.querySelector("span").hidden = true;
          const heights = [];
          for (let i = 0; i < 4; i++) {
            await Plotly.redraw(place);
            await Plotly.Plots.resize(place);
            heights.push(place.clientHeight);
          }
          return heights;
        }""",
        figure,
    )
    assert shown == 4 * [height]
