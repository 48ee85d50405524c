"""Every lesson runs from top to bottom with the learner's stubs, and our solutions pass in it."""

import ast
import importlib.util
import inspect
import json
import re
from pathlib import Path

import nbformat
import pytest

from transformer_lab.lessons import run_notebook
from transformer_lab.lessons.graders import exercise_names, exercises_of, find
from transformer_lab.lessons.listing import lesson_paths, number_of
from transformer_lab.lessons.presets import FINISHED
from transformer_lab.lessons.runner import parameters_of

FOLDER = Path(__file__).parents[2] / "notebooks"
_spec = importlib.util.spec_from_file_location(
    "measure_lessons", FOLDER.parent / "docs" / "measure_lessons.py"
)
measure_lessons = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(measure_lessons)
LESSONS = lesson_paths(FOLDER)
NAMES = [path.stem for path in LESSONS]
MEBIBYTE = 2**20


def is_asking(source: str) -> bool:
    return re.fullmatch(r'predict\("[a-z0-9-]+", lesson\)', source) is not None


def longer_than(name: str, lines: int) -> bool:
    """Whether the body of an exercise's solution has more than so many lines."""
    source = inspect.getsource(find(*name.split("/")).reference)
    body = source.splitlines()[ast.parse(source).body[0].body[0].lineno - 1 :]
    return len([line for line in body if line.strip()]) > lines


def text_of(cells) -> str:
    return json.dumps([cell.get("outputs", []) for cell in cells], ensure_ascii=False)


def solved_below(lesson, names):
    """The lesson, with its exercises and their checks repeated below with our solutions.

    Unsolved exercises call the reference, which is our solution itself, as the last cell asserts:
    the other cells would compute the same again.
    """
    code = [cell for cell in lesson.cells if cell.cell_type == "code"]
    again = [c for c in code if re.match(r"setup$|.*-check$", c.id) or "@exercise(" in c.source]
    exercises = f"[{', '.join(names)}]"
    sources = ['answers = "solutions"', *(cell.source for cell in again)]
    sources += [
        f"assert all(it.yours is it.reference and it.passed for it in {exercises})\n"
        f"print([it.used for it in {exercises}])",
        "lesson.finish()",
    ]
    lesson.cells += [
        nbformat.v4.new_code_cell(source, id=f"solved-{i}") for i, source in enumerate(sources)
    ]
    return lesson


@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", LESSONS, ids=NAMES)
def test_a_lesson_runs_to_its_end_and_our_solutions_are_right_in_it(path, tmp_path):
    names = exercises_of(number_of(path))
    (tmp_path / "mine").mkdir()
    given, out = tmp_path / "mine" / path.name, tmp_path / path.name
    nbformat.write(solved_below(nbformat.read(path, as_version=4), names), given)
    run_notebook(given, out, cell_seconds=400, preset="quick", answers="learner", device="cpu")
    assert [*given.parent.iterdir()] == [given]  # nothing is left in the lesson's folder
    cells = nbformat.read(out, as_version=4).cells
    first = next(i for i, cell in enumerate(cells) if cell.id == "solved-0")
    unsolved, solved = text_of(cells[:first]), text_of(cells[first:])
    assert FINISHED in cells[first - 1].outputs[0].data
    assert unsolved.count("is not written yet") >= len(names)
    assert "our solution" not in unsolved
    assert "is not written yet" not in solved
    assert solved.count(" is right.") >= len(names)
    assert solved.count("our solution's ") == len(names)
    assert "the reference" not in solved
    assert out.stat().st_size < 3.75 * MEBIBYTE
    assert "application/vnd.jupyter.widget-view+json" not in unsolved + solved


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("seed", "answers"), [(1, "learner"), (2, "solutions")])
def test_the_claims_of_lesson_01_hold_for_other_seeds_and_with_solutions(seed, answers, tmp_path):
    path = FOLDER / "01_attention_by_hand.ipynb"
    out = run_notebook(path, tmp_path / path.name, preset="full", seed=seed, answers=answers)
    shown = text_of(nbformat.read(out, as_version=4).cells)
    assert ("the reference" in shown) is ("our solution" not in shown) is (answers == "learner")
    assert not (FOLDER / "runs").exists()


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


@pytest.mark.parametrize("folder", ["", "de"])
def test_a_lesson_is_called_by_its_heading(folder):
    for path in lesson_paths(FOLDER / folder):
        notebook = nbformat.read(path, as_version=4)
        heading = notebook.cells[0].source.splitlines()[0]
        title = re.sub(r"^# \w+ · ", "", heading).split(":")[0].replace("`", "")
        assert notebook.metadata.title == title, path


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
        "**Next:**",
    ):
        assert element in prose, f"{path.name} lacks {element!r}"
    assert "claim(" in code
    assert "the reference" not in code  # an exercise's `used` says whose code ran
    assert code.count("answers=answers") == 1 and "lesson.answers" not in code
    assert notebook.cells[-1].source.strip() == "lesson.finish()"
    for image in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", prose):
        assert len(image[0]) > 20, "a picture needs alt text that says what it shows"
        assert (path.parent / image[1]).is_file()
    for link in re.findall(r"\]\((\w+\.ipynb)\)", prose):
        assert (path.parent / link).is_file()


@pytest.mark.parametrize("path", LESSONS, ids=NAMES)
def test_every_exercise_has_its_parts_and_the_solution_shown_is_ours(path):
    number = number_of(path)
    notebook = nbformat.read(path, as_version=4)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    names = exercises_of(number)
    package = FOLDER.parent / "transformer_lab" / "lessons" / "solutions"
    for name in names:
        assert f'@exercise("{name}", lesson)' in code
        assert f"check({name})" in code
        shown = re.search(
            rf"<b>Solution[^`]*```python\n((?:def|class) {name}\(.*?)\n```", prose, re.DOTALL
        )
        assert shown, f"no solution of {name} is shown"
        assert shown[1].strip() in (package / f"lesson_{number}.py").read_text(encoding="utf-8")
    assert prose.count("<summary><b>Hint</b></summary>") == len(names)
    assert len(re.findall(r"Difficulty .* importance .* minutes", prose)) == len(names)


@pytest.mark.parametrize("path", LESSONS, ids=NAMES)
def test_a_prediction_can_be_written_where_it_is_asked_for_and_is_resolved_below(path):
    cells = nbformat.read(path, as_version=4).cells
    sources = [cell.source for cell in cells]
    asked = [i for i, cell in enumerate(cells) if "**Predict before you run" in cell.source]
    names = [re.fullmatch(r'predict\("([a-z0-9-]+)", lesson\)', sources[i + 1]) for i in asked]
    assert names and all(names), [cells[i].id for i in asked]
    for i, name in zip(asked, names, strict=True):
        result = rf'predict\(\s*"{name[1]}",\s*lesson,'
        [resolved] = [source for source in sources[i + 2 :] if re.match(result, source)]
        call = ast.parse(resolved).body[0].value
        text = " ".join(
            node.value
            for node in ast.walk(call.args[2])
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )
        fields = re.findall(r"\{(\w+)", text)
        assert not any(isinstance(node, ast.JoinedStr) for node in ast.walk(call.args[2]))
        assert set(fields) == {keyword.arg for keyword in call.keywords}, name[1]
        assert fields or not re.search(r"\d\.\d", text), "a number of a run is a field"
    assert len({name[1] for name in names}) == len(names) == sum(map(is_asking, sources))


@pytest.mark.parametrize("name", [n for n in exercise_names() if longer_than(n, 5)])
def test_a_long_exercise_has_pseudocode_between_its_hint_and_its_solution(name):
    """Steps in words: comments below the functions' signatures, and no line of the solution."""
    number, _, short = name.partition("/")
    [path] = [path for path in LESSONS if number_of(path) == number]
    texts = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown"]
    head = rf"```python\n(?:def|class) {short}\("
    [rung] = [i for i, text in enumerate(texts) if "<b>Solution" in text and re.search(head, text)]
    assert "<summary><b>Hint</b></summary>" in texts[rung - 2]
    steps = re.fullmatch(
        rf"<details><summary><b>Pseudocode</b></summary>\n\n({head}.*)```\n\n</details>",
        texts[rung - 1], re.DOTALL,
    )
    assert steps, texts[rung - 1]
    lines = [line.strip() for line in steps[1].splitlines()[1:]]
    assert all(re.match(r"#|def |class |$", line) for line in lines)
    assert sum(line.startswith("#") for line in lines) >= 4
    code = [line.strip() for line in texts[rung].splitlines()[2:]]
    copied = {line for line in code if " " in line and not line.startswith(("def ", "class "))}
    assert not any(line in steps[1] for line in copied)


def runs_of_code(notebook) -> list[int]:
    """The number of non-blank lines of code between cells of prose (or prediction cards)."""
    runs = [0]
    for cell in notebook.cells:
        if cell.cell_type == "code" and not cell.source.startswith("predict("):
            runs[-1] += sum(bool(line.strip()) for line in cell.source.splitlines())
        else:
            runs.append(0)
    return runs


@pytest.mark.parametrize("path", LESSONS, ids=NAMES)
def test_no_more_than_45_lines_of_code_without_prose(path):
    assert max(runs_of_code(nbformat.read(path, as_version=4))) <= 45


def test_the_code_in_a_box_does_what_the_box_says():
    """Each box ends with its own assertion."""
    boxes = [
        (path.stem, code)
        for path in LESSONS
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "markdown" and "<b>Box: " in cell.source
        for code in re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL)
    ]
    assert len(boxes) >= 4
    for name, code in boxes:
        assert "\nassert " in code, name
        exec(compile(code, f"a box of {name}", "exec"), {})


@pytest.mark.parametrize("path", LESSONS, ids=NAMES)
def test_every_lesson_has_a_view(path):
    notebook = nbformat.read(path, as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert re.search(r"tl\.views\.\w+View\b|tl\.explore\(", code)


@pytest.mark.parametrize("path", LESSONS, ids=NAMES)
def test_the_readme_lists_every_lesson(path):
    assert f"({path.name})" in (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", LESSONS, ids=NAMES)
def test_the_header_says_the_time_that_was_measured(path):
    """`make lessons-full` runs every lesson with ten seeds, and records the times."""
    runs = json.loads((FOLDER / "measured.json").read_text("utf-8"))["lessons"][number_of(path)]
    assert len({run["seed"] for run in runs}) >= 3
    assert all(len(run["claims"]) >= 3 for run in runs)
    header = measure_lessons.header_of(nbformat.read(path, as_version=4))
    assert measure_lessons.said_time(runs) in header.source
