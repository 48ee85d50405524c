"""A live PatchView in JupyterLab: rows and effects come from the kernel; page and Python agree."""

from tests.missing import package

package("transformers")

CODE = """
import numpy as np, torch, transformers, transformer_lab as tl
torch.set_num_threads(1); torch.manual_seed(0)
config = transformers.ViTConfig(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=16,
    patch_size=4, num_labels=3, id2label={0: "cat", 1: "dog", 2: "house"}, initializer_range=0.3,
)
model = tl.ImageModel(transformers.ViTForImageClassification(config).eval(), name="small")
picture = np.arange(3 * 16 * 16).reshape(16, 16, 3).astype("uint8")
view = tl.views.PatchView(model, picture); view
"""
SAYS = (
    "want => document.querySelector('.tl-view-patches [data-part=sentence]').textContent === want"
)


def test_a_picture_is_live(notebook, screenshot):
    book = notebook(CODE)
    page = book.page
    book.run_all()
    page.wait_for_selector(".tl-view-patches[data-ready]")
    says = lambda: page.wait_for_function(SAYS, arg=eval(book.run("view.sentence")))  # noqa: E731
    says()
    page.locator("[data-part=picture]").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("[data-query='12']")  # the middle patch, and one to the right
    assert book.run("view.query") == "12"
    says()
    page.locator("[data-part=off]").click()
    page.wait_for_selector("[data-part=effect] tbody tr")
    page.locator("[data-part=tool] [data-value=cut]").click()
    page.locator("[data-position='0']").click()
    page.wait_for_function(
        "() => document.querySelector('[data-part=effect] b').textContent.includes('patch 3,4 → [CLS] cut')"
    )
    page.wait_for_selector("[data-part=effect] tbody tr")
    cut = "tl.knock_out(layer=1, head=0, query=12, key=0)"
    assert book.run("view.edits") == f"[tl.ablate(layer=1, head=0), {cut}]"
    says()
    book.run("view.edits = [tl.ablate(0, 1)]\nview.layer = 0\n0")
    says()
    page.locator("[data-part=try]").click()
    page.wait_for_selector("[data-part=tried]:has-text('Under each head')")
    assert book.run("len(view._every)") == "2"
    screenshot(page, "lab-patches")
    assert page.errors == []
