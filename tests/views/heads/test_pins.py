"""Heads pinned beside the selected one: which may be pinned, and what images and files contain."""

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.adapters.families import ours, text, tiny
from tests.factories import small
from transformer_lab.views import HeadView, PatchView
from transformer_lab.views.heads.scene import shown_map

CODE = "for key in self.keys:\n    if key not in self."


@pytest.fixture(scope="module")
def shipped():
    return tl.shipped("manual")


@pytest.mark.parametrize(
    ("pins", "told"),
    [
        ([(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)], "are 5 heads; at most 4 fit side by side"),
        ([(0, 1), (0, 1)], r"name \(0, 1\) twice"),
        ([(2, 1)], "layer 2 is outside 0 … 1"),
        ([(1, -1)], "head -1 is outside 0 … 3"),
        ([3], r"pins=\[3\] are not heads; give pairs"),
        (3, "pins=3 are not heads; give pairs"),
    ],
)
def test_what_cannot_be_pinned_is_refused_in_one_sentence(trace, pins, told):
    with pytest.raises(ValueError, match=told):
        HeadView(trace, pins=pins)
    view = HeadView(trace, pins=[(1, 3)])
    if isinstance(pins, list) and isinstance(pins[0], tuple):
        with pytest.raises(Exception, match=told):
            view.pins = pins
        assert view.pins == [(1, 3)]


def test_the_picture_has_a_map_of_each_in_the_same_colours(trace):
    view = HeadView(trace, layer=0, head=1, pins=[(1, 2), (0, 1), (1, 0)])
    view.selected = (8, 1)
    names = ("layer 0, head 1", "layer 1, head 2", "layer 1, head 0")
    maps = [axes for axes in view.figure().axes if axes.get_title(loc="left") in names]
    assert [axes.get_title(loc="left") for axes in maps] == [
        "layer 0, head 1",
        "layer 1, head 2",
        "layer 1, head 0",
    ]
    for axes, (layer, head) in zip(maps, [(0, 1), (1, 2), (1, 0)], strict=True):
        drawn = np.ma.filled(axes.images[0].get_array(), np.nan)
        np.testing.assert_array_equal(
            np.tril(drawn), np.tril(trace.pattern(layer, head).numpy().astype(drawn.dtype))
        )
        assert len(axes.patches) == 1  # the selected cell
    assert len({axes.images[0].get_clim() for axes in maps}) == 1
    alone = HeadView(trace, layer=0, head=1).figure()
    assert all(axes.get_title(loc="left") not in names for axes in alone.axes)


def test_the_plotly_figure_and_files_hold_them_too(trace):
    view = HeadView(trace, layer=0, head=1, pins=[(1, 2), (1, 0)])
    figure = view.to_plotly()
    found = {one.name: one for one in figure.data}
    assert list(found) == ["layer 0, head 1", "layer 1, head 2", "layer 1, head 0"]
    assert len({one.zmax for one in found.values()}) == 1
    assert [one.showscale for one in found.values()] == [True, False, False]
    np.testing.assert_array_equal(
        np.nan_to_num(found["layer 1, head 2"].z), trace.pattern(1, 2).numpy()
    )
    told = view.to_dict()
    assert told["chosen"]["pins"] == [(1, 2), (1, 0)]
    assert list(told["arrays"]) == ["weight", "weight_layer_1_head_2", "weight_layer_1_head_0"]
    values = np.array(told["arrays"]["weight_layer_1_head_0"]["values"], dtype=float)
    np.testing.assert_allclose(np.nan_to_num(values), trace.pattern(1, 0), atol=1e-6)
    view.mark((5, 9), (0, 3))
    assert np.shape(view.to_dict()["arrays"]["weight_layer_1_head_0"]["values"]) == (4, 3)
    assert [one.z.shape for one in view.to_plotly().data] == [(4, 3)] * 3


def test_sinks_of_pinned_heads_are_drawn(request):
    model = tiny("mimo_v2_flash")  # has sinks in layer 0 only
    sunk = tl.trace(model, **ours(text(model)))
    view = HeadView(sunk, layer=1, head=0, pins=[(0, 1)])
    named = [axes for axes in view.figure().axes if axes.get_title(loc="left").startswith("layer")]
    chosen, pinned = named
    assert [len(axes.images) for axes in (chosen, pinned)] == [1, 2]
    nothing = float(sunk.to_nothing(0, 1).max())
    assert view._shown_head().largest >= nothing


def test_another_kind_has_its_own_heads_at_the_same_places(translation):
    view = HeadView(translation, kind="cross", pins=[(1, 2)])
    assert [one.layer for one in view._shown_head().pins] == [1]
    view.kind = "encoder"
    (pinned,) = view._shown_head().pins
    assert torch.equal(pinned.weights, translation.pattern(1, 2, kind="encoder"))


def test_an_average_is_pinned_as_well():
    trace = tl.trace(small(), torch.arange(26).reshape(2, 13))
    view = HeadView(trace, pins=[(1, 2)])
    view.text = "mean"
    (pinned,) = view._shown_head().pins
    mean = tl.heads.average_map(trace, 1, 2).mean
    np.testing.assert_allclose(pinned.weights, mean, atol=1e-6)


def test_an_explorer_shows_pinned_heads_after_the_edits_with_what_is_known_of_them(shipped):
    view = tl.explore(
        shipped, CODE, layer=3, head=1, pins=[(2, 2), (0, 3)], edits=[tl.ablate(1, 1)]
    )
    after = view.session.after.trace
    scene = view._shown_head()
    assert [(one.layer, one.head) for one in scene.pins] == [(2, 2), (0, 3)]
    assert torch.equal(scene.pins[0].weights, after.pattern(2, 2))
    assert scene.pins[0].known == ""
    view._facts.compute_quick()  # estimates; with a browser they are computed in the background
    assert view._shown_head().pins[0].known.startswith("≈ ")
    view.session.effects.compute(view.session.reading, [("decoder", 2, 2)], view.session.place)
    view._facts.name_heads()
    known = view._shown_head().pins[0].known
    assert known.endswith(" · induction") and "≈" not in known
    maps = [one for one in view.to_plotly().data if one.type == "heatmap"]
    assert [one.name for one in maps] == ["layer 3, head 1", "layer 2, head 2", "layer 0, head 3"]
    assert np.array_equal(maps[1].z, shown_map(scene, after.pattern(2, 2)), equal_nan=True)
    assert sum(bool(axes.get_title(loc="left")) for axes in view.figure().axes) >= 3
    view._options = {"map": "difference"}
    change = after.pattern(2, 2) - view.trace.pattern(2, 2)
    assert torch.equal(view._shown_head().pins[0].weights, change)
    assert next(one.zmin for one in view.to_plotly().data if one.type == "heatmap") < 0
    view.figure()
    view.close()


def test_a_picture_has_no_heads_to_pin():
    model = object.__new__(tl.ImageModel)
    model.name = "eyes"
    with pytest.raises(ValueError, match=r"an image view has no pins, got \[\(0, 1\)\]"):
        tl.explore(model, "photo.jpg", pins=[(0, 1)])
    assert not hasattr(PatchView, "pins")
