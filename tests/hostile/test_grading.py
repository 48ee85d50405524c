"""Each submission gets its own grade: no access to others, no network, no running forever."""

import copy
import json
import math
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile.homework import course_in, hand_in_
from tests.missing import installed
from transformer_lab.cli import main
from transformer_lab.files.paths import FileError
from transformer_lab.lessons.homework import box
from transformer_lab.lessons.homework.box import (
    Grade,
    _write_csv,
    grade_course,
    irregular,
    printable,
    summary,
    total,
)
from transformer_lab.lessons.homework.gradebook import Gradebook
from transformer_lab.lessons.homework.sandbox import Limits, Stopped

installed("nbgrader")
pytestmark = [pytest.mark.grading, pytest.mark.timeout(300)]


ATTACK = """
import os, pathlib, socket, subprocess
reached = []
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=2); reached.append("the network")
except OSError:
    pass
course = pathlib.Path({course!r})
for path in [*course.rglob("*"), *pathlib.Path({tmp!r}).rglob("*.ipynb")]:
    if "victim" in str(path):
        reached.append(str(path))
try:
    (course / "grades-hw.csv").write_text("victim,0")
    reached.append("the grades")
except OSError:
    pass
for path in ("/etc/shadow", "/etc/machine-id", "/root/.bashrc", "/home", "/var", "/etc/hostname"):
    if os.path.exists(path):
        reached.append(path)
reached += [name for name in os.environ if "SECRET" in name or "TOKEN" in name]
for path in (*pathlib.Path("/in").rglob("*"), *pathlib.Path("/tmp/course").rglob("*")):
    if path.is_file() and b"6 *" + b" 7" in path.read_bytes():
        reached.append("the teacher's solution")
for folder in {folders}:
    try:
        (pathlib.Path(folder) / "mine").write_text("")
        reached.append("writing to " + folder)
    except OSError:
        pass
if os.getuid() == 0:
    reached.append("root")
subprocess.Popen(["sleep", "1000"], start_new_session=True)
answer = 42 if not reached else reached
"""


@pytest.mark.needs("box")
def test_a_submission_reaches_nothing_but_its_own_copy(graded):
    course, grades = graded
    assert grades["victim"] == Grade("victim", 2, 2)
    assert grades["attacker"] == Grade("attacker", 2, 2)  # its attacks failed
    assert grades["endless"] == Grade("endless", 0, 2, "a cell reached the limit of time")
    table = (course / "grades-hw.csv").read_text("utf-8").splitlines()
    assert table[0] == "student,score,of,note"
    assert "victim,2.0,2.0," in table
    assert (course / "feedback" / "victim" / "hw" / "hw.html").is_file()


def test_the_attack_finds_what_no_box_hides(course, hand_in):
    hand_in(course, "victim", "answer = 42")
    attack = ATTACK.format(port=9, course=str(course), tmp=str(course), folders=()).replace(
        '"sleep", "1000"', '"true"'
    )
    run = subprocess.run(
        [sys.executable, "-c", f"{attack}\nprint(answer)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "victim" in run.stdout
    assert "the grades" in run.stdout


def bomb(code):
    return f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {code!r}])\nanswer = 42"


PYTHONS = """import subprocess, sys, time
code = "x = b'1' * 200_000_000; import time; time.sleep(60)"
many = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(8)]
time.sleep(60)"""
BOMBS = {
    "forks": (bomb("import os\nwhile True: os.fork()"), "more than 96 processes"),
    "threads": (
        bomb(
            "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,)).start()"
        ),
        "more than 96 processes",
    ),
    "memory of many": (PYTHONS, "more than 768 MiB of memory"),
    "memory of one": ("many = bytearray(900_000_000)", "a cell reached the limit of memory"),
    "disk": (
        "file = open('/tmp/large', 'wb')\nwhile True: file.write(bytes(1_000_000))",
        "a cell reached the limit of disk",
    ),
    "shared memory": (
        "for i in range(9): open(f'/dev/shm/{i}', 'wb').write(bytes(10_000_000))",
        "a cell reached the limit of disk",
    ),
    "output": ("print('x' * 30_000_000)", "larger than 20 MiB"),
    "its answer": (
        "import os\nfor n in '12':\n    for fd in range(9):\n        try:\n"
        "            with open(f'/proc/{n}/fd/{fd}', 'wb') as f: f.write(bytes(30_000_000))\n"
        "        except OSError: pass\nanswer = 42",
        "larger than 20 MiB",
    ),
    "loop": ("while True: pass", "a cell reached the limit of time"),
    "end": ("import os\nos._exit(3)", "its kernel was killed or exited"),
    "parent": ("import os\nos.kill(os.getppid(), 9)", "it was killed (signal 9)"),
    "folder": ("import shutil\nshutil.rmtree('/tmp/course', ignore_errors=True)", ""),
}


@pytest.mark.needs("box")
def test_each_bomb_ends_by_its_limit_and_is_named(course, hand_in):
    for name, (code, _) in BOMBS.items():
        hand_in(course, name, code)
    hand_in(course, "victim", "answer = 42")
    # Endless submissions take a whole core until their time is over, so it is short.
    with open(course / "nbgrader_config.py", "a", encoding="utf-8") as config:
        config.write(
            "c.ExecutePreprocessor.timeout_func = (\n"
            "    lambda cell: 3 if cell.source == 'while True: pass' else 20\n)\n"
        )
    limits = Limits(seconds=120, memory=768 << 20, disk=100 << 20, processes=96)
    grades = {g.student: g for g in grade_course(course, "hw", limits=limits)}
    assert grades.pop("victim") == Grade("victim", 2, 2)
    told = {name: grade.note for name, grade in grades.items()}
    assert {n for n, (_, why) in BOMBS.items() if why not in told[n]} == set(), told
    assert not any(grade.score for grade in grades.values())
    failed = {name for name, grade in grades.items() if grade.score is None}
    feedback = {path.name for path in (course / "feedback").iterdir()}
    assert feedback == {"victim", *grades} - failed


UNCHARGED = """import ctypes, os
libc, reached = ctypes.CDLL(None, use_errno=True), []
try:
    os.memfd_create("x"); reached.append("memfd")
except PermissionError:
    pass
if libc.shmget(0, 4096, 0o1600) != -1:
    reached.append("shmget")
if libc.unshare(0x10000000) == 0:
    reached.append("a user namespace")
answer = reached or 42"""


@pytest.mark.needs("box")
def test_no_memory_is_to_be_had_that_nobody_is_charged_with(graded):
    assert graded[1]["uncharged"] == Grade("uncharged", 2, 2)


SHOW = """from IPython import get_ipython
class Right:
    def __eq__(self, other):
        get_ipython().displayhook({value})
        return True
answer = Right()"""
FORGE = """import json, pathlib, sqlite3, subprocess, sys
book = pathlib.Path("/tmp/course/gradebook.db")
with sqlite3.connect(book) as sql:
    sql.execute("update grade_cells set max_score = 1000")
    sql.execute("update grade set auto_score = 1000, manual_score = 1000")
pathlib.Path("/tmp/course/feedback/student/hw").mkdir(parents=True)
pathlib.Path("/tmp/course/feedback/student/hw/hw.html").write_text("<script>alert(1)</script>")
answer = 41"""


SHOWN = {"more": "1000.0", "nan": "float('nan')", "less": "-1.0", "infinite": "float('inf')"}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A course, and student -> grade of submissions that each try something else, graded at
    once."""
    course = course_in(tmp_path_factory.mktemp("graded"))
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HUB_TOKEN", "for nobody to see")
        threading.Thread(target=server.accept, daemon=True).start()
        port = server.getsockname()[1]
        folders = ("/", "/dev", "/usr", "/etc", "/in/course")
        answers = {
            "victim": "answer = 42",
            "attacker": ATTACK.format(port=port, course=str(course), tmp="/tmp", folders=folders),
            "endless": "import time\nwhile True: time.sleep(1)",
            "uncharged": UNCHARGED,
            **{name: SHOW.format(value=value) for name, value in SHOWN.items()},
            "part": SHOW.format(value="1.5"),
            "forger": FORGE,
            "skipped": "answer = 41",
        }
        for name, answer in answers.items():
            hand_in_(course, name, answer)
        path = course / "submitted" / "skipped" / "hw" / "hw.ipynb"
        notebook = json.loads(path.read_text("utf-8"))
        for cell in notebook["cells"]:
            cell["metadata"]["tags"] = ["skip-execution"]
        path.write_text(json.dumps(notebook))
        return course, {
            g.student: g for g in grade_course(course, "hw", limits=Limits(seconds=120))
        }


@pytest.mark.needs("box")
def test_no_impossible_score_is_given(graded):
    course, grades = graded
    assert grades["part"] == Grade("part", 1.5, 2)
    forger = grades["forger"]
    assert not forger.score
    assert forger.most in (2, None)
    for name in SHOWN:
        assert grades[name].score is None
        note = grades[name].note
        assert "more points than it is worth" in note or "of 2 points" in note
    pages = [path.read_text("utf-8") for path in course.glob("feedback/*/hw/hw.html")]
    assert pages
    assert not any("<script" in page for page in pages)


@pytest.mark.needs("box")
def test_every_test_is_executed_whatever_a_submission_says_of_it(graded):
    """A tag keeps nbclient from executing a cell, and a cell without an error counts as right."""
    assert graded[1]["skipped"] == Grade("skipped", 0, 2)


points = st.floats(0, 100)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.just("a"), st.floats(), points), max_size=4))
def test_a_total_is_possible_or_refused(cells):
    possible = all(math.isfinite(score) and 0 <= score <= most for _, score, most in cells)
    if possible:
        score, most = total(cells)
        assert 0 <= score <= most
    else:
        with pytest.raises(Stopped, match="its test 'a' gave"):
            total(cells)


@pytest.mark.needs("box")
def test_links_and_pipes_are_refused_and_bring_nothing_of_the_teachers(course, hand_in):
    solution = course / "source" / "hw" / "hw.ipynb"
    folders = {
        name: hand_in(course, name, "answer = 41") for name in ("hard", "pipe", "deep", "socket")
    }
    os.link(solution, folders["hard"] / "notes.txt")
    os.mkfifo(folders["pipe"] / "notes.txt")
    (folders["deep"] / "a").mkdir()
    (folders["deep"] / "a" / "b").symlink_to(solution)
    # not bind(): an address has room for 107 bytes, which a folder of tests may exceed
    os.mknod(folders["socket"] / "s", stat.S_IFSOCK | 0o600)
    (course / "submitted" / "whole").mkdir()
    (course / "submitted" / "whole" / "hw").symlink_to(course / "source" / "hw")
    (course / "submitted" / "student").symlink_to(course / "submitted" / "hard")
    book = hand_in(course, "book", "answer = 41") / "hw.ipynb"
    book.unlink()
    book.symlink_to(solution)
    hand_in(course, "victim", "answer = 42")
    grades = {g.student: g for g in grade_course(course, "hw")}
    assert grades.pop("victim") == Grade("victim", 2, 2)
    assert set(grades) == {*folders, "whole", "student", "book"}
    assert {g.score for g in grades.values()} == {None}
    assert grades["deep"].note == "'a/b' is a symlink; hand in files only"
    assert "hard link" in grades["hard"].note
    assert "a pipe, a device or a socket" in grades["pipe"].note
    for part in ("autograded", "feedback"):
        assert [path.name for path in (course / part).iterdir()] == ["victim"]


def broken(notebook):
    """name -> (text of a notebook that cannot be graded, the reason given)."""
    cells, whole = notebook["cells"], "is not a notebook"

    def with_cells(*more, **changes):
        return json.dumps({**notebook, "cells": [*cells, *more], **changes})

    def marked(**marks):
        cell = copy.deepcopy(cells[1])
        cell["metadata"]["nbgrader"] |= marks
        return cell

    return {
        "junk": ("hello", whole),
        "empty": ("", whole),
        "list": ("[]", whole),
        "deep": ("[" * 10**5, whole),
        "no cells": (json.dumps({**notebook, "cells": 7}), whole),
        "later": (with_cells(nbformat=99), whole),
        "twice": (
            with_cells(cells[1]),
            "contains the graded cell 'graded' 2 times; delete the copies",
        ),
        "own": (
            with_cells(marked(grade_id="mine")),
            "the graded cell 'mine', which does not belong to this",
        ),
        "marks": (with_cells(marked(grade_id=None)), "has a graded cell with damaged metadata"),
        "points": (with_cells(marked(points="many")), "has a graded cell with damaged metadata"),
    }


@pytest.mark.needs("box")
def test_what_cannot_be_graded_is_named_before_it_runs(course, hand_in):
    folder = hand_in(course, "victim", "answer = 42")
    wanted = broken(json.loads((folder / "hw.ipynb").read_text("utf-8")))
    for name, (text, _) in wanted.items():
        (hand_in(course, name, "") / "hw.ipynb").write_text(text)
    (hand_in(course, "other name", "answer = 42") / "hw.ipynb").rename(
        folder.parent / "hw (1).ipynb"
    )
    hand_in(course, "Jos\xe9", "answer = 42")
    hand_in(course, "jose\u0301", "answer = 42")
    (folder / "hw (1).ipynb").write_text("hello")
    run = told(course)
    assert run.returncode == 1  # some were not graded
    same = "2 submissions have the same name: 'José', 'jose\u0301'; keep one"
    assert run.stderr.count(f": {same}\n") == 2
    notes = dict(line.split(": ", 2)[1:] for line in run.stderr.splitlines() if "hw.ipynb" in line)
    wanted["other name"] = "", "is missing; the notebook must keep the name it was released under"
    assert {n for n, (_, why) in wanted.items() if why not in notes.get(n, "")} == set(), run.stderr
    assert "victim: 2 of 2; not graded, because of their names: 'hw (1).ipynb'" in run.stdout


@pytest.mark.parametrize(
    ("answer", "why", "lives"),
    [('{"refused": "no notebook"}', "^no notebook$", True), ("junk", "sandbox", False)],
)
def test_a_box_that_refuses_reads_the_next_and_one_that_fails_is_replaced(
    monkeypatch, answer, why, lives
):
    reader = box._Readers(None)
    reader._box = object()
    monkeypatch.setattr(reader, "_ask", lambda *_: answer.encode())
    with pytest.raises(Stopped, match=why):
        reader.answer("prepare", None)
    assert (reader._box is not None) is lives


def test_a_plain_submission_is_regular(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"")
    assert list(irregular(tmp_path)) == []


def told(course, *options):
    return subprocess.run(
        [sys.executable, "-m", "transformer_lab", "grade", str(course), "hw", *options],
        capture_output=True,
        text=True,
    )


@pytest.mark.needs("box")
def test_the_command_names_who_failed_and_ends_badly_where_nobody_was_graded(course, hand_in):
    (hand_in(course, "bob\x1b[2J", "answer = 42") / "link").symlink_to("/etc/passwd")
    run = told(course)
    assert run.returncode == 1
    reason = "bob?[2J: 'link' is a symlink; hand in files only"
    assert f"transformer-lab: {reason}" in run.stderr.splitlines()
    assert "0 of 1 graded in" in run.stdout
    assert "failed: bob?[2J ('link' is a symlink" in run.stdout
    assert "\x1b" not in run.stdout + run.stderr
    hand_in(course, "victim", "answer = 42")
    run = told(course, "--no-box")
    assert run.returncode == 1  # one of two
    assert "victim: 2 of 2" in run.stdout
    assert "1 of 2 graded in" in run.stdout
    assert "run with your permissions" in run.stderr
    assert f"transformer-lab: {reason}" in run.stderr.splitlines()


def test_a_summary_names_the_slowest_and_the_failed():
    grades = [Grade("ann", 2, 2, seconds=7.2), Grade("bob", None, None, "why", seconds=3)]
    wanted = "1 of 2 graded in 9 s; slowest: ann 7 s; failed: bob (why, after 3 s)"
    assert summary(grades, 9) == wanted
    assert printable("a\u202eb\n\tc\0") == "a?b c?"


@pytest.mark.badinput
def test_what_cannot_be_graded_is_refused_in_a_sentence(course, hand_in, monkeypatch):
    with pytest.raises(FileError, match="no assignment 'wh'; it has: hw"):
        grade_course(course, "wh")
    with pytest.raises(FileError, match="there are no submissions: put each notebook in"):
        grade_course(course, "hw")
    hand_in(course, "victim", "answer = 42")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(FileError, match="apt install bubblewrap"):
        grade_course(course, "hw")


def test_a_spreadsheet_runs_nothing(tmp_path):
    _write_csv([Grade("=cmd()", None, None, "+1"), Grade("ann", 2.0, 2.0)], tmp_path / "g.csv")
    rows = (tmp_path / "g.csv").read_text("utf-8").splitlines()
    assert rows[1:] == ["'=cmd(),,,'+1", "ann,2.0,2.0,"]


GRADES = [Grade("ann", 3.5, 5), Grade("bob", 0, 5), Grade("cid", None, None, "why")]
MOODLE = "\ufeffFirst name,ID number,Email\nAnn,ann,a@x\n=Bob,bob,b@x\nEve,eve,e@x\n"
CANVAS = "Student;Login;hw (17);Final\n    Points Possible;;5;\nAnn;ann;;1\nBob;bob;2;1\n"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            MOODLE,
            "\ufeffFirst name,ID number,Email,hw\nAnn,ann,a@x,3.5\n=Bob,bob,b@x,0\nEve,eve,e@x\n",
        ),
        (
            CANVAS,
            "Student;Login;hw (17);Final\n    Points Possible;;5;\nAnn;ann;3.5;1\nBob;bob;0;1\n",
        ),
    ],
    ids=["moodle", "canvas"],
)
def test_scores_go_into_the_gradebook_of_an_lms(tmp_path, text, wanted):
    path = tmp_path / "book.csv"
    path.write_text(text, "utf-8")
    copy, problems = Gradebook(path, "hw").fill(GRADES)
    assert (copy.name, copy.read_text("utf-8")) == ("book-graded.csv", wanted)
    assert problems == ["cid was not graded (why); no score was written"]
    assert path.read_text("utf-8") == text


@pytest.mark.badinput
def test_a_gradebook_that_does_not_fit_is_explained(tmp_path):
    path = tmp_path / "book.csv"
    path.write_text("Name,Login\nAnn,ann\nAnn too,Ann\nBob,bob \n", "utf-8")
    copy, problems = Gradebook(path, "hw").fill(GRADES)
    assert (
        problems[0]
        == "ann is in 2 rows of the column 'Login' and must be in one; no score was written"
    )
    assert copy.read_text("utf-8") == "Name,Login,hw\nAnn,ann\nAnn too,Ann\nBob,bob ,0\n"
    with pytest.raises(
        FileError, match="one column 'Mark', but has none; its columns: Name, Login"
    ):
        Gradebook(path, "hw", column="Mark")
    with pytest.raises(FileError, match="one column 'ID', but has none; its columns"):
        Gradebook(path, "hw", by="ID")
    with pytest.raises(
        FileError, match="holds the name of a student's folder, such as 'zoe'; name the"
    ):
        Gradebook(path, "hw").fill([Grade("zoe", 1, 5)])
    for text, why in (
        ("", "a header and a row"),
        ("a,b\n", "a header and a row"),
        ("Login,hw (1),hw (2)\nann,,\n", r"2 columns for 'hw': hw \(1\), hw \(2\); choose one"),
        ("Login,ID,ID\nann,,\n", "one column 'ID', but has 2"),
        ("Ann,ann\nBob,bob\n", "begin with a header, but its first row is of the student 'ann'"),
        ("\ud800", "UTF-8"),
    ):
        path.write_text(text, "utf-8", errors="surrogatepass")
        with pytest.raises(FileError, match=why):
            Gradebook(path, "hw", by="ID" if "ID" in text else None).fill(GRADES)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("text", "column", "code", "why"),
    [
        ("Login,Sum\nann,\nbob,\n", "Sum", 0, ""),
        ("Login,Sum\nann,\nbob,\n", "Mark", 1, "must have one column 'Mark', but has none"),
        ("Login,Sum\nzoe,\n", "Sum", 1, "holds the name of a student's folder, such as 'ann'"),
        ("Login,Sum\nann,\n", "Sum", 1, "bob is in 0 rows of the column 'Login'"),
    ],
)
def test_a_gradebook_that_does_not_fit_stops_no_grading(
    tmp_path, monkeypatch, text, column, code, why
):
    monkeypatch.setattr(box, "grade_course", lambda *_, **__: GRADES[:2])
    path = tmp_path / "book.csv"
    path.write_text(text, "utf-8")
    run = CliRunner().invoke(
        main, ["grade", str(tmp_path), "hw", "--gradebook", str(path), "--column", column]
    )
    assert (run.exit_code, "2 of 2 graded" in run.stdout) == (code, True)
    assert run.stderr.count("\n") == bool(why) and why in run.stderr
