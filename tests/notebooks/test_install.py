"""The first code cell installs the package if it is missing, and is the same in every notebook."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from packaging.version import Version

import transformer_lab
from transformer_lab.lessons.listing import lesson_paths

FOLDER = Path(__file__).parents[2] / "notebooks"
LESSONS = lesson_paths(FOLDER)


def install_cell(path):
    [cell] = [c for c in nbformat.read(path, as_version=4).cells if c.id == "install"]
    return cell


SOURCE = install_cell(FOLDER / "01_attention_by_hand.ipynb").source


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_lesson_has_the_same_one_before_it_imports_anything(path):
    assert install_cell(path).source == SOURCE
    assert install_cell(path).metadata == install_cell(LESSONS[0]).metadata
    code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert [c.id for c in code[:3]] == ["parameters", "install", "setup"]


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the cell in an empty folder; returns its commands, which are not executed."""
    given = []
    monkeypatch.setattr(subprocess, "check_call", given.append)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")

    def run_(*, installed, address=""):
        find = importlib.util.find_spec
        hidden = () if installed else ("transformer_lab",)
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name in hidden else find(name)
        )
        exec(SOURCE.replace('SOURCE = ""', f"SOURCE = {address!r}", 1), {})
        return given

    return run_


def test_it_does_nothing_where_the_package_is(run):
    assert run(installed=True, address="git+https://example.org/x") == []


def test_it_installs_the_repository_that_holds_the_notebook(run, tmp_path):
    (tmp_path / "transformer_lab").mkdir()
    assert run(installed=False) == [[sys.executable, "-m", "pip", "install", "--quiet", ".."]]


def test_it_installs_from_an_address(run):
    [command] = run(installed=False, address="git+https://example.org/x")
    assert command[-1] == "git+https://example.org/x"


def test_alone_it_says_what_to_type(run):
    with pytest.raises(ModuleNotFoundError, match="write its address above, SOURCE ="):
        run(installed=False)


def test_an_old_package_is_told_to_be_renewed(run, monkeypatch):
    monkeypatch.setattr(transformer_lab, "__version__", "0.0.9")
    with pytest.raises(
        ImportError, match=r"needs transformer-lab-notebooks 0\.1 .*and 0\.0\.9 is installed"
    ):
        run(installed=True)


def test_the_package_of_this_repository_is_new_enough(run):
    needed = re.search(r'^NEEDED = "([^"]+)"', SOURCE, re.MULTILINE)
    assert needed
    assert Version(transformer_lab.__version__) >= Version(needed[1])
    assert Version(transformer_lab.__version__).release[:2] == Version(needed[1]).release[:2]
