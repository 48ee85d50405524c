"""The script inside a sandbox: `run` executes a submission, `serve` prepares and marks notebooks.

It imports nothing of this package, so that it starts quickly. `run` has a sandbox for each
submission, with a kernel and without nbgrader, whose import takes longer than most submissions.
`serve` loads nbgrader once, in a sandbox that runs no student's code: a notebook is only data to
it. So a submission can rewrite only files that are thrown away.
"""

from __future__ import annotations

import gc
import json
import math
import os
import re
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

GRADED = ("grade", "solution", "task")  # marks of a cell
# nbgrader's options, but on a busy machine the kernel may take longer to answer than its four
# seconds.
EXECUTE = {
    "timeout": 30,
    "interrupt_on_timeout": True,
    "allow_errors": True,
    "raise_on_iopub_timeout": True,
    "iopub_timeout": 30,
    "error_on_timeout": {
        "ename": "CellTimeoutError",
        "evalue": "",
        "traceback": ["CellTimeoutError: No reply from kernel before timeout"],
    },
}
PREDICTION = "application/vnd.transformer-lab.prediction+json"  # what predict() leaves in an output
MOST = 1000  # characters of a prediction
STUDENT = "student"  # names of folders could mean something to nbgrader; this one does not
# No scripts, frames or forms, and nothing from elsewhere.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
TAGS = frozenset(
    re.findall(
        r"\w+",
        """
    a abbr b blockquote br caption code col colgroup dd del details div dl dt em figcaption figure
    h1 h2 h3 h4 h5 h6 hr i img kbd li mark ol p pre q s samp small span strong sub summary sup
    table tbody td tfoot th thead tr u ul var
""",
    )
)
PLAIN = {"a": {"title"}, "img": {"alt", "width", "height"}, "ol": {"start"}}
CELLS = {"colspan", "rowspan", "align", "scope"}
PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]*")
LINK = re.compile(r"(https?://|mailto:|#)")
SHOWN = ["text/html", "text/markdown", "image/png", "image/jpeg", "image/svg+xml", "text/plain"]


def main() -> None:
    step, assignment, *places, limits = sys.argv[1:]
    # A grammar of web addresses, which takes jsonschema a second at every import, and which no
    # notebook's schema needs.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")  # kernels do not inherit it
    os.dup2(2, 1)
    limit(**json.loads(limits))
    answers = run(assignment, *places) if step == "run" else serve(assignment, *places)
    for answer in answers:
        json.dump(answer, channel, allow_nan=False)
        print(file=channel, flush=True)


def serve(assignment: str, given: str, handed_in: str, work: str) -> Iterator[dict[str, Any]]:
    """Answer each line of stdin, "prepare NAME" or "mark NAME", about handed_in/NAME."""
    load()
    steps = {"prepare": prepare, "mark": mark}
    for line in sys.stdin:
        step, name = line.split()
        with TemporaryDirectory(dir=work) as folder, logged(Path(folder) / "log") as log:
            course = Path(folder) / "course"
            shutil.copytree(given, course)
            shutil.copytree(Path(handed_in, name), course / "submitted" / STUDENT / assignment)
            os.chdir(course)
            try:
                answer = steps[step](course, assignment)
            except (Exception, SystemExit):
                traceback.print_exc()
                answer = {"failed": log.read_text("utf-8", "replace")[-20_000:]}
            os.chdir(work)
        yield answer


@contextmanager
def logged(path: Path) -> Iterator[Path]:
    """Redirect stderr, in which nbgrader reports why it fails, to a file."""
    errors = os.dup(2)
    with open(path, "wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield path
    finally:
        os.dup2(errors, 2)
        os.close(errors)


def load() -> None:
    """Import nbgrader and exclude it from garbage collection, which took a fifth of all the
    time."""
    gc.disable()
    import nbgrader.apps  # noqa: F401

    gc.freeze()
    gc.enable()


def limit(memory: int, disk: int, seconds: int, processes: int) -> None:
    """Limit this process and each that it starts (`seconds` and `processes` if not 0), on systems
    that have such limits."""
    try:
        import resource
    except ImportError:
        return
    # RLIMIT_AS would count memory that torch maps and never touches.
    wanted = {"RLIMIT_DATA": memory, "RLIMIT_FSIZE": disk, "RLIMIT_CORE": 0}
    wanted |= {"RLIMIT_CPU": seconds} if seconds else {}
    wanted |= {"RLIMIT_NPROC": processes} if processes else {}
    for name, value in wanted.items():
        hard = resource.getrlimit(getattr(resource, name))[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(getattr(resource, name), (value, value))
    os.nice(5)  # the watching process comes first


def run(
    assignment: str, given: str, handed_in: str, prepared: str, work: str
) -> Iterator[dict[str, Any]]:
    """Execute prepared notebooks in a folder with the other submitted files and the teacher's."""
    import nbformat
    from nbclient import NotebookClient
    from traitlets.config.loader import PyFileConfigLoader

    course = Path(work) / "course"
    folder = course / "autograded" / STUDENT / assignment
    shutil.copytree(given, course)
    shutil.copytree(handed_in, folder)
    shutil.copytree(course / "source" / assignment, folder, dirs_exist_ok=True)
    os.chdir(course)
    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    options = dict(EXECUTE)
    for part in ("NotebookClient", "ExecutePreprocessor", "Execute"):
        options |= {k: v for k, v in config[part].items() if k in NotebookClient.class_traits()}
    os.environ["NBGRADER_EXECUTION"] = "autograde"
    texts = {}
    for path in sorted(Path(prepared).glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            cell.metadata.pop("tags", None)  # one of them keeps a cell from being executed
            if cell.cell_type == "code":
                cell.update(outputs=[], execution_count=None)
        client = NotebookClient(
            notebook,
            resources={"metadata": {"path": str(folder)}},
            on_cell_executed=add_error,
            **options,
        )
        client.execute()
        texts[path.name] = nbformat.writes(notebook)
    yield {"notebooks": texts}


def add_error(cell: Any, cell_index: int, execute_reply: Any) -> None:
    """Show an error that is not among a cell's outputs, such as that it took too long."""
    import nbformat

    error = execute_reply["content"]
    if error["status"] != "error":
        return
    if not any(o.output_type == "error" and o.ename == error["ename"] for o in cell.outputs):
        fields = {name: error[name] for name in ("ename", "evalue", "traceback")}
        cell.outputs.append(nbformat.v4.new_output("error", **fields))


def prepare(course: Path, assignment: str) -> dict[str, Any]:
    """Insert the teacher's tests into the notebooks, without running them."""
    from nbgrader.apps import AutogradeApp

    if problem := broken(course, assignment):
        return {"refused": problem}
    try:
        AutogradeApp.launch_instance([assignment, "--no-execute"])
    except SystemExit:
        if problem := invalid(course, assignment):
            return {"refused": problem}
        raise
    finally:
        AutogradeApp.clear_instance()
    executed = texts(course / "autograded", assignment, "ipynb")
    return {
        "notebooks": executed,
        "predictions": predictions(course, assignment),
        "notes": other_variant(course, assignment),
    }


def other_variant(course: Path, assignment: str) -> list[str]:
    """A note for each notebook that was made for another variant than the one it is graded as."""
    import nbformat

    notes = []
    for path in sorted((course / "submitted" / STUDENT / assignment).glob("*.ipynb")):
        graded = course / "autograded" / STUDENT / assignment / path.name
        if graded.is_file():  # its cell is the teacher's
            numbers = [variant_in(nbformat.read(p, as_version=4)) for p in (path, graded)]
            if numbers[0] != numbers[1]:
                notes.append(f"made for {numbers[0]}, but graded as {numbers[1]}")
    return notes


def variant_in(notebook: Any) -> str:
    """The variant of the exercises that a notebook uses, in words."""
    sources = [cell.source for cell in notebook.cells if "= presets(" in cell.source]
    found = re.search(r"= presets\([^()]*\bvariant=(\d{1,9})", sources[0] if sources else "")
    return f"variant {int(found[1])}" if found else "the exercises without variants"


def predictions(course: Path, assignment: str) -> dict[str, str]:
    """Prediction -> the student's text, from the outputs of the submitted notebooks."""
    import nbformat

    guesses = {}
    for path in sorted((course / "submitted" / STUDENT / assignment).glob("*.ipynb")):
        for cell in nbformat.reads(path.read_text("utf-8"), as_version=4).cells:
            for output in cell.get("outputs", ()):
                data = output.get("data") if isinstance(output, dict) else None
                kept = data.get(PREDICTION) if isinstance(data, dict) else None
                kept = kept if isinstance(kept, dict) else {}
                if isinstance(kept.get("guess"), str) and kept["guess"]:
                    guesses[str(kept.get("name"))] = kept["guess"][:MOST]
    return guesses


def broken(course: Path, assignment: str) -> str:
    """Return why a submission cannot be graded, or ""; it has not run yet."""
    import nbformat

    for name, graded in graded_cells(course, assignment).items():
        path = course / "submitted" / STUDENT / assignment / f"{name}.ipynb"
        if not path.is_file():
            return f"{path.name} is missing; the notebook must keep the name it was released under"
        try:
            cells = nbformat.reads(path.read_text("utf-8"), as_version=4).cells
            marks = [cell.metadata.nbgrader for cell in cells if "nbgrader" in cell.metadata]
        except Exception as error:  # not JSON, not UTF-8, too deep, of another shape
            return f"{path.name} is not a notebook ({in_short(error)})"
        if not all(map(are_whole, marks)):
            return f"{path.name} has a graded cell with damaged metadata; copy the cell again from the release"
        names = Counter(mark.grade_id for mark in marks if any(map(mark.get, GRADED)))
        for cell, count in names.items():
            if count > 1:
                return f"{path.name} contains the graded cell {cell!r} {count} times; delete the copies"
            if cell not in graded:
                return f"{path.name} contains the graded cell {cell!r}, which does not belong to this assignment"
    return ""


def invalid(course: Path, assignment: str) -> str:
    """Return why a submission that nbgrader refused violates the notebook schema, or ""."""
    import nbformat

    for path in sorted((course / "submitted" / STUDENT / assignment).glob("*.ipynb")):
        try:
            nbformat.validate(json.loads(path.read_text("utf-8")))
        except nbformat.ValidationError as error:
            return f"{path.name} is not a valid notebook ({in_short(error)})"
    return ""


def are_whole(marks: Any) -> bool:
    """Whether nbgrader can read a cell's metadata."""
    return (
        isinstance(marks, dict)
        and isinstance(marks.get("points", 0), int | float)
        and (isinstance(marks.get("grade_id"), str) or not any(map(marks.get, GRADED)))
    )


def in_short(error: Exception) -> str:
    """The first line of an error that is not empty."""
    lines = [" ".join(line.split()) for line in str(error).splitlines()]
    return next(filter(None, lines), type(error).__name__)[:120]


def graded_cells(course: Path, assignment: str) -> dict[str, set[str]]:
    """Notebook -> the names of its graded cells, from the gradebook."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}", "transformer-lab") as book:
        notebooks: Any = book.find_assignment(assignment).notebooks
        return {
            n.name: {cell.name for cell in [*n.grade_cells, *n.solution_cells, *n.task_cells]}
            for n in notebooks
        }


def mark(course: Path, assignment: str) -> dict[str, Any]:
    """Grade an executed notebook, and write its feedback."""
    from nbgrader.apps import AutogradeApp, GenerateFeedbackApp
    from traitlets.config import Config

    try:
        AutogradeApp.launch_instance([assignment, "--no-execute"])
    finally:
        AutogradeApp.clear_instance()
    problems, notes = look_at(course, assignment)
    if problems:
        return {"refused": problems[0]}
    app = GenerateFeedbackApp.instance()
    app.initialize([assignment])
    app.update_config(
        Config(
            GenerateFeedback={"exporter_class": exporter()},
            HTMLExporter={
                "sanitize_html": True,
                "embed_images": True,
                "exclude_anchor_links": True,
                "filters": {"clean_html": clean},
            },
            NbConvertBase={"display_data_priority": SHOWN},
        )
    )
    try:
        app.start()
    finally:
        GenerateFeedbackApp.clear_instance()
    return {
        "notebooks": texts(course / "autograded", assignment, "ipynb"),
        "feedback": texts(course / "feedback", assignment, "html"),
        "cells": scores(course, assignment),
        "notes": notes,
    }


def texts(folder: Path, assignment: str, kind: str) -> dict[str, str]:
    files = sorted((folder / STUDENT / assignment).glob(f"*.{kind}"))
    return {path.name: path.read_text("utf-8", "replace") for path in files}


def look_at(course: Path, assignment: str) -> tuple[list[str], list[str]]:
    """Return a sentence for each impossible score, and the limits that cells reached."""
    import nbformat
    from nbgrader.utils import is_grade, is_solution

    problems, met = [], []
    for path in sorted((course / "autograded" / STUDENT / assignment).glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            tested = cell.cell_type == "code" and is_grade(cell) and not is_solution(cell)
            for output in cell.get("outputs", ()):
                if tested and output.output_type == "execute_result":
                    points = float(cell.metadata.nbgrader.points)
                    score = number("".join(output.data.get("text/plain", "")))
                    if score is not None and not 0 <= score <= points:
                        name = cell.metadata.nbgrader.grade_id
                        problems.append(f"its test {name!r} gave {score:g} of {points:g} points")
                if output.output_type == "error":
                    met.append(limit_in(output.ename, output.evalue))
    return problems, sorted(set(filter(None, met)))


def number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def limit_in(name: str, text: str) -> str:
    """The limit that an error indicates, or ""."""
    if name == "CellTimeoutError":
        return "time"
    if name == "MemoryError" or "can't allocate memory" in text:
        return "memory"
    if re.search(r"No space left on device|File too large", text):
        return "disk"
    return "processes" if re.search(r"can't start new thread|\[Errno 11\]", text) else ""


def scores(course: Path, assignment: str) -> list[list[Any]]:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}", "transformer-lab") as book:
        found: Any = book.find_submission(assignment, STUDENT)
        parts = [
            [cell.name, float(cell.score), float(cell.max_score)]
            for notebook in found.notebooks
            for cell in notebook.grades
        ]
        late = float(found.late_submission_penalty or 0)
    return [*parts, ["late", -late, 0.0]] if late and math.isfinite(late) else parts


def exporter() -> Any:
    """An nbconvert exporter that cleans everything from a submission."""
    from jinja2 import pass_context
    from nbconvert.exporters import HTMLExporter

    class Exporter(HTMLExporter):
        @pass_context
        def markdown2html(self, context: Any, source: str) -> str:
            return clean(super().markdown2html(context, source))

        def from_notebook_node(self, nb: Any, resources: Any = None, **kw: Any) -> Any:
            for number, cell in enumerate(nb.cells):  # tags become classes, sizes attributes
                cell.id = str(number)
                for key in set(cell.metadata) - {"nbgrader"}:
                    del cell.metadata[key]
                for output in cell.get("outputs", ()):
                    output.get("metadata", {}).clear()
            page, resources = super().from_notebook_node(nb, resources, **kw)
            return safe_page(page), resources

    return Exporter


def clean(text: Any) -> str:
    """Clean a submission's HTML: no script, and no class or style that could cover the grades."""
    return bleached(str(text), marks=frozenset())


def safe_page(page: str) -> str:
    """Clean the whole body of a feedback page, and add a policy that forbids scripts."""
    head, _, body = page.partition("<body>")
    styles = "\n".join(re.findall(r"<style.*?</style>", head, re.DOTALL))
    styles = re.sub(r"@font-face\s*\{[^}]*\}", "", styles)  # files that are missing
    title = "".join(re.findall(r"<title>.*?</title>", head, re.DOTALL)[:1])
    body = bleached(body, marks=frozenset({"class", "id", "name"}))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="referrer" content="no-referrer">\n{title}\n{styles}\n</head>\n'
        f"<body>{body}</body>\n</html>\n"
    )


def bleached(text: str, marks: frozenset[str]) -> str:
    import bleach

    def allowed(tag: str, name: str, value: str) -> bool:
        if name == "src":
            return tag == "img" and PICTURE.fullmatch(value) is not None
        if name == "href":
            return tag == "a" and LINK.match(value) is not None
        if tag in ("td", "th") and name in CELLS:
            return True
        return name in marks or name in PLAIN.get(tag, ())

    # `data` is for images only, not for links; `allowed` checks that.
    return bleach.clean(
        text,
        tags=TAGS,
        attributes=allowed,
        protocols=["http", "https", "mailto", "data"],
        strip=True,
        strip_comments=True,
    )


if __name__ == "__main__":
    main()
