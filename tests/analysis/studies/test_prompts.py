"""Prompt files of every kind, and errors for invalid ones."""

import re

import pytest
import torch
from click.testing import CliRunner

import transformer_lab as tl
from tests.factories import small
from transformer_lab.analysis.studies.prompts import Prompt, prompts_of
from transformer_lab.cli import main
from transformer_lab.files.paths import FileError

WHOLE = Prompt("the cat, sat", "the dog sat", " in", " of", line=2)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "a.jsonl",
            '{"clean": "x"}\n{"clean": "the cat, sat", "corrupted": "the dog sat", '
            '"answer": " in", "wrong": " of"}\n',
        ),
        ("a.csv", 'clean,corrupted,answer,wrong\n"the cat, sat",the dog sat, in, of\nx,,,\n'),
        ("a.tsv", "answer\twrong\tclean\tcorrupted\n in\t of\tthe cat, sat\tthe dog sat\n"),
    ],
)
def test_files_of_prompts(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    found = prompts_of(str(path))
    assert WHOLE in found and {one.clean for one in found} <= {"x", WHOLE.clean}
    assert all(one.corrupted is None for one in found if one.clean == "x")


def test_a_text_a_line_and_a_row_over_two_lines(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo \n")
    assert prompts_of(tmp_path / "a.txt") == [Prompt("one", line=1), Prompt("two ", line=3)]
    (tmp_path / "a.csv").write_text('clean\n"one\nand"\ntwo\n')
    assert prompts_of(tmp_path / "a.csv") == [Prompt("one\nand", line=2), Prompt("two", line=4)]


def test_lists_of_prompts():
    given = ["a", [1, 2], torch.tensor([3]), {"clean": (4,), "answer": 5}, WHOLE]
    wanted = [Prompt("a"), Prompt((1, 2)), Prompt((3,)), Prompt((4,), answer=5), WHOLE]
    assert prompts_of(given) == wanted


BROKEN = {
    "a.jsonl": [
        ('{"clean": "x"}\n{"clean": \n', "line 2: is not JSON"),
        ('{"clean": "x"}\n{"text": "x"}\n', "line 2: 'clean' is missing"),
        ('{"clean": "x", "corrupted": 3}\n', "line 1: has corrupted=3, which is not a text"),
        ('{"clean": "x", "answer": 1.5}\n', "line 1: has answer=1.5, which is not a token"),
        ('{"clean": "x", "wrong": " a"}\n', "line 1: has 'wrong' but no 'answer'"),
        (
            '{"clean": "x", "colour": "red"}\n',
            "line 1: has 'colour', which is not a known column; columns",
        ),
        ('{"clean": "x", "answer": ""}\n', "line 1: has an empty 'answer'"),
    ],
    "a.csv": [
        ("text\nx\n", "line 1: must have a column 'clean'"),
        ("clean,answer\nx,y\nx\n", "line 3: has 1 cells, not 2"),
        ('clean\nx\n"y\n', "line 3: is not a line of a table"),
        ("clean,answer\nx,y\n,y\n", "line 3: has no 'clean'"),
    ],
    "a.txt": [("\n \n", "is empty"), ("a\0b\n", "line 1: holds a NUL byte")],
    "a.docx": [("x", r"ends in '\.docx'; prompts must be in a file ending in \.txt, \.jsonl")],
}


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("name", "text", "said"), [(n, *b) for n, bs in BROKEN.items() for b in bs]
)
def test_a_broken_line_is_named(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(FileError, match=said):
        prompts_of(tmp_path / name)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "prompts is empty"),
        (3, "prompts=3 is not a list"),
        ([" "], r"prompts\[0\] has an empty 'clean'"),
        (["a", {"corrupted": "b"}], r"prompts\[1\] has no 'clean'"),
        ([[1.5]], r"prompts\[0\] has clean=\[1.5\], which is not a text"),
    ],
)
def test_lists_that_are_no_prompts(given, said):
    with pytest.raises(ValueError, match=said):
        prompts_of(given)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("prompts", "options", "said"),
    [
        ([[1, 2], [1, 99]], {}, "prompt 1: tokens holds 99, outside the vocabulary"),
        ([[1] * 65], {}, "prompt 0: it has 65 tokens but the model reads at most 64"),
        (["a"], {}, "prompt 0: a text needs a TextModel"),
        ([{"clean": [1], "answer": " a"}], {}, "prompt 0: token ' a' needs a TextModel"),
        ([{"clean": [1], "target": "a"}], {}, "prompt 0: target='a' is for an encoder-decoder"),
        ([[1, 2]], {"measure": "patching"}, "a corrupted prompt for every clean one, but prompt 0"),
        (
            [{"clean": [1, 2], "corrupted": [1, 3]}],
            {},
            r"patching needs a metric: give an answer .*prompt 0",
        ),
        ([[1, 2]], {"measure": "charm"}, "measure must be one of effects.*, got 'charm'"),
        ([[1, 2]], {"measure": []}, "measure is empty"),
        ([[1, 2]], {"by": "magic"}, "by must be attribution or exact, got 'magic'"),
        ([[1, 2]], {"at": "first"}, "at='first' is not a list of positions"),
        (
            [[1, 2]],
            {"metric": "kl", "measure": "entropy"},
            "metric='kl' is for patching and effects",
        ),
        ([[1, 2]], {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ([[1, 2]], {"level": 2.0}, "level between 0 and 1, got 2000 and 2.0"),
        ([[1, 2]], {"seed": "x"}, "seed must be a whole number, got 'x'"),
    ],
)
def test_what_cannot_be_studied_is_said_before_anything_is_computed(prompts, options, said):
    with pytest.raises(ValueError, match=said):
        tl.study(small(), prompts, **options)


@pytest.mark.badinput
def test_positions_of_prompts_of_several_lengths_are_refused_with_the_way_out():
    rows = [{"clean": c, "corrupted": c[::-1], "answer": 1} for c in ([1, 2, 3], [4, 5])]
    model = small()
    with pytest.raises(
        ValueError, match=r'prompts of 2 to 3 tokens do not share .* choose some with at="last"'
    ):
        tl.study(model, rows)
    assert set(tl.study(model, rows, sites="z")) == {"z"}
    with pytest.raises(ValueError, match="prompt 1: at=-3 is outside the 2 positions"):
        tl.study(model, rows, at=[-3])


def test_a_command_studies_a_file(tmp_path):
    (tmp_path / "a.txt").write_text("the list of the list\nthe key of the key\n")
    out = [str(tmp_path / "a.txt"), "--measure", "induction", "--save", str(tmp_path / "a.csv")]
    done = CliRunner().invoke(main, ["study", *out, "--out", str(tmp_path / "o")])
    assert done.exit_code == 0, done.output
    assert re.search(r"shipped: induction \(share\): mean over 2 prompts", done.stdout)
    assert (tmp_path / "a.csv").read_text().count("\n") == 17
    assert (tmp_path / "o" / "part-00000.jsonl").exists()


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.txt"], "none.txt: no such file"),
        (["a.txt", "--model", "./none"], "the folder ./none does not exist"),
        (["a.txt", "--save", "a.png"], "--save must end in .csv or .json, got a.png"),
        (["a.txt", "--save", "no/a.csv"], "--save no/a.csv: the folder no does not exist"),
        (["a.txt", "--measure", "patching"], "patching needs a corrupted prompt"),
    ],
)
def test_a_command_says_in_a_line_what_is_wrong(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("the list\n")
    done = CliRunner().invoke(main, ["study", *arguments])
    assert done.exit_code == 2 and said in done.stderr and done.stderr.count("\n") == 1
