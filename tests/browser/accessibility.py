"""Run axe-core on a page. conftest.py makes `accessible` a fixture of this folder.

    def test_my_view(open_page, accessible):
        for scheme in ("light", "dark"):
            accessible(open_page(view.to_html(), scheme=scheme))

axe.min.js comes with the package axe-playwright-python (extra "dev").
"""

import importlib.util
from functools import cache
from pathlib import Path

import pytest

from tests.missing import lacking

SERIOUS = ("serious", "critical")


@cache
def _source():
    found = importlib.util.find_spec("axe_playwright_python")
    file = Path(found.origin).with_name("axe.min.js") if found and found.origin else None
    return file.read_text("utf-8") if file and file.is_file() else None


def violations(page, within="#tl-root", impacts=SERIOUS):
    """[rule, selector, what to fix] for each violation that axe-core finds.

    A page is judged in the state it is in: open menus and select things first.
    """
    source = _source()
    if source is None:
        lacking("axe")
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(source)  # not as a script tag, which the page's policy would block
    found = page.evaluate(
        """within => axe.run(within, {
            resultTypes: ["violations"],
            rules: {"label-content-name-mismatch": {enabled: true}},
        }).then(r => r.violations)""",
        within,
    )
    return [
        [v["id"], " ".join(map(str, node["target"])), node["failureSummary"]]
        for v in found
        if v["impact"] in impacts
        for node in v["nodes"]
    ]


@pytest.fixture
def accessible():
    """Assert that axe-core finds nothing serious in a view."""

    def check(page, within="#tl-root"):
        found = violations(page, within)
        assert not found, "\n".join(" · ".join(parts) for parts in found)

    return check
