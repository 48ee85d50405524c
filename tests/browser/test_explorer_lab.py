"""The Explorer in a real JupyterLab: the loop from a click to a new prediction."""

import re
import time

from tests.browser.fixtures import choose_head

TEXT = "for key in self.keys:\\n    if key not in self."
EXPLORE = f"""
import torch, transformer_lab as tl
torch.set_num_threads(1)
model = tl.shipped("manual")
view = tl.explore(model, "{TEXT}")
view
"""
TRAIN = """
import pathlib, time
class Repeating:
    def batch(self, step):
        tokens = torch.arange(1, 34)[None] % 9
        return tl.datasets.Batch(tokens=tokens[:, :-1], targets=tokens[:, 1:])
folder = pathlib.Path({folder!r})
view.send_state("head")  # a cell is the last to speak, and what is clicked is answered beside it nevertheless
for step in tl.train(model.model, Repeating(), steps=100_000):
    (folder / "started").touch()
    if (folder / "stop").exists():
        break
    time.sleep(.05)
"""


WHOLE = """() => {
    const view = document.querySelector(".tl-view"), screen = document.querySelector(".jp-WindowedPanel-outer");
    view.scrollIntoView();
    const [seen, room] = [view, screen].map((part) => part.getBoundingClientRect());
    const tools = view.querySelector("[data-part=tool]").getBoundingClientRect();
    return seen.height > 0.9 * room.height && seen.top >= room.top - 1 && tools.bottom <= room.bottom;
}"""


def shown(page):
    """The rows of predictions as a reader sees them."""
    return page.evaluate(
        """() => [...document.querySelectorAll('[data-part=predictions] tbody tr')].map(
            r => [r.querySelector('th').innerText, ...[...r.querySelectorAll('[data-side]')].map(e => e.innerText)])"""
    )


def python_rows(book):
    return eval(
        book.run(
            """from transformer_lab.views.shared.messages import percent
[[r.token, percent(r.before)] + ([] if r.after is None else [percent(r.after)]) for r in view.predictions]"""
        )
    )


def settled(page, edits):
    page.wait_for_selector(f"[data-edits='{edits}'][data-settled=true]")


def wait_until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_from_a_click_to_a_new_prediction(notebook, map_of, screenshot, tmp_path):
    book = notebook(EXPLORE)
    page = book.page
    book.run_all()
    page.wait_for_selector("[data-ready]")
    assert shown(page) == python_rows(book)
    first = shown(page)
    # All of it is on one screen, with and without the side bar.
    for width, height in ((1440, 900), (1024, 768)):
        page.set_viewport_size({"width": width, "height": height})
        if width == 1024:
            page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
        page.wait_for_function(WHOLE)
    page.set_viewport_size({"width": 1400, "height": 1000})
    grid = page.locator("[data-part=thumbnails]")
    grid.scroll_into_view_if_needed()
    box = grid.bounding_box()
    at = {"x": box["width"] * 0.6, "y": box["height"] * 0.6}
    grid.click(position=at)
    page.wait_for_selector("[data-shown='decoder/2/2']")
    page.wait_for_function(
        "() => document.querySelector('[data-part=head-effect]').textContent.startsWith('If layer 2, head 2 is switched off, “key” becomes less likely')"
    )
    page.locator("[data-part=head-off]").click()
    settled(page, 1)
    assert book.run("view.edits") == "[tl.ablate(layer=2, head=2)]"
    assert shown(page) == python_rows(book) != first
    assert page.locator("[data-part=effect]").inner_text() in book.run("view.sentence")
    # Keyboard alone: X on the grid, undo, redo; JupyterLab's shortcuts do not fire.
    cells = book.cells()
    grid.focus()
    for key in ("x", "ArrowLeft", "x", "z", "y", "a", "b"):
        page.keyboard.press(key)
    settled(page, 1)
    assert book.cells() == cells
    assert book.run("view.edits") == "[tl.ablate(layer=2, head=1)]"
    # An edge, by the tool and by the keyboard.
    page.locator("[data-part=tool] [data-value=cut]").click()
    the_map = map_of(page)
    the_map.canvas.scroll_into_view_if_needed()
    the_map.click(14, 5)
    settled(page, 2)
    page.locator("[data-part=scope]").select_option("all")
    the_map.click(14, 7)
    settled(page, 3)
    assert book.run("view.edits[1:]") == (
        "[tl.knock_out(layer=2, head=1, query=14, key=5), tl.knock_out(query=14, key=7)]"
    )
    assert shown(page) == python_rows(book)
    page.locator("[data-part=copy-edits]").click()
    page.wait_for_selector("[data-copied-edits]")
    code = page.locator("[data-copied-edits]").first.get_attribute("data-copied-edits")
    assert (
        book.run(f"exec({code!r})\n[e.code() for e in edits] == [e.code() for e in view.edits]")
        == "True"
    )
    assert eval(book.run("view.code")) == code
    page.locator("[data-part=map-mode] [data-value=difference]").click()
    number = the_map.hover(14, 5).replace("−", "-").replace("+", "")
    difference = "(view.session.after.trace.pattern(2, 1) - view.trace.pattern(2, 1))[14, 5].item()"
    assert abs(float(number) - float(book.run(difference))) < 1.5e-4
    page.mouse.move(2, 2)
    screenshot(page, "explorer-lab-light")
    # Another text, typed; the cuts in the old one are dropped.
    box = page.locator("[data-part=text]")
    box.fill("import os")
    box.press("Enter")
    settled(page, 1)
    assert book.run("(view.text, view.edits)") == "('import os', [tl.ablate(layer=2, head=1)])"
    assert shown(page) == python_rows(book)
    box.fill("word " * 400)
    box.press("Enter")
    page.wait_for_selector("[data-state=error]")
    assert re.match(
        r"Text has \d+ tokens but shipped reads at most 256",
        page.locator("[data-part=status]").inner_text(),
    )
    assert book.run("view.text") == "'import os'"
    # Python sets, the page follows.
    book.run("view.edits = [tl.ablate(1, 1), tl.scale(0, 2, by=0.5)]\nNone")
    settled(page, 2)
    assert page.locator("[data-part=edits] bdi").all_inner_texts() == [
        "layer 1, head 1 off",
        "layer 0, head 2 × 0.5",
    ]
    assert shown(page) == python_rows(book)

    # A thousand clicks: the last state stays, and few objects are kept.
    book.run("import gc\nkept = len(gc.get_objects())\nNone")
    page.locator("[data-part=remove-all]").click()
    settled(page, 0)
    page.evaluate(
        """() => { const b = document.querySelector('[data-part=head-off]');
                   for (let i = 0; i < 1001; i++) b.click(); }"""
    )
    settled(page, 1)
    assert book.run("view.edits") == "[tl.ablate(layer=2, head=1)]"
    assert shown(page) == python_rows(book)
    assert int(book.run("gc.collect()\nlen(gc.get_objects()) - kept")) < 20_000
    page.locator("[data-part=remove-all]").click()
    settled(page, 0)
    assert page.errors == []

    # While a cell trains this model, the view says so and leaves it alone.
    kernel = f"{book.SESSION}.session.kernel"
    page.evaluate(
        f"code => {{ {kernel}.requestExecute({{code}}) }}", TRAIN.format(folder=str(tmp_path))
    )
    wait_until((tmp_path / "started").exists)
    page.locator("[data-part=head-off]").click()
    page.wait_for_selector("[data-state=training]")
    assert page.locator("[data-part=status]").inner_text().startswith("training…")
    settled(page, 0)
    (tmp_path / "stop").touch()
    book.until("1", "1")  # after that cell: any message within it also ends in "idle"
    page.locator("[data-part=head-off]").click()
    settled(page, 1)
    assert shown(page) == python_rows(book)

    # No kernel, and no model in the page: the view says what still works.
    page.evaluate(
        "async () => { globalThis.transformerLabModels?.clear(); await window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.shutdown() }"
    )
    page.locator("[data-part=head-off]").click()
    line = page.locator("[data-part=standby]:visible")
    line.wait_for()
    assert re.match(r"The kernel .* What is on the page still works\.$", line.inner_text())
    choose_head(page, 2, 3)
    page.wait_for_selector("[data-shown='decoder/2/3']")
    assert page.errors == []


TRANSLATE = """
import torch, transformer_lab as tl
from transformer_lab.tokenizers import WordTokenizer
torch.set_num_threads(1)
torch.manual_seed(3)
tokenizer = WordTokenizer.train("forty two seven zwei und vierzig sieben")
config = tl.ModelConfig(kind="encoder-decoder", vocab_size=tokenizer.vocab_size, n_layers=1, n_heads=2, d_model=16, n_ctx=24)
model = tl.TextModel(tl.Transformer(config).eval(), tokenizer, "numbers")
view = tl.explore(model, "forty two")
view
"""


def test_another_text_is_written_anew_and_all_tokens_follow(notebook):
    book = notebook(TRANSLATE)
    page = book.page
    book.run_all()
    page.wait_for_selector("[data-ready]")
    text, target = (page.locator(f"[data-part={name}]") for name in ("text", "target"))

    def told(name):
        return page.locator(f"[data-part={name}]").inner_text()

    def follows(typed):
        """Check that the answer, the menu of positions and the lines match the typed text."""
        book.until("view.text", repr(typed))
        page.wait_for_function("() => document.querySelector('[data-settled=true]')")
        answer = eval(book.run("view._target"))
        tokens = eval(book.run("view._about['tokens']"))
        page.wait_for_function(
            "t => document.querySelector('[data-part=target]').value === t", arg=answer
        )
        page.wait_for_function(
            "n => document.querySelectorAll('[data-part=queries] .tl-word').length === n",
            arg=len(tokens),
        )
        assert page.locator("[data-part=queries] .tl-word").all_text_contents() == tokens
        keys = page.locator("[data-part=keys] .tl-word").all_text_contents()
        assert keys == eval(book.run("view._kinds['cross']['key_tokens']"))
        strip = page.locator("[data-part=strip-target] [data-index] bdi").all_inner_texts()
        assert strip == tokens
        assert shown(page) == python_rows(book)

    follows("forty two")
    assert told("whose") == "its own answer"
    text.fill("seven")
    assert told("unrun") == "Not run yet: press Enter. Results below are for “forty two”."
    text.press("Enter")
    follows("seven")
    assert not page.locator("[data-part=unrun]").is_visible()
    target.fill("sieben und")
    target.press("Enter")
    book.until("view.target", "'sieben und'")
    follows("seven")
    assert told("whose") == "yours; empty it for its own answer"
    target.fill("")
    target.press("Enter")
    book.until("view.target", "None")
    follows("seven")
    assert target.input_value() != "sieben und"
    # A text that cannot be run changes nothing, and gets a message.
    for bad, message in (
        ("", "Text is empty; type at least one word."),
        (" \n ", "Text is empty; type at least one word."),
        ("two " * 25, "Text has 25 tokens but numbers reads at most 24; shorten it."),
    ):
        text.fill(bad)
        text.press("Enter")
        page.wait_for_function(
            "m => document.querySelector('[data-part=status]').textContent === m", arg=message
        )
        page.wait_for_function(
            "() => document.querySelector('[data-part=unrun]').textContent === 'Results below are for “seven”.'"
        )
        assert book.run("view.text") == "'seven'"
    text.fill("<script>alert(1)</script> 🙂 \u202etwo")
    text.press("Enter")
    page.wait_for_function("() => document.querySelector('[data-part=unread]').textContent")
    assert told("unread").startswith("The model does not know ")
    assert page.locator("[data-part=keys] .tl-word").last.text_content() == "two"
    assert page.errors == []
