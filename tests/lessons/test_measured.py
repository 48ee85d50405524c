"""A claim's bound is not looser than its sentence, given what `make lessons-full` measured."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from docs import measure_lessons

MEASURED = json.loads(
    (Path(__file__).parents[2] / "notebooks" / "measured.json").read_text("utf-8")
)["lessons"]
# Recipes that get the same CPU time take other numbers of steps whenever they are measured: what came
# out once, beside the values in the table.
ONCE = {("15", "at least 0.1"): 0.10507}
SIDE = re.compile(r"at (least|most) (−?[\d,]*\.?\d+(?:e−?\d+)?)$")


def one_sided(runs):
    """Claims with one bound and a control: (text of the bound, side, bound, [measured], [control])."""
    for claims in zip(*(run["claims"] for run in runs), strict=True):
        judged = [claim for claim in claims if claim.get("control") is not None]
        shown = SIDE.match(claims[0]["bound"])
        if judged and shown:
            bound = float(shown[2].replace("−", "-").replace(",", ""))
            yield (
                claims[0]["bound"],
                shown[1],
                bound,
                [claim["measured"] for claim in judged],
                [claim["control"] for claim in judged],
            )


@pytest.mark.parametrize("number", sorted(MEASURED))
def test_a_bound_is_near_what_was_measured(number):
    """At most a third of the way from the worst seed to the nearest control."""
    for shown, side, bound, measured, controls in one_sided(MEASURED[number]):
        measured += [ONCE[number, shown]] if (number, shown) in ONCE else []
        worst, control = (
            (min(measured), max(controls)) if side == "least" else (max(measured), min(controls))
        )
        assert abs(bound - worst) <= abs(control - worst) / 3, (shown, worst, control)


def test_claims_are_read_as_they_are_written():
    claims = [
        {"bound": "at least 0.7", "measured": 0.9, "control": 0.1},
        {"bound": "at most 1,300", "measured": 1200.0, "control": 2e5},
        {"bound": "at most −0.4", "measured": -0.5, "control": -1e-3},
        {"bound": "at least 0.7", "measured": 0.9, "control": None},
        {"bound": "within 0.1 of 1", "measured": 0.9, "control": 0.1},
        {"bound": "at least 0.7"},  # not judged
    ]
    assert [row[1:] for row in one_sided([{"claims": claims}])] == [
        ("least", 0.7, [0.9], [0.1]),
        ("most", 1300, [1200], [2e5]),
        ("most", -0.4, [-0.5], [-1e-3]),
    ]


def lesson(tmp_path, code):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    path = tmp_path / "00_lesson.ipynb"
    nbformat.write(notebook, path)
    return path


CODE = """from transformer_lab.lessons.pictures import Grid
claim("It copies", scores["copy"], at_least=0.7, control=("a guess", chance))
Grid(f"Head {head + 1}", trace.pattern(0, head), rows=["a", "b"])
def masked(x):
    \"\"\"Padding off.\"\"\"
    return view(x, title="A view", head="b")"""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("It copies", "The model copies", True),
        ("Head {", "The head {", True),
        ("Padding off", "Without padding", True),
        ("A view", "The view", True),
        ('head="b"', 'head="c"', False),
        ('["a", "b"]', '["x", "y"]', True),
        ("chance))", "chance))  # a comment", True),
        ('"a guess", chance', '"guessing", chance', True),
        ('"a guess", chance', '"a guess", zero', False),
        ("0.7", "0.8", False),
        ('"copy"', '"paste"', False),
        ("head + 1", "head + 2", False),
        ("claim(", "predict('scores', lesson)\nclaim(", True),
        ("claim(", "predict('scores', lesson, f'{scores.max():.2f}')\nclaim(", True),
        ("import Grid", "import Grid, predict", True),
        ("import Grid", "import grids", False),
    ],
)
def test_rewording_a_lesson_needs_no_new_measurement(tmp_path, old, new, same):
    assert old in CODE
    before = measure_lessons.code_of(lesson(tmp_path, CODE))
    after = measure_lessons.code_of(lesson(tmp_path, CODE.replace(old, new)))
    assert (before == after) is same


def test_runs_of_newer_code_wait_until_there_are_as_many(tmp_path, monkeypatch):
    monkeypatch.setattr(measure_lessons, "TABLE", tmp_path / "measured.json")
    run = lambda seed, code: dict(seed=seed, code=code, claims=[])  # noqa: E731
    for seed in (1, 0, 1):
        measure_lessons.keep("00", run(seed, "old"))
    measure_lessons.keep("00", run(5, "new"))
    table = measure_lessons.read_table()
    assert table["lessons"] == {"00": [run(0, "old"), run(1, "old")]}
    assert table["begun"] == {"00": [run(5, "new")]}
    measure_lessons.keep("00", run(6, "newer"))  # replaces the unfinished run of seed 5
    measure_lessons.keep("00", run(7, "newer"))
    table = measure_lessons.read_table()
    assert table["lessons"] == {"00": [run(6, "newer"), run(7, "newer")]}
    assert table["begun"] == {}
