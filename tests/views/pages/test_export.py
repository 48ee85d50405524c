import json
import re
from html.parser import HTMLParser

import nbformat
import pytest

from transformer_lab.views import HeadView, clean_notebook
from transformer_lab.views.export import (
    STATE_MIME,
    VIEW_MIME,
    live_views,
    notebook_to_html,
    safe_json,
    write_page,
)


class Scripts(HTMLParser):
    """Every script element and block of a page: its attributes and its text."""

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
    state, loader, *blocks = scripts.found
    payload = json.loads(state[1])
    assert payload["state"]["_first"]["name"] == "decoder/1/3"
    assert "_maps" not in payload["state"]
    assert payload["buffers"]["_maps"] == ""
    assert "data-block" not in loader[0]
    assert [b[0]["data-block"] for b in blocks] == [
        f"decoder/{layer}/{head}" for layer in range(4) for head in range(8)
    ]
    # The first screen stands before every block.
    assert text.index("</script>", text.index("tl-state")) < text.index("data-block=")


def test_a_page_can_be_limited_to_layers_and_says_so(long_trace, tmp_path):
    view = HeadView(long_trace)
    path = view.save_html(tmp_path / "two.html", layers=[0, 2])
    scripts = Scripts(path.read_text())
    assert "layers 0, 2, of 4" in json.loads(scripts.found[0][1])["state"]["_note"]
    kept = {a["data-block"].split("/")[1] for a, _ in scripts.found[2:]}
    assert kept == {"0", "2"}
    assert path.stat().st_size < 0.6 * view.save_html(tmp_path / "all.html").stat().st_size
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
    """An executed notebook as JupyterLab saves it: one view of ours, one slider of somebody else."""
    from ipywidgets import IntSlider, Widget

    outputs = [nbformat.v4.new_output("display_data", *()) for _ in range(0)]
    data, metadata = view._repr_mimebundle_()
    import base64

    data["image/png"] = base64.b64encode(data["image/png"]).decode()
    outputs.append(nbformat.v4.new_output("display_data", data=data, metadata=metadata))
    if other:
        slider = IntSlider()
        outputs.append(
            nbformat.v4.new_output(
                "display_data",
                data={
                    "text/plain": "slider",
                    VIEW_MIME: slider._repr_mimebundle_()[VIEW_MIME],
                },
            )
        )
    cell = nbformat.v4.new_code_cell("view", outputs=outputs)
    found = nbformat.v4.new_notebook(cells=[cell])
    if state:
        found.metadata["widgets"] = {STATE_MIME: Widget.get_manager_state()}
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
    assert VIEW_MIME in theirs  # not ours to touch: there is no picture to fall back on


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

    from transformer_lab.views.modules import STATIC

    config = json.loads((STATIC.parent / "jupyter_nbconvert_config.json").read_text())
    for name in config["HTMLExporter"]["preprocessors"]:
        import_item(name)
