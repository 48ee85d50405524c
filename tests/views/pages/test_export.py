import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ipywidgets import IntSlider
from ipywidgets.embed import dependency_state

from transformer_lab.views import HeadView, clean_notebook
from transformer_lab.views.pages.export import (
    STATE_MIME,
    VIEW_MIME,
    live_views,
    notebook_to_html,
    safe_json,
    write_page,
)


class Scripts(HTMLParser):
    """Attributes and text of every script and template element of a page."""

    def __init__(self, text):
        super().__init__()
        self.found, self.policy, self.inside = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag in ("script", "template"):
            self.found.append((attributes, ""))
            self.inside = True
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]
        for name in ("src", "href"):
            assert name not in attributes

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            attributes, text = self.found[-1]
            self.found[-1] = attributes, text + data


def test_json_in_a_script_ends_no_script():
    text = safe_json({"a": "</script><!--\u2028&\ud800"})
    assert not re.search(r"[<>&\u2028]", text)
    assert json.loads(text)["a"].startswith("</script><!--\u2028&")


def test_a_page_names_no_host_and_carries_every_head(long_trace):
    view = HeadView(long_trace, layer=1, head=3)
    text = view.to_html()
    scripts = Scripts(text)
    assert scripts.policy.startswith("default-src 'none'")
    assert "http" not in scripts.policy
    _, state, loader, *blocks, _ = scripts.found
    payload = json.loads(state[1])
    assert payload["state"]["_first"]["name"] == "decoder/1/3"
    assert "_maps" not in payload["state"]
    assert base64.b64decode(payload["buffers"]["_maps"]) == view._maps  # of that head only
    assert "data-block" not in loader[0]
    assert [b[0]["data-block"] for b in blocks] == [
        f"decoder/{layer}/{head}" for layer in range(4) for head in range(8)
    ]
    # The first screen comes before every block.
    assert text.index("</script>", text.index("tl-state")) < text.index("data-block=")


def test_a_page_can_be_limited_to_layers_and_says_so(long_trace, tmp_path):
    view = HeadView(long_trace)
    path = view.save_html(tmp_path / "two.html", layers=[0, 2])
    scripts = Scripts(path.read_text())
    assert "layers 0, 2, of 4" in json.loads(scripts.found[1][1])["state"]["_note"]
    kept = {a["data-block"].split("/")[1] for a, _ in scripts.found[3:-1]}
    assert kept == {"0", "2"}
    held = [len(text) for _, text in scripts.found[3:-1]]
    every = Scripts(view.save_html(tmp_path / "all.html").read_text()).found[2:]
    assert sum(held) < 0.6 * sum(len(text) for _, text in every)
    with pytest.raises(ValueError, match=r"layers=\[4\] must name some of the layers 0 … 3"):
        view.save_html(tmp_path / "no.html", layers=[4])
    assert not (tmp_path / "no.html").exists()


def test_a_path_that_holds_no_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is a folder; name a file"):
        write_page(tmp_path, ["x"])
    with pytest.raises(ValueError, match="does not exist"):
        write_page(tmp_path / "no" / "x.html", ["x"])

    def failing():
        yield "half"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_page(tmp_path / "x.html", failing())
    assert list(tmp_path.iterdir()) == []


def notebook(view, *, state=True, other=True):
    """An executed notebook as JupyterLab saves it: a view of ours, and a slider of ipywidgets."""
    data, metadata = view._repr_mimebundle_()
    data["image/png"] = base64.b64encode(data["image/png"]).decode()
    outputs, widgets = (
        [nbformat.v4.new_output("display_data", data=data, metadata=metadata)],
        [view],
    )
    if other:
        slider = IntSlider()
        widgets.append(slider)
        outputs.append(
            nbformat.v4.new_output(
                "display_data",
                data={"text/plain": "slider", VIEW_MIME: slider._repr_mimebundle_()[VIEW_MIME]},
            )
        )
    cell = nbformat.v4.new_code_cell("view", outputs=outputs)
    found = nbformat.v4.new_notebook(cells=[cell])
    if state:  # of these only: a manager holds the widgets of all earlier tests
        held = dependency_state(widgets, drop_defaults=False)
        found.metadata["widgets"] = {
            STATE_MIME: {"version_major": 2, "version_minor": 0, "state": held}
        }
    return nbformat.from_dict(json.loads(json.dumps(found)))


def test_live_views_replace_ours_alone(trace):
    book = notebook(HeadView(trace))
    assert live_views(book) == 1
    ours, theirs = (output["data"] for output in book.cells[0].outputs)
    assert VIEW_MIME not in ours
    assert 'sandbox="allow-scripts allow-downloads"' in ours["text/html"]
    assert "image/png" in ours
    assert VIEW_MIME in theirs
    states = book.metadata["widgets"][STATE_MIME]["state"].values()
    assert not any("HeadView" in str(s["state"].get("_anywidget_id")) for s in states)


def test_without_other_widgets_nothing_is_left_that_stock_pages_would_fetch(trace):
    book = notebook(HeadView(trace), other=False)
    live_views(book)
    assert "widgets" not in book.metadata


def test_without_state_the_picture_stays(trace):
    book = notebook(HeadView(trace), state=False)
    assert live_views(book) == 0
    ours, theirs = (output["data"] for output in book.cells[0].outputs)
    assert VIEW_MIME not in ours
    assert "image/png" in ours
    assert VIEW_MIME in theirs  # not ours to change: there is no image to fall back on


def test_a_clean_notebook_keeps_picture_and_text(trace):
    book = clean_notebook(notebook(HeadView(trace)))
    assert "widgets" not in book.metadata
    data = book.cells[0].outputs[0]["data"]
    assert set(data) == {"image/png", "text/plain"}


def test_notebook_to_html(trace, tmp_path):
    nbformat.write(notebook(HeadView(trace), other=False), tmp_path / "n.ipynb")
    text = notebook_to_html(tmp_path / "n.ipynb", tmp_path / "n.html").read_text()
    assert "srcdoc=" in text


def test_the_configuration_names_a_preprocessor_that_exists():
    from traitlets.utils.importstring import import_item

    from transformer_lab.views.shared.modules import VIEWS

    config = json.loads((VIEWS / "jupyter_nbconvert_config.json").read_text())
    for name in config["HTMLExporter"]["preprocessors"]:
        import_item(name)


@pytest.mark.parametrize("sanitized", [False, True])
def test_a_servers_own_export_shows_pictures_and_words(trace, sanitized):
    """With "Sanitize" ticked, JupyterLab's export used to print style sheets and base64 as text."""
    from types import SimpleNamespace

    from nbconvert import HTMLExporter
    from traitlets.config import Config

    from transformer_lab.lessons.cards import Card, Shown
    from transformer_lab.lessons.pictures.bars import predictions
    from transformer_lab.views.pages import server

    settings = {"config": Config()}
    for _ in range(2):
        server._load_jupyter_server_extension(
            SimpleNamespace(web_app=SimpleNamespace(settings=settings))
        )
    assert settings["config"].HTMLExporter.preprocessors == [server.PASS]
    book = notebook(HeadView(trace), other=False)
    told = Shown()
    told.card = lambda: Card("good", "It holds")
    for thing in (predictions({"first": [("a", 0.5)]}, alt="A bar.", caption="Half."), told):
        output = nbformat.v4.new_output("display_data", thing._repr_mimebundle_())
        book.cells[0].outputs.append(output)
    del book.metadata["widgets"]  # JupyterLab saves no state by default
    exporter = HTMLExporter(config=settings["config"])
    exporter.sanitize_html = sanitized
    page, _ = exporter.from_notebook_node(book)
    text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", page.split("<main", 1)[1], flags=re.S)
    for word in ("base64", "tl-", "&lt;", "{", "margin:"):
        assert word not in text, text[max(0, text.index(word) - 300) :][:900]
    assert page.count('src="data:image/') == (2 if sanitized else 3)  # light and dark
    assert "It holds" in text and "Half." in text and "view.save_html(path)" in text


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(value, here=()):
    """Paths to every value in nested dicts and lists."""
    yield here
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*here, key))


@pytest.mark.badinput
def test_a_notebook_whose_state_is_damaged_keeps_its_pictures(trace):
    good = json.dumps(notebook(HeadView(trace)))
    metadata = [("metadata", *path) for path in places(json.loads(good)["metadata"])]
    shown = [
        ("cells", 0, "outputs", i, "data", *path)
        for i in (0, 1)
        for path in places(json.loads(good)["cells"][0]["outputs"][i]["data"])
    ]

    @settings(max_examples=150, derandomize=True, deadline=None)
    @given(st.sampled_from(metadata[1:] + shown), ANYTHING, st.booleans())
    def each(path, value, gone):
        book = json.loads(good)
        *above, last = path
        place = book
        for key in above:
            place = place[key]
        if gone:
            del place[last]
        else:
            place[last] = value
        book = nbformat.from_dict(book)
        assert live_views(book) in (0, 1)
        for output in book.cells[0].outputs:
            if isinstance(output.get("data"), dict) and "text/html" in output["data"]:
                Scripts(output["data"]["text/html"])

    each()


def test_a_notebook_of_the_first_edition_still_comes_alive():
    """It was written when all views were in one folder; its state names a module of that time."""
    book = nbformat.read(Path(__file__).with_name("first_edition_notebook.json"), as_version=4)
    states = book.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    assert states["view"]["state"]["_anywidget_id"] == "transformer_lab.views.head_view.HeadView"
    assert live_views(book) == 1
    assert "srcdoc=" in book.cells[0].outputs[0].data["text/html"]
    assert "widgets" not in book.metadata
