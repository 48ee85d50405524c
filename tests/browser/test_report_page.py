"""A report's page is accessible, wide and narrow, light and dark, without scripts."""

import pytest

import transformer_lab as tl

PAIR = ("the list of keys", "the name of keys")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_is_read_without_a_script(open_page, accessible, tmp_path, scheme):
    found = tl.patching_grid(tl.shipped("manual"), *PAIR, metric=(" in", " of"))
    path = tl.report(found.measure([("z", 1, 1)]), tmp_path / "a").page
    page = open_page(path, ready="main", scheme=scheme)
    accessible(page, "main")
    page.set_viewport_size({"width": 500, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 500
    cells = page.locator("section", has_text="z by layer").locator("tbody td")
    assert cells.count() == 16
    shown = cells.nth(4 + 1)
    assert "≈" not in shown.inner_text() and "≈" in cells.nth(0).inner_text()
    exact = float(found.measure([("z", 1, 1)])["z"].exact[1, 1])
    assert float(shown.inner_text().replace("−", "-")) == pytest.approx(exact, rel=0.05)
    grounds = cells.evaluate_all("all => all.map(one => getComputedStyle(one).backgroundColor)")
    assert len(set(grounds)) > 8  # larger values, stronger colours
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "region"
