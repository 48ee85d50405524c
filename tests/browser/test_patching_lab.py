"""Activation patching live in JupyterLab: the kernel measures, and page and Python agree."""

CODE = """
import torch, transformer_lab as tl
torch.set_num_threads(1)
model = tl.shipped("manual")
clean, corrupted = (f"for key in self.{name}:\\n    if key not in self." for name in ("keys", "names"))
view = tl.views.PatchingView(model, clean, corrupted, sites=["z", "q", "k", "v"])
view
"""
VIEW = ".tl-view-patching"
SAYS = f"want => document.querySelector('{VIEW} [data-part=sentence]').textContent === want"


def test_a_desk_is_live(notebook, screenshot):
    book = notebook(CODE, "heads = tl.views.HeadView(model.trace(view.prompts[0])); heads")
    page = book.page
    book.run_all()
    page.wait_for_selector(f"{VIEW}[data-ready]")
    page.wait_for_selector(".tl-view-heads[data-ready]")
    part = lambda name: page.locator(f"{VIEW} [data-part={name}]")  # noqa: E731
    says = lambda: page.wait_for_function(SAYS, arg=eval(book.run("view.sentence")))  # noqa: E731
    says()
    part("measure").click()
    page.wait_for_selector("[data-measured='1']")
    assert book.run("int((~view.grids['z'].exact.isnan()).sum())") == "1"
    says()
    part("map").focus()
    page.keyboard.press("ArrowDown")
    # Views of the clean prompt select the same head.
    book.until("(heads.layer, heads.head) == (view.layer, view.head) == view.place[1:]", "True")
    part("measure-site").click()
    page.wait_for_selector("[data-measured='16']")
    page.locator(f"{VIEW} [data-part=direction] [data-value=noising]").click()
    book.until("sorted(view._runs)", "['denoising', 'noising']")
    says()
    part("measure-all").click()
    page.wait_for_selector(f"{VIEW} [data-part=stop]:not([hidden])")
    part("stop").click()
    page.wait_for_selector(f"{VIEW} [data-part=stop]", state="hidden")
    part("ask").click()
    # The fields are filled with the last request a moment after they open.
    page.wait_for_function(f"() => document.querySelector('{VIEW} [data-part=clean]').value")
    part("answer").fill("key or")
    part("compare").click()
    page.wait_for_function(
        f"() => document.querySelector('{VIEW} [data-part=refused]').textContent.includes('key or')"
    )
    says()
    screenshot(page, "patching-ask")
    part("answer").fill("key")
    part("wrong").fill("")
    part("compare").click()
    page.wait_for_function(
        f"() => document.querySelector('{VIEW} [data-part=sentence]').textContent.startsWith('Log-probability')"
    )
    says()
    assert part("refused").is_hidden() and part("clean").is_hidden()
    # The box with the pressed button has closed: the view still gets the next key.
    assert page.evaluate("document.activeElement.dataset.part") == "ask"
    assert book.run("view.prompts == (clean, corrupted)") == "True"  # with their lines
    screenshot(page, "patching-lab")
    assert page.errors == []
