"""A conversation in the Explorer in a real JupyterLab: clicked through, and reopened without its
kernel."""

from tests.browser.fixtures import choose_head
from tests.browser.test_chat_page import NAMES, STRIP
from tests.browser.test_explorer_lab import python_rows, settled, shown
from tests.browser.test_standby_lab import CLOSED, PICTURE

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Name a colour."},
    {"role": "assistant", "content": "Red."},
    {"role": "user", "content": "And a number?"},
]
TALK = f"""
import torch, transformer_lab as tl
from tests.factories import small, talking
torch.set_num_threads(1)
model = small(vocab_size=260, n_ctx=400, n_heads=2, d_model=16, noise=0.1)
talker = tl.TextModel(model, talking(), "bytes")
view = tl.explore(talker, {MESSAGES})
view
"""
THEME = "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
TURNS = ["system", "user 1", "assistant 1", "user 2", "assistant 2"]
WIDE = "image => image.isConnected && image.naturalWidth > 300 && image.offsetWidth > 300"


def test_a_conversation_is_clicked_through_and_opened_again(notebook, accessible, screenshot):
    book = notebook(TALK)
    page = book.page
    book.run_all()
    page.wait_for_selector("[data-ready]")
    names = lambda: page.locator(NAMES).all_inner_texts()  # noqa: E731
    page.wait_for_selector(NAMES)
    assert names()[0].startswith("▸ system · ")
    assert names()[1:] == [f"▾ {name}" for name in TURNS[1:]]
    for theme in ("Dark", "Light"):
        page.evaluate(THEME, f"JupyterLab {theme}")
        page.wait_for_selector("#jupyterlab-splash", state="detached")
        page.wait_for_selector(f".tl-view[data-theme={theme.lower()}]")
        accessible(page, ".tl-view")
        screenshot(page, f"chat-lab-{theme.lower()}")
    # A head off, the system prompt open, another turn.
    choose_head(page, 1, 1)
    page.wait_for_selector("[data-shown='decoder/1/1']")
    page.locator("[data-part=head-off]").click()
    settled(page, 1)
    assert shown(page) == python_rows(book)
    page.locator(NAMES).first.click()
    page.wait_for_selector(f"{NAMES}:has-text('▾ system')")
    tokens = page.locator(f"{STRIP} [data-index]")
    assert tokens.count() == int(book.run("len(view.ids)"))
    page.locator("[data-part=text]").fill(
        eval(book.run("view.text.replace('a colour', 'two fine colours')"))
    )
    page.locator("[data-part=text]").press("Enter")
    book.until("'two fine colours' in view.text", "True")
    settled(page, 1)
    assert names() == [f"▾ {name}" for name in TURNS]
    spans = eval(book.run("view.segments"))
    assert [*spans] == TURNS and tokens.count() == spans["assistant 2"][1]
    assert "two fine colours" in eval(book.run("dict(view.session.named_texts)['user 1']"))
    assert shown(page) == python_rows(book)
    # Reopened, it is there while the kernel lives.
    page.evaluate(CLOSED, [book.path.name, False])
    page.wait_for_selector(f".tl-view[data-ready][data-edits='1'] {NAMES}")
    assert [name.split(" ", 1)[1].split(" · ")[0] for name in names()] == TURNS
    # Without a kernel there is its image, which has every turn (tests/views/explorer).
    page.evaluate(CLOSED, [book.path.name, True])
    page.wait_for_selector(".tl-saved")
    picture = page.locator(PICTURE)
    for theme in ("Dark", "Light"):
        page.evaluate(THEME, f"JupyterLab {theme}")
        page.wait_for_selector("#jupyterlab-splash", state="detached")
        page.wait_for_function(WIDE, arg=picture.element_handle())
        screenshot(page, f"chat-reopened-{theme.lower()}")
    assert picture.count() == 1
    assert [error for error in page.errors if "create_subshell_request" not in error] == []
