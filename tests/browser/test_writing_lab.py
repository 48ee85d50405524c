"""Writing in the Explorer, in a real JupyterLab: by a click, by Enter, and back."""

from tests.browser.test_explorer_lab import python_rows, settled, shown, wait_until

WRITE = """
import torch, transformer_lab as tl
from transformer_lab.tokenizers import WordTokenizer
torch.set_num_threads(1)
view = tl.explore(tl.shipped("manual"), "for key in self.", layer=1, head=1)
view
"""
MASKED = """
torch.manual_seed(3)
tokenizer = WordTokenizer.train("the animal was too tired")
config = tl.ModelConfig(kind="encoder", vocab_size=tokenizer.vocab_size, n_layers=1, n_heads=2, d_model=16, n_ctx=24)
net = tl.Transformer(config).eval()
view = tl.explore(tl.TextModel(net, tokenizer, "masks"), "the animal was <mask> tired")
view
"""
GHOSTS = "[data-part=strip-text] [data-next]"


def test_tokens_are_written_by_a_click_and_taken_back(notebook, accessible, screenshot):
    book = notebook(WRITE)
    page = book.page
    book.run_all()
    page.wait_for_selector("[data-ready]")
    ids = eval(book.run("view.ids"))
    asked = []
    for how in ("click", "Enter", "Enter"):
        token = eval(book.run("max(view.predictions, key=lambda r: r.before).id"))
        ghost = page.locator(GHOSTS).first
        ghost.click() if how == "click" else ghost.press("Enter")
        asked.append(token)
        book.until("view.ids", repr([*ids, *asked]))
        settled(page, 0)
        page.wait_for_function(  # and the next token can be taken at once
            "how => how === 'click' || document.activeElement.matches('[data-next]')", arg=how
        )
        strip = page.locator("[data-part=strip-text] [data-index]").all_text_contents()
        assert len(strip) == len(ids) + len(asked)
        assert shown(page) == python_rows(book)
    assert page.locator("[data-part=text]").input_value() == eval(book.run("view.text"))
    accessible(page, ".tl-view")
    screenshot(page, "writing-lab-light")
    # An edit; undo it and what was written, then redo.
    page.locator("[data-part=head-off]").click()
    settled(page, 1)
    undo = page.locator("[data-part=undo]")
    undo.click()
    settled(page, 0)
    for left in (2, 1, 0):
        undo.click()
        book.until("view.ids", repr([*ids, *asked[:left]]))
    assert book.run("view.text") == "'for key in self.'"
    page.locator("[data-part=redo]").click()
    book.until("view.ids", repr([*ids, asked[0]]))
    settled(page, 0)
    assert page.errors == []


def test_a_mask_gives_way_to_the_token_that_is_clicked(notebook):
    book = notebook(WRITE.partition("view")[0] + MASKED)
    page = book.page
    book.run_all()
    page.wait_for_selector("[data-ready]")
    wait_until(lambda: page.locator(GHOSTS).count() > 0)
    first = page.locator(GHOSTS).first
    assert first.get_attribute("title").endswith("in the place of the mask")
    word = first.locator("bdi").inner_text()
    first.click()
    book.until("view.ids == view.text_model.encode(view.text).tolist()", "True")
    book.until("'<mask>' in view.text", "False")
    assert word in book.run("view._about['tokens']")
    page.locator("[data-part=undo]").click()
    book.until("view.text", "'the animal was <mask> tired'")
    assert page.errors == []


def test_it_writes_on_with_and_without_a_head_and_is_looked_through(
    notebook, accessible, screenshot
):
    book = notebook(WRITE)
    page = book.page
    book.run_all()
    page.wait_for_selector("[data-ready]")
    page.locator("[data-part=head-off]").click()
    settled(page, 1)
    book.run("view.edits = [tl.ablate(layer=l, head=h) for l in (1, 2) for h in range(4)]\nNone")
    settled(page, 8)
    start = int(book.run("len(view.ids)"))
    page.locator("[data-part=how]").click()
    page.locator("[data-part=write-n]").fill("0")
    page.locator("[data-part=write-n]").press("Enter")
    page.wait_for_selector("[data-state=error]")
    assert page.locator("[data-part=status]").inner_text().startswith("N must be at least 1")
    page.locator("[data-part=write-n]").fill("12")
    accessible(page, ".tl-view")
    page.keyboard.press("Escape")
    page.locator("[data-part=write]").click()
    book.until(f"len(view.ids) - {start} in range(1, 13)", "True")
    page.wait_for_function("() => document.querySelector('[data-part=written]').textContent")
    told = page.locator("[data-part=written]").inner_text()
    assert (
        told == eval(book.run("view._outcome['written']['sentence']"))
        and "the two texts diverge at token" in told
    )
    parts = int(book.run("view._outcome['written']['parts']"))
    mark = page.locator(".tl-masked")
    assert mark.evaluate_all("all => all.map(m => m.dataset.index)") == [str(parts)] * 2
    slider = page.locator("[data-part=written-at]")
    slider.focus()
    page.keyboard.press("Home")
    book.until("view.position", str(start - 1))
    settled(page, 8)
    assert shown(page) == python_rows(book)
    assert page.locator("[data-selected]").first.get_attribute("data-selected") == f"{start - 1},"
    screenshot(page, "writing-on-light")
    accessible(page, ".tl-view")
    page.locator(f"[data-part=strip-other] [data-index='{parts}']").click()
    book.until("view.ids == list(view._writing.both.edited)", "True")
    page.locator("[data-part=undo]").click()
    book.until("view.ids == list(view._writing.both.plain)", "True")
    settled(page, 8)
    page.locator("[data-part=undo]").click()
    book.until("len(view.ids)", str(start))
    assert page.errors == []
