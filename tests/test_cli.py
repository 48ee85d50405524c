"""The command line: its output and its errors."""

import re
import subprocess
import sys

import matplotlib.image
import nbformat
import pytest
from click.testing import CliRunner

import transformer_lab as tl
from tests.cells import told
from transformer_lab import exploring  # noqa: F401
from transformer_lab.cli import main


def call(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize("command", ["explore", "train"])
def test_help_shows_examples(command):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert result.output.count(f"transformer-lab {command}") >= 2


def test_explore_writes_one_page_and_opens_nothing(tmp_path):
    page = tmp_path / "heads.html"
    result = call("explore", "--text", "def f(x): return x", "--html", str(page))
    assert result.exit_code == 0, result.output
    assert "It needs no network" in result.output
    assert "another text, masks, edits and generation need only a browser" in result.output
    html = page.read_text("utf-8")
    assert 'data-block="model"' in html and "worker-src" not in html
    result = call(
        "explore", "--text", "def f", "--no-effects", "--without-model", "--html", str(page)
    )
    assert "the rest needs a live kernel" in result.output
    assert 'data-block="model"' not in page.read_text("utf-8")
    assert "--html" in call("explore", "--with-model").output
    assert "default-src 'none'" in html
    assert "<script src" not in html and "https://cdn" not in html


@pytest.mark.parametrize(
    "limit", ["explorer.effects.EFFECTS_WITHIN", "shared.overlay.PAGE_SECONDS"]
)
def test_explore_says_what_a_page_leaves_out_and_how_to_have_it(tmp_path, monkeypatch, limit):
    """The page of a large model left out effects silently."""
    monkeypatch.setattr(f"transformer_lab.views.{limit}", 0.0)
    page, given = tmp_path / "heads.html", ["--text", "def f", "--without-model"]
    if "overlay" in limit:
        from tests.factories import picture, vision

        eyes = tl.ImageModel(vision(num_labels=3), name="small")
        monkeypatch.setattr(tl.ImageModel, "from_pretrained", lambda *_, **__: eyes)
        matplotlib.image.imsave(tmp_path / "x.png", picture())
        given = ["--image", str(tmp_path / "x.png")]
    result = call("explore", *given, "--html", str(page))
    assert result.exit_code == 0, result.output
    assert re.search(
        r"each of the \d+ heads is left out: it takes .*; --effects computes it", result.output
    )
    assert "is left out: it takes" in page.read_text("utf-8")
    result = call("explore", *given, "--html", str(page), "--effects")
    assert "is left out: it takes" not in result.output + page.read_text("utf-8")
    assert 'data-block="effect/' in page.read_text("utf-8")
    assert "--html" in call("explore", "--effects").output


def test_explore_writes_a_notebook_that_runs(tmp_path, monkeypatch):
    from transformer_lab.exploring import write_notebook

    path = write_notebook("shipped", "def f(x): return x", None, tmp_path)
    assert write_notebook("shipped", None, None, tmp_path) != path, "a notebook is not overwritten"
    cells = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
    found = told(*cells, "print(view.effect.kl > 0)")
    assert not any("error" in cell for cell in found)
    *_, said, effect, checked = found
    # the head that matters most
    assert re.match(r"edits = \[\]\nLayer \d, head \d: ", said["stdout"])
    assert effect["result"] and checked == {"stdout": "True\n"}


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "./nowhere"], "the folder ./nowhere does not exist"),
        (["--text", "word " * 999], "reads at most 256; shorten it"),
        (["--target", "x"], "shipped is a decoder and takes no target"),
    ],
)
def test_no_notebook_is_opened_that_could_only_fail(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("subprocess.Popen", None)
    result = call("explore", *arguments)
    assert (result.exit_code, message in result.output) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.badinput
def test_a_folder_that_cannot_be_written_to_is_told_before_anything_is_computed(
    tmp_path, monkeypatch
):
    def refused(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    monkeypatch.setattr("transformer_lab.text_model.TextModel.from_pretrained", None)
    result = call("explore", "--html", str(tmp_path / "x.html"))
    assert result.exit_code == 2
    assert "cannot be written to (Permission denied); name a file in a folder of" in result.output


@pytest.mark.badinput
@pytest.mark.parametrize("before", [["explore", "--html"], ["study", "texts.txt", "--save"]])
def test_what_is_not_written_over_is_told_before_torch_is_loaded(before, tmp_path):
    (tmp_path / "texts.txt").write_text("one text\n")
    (tmp_path / "page.csv").symlink_to("nowhere")
    code = f"""
import sys
from transformer_lab.cli import main
try:
    main({[*before, "page.csv"]})
finally:
    print("torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "False\n")
    told = f"{before[-1]} page.csv is a symbolic link, which is not overwritten; name another file"
    assert told in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explore", "--text", " ", "--html", "x.html"], "--text is empty"),
        (
            ["explore", "--model", "./nowhere", "--html", "x.html"],
            "the folder ./nowhere does not exist",
        ),
        (
            ["explore", "--html", "no-such-folder/x.html"],
            "the folder no-such-folder does not exist",
        ),
        (["explore", "--model", "", "--html", "x.html"], "--model is empty; leave it out"),
        (["explore", "--html", ""], "'--html': the path is empty; name a file or a folder"),
        (["assignment", "01", "--out", ""], "'--out': the path is empty; name a file or a folder"),
        (["assignment", "01"], "Missing option '--out'"),
        (["--nope"], "No such option '--nope'"),
        (
            ["explore", "--device", "cpu:7", "--html", "x.html"],
            "device must be cpu:0 … 0 on this machine, got 'cpu:7'",
        ),
        (
            ["explore", "--target", "x", "--html", "x.html"],
            "target='x': shipped is a decoder and takes no target; leave it out",
        ),
        (["explore", "--device", "tpu", "--html", "x.html"], "device must be one of auto, "),
        (["explore", "--text", "word " * 999, "--html", "x.html"], "reads at most 256"),
        (["train", "no-such.toml"], "'no-such.toml' does not exist"),
        (["explroe"], "No such command"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert result.output.startswith("transformer-lab: ") and result.output.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
