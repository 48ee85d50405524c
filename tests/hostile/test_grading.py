"""A submission has its own grade and nothing else: no other's work, no network, no end of time."""

import shutil
import socket
import subprocess
import sys
import threading

import nbformat
import pytest

from transformer_lab.lessons.assignment import CONFIG, AssignmentError
from transformer_lab.lessons.grading_box import Grade, _write_csv, box_works, grade_course

pytest.importorskip("nbgrader")
pytestmark = [pytest.mark.grading, pytest.mark.timeout(300)]


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


@pytest.fixture
def course(tmp_path):
    course = tmp_path / "course"
    (course / "source" / "hw").mkdir(parents=True)
    config = CONFIG.replace("timeout = 300", "timeout = 8")
    (course / "nbgrader_config.py").write_text(config, "utf-8")
    source = notebook("### BEGIN SOLUTION\nanswer = 42\n### END SOLUTION")
    nbformat.write(source, course / "source" / "hw" / "hw.ipynb")
    return course


def hand_in(course, student, answer):
    folder = course / "submitted" / student / "hw"
    folder.mkdir(parents=True)
    nbformat.write(notebook(answer), folder / "hw.ipynb")
    return folder


ATTACK = """
import os, pathlib, socket, subprocess
reached = []
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=2); reached.append("the network")
except OSError:
    pass
course = pathlib.Path({course!r})
for path in [*course.rglob("*"), *pathlib.Path("/tmp").rglob("*.ipynb")]:
    if "victim" in str(path):
        reached.append(str(path))
try:
    (course / "grades-hw.csv").write_text("victim,0")
    reached.append("the grades")
except OSError:
    pass
if os.getuid() == 0:
    reached.append("root")
subprocess.Popen(["sleep", "1000"], start_new_session=True)
answer = 42 if not reached else reached
"""


def test_a_submission_reaches_nothing_but_its_own_copy(course):
    if not box_works():
        pytest.skip("BUBBLEWRAP IS ABSENT: grading in a box is not tested")
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=server.accept, daemon=True).start()
        port = server.getsockname()[1]
        hand_in(course, "victim", "answer = 42")
        hand_in(course, "attacker", ATTACK.format(port=port, course=str(course)))
        hand_in(course, "endless", "while True: pass")
        link = hand_in(course, "linker", "answer = open('notes.txt').read()") / "notes.txt"
        link.symlink_to("/etc/passwd")
        grades = {g.student: g for g in grade_course(course, "hw", seconds=60)}
    assert grades["victim"] == Grade("victim", 2, 2)
    assert grades["attacker"] == Grade("attacker", 2, 2)  # it found nothing
    assert grades["endless"].score in (0, None)
    assert grades["linker"].score == 0
    table = (course / "grades-hw.csv").read_text("utf-8").splitlines()
    assert table[0] == "student,score,of,note"
    assert "victim,2.0,2.0," in table
    assert (course / "feedback" / "victim" / "hw" / "hw.html").is_file()


def test_the_attack_finds_what_no_box_hides(course):
    hand_in(course, "victim", "answer = 42")
    attack = ATTACK.format(port=9, course=str(course)).replace('"sleep", "1000"', '"true"')
    run = subprocess.run(
        [sys.executable, "-c", f"{attack}\nprint(answer)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "victim" in run.stdout
    assert "the grades" in run.stdout


@pytest.mark.badinput
def test_what_cannot_be_graded_is_refused_in_a_sentence(course, monkeypatch):
    with pytest.raises(AssignmentError, match="no assignment 'wh'; it has: hw"):
        grade_course(course, "wh")
    with pytest.raises(AssignmentError, match="nothing was handed in: put each notebook into"):
        grade_course(course, "hw")
    hand_in(course, "victim", "answer = 42")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(AssignmentError, match="apt install bubblewrap"):
        grade_course(course, "hw")


def test_a_spreadsheet_runs_nothing(tmp_path):
    _write_csv([Grade("=cmd()", None, None, "+1"), Grade("ann", 2.0, 2.0)], tmp_path / "g.csv")
    rows = (tmp_path / "g.csv").read_text("utf-8").splitlines()
    assert rows[1:] == ["'=cmd(),,,'+1", "ann,2.0,2.0,"]
