"""A notebook that died, hung, stopped early or hid an error never passes."""

from datetime import datetime, timedelta, timezone

import nbformat
import pytest
from papermill.engines import NotebookExecutionManager

from transformer_lab.lessons import NotebookFailed, UnknownParameter, run_notebook

START = """
from transformer_lab.lessons import presets
lesson = presets("01", preset=preset, seed=seed)
print("this far")
"""
FINISH = "lesson.finish()"


def write(folder, *cells, parameters='preset = "quick"\nseed = 0'):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        *(nbformat.v4.new_code_cell(cell) for cell in cells),
    ]
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    path = folder / "notebook.ipynb"
    nbformat.write(notebook, path)
    return path


def printed(out):
    """What each cell of an executed notebook printed."""
    cells = nbformat.read(out, as_version=4).cells
    return ["".join(o.get("text", "") for o in cell.get("outputs", [])) for cell in cells]


def test_a_good_notebook_passes(tmp_path):
    path = write(tmp_path, START, "print(lesson.seed)", FINISH)
    out = run_notebook(path, tmp_path / "out.ipynb", seed=3)
    assert printed(out)[2:4] == ["this far\n", "3\n"]


@pytest.mark.parametrize("minutes", [0, 1])
def test_what_ran_so_far_is_written_now_and_then(minutes, tmp_path, monkeypatch):
    """With a clock that stops, or advances a minute with each reading; papermill's saving within a
    cell is off, since it would count as slow by the latter."""
    times = [datetime(2026, 1, 1, tzinfo=timezone.utc)]

    def now(_):
        times.append(times[-1] + timedelta(minutes=minutes))
        return times[-1]

    monkeypatch.setattr(NotebookExecutionManager, "now", now)
    monkeypatch.setattr(NotebookExecutionManager, "autosave_cell", lambda self: None)
    out = tmp_path / "out.ipynb"
    look = f"import pathlib; print('6 * 7 =' + ' 42' in pathlib.Path({str(out)!r}).read_text())"
    run_notebook(write(tmp_path, START, "print('6 * 7 =', 6 * 7)", look, FINISH), out)
    assert printed(out)[3] == f"{bool(minutes)}\n"


DEATHS = {
    "raises": "1 / 0",
    "kernel dies": "import os; os._exit(0)",
    "exits politely": "import sys; sys.exit(0)",
    "quits": "exit()",
    "error in a thread": (
        "import threading\nt = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()"
    ),
    "error in a widget": (
        "import ipywidgets as w\nout = w.Output()\ndisplay(out)\n"
        "out.append_display_data\n"
        "out.outputs = ({'output_type': 'error', 'ename': 'KeyError', 'evalue': 'x', "
        "'traceback': []},)"
    ),
    "a printed traceback": "import traceback\ntry: 1 / 0\nexcept ZeroDivisionError: "
    "traceback.print_exc()",
    "a false claim": "from transformer_lab.lessons import claim\nclaim('x', 1, at_least=2)",
    "the network": "import urllib.request; urllib.request.urlopen('http://example.org')",
}


@pytest.mark.notebooks_fail
@pytest.mark.parametrize("death", DEATHS)
def test_a_notebook_that_died_is_never_green(death, tmp_path):
    path = write(tmp_path, START, DEATHS[death], FINISH)
    with pytest.raises(NotebookFailed):
        run_notebook(path, tmp_path / "out.ipynb", cell_seconds=60)
    assert "this far\n" in printed(tmp_path / "out.ipynb")  # kept for reading


@pytest.mark.notebooks_fail
def test_a_notebook_that_hangs_is_never_green(tmp_path):
    path = write(tmp_path, START, "import time; time.sleep(600)", FINISH)
    with pytest.raises(NotebookFailed, match=r"(?i)time"):
        run_notebook(path, tmp_path / "out.ipynb", cell_seconds=8)
    assert "this far\n" in printed(tmp_path / "out.ipynb")


@pytest.mark.notebooks_fail
@pytest.mark.parametrize("last", ["print('done')", "lesson.finish() and None", ""])
def test_a_notebook_that_does_not_finish_is_never_green(last, tmp_path):
    path = write(tmp_path, START, last or "pass")
    with pytest.raises(NotebookFailed, match=r"lesson\.finish"):
        run_notebook(path, tmp_path / "out.ipynb")


@pytest.mark.badinput
@pytest.mark.parametrize(
    "name", ["presett", "lesson", "seed = 0; import os; os", "1x", "__class__"]
)
def test_unknown_parameters_are_errors(name, tmp_path):
    path = write(tmp_path, START, FINISH)
    with pytest.raises(UnknownParameter, match="no parameter"):
        run_notebook(path, tmp_path / "out.ipynb", **{name: 1})
    assert not (tmp_path / "out.ipynb").exists()


@pytest.mark.badinput
def test_a_near_miss_is_suggested(tmp_path):
    path = write(tmp_path, START, FINISH)
    with pytest.raises(UnknownParameter, match="preset, seed; did you mean 'preset'"):
        run_notebook(path, tmp_path / "out.ipynb", pre_set="quick")


@pytest.mark.badinput
def test_an_unknown_value_fails_the_notebook(tmp_path):
    path = write(tmp_path, START, FINISH)
    with pytest.raises(NotebookFailed, match="preset must be 'full' or 'quick', got 'fast'"):
        run_notebook(path, tmp_path / "out.ipynb", preset="fast")


@pytest.mark.badinput
def test_a_missing_notebook_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.ipynb"):
        run_notebook(tmp_path / "none.ipynb", tmp_path / "out.ipynb")


@pytest.mark.badinput
def test_a_parameters_cell_holds_assignments_only(tmp_path):
    path = write(tmp_path, FINISH, parameters="import os\nseed = 0")
    with pytest.raises(ValueError, match="only lines like `seed = 0`"):
        run_notebook(path, tmp_path / "out.ipynb", seed=1)


def test_live_views_become_pictures_in_what_is_written(tmp_path):
    show = """
import ipywidgets
class Shown(ipywidgets.IntSlider):
    pass
display(Shown())
"""
    out = run_notebook(write(tmp_path, START, show, FINISH), tmp_path / "out.ipynb")
    executed = nbformat.read(out, as_version=4)
    data = executed.cells[2].outputs[0].data
    assert list(data) == ["text/plain"]
    assert "widgets" not in executed.metadata
