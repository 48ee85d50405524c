"""Grade submissions one by one, each in a box of its own.

Under plain nbgrader a submission runs with the teacher's rights: it can rewrite the gradebook,
read other submissions and reach the network. Here every submission is graded in a throwaway copy of
the course that holds nothing of other students, and on Linux inside bubblewrap: no network, a file
system that can only be read, limits on time, memory and file sizes.
"""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformer_lab.lessons.assignment import AssignmentError, call_nbgrader

GIB = 2**30
# nbgrader's autograde and generate_feedback in one process.
BOTH = """
import sys
from nbgrader.apps import AutogradeApp, GenerateFeedbackApp
for app in (AutogradeApp, GenerateFeedbackApp):
    app.clear_instance()
    app.launch_instance([sys.argv[1]])
    app.clear_instance()
"""


@dataclass(frozen=True)
class Grade:
    """What one student reached; score is None where grading failed, and `note` says why."""

    student: str
    score: float | None
    most: float | None
    note: str = ""


def box_works() -> bool:
    """Whether bubblewrap is installed and may make a box here."""
    program = shutil.which("bwrap")
    if program is None:
        return False
    run = subprocess.run([program, "--ro-bind", "/", "/", "--unshare-all", "true"], check=False)
    return run.returncode == 0


def grade_course(
    course: str | Path, assignment: str, *, seconds: float = 900, boxed: bool = True
) -> list[Grade]:
    """Grade every submission of an assignment.

    Autograded notebooks and feedback come to `autograded/` and `feedback/` of the course, and all
    scores to `grades-ASSIGNMENT.csv`; the course's own gradebook is not touched.

    Args:
        course: a folder from `transformer-lab assignment`, with submitted/STUDENT/ASSIGNMENT/.
        assignment: such as "01_attention_by_hand".
        seconds: time limit for one student.
        boxed: False grades without bubblewrap, for where there is none; then a submission can do
            whatever you can.

    Raises:
        AssignmentError: for a course, an assignment or submissions that are not there, or no
            bubblewrap.
    """
    course = Path(course).resolve()
    if find_spec("nbgrader") is None:
        raise AssignmentError('nbgrader is not installed: pip install -e ".[course]"')
    if not (course / "source" / assignment).is_dir():
        known = ", ".join(sorted(p.name for p in course.glob("source/*"))) or "none"
        raise AssignmentError(f"{course} has no assignment {assignment!r}; it has: {known}")
    submitted = sorted(p.parent for p in course.glob(f"submitted/*/{assignment}"))
    if not submitted:
        raise AssignmentError(
            f"nothing was handed in: put each notebook into {course}/submitted/STUDENT/{assignment}/"
        )
    if boxed and not box_works():
        raise AssignmentError(
            "bubblewrap is not here, or may not make boxes (on Debian: apt install bubblewrap); "
            "boxed=False, or --no-box, grades without it: only where you trust every submission"
        )
    with tempfile.TemporaryDirectory(prefix="grading-") as folder:
        empty = Path(folder) / "course"  # one assignment, no students
        empty.mkdir()
        shutil.copy(course / "nbgrader_config.py", empty)
        _copy_files(course / "source" / assignment, empty / "source" / assignment)
        call_nbgrader(empty, "generate_assignment", assignment)
        grades = [
            _grade(empty, course, assignment, student, seconds, boxed) for student in submitted
        ]
    _write_csv(grades, course / f"grades-{assignment}.csv")
    return grades


def _grade(
    empty: Path, course: Path, assignment: str, student: Path, seconds: float, boxed: bool
) -> Grade:
    with tempfile.TemporaryDirectory(prefix="grading-") as folder:
        copy = Path(folder) / "course"
        shutil.copytree(empty, copy)
        _copy_files(student / assignment, copy / "submitted" / student.name / assignment)
        why = _run([sys.executable, "-c", BOTH, assignment], copy, course, seconds, boxed)
        if why:
            return Grade(student.name, None, None, why)
        for part in ("autograded", "feedback"):
            made = copy / part / student.name / assignment
            if made.is_dir():
                _copy_files(made, course / part / student.name / assignment)
        try:
            return _score(copy, assignment, student.name)
        except Exception as error:  # the submission could write to its own copy's gradebook
            return Grade(student.name, None, None, f"its gradebook is broken: {error}")


def _score(copy: Path, assignment: str, student: str) -> Grade:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{copy / 'gradebook.db'}", "transformer-lab") as book:
        found: Any = book.find_submission(assignment, student)
        return Grade(student, float(found.score), float(found.max_score))


def _run(command: Sequence[str], copy: Path, course: Path, seconds: float, boxed: bool) -> str:
    """Run a command in a copy of the course; returns "" or why it failed."""
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "HOME": "/tmp", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1",
        "JUPYTER_RUNTIME_DIR": "/tmp/runtime" if boxed else str(copy / ".runtime"),
    }  # fmt: skip
    here = "/tmp/course" if boxed else str(copy)
    whole = [*_box(copy, course), *command] if boxed else list(command)
    process = subprocess.Popen(
        whole, cwd=None if boxed else here, env=environment, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=_limits if os.name == "posix" else None,
    )  # fmt: skip
    try:
        told, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"not done within {seconds:g} seconds"
    if process.returncode:
        return (
            " ".join(told.strip().splitlines()[-1:])[-300:] or f"exit status {process.returncode}"
        )
    return ""


def _limits() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (GIB, GIB))
    resource.setrlimit(resource.RLIMIT_AS, (24 * GIB, 24 * GIB))  # torch maps much, and uses little
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _box(copy: Path, course: Path) -> list[str]:
    """bubblewrap's arguments: everything can be read but homes, the course and /tmp."""
    hidden = [Path("/home"), Path("/root"), course]
    shown = {Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[2]}
    box = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]
    for path in hidden:
        box += ["--tmpfs", str(path)] if path.is_dir() else []
    box += ["--remount-ro", str(course)]
    for path in sorted(shown):
        box += ["--ro-bind", str(path), str(path)]
    box += ["--bind", str(copy), "/tmp/course", "--chdir", "/tmp/course"]
    box += ["--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534"]
    return [*box, "--die-with-parent", "--new-session", "--cap-drop", "ALL"]


def _copy_files(source: Path, target: Path) -> None:
    """Ordinary files only: a link could lead out of the box."""
    for path in sorted(source.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def _write_csv(grades: Sequence[Grade], path: Path) -> None:
    """A table for a spreadsheet; what a spreadsheet would take for a formula gets an apostrophe."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["student", "score", "of", "note"])
        for grade in grades:
            row = [grade.student, grade.score, grade.most, grade.note]
            rows.writerow(
                [f"'{v}" if isinstance(v, str) and v[:1] in "=+-@\t\r" and v else v for v in row]
            )
