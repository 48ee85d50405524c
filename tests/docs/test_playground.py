"""The playground's models match models.json: their files, sizes and scores."""

import hashlib
import json

import pytest

import transformer_lab as tl
from docs import courses, make_playground, site_pages
from transformer_lab.tokenizers import UNK
from transformer_lab.training.objective import IGNORED

TOLD = json.loads((make_playground.HERE / "models.json").read_text("utf-8"))["models"]
MOST = 6_000_000


def test_the_files_are_those_that_were_made():
    assert list(TOLD) == list(make_playground.TASKS) == list(site_pages.PLAY)
    size = 0
    for name, told in TOLD.items():
        folder = make_playground.HERE / name
        assert {path.name for path in folder.iterdir()} == set(told["sha256"])
        for file, checksum in told["sha256"].items():
            data = (folder / file).read_bytes()
            assert hashlib.sha256(data).hexdigest() == checksum, (name, file)
            size += len(data)
    assert size < MOST


@pytest.mark.parametrize("name", ["reverse", "sort", "stories"])
def test_a_model_is_as_right_as_is_stated(name):
    task = make_playground.TASKS[name]
    model = tl.TextModel.from_pretrained(make_playground.HERE / name).model
    assert sum(p.numel() for p in model.parameters()) == TOLD[name]["parameters"]
    score = task.score(model, task.tests(task.data()))
    assert TOLD[name]["score"] == {task.share: pytest.approx(score, abs=2e-3)}
    assert score > 0.98


def test_induction_needs_the_two_heads_that_look_one_back_as_the_page_says():
    model = tl.TextModel.from_pretrained(make_playground.HERE / "induction").model
    [batch] = tl.datasets.induction(size=10, held_out=100).epoch(100)
    maps = tl.trace(model, batch.tokens[:1], keep="maps").pattern(0)
    back = maps.diagonal(-1, 1, 2).mean(-1)
    assert set(back.topk(2).indices.tolist()) == {0, 1} and back[:2].min() > 0.8
    with tl.edit(model, tl.ablate(0, 0), tl.ablate(0, 1)):
        assert tl.accuracy(model, [batch]) < 0.1
    with tl.edit(model, tl.ablate(0, 2), tl.ablate(0, 3)):  # control: as many others
        assert tl.accuracy(model, [batch]) > 0.99


def test_signs_that_can_be_typed_are_read_as_the_data_has_them():
    data = make_playground.sorting(size=20, held_out=5)
    [batch] = [data.of(b) for b in data.data.epoch(5, kind="decoder")]
    pair = data.data.held_out[0]
    assert batch.tokens[0].tolist() == data.tokenizer.encode(f"{pair.source} → {pair.target}")


@pytest.mark.parametrize("make", courses.COURSES, ids=lambda make: make.__name__)
def test_a_course_fits_its_model(make):
    course = make()
    assert course.about["weights"] < 50_000
    assert len(course.tokens) == len(course.targets) > course.held_out
    n_answers = course.targets[0].numel() // course.tokens[0].numel()
    assert n_answers == len(course.answers)
    asked = course.targets[course.targets != IGNORED]
    assert asked.min() >= 0 and asked.max() < len(course.names)
    ids = course.tokenizer.encode(course.text)
    assert UNK not in ids
    assert len(ids) <= course.config.n_ctx
