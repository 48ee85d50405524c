"""A cloud and a plotly figure in JupyterLab: alive, linked, and with no network."""

CLOUD = """
import transformer_lab as tl
trace = tl.shipped().trace("for key in self.keys:")
cloud, heads = tl.views.EmbeddingView(trace), tl.views.HeadView(trace, layer=2, head=2)
cloud
"""


def test_a_cloud_and_a_figure_need_no_network(notebook):
    book = notebook(CLOUD, "heads.to_plotly()")
    page = book.page
    page.set_default_timeout(120_000)  # software draws in space
    book.run_all()
    page.wait_for_selector("[data-space='1']")
    page.locator("[data-part=space]").focus()
    for key in ("ArrowLeft", "PageDown", "PageDown"):
        page.keyboard.press(key)
    book.until("cloud.selected", "(1, None)")
    book.run("cloud.layer = 0\n1")
    page.wait_for_selector("[data-row='1'][data-selected='1']")
    book.until("cloud.row", "1")
    # plotly's script is no part of the widget's state, and no global of the page's.
    assert int(book.run("len(str(cloud.get_state()))")) < 500_000
    assert page.evaluate("typeof window.__tlPlotly.react") == "function"
    # The figure is plotly's at once, not a picture until it is hovered.
    page.evaluate(
        "() => document.querySelectorAll('.jp-Cell')[1].scrollIntoView({ block: 'start' })"
    )
    page.wait_for_selector(".jp-RenderedPlotly .heatmaplayer image")
    assert [url for url in page.requests if "127.0.0.1" not in url] == []
    assert page.errors == []
