"""Attention to no token (sinks): it is reported, and rows are not said to sum to 1."""

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.adapters.families import ours, text, tiny
from transformer_lab.training.snapshots import trace_of_maps
from transformer_lab.views.heads.data import HeadData
from transformer_lab.views.heads.heads import Heads
from transformer_lab.views.shared.map_sentences import (
    Seen,
    head_sentence,
    key_sentence,
    query_sentence,
)

TOKENS = ["a", "b", "c"]


def said(row, query=1, **more):
    row = torch.tensor(row)
    nothing = [1 - float(row.sum())] * 3
    seen = Seen("decoder", 0, 1, False, TOKENS, TOKENS, True, True, nothing=nothing, **more)
    return query_sentence(seen, query, row)


def test_a_row_says_what_goes_to_nothing():
    assert said([0.5, 0.19, 0.0]).endswith(
        "attends mostly to “a” (50%), then “b” (19%). 31% of its attention goes to nothing."
    )
    assert said([0.09, 0.09, 0.0]).endswith(". 82% of its attention goes to nothing.")
    assert said([0.001, 0.0, 0.0]).endswith("“b” attends to nothing.")
    # Then the first token has a choice.
    assert said([0.4, 0, 0], 0).endswith(
        "attends most to “a” (40%). 60% of its attention goes to nothing."
    )
    assert "nothing" not in said([0.4, 0.1, 0.0], value_weighted=True)
    assert "nothing" not in said([0.5, 0.5, 0.0])


def test_a_row_over_thousands_of_tokens_is_not_said_to_be_empty():
    tokens = ["a"] * 4000
    seen = Seen("decoder", 0, 1, False, tokens, tokens, True, True)
    row = torch.full((4000,), 1 / 4000)
    assert query_sentence(seen, 3999, row).endswith(
        "spreads its attention so widely that no token gets 1%."
    )
    assert key_sentence(seen, 0, row).endswith("receives less than 1% of each token’s attention.")
    assert query_sentence(seen, 3999, 0 * row).endswith("has no key left to attend to.")
    assert key_sentence(seen, 0, 0 * row).endswith("receives attention from no token.")


def test_a_head_says_that_it_mostly_looks_at_nothing():
    nothing = [0.9, 0.8, 0.7]
    seen = Seen("decoder", 0, 1, False, TOKENS, TOKENS, True, True, nothing=nothing)
    rows = torch.tensor([[0.1, 0, 0], [0.1, 0.1, 0], [0.1, 0.1, 0.1]])
    told = head_sentence(seen, rows.__getitem__, 3)
    assert told.endswith("On average, 75% of attention goes to nothing.")


def test_the_layers_with_sinks_are_told_to_the_browser():
    model = tiny("mimo_v2_flash")
    trace = tl.trace(model, **ours(text(model)))
    data = HeadData(trace)
    assert data.kinds()["decoder"]["sinks"] == [0]
    view = tl.views.HeadView(trace, layer=0, head=1)
    view.selected = (5, None)
    nothing = float(trace.to_nothing(0, 1)[5])
    assert f"{100 * nothing:.0f}% of its attention goes to nothing" in view.sentence
    plain = tiny("llama")
    assert "sinks" not in HeadData(tl.trace(plain, **ours(text(plain)))).kinds()["decoder"]


@pytest.fixture(scope="module")
def sunk():
    """A model with sinks in layer 0 only, on one text."""
    model = tiny("mimo_v2_flash")
    return tl.trace(model, **ours(text(model)))


def test_a_map_travels_with_what_goes_to_nothing_as_one_more_column(sunk):
    data = HeadData(sunk)
    queries, keys = data.shown("decoder")
    every = np.frombuffer(data.maps(), "<u2").reshape(2, 4, queries, keys + 1) / 60000
    for layer, head in ((0, 1), (1, 3)):
        alone = np.frombuffer(data.head("decoder", layer, head).data, "<u2") / 60000
        assert np.array_equal(every[layer, head].ravel(), alone)
        row = torch.cat((sunk.pattern(layer, head), sunk.to_nothing(layer, head)[:, None]), -1)
        assert np.abs(every[layer, head] - row.numpy()).max() < 1 / 60000
    assert len(data.maps()) <= data.size and every[1, ..., -1].max() == 0
    plain = tl.trace(tiny("llama"), **ours(text(tiny("llama"))))
    assert len(HeadData(plain).maps()) == 2 * 2 * 4 * plain.shape()[0] ** 2


def test_a_picture_has_one_more_column_that_completes_each_row(sunk):
    view = tl.views.HeadView(sunk, layer=0, head=1)
    mapped, column = view.figure().axes[1].images
    rows = np.nan_to_num(mapped.get_array().filled(0)).sum(-1) + column.get_array()[:, 0]
    assert np.abs(rows - 1).max() < 1e-5
    assert "to nothing" in [t.get_text() for t in view.figure().axes[1].texts]
    view.layer = 1  # without sinks
    assert len(view.figure().axes[1].images) == 1
    view.layer, view._options = 0, {"weights": "value"}  # nothing has no value
    assert len(view.figure().axes[1].images) == 1


def test_steps_of_a_replay_are_sent_in_one_form():
    """Rows of one step sum to 1 within a hundredth; some of another do not."""
    whole = {"decoder": torch.eye(4).expand(2, 2, 4, 4)}
    some = {"decoder": 0.5 * whole["decoder"]}
    first, other = (trace_of_maps(maps, torch.arange(4)) for maps in (some, whole))
    form = Heads(first)
    assert form.data.sinks == {"decoder": [0, 1]} and Heads(other).data.sinks == {"decoder": []}
    assert len(Heads(other, like=form).data.maps()) == len(form.data.maps())


def test_a_plotly_figure_has_that_column_too(sunk):
    view = tl.views.HeadView(sunk, layer=0, head=1)
    mapped, column = view.to_plotly().data
    rows = np.nan_to_num(mapped.z).sum(-1) + np.asarray(column.z)[:, 0]
    assert np.abs(rows - 1).max() < 1e-5
    assert column.x[0] > mapped.x[-1] + 1 and "to nothing" in column.hovertemplate
    view.layer = 1
    assert len(view.to_plotly().data) == 1


def test_facets_have_it_too_or_say_that_they_do_not(sunk):
    view = tl.views.HeadView(sunk, layer=0, head=1)
    data = view.to_plotly(facets="layer").data
    assert [one.name for one in data] == [f"layer 0, head {i // 2}" for i in range(8)]
    for head in range(4):
        mapped, column = data[2 * head : 2 * head + 2]
        rows = np.nan_to_num(mapped.z).sum(-1) + np.asarray(column.z)[:, 0]
        assert np.abs(rows - 1).max() < 1e-5
    said = "What goes to nothing is in none of them."
    assert said in view.to_plotly(facets="all").layout.title.text
    view.layer = 1
    assert len(view.to_plotly(facets="layer").data) == 4
    plain = tl.views.HeadView(tl.trace(tiny("llama"), **ours(text(tiny("llama")))))
    assert said not in plain.to_plotly(facets="all").layout.title.text


@pytest.fixture(scope="module")
def compared(sunk):
    """Two models with sinks, on one text; the second is a gpt-oss."""
    model = tiny("gpt_oss")
    other = tl.trace(model, **ours(text(model)))
    return tl.views.CompareView(sunk, other, names=("mimo", "oss"), layer=0, head=1)


def test_a_comparison_has_it_as_one_key_more(compared, sunk):
    view, n = compared, sunk.shape()[1]
    first, second = view.to_nothing()
    assert torch.equal(first, sunk.to_nothing(0, 1))
    assert [side.shape for side in view.maps()] == [(n, n), (n, n)]
    for mapped, share in zip(view.maps(), (first, second), strict=True):
        assert (mapped.sum(-1) + share - 1).abs().max() < 1e-5
    kind = view._kinds["decoder"]
    assert kind["keys"] == n + 1 and kind["key_names"][-1] == "to nothing"
    maps = [size for name, _, size in view._answers if not name.startswith("moved/")]
    assert maps == [4 * 2 * n * (n + 1)] * (2 * 4)
    # Attention moving to or from nothing counts too.
    both = [
        torch.cat((m, s[:, None]), -1) for m, s in zip(view.maps(), (first, second), strict=True)
    ]
    assert float(view.moved()[0, 1]) == pytest.approx(
        float((both[1] - both[0]).abs().sum(-1).mean() / 2), abs=1e-6
    )
    view.selected = (2, n)
    query = view._data.queries["decoder"].names[2]
    a, b = (f"{100 * float(side[2]):.0f}%" for side in (first, second))
    assert view.sentence.endswith(f"“{query}” → to nothing is {a} in mimo and {b} in oss.")
    assert [one.mark.chosen for row in view._scene().panels for one in row][1:] == [(2, None)] * 3
    view.selected = None


def test_pictures_and_files_of_a_comparison_have_it_too(compared):
    view = compared
    drawn = [axes for axes in view.figure().axes if len(axes.images) == 2]
    assert len(drawn) == 3
    assert all("to nothing" in [one.get_text() for one in axes.texts] for axes in drawn)
    columns = [one for one in view.to_plotly().data if one.type == "heatmap"][2::2]
    assert len(columns) == 3 and all("to nothing" in one.hovertemplate for one in columns)
    arrays = view.to_dict()["arrays"]
    change = np.subtract(arrays["b_nothing"]["values"], arrays["a_nothing"]["values"])
    np.testing.assert_allclose(arrays["difference_nothing"]["values"], change, atol=1e-6)
    plain = tiny("llama")
    trace = tl.trace(plain, **ours(text(plain)))
    alike = tl.views.CompareView(trace, trace)
    assert alike.to_nothing() is None and not alike._kinds["decoder"]["nothing"]
