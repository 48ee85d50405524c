"""The table of heads: its contents and queries, in Python and in JavaScript."""

import csv
import json
import math
import os
import re
import subprocess
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import small
from transformer_lab.heads.measures import MEASURES, all_scores
from transformer_lab.heads.query import asked
from transformer_lab.heads.table import HeadRow, HeadTable

TEXT = "for key in self.keys:\n    if key not in self."
SCORES = ("induction", "previous token", "two-hop induction", "entropy")


def row(layer, head, label, evidence, score, effect, estimated, *scores):
    kl = None if effect is None else abs(effect) / 2
    found = dict(zip(SCORES, scores, strict=True))
    return HeadRow(layer, head, "decoder", label, evidence, score, effect, estimated, kl, found)


NAN = float("nan")
TABLE = HeadTable(
    (
        row(
            0,
            0,
            "previous token",
            "looks at the token before: .91",
            0.91,
            -0.31,
            False,
            0.1,
            0.9,
            NAN,
            1.5,
        ),
        row(
            0,
            1,
            None,
            "no label: nearest is “induction”, .31",
            0.31,
            0.004,
            True,
            0.5,
            0.1,
            NAN,
            2.0,
        ),
        row(
            11, 0, "induction", "looks AFTER; salt and pepper", 0.5, 0.12, True, 0.7, 0.2, 0.6, 0.0
        ),
        row(12, 3, "self token", "looks at its own token", 0.6, None, False, NAN, 0.0, 0.1, 3.0),
    ),
    ("layer", "head", "label", "score", "effect", "kl", *SCORES),
    "Effect: made up.",
    n_heads=4,
)
# query -> the rows it finds, or its error
CASES = {
    "": [0, 1, 2, 3],
    "   ": [0, 1, 2, 3],
    "and": [0, 1, 2, 3],
    "Induction": [2],  # the nearest label of a head without one does not count
    "no label": [1],
    "looks after": [2],
    '"salt and pepper"': [2],
    "“salt and pepper” and layer > 2": [2],
    "salt and pepper": [2],
    "nothing like it": [],
    "layer > 10": [2, 3],
    "LAYER>=11 AND head = 0": [2],
    "layer > 10 and": [2, 3],
    "effect > .1": [0, 2],
    "effect < -.1": [0],
    "effect < −0.1": [0],
    "effect > -1": [0, 1, 2],
    "effect < .1": [1],
    "effect != 0": [0, 1, 2],
    "kl >= 1e-1": [0],
    "induction >= 50 %": [1, 2],
    "induction ≥ 50%": [1, 2],
    "previous_token > .5": [0],
    "prev > .5": [0],  # as in the Explorer's headers
    "2-hop > .5": [2],
    "two hop induction > .5": [2],
    "two-hop  induction<.5": [3],
    "label = induction": [2],
    "label != Induction": [0, 1, 3],
    'label == "self token"': [3],
    "entropy ≠ 0 and self": [3],
    "laier > 3": "there is no column “laier”; choose from layer, head, label",
    "layer > ": "“layer >” needs a number; write “layer > 3”",
    "layer > many": "“layer > many” needs a number",
    "layer > 3 4": "needs a number",
    "label > 3": "“label” holds words; compare it with = or !=",
    "evidence < x": "“evidence” holds words; compare it with = or !=",
    "> 3": "there is no column “”",
}


@pytest.mark.parametrize("query", CASES)
def test_what_a_query_finds(query):
    expected = CASES[query]
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=re.escape(expected)):
            TABLE.where(query)
    else:
        assert [TABLE.rows.index(one) for one in TABLE.where(query)] == expected


@pytest.mark.needs("node")
def test_javascript_finds_the_same(tmp_path):
    columns = [*TABLE.columns, "evidence"]
    rows = [{name: plain(one[name]) for name in columns} for one in TABLE]
    told = {}
    for query in CASES:
        try:
            told[query] = [TABLE.rows.index(one) for one in TABLE.where(query)]
        except ValueError as error:
            told[query] = str(error)
    short = {name: MEASURES[name].tag for name in SCORES if MEASURES[name].tag}
    given = {"columns": columns, "rows": rows, "told": told, "short": short}
    (tmp_path / "table.json").write_text(json.dumps(given))
    script = Path(__file__).parent.parent / "views" / "js" / "table.test.mjs"
    run = subprocess.run(
        ["node", "--test", str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"TL_TABLE": str(tmp_path / "table.json")},
    )
    assert run.returncode == 0 and "# skipped 0" in run.stdout, run.stdout[-4000:]


def plain(value):
    return None if isinstance(value, float) and math.isnan(value) else value


def test_words_that_hide_their_ands_are_not_split():
    assert not asked('"a and b"', ["layer"])({"label": "a", "evidence": "b"})


def test_rows_are_sorted_with_what_is_not_known_last():
    def order(*given, **options):
        return [TABLE.rows.index(one) for one in TABLE.sorted(*given, **options)]

    assert order() == order("effect") == [0, 2, 1, 3]
    assert order("effect", descending=False) == [1, 2, 0, 3]
    assert order("layer") == [0, 1, 2, 3] and order("layer", descending=True)[0] == 3
    assert order("label") == [2, 0, 3, 1]
    assert order("two-hop induction")[:2] == [2, 3] and order("induction")[-1] == 3
    assert TABLE.best is TABLE.rows[0]
    with pytest.raises(ValueError, match=r"column must be one of layer, head, .* got 'size'"):
        TABLE.sorted("size")


def test_asking_twice_asks_for_both_and_nothing_found_says_so():
    found = TABLE.where("layer > 10").where("induction > .5")
    assert len(found) == 1 and found.query == "layer > 10 and induction > .5"
    nothing = TABLE.where("layer > 99")
    assert repr(nothing) == "<HeadTable: “layer > 99” matches no head>"
    assert nothing._repr_html_() == "<p>“layer &gt; 99” matches no head</p>"
    with pytest.raises(ValueError, match="“layer > 99” matches no head"):
        _ = nothing.best
    with pytest.raises(ValueError, match=r"query must be a text, .* got 3"):
        TABLE.where(3)


def test_a_file_holds_every_number_and_says_which_are_estimates(tmp_path):
    path = TABLE.to_csv(tmp_path / "heads.csv")
    lines = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert [line["effect is"] for line in lines] == ["measured", "an estimate", "an estimate", ""]
    assert lines[2]["evidence"] == "looks AFTER; salt and pepper" and lines[0]["effect"] == "-0.31"
    assert lines[3]["effect"] == lines[3]["induction"] == "" and lines[1]["label"] == ""
    assert json.dumps(TABLE.to_dict(), allow_nan=False)
    assert TABLE.to_dict()["rows"][3]["induction"] is None
    with pytest.raises(ValueError, match=r"is a folder; name a file such as table\.csv"):
        TABLE.to_csv(tmp_path)


def test_a_notebook_is_shown_safe_text_and_marked_estimates():
    hostile = row(0, 0, "<b>x", "\"'><script>", 0.9, -0.2, True, 0, 0, 0, 0)
    html = HeadTable((hostile,) * 50, TABLE.columns, "<i>", n_heads=50)._repr_html_()
    assert "<script" not in html and "<b>x" not in html
    assert "<i title='estimate'>≈ −0.200</i>" in html and "… and 10 more" in html


@pytest.fixture(scope="module")
def table():
    return tl.head_table(tl.shipped("manual"), TEXT)


def test_a_row_holds_what_each_part_says_by_itself(table):
    model = tl.shipped("manual")
    labels = tl.heads.labels(model, ablation=False)
    sweep = tl.sweep_heads(model, TEXT, measure="probability")
    trace = tl.trace(model, TEXT)
    assert len(table) == sweep.values.numel() == table.n_heads
    for one in table:
        label = labels[one.layer][one.head]
        assert one.label == label.name and one.score == label.score
        assert one.evidence.startswith(label.sentence)
        assert one.effect == float(sweep.values[one.layer, one.head]) and not one.estimated
        assert one.kl == float(sweep.measures["kl"][one.layer, one.head])
        for name, score in one.scores.items():
            expected = float(MEASURES[name].score(trace)[one.layer, one.head])
            assert score == pytest.approx(expected, abs=1e-5), name
    assert table.best.effect == max((one.effect for one in table), key=abs)
    assert "probability of “" in table.about and "punctuation" in table.columns
    assert len(table.where("punctuation > .5")) <= len(table.where("punctuation"))


def test_a_trace_and_ids_give_the_same_numbers_as_a_text(table):
    model = tl.shipped("manual")
    trace = tl.trace(model, TEXT)
    for found in (
        tl.head_table(trace, named=False),
        tl.head_table(model.model, model.encode(TEXT), named=False),
    ):
        assert [one.effect for one in found] == pytest.approx(
            [one.effect for one in table], abs=1e-6
        )
        assert "label" not in found.columns and found[0].label is None
    with pytest.raises(ValueError, match="give the trace alone"):
        tl.head_table(trace, TEXT)


def test_estimates_are_marked_and_rows_switch_off_together(table):
    model = tl.shipped("manual")
    quick = tl.head_table(model, TEXT, exact=False, named=False)
    assert all(one.estimated and one.kl is None for one in quick) and "an estimate" in quick.about
    assert quick[0].effect == float(
        tl.estimate_effects(model, TEXT, measure="probability").values[
            quick[0].layer, quick[0].head
        ]
    )
    few = table.where("effect > .01")
    with tl.edit(model, *few.edits):
        together = tl.trace(model, TEXT).logits
    with tl.edit(model, *(tl.ablate(one.layer, one.head, kind="decoder") for one in few)):
        assert torch.equal(tl.trace(model, TEXT).logits, together)


@pytest.mark.parametrize("kind", ["encoder", "decoder", "cross"])
def test_what_a_model_has_not_is_said(kind):
    model = small(kind="encoder-decoder", n_ctx=8)
    found = tl.head_table(model, torch.arange(1, 6), torch.arange(1, 4), kind=kind)
    assert len(found) == 8 and {one.kind for one in found} == {kind}
    assert "label" not in found.columns and "effect" in found.columns
    assert ("Cross-attention has no labels" if kind == "cross" else "No labels: ") in found.about
    blind = tl.head_table(small(kind="encoder", head=False), torch.arange(1, 6), named=False)
    assert "effect" not in blind.columns and "No effects: " in blind.about
    assert [(one.layer, one.head) for one in blind] == [(i, j) for i in range(2) for j in range(4)]


@pytest.mark.parametrize("text", [TEXT, "x", "a a a a", "def f(self, key): return key"])
def test_all_scores_are_those_of_each_measure(text):
    trace = tl.trace(tl.shipped("manual"), text)
    found = all_scores(trace)
    expected = {n: m.score(trace) for n, m in MEASURES.items() if m.applies(trace, "decoder")}
    assert list(found) == list(expected)
    for name, score in found.items():
        assert_close(score, expected[name], atol=1e-5, rtol=0, equal_nan=True)
