"""Nothing in a student's notebook runs when the teacher opens its feedback."""

import base64
import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell

from tests.missing import installed
from transformer_lab.lessons.homework.box import Grade, grade_course
from transformer_lab.lessons.homework.steps import clean, safe_page

installed("nbgrader")
pytestmark = [pytest.mark.grading, pytest.mark.xss, pytest.mark.timeout(300)]

RUN = "window.ran = (window.ran || 0) + 1; alert(1)"
SVG = f'<svg xmlns="http://www.w3.org/2000/svg" onload="{RUN}"><script>{RUN}</script></svg>'
DATA = "data:text/html;base64," + base64.b64encode(f"<script>{RUN}</script>".encode()).decode()
HTML = [
    f"<script>{RUN}</script>",
    f"<img src=x onerror='{RUN}'>",
    f"<img src='data:image/png;base64,AA' onerror='{RUN}'>",
    "<img src='http://127.0.0.1:9/seen.png'>",
    SVG,
    f"<svg><style><img src=x onerror='{RUN}'></style></svg>",
    f"<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror={RUN}&gt;'>",
    f"<noscript><p title='</noscript><img src=x onerror={RUN}>'>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f"<iframe src='{DATA}'></iframe>",
    f"<iframe src='javascript:{RUN}'></iframe>",
    f"<object data='{DATA}'></object><embed src='{DATA}'>",
    f"<a href='javascript:{RUN}'>go</a>",
    f"<a href='&#106;ava\tscript:{RUN}'>go</a>",
    f"<a href='{DATA}'>go</a>",
    f"<form action='javascript:{RUN}'><button>go</button></form>",
    f"<details open ontoggle='{RUN}'>x</details>",
    f"<body onload='{RUN}'>",
    f"<input autofocus onfocus='{RUN}'>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "<base href='http://127.0.0.1:9/'>",
    "<link rel=stylesheet href='http://127.0.0.1:9/x.css'>",
    "<style>* { display: none !important }</style>",
    "<div style='position:fixed;inset:0;background:white;z-index:99999'>covered</div>",
    "<div class='modal navbar-fixed-top' id='notebook'>covered</div>",
    f"</div></div></body></html><script>{RUN}</script>",
    f"<!-- --!><script>{RUN}</script> -->",
    f"<template><script>{RUN}</script></template>",
    f"<x-y onclick='{RUN}' is=go>go</x-y>",
]
MARKDOWN = [
    f"[go](javascript:{RUN.replace(' ', '')})",
    f"[go]({DATA})",
    f"![x](x'onerror='{RUN})",
    f"<a href='java&Tab;script:{RUN}'>go</a>",
    f"$\\href{{javascript:{RUN}}}{{go}}$ $<script>{RUN}</script>$",
    f"```html\n<script>{RUN}</script>\n```",
    f'[r]: javascript:{RUN.replace(" ", "")}\n\n[go][r] <https://example.org/"onclick="{RUN}>',
]
SHOW = """from IPython.display import publish_display_data
for data, metadata in {shown!r}:
    publish_display_data(data, metadata=metadata)
print("<script>alert(2)</script> \\x1b[31m<img src=x onerror=alert(3)>")
answer = 41"""
WIDGET = {"model_id": "</script><script>alert(4)</script>", "version_major": 2}
EVIL = f'1 onload="{RUN}" class="modal'


def shown():
    for text in HTML:
        yield {"text/html": text}, {}
        yield {"text/html": text}, {"text/html": {"isolated": True}}
    for text in [*HTML, *MARKDOWN]:
        yield {"text/markdown": text}, {}
    yield {"image/svg+xml": SVG}, {}
    yield {"application/javascript": RUN}, {}
    yield {"text/latex": f"<script>{RUN}</script>"}, {}
    yield {"application/vnd.jupyter.widget-view+json": WIDGET, "text/plain": "a widget"}, {}
    yield {"text/vnd.mermaid": f"<script>{RUN}</script>"}, {}
    yield {"image/png": f'AA"><script>{RUN}</script>'}, {"image/png": {"width": EVIL, "alt": EVIL}}


def cells():
    for text in [*HTML, *MARKDOWN]:
        yield new_markdown_cell(text)
    yield new_markdown_cell("x", attachments={"a.png": {"image/png": f'"><script>{RUN}</script>'}})
    yield new_raw_cell(f"<script>{RUN}</script>", metadata={"raw_mimetype": "text/html"})
    yield new_code_cell(
        f"# </pre><script>{RUN}</script>",
        metadata={"tags": ["a modal navbar-fixed-top", f'"><img src=x onerror="{RUN}">']},
    )


READABLE = "**bold**, $a < b$\n\n> quoted\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[a page](https://example.org)"
GOOD = """from IPython.display import publish_display_data
publish_display_data({"text/html": "<table><tr><td>17</td></tr></table>"})
publish_display_data({"image/png": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="})
print("as <printed>")
answer = 42"""


@pytest.mark.needs("box")
def test_feedback_runs_nothing_and_shows_the_grade(course, hand_in, open_page):
    hand_in(course, "mallory", SHOW.format(shown=list(shown())), *cells())
    hand_in(course, "ann", GOOD, new_markdown_cell(READABLE))
    grades = grade_course(course, "hw")
    assert grades == [Grade("ann", 2, 2), Grade("mallory", 0, 2)]
    page = open_page(course / "feedback" / "mallory" / "hw" / "hw.html", ready="#toc")
    for link in page.get_by_text("go", exact=True).all():
        link.click(timeout=2000)
    for part in page.locator("summary, button, input").all():
        part.click(timeout=2000)
    assert page.evaluate("window.ran") is None
    assert page.locator("script, iframe, object, embed, form, svg, link, base").count() == 0
    assert page.locator("[class*=fixed], [class*=modal], [style]").count() == 0
    assert page.get_by_role("heading", name="hw (Score: 0.0 / 2.0)").is_visible()
    page.evaluate("scrollTo(0, 0)")
    top = page.evaluate("document.elementFromPoint(innerWidth / 2, 40).textContent")
    assert "Score: 0.0 / 2.0" in top  # nothing covers it
    assert page.get_by_text("<script>alert(2)</script> <img src=x onerror=alert(3)>").is_visible()
    assert page.get_by_text("AssertionError").first.is_visible()

    page = open_page(course / "feedback" / "ann" / "hw" / "hw.html", ready="#toc")
    assert page.get_by_role("heading", name="hw (Score: 2.0 / 2.0)").is_visible()
    assert page.get_by_role("cell", name="17").is_visible()
    assert page.locator("blockquote").inner_text() == "quoted"
    assert page.locator("strong", has_text="bold").is_visible()
    assert page.get_by_text("as <printed>", exact=True).is_visible()
    assert page.locator("img[src^='data:image/png']").evaluate("i => i.naturalWidth") == 1
    assert page.get_by_role("link", name="a page").get_attribute("href") == "https://example.org"


def test_the_policy_alone_would_stop_scripts(browser, tmp_path):
    """With the body as the student wrote it, uncleaned."""
    bare = safe_page("<head><title>t</title></head><body>was here</body>")
    page, dialogs = browser.new_page(), []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for text in (text for text in HTML if RUN in text or DATA in text):
        (tmp_path / "page.html").write_text(bare.replace("was here", text), "utf-8")
        page.goto((tmp_path / "page.html").as_uri())
        for link in page.get_by_text("go", exact=True).all():
            link.dispatch_event("click")
        assert page.evaluate("window.ran") is None, text
    page.close()
    assert dialogs == []


def test_cleaning_keeps_no_attribute_that_acts():
    for text in HTML:
        cleaned = clean(text)
        assert not re.search(r"<[^>]*\s(on\w+|style|class|id|srcdoc)\s*=", cleaned), cleaned
        assert clean(cleaned) == cleaned
