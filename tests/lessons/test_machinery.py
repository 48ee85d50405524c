"""Presets, exercises, claims, cards and progress."""

import json
import math
import os
import threading

import pytest
import torch

from tests.cells import told
from transformer_lab.lessons import ClaimFailed, check, claim, exercise, presets, progress
from transformer_lab.lessons.cards import Card
from transformer_lab.lessons.claims import CLAIM_MIME, number
from transformer_lab.lessons.graders import Grader
from transformer_lab.lessons.listing import lesson_paths, number_of, translated_paths
from transformer_lab.lessons.solutions import lesson_01 as solutions


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    folder = tmp_path / "runs"
    monkeypatch.setenv("TRANSFORMER_LAB_RUNS", str(folder))
    return folder


# --- presets -------------------------------------------------------------------------------------


def test_defaults_are_what_a_person_should_get():
    lesson = presets("01")
    assert (lesson.preset, lesson.answers, lesson.seed) == ("full", "learner", 0)
    assert lesson.pick(full=400, quick=60) == 400
    assert presets("01", preset="quick").pick(full=400, quick=60) == 60


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"preset": "quik"}, "did you mean 'quick'"),
        ({"answers": "teacher"}, "'learner' or 'solutions'"),
        ({"seed": -1}, "seed must be a whole number, 0 or more, got -1"),
        ({"seed": True}, "seed must be a whole number, 0 or more, got True"),
        ({"seed": "0"}, "seed must be a whole number, 0 or more, got '0'"),
        ({"device": "gpu"}, "gpu"),
    ],
)
def test_unknown_values_are_refused(wrong, said):
    with pytest.raises(ValueError, match=r"=|must be .* got ") as caught:
        presets("01", **wrong)
    assert said in str(caught.value)


def test_unknown_names_are_refused():
    with pytest.raises(TypeError, match=r"unknown parameter 'presett'.*did you mean 'preset'"):
        presets("01", presett="quick")


def test_presets_seed_torch():
    presets("01", seed=5)
    first = torch.rand(3)
    presets("01", seed=5)
    assert torch.equal(first, torch.rand(3))


def test_an_error_in_a_thread_fails_the_last_cell(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda failure: None)
    lesson = presets("01")
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        lesson.finish()


# --- exercises -----------------------------------------------------------------------------------


def stub(query, key, value):
    raise NotImplementedError


def ones(query, key, value):
    return torch.ones(*query.shape[:-1], value.shape[-1])


def test_the_reference_stands_in_until_the_check_passes():
    qkv = torch.randn(3, 5, 4)
    attention = exercise("attention", presets("01"))(stub)
    assert attention.used == "the reference attention"
    assert torch.equal(attention(*qkv), solutions.attention(*qkv))
    assert not check(attention)
    assert torch.equal(attention(*qkv), solutions.attention(*qkv))

    mine = torch.nn.functional.scaled_dot_product_attention
    attention = exercise("attention", presets("01"))(lambda q, k, v: mine(q, k, v) + 0)
    assert check(attention)
    assert attention.used == "your attention"
    assert attention(*qkv) is not None


def test_a_pass_is_taken_back_when_a_later_check_fails():
    attention = exercise("attention", presets("01"))(solutions.attention)
    assert check(attention)
    attention.yours = ones
    assert not check(attention)
    assert not attention.passed


def test_solutions_take_the_learners_place(runs):
    attention = exercise("attention", presets("01", answers="solutions"))(stub)
    assert check(attention)
    assert attention.used == "our solution's attention"
    assert not runs.exists()  # our solutions do not count as progress


def test_misuse_is_explained():
    with pytest.raises(ValueError, match="'attention', 'causal'"):
        exercise("atention", presets("01"))
    with pytest.raises(TypeError, match="cells at the top"):
        exercise("attention", "01")
    with pytest.raises(TypeError, match="above a function"):
        exercise("attention", presets("01"))(3)
    with pytest.raises(TypeError, match="is `@exercise"):
        check(stub)


# --- claims --------------------------------------------------------------------------------------


def test_true_claims_are_shown_with_what_was_measured():
    held = claim("loss falls", torch.tensor(0.93), at_least=0.85)
    assert held.holds
    assert "measured 0.93" in repr(held)
    assert "bound at least 0.85" in repr(held)
    assert claim("x", 3, close_to=3.05, tolerance=0.1).holds
    assert claim("x", 3, at_least=2, at_most=3).holds
    assert claim("x", True, at_least=1).holds


@pytest.mark.parametrize(
    ("measured", "bounds"),
    [
        (0.5, {"at_least": 0.6}),
        (0.5, {"at_most": 0.4}),
        (0.5, {"close_to": 1, "tolerance": 0.1}),
        (math.nan, {"at_most": 1}),
        (-math.inf, {"at_most": 1}),
    ],
)
def test_false_claims_fail(measured, bounds):
    with pytest.raises(ClaimFailed, match="the moon is cheese: measured"):
        claim("the moon is cheese", measured, **bounds)
    assert issubclass(ClaimFailed, AssertionError)


@pytest.mark.parametrize(
    "bounds",
    [
        {},
        {"close_to": 1},
        {"tolerance": 1},
        {"at_least": 1, "close_to": 1, "tolerance": 1},
        {"at_most": math.inf},
        {"at_least": math.nan},
        {"close_to": 1, "tolerance": -1},
    ],
)
def test_a_claim_that_claims_nothing_is_refused(bounds):
    with pytest.raises(ValueError, match=r"claim|at_|tolerance|bounds"):
        claim("x", 1, **bounds)


def test_a_claim_needs_one_number():
    with pytest.raises(TypeError, match="one number, not a Tensor"):
        claim("x", torch.ones(3), at_least=0)
    with pytest.raises(TypeError, match="one number, not a list"):
        claim("x", [1], at_least=0)


def test_a_claim_is_shown_beside_its_control():
    held = claim("it copies", 0.9, at_least=0.7, control=("a guess", torch.tensor(0.1)))
    assert held.control == ("a guess", pytest.approx(0.1))
    assert "measured 0.9 · bound at least 0.7 · control 0.1 (a guess)" in repr(held)
    with pytest.raises(
        ClaimFailed,
        match=r"its control \(a guess\) is 0\.8, which is at least 0\.7 too, so the claim shows nothing",
    ):
        claim("it copies", 0.9, at_least=0.7, control=("a guess", 0.8))
    with pytest.raises(ClaimFailed, match=r"control .* must be a finite number, got nan"):
        claim("it copies", 0.9, at_least=0.7, control=("a guess", math.nan))
    with pytest.raises(TypeError, match="the value of control= must be one number"):
        claim("it copies", 0.9, at_least=0.7, control=("a guess", torch.ones(2)))
    left = claim("it copies", math.nan, at_least=0.7, control=("a guess", math.nan), when=False)
    assert left.control is None
    assert claim("it copies", 0.9, at_least=0.7, control=("a guess", None)).control is None


@pytest.mark.parametrize("control", [0.1, ("a guess",), (" ", 0.1), (0.1, "a guess"), ["a", 0.1]])
def test_a_control_says_what_it_is(control):
    with pytest.raises(ValueError, match=r"control= must be \(what it is, its value\)"):
        claim("it copies", 0.9, at_least=0.7, control=control)


def test_a_claim_may_be_left_unjudged():
    left = claim("loss falls", math.nan, at_most=1, when=False, otherwise="stopped at step 3")
    assert left.holds is None
    assert "stopped at step 3" in repr(left)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (0.93, "0.93"),
        (-0.5, "−0.5"),
        (6.0, "6"),
        (2.4e-7, "2.4e−7"),
        (1e-6, "1e−6"),
        (12345.6, "12,346"),
        (4.8283, "4.828"),
        (3.2e9, "3.2e9"),
    ],
)
def test_numbers_are_short(value, written):
    assert number(value) == written


# --- cards ---------------------------------------------------------------------------------------

HOSTILE = ["<img src=x onerror=alert(1)>", "</script>", "`<b>`", "a & b", '"quoted"']


@pytest.mark.parametrize("text", HOSTILE)
def test_cards_show_hostile_text_literally(text):
    page = Card("bad", text, [text], code=text, aside=text, fields={text: text}).html()
    assert "<img" not in page
    assert "<script" not in page
    assert "</script" not in page
    assert "<b>" not in page


def test_cards_need_no_script_and_have_text():
    bundle = claim("x", 1, at_least=0, control=("y", -1))._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain", CLAIM_MIME}
    assert bundle[CLAIM_MIME] == {"bound": "at least 0", "measured": 1, "control": -1}
    assert "onclick" not in bundle["text/html"]


# --- progress ------------------------------------------------------------------------------------


def test_progress_is_kept(runs):
    assert progress().done() == 0
    attention = exercise("attention", presets("01"))(solutions.attention)
    assert check(attention)
    assert progress().done() == 1
    assert list(json.loads((runs / "progress.json").read_text())["solved"]) == ["01/attention"]
    assert [file.name for file in runs.iterdir()] == ["progress.json"]  # no temporary file remains
    assert f"1 of {len(progress().known)} exercises done" in repr(progress())


def test_progress_is_told_in_a_few_lines_however_long_the_course(runs):
    known = progress().known
    fresh = progress().card()
    assert fresh.lines == ["The first exercise: `pairwise_distances` in lesson 00b."]

    first = [name for name in known if name.startswith(("00b/", "01/"))]
    third = [name for name in known if name.startswith("03/")]
    solved = dict.fromkeys([*first, third[0]], "2026-01-01")
    runs.mkdir(exist_ok=True)
    (runs / "progress.json").write_text(json.dumps({"version": 1, "solved": solved}))
    second = next(name for name in known if name.startswith("02/")).partition("/")[2]
    assert progress().card().lines == [
        "Lessons done: 00b, 01.",
        f"Lessons started: 03 (1 of {len(third)}).",
        f"Next: `{second}` in lesson 02.",
    ]
    each = progress().each().splitlines()
    assert each[0] == f"· {len(solved)} of {len(known)} exercises done"
    assert len(each) == 1 + len(known) + 1
    assert each[-1].strip() == f"Next: `{second}` in lesson 02."
    assert f"  {third[0]}: solved on 2026-01-01" in each
    assert f"  {third[1]}: open" in each

    solved = dict.fromkeys(known, "2026-01-01")
    (runs / "progress.json").write_text(json.dumps({"version": 1, "solved": solved}))
    card = progress().card()
    assert card.tone == "good"
    [line] = card.lines
    assert line.startswith("Lessons done: 00b, 01, 02, 03, ")


def test_a_lesson_begins_with_where_its_learner_stopped(runs):
    first, second, *_ = (n.partition("/")[2] for n in progress().known if n.startswith("05/"))
    open_ = presets("05").card()
    assert open_.lines == [f"The first exercise: `{first}` in lesson 05."]
    here = [name for name in progress().known if name.startswith("05/")]
    runs.mkdir(exist_ok=True)

    def solve(names):
        solved = dict.fromkeys(names, "2026-01-01")
        (runs / "progress.json").write_text(json.dumps({"version": 1, "solved": solved}))

    solve(["05/" + first])
    assert presets("05").card().lines == [
        f"Solved: `{first}` (1 of {len(here)}).",
        f"Next: `{second}` in lesson 05.",
    ]
    assert presets("05", answers="solutions").card().lines == []  # nobody's progress
    solve(here)
    [solved, following] = presets("05").card().lines
    assert solved.endswith(f"({len(here)} of {len(here)}).")
    assert following == "Next: `pairwise_distances` in lesson 00b."  # the first that is open
    assert presets("00").card().lines == [following]  # a lesson without exercises
    solve(progress().known)
    assert presets("00").card().lines == []


def test_the_end_of_a_lesson_tells_of_one_exercise_and_of_several(runs):
    total = len(progress().known)
    assert f"Its one exercise is still open; in the course, you have solved 0 of {total}." in repr(
        presets("12").finish()
    )
    check(exercise("attention", presets("01"))(solutions.attention))
    told = f"You have solved 1 of its 2 exercises, and 1 of {total} in the course."
    assert told in repr(presets("01").finish())
    assert presets("00").finish().card().lines == []


def test_names_are_unique_so_that_a_renumbered_lesson_keeps_what_was_solved(runs):
    names = [full.partition("/")[2] for full in progress().known]
    assert len(set(names)) == len(names)
    runs.mkdir(exist_ok=True)
    solved = {"06/greedy": "2026-01-02", "01/attention": "2026-01-01", "06/gone": "2026-01-03"}
    (runs / "progress.json").write_text(json.dumps({"version": 1, "solved": solved}))
    assert progress().done() == 2
    assert progress().solved["08/greedy"] == "2026-01-02"
    assert progress().solved["06/gone"] == "2026-01-03"


def test_an_answer_counts_where_its_exercise_has_moved_to():
    greedy = exercise("greedy", presets("06"))(lambda: None)  # as in an older copy of a lesson
    assert greedy.grader.name == "08/greedy"
    with pytest.raises(ValueError, match="lesson 06 has no exercise 'gredy'; it has: 'learn_bpe'"):
        exercise("gredy", presets("06"))


@pytest.mark.parametrize(
    ("name", "answer", "wrong"),
    [
        ("03/merge_heads", lambda z: z.transpose(1, 2).flatten(2), lambda z: z.mean(1)),
        ("07/path_length", lambda a, b, n: -(-(a - b).abs() // n), lambda a, b, n: (a - b).abs()),
        ("20/ov_circuit", lambda r, v, o, u: r @ v @ o @ u.T, lambda r, v, o, u: r @ v @ o),
    ],
)
def test_an_exercise_that_no_lesson_asks_for_any_more_is_still_graded(name, answer, wrong):
    lesson, _, short = name.partition("/")
    for function, passed in ((answer, True), (wrong, False)):
        function.__name__ = short
        result = check(exercise(short, presets(lesson))(function))
        assert result.passed is passed and (passed or result.diagnosis)
    assert name not in progress().known


def test_a_lesson_may_have_a_letter(tmp_path):
    for name in (
        "01_b.ipynb",
        "00b_tensors.ipynb",
        "00_a.ipynb",
        "de/00b_tensors.ipynb",
        "x.ipynb",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [number_of(path) for path in lesson_paths(tmp_path)] == ["00", "00b", "01"]
    assert [number_of(path) for path in translated_paths(tmp_path)] == ["00b"]
    solution = lambda: None  # noqa: E731
    solution.__module__ = "transformer_lab.lessons.solutions.lesson_00b"
    assert Grader(solution, list, "", "").name == "00b/<lambda>"


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_folder_that_cannot_be_written_costs_one_sentence(runs, monkeypatch):
    runs.write_text("in the way")  # works for root too, unlike a read-only mode
    attention = exercise("attention", presets("01"))(solutions.attention)
    result = check(attention)
    assert result.passed
    assert "progress" in result.note.lower()
    assert attention.passed


@pytest.mark.parametrize("content", ["", "{", "[]", '{"solved": 3}', '{"solved": null}', "\x00"])
def test_a_broken_file_costs_one_sentence_and_is_not_overwritten(runs, content):
    runs.mkdir()
    (runs / "progress.json").write_text(content)
    assert progress().done() == 0
    assert "not a progress file" in repr(progress())
    result = check(exercise("attention", presets("01"))(solutions.attention))
    assert result.passed
    assert "not a progress file" in result.note
    assert (runs / "progress.json").read_text() == content


# --- bad days ------------------------------------------------------------------------------------


def test_cells_out_of_order_and_a_foreign_kernel_are_explained(runs):
    _, late, _, note = told(
        "from transformer_lab.lessons import presets; lesson = presets('01')",
        "scores_of_yesterday + 1",
        "lesson = presets('02')",
        "print(lesson.note)",
    )
    assert late["error"] == "NameError"
    assert "scores_of_yesterday is defined in a cell above" in late["stderr"]
    assert "Run All Above Selected Cell" in late["stderr"]
    assert note["stdout"].startswith("This kernel ran lesson 01 before")


def test_a_folder_that_cannot_be_written_is_named(monkeypatch):
    monkeypatch.setenv("TRANSFORMER_LAB_RUNS", "/proc/none/runs")  # not writable for anybody
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith("/proc"))
    lesson = presets("01")
    assert "/proc is not writable" in lesson.note
    assert "TRANSFORMER_LAB_RUNS" in lesson.card().text()
    assert check(exercise("causal", lesson)(solutions.causal)).passed  # still works
