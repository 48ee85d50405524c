"""A course with one tiny assignment, and students' submissions."""

import nbformat
import pytest

from transformer_lab.lessons.homework.assignment import CONFIG


def cell(source, grade_id, **marks):
    made = nbformat.v4.new_code_cell(source, id=grade_id)
    base = dict(schema_version=3, grade=False, solution=False, locked=False, task=False)
    made.metadata["nbgrader"] = base | dict(grade_id=grade_id, cell_type="code") | marks
    return made


def notebook(answer):
    made = nbformat.v4.new_notebook()
    made.metadata.kernelspec = dict(name="python3", display_name="Python 3", language="python")
    made.cells = [
        cell(answer, "answer", solution=True),
        cell("assert answer == 42", "graded", grade=True, locked=True, points=2),
    ]
    return made


def course_in(folder):
    course = folder / "course"
    (course / "source" / "hw").mkdir(parents=True)
    config = CONFIG.replace("timeout = 300", "timeout = 20")
    (course / "nbgrader_config.py").write_text(config, "utf-8")
    source = notebook("### BEGIN SOLUTION\nanswer = 6 * 7\n### END SOLUTION")
    nbformat.write(source, course / "source" / "hw" / "hw.ipynb")
    return course


@pytest.fixture
def course(tmp_path):
    return course_in(tmp_path)


def hand_in_(course, student, answer, *more):
    folder = course / "submitted" / student / "hw"
    folder.mkdir(parents=True)
    made = notebook(answer)
    made.cells += more
    nbformat.write(made, folder / "hw.ipynb")
    return folder


@pytest.fixture
def hand_in():
    """hand_in(course, student, answer, *more cells): the submission's folder."""
    return hand_in_
