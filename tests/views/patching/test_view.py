"""The patching view: its numbers are those of `tl.patching_grid`, and it refuses the same input."""

import json
import re

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.analysis.patching.scenes import CLEAN, CORRUPTED, PAIR, llama
from tests.factories import small
from transformer_lab.edits.kinds import EditError
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views import HeadView, PatchingView

TEXT = "the cat sat on the mat"
OTHER = "the dog sat on the mat"
LONGER = "the very old cat sat on the mat"


def words(**options):
    tokenizer = WordTokenizer.train(f"{TEXT} {OTHER} {LONGER}")
    model = small(noise=0.3, vocab_size=tokenizer.vocab_size, **options)
    return tl.TextModel(model, tokenizer, "words")


def desk(model=None, clean=TEXT, corrupted=OTHER, metric=("mat", "cat"), **options):
    return PatchingView(model or words(), clean, corrupted, metric=metric, **options)


def state(view, **options):
    found = re.search(r'id="tl-state">(.*?)</script>', view.to_html(**options), re.S)[1]
    return json.loads(found)["state"]


@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_measured_cells_stand_beside_their_estimates(direction):
    model = words()
    view = desk(model, direction=direction)
    assert list(view.grids) == ["resid_pre", "attn_out", "mlp_out", "z", "q", "k", "v", "pattern"]
    asked = dict(metric=("mat", "cat"), direction=direction, sites=["z", "mlp_out", "resid_pre"])
    wanted = tl.patching_grid(model, TEXT, OTHER, by="both", **asked)
    first = wanted["resid_pre"].estimate.abs()
    assert view.place == ("resid_pre", *divmod(int(first.argmax()), first.shape[1]))
    assert view.sentence.endswith(" (not measured).")
    view.measure([view.place, ("mlp_out", 1, 1)])
    for site, layer, place in (view.place, ("mlp_out", 1, 1)):
        cell = view.grids[site].cell(layer, place)
        assert cell.exact == pytest.approx(float(wanted[site].exact[layer, place]), abs=1e-5)
        assert cell.estimate == pytest.approx(float(wanted[site].estimate[layer, place]), abs=1e-5)
    assert re.search(r"(of|it) [\d.]+.* \(estimate −?\d", view.sentence)
    assert int((~view.grids["resid_pre"].exact.isnan()).sum()) == 1
    view.measure("z")
    assert_close(view.grids["z"].exact, wanted["z"].exact, atol=1e-5, rtol=1e-4)


def test_what_was_measured_of_one_direction_stays():
    view = desk()
    view.measure("z")
    before = view.grids["z"].exact
    view.direction = "noising"
    assert bool(view.grids["z"].exact.isnan().all()) and set(view._runs) == {"denoising", "noising"}
    view.direction = "denoising"
    assert_close(view.grids["z"].exact, before)
    both = np.frombuffer(view._exact, "<f4")
    assert len(both) == 2 * sum(grid.there.numel() for grid in view.grids.values())
    assert np.isfinite(both).sum() == before.numel()


def test_a_head_that_shares_keys_is_chosen_by_its_keys():
    view = PatchingView(llama(), CLEAN, CORRUPTED, metric=PAIR)
    view.site, view.layer, view.head = "k", 1, 3
    assert ", key-value head 1 of layer 1, k " in view.sentence
    assert view.place == ("k", 1, 1) and view.grids["k"].values.shape == (3, 2)
    told = view.to_dict()
    assert told["arrays"]["exact"]["axes"] == ["layer", "key_value_head"]
    assert told["arrays"]["exact_z"]["axes"] == ["layer", "head"]
    view.site = "attn_out"
    view.selected = (2, None)
    assert view.place == ("attn_out", 1, 2)


def test_prompts_of_two_lengths_are_paired_by_words():
    with pytest.raises(
        EditError, match=r'clean has 8 tokens and corrupted has 6: .* align="words"'
    ):
        desk(clean=LONGER)
    with pytest.raises(EditError, match="clean has 8 words and corrupted has 6"):
        desk(clean=LONGER, align="words")
    pairs = [(0, 0), (3, 1), (4, 2), (5, 3), (6, 4), (7, 5)]
    view = desk(clean=LONGER, align=pairs)
    columns = view._pair["columns"]
    assert columns == [
        (0, 0, False),
        (1, None, True),
        (2, None, True),
        (3, 1, True),
        *((i, i - 2, False) for i in range(4, 8)),
    ]
    assert list(view.grids) == ["resid_pre", "attn_out", "mlp_out", "z", "v"]
    assert "No q, k, pattern: the prompts are aligned by pairs of positions" in view._note
    view.site, view.selected = "resid_pre", (3, None)
    assert view.place[2] == 1 and "at “cat” (3)" in view.sentence
    view.direction = "noising"
    assert view.place[2] == 1 and view._pair["places"] == pairs


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"metric": ["", "cat"]}, "the token to compare 'cat' with is missing"),
        ({"metric": ["mat on", ""]}, "metric='mat on'"),
        ({"metric": ["mat", "a cat"]}, "a cat"),
        ({"clean": LONGER}, "clean has 8 tokens and corrupted has 6"),
        ({"clean": ""}, "empty|no token"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_sentence_and_changes_nothing(
    asked, said, monkeypatch
):
    view, sent = desk(), []
    view.measure("z")
    before = view.to_dict()
    monkeypatch.setattr(type(view), "send", lambda self, *message: sent.append(message))
    question = {"clean": TEXT, "corrupted": OTHER, "metric": ["mat", "cat"], **asked}
    view._on_question(view, {"type": "compare", "request": 1, **question}, [])
    ((message, _),) = sent
    assert message["type"] == "error" and re.search(said, message["message"])
    assert "\n" not in message["message"] and view.to_dict() == before
    asked = {"type": "measure", "request": 2, "direction": "denoising", "cells": [["z", 9, 0]]}
    view._on_question(view, asked, [])
    assert "layer=9 is outside 0 … 1 of z" in sent[1][0]["message"]


def test_other_prompts_and_another_metric_by_message(monkeypatch):
    view, sent = desk(), []
    view.measure("z")
    monkeypatch.setattr(type(view), "send", lambda self, *message: sent.append(message))
    question = {"clean": OTHER, "corrupted": TEXT, "metric": ["dog", ""]}
    view._on_question(view, {"type": "compare", "request": 1, **question}, [])
    assert sent[0][0]["type"] == "compare" and view.prompts == (OTHER, TEXT)
    assert view.sentence.startswith("Log-probability of “dog”: ")
    assert bool(view.grids["z"].exact.isnan().all())
    wanted = tl.patching_grid(view._desks.model, OTHER, TEXT, metric="dog", sites="z")
    assert_close(view.grids["z"].estimate, wanted["z"].estimate)


def test_weights_that_have_changed_are_not_measured_with():
    model = words()
    view = desk(model)
    with torch.no_grad():
        next(model.model.parameters()).add_(1)
    with pytest.raises(EditError, match="weights of words have changed since these two runs"):
        view.measure("z")
    told = state(view)
    assert not told["_carried"]["travels"] and "its weights have changed" in told["_note"]


def test_views_of_the_clean_prompt_follow():
    model = words()
    view = desk(model)
    assert view.link == HeadView(model.trace(TEXT)).link != HeadView(model.trace(OTHER)).link
    assert desk(model, link="").link == ""


def test_a_page_holds_both_directions_and_the_model_that_measures_more():
    view = desk()
    view.measure("z")
    told = state(view)
    assert set(told["_runs"]) == {"denoising", "noising"} and view.carried is not None
    assert told["_carried"]["travels"] and told["_carried"]["whole"] is True
    left = state(view, model=False)
    assert not left["_carried"]["travels"] and view.carried is None and view.left_out == ""
    assert left["_note"] == ""


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            lambda: PatchingView(llama(), CLEAN, CORRUPTED, metric=PAIR),
            "only a TextModel runs in a page",
        ),
        (
            lambda: desk(metric=lambda logits: logits[0, -1, 3]),
            "its metric is a function of Python's",
        ),
    ],
)
def test_a_page_says_why_it_cannot_measure(make, why):
    view = make()
    assert state(view)["_note"].startswith(
        "This page is a snapshot without its model, so it measures no more cells"
    )
    assert why in view.left_out
    with pytest.raises(ValueError, match=f"cannot travel in this page: {why}"):
        view.to_html(model=True)


def test_edits_in_force_hold_for_both_and_do_not_travel():
    model = words()
    with tl.edit(model.model, tl.ablate(0, 1)):
        view = desk(model)
        assert "edits are in force" in (state(view), view.left_out)[1]
        wanted = tl.patching_grid(model, TEXT, OTHER, metric=("mat", "cat"), sites="z")
    assert_close(view.grids["z"].estimate, wanted["z"].estimate)


def test_choices_that_are_not_there_are_refused():
    view = desk()
    with pytest.raises(Exception, match="site='w' is not on view; it has resid_pre, attn_out"):
        view.site = "w"
    with pytest.raises(EditError, match=r"by must be one of .* got 'guess'"):
        desk(by="guess")
    assert not desk(by="exact", sites="z").grids["z"].estimated
