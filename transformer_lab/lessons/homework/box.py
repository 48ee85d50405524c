"""Grade submissions one by one, each in a sandbox of its own.

Under plain nbgrader a submission runs with the teacher's rights: it can rewrite the gradebook,
read other submissions and reach the network. Here each is executed in a sandbox without other
students' files and without the gradebook (`sandbox`). Another sandbox inserts the teacher's tests
before and grades the executed notebook after, as data: it runs no student's code, so it serves
many.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import stat
import tempfile
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformer_lab.files.paths import FileError
from transformer_lab.files.safefiles import committed, parse_json
from transformer_lab.files.tables import csv_text
from transformer_lab.lessons.homework.assignment import call_nbgrader
from transformer_lab.lessons.homework.sandbox import (
    Limits,
    Sandbox,
    Stopped,
    box_problem,
    reason_in,
    size,
)
from transformer_lab.lessons.listing import number_of

TIME = ("timestamp.txt",)  # time of a submission, for nbgrader


@dataclass(frozen=True)
class Grade:
    """One student's result; score is None if grading failed, and `note` says why. `predictions`:
    the student's predictions by name; "" for a missing one."""

    student: str
    score: float | None
    most: float | None
    note: str = ""
    predictions: Mapping[str, str] = field(default_factory=dict, compare=False)
    seconds: float = field(default=0.0, compare=False)


def box_works() -> bool:
    """Whether bubblewrap is installed and can create a sandbox here."""
    return not box_problem()


def grade_course(
    course: str | Path,
    assignment: str,
    *,
    limits: Limits | None = None,
    boxed: bool = True,
    jobs: int | None = None,
    report: Callable[[Grade], None] | None = None,
) -> list[Grade]:
    """Grade every submission of an assignment.

    Autograded notebooks and feedback go to `autograded/` and `feedback/` of the course, all scores
    to `grades-ASSIGNMENT.csv`, and the predictions in the students' notebooks to
    `predictions-ASSIGNMENT.csv`; the course's own gradebook is not changed.

    Args:
        course: a folder from `transformer-lab assignment`, with submitted/STUDENT/ASSIGNMENT/.
        assignment: such as "01_attention_by_hand".
        limits: limits for one student's submission.
        boxed: False grades without bubblewrap, if it is not available; then a submission can do
            anything that you can.
        jobs: how many are graded at the same time; by default two, or one on a single core.
        report: called with each Grade once it is known.

    Returns:
        One Grade per student, by name.

    Raises:
        FileError: if the course, the assignment, submissions or bubblewrap are missing.
    """
    course, limits = Path(course).resolve(), limits or Limits()
    if find_spec("nbgrader") is None:
        raise FileError('nbgrader is not installed: pip install -e ".[course]"')
    if not (course / "source" / assignment).is_dir():
        known = ", ".join(sorted(p.name for p in course.glob("source/*"))) or "none"
        raise FileError(f"{course} has no assignment {assignment!r}; it has: {known}")
    submitted = sorted(p.parent for p in course.glob(f"submitted/*/{assignment}"))
    if not submitted:
        raise FileError(
            f"there are no submissions: put each notebook in {course}/submitted/STUDENT/{assignment}/"
        )
    if boxed and (problem := box_problem()):
        raise FileError(
            f"{problem}; boxed=False, or --no-box, grades without the sandbox; use it only if you trust every "
            "submission"
        )
    with tempfile.TemporaryDirectory(prefix="grading-") as folder:
        empty = _without_students(course, assignment, Path(folder))
        job = _Job(
            course, assignment, empty, limits, boxed, predictions_in(course / "source" / assignment)
        )
        grades = job.grade_all(submitted, jobs or min(2, os.cpu_count() or 1), report)
    _write_csv(grades, course / f"grades-{assignment}.csv")
    _write_predictions(grades, course / f"predictions-{assignment}.csv")
    return grades


def _without_students(course: Path, assignment: str, folder: Path) -> Path:
    """Make two copies of the course in a folder, with one assignment, no students and no solutions:
    `course` with a gradebook, which holds the tests, and `public` without."""
    copy, source = folder / "course", course / "source" / assignment
    copy.mkdir()
    shutil.copy(course / "nbgrader_config.py", copy)
    _copy_files(source, copy / "source" / assignment)
    call_nbgrader(copy, "generate_assignment", assignment)
    shutil.rmtree(copy / "release")
    for path in (copy / "source").rglob("*.ipynb"):
        path.unlink()
    shutil.copytree(copy, folder / "public", ignore=shutil.ignore_patterns("gradebook*"))
    return folder


@dataclass(frozen=True)
class _Job:
    """Everything needed to grade one student."""

    course: Path
    assignment: str
    empty: Path
    limits: Limits
    boxed: bool
    asked: Sequence[str] = ()  # names of predictions
    leave: threading.Event = field(default_factory=threading.Event)

    def grade_all(
        self, students: Sequence[Path], jobs: int, report: Callable[[Grade], None] | None
    ) -> list[Grade]:
        own = threading.local()
        readers: list[_Readers] = []
        alike: dict[str, list[str]] = {}
        for student in students:
            alike.setdefault(same_name(student.name), []).append(student.name)

        def start() -> None:
            own.reader = _Readers(self)
            readers.append(own.reader)

        with ThreadPoolExecutor(jobs, initializer=start) as pool:
            waiting = [
                pool.submit(lambda s: self.grade(s, alike[same_name(s.name)], own.reader), s)
                for s in students
            ]
            try:
                for done in as_completed(waiting):
                    if report is not None:
                        report(done.result())
            except BaseException:  # Ctrl-C ends the sandboxes too
                self.leave.set()
                pool.shutdown(cancel_futures=True)
                raise
            finally:
                for reader in readers:
                    reader.close()
        return [done.result() for done in waiting]

    def grade(self, student: Path, alike: Sequence[str], reader: _Readers) -> Grade:
        start = time.monotonic()
        try:
            if len(alike) > 1:
                listed = ", ".join(map(repr, alike))
                raise Stopped(f"{len(alike)} submissions have the same name: {listed}; keep one")
            score, most, note, guesses = self._grade(student, reader)
        except (Stopped, OSError) as error:
            score, most, note, guesses = None, None, printable(str(error)), {}
        return Grade(student.name, score, most, note, guesses, time.monotonic() - start)

    def _grade(self, student: Path, reader: _Readers) -> tuple[float, float, str, dict[str, str]]:
        handed_in = student / self.assignment
        for problem in irregular(student, handed_in):
            raise Stopped(problem)
        with tempfile.TemporaryDirectory(prefix="grading-") as folder:
            prepared = Path(folder)
            read = reader.answer("prepare", handed_in)
            self._write(read.get("notebooks"), prepared, "ipynb")
            seen = (self.empty / "public", handed_in, prepared)
            with self.sandbox("run", *seen) as sandbox:
                executed = _read(sandbox.answer())
            self._write(executed.get("notebooks"), prepared, "ipynb")
            if (handed_in / "timestamp.txt").is_file():  # for nbgrader's penalties
                shutil.copyfile(handed_in / "timestamp.txt", prepared / "timestamp.txt")
            made = reader.answer("mark", prepared)
        score, most = total(made["cells"])
        for part, kind in (("notebooks", "ipynb"), ("feedback", "html")):
            place = "autograded" if part == "notebooks" else part
            target = self.course / place / student.name / self.assignment
            target.mkdir(parents=True, exist_ok=True)
            self._write(made[part], target, kind)
        met = ", ".join(map(str, made["notes"]))
        notes = [f"a cell reached the limit of {met}"] if met else []
        notes += map(str, read.get("notes", ()))
        names = {path.name for path in self.sources()}
        if more := sorted({p.name for p in handed_in.glob("*.ipynb")} - names):
            notes += [f"not graded, because of their names: {', '.join(map(repr, more))}"]
        note = printable("; ".join(notes))
        return score, most, note, self._guesses(read.get("predictions"))

    def _guesses(self, said: Any) -> dict[str, str]:
        """The student's text for each prediction in the assignment."""
        said = said if isinstance(said, dict) else {}
        return {name: str(said.get(name, "")) for name in self.asked}

    def sandbox(self, step: str, *seen: Path) -> Sandbox:
        return Sandbox(
            step,
            self.assignment,
            seen,
            self.limits,
            boxed=self.boxed,
            leave=self.leave,
            hidden=self.course,
        )

    def sources(self) -> Iterator[Path]:
        """The teacher's notebooks."""
        return (self.course / "source" / self.assignment).glob("*.ipynb")

    def _write(self, texts: Any, folder: Path, kind: str) -> None:
        """Write notebooks or pages, which must have the names of the teacher's notebooks."""
        wanted = {f"{path.stem}.{kind}" for path in self.sources()}
        if not (isinstance(texts, dict) and texts and set(texts) <= wanted):
            raise Stopped("its sandbox did not return the assignment's notebooks")
        for name, text in texts.items():
            if not isinstance(text, str):
                raise Stopped("its sandbox did not return the assignment's notebooks")
            with committed(folder / name) as path:
                path.write_text(text, "utf-8", "replace")


class _Refused(Stopped):
    """Raised for a submission that the sandbox read and refuses to grade."""


class _Readers:
    """A sandbox that reads notebooks for one worker, started on first use and again after it has
    ended."""

    def __init__(self, job: _Job) -> None:
        self._job, self._stack, self._box, self._count = job, ExitStack(), None, 0

    def answer(self, step: str, handed_in: Path) -> dict[str, Any]:
        """Return its answer about the notebooks of a folder.

        Raises:
            Stopped: it refuses them, reached a limit, or failed.
        """
        try:
            answer = _read(self._ask(step, handed_in))
        except _Refused:  # this is an answer as well
            raise
        except BaseException:
            self.close()
            raise
        if "failed" in answer:
            raise Stopped(reason_in(answer["failed"], 1, self._job.limits))
        return answer

    def _ask(self, step: str, handed_in: Path) -> bytes:
        if self._box is None:
            self._folder = Path(self._stack.enter_context(_temporary()))
            seen = (self._job.empty / "course", self._folder)
            self._box = self._stack.enter_context(self._job.sandbox("serve", *seen))
        self._count += 1
        copy = self._folder / str(self._count)
        copy.mkdir()
        names = {*TIME, *(path.name for path in self._job.sources())}
        files = [path for path in handed_in.iterdir() if path.name in names]
        if sum(path.stat().st_size for path in files) > self._job.limits.disk:
            raise Stopped(f"more than {size(self._job.limits.disk)} of disk")
        for path in files:
            shutil.copyfile(path, copy / path.name)
        answer = self._box.answer(f"{step} {copy.name}")
        shutil.rmtree(copy)
        return answer

    def close(self) -> None:
        self._stack.close()
        self._box = None


def _read(answer: bytes) -> dict[str, Any]:
    """Parse the answer of a sandbox.

    Raises:
        _Refused: it refuses the submission.
        Stopped: it is not an answer.
    """
    read = parse_json(answer, "the output of its sandbox", error=Stopped)
    if not isinstance(read, dict):
        raise Stopped("its sandbox did not return the assignment's notebooks")
    if "refused" in read:
        raise _Refused(str(read["refused"])[:300])
    return read


def _temporary() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="grading-")


def predictions_in(folder: Path) -> list[str]:
    """The names of all predictions in an assignment's notebooks, in order."""
    names: dict[str, None] = {}
    for path in sorted(folder.glob("*.ipynb")):
        for cell in parse_json(path.read_bytes(), path.name)["cells"]:
            source = "".join(cell["source"])
            for name in re.findall(r'^predict\("([a-z0-9-]+)", lesson', source, re.MULTILINE):
                names[f"{number_of(path)}/{name}"] = None
    return list(names)


def irregular(*folders: Path) -> Iterator[str]:
    """Yield a sentence for everything that is not an ordinary folder or file: a link could lead out
    of a submission, and a pipe never ends. Only the last folder's content is checked."""
    for folder in folders:
        if folder.is_symlink() or not folder.is_dir():
            yield f"{folder.name} is a symlink or not a folder; put a folder there"
            return
    for path in sorted(folders[-1].rglob("*")):
        found, name = path.lstat(), str(path.relative_to(folders[-1]))
        if stat.S_ISDIR(found.st_mode):
            continue
        if not stat.S_ISREG(found.st_mode):
            what = "a symlink" if path.is_symlink() else "a pipe, a device or a socket"
            yield f"{name!r} is {what}; hand in files only"
        elif found.st_nlink > 1:
            yield f"{name!r} is a hard link to a file elsewhere; hand in a copy"


def total(cells: Any) -> tuple[float, float]:
    """Sum of scores and sum of points, from rows (name, score, points).

    Raises:
        Stopped: for an impossible score, such as one above its maximum.
    """
    for name, score, most in cells:
        late = name == "late" and most == 0
        if not (math.isfinite(score) and (late or 0 <= score <= most)):
            raise Stopped(f"its test {name!r} gave {score:g} of {most:g} points")
    most = sum(points for _, _, points in cells)
    return min(max(0.0, sum(score for _, score, _ in cells)), most), most


def summary(grades: Sequence[Grade], seconds: float) -> str:
    """A line such as: 29 of 30 graded in 95 s; slowest: anna 7 s; failed: bob (…)."""
    done = [grade for grade in grades if grade.score is not None]
    slowest = max(grades, key=lambda grade: grade.seconds)
    failed = "; ".join(
        f"{printable(g.student)} ({g.note}, after {g.seconds:.0f} s)"
        for g in grades
        if g.score is None
    )
    text = f"{len(done)} of {len(grades)} graded in {seconds:.0f} s"
    text += f"; slowest: {printable(slowest.student)} {slowest.seconds:.0f} s"
    return text + (f"; failed: {failed}" if failed else "")


def same_name(name: str) -> str:
    """Normalise a name so that surrounding spaces, case and the coding of accents make no
    difference."""
    return unicodedata.normalize("NFC", name.strip()).casefold()


def printable(text: str) -> str:
    """Return text in one line, without characters that control a terminal."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def _copy_files(source: Path, target: Path) -> None:
    """Copy a folder's ordinary files, without links."""
    for path in sorted(source.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def _write_csv(grades: Sequence[Grade], path: Path) -> None:
    rows = [[grade.student, grade.score, grade.most, grade.note] for grade in grades]
    text = csv_text([["student", "score", "of", "note"], *rows])
    path.write_text(text, "utf-8", errors="backslashreplace", newline="")


def _write_predictions(grades: Sequence[Grade], path: Path) -> None:
    rows = [
        [grade.student, name, guess]
        for grade in grades
        for name, guess in grade.predictions.items()
    ]
    if rows:
        text = csv_text([["student", "prediction", "guess"], *rows])
        path.write_text(text, "utf-8", errors="backslashreplace", newline="")
