"""A HeadView of a block of its map: sentences, drawing and files are of that block alone."""

import csv
import io

import numpy as np
import pytest
import torch
import traitlets

import transformer_lab as tl
from tests.factories import WORDS, small
from transformer_lab.views import HeadView

A, B = (5, 9), (0, 3)


def test_the_sentence_says_the_share_beside_its_control(trace):
    view = HeadView(trace, layer=1, head=2, a=A, b=B)
    share = float(tl.heads.share_between(trace, A, B)[1, 2])
    even = tl.heads.even_between(trace, A, B, 1, 2)
    assert view.sentence == (
        f"Layer 1, head 2: “the” … “it” (4 tokens) give {100 * share:.0f}% of their attention to “The” … "
        f"“did” (3 tokens), on average; uniform attention would give {100 * even:.0f}%."
    )
    view.selected = (8, 1)
    assert "“it” gives" in view.sentence
    view.selected = None
    view.mark((8, 9), (1, 2))
    assert (
        "head 2: “it” gives " in view.sentence
        and "of its attention to “animal”; uniform" in view.sentence
    )
    view.mark()
    assert view.sentence == HeadView(trace, layer=1, head=2).sentence


def test_hidden_keys_are_left_out_of_both_numbers(trace):
    view = HeadView(trace, layer=1, head=2, a=A, b=B)
    view._options = {"hide_first": True}
    rows = trace.pattern(1, 2)[5:9]
    share = float((rows[:, 1:3].sum(-1) / rows[:, 1:].sum(-1)).mean())
    even = sum(2 / query for query in range(5, 9)) / 4
    found = view._spans.between(view.shown, (A, B), [0])
    assert found == pytest.approx([share, even], abs=1e-6)
    view._options = {"weights": "value"}
    assert view._spans.between(view.shown, (A, B), [])[0] == pytest.approx(
        float(rows[:, :3].sum(-1).mean())
    )


def test_spans_can_be_set_one_by_one_and_together(trace):
    view = HeadView(trace)
    view.a = A
    assert view.block is None  # B is not set yet
    view.b = B
    assert view.block == (A, B)
    with pytest.raises(traitlets.TraitError, match="no token here attends to a later one"):
        view.b = (9, 12)
    assert view.b == B
    view.mark((10, 12), (9, 10))
    assert view.block == ((10, 12), (9, 10))
    with pytest.raises(ValueError, match=r"a=\(3, 5\) needs b as well"):
        view.mark(a=(3, 5))
    with pytest.raises(ValueError, match=r"b=\(3, 5\) needs a as well"):
        HeadView(trace, b=(3, 5))
    with pytest.raises(ValueError, match=r"a=\(0, 14\) is outside the 13 tokens"):
        HeadView(trace, a=(0, 14), b=(0, 1))
    assert view.block == ((10, 12), (9, 10))


def test_files_and_pictures_are_of_the_block(trace, tmp_path):
    view = HeadView(trace, layer=1, head=2, a=(4, 9), b=(4, 9))
    told = view.to_dict()
    assert told["axes"] == {"query": WORDS[4:9], "key": WORDS[4:9]}
    assert told["chosen"]["a"] == told["chosen"]["b"] == (4, 9)
    wanted = trace.pattern(1, 2)[4:9, 4:9].numpy()
    later = np.triu(np.ones((5, 5), dtype=bool), 1)
    found = np.array(told["arrays"]["weight"]["values"], dtype=float)
    np.testing.assert_array_equal(np.isnan(found), later)
    np.testing.assert_allclose(found[~later], wanted[~later], atol=1e-6)
    rows = list(
        csv.reader(io.StringIO(view.save(tmp_path / "x.csv").read_text("utf-8"), newline=""))
    )
    assert [row[1] for row in rows[1:4]] == ["cross", "the", "the"] and len(rows) == 1 + 15
    assert "queries 4 … 8 and keys 4 … 8 alone" in told["arrays"]["weight"]["means"]
    axes = view.figure().axes[1]
    assert [label.get_text() for label in axes.get_yticklabels()] == WORDS[4:9]
    heat = view.to_plotly().data[0]
    assert np.shape(heat.z) == (5, 5)
    assert len(view.to_plotly(facets="layer").data) == 4
    assert np.shape(view.to_plotly(facets="layer").data[3].z) == (5, 5)
    assert np.shape(view.to_plotly(facets="all").data[0].z) == (13, 13)  # thumbnails show the whole
    view.selected = (8, 5)
    assert view._shown_head().selected == (4, 1)
    view.selected = (2, 1)
    assert view._shown_head().selected is None


def test_another_text_has_other_tokens():
    trace = tl.trace(small(sharpness=3.0), torch.arange(26).reshape(2, 13))
    view = HeadView(trace, a=A, b=B)
    first = view.sentence
    view.text = 1
    assert view.block is None and view.a is view.b is None
    view.mark(A, B)
    assert view.sentence != first
    view.text = "mean"
    assert view.block is None
    view.a, view.b = A, B
    assert view.block is None  # positions of an average are not tokens
    assert "mean over" in view.sentence


def test_another_kind_has_other_tokens(translation):
    view = HeadView(translation, kind="cross", a=(0, 2), b=(0, 2))
    assert view.block == ((0, 2), (0, 2))
    view.kind = "encoder"
    assert view.a is view.b is None


def test_the_browser_is_told_what_it_asks(trace):
    view = HeadView(trace, layer=1, head=2)
    sent = []
    view.send = lambda message, buffers=None: sent.append(message)
    ask = {"request": 1, "type": "block"}
    view._on_question(view, {**ask, "name": "between|0|decoder/1/2|5,9,0,3|"}, [])
    view._on_question(view, {**ask, "name": "between|3|decoder/1/2|5,9,0,3|"}, [])
    view.mark(A, B)
    assert sent[0]["info"]["values"] == view._spans.between(view.shown, (A, B), [])
    assert sent[1] == {"type": "error", "message": "text 3 is no longer on view", "request": 1}
    names = [block.name for block in view._spans.page_blocks(view.heads, None)]
    assert len(names) == 8 and names[6] == "between|0|decoder/1/2|5,9,0,3|"
