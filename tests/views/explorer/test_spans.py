"""Attention from A to B in an Explorer: before and after edits, and the change; for all
heads in the table."""

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.views.explorer.test_view import FRENCH, TEXT, text_model
from transformer_lab.views.shared.messages import percent

A, B = (4, 7), (0, 3)


@pytest.fixture
def view():
    edits = [tl.ablate(0, 1), tl.knock_out(1, 2, query=5, key=1)]
    return tl.explore(text_model("decoder"), TEXT, layer=1, head=2, edits=edits, a=A, b=B)


def edited(view):
    model = view.text_model.model
    with tl.edit(model, *view.edits):
        return tl.trace(model, view.trace.tokens)


def test_the_sentence_is_of_the_weights_on_view_and_of_what_edits_change(view):
    shares = [float(tl.heads.share_between(one, A, B)[1, 2]) for one in (view.trace, edited(view))]
    before, after = map(percent, shares)
    assert before != after
    assert f" give {after} of their attention to “" in view.head_sentence
    view._options = {"map": "before"}
    assert f" give {before} of their attention to “" in view.head_sentence
    view._options = {"map": "difference"}
    told = view.head_sentence
    assert "attention of “" in told and told.endswith(
        f": {before} before the edits, {after} after."
    )
    view.edits = []
    view.edits = [tl.ablate(1, 0)]  # another head: nothing changes here
    view._options = {"map": "difference"}
    assert view.head_sentence.endswith(f": {before} before the edits, {before} after.")
    view.selected = (5, 1)
    assert "does not change" in view.head_sentence
    view.mark()
    assert view.block is None


def test_a_cut_edge_is_out_of_sight_of_even_attention(view):
    _, even = view._spans.between(view.shown, (A, B), [])
    inside = [3 / 5, 2 / 5, 3 / 7]  # in row 5 one of six keys is cut
    assert even == pytest.approx(sum(inside) / 3)


def test_every_head_is_told_at_once_as_one_by_one(view):
    sent = []
    view.send = lambda message, buffers=None: sent.append((message, buffers))
    ask = {"request": 1, "type": "block"}
    for reads, trace in (
        (f"{view._facts_of} before", view.trace),
        (f"{view._stamp} after", edited(view)),
    ):
        view._on_question(view, {**ask, "name": f"every-between|{reads}|decoder|4,7,0,3|"}, [])
        share, even = np.frombuffer(sent[-1][1][0], "<f4").reshape(2, 2, 4)
        np.testing.assert_allclose(share, tl.heads.share_between(trace, A, B), atol=1e-6)
        wanted = [[tl.heads.even_between(trace, A, B, i, h) for h in range(4)] for i in range(2)]
        np.testing.assert_allclose(even, wanted, atol=1e-6)
    old = f"{view._stamp} after"
    view.edits = []
    view._on_question(view, {**ask, "name": f"every-between|{old}|decoder|4,7,0,3|"}, [])
    assert "no longer on view" in sent[-1][0]["message"]
    names = [block.name for block in view._blocks(effects=False)]
    assert names[-1] == f"every-between|{view._facts_of} before|decoder|4,7,0,3|"
    assert f"between|{view._facts_of} before|decoder/1/2|4,7,0,3|" in names


def test_spans_stay_where_the_text_goes_on_and_go_with_their_tokens(view):
    view.append(int(view.trace.tokens[0, 1]))
    assert view.block == (A, B)
    view.text = "the animal was tired"
    assert view.a is view.b is None


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ((3, 3), (0, 1), "holds no token"),
        ((5, 2), (0, 1), r"ends before it starts; did you mean \(2, 5\)"),
        ((2, 5), (4, 6), "share tokens"),
        ((0, 2), (3, 5), "no token here attends to a later one"),
        ((0, 99), (0, 1), "outside the"),
        ((1, 2), None, "needs b as well"),
    ],
)
def test_what_cannot_be_said_is_refused_in_one_sentence(a, b, told):
    with pytest.raises(ValueError, match=told) as refused:
        tl.explore(text_model("decoder"), TEXT, layer=0, head=0, a=a, b=b)
    assert "\n" not in str(refused.value)


def test_files_and_figures_are_of_the_block(view):
    told = view.to_dict()
    assert np.shape(told["arrays"]["weight"]["values"]) == (3, 3)
    assert (told["chosen"]["a"], told["chosen"]["b"]) == (A, B)
    assert view.to_plotly().data[0].z.shape == (3, 3)
    view._options = {"map": "difference"}
    assert view.to_plotly().data[0].z.shape == (3, 3)
    view.figure()


def test_cross_attention_goes_from_what_is_written_to_what_is_read():
    view = tl.explore(
        text_model("encoder-decoder"), TEXT, FRENCH, layer=1, head=0, a=(2, 5), b=(1, 4)
    )
    share = float(tl.heads.share_between(view.trace, (2, 5), (1, 4), kind="cross")[1, 0])
    assert f" give {percent(share)} of their attention" in view.sentence
    view.kind = "encoder"
    assert view.block is None
    model = object.__new__(tl.ImageModel)
    model.name = "eyes"
    with pytest.raises(ValueError, match=r"an image view has no a, got \(0, 1\)"):
        tl.explore(model, torch.zeros(1), a=(0, 1), b=(0, 1))
