"""A saved PatchView: select a query, a head, fade, switch off; the page says what Python does."""

import numpy as np
import pytest

import transformer_lab as tl
from tests.browser.fixtures import another_head_by_keys, cut_needs_a_notebook, says, without_a_head
from tests.factories import picture, vision
from tests.missing import package
from transformer_lab.graphs import obtaining
from transformer_lab.views import PatchView

package("transformers")


@pytest.fixture(scope="module")
def view():
    model = tl.ImageModel(
        vision(num_labels=3, id2label={0: "cat", 1: "dog", 2: "house"}), name="small"
    )
    return PatchView(model, picture())


@pytest.fixture
def fresh(view):
    view.layer, view.head, view.selected, view.edits = 1, 0, None, []
    return view


def at(page, row, column):
    box = page.locator("[data-part=picture]").bounding_box()
    return box["x"] + (column + 0.5) * box["width"] / 4, box["y"] + (row + 0.5) * box["height"] / 4


def test_patches_are_chosen_by_pointer_and_keys(open_page, fresh):
    view = fresh
    page = open_page(view.to_html(), width=900)
    says(page, view)
    page.mouse.move(*at(page, 1, 2))
    view.selected = (1 + 4 + 2, None)
    says(page, view)  # hovered
    page.mouse.move(2, 2)
    view.selected = None
    says(page, view)
    page.mouse.click(*at(page, 3, 0))
    page.mouse.move(2, 2)
    view.selected = (13, None)
    says(page, view)
    page.locator("[data-part=picture]").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    view.selected = (10, None)
    says(page, view)
    page.keyboard.press("Escape")
    view.selected = None
    says(page, view)
    another_head_by_keys(page, view)
    cell = page.locator("[data-position='0']")
    assert cell.get_attribute("aria-pressed") == "true"
    weight = float(view.trace.pattern(0, 1)[0, 0])
    assert cell.inner_text().split()[-1] == f"{weight:.2f}"


def test_a_head_is_switched_off_and_every_one_is_tried(open_page, accessible, fresh):
    view = fresh
    page = open_page(view.to_html(), width=900)
    without_a_head(page, view, tl.ablate(1, 0))
    table = page.locator("[data-part=effect] tbody tr")
    assert table.count() == 3  # and their probabilities are written as in the sentence
    before, after = table.first.locator("td").all_inner_texts()
    assert f"from {before} to {after}" in view.sentence and before.endswith("%")
    page.locator("[data-part=try]").click()
    page.wait_for_selector("[data-part=tried]:has-text('Under each head')")
    assert "of 4 by size; the middle size" in page.locator("[data-part=tried]").inner_text()
    accessible(page)
    does = page.locator("[data-part=does]")
    assert does.inner_text() == "click a patch to see what it attends to"
    page.locator("[data-part=tool] [data-value=cut]").click()
    assert does.inner_text() == "click a patch to cut the edge to it"
    page.mouse.click(*at(page, 0, 0))
    cut_needs_a_notebook(page, view)


def test_the_picture_fades_and_is_kept(open_page, fresh):
    page = open_page(fresh.to_html(), width=700)
    colours = """() => {
        const canvas = document.querySelector("[data-part=picture]");
        return [...canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height - 9, 1, 1).data];
    }"""
    before = page.evaluate(colours)
    slider = page.locator("[data-part=fade]")
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_function(f"before => String(({colours})()) !== String(before)", arg=before)
    plain = page.evaluate(colours)
    seen = fresh._seen.picture[15, 8]
    assert max(abs(a - int(b)) for a, b in zip(plain, seen, strict=False)) < 40


@pytest.fixture(scope="module")
def carries():
    """A view, and its page with the model."""
    model = tl.ImageModel(
        vision(num_labels=3, id2label={0: "cat", 1: "dog", 2: "house"}), name="small"
    )
    view = PatchView(model, picture(), layer=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(obtaining, "can_be_copied", lambda _: False)  # exported here
        return view, view.to_html(model=True, precision="float32")


def files(folder):
    """Write an image, and files that are refused: text, 16 bits, too long, cut off."""
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (33, 50, 3), np.uint8)
    Image.fromarray(noise).save(folder / "other.png")
    (folder / "text.png").write_text("hello")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(noise[:1].repeat(2, 1)).save(folder / "long.png")
    (folder / "cut.png").write_bytes((folder / "other.png").read_bytes()[:60])
    return folder / "other.png", {
        "text": "is not a PNG",
        "deep": "has 16 bits",
        "long": "has 100 × 1 pixels",
        "cut": "cannot be read by this browser",
    }


def test_a_page_with_its_model_edits_and_reads_another_image(
    open_page, accessible, tmp_path, carries
):
    view, text = carries
    page = open_page(text, width=900)
    without_a_head(page, view, tl.ablate(1, 0))
    page.locator("[data-part=tool] [data-value=cut]").click()
    page.mouse.click(*at(page, 0, 0))
    view.edits = [tl.ablate(1, 0), tl.knock_out(1, 0, query=0, key=1)]
    says(page, view)
    page.locator("[data-part=remove-all]").click()
    view.edits = []
    says(page, view)
    other, refused = files(tmp_path)
    for name, why in refused.items():
        page.locator("[data-part=image-file]").set_input_files(tmp_path / f"{name}.png")
        page.locator("[data-part=image-message]", has_text=f"“{name}.png” {why}").wait_for()
        says(page, view)
    without_a_head(page, view, tl.ablate(1, 0))
    page.locator("[data-part=image-file]").set_input_files(other)
    page.wait_for_selector("[data-image='other.png']")
    again = PatchView(view.model, other, layer=1)
    again.edits = [tl.ablate(1, 0)]  # edits hold for the next image too
    says(page, again)
    page.locator("[data-part=remove-all]").click()
    again.edits = []
    says(page, again)
    page.locator("[data-part=try]").click()
    page.wait_for_selector("[data-part=tried]:has-text('Under each head')")
    sizes = page.locator("[data-part=tried]").inner_text()
    assert again._effects.unit in sizes and "number" in sizes
    page.locator("[data-part=tool] [data-value=look]").click()
    page.mouse.click(*at(page, 1, 2))
    page.mouse.move(2, 2)
    again.selected = (7, None)
    says(page, again)
    without_a_head(page, again, tl.ablate(1, 0))
    accessible(page)


def test_a_damaged_model_leaves_the_image(open_page, carries):
    view, text = carries
    head, _, rest = text.partition('data-block="model"')
    page = open_page(f'{head}data-block="model"{rest.replace("H4sI", "I4sI", 1)}')
    page.locator("[data-part=off]").click()
    page.locator("[data-part=message]", has_text="is not as it was written").wait_for()
    view.edits = []
    view.selected = (6, None)
    page.mouse.click(*at(page, 1, 1))
    says(page, view)
