"""Run a notebook from top to bottom, and detect one that did not really run to its end."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformer_lab.arguments import check, checked
from transformer_lab.files.paths import as_path, in_line
from transformer_lab.lessons.presets import FINISHED

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
START_SECONDS = 300  # for a kernel to start on a machine that is busy with thirty others


class UnknownParameter(ValueError):
    """A parameter that the notebook does not have. (papermill itself only warns.)"""


class NotebookFailed(RuntimeError):
    """A notebook that raised, died, stopped early, ran too long, or hid an error."""


def parameters_of(notebook: Any) -> tuple[str, ...]:
    """Names assigned in the one cell tagged `parameters`; () if there is no such cell.

    Raises:
        ValueError: more than one cell is tagged, or the cell is not plain assignments.
    """
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if not tagged:
        return ()
    if len(tagged) > 1:
        raise ValueError(f"{len(tagged)} cells are tagged `parameters`; tag only one")
    names = []
    for statement in ast.parse(tagged[0].source).body:
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        else:
            raise ValueError(  # the notebook is wrong, not an argument's type
                "the cell tagged `parameters` may contain only lines like `seed = 0`"
            )
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    return tuple(names)


def _refuse_unknown(path: Path, known: tuple[str, ...], given: dict[str, Any]) -> None:
    for name in given:
        # papermill writes the name into the notebook's code, so it must be a name and no more.
        if name not in known or not name.isidentifier():
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            listed = ", ".join(known) or "none"
            raise UnknownParameter(
                f"{path.name} has no parameter {name!r}; its parameters: {listed}{hint}"
            )


@checked
def run_notebook(
    path: str | Path,
    out: str | Path,
    *,
    cell_seconds: float = 600,
    keep_views: bool = False,
    cwd: str | Path | None = None,
    **parameters: Any,
) -> Path:
    """Execute a notebook with papermill and write the result, with its figures, to `out`.

    The written file has PNG and text instead of live widgets, so that it opens anywhere.

    Args:
        path: the notebook.
        out: the path of the executed copy; its folder must exist.
        cell_seconds: time limit for each cell.
        keep_views: keep the live views with their state instead of still figures.
        cwd: the folder that it runs in; by default the notebook's own.
        **parameters: values for names in the cell tagged `parameters`.

    Returns:
        The path of the executed notebook.

    Raises:
        UnknownParameter: for a name that the tagged cell does not assign.
        FileNotFoundError: if `path` is not a file.
        NotebookFailed: if the notebook raised, died, ran too long, ended early, or hid an error in a
            thread or a widget. The executed copy is kept.
    """
    import nbformat
    import papermill

    from transformer_lab.lessons.engine import NAME

    path, out = as_path(path), as_path(out, "out")
    if not path.is_file():
        raise FileNotFoundError(f"there is no notebook at {in_line(path)}")
    for name, value in parameters.items():
        check(name, value, bool | int | float | str | None)  # types that papermill can write
    _refuse_unknown(path, parameters_of(nbformat.read(path, as_version=4)), parameters)
    try:
        executed = papermill.execute_notebook(
            str(path),
            str(out),
            parameters=parameters,
            engine_name=NAME,
            kernel_name="python3",
            cwd=str(cwd or path.parent),
            start_timeout=START_SECONDS,
            execution_timeout=cell_seconds,
            progress_bar=False,
        )
    except Exception as error:  # papermill, nbclient and zmq each have their own
        raise NotebookFailed(f"{path.name}: {_first_lines(error)}") from error
    problems = list(_problems(executed))
    if not keep_views:
        _still(executed)
    nbformat.write(executed, out)
    if problems:
        raise NotebookFailed(f"{path.name}: {'; '.join(problems)}")
    return out


def _first_lines(error: Exception) -> str:
    if hasattr(error, "ename"):  # papermill's error of a cell
        return f"cell {error.exec_count} raised {error.ename}: {error.evalue}"  # type: ignore[attr-defined]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def _problems(notebook: Any) -> Iterator[str]:
    """Yield every sign that a notebook did not really run to its end."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    for cell in code:
        status = cell.metadata.get("papermill", {}).get("status")
        if cell.execution_count is None or status not in (None, "completed"):
            yield f"cell {cell.id} was not executed"
        yield from (f"cell {cell.id}: {finding}" for finding in _hidden_errors(cell.outputs))
    state = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for model in state.values():
        outputs = model.get("state", {}).get("outputs") or []
        if isinstance(outputs, list | tuple):
            yield from (f"in a widget: {finding}" for finding in _hidden_errors(outputs))
    if not code or not any(FINISHED in output.get("data", {}) for output in code[-1].outputs):
        yield "its last cell did not reach `lesson.finish()`"


def _hidden_errors(outputs: Any) -> Iterator[str]:
    for output in outputs:
        kind = output.get("output_type")
        if kind == "error":
            yield f"{output.get('ename')}: {output.get('evalue')}"
        elif kind == "stream":
            text = output.get("text", "")
            if re.search(r"^(Exception in thread|Exception in callback)", text, re.MULTILINE):
                yield f"an error in a thread ({text.strip().splitlines()[-1][:200]})"
            if "To exit: use 'exit'" in text or "Traceback (most recent call last)" in text:
                yield f"it tried to exit or hid an error ({text.strip().splitlines()[-1][:200]})"


def _still(notebook: Any) -> None:
    """Replace live widgets by images and text: a view without its state shows nothing."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if len(data) > 1:
                data.pop(WIDGET_VIEW, None)
