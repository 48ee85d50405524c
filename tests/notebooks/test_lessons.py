"""Every lesson runs from top to bottom, with the learner's stubs and with our solutions."""

import importlib.util
import json
import re
from pathlib import Path

import nbformat
import pytest

from transformer_lab.lessons import run_notebook
from transformer_lab.lessons.graders import exercise_names
from transformer_lab.lessons.runner import parameters_of

FOLDER = Path(__file__).parents[2] / "notebooks"
_spec = importlib.util.spec_from_file_location(
    "measure_lessons", FOLDER.parent / "docs" / "measure_lessons.py"
)
measure_lessons = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(measure_lessons)
LESSONS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
NAMES = [path.stem for path in LESSONS]
MEBIBYTE = 2**20


def text_of(notebook) -> str:
    return json.dumps([cell.get("outputs", []) for cell in notebook.cells], ensure_ascii=False)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("answers", ["learner", "solutions"])
@pytest.mark.parametrize("path", LESSONS, ids=NAMES)
def test_a_lesson_runs_to_its_end(path, answers, tmp_path):
    out = tmp_path / path.name
    run_notebook(path, out, cell_seconds=400, preset="quick", answers=answers, device="cpu")
    executed = nbformat.read(out, as_version=4)
    shown = text_of(executed)
    number = path.stem[:2]
    exercises = [name for name in exercise_names() if name.startswith(number)]
    if answers == "learner":
        assert shown.count("is not written yet") >= len(exercises)
    else:
        assert "is not written yet" not in shown
        assert shown.count(" is right.") >= len(exercises)
        assert "the reference" not in shown
    assert out.stat().st_size < 3 * MEBIBYTE
    assert "application/vnd.jupyter.widget-view+json" not in shown
    assert not (FOLDER / "runs").exists()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_claims_of_lesson_01_hold_for_other_seeds(seed, tmp_path):
    path = FOLDER / "01_attention_by_hand.ipynb"
    run_notebook(path, tmp_path / path.name, preset="full", seed=seed)


@pytest.mark.parametrize("path", LESSONS, ids=NAMES)
def test_committed_lessons_carry_nothing_of_a_run(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        assert re.fullmatch(r"[a-z][a-z0-9-]+", cell.id), f"cell id {cell.id!r} is not readable"
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert "execution" not in cell.metadata


@pytest.mark.parametrize("path", LESSONS, ids=NAMES)
def test_lessons_have_their_shape(path):
    notebook = nbformat.read(path, as_version=4)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert parameters_of(notebook) == ("preset", "device", "seed", "answers")
    for element in (
        "**You will be able to**",
        "**You need**",
        "**Time**",
        "Predict before you run",
        "What to take with you",
        "One step further",
        "(glossary.md#",
        "**Read next:**",
    ):
        assert element in prose, f"{path.name} lacks {element!r}"
    assert "claim(" in code
    assert notebook.cells[-1].source.strip() == "lesson.finish()"
    for image in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", prose):
        assert len(image[0]) > 20, "a picture needs alt text that says what it shows"
        assert (path.parent / image[1]).is_file()
    for link in re.findall(r"\]\((\w+\.ipynb)\)", prose):
        assert (path.parent / link).is_file()


@pytest.mark.parametrize("path", LESSONS, ids=NAMES)
def test_every_exercise_has_its_parts_and_the_solution_shown_is_ours(path):
    number = path.stem[:2]
    notebook = nbformat.read(path, as_version=4)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    names = [name[3:] for name in exercise_names() if name.startswith(number)]
    package = FOLDER.parent / "transformer_lab" / "lessons" / "solutions"
    for name in names:
        assert f'@exercise("{name}", lesson)' in code
        assert f"check({name})" in code
        shown = re.search(rf"```python\n(def {name}\(.*?)\n```", prose, re.DOTALL)
        assert shown, f"no solution of {name} is shown"
        assert shown[1].strip() in (package / f"lesson_{number}.py").read_text(encoding="utf-8")
    assert prose.count("<summary><b>Hint</b></summary>") == len(names)
    assert len(re.findall(r"Difficulty .* importance .* minutes", prose)) == len(names)


@pytest.mark.parametrize("path", LESSONS, ids=NAMES)
def test_the_readme_lists_every_lesson(path):
    assert f"({path.name})" in (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", LESSONS, ids=NAMES)
def test_the_header_says_the_time_that_was_measured(path):
    """`make lessons-full` runs every lesson over three seeds, and writes what it took."""
    runs = json.loads((FOLDER / "measured.json").read_text("utf-8"))["lessons"][path.stem[:2]]
    assert len({run["seed"] for run in runs}) >= 3
    assert all(len(run["claims"]) >= 3 for run in runs)
    header = measure_lessons.header_of(nbformat.read(path, as_version=4))
    assert measure_lessons.said_time(runs) in header.source
