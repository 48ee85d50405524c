"""Create graded homework from lessons: an nbgrader course folder made from the same notebooks.

The text and stubs come from the notebook, the answers from lesson_NN.py of solutions/, the hidden
tests from the graders; nothing is written twice. The students' release has no answers and no tests.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformer_lab.files.resources import resource
from transformer_lab.lessons.copying import is_solution
from transformer_lab.lessons.graders import Variant, exercises_of, find, variant_number
from transformer_lab.lessons.listing import lesson_paths, number_of

from ...files.paths import FileError

STUB = "raise NotImplementedError"
UNCHANGED = "The cells below use the exercise without this change, so the lesson's results stay as they are."
# `python -m nbgrader`, faster: it skips the grammar of web addresses and garbage collection of what
# was imported (see `steps`), and starts no second Python to look up the version of a new gradebook.
NBGRADER = """import gc, sys
sys.modules["rfc3987_syntax"] = None
gc.disable()
from nbgrader.apps import NbGraderApp
gc.freeze()
gc.enable()
import nbgrader.api
def version():
    from alembic.script import ScriptDirectory
    from nbgrader.dbutil import ALEMBIC_DIR
    return ScriptDirectory(ALEMBIC_DIR).get_current_head()
nbgrader.api.get_alembic_version = version
NbGraderApp.launch_instance()
"""
CONFIG = '''"""nbgrader's settings for this course; `nbgrader --help-all` lists all of them."""

import atexit
import os
import shutil
import tempfile

c = get_config()  # noqa: F821
c.CourseDirectory.root = os.path.dirname(os.path.abspath(__file__))
c.CourseDirectory.course_id = "transformer-lab"
c.ClearSolutions.code_stub = {"python": "raise NotImplementedError"}
# Seconds for one cell. Grading runs the lessons' quick presets, and saves no progress.
c.ExecutePreprocessor.timeout = 300
c.ExecutePreprocessor.interrupt_on_timeout = True
os.environ["TRANSFORMER_LAB_PRESET"] = "quick"
os.environ["TRANSFORMER_LAB_RUNS"] = tempfile.mkdtemp(prefix="grading-")
atexit.register(shutil.rmtree, os.environ["TRANSFORMER_LAB_RUNS"], ignore_errors=True)
'''


def make_assignment(lessons: Sequence[str], out: str | Path, variant: int = 0) -> Path:
    """Write an nbgrader course folder: `source/` for the teacher, `release/` for the students.

    Args:
        lessons: numbers such as "01"; each becomes one assignment, named like its notebook.
        out: the course folder; created if it does not exist. Its other assignments are left alone.
        variant: 0 for the exercises as they are in the lessons; another number changes the task of
            each exercise that has variants.

    Returns:
        The course folder.

    Raises:
        FileError: for a lesson that does not exist or has no exercises, an assignment that already
            exists, a missing nbgrader, or a release that would contain a solution.
        ValueError: for a variant that is not a whole number ≥ 0, or a lesson that has none.
    """
    if find_spec("nbgrader") is None:
        raise FileError('nbgrader is not installed: pip install -e ".[course]"')
    if not lessons:
        raise FileError(
            "name at least one lesson, for example: transformer-lab assignment 01 --out course"
        )
    out, paths = Path(out), [_notebook(number) for number in lessons]
    variant_number(variant, *map(number_of, paths))
    for path in paths:
        for part in ("source", "release"):
            if (out / part / path.stem).exists():
                raise FileError(
                    f"{out / part / path.stem} already exists; remove it to make the assignment again"
                )
    out.mkdir(parents=True, exist_ok=True)
    config = out / "nbgrader_config.py"
    if not config.exists():
        config.write_text(CONFIG, "utf-8")
    for path in paths:
        folder = out / "source" / path.stem
        folder.mkdir(parents=True)
        _write(source_of(path, variant), folder / path.name)
        for image in _images(path):
            (folder / image).parent.mkdir(exist_ok=True)
            shutil.copy(path.parent / image, folder / image)
        call_nbgrader(out, "generate_assignment", path.stem, "--force")
        problems = list(leaks(out / "release" / path.stem / path.name, number_of(path), variant))
        if problems:
            shutil.rmtree(out / "release" / path.stem)
            raise FileError(
                f"the release of {path.stem} contained a solution and was deleted: {'; '.join(problems)}"
            )
    return out


def source_of(path: Path, variant: int = 0) -> Any:
    """Convert a lesson to nbgrader's source notebook: solutions between markers, hidden tests,
    locked parameters, and no solution in the text. The change of a variant is described above the
    answer and in its docstring."""
    import nbformat
    from nbformat.v4 import new_markdown_cell

    notebook = nbformat.read(path, as_version=4)
    number, points = number_of(path), _points(notebook)
    cells: list[Any] = []
    imported: set[str] = set()
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and is_solution(cell.source):
            continue
        cells.append(cell)
        if cell.cell_type == "code":
            imported |= {name for _, names in _imports(cell.source) for name in names}
        name = _exercise_in(cell)
        if name is not None:
            grader = find(number, name, variant)
            if isinstance(grader, Variant):
                text = f"**Changed for this assignment (variant {variant}).** {grader.change}\n\n{UNCHANGED}"
                cells.insert(-1, new_markdown_cell(text, id=f"{cell.id}-variant"))
                cell.source = _with_change(cell.source, grader.change)
            cell.source = _with_solution(cell.source, grader.reference, imported)
            _mark(cell, f"exercise-{name}", solution=True)
        elif "parameters" in cell.metadata.get("tags", []) or "= presets(" in cell.source:
            if variant:
                call = rf"\1, variant={variant})"
                cell.source = re.sub(r"(= presets\([^()]*)\)", call, cell.source)
            _mark(cell, cell.id, locked=True)
        elif cell.cell_type == "code" and (checked := re.match(r"check\((\w+)\)", cell.source)):
            cells.append(_test(number, checked[1], points[checked[1]], variant))
    notebook.cells = cells
    notebook.metadata.pop("widgets", None)
    return notebook


def leaks(path: Path, number: str, variant: int = 0) -> Iterator[str]:
    """Yield a phrase for each thing that a student's notebook contains and should not."""
    text = path.read_text("utf-8")
    notebook = json.loads(text)
    code = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    words = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown"]
    stubs = _stubs(number)
    for name in exercises_of(number):
        right = {find(number, name, v).reference for v in (0, variant)}
        parts = [part for solution in right for part in _parts(solution, stubs[name])]
        bodies = [_flat(_body(part)) for part in parts]
        if any(body in _flat(cell) for body in bodies for cell in [*code, *words]):
            yield f"it contains the solution of {name}"
    for mark in ("BEGIN SOLUTION", "HIDDEN TESTS", "lessons.grading", "lessons.solutions"):
        if mark in text:
            yield f"it contains {mark!r}"
    if any(map(is_solution, words)):
        yield "its text contains a solution"
    if notebook["metadata"].get("widgets") or any(c.get("outputs") for c in notebook["cells"]):
        yield "it contains outputs"


def _notebook(number: str) -> Path:
    known = {number_of(path): path for path in lesson_paths(resource("notebooks"))}
    with_exercises = [n for n in known if exercises_of(n)]
    if str(number) not in with_exercises:
        why = "has no exercises" if str(number) in known else "does not exist"
        listed = ", ".join(with_exercises)
        raise FileError(f"lesson {number!r} {why}; lessons with exercises: {listed}")
    return known[str(number)]


def _exercise_in(cell: Any) -> str | None:
    if cell.cell_type != "code":
        return None
    found = re.search(r'^@exercise\("(\w+)", lesson\)', cell.source, re.MULTILINE)
    return found[1] if found else None


def _points(notebook: Any) -> dict[str, int]:
    """Exercise -> its points: one for each dot of its difficulty."""
    points, marks = {}, 1
    for cell in notebook.cells:
        found = re.search(r"Difficulty (●*)", cell.source)
        if cell.cell_type == "markdown" and found:
            marks = max(1, len(found[1]))
        name = _exercise_in(cell)
        if name is not None:
            points[name] = marks
    return points


def _stubs(number: str) -> dict[str, str]:
    """Exercise -> the cell that a learner completes."""
    import nbformat

    cells = nbformat.read(_notebook(number), as_version=4).cells
    return {name: cell.source for cell in cells if (name := _exercise_in(cell))}


def _parts(solution: Callable, stub: str) -> list[Callable]:
    """The functions to write: the solution itself, or the methods of a class, and of its nested
    classes, that the stub does not contain."""
    if not isinstance(solution, type):
        return [solution]
    inside = [part for part in vars(solution).values() if inspect.isfunction(part)]
    nested = [part for part in vars(solution).values() if isinstance(part, type)]
    asked = [part for part in inside if _flat(_body(part)) not in _flat(stub)]
    return [*(method for part in nested for method in _parts(part, stub)), *asked]


def _body(function: Callable) -> str:
    """The lines of a function below its signature, without a docstring."""
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    head = next(i for i, line in enumerate(lines) if line.rstrip().endswith(":"))
    body = textwrap.dedent("\n".join(lines[head + 1 :]))
    return re.sub(r'\A\s*"""(?:.|\n)*?"""\n', "", body).strip("\n")


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _imports(source: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the imports of a module or cell, each as a line and the name that it binds."""
    with suppress(SyntaxError):  # a cell with a magic imports nothing that an answer needs
        for node in ast.parse(source).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                for one in node.names:
                    node.names = [one]
                    yield ast.unparse(node), {(one.asname or one.name).partition(".")[0]}


def _lacking(part: Callable, imported: set[str]) -> Iterator[str]:
    """Yield the imports that a function of the solutions uses and the notebook lacks."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(part)))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - imported
    for line, names in _imports(inspect.getsource(sys.modules[part.__module__])):
        if names & used:
            yield line


def _with_solution(stub: str, solution: Callable, imported: set[str]) -> str:
    """Put the solution into a stub, between nbgrader's markers, where the function or each method
    of a class raises. A method that the stub lacks follows the one before it. A solution imports
    what it uses and the notebook has not `imported`."""
    raising = re.compile(rf"^([ \t]*){STUB}\b.*$", re.MULTILINE)
    heads = re.findall(rf"def (\w+)\((?:(?!\bdef )(?!{STUB}).|\n)*{STUB}", stub)
    groups: list[list[Callable]] = []
    for part in _parts(solution, stub):
        if len(groups) < len(heads) and part.__name__ == heads[len(groups)]:
            groups.append([part])
        elif groups:
            groups[-1].append(part)
    if not heads or len(groups) < len(heads):
        raise FileError(f"the stub of {solution.__qualname__} has no line `{STUB}` for each part")
    start = 0
    for part, *helpers in groups:
        found = raising.search(stub, start)
        assert found is not None  # heads were found with it
        body = "\n".join([*_lacking(part, imported), _body(part)])
        lines = [
            textwrap.indent(f"### BEGIN SOLUTION\n{body}", found[1]),
            *(f"\n{inspect.getsource(helper).rstrip()}" for helper in helpers),
            f"{found[1]}### END SOLUTION",
        ]
        block = "\n".join(lines)
        stub = stub[: found.start()] + block + stub[found.end() :]
        start = found.start() + len(block)
    return stub


def _with_change(stub: str, change: str) -> str:
    """Append a variant's change to the stub's docstring, if it has a one-line one."""

    def longer(docstring: re.Match[str]) -> str:
        indent = docstring[1]
        wrapped = textwrap.fill(change, 96 - len(indent))
        return textwrap.indent(
            f'"""{docstring[2]}\n\n{wrapped}\n"""', indent, lambda line: line.strip() != ""
        )

    return re.sub(r'^([ \t]+)"""(.+)"""$', longer, stub, count=1, flags=re.MULTILINE)


def _test(number: str, name: str, points: int, variant: int) -> Any:
    from nbformat.v4 import new_code_cell

    option = f", variant={variant}" if variant else ""
    cell = new_code_cell(
        f"# {points} {'point' if points == 1 else 'points'}: your teacher's check of "
        f"`{name}` runs here.\n"
        "### BEGIN HIDDEN TESTS\n"
        "from transformer_lab.lessons.grading import grade\n\n"
        f'grade("{number}/{name}", {name}{option})\n'
        "### END HIDDEN TESTS",
        id=f"{name.replace('_', '-')}-graded",
    )
    _mark(cell, f"graded-{name}", grade=True, locked=True, points=points)
    return cell


def _mark(
    cell: Any,
    grade_id: str,
    *,
    grade=False,
    solution=False,
    locked=False,
    points: int | None = None,
) -> None:
    cell.metadata["nbgrader"] = {
        "schema_version": 3,
        "grade_id": grade_id,
        "grade": grade,
        "solution": solution,
        "locked": locked,
        "task": False,
        "cell_type": cell.cell_type,
        **({} if points is None else {"points": points}),
    }


def _write(notebook: Any, path: Path) -> None:
    import nbformat

    nbformat.write(notebook, path)


def _images(path: Path) -> list[str]:
    return sorted(set(re.findall(r"\]\((images/[\w.-]+)\)", path.read_text("utf-8"))))


def call_nbgrader(course: Path, *arguments: str) -> None:
    """Run an nbgrader command in a course folder.

    Raises:
        FileError: it failed, with the last error that it printed.
    """
    # nbgrader calls alembic, which is in Python's folder, by its bare name.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    options: dict[str, Any] = dict(cwd=course, capture_output=True, text=True)
    options |= dict(env={**os.environ, "PATH": path})
    run = subprocess.run([sys.executable, "-c", NBGRADER, *arguments], **options)
    if run.returncode:
        lines = [
            line for line in run.stderr.splitlines() if re.match(r"\w*(Error|Exception)", line)
        ]
        why = lines[-1] if lines else run.stderr.strip()[-300:]
        raise FileError(f"nbgrader {' '.join(arguments)} failed: {why}")
