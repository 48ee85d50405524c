"""Copies of the lessons: complete, never confused with the learner's changes, and never lost."""

import errno
import json
import posixpath
import re
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_lab.cli import main
from transformer_lab.files.paths import FileError
from transformer_lab.files.safefiles import DiskFullError
from transformer_lab.lessons import copying
from transformer_lab.lessons.copying import MANIFEST, compare, copy_lessons, package_files

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def files_of(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.name != MANIFEST
    }


def call(*arguments):
    return CliRunner().invoke(main, ["lessons", *map(str, arguments)])


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three small files, which a test may change as a new release would."""
    source = tmp_path / "package"
    (source / "images").mkdir(parents=True)
    for name in ("01_a.ipynb", "README.md", "images/01_a.svg"):
        (source / name).write_text(f"ours {name}")
    monkeypatch.setattr(copying, "resource", lambda name: source)
    return source


# ---------------------------------------------------------------- copying


def test_every_lesson_with_its_glossary_readme_and_images_and_nothing_of_a_workbench(tmp_path):
    copy_lessons(tmp_path / "course")
    wanted = {p.name for p in NOTEBOOKS.glob("*.ipynb")} | {"README.md", "glossary.md"}
    wanted |= {f"images/{p.name}" for p in NOTEBOOKS.glob("images/*")}
    wanted |= {f"de/{p.name}" for p in NOTEBOOKS.glob("de/*")}
    copied = files_of(tmp_path / "course")
    assert set(copied) == wanted
    assert all(content == (NOTEBOOKS / name).read_bytes() for name, content in copied.items())


def test_for_students_there_are_no_solutions_and_all_else_is_the_same(tmp_path):
    assert call(tmp_path / "course", "--no-solutions", "--no-open").exit_code == 0
    copied, left_out = files_of(tmp_path / "course"), 0
    for name, content in copied.items():
        if not name.endswith(".ipynb"):
            assert content == (NOTEBOOKS / name).read_bytes()
            continue
        mine, whole = json.loads(content), json.loads((NOTEBOOKS / name).read_bytes())
        for cell in whole["cells"]:
            text = "".join(cell["source"])
            if cell["cell_type"] == "markdown" and re.search("<summary><b>(Solution|Lösung)", text):
                left_out += 1
            else:
                assert cell == mine["cells"].pop(0)
        assert mine == whole | {"cells": []}
    assert left_out > 70
    again = compare(tmp_path / "course")
    assert (set(again.same), again.yours, again.solutions) == (set(copied), [], False)
    with pytest.raises(FileError, match="has the lessons without solutions; name another folder"):
        copy_lessons(tmp_path / "course", solutions=True)


def test_no_link_in_a_copy_leads_to_what_was_not_copied():
    names = set(package_files())
    for name, path in package_files().items():
        if path.suffix == ".svg":
            continue
        text = path.read_text("utf-8")
        for target in re.findall(r"\]\(([^)#\s]+?)(?:#[^)]*)?\)", text):
            if "://" not in target and not target.startswith("attachment:"):
                there = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
                assert there.removesuffix("\\") in names, f"{name} links to {target}"


# ---------------------------------------------------------------- files that are kept

NAMES = ("01_a.ipynb", "README.md", "images/01_a.svg")
DEEDS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["edit", "delete", "release"]), st.sampled_from(NAMES)),
        st.tuples(st.sampled_from(["copy", "renew", "damage the manifest"]), st.just("")),
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(DEEDS)
def test_whatever_happens_nothing_that_the_learner_wrote_is_replaced(deeds):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        source, course = Path(folder, "package"), Path(folder, "course")
        patch.setattr(copying, "resource", lambda name: source)
        patch.setattr(
            "transformer_lab.files.safefiles.sync", lambda path: None
        )  # no power failure here: skip fsync
        (source / "images").mkdir(parents=True)
        for name in NAMES:
            (source / name).write_text(f"ours {name}")
        copy_lessons(course)
        damaged = False
        for number, (deed, name) in enumerate(deeds):
            before = files_of(course)
            if deed == "edit":
                (course / name).write_text(f"mine {number}")
            elif deed == "delete":
                (course / name).unlink(missing_ok=True)
            elif deed == "release":
                (source / name).write_text(f"ours {number}")
            elif deed == "damage the manifest":
                (course / MANIFEST).write_text("{" * number)
                damaged = True
            else:
                copy_lessons(course, renew=deed == "renew")
                after, ours = files_of(course), files_of(source)
                assert set(after) == set(NAMES)
                mine = {n: text for n, text in before.items() if text.startswith(b"mine")}
                assert mine.items() <= after.items()
                if deed == "copy":
                    assert before.items() <= after.items()
                elif not damaged:  # without a manifest, old files look changed
                    assert {n: after[n] for n in NAMES if n not in mine} == {
                        n: ours[n] for n in NAMES if n not in mine
                    }


def test_an_old_copy_is_renewed_only_when_that_was_seen_and_wished(package, tmp_path):
    course = tmp_path / "course"
    assert call(course, "--no-open").exit_code == 0
    (package / "README.md").write_text("ours, newer")
    (package / "01_a.ipynb").write_text("ours, newer")
    (course / "01_a.ipynb").write_text("mine")
    before = {p: p.read_bytes() for p in course.rglob("*") if p.is_file()}

    told = call(course, "--no-open")
    assert told.exit_code == 0 and "Older than the package's: README.md." in told.output
    shown = call(course, "--update")
    assert "Would renew: README.md." in shown.output
    assert "Changed by you, and left alone: 01_a.ipynb." in shown.output
    assert "newer versions of: 01_a.ipynb. Rename yours" in shown.output
    assert shown.output.rstrip().endswith("--update --yes")
    assert {p: p.read_bytes() for p in course.rglob("*") if p.is_file()} == before

    done = call(course, "--update", "--yes")
    assert "Renewed: README.md." in done.output
    assert (course / "README.md").read_text() == "ours, newer"
    assert (course / "01_a.ipynb").read_text() == "mine"
    assert "Would" not in call(course, "--update").output


def test_a_copy_that_was_cut_short_goes_on(package, tmp_path, monkeypatch):
    course = tmp_path / "course"
    write, written = Path.write_bytes, []

    def full(path, data):
        if len(written) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFullError, match=r"the disk is full.*course"):
        copy_lessons(course)
    monkeypatch.undo()
    monkeypatch.setattr(copying, "resource", lambda name: package)
    assert len(files_of(course)) == 1
    assert len(copy_lessons(course).missing) == 2
    assert files_of(course) == files_of(package)


def test_a_link_among_the_copies_is_not_written_through(package, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    copy_lessons(tmp_path / "course")
    (tmp_path / "course" / "README.md").unlink()
    (tmp_path / "course" / "README.md").symlink_to(precious)
    (package / "README.md").write_text("newer")
    copies = copy_lessons(tmp_path / "course", renew=True)
    assert copies.yours == ["README.md"]
    assert precious.read_text() == "precious"


# ---------------------------------------------------------------- refusals


@pytest.fixture
def places(tmp_path):
    """Folders that the lessons cannot be copied to."""
    (tmp_path / "file").write_text("precious")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "README.md").write_text("precious")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name, part in (("inner", "images"), ("german", "de"), ("noted", MANIFEST)):
        (tmp_path / name).mkdir()
        (tmp_path / name / part).symlink_to(tmp_path / "real")
    return tmp_path


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file", "is not a folder; name another one"),
        ("file/inside", r"cannot be written to \(Not a directory\)"),
        ("full", r"has other files \(README.md\) but no copy of the lessons; name a new"),
        ("link", "is a symbolic link; name a folder"),
        ("dangling", "is a symbolic link"),
        ("inner", "images is a symbolic link"),
        ("german", "de is a symbolic link"),
        ("noted", "is not an ordinary file; remove it"),
    ],
)
def test_a_place_that_will_not_do_is_one_sentence_and_nothing_is_written(places, name, message):
    before = sorted(str(p) for p in places.rglob("*"))
    result = call(places / name, "--no-open")
    assert result.exit_code == 2
    assert re.search(message, result.output) and result.output.count("\n") == 1
    assert sorted(str(p) for p in places.rglob("*")) == before
    assert (places / "full" / "README.md").read_text() == "precious"


@pytest.mark.badinput
def test_a_folder_that_may_not_be_written_to_is_named(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(FileError, match=r"course cannot be written to \(Permission denied\);"):
        copy_lessons(tmp_path / "course")


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["", "--no-open"], "the path is empty; name a file or a folder"),
        (["x", "--yes"], "--yes needs --update"),
    ],
)
def test_options_that_make_no_sense_are_one_sentence(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert (result.exit_code, message in result.output) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_hidden_files_are_nobody_elses_lessons(package, tmp_path):
    (tmp_path / "course" / ".venv").mkdir(parents=True)
    assert len(copy_lessons(tmp_path / "course").missing) == 3


@pytest.mark.parametrize(
    "content", ["", "[]", '{"files": 3}', '{"files": [[1]]}', "\x00", "{" * 9999]
)
def test_a_broken_manifest_makes_every_file_that_differs_the_learners(package, tmp_path, content):
    course = tmp_path / "course"
    copy_lessons(course)
    (package / "README.md").write_text("newer")
    (course / MANIFEST).write_text(content)
    copies = copy_lessons(course, renew=True)
    assert copies.yours == ["README.md"] and "cannot be read" in copies.note
    assert json.loads((course / MANIFEST).read_text())["files"].keys() == {
        "01_a.ipynb",
        "images/01_a.svg",
    }


def test_comparing_writes_nothing(package, tmp_path):
    assert compare(tmp_path / "course").missing == list(package_files())
    assert not (tmp_path / "course").exists()


def test_they_open_in_jupyterlab_of_this_python_which_is_left_only_when_it_ends(
    package, tmp_path, monkeypatch
):
    started = []

    class Lab:
        def __init__(self, command):
            started.append(command)
            self.waits = iter([KeyboardInterrupt, KeyboardInterrupt, 7])

        def wait(self):
            end = next(self.waits)
            if end is KeyboardInterrupt:  # Ctrl-C, to which JupyterLab answers with a question
                raise end
            return end

    monkeypatch.setattr("subprocess.Popen", Lab)
    monkeypatch.chdir(tmp_path)
    result = call()
    assert result.exit_code == 7 and "stop it with Ctrl-C" in result.output
    assert started == [[sys.executable, "-m", "jupyterlab", "transformer-lab-lessons"]]
