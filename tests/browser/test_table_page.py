"""The table of heads in the Explorer: searched, sorted, ticked, by mouse and by keys."""

import csv

import pytest

import transformer_lab as tl
from tests.browser.test_explorer_page import CODE, part, settled, small, text
from transformer_lab.views import Explorer

TABLE = part("head-rows")


def heads(page):
    """kind/layer/head of each row in the page."""
    return page.locator(f"{TABLE} tbody tr[data-head]").evaluate_all(
        "all => all.map(row => row.dataset.head)"
    )


def opened(page):
    page.locator(f"{part('heads-as')} [data-value=table]").click()
    page.wait_for_selector(f"{TABLE} tbody tr[data-head]")
    return page


def effects(view):
    found = {name: one["after"] - one["before"] for name, one in view._effects.items()}
    return sorted(found, key=lambda name: -abs(found[name]))


def test_types_that_were_found_are_counted_and_list_their_heads(open_page):
    view = Explorer(tl.shipped("manual"), CODE, layer=2, head=2)
    view._facts.name_heads()
    page = open_page(view.to_html(model=False))
    tags = [label["tag"] for row in view._labels["decoder"] for label in row]
    types = page.locator(part("type"))
    assert types.count() == len(set(tags) - {""}) > 1
    for at in range(types.count()):
        n, _, tag = types.nth(at).inner_text().partition(" ")
        types.nth(at).click()
        page.wait_for_function(
            f"() => document.querySelector('{part('table-query')}').value === {tag!r}"
        )
        page.wait_for_selector(f"{TABLE} tbody tr[data-head]")
        assert tags.count(tag) == int(n)
        assert {f"decoder/{i // 4}/{i % 4}" for i, each in enumerate(tags) if each == tag} <= set(
            heads(page)
        )


def test_rows_are_asked_for_sorted_chosen_and_switched_off(open_page, tmp_path):
    view = Explorer(tl.shipped("manual"), CODE, layer=2, head=2)
    view._facts.name_heads()
    page = opened(open_page(view.to_html(effects=True)))
    order = effects(view)
    assert heads(page) == order
    assert page.locator(f"{TABLE} th[aria-sort=descending]").inner_text().startswith("effect")
    assert (
        page.locator(f"{TABLE} tr[aria-selected=true]").get_attribute("data-head") == "decoder/2/2"
    )
    assert not page.locator(f"{TABLE} i").count(), "all of them were measured"
    # Queries as in Python.
    table = tl.head_table(tl.shipped("manual"), CODE)
    box = page.locator(part("table-query"))
    for query in ("induction", "layer > 2 and effect > .01", "previous token"):
        box.fill(query)
        found = table.where(query)
        assert set(heads(page)) == {f"decoder/{row.layer}/{row.head}" for row in found}, query
        assert text(page, "table-said") == f"{len(found)} of 16 heads"
    box.fill("layer > 99")
    assert text(page, "table-said") == "“layer > 99” matches no head." and heads(page) == []
    box.fill("layer > 2 and induct > .01")  # the header's abbreviation
    assert set(heads(page)) == {
        f"decoder/{row.layer}/{row.head}" for row in table.where("layer > 2 and induction > .01")
    }
    box.fill("laier > 1")
    assert text(page, "table-said").startswith(
        "There is no column “laier”; choose from layer, head, effect"
    )
    assert box.get_attribute("aria-invalid") == "true" and heads(page) == order
    box.fill("")
    # Sorted; a second press reverses the order.
    layer = page.locator(f"{TABLE} [data-column=layer]")
    layer.click()
    assert heads(page)[0].startswith("decoder/0/")
    layer.click()
    assert heads(page)[0].startswith("decoder/3/")
    assert page.locator(f"{TABLE} th[aria-sort=descending]").inner_text().startswith("layer")
    page.locator(f"{TABLE} [data-column=effect]").click()
    # By keys: from the search box into the rows.
    box.press("ArrowDown")
    for key in ("Home", "ArrowDown", "ArrowDown", " ", "ArrowUp", " ", "Enter"):
        page.keyboard.press(key)
    _, layer, head = order[1].split("/")
    page.wait_for_function(
        f"() => document.querySelector('{TABLE} tr[aria-selected=true]').dataset.head === '{order[1]}'"
    )
    assert text(page, "head-title").startswith(f"Layer {layer}, head {head}")
    active = page.locator(TABLE).get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("data-head") == order[1]
    page.keyboard.press("End")
    active = page.locator(TABLE).get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("data-head") == order[-1]
    assert page.locator(f"{TABLE} tr[data-ticked]").count() == 2
    together = page.locator(part("table-off"))
    assert together.inner_text() == "Switch 2 heads off together"
    with page.expect_download() as saved:
        page.locator(part("table-csv")).click()
    assert saved.value.suggested_filename == "the-shipped-model-heads.csv"
    saved.value.save_as(tmp_path / "heads.csv")
    lines = list(csv.DictReader((tmp_path / "heads.csv").read_text("utf-8").splitlines()))
    assert [f"{line['kind']}/{line['layer']}/{line['head']}" for line in lines] == order
    assert {line["effect is"] for line in lines} == {"measured"}
    together.click()
    settled(page, 2)
    assert page.locator(f"{TABLE} tr.tl-table-off").count() == 2
    assert together.inner_text() == "Switch 2 heads on again"
    together.click()
    settled(page, 0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_estimates_are_marked_and_everything_can_be_reached(open_page, accessible, scheme):
    page = opened(
        open_page(
            Explorer(tl.shipped("manual"), CODE, layer=0, head=0).to_html(
                effects=False, model=False
            ),
            scheme=scheme,
        )
    )
    assert page.locator(f"{TABLE} tbody i").count() == 16
    assert page.locator(f"{TABLE} tbody i").first.inner_text().startswith("≈ ")
    assert "≈ estimate: of one gradient pass; 0 of 16 heads measured." in text(page, "table-legend")
    assert text(page, "head-effect").startswith("Estimate: without layer ")
    accessible(page)


def test_many_rows_are_in_the_page_only_while_they_are_in_sight(open_page):
    model = small("decoder", n_layers=20, n_heads=16)
    page = opened(
        open_page(Explorer(model, "The animal was tired .").to_html(effects=False, model=False))
    )
    table = page.locator(TABLE)
    assert table.get_attribute("aria-rowcount") == "321"
    assert 0 < len(heads(page)) < 100
    first = heads(page)
    table.focus()
    page.keyboard.press("End")
    assert heads(page) != first
    active = table.get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("aria-rowindex") == "321"
    assert page.locator(f"#{active}").is_visible()


def test_the_panel_is_wider_for_the_table_than_for_the_grid(open_page):
    page = open_page(Explorer(tl.shipped("manual"), CODE).to_html(model=False), width=1300)
    width = f"document.querySelector('{TABLE}').closest('.tl-panel-heads').offsetWidth"
    before = page.evaluate(width)
    opened(page)
    assert page.evaluate(width) == 400 > before
    page.locator(f"{part('heads-as')} [data-value=grid]").click()
    assert page.evaluate(width) == before


@pytest.mark.parametrize("width", [360, 592, 739, 764, 1024])
def test_rows_are_in_sight_at_every_width(open_page, width):
    """Below 740 px, as beside JupyterLab's file browser, the whole table was 6 px high."""
    source = Explorer(tl.shipped("manual"), CODE).to_html(effects=False, model=False)
    page = opened(open_page(source, width=width, height=768))
    table = page.locator(part("head-table"))
    assert table.evaluate("e => e.scrollHeight - e.clientHeight") <= 0
    rows = page.locator(f"{TABLE} tbody tr")
    low = page.locator(".tl-table-scroll").bounding_box()
    assert low["height"] > 200
    box = rows.nth(7).bounding_box()
    assert box["y"] + box["height"] < low["y"] + low["height"]
    wanted = heads(page)[7]
    rows.nth(7).click()
    page.wait_for_selector(f"[data-shown='{wanted}']")
