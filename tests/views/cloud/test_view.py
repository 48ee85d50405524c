"""A cloud of one head's points: its products and means against the head's own numbers."""

import json

import numpy as np
import pytest
import torch
import traitlets
from torch.testing import assert_close

import transformer_lab as tl
from tests.adapters.families import tiny
from tests.factories import maps_only, small
from transformer_lab.softmax import spread_heads
from transformer_lab.views import CloudView
from transformer_lab.views.pages.export import page


def places(trace):
    for kind in trace.kinds:
        for layer in trace.attending(kind):
            yield kind, layer, trace.n_heads(kind) - 1


def above_the_mean(trace, kind, layer, head):
    call = trace.call(layer, kind=kind)
    key = spread_heads(call.key, call.n_heads)[0, head].double()
    scores = call.query[0, head].double() @ key.T * call.scale
    return scores - scores.mean(1, keepdim=True)


@pytest.mark.parametrize("name", ["own", "grouped", "translator", "gemma2", "t5"])
def test_products_are_scores_and_outputs_are_means(name):
    ids = torch.arange(3, 9)[None]
    own = {
        "own": {},
        "grouped": dict(n_kv_heads=1, norm="rms", positions="rotary"),
        "translator": {},
    }
    kind = "encoder-decoder" if name == "translator" else "decoder"
    model = small(kind, sharpness=3.0, **own[name]) if name in own else tiny(name)
    target = torch.arange(4, 8)[None] if name in ("translator", "t5") else None
    trace = tl.trace(model, ids, target, keep="all")
    for kind, layer, head in places(trace):
        plane = CloudView(trace, layer, head, kind=kind).plane
        scores = above_the_mean(trace, kind, layer, head)
        left = scores - plane.queries @ plane.keys.T
        share = 1 - float(left.square().sum() / scores.square().sum())
        assert plane.kept[0] == pytest.approx(share, abs=1e-6)
        for seed in range(3):  # no other plane retains more
            other = torch.randn(len(plane.keys), 2, generator=torch.Generator().manual_seed(seed))
            axes = torch.linalg.qr(other.double())[0]
            assert (scores - scores @ axes @ axes.T).square().sum() >= left.square().sum()
        weights = trace.pattern(layer, head, kind=kind).double()
        assert_close(plane.pattern, weights)
        assert_close(plane.outputs, weights @ plane.values)
        assert 0 < plane.kept[1] <= 1 and 0 < plane.chance[0] < 1


def test_three_keys_need_no_more_than_a_plane():
    trace = tl.trace(small(), torch.arange(3)[None], keep="all")
    plane = CloudView(trace).plane
    assert plane.kept == pytest.approx((1, 1))
    assert_close(
        plane.queries @ plane.keys.T, above_the_mean(trace, "decoder", 0, 0), atol=1e-5, rtol=0
    )
    assert "100%" in CloudView(trace).sentence
    alone = CloudView(tl.trace(small(), torch.tensor([[4]]), keep="all"))
    assert alone.plane.queries.tolist() == [[0, 0]] and alone.plane.kept == (None, None)
    assert "its scores do not differ within rows" in alone.sentence


def test_vectors_without_a_pattern_are_no_better_than_chance():
    """The control in the sentence: an untrained model on random tokens."""
    trace = tl.trace(
        small(n_ctx=40),
        torch.randint(20, (1, 40), generator=torch.Generator().manual_seed(1)),
        keep="all",
    )
    untrained = CloudView(trace).plane
    assert untrained.chance[1] < untrained.kept[1]
    drawn = CloudView(trace, 1, 1).plane
    assert all(0.05 < x < 0.9 for x in drawn.chance)


def test_what_is_chosen_is_told_and_checked():
    trace = tl.trace(small(sharpness=3.0), torch.arange(6)[None], labels=list("abcdef"), keep="all")
    view = CloudView(trace, 1, 2)
    assert view.sentence.startswith("Layer 1, head 2: the products of these points hold ")
    view.selected = (4, None)
    key = int(trace.pattern(1, 2)[4].argmax())
    assert f"“e” (4) attends most to “{'abcdef'[key]}” ({key}): " in view.sentence
    view.shows, view.colour = "values", "attention"
    assert "of the variance of its values (random directions: " in view.sentence
    found = view.to_dict()["arrays"]
    assert np.allclose(found["weight"]["values"][6:], trace.pattern(1, 2)[4])
    assert found["weight"]["means"] == "attention of “e” (4) to a key"
    assert np.allclose(found["x"]["values"][6:], view.plane.values[:, 0])
    with pytest.raises(traitlets.TraitError):
        view.shows = "keys"
    with pytest.raises(ValueError, match="head=9 is outside 0 … 3"):
        CloudView(trace, 0, 9)
    with pytest.raises(ValueError, match="gives attention maps only"):
        CloudView(maps_only())


def test_a_page_holds_every_head(monkeypatch):
    trace = tl.trace(small(), torch.arange(6)[None], keep="all")
    view = CloudView(trace, 1, 2)
    heads = [f"plane/decoder/{layer}/{head}" for layer in range(2) for head in range(4)]
    names = [block.name for block in view._blocks()]
    assert sorted([*names, "plane/decoder/1/2"]) == heads
    message, (data,) = view._answer({"type": "block", "name": heads[0]})
    assert json.dumps(message) and len(data) == 4 * (4 * 2 * 6 + 6 + 36)
    monkeypatch.setattr("transformer_lab.views.cloud.view.MOST", 250)
    assert len(list(view._blocks())) == 2
    assert "".join(page({"_esm": "", "_css": ""}, {}, title="t", blocks=view._blocks()))


def test_of_a_long_text_rows_are_sent_one_by_one(monkeypatch):
    monkeypatch.setattr("transformer_lab.views.cloud.view.WHOLE", 30)
    trace = tl.trace(small(sharpness=3.0), torch.arange(6)[None], keep="all")
    view = CloudView(trace, 1, 2)
    _, (data,) = view._answer({"type": "block", "name": "plane/decoder/1/2"})
    assert len(data) == 4 * (4 * 2 * 6 + 6)
    received = torch.frombuffer(bytearray(data), dtype=torch.float32)[-6:]
    assert_close(received, trace.pattern(1, 2).mean(0))
    _, (row,) = view._answer({"type": "block", "name": "row/decoder/1/2/4"})
    assert_close(torch.frombuffer(bytearray(row), dtype=torch.float32), trace.pattern(1, 2)[4])
    assert not [block for block in view._blocks() if block.name.startswith("row/")]
    view.selected = (4, None)
    held = [name for name, *_ in view._page_state()["_answers"]]
    assert held == ["plane/decoder/1/2", "row/decoder/1/2/4"]
