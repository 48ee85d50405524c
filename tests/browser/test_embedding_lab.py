"""A cloud and a plotly figure in JupyterLab: live, linked, and without network."""

import re

from tests.browser.rest import REST

CLOUD = """
import transformer_lab as tl
trace = tl.shipped("manual").trace("for key in self.keys:")
cloud, heads = tl.views.EmbeddingView(trace), tl.views.HeadView(trace, layer=2, head=2)
cloud
"""


def test_a_cloud_and_a_figure_need_no_network(notebook):
    book = notebook(CLOUD, "heads.to_plotly()")
    page = book.page
    page.set_default_timeout(120_000)  # 3D is rendered in software
    book.run_all()
    page.wait_for_selector("[data-space='1']")
    page.locator("[data-part=space]").focus()
    for key in ("ArrowLeft", "PageDown", "PageDown"):
        page.keyboard.press(key)
    book.until("cloud.selected", "(1, None)")
    book.run("cloud.layer = 0\n1")
    page.wait_for_selector("[data-row='1'][data-selected='1']")
    book.until("cloud.row", "1")
    # plotly's script is neither in the widget's state nor a global of the page.
    assert int(book.run("len(str(cloud.get_state()))")) < 500_000
    assert page.evaluate("typeof window.__tlPlotly.react") == "function"
    # The figure is plotly's from the start, not an image until hovered.
    page.evaluate(
        "() => document.querySelectorAll('.jp-Cell')[1].scrollIntoView({ block: 'start' })"
    )
    page.wait_for_selector(".jp-RenderedPlotly .heatmaplayer image")
    assert [url for url in page.requests if "127.0.0.1" not in url] == []
    assert page.errors == []


POINTS = """
from transformer_lab.lessons.pictures import Mark, marks
marks({"width 8": [Mark(1e9, 2.5, "a"), Mark(4e9, 2.0, "b")], "alone": [Mark(2e9, 1.9, "c")]},
      laws={"the law": ([1e9, 4e9], [2.6, 1.8])},
      title="Loss against operations", sentence="Two sentences. Of words.", x_name="operations", y_name="loss")
"""
SEEN = """() => {
    const place = document.querySelector(".jp-RenderedPlotly");
    const shown = (node) => getComputedStyle(node);
    const leaf = (text) => [...text.querySelectorAll("tspan")].filter((t) => t.textContent.trim()).at(-1) ?? text;
    const words = [...place.querySelectorAll("text")].filter((text) => text.textContent.trim());
    let behind = place;
    while (/, 0\\)|transparent/.test(shown(behind).backgroundColor)) behind = behind.parentElement;
    return {
        words: words.map((text) => [text.textContent, shown(leaf(text)).fill]),
        lines: [...place.querySelectorAll(".scatterlayer .js-line")].map((line) => shown(line).stroke),
        paper: [...place.querySelectorAll("rect.bg, .main-svg")].map((part) => [shown(part).fillOpacity, shown(part).backgroundColor]),
        behind: shown(behind).backgroundColor,
    };
}"""

# The colours once the page's theme has changed and is drawn.
AT_REST = f"""async (others) => {{
    {REST}
    const seen = {SEEN};
    let turn = 0;
    await rest(() => (others.includes(seen().behind) ? ++turn : JSON.stringify(seen())));
    return seen();
}}"""


def against(colour, behind):
    """The contrast of one CSS colour on another (WCAG), after blending a translucent one."""

    def numbers(words):
        found = [float(n) for n in re.findall(r"[0-9.]+", words)]
        return found[:3], (found[3] if len(found) > 3 else 1.0)

    def luminance(rgb):
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        return sum(a * b for a, b in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    (back, _), (front, share) = numbers(behind), numbers(colour)
    mixed = [share * f + (1 - share) * b for f, b in zip(front, back, strict=True)]
    a, b = sorted((luminance([c / 255 for c in back]), luminance([c / 255 for c in mixed])))
    return (b + 0.05) / (a + 0.05)


def test_measured_points_wear_the_theme_of_the_lab(notebook, screenshot):
    book = notebook(POINTS)
    page = book.page
    book.run_all()
    page.wait_for_selector(".jp-RenderedPlotly .legendtext")
    backgrounds = set()
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        page.evaluate(
            "t => window.jupyterapp.commands.execute('apputils:change-theme', {theme: t})", theme
        )
        page.wait_for_function("t => document.body.dataset.jpThemeName === t", arg=theme)
        seen = page.evaluate(AT_REST, list(backgrounds))
        screenshot(page, f"points-{theme[11:].lower()}")
        backgrounds.add(seen["behind"])
        said = " ".join(words for words, _ in seen["words"])
        for words in ("Loss against operations", "width 8", "the law", "1 · 10⁹", "2.4"):
            assert words in said
        for words, colour in seen["words"]:
            assert against(colour, seen["behind"]) >= 4.5, (theme, words, colour)
        assert len(seen["lines"]) == 2
        assert all(against(colour, seen["behind"]) >= 3 for colour in seen["lines"])
        assert all(o == "0" or b == "rgba(0, 0, 0, 0)" for o, b in seen["paper"])
    assert len(backgrounds) == 2
    assert page.errors == []
