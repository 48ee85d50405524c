"""How many forced layouts a click causes: each can cost a whole frame."""

import json

import pytest

import transformer_lab as tl
from tests.browser.fixtures import choose_head

CATEGORIES = ["devtools.timeline", "disabled-by-default-devtools.timeline.stack"]
MOST = 6  # per click, two of them for sliding bars; the view once caused 15


@pytest.fixture(scope="module")
def page_of_shipped():
    return tl.explore(
        tl.shipped("manual"), "for key in self.keys:\n    if key not in self."
    ).to_html()


def forced(browser, page, act):
    """The stack traces of forced layouts during an action."""
    browser.start_tracing(page=page, categories=CATEGORIES)
    act()
    events = json.loads(browser.stop_tracing())["traceEvents"]
    stacks = [
        e["args"]["beginData"].get("stackTrace")
        for e in events
        if e["name"] == "Layout" and "beginData" in e["args"]
    ]
    return [" < ".join(f["functionName"] for f in stack[:4]) for stack in stacks if stack]


def test_a_click_on_a_head_lays_the_page_out_a_few_times(open_page, browser, page_of_shipped):
    page = open_page(page_of_shipped, width=1400, height=1000)
    page.locator("[data-part=tool] [data-value=off]").click()
    clicks = [(0, 1), (1, 2), (2, 0), (3, 3), (1, 1)]

    def click(place, edits):
        choose_head(page, *place)
        page.wait_for_selector(
            f"[data-edits='{edits}'][data-settled=true][data-shown='decoder/{place[0]}/{place[1]}']"
        )

    click(clicks[0], 1)  # the first edit adds columns
    for edits, place in enumerate(clicks[1:], 2):
        found = forced(browser, page, lambda place=place, edits=edits: click(place, edits))
        assert len(found) <= MOST, found
