"""Homework made from a lesson, handed in by four students and graded by nbgrader."""

import ast
import inspect
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib import import_module
from pathlib import Path

import nbformat
import pytest

from tests.kernels import FORKED
from tests.missing import installed
from transformer_lab.files.paths import FileError
from transformer_lab.files.resources import resource
from transformer_lab.lessons.graders import exercises_of
from transformer_lab.lessons.grading import grade
from transformer_lab.lessons.homework import assignment
from transformer_lab.lessons.homework.assignment import (
    _body,
    _with_solution,
    leaks,
    make_assignment,
    source_of,
)
from transformer_lab.lessons.listing import lesson_paths, number_of
from transformer_lab.lessons.solutions.lesson_05 import SelfAttention

installed("nbgrader")
NOTEBOOKS = lesson_paths(resource("notebooks"))
WITH_EXERCISES = [p for p in NOTEBOOKS if exercises_of(number_of(p))]
NAME = "01_attention_by_hand"

ATTENTION = """@exercise("attention", lesson)
def attention(query, key, value):
    weights = torch.softmax(query @ key.mT / query.shape[-1] ** 0.5, -1)
    return weights @ value
"""
CAUSAL = """@exercise("causal", lesson)
def causal(scores):
    later = torch.ones_like(scores[..., :, :]).triu(1).bool()
    return scores.masked_fill(later, float("-inf"))
"""
HOSTILE = """class Right(torch.Tensor):
    __eq__ = __ne__ = __lt__ = __le__ = lambda *_: True
    __bool__ = lambda self: True
    shape = property(lambda self: (5, 2))

print("10/10 " * 1000)

@exercise("attention", lesson)
def attention(query, key, value):
    return Right()

attention.passed = True
lesson.__dict__["answers"] = "solutions"
"""
ENDLESS = """@exercise("causal", lesson)
def causal(scores):
    while True:
        pass
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course whose hidden tests wait 5 seconds for an endless answer instead of 20."""
    made = assignment._test

    def impatient(*asked):
        number, name = asked[:2]
        cell = made(*asked)
        call = f'grade("{number}/{name}", {name}'
        assert f"{call})" in cell.source
        cell.source = cell.source.replace(f"{call})", f"{call}, seconds=5)")
        return cell

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment, "_test", impatient)
        return make_assignment(["01"], tmp_path_factory.mktemp("course") / "course")


def nbgrader(course, *arguments):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    scratch = course.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    changed = {"PATH": path, "TMPDIR": str(scratch), "JUPYTER_PATH": os.environ[FORKED]}
    run = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=course,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **changed},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert list(scratch.glob("grading-*")) == []


def hand_in(course, student, **answers):
    notebook = nbformat.read(course / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = answers.get(cell.id.replace("-", "_"), cell.source)
    folder = course / "submitted" / student / NAME
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / f"{NAME}.ipynb")


@pytest.mark.grading
@pytest.mark.timeout(600)
def test_four_students_get_the_scores_that_they_deserve(course):
    hand_in(course, "right", attention=ATTENTION, causal=CAUSAL)
    hand_in(course, "half", attention=ATTENTION, causal=CAUSAL.replace("triu(1)", "tril(-1)"))
    hand_in(course, "empty")
    hand_in(
        course,
        "hostile",
        attention=HOSTILE,
        causal=ENDLESS,
        causal_check="check(causal, seconds=1)",
        parameters='preset = "quick"\ndevice = "cpu"\nseed = 0\nanswers = "solutions"',
    )
    config = course / "nbgrader_config.py"
    config.write_text(config.read_text("utf-8").replace("timeout = 300", "timeout = 100"), "utf-8")
    nbgrader(course, "autograde", NAME)
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}", "transformer-lab") as book:
        found = {s.student.id: (s.score, s.max_score) for s in book.assignment_submissions(NAME)}
    assert found == {"right": (3, 3), "half": (1, 3), "empty": (0, 3), "hostile": (0, 3)}
    nbgrader(course, "generate_feedback", NAME)
    told = (course / "feedback" / "half" / NAME / f"{NAME}.html").read_text("utf-8")
    assert "is not right yet" in told
    assert re.search(r"Score: 1\.0 / 3\.0", told)


def test_students_are_given_no_solution(course):
    release = course / "release" / NAME
    assert list(leaks(release / f"{NAME}.ipynb", "01")) == []
    text = (release / f"{NAME}.ipynb").read_text("utf-8")
    assert "<summary><b>Hint" in text
    assert (release / "images" / f"{NAME}.svg").is_file()
    # The teacher's source contains everything that a release must not.
    found = " ".join(leaks(course / "source" / NAME / f"{NAME}.ipynb", "01"))
    for name in ("attention", "causal", "BEGIN SOLUTION", "HIDDEN TESTS"):
        assert name in found


def test_a_method_that_the_stub_gives_is_no_leak(tmp_path):
    [path] = [path for path in NOTEBOOKS if number_of(path) == "05"]
    lesson = nbformat.read(path, as_version=4)
    lesson.cells = [c for c in lesson.cells if "<summary><b>Solution" not in c.source]
    nbformat.write(lesson, tmp_path / path.name)
    assert list(leaks(tmp_path / path.name, "05")) == []
    stub = next(c for c in lesson.cells if '@exercise("SelfAttention"' in c.source)
    stub.source = stub.source.replace("raise NotImplementedError", _body(SelfAttention.forward))
    nbformat.write(lesson, tmp_path / path.name)
    assert list(leaks(tmp_path / path.name, "05")) == ["it contains the solution of SelfAttention"]


def test_a_gradebook_has_the_version_that_nbgrader_gives_it(course, monkeypatch):
    from nbgrader.api import get_alembic_version

    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)  # it starts alembic
    with closing(sqlite3.connect(course / "gradebook.db")) as book:
        found = book.execute("select version_num from alembic_version").fetchall()
    assert found == [(get_alembic_version(),)]


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda p: p.stem)
def test_what_students_get_is_the_lesson_less_its_solutions(path):
    """For every lesson, the source differs from the notebook only by solutions and tests, and
    nbgrader's own clearing restores the notebook's stubs."""
    import nbgrader.preprocessors as steps
    from traitlets.config import Config

    lesson = nbformat.read(path, as_version=4)
    wanted = [c.source for c in lesson.cells if "<summary><b>Solution" not in c.source]
    made = source_of(path)
    stub = Config({"ClearSolutions": {"code_stub": {"python": "raise NotImplementedError"}}})
    for step in (steps.ClearSolutions(config=stub), steps.ClearHiddenTests()):
        made, _ = step.preprocess(made, {})
    graded = [c for c in made.cells if c.metadata.get("nbgrader", {}).get("grade")]
    names = exercises_of(number_of(path))
    assert len(graded) == len(names) >= 1
    assert [c.source for c in made.cells if c not in graded] == wanted
    assert all(c.metadata.nbgrader.points >= 1 for c in graded)
    ids = [c.metadata.nbgrader.grade_id for c in made.cells if "nbgrader" in c.metadata]
    assert len(set(ids)) == len(ids)


def bound(tree):
    """The names that imports bind."""
    imports = (n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom))
    return {(one.asname or one.name).partition(".")[0] for n in imports for one in n.names}


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda p: p.stem)
def test_a_source_knows_every_module_that_its_solutions_use(path):
    """The solutions of lessons 10 and 16 use imports that their notebooks do not have."""
    number = number_of(path)
    module = import_module(f"transformer_lab.lessons.solutions.lesson_{number}")
    theirs = bound(ast.parse(inspect.getsource(module)))
    known = set()
    for cell in source_of(path).cells:
        if cell.cell_type == "code":
            tree = ast.parse(cell.source)
            known |= bound(tree)
            names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
            known |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
            known |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert {node.id for node in names} & theirs <= known, cell.source


def test_an_answer_is_graded_as_it_was_written():
    from transformer_lab.lessons import exercise, presets

    lesson = presets("01", answers="solutions")
    mine = exercise("attention", lesson)(lambda query, key, value: value)
    mine.passed = True
    with pytest.raises(AssertionError):
        grade("01/attention", mine)
    with pytest.raises(AssertionError, match="not a function"):
        grade("01/attention", 5)
    import torch.nn.functional as F

    grade("01/attention", F.scaled_dot_product_attention)


@pytest.mark.badinput
def test_what_cannot_be_made_is_refused_in_a_sentence(course, tmp_path):
    with pytest.raises(FileError, match="lesson '00' has no exercises; lessons with"):
        make_assignment(["00"], tmp_path)
    with pytest.raises(FileError, match="lesson '77' does not exist"):
        make_assignment(["77"], tmp_path)
    with pytest.raises(FileError, match="already exists; remove it"):
        make_assignment(["01"], course)
    with pytest.raises(FileError, match="no line"):
        _with_solution("def attention(): pass", test_an_answer_is_graded_as_it_was_written, set())
