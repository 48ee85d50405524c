"""What goes to no token is said, and a row is not said to sum to 1."""

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.hub.families import ours, text, tiny
from transformer_lab.training.snapshots import trace_of_maps
from transformer_lab.views.heads.data import HeadData
from transformer_lab.views.heads.heads import Heads
from transformer_lab.views.shared.words import Seen, head_sentence, query_sentence

TOKENS = ["a", "b", "c"]


def said(row, query=1, **more):
    row = torch.tensor(row)
    nothing = [1 - float(row.sum())] * 3
    seen = Seen("decoder", 0, 1, False, TOKENS, TOKENS, True, True, nothing=nothing, **more)
    return query_sentence(seen, query, row)


def test_a_row_says_what_goes_to_nothing():
    assert said([0.5, 0.19, 0.0]).endswith("looks mostly at “a” (.50), then “b” (.19). .31 of its weight goes to nothing.")  # fmt: skip
    assert said([0.09, 0.09, 0.0]).endswith(". .82 of its weight goes to nothing.")
    assert said([0.001, 0.0, 0.0]).endswith("“b” looks at nothing.")
    # The first token has a choice then.
    assert said([0.4, 0, 0], 0).endswith(
        "looks most at “a” (.40). .60 of its weight goes to nothing."
    )
    assert "nothing" not in said([0.4, 0.1, 0.0], value_weighted=True)
    assert "nothing" not in said([0.5, 0.5, 0.0])


def test_a_head_says_that_it_mostly_looks_at_nothing():
    nothing = [0.9, 0.8, 0.7]
    seen = Seen("decoder", 0, 1, False, TOKENS, TOKENS, True, True, nothing=nothing)
    rows = torch.tensor([[0.1, 0, 0], [0.1, 0.1, 0], [0.1, 0.1, 0.1]])
    told = head_sentence(seen, rows.__getitem__, 3)
    assert told.endswith("On average 75 % of a token’s weight goes to nothing.")


def test_the_layers_with_sinks_are_told_to_the_browser():
    model = tiny("mimo_v2_flash")
    trace = tl.trace(model, **ours(text(model)))
    data = HeadData(trace)
    assert data.kinds()["decoder"]["sinks"] == [0]
    view = tl.views.HeadView(trace, layer=0, head=1)
    view.selected = (5, None)
    nothing = float(trace.to_nothing(0, 1)[5])
    assert f"{nothing:.2f}"[1:] + " of its weight goes to nothing" in view.sentence
    plain = tiny("llama")
    assert "sinks" not in HeadData(tl.trace(plain, **ours(text(plain)))).kinds()["decoder"]


@pytest.fixture(scope="module")
def sunk():
    """Of a model that looks to nothing in layer 0 alone, on one text."""
    model = tiny("mimo_v2_flash")
    return tl.trace(model, **ours(text(model)))


def test_a_map_travels_with_what_goes_to_nothing_as_one_more_column(sunk):
    data = HeadData(sunk)
    queries, keys = data.shown("decoder")
    every = np.frombuffer(data.maps()[0], "<u2").reshape(2, 4, queries, keys + 1) / 60000
    for layer, head in ((0, 1), (1, 3)):
        alone = np.frombuffer(data.head("decoder", layer, head).data, "<u2") / 60000
        assert np.array_equal(every[layer, head].ravel(), alone)
        row = torch.cat((sunk.pattern(layer, head), sunk.to_nothing(layer, head)[:, None]), -1)
        assert np.abs(every[layer, head] - row.numpy()).max() < 1 / 60000
    assert len(data.maps()[0]) <= data.size and every[1, ..., -1].max() == 0
    plain = tl.trace(tiny("llama"), **ours(text(tiny("llama"))))
    assert len(HeadData(plain).maps()[0]) == 2 * 2 * 4 * plain.shape()[0] ** 2


def test_a_picture_has_one_more_column_that_completes_each_row(sunk):
    view = tl.views.HeadView(sunk, layer=0, head=1)
    mapped, column = view.figure().subfigs[1].axes[0].images
    rows = np.nan_to_num(mapped.get_array().filled(0)).sum(-1) + column.get_array()[:, 0]
    assert np.abs(rows - 1).max() < 1e-5
    assert "to nothing" in [t.get_text() for t in view.figure().subfigs[1].axes[0].texts]
    view.layer = 1  # without sinks
    assert len(view.figure().subfigs[1].axes[0].images) == 1
    view.layer, view._options = 0, {"weights": "value"}  # nothing has no value
    assert len(view.figure().subfigs[1].axes[0].images) == 1


def test_steps_of_a_replay_are_sent_in_one_form():
    """Of one step no row may lack a hundredth of 1; of another some do."""
    whole = {"decoder": torch.eye(4).expand(2, 2, 4, 4)}
    some = {"decoder": 0.5 * whole["decoder"]}
    first, other = (trace_of_maps(maps, torch.arange(4)) for maps in (some, whole))
    form = Heads(first)
    assert form.data.sinks == {"decoder": [0, 1]} and Heads(other).data.sinks == {"decoder": []}
    assert len(Heads(other, like=form).data.maps()[0]) == len(form.data.maps()[0])


def test_a_plotly_figure_has_that_column_too(sunk):
    view = tl.views.HeadView(sunk, layer=0, head=1)
    mapped, column = view.to_plotly().data
    rows = np.nan_to_num(mapped.z).sum(-1) + np.asarray(column.z)[:, 0]
    assert np.abs(rows - 1).max() < 1e-5
    assert column.x[0] > mapped.x[-1] + 1 and "to nothing" in column.hovertemplate
    view.layer = 1
    assert len(view.to_plotly().data) == 1
