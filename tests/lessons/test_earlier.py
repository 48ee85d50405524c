"""A learner's answer to one lesson is available in later ones if it still passes its check."""

import json
import linecache

import pytest
import torch

from transformer_lab.lessons import check, earlier, exercise, presets
from transformer_lab.lessons.solutions import lesson_01 as solutions

CELL = """import math

def helper(x):
    return x.softmax(-1)

@exercise("attention", lesson)
def attention(query, key, value):
    return helper(query @ key.mT / math.sqrt(query.shape[-1])) @ value

check(attention)
print("not run again")
"""


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFORMER_LAB_RUNS", str(tmp_path))
    return tmp_path


def run_cell(source, number="01", **names):
    """Run a cell as a notebook does: its source can be found by its file name."""
    file = f"<cell {hash(source)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    names |= dict(exercise=exercise, check=check, lesson=presets(number), torch=torch)
    exec(compile(source, file, "exec"), names)
    return names


def test_an_answer_that_passed_is_there_in_a_later_lesson(capsys):
    run_cell(CELL)
    capsys.readouterr()
    mine = earlier("01", presets("05"))
    assert capsys.readouterr().out == ""
    qkv = torch.randn(3, 4, 6)
    torch.testing.assert_close(mine.attention(*qkv), solutions.attention(*qkv))
    assert mine.attention.used == "your attention"
    assert mine.causal.used == "the reference causal"
    assert "Yours: `attention`." in repr(mine)
    assert "The reference is used for `causal` until yours" in repr(mine)


def test_answers_see_each_other_and_a_helper_that_is_replaced():
    changed = CELL.replace("x.softmax(-1)", "torch.exp(x) / torch.exp(x).sum(-1, keepdim=True)")
    run_cell(changed)
    mine = earlier("01", presets("05"))
    mine.use(helper=torch.zeros_like)
    qkv = torch.randn(3, 4, 6)
    assert float(mine.attention(*qkv).abs().max()) == 0
    with pytest.raises(ValueError, match="the answers of lesson 01 call no function 'helpr'"):
        mine.use(helpr=torch.zeros_like)


def test_with_solutions_everything_is_ours_and_nothing_is_saved(runs):
    run_cell(CELL)
    mine = earlier("01", presets("05", answers="solutions"))
    assert mine.attention.used == "our solution's attention"
    assert "Ours: `attention`" in repr(mine)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("source", "note"),
    [
        ("def attention(q, k, v):\n    return v", "does not pass its check: does it need"),
        ("def attention(q, k, v):\n    return helper(v)", "does not pass its check: does it need"),
        ("import nothing_here", "cannot be run: ModuleNotFoundError"),
        ("def attention(", "cannot be run: SyntaxError"),
    ],
)
def test_an_answer_that_no_longer_works_gives_way_to_the_reference(source, note, runs):
    run_cell(CELL)
    answers = {"version": 1, "answers": {"01/attention": source}}
    (runs / "answers.json").write_text(json.dumps(answers))
    mine = earlier("01", presets("05"))
    assert mine.attention.used == "the reference attention"
    assert note in repr(mine)
    qkv = torch.randn(3, 4, 6)
    torch.testing.assert_close(mine.attention(*qkv), solutions.attention(*qkv))


@pytest.mark.badinput
def test_a_damaged_file_and_wrong_names_are_explained(runs):
    (runs / "answers.json").write_text("[1")
    mine = earlier("01", presets("05"))
    assert "answers.json is not a file of answers" in repr(mine)
    shown = run_cell(CELL)["attention"]
    assert shown.passed and "not a file of answers" in repr(check(shown))
    assert (runs / "answers.json").read_text() == "[1"
    with pytest.raises(AttributeError, match="lesson 01 has no exercise 'atention'; it has: 'att"):
        mine.atention  # noqa: B018
    with pytest.raises(ValueError, match="lesson '00' has no exercises to build on"):
        earlier("00", presets("05"))


def test_what_was_not_written_in_a_cell_is_not_saved(runs):
    made = exercise("attention", presets("01"))(solutions.attention)
    assert check(made)
    assert not (runs / "answers.json").exists()
