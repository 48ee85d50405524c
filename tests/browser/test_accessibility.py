"""axe-core finds nothing serious in the heads, in light and in dark."""

import pytest

from transformer_lab.views import HeadView


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_head_view(open_page, accessible, map_of, translation, scheme):
    page = open_page(HeadView(translation, kind="cross", layer=1, head=2).to_html(), scheme=scheme)
    accessible(page)
    map_of(page).click(3, 2)
    page.locator("[data-part=line-switch] [data-value=layer]").click()
    page.locator("[data-part=hide-special]").check()
    page.locator("details:not(.tl-popover) summary").click()
    accessible(page)


def test_the_check_sees_what_is_wrong(open_page, accessible, trace):
    page = open_page(HeadView(trace).to_html())
    page.evaluate("document.querySelector('[data-part=present]').style.color = '#ddd'")
    with pytest.raises(AssertionError, match="color-contrast"):
        accessible(page)
