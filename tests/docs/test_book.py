"""The book and the slides, built from two small lessons and opened from disk."""

import os
import subprocess
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import torch

import transformer_lab as tl
from docs import reference, site_pages
from tests.browser.fixtures import choose_head, says
from tests.kernels import FORKED

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SETUP = """import torch, transformer_lab as tl
from transformer_lab.lessons import presets
lesson = presets("{number}", preset=preset, device=device, seed=seed, answers=answers)"""
VIEW = """model = tl.Transformer(tl.ModelConfig(vocab_size=9, n_layers=2, n_heads=2, d_model=8, n_ctx=9))
tl.views.HeadView(tl.trace(model.eval(), torch.arange(6)), title="Six tokens")"""
TEXTS = "the cat sat on the mat and the dog sat too"
ALIVE = f"""from transformer_lab.tokenizers import WordTokenizer
words = WordTokenizer.train("{TEXTS}")
torch.manual_seed(0)
sizes = dict(vocab_size=words.vocab_size, n_layers=2, n_heads=2, d_model=16, n_ctx=16)
small = tl.TextModel(tl.Transformer(tl.ModelConfig(**sizes)).eval(), words, "small")
tl.explore(small, "the cat sat")"""
# A view of token ids, whose TextModel the book finds in the notebook, and one of a model without.
BESIDE = """by_ids = tl.trace(small.model, words.encode("the dog sat on the cat"), labels="the dog sat on the cat".split())
tl.views.HeadView(by_ids, title="By its ids")"""
APART = """class Data: tokenizer = WordTokenizer.train("the cat sat")
data = Data()
other = tl.Transformer(tl.ModelConfig(**sizes)).eval()
tl.views.HeadView(tl.trace(other, torch.arange(4, 9), labels=list("abcde")), title="Of nobody")"""
PARAMETERS = 'preset = "full"\ndevice = "cpu"\nseed = 0\nanswers = "learner"'


def lesson(number, title, *cells):
    made = nbformat.v4.new_notebook()
    made.metadata.kernelspec = dict(name="python3", display_name="Python 3", language="python")
    code, text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    parameters = code(PARAMETERS)
    parameters.metadata.tags = ["parameters"]
    made.cells = [text(f"# {title}"), parameters, code(SETUP.format(number=number))]
    made.cells += [*(code(c[1:]) if c.startswith("!") else text(c) for c in cells)]
    made.cells.append(code("lesson.finish()"))
    return made


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    (folder / "images").mkdir()
    formula = (
        "## Pomegranates are divided\n\n$$\\frac{a}{\\sqrt d}$$\n\nInline $x^2$, and `$code$`."
    )
    hint = "<details><summary><b>Hint</b></summary>\n\nLook twice.\n\n</details>"
    second = "## Next\n\n[Back](90_first.ipynb) and [out](../README.md)."
    nbformat.write(lesson("90", "First", formula, f"!{VIEW}", hint), folder / "90_first.ipynb")
    nbformat.write(
        lesson("91", "Second", second, f"!{ALIVE}", f"!{BESIDE}", f"!{APART}"),
        folder / "91_second.ipynb",
    )
    (folder / "glossary.md").write_text("# Glossary\n\n## head\n\nOne of several.\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def makers(notebooks):
    """make_book and make_slides, set to these notebooks."""
    from docs import make_book, make_slides

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_book, "NOTEBOOKS", notebooks)
        patch.setattr(make_slides, "NOTEBOOKS", notebooks)
        patch.setenv("JUPYTER_PATH", os.environ[FORKED])
        yield make_book, make_slides


@pytest.fixture(scope="module")
def book(makers, tmp_path_factory):
    return makers[0].build([], "quick", tmp_path_factory.mktemp("book") / "html").parent


@pytest.fixture(scope="module")
def slides(makers, tmp_path_factory):
    """The slide pages of all lessons."""
    return makers[1].build([], "quick", tmp_path_factory.mktemp("slides"))


def rows(frame):
    found = frame.locator("[data-part=predictions] tbody tr")
    return found.evaluate_all(
        "all => all.map(r => [r.querySelector('th').innerText,"
        " Number(r.querySelector('[data-side]').title)])"
    )


def typed(frame, text):
    frame.locator("[data-part=text]").fill(text)
    stamp = frame.locator("[data-stamp]").get_attribute("data-stamp")
    frame.locator("[data-part=text]").press("Enter")
    frame.locator(f"[data-settled=true][data-stamp]:not([data-stamp='{stamp}'])").wait_for()


def test_the_book_opens_from_a_disk_with_its_views_alive(book, open_page, screenshot):
    page = open_page(book / "90_first.html", ready="iframe")
    frame = page.frame_locator("iframe")
    page.locator("iframe").scroll_into_view_if_needed()
    choose_head(frame, 0, 1)
    frame.locator("[data-shown='decoder/0/1']").wait_for()
    assert page.locator("math mfrac").count() == 1  # the browser renders the formula
    assert "$code$" in page.locator("code").all_inner_texts()
    shown = page.locator("article").text_content()
    assert 'preset = "quick"' in shown and 'preset = "full"' not in shown  # as it was run
    page.evaluate("() => { document.body.dataset.theme = 'dark' }")
    frame.locator("#tl-root[data-theme=dark]").wait_for()
    screenshot(page, "book-dark")
    page.locator("a.next-page").press("Enter")
    page.wait_for_url("**/91_second.html")
    page.locator("article a", has_text="Back").click()
    page.wait_for_url("**/90_first.html")
    assert page.requests == [page.requests[0], *(r for r in page.requests[1:] if "file://" in r)]
    del page.requests[1:]


def test_views_are_as_wide_as_the_window_and_lines_are_not(book, open_page):
    page = open_page(book / "90_first.html", ready="iframe")
    box = lambda what: page.locator(what).first.bounding_box()  # noqa: E731
    own, button = ".toc-drawer", ".toc-content-icon"
    for width, least in ((1100, 800), (1300, 1000), (1440, 1140), (1920, 1300)):
        page.set_viewport_size({"width": width, "height": 900})
        frame, pages, toc = box("iframe"), box(".sidebar-drawer"), box(own)
        assert frame["width"] >= least
        assert frame["x"] >= pages["x"] + pages["width"]
        assert frame["x"] + frame["width"] <= min(width, toc["x"])
        assert toc["x"] >= width or width == 1920  # beside the rest only if there is room
        assert page.locator(button).is_visible() == (width < 1920)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert box("article p")["width"] <= 54 * 17.6
    page.set_viewport_size({"width": 1300, "height": 900})
    page.locator(button).click()
    page.wait_for_function(
        "() => document.querySelector('.toc-drawer').getBoundingClientRect().right <= innerWidth"
    )
    page.goto((book / "index.html").as_uri())
    assert not page.locator(button).is_visible()  # it has no list of its own
    del page.requests[1:]


def test_the_views_of_a_lesson_are_alive_on_its_own_model(book, open_page):
    page = open_page(book / "91_second.html", ready="iframe")
    assert "_instances" not in page.locator("article").text_content()  # how views were saved
    page.locator("iframe").first.scroll_into_view_if_needed()
    frame = page.frame_locator("iframe >> nth=0")
    typed(frame, "the dog sat on the")
    made = {"torch": torch, "tl": tl}
    exec(ALIVE.rpartition("\n")[0], made)  # the lesson's own code
    trace = made["small"].trace("the dog sat on the")
    wanted = dict(trace.predictions(k=5))
    found = dict(rows(frame))
    assert {token: found[token] for token in wanted} == pytest.approx(wanted, abs=1e-3)
    del page.requests[1:]


def test_a_page_of_the_book_holds_a_model_once(book, open_page, tmp_path):
    source = (book / "91_second.html").read_text("utf-8")
    assert (
        source.count('<script type="text/plain" id="tl-shared-') == 2
    )  # the engine, and the model
    page = open_page(book / "91_second.html", ready="iframe")
    frame = page.frame_locator("iframe >> nth=1")
    page.locator("iframe").nth(1).scroll_into_view_if_needed()
    made = {"torch": torch, "tl": tl}
    exec(ALIVE.rpartition("\n")[0], made)
    frame.locator("[data-part=text]").fill("the cat sat on the dog")
    frame.locator("[data-part=text]").press("Enter")
    view = tl.views.HeadView(made["small"].trace("the cat sat on the dog"))
    frame.locator("[data-part=sentence]", has_text=view.sentence).wait_for()
    apart = page.frame_locator("iframe >> nth=2")
    apart.locator("[data-ready]").wait_for()
    assert apart.locator("[data-part=text]").count() == 0  # it offers no field for text
    frame.locator("[data-part=save]").click()  # a page saved from a frame works alone
    with page.expect_download() as download:
        frame.locator("[data-part=html]").click()
    download.value.save_as(tmp_path / "alone.html")
    alone = open_page(tmp_path / "alone.html")
    alone.locator("[data-part=text]").fill("on the mat")
    alone.locator("[data-part=text]").press("Enter")
    says(alone, tl.views.HeadView(made["small"].trace("on the mat")))
    del page.requests[1:]


class Links(HTMLParser):
    """The addresses that a page links to, and the anchors that others may link to."""

    def __init__(self, path):
        super().__init__()
        self.addresses, self.places = [], set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.places |= {given.get("id"), given.get("name")}
        self.addresses += [given[x] for x in ("href", "src") if given.get(x)]


def test_every_link_within_the_book_leads_somewhere(book):
    pages = {path: Links(path) for path in book.rglob("*.html")}
    assert "teaching.html" in {path.name for path in pages}  # it links to files outside the book
    checked = 0
    for path, page in pages.items():
        for address in page.addresses:
            url = urlsplit(address)
            if url.scheme or url.netloc:
                continue
            to = (path.parent / unquote(url.path)).resolve() if url.path else path
            assert to.is_file(), (path.name, address)
            of_ours = to.suffix == ".html" and to.name != "glossary.html"  # a short one here
            assert not url.fragment or not of_ours or unquote(url.fragment) in pages[to].places, (
                path.name,
                address,
            )
            checked += 1
    assert checked > 1000


def test_the_book_can_be_searched_with_no_server(book, open_page):
    page = open_page(book / "search.html", ready="form")
    page.goto((book / "search.html").as_uri() + "?q=pomegranates")
    page.wait_for_selector("#search-results li a")
    assert "First" in page.locator("#search-results li").first.inner_text()
    del page.requests[1:]


def test_nothing_in_the_book_or_the_slides_is_loaded_from_a_network(book, slides):
    import re

    pages = [*book.glob("*.html"), *slides]
    assert len(pages) >= 6
    for page in pages:
        text = re.sub(r'<a [^>]*href="https?://[^>]*>', "", page.read_text("utf-8"))
        assert not re.findall(r'(?:src|href)="(?:https?:)?//[^"]*', text), page.name
    assert (book / "glossary.html").is_file()
    index = " ".join((book / "index.html").read_text("utf-8").split())
    assert (
        "<iframe" in index or "in the views of the lessons" in index
    )  # it promises no views of its own
    first = slides[0].read_text("utf-8")
    assert "Look twice" not in first  # a hint
    assert "mfrac" in first


def test_slides_turn_and_their_views_live(slides, open_page, screenshot):
    page = open_page(slides[0], ready=".reveal.ready")
    for _ in range(12):
        if page.locator("section.present:not(.stack) iframe").count():
            break
        page.keyboard.press("Space")
        page.wait_for_timeout(100)
    frame = page.frame_locator("section.present:not(.stack) iframe")
    choose_head(frame, 0, 1)
    frame.locator("[data-shown='decoder/0/1']").wait_for()
    screenshot(page, "slides")
    page.requests[1:] = [r for r in page.requests[1:] if not r.startswith("file://")]


def test_an_unknown_lesson_is_refused(makers):
    with pytest.raises(SystemExit, match="no lesson 77; choose from 90, 91"):
        makers[0].lessons_in(["77"])


def test_a_folder_with_something_else_in_it_is_left_alone(makers, tmp_path, monkeypatch, capsys):
    """Building stops before a lesson runs, and again if somebody's work appears there meanwhile."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SystemExit, match="not part of a book"):
        makers[0].build(["91"], "quick", tmp_path)
    assert "running" not in capsys.readouterr().out

    def written_meanwhile(command, **_):
        if "sphinx" in command:
            (tmp_path / "thesis").mkdir()
            (tmp_path / "thesis" / "thesis.txt").write_text("an hour of work")
        return subprocess.CompletedProcess(command, 0, stdout="")

    monkeypatch.setattr(makers[0], "executed", lambda *_: nbformat.v4.new_notebook())
    monkeypatch.setattr(makers[0].subprocess, "run", written_meanwhile)
    with pytest.raises(SystemExit, match="not part of a book"):
        makers[0].build(["91"], "quick", tmp_path / "thesis")
    kept = {path.read_text() for path in tmp_path.rglob("*.txt")}
    assert kept == {"years of work", "an hour of work"}


def test_a_model_learns_on_the_front_page_and_another_is_at_work(book, open_page):
    page = open_page(book / "index.html", ready="iframe[src]", width=390)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    headings = page.locator("h2").all_inner_texts()[:3]
    assert [text.strip("#¶ ") for text in headings] == [
        "Watch a head form",
        "Watch a model at work",
        "Switch a head off",
    ]
    learning = page.frame_locator("iframe[src$='train.html']")
    learning.locator("[data-ready]").wait_for()
    learning.locator("[data-part=go]").click()
    # Any step may be the first one shown: a busy page may skip some.
    learning.locator("[data-training=true]:not([data-step='0'])").wait_for(timeout=60_000)
    learning.locator("[data-part=go]", has_text="Stop").click()
    learning.locator("[data-training=false]").wait_for()
    assert (
        "right on texts that it never sees" in learning.locator("[data-part=status]").inner_text()
    )
    work = page.frame_locator("iframe[src$='model.html']")
    work.locator("[data-ready]").wait_for()
    assert work.locator("[data-part=sentence]").inner_text()
    del page.requests[1:]


def test_the_front_page_shows_a_living_model(book, open_page, screenshot):
    page = open_page(book / "index.html", ready="iframe[src]")
    frame = page.frame_locator("iframe[src$='shipped.html']")
    frame.locator("[data-ready]").wait_for()
    typed(frame, "import os, sys, o")
    model = tl.TextModel.from_pretrained("shipped")
    wanted = dict(model.trace("import os, sys, o").predictions(k=5))
    found = dict(rows(frame))
    assert {token: found[token] for token in wanted} == pytest.approx(wanted, abs=2e-3)
    page.evaluate("() => { document.body.dataset.theme = 'dark' }")
    frame.locator("#tl-root[data-theme=dark]").wait_for()
    screenshot(page, "book-front-dark")
    del page.requests[1:]


def played(page, name):
    """Choose a task of the playground; returns its frame once it shows that task."""
    page.locator(".tl-tasks a", has_text=site_pages.PLAY[name][0]).first.click()
    page.wait_for_function(
        "name => document.querySelector('.tl-tasks [aria-current]').href.endsWith(name)",
        arg=f"{name}.html",
    )
    frame = page.frame(name="tl-playground")
    frame.wait_for_url(f"**/{name}.html")
    frame.wait_for_selector("[data-ready]")
    return frame


def test_the_playground_is_played(book, open_page, screenshot):
    page = open_page(book / "playground.html", ready="iframe[src]", width=390)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    for name, (title, *_) in site_pages.PLAY.items():
        frame = played(page, name)
        model = tl.TextModel.from_pretrained(site_pages.MODELS / name)
        assert frame.locator("[data-part=text]").input_value() == site_pages.starting_text(
            name, model
        )
        assert page.locator(".tl-words p:visible").inner_text().startswith(f"{title}:")
    assert page.locator(".tl-tasks a").count() == len(site_pages.PLAY) == 6
    frame = played(page, "sort")
    typed(frame, "9 4 33 1 7 20 45 12 → 1 4")
    [token, chance] = rows(frame)[0]
    assert token == "7" and chance > 0.9
    screenshot(page, "book-playground-390")
    del page.requests[1:]


def test_the_reference_names_whatever_is_public(book):
    found = {}
    for path, module in reference.modules().items():
        html = (book / f"api_{path.rpartition('.')[2]}.html").read_text("utf-8")
        found |= {f"{path}.{name}": html for name in reference.names(module)}
    listed = {f"transformer_lab.{n}" for n in tl.__all__} - set(found)
    assert listed == set(reference.modules()) - {"transformer_lab"} | {"transformer_lab.adapters"}
    assert len(found) > 200
    assert [name for name, html in found.items() if f'id="{name}"' not in html] == []
    lesson = (book / "91_second.html").read_text("utf-8")
    assert 'href="api_transformer_lab.html#transformer_lab.explore"' in lesson
    assert "Train <code" in found["transformer_lab.train"]  # its docstring
