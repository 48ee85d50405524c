"""BlockView: the data sent to a page is what Python computes, and each step describes it."""

import json
import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import WORDS, maps_only, small
from transformer_lab.analysis.circuits import block_steps
from transformer_lab.views import BlockView
from transformer_lab.views.shared.messages import percent, short

IDS = torch.arange(len(WORDS))
ALL = [
    "stream",
    "norm",
    "product",
    "scale",
    "mask",
    "softmax",
    "values",
    "heads",
    "add",
    "norm2",
    "mlp",
    "add2",
    "answer",
]


def traced(**options):
    return tl.trace(small(noise=0.1, sharpness=3.0, **options), IDS, labels=WORDS, keep="all")


def held(view):
    """The info and the numbers that a page has at first."""
    ((_, info, _),) = view._answers
    return info, view._answers_data


def numbers(info, data):
    flat, found = torch.tensor(np.frombuffer(data, "<f4")), {}
    for name, sizes in info["sizes"].items():
        n = math.prod(sizes)
        found[name], flat = flat[:n].reshape(sizes), flat[n:]
    assert not len(flat)
    return found


def test_what_travels_is_what_python_computes():
    trace = traced()
    view = BlockView(trace, 1, 2, 8)
    (message, buffers) = view._answer({"type": "block", "name": "walk/decoder/0/3/5"})
    for info, data, where in ((*held(view), (1, 2, 8)), (message["info"], buffers[0], (0, 3, 5))):
        steps = block_steps(trace, *where)
        found = numbers(info, data)
        for name, wanted in (
            ("stream", steps.stream),
            ("reads", steps.reads),
            ("query", steps.query),
            ("z", steps.z),
            ("attention", steps.attention),
            ("middle", steps.middle),
            ("hidden", steps.hidden),
            ("out", steps.out),
            ("weights", steps.weights),
            ("scores", steps.scores),
            ("keys", steps.keys[info["shown"]]),
        ):
            assert_close(found[name], wanted.float())
        json.dumps(info, allow_nan=False)
    view = BlockView(trace, 0, 3, 5)
    arrays = {one.name: one.values for one in view._numbers().arrays}
    for name, wanted in (
        ("x: x", steps.stream),
        ("norm: norm(x)", steps.reads),
        ("q·k: query", steps.query),
        ("Σ w·v: z", steps.z[3]),
        ("W_O: attention", steps.attention),
        ("+ x: x + attention", steps.middle),
        ("MLP: hidden", steps.hidden),
        ("+ x: out", steps.out),
        ("softmax, weight", steps.weights),
        ("+ mask, score", steps.scores),
    ):
        assert_close(torch.tensor(arrays[name]), wanted.float())
    assert list(view.steps) == ALL


@pytest.mark.parametrize(
    ("options", "without"),
    [
        (dict(norm_first=False), {"norm", "norm2"}),
        (dict(attention_only=True), {"norm2", "mlp", "add2"}),
        (dict(kind="encoder"), set()),
    ],
)
def test_a_block_has_the_steps_that_it_has(options, without):
    view = BlockView(traced(**options), 1)
    assert list(view.steps) == [step for step in ALL if step not in without]


def test_every_step_says_what_it_shows():
    trace = traced()
    steps, view = block_steps(trace, 1, 2, 8), BlockView(trace, 1, 2, 8)
    said = {}
    for step in view.steps:
        view.step = step
        said[step] = view.sentence
    assert said["stream"].startswith("“it” enters layer 1 as 32 numbers")
    assert f"{float(steps.dots[:9].max()):.2f}" in said["product"]
    assert said["mask"] == "“it” may not attend to 4 keys: their scores become −∞."
    assert f"gets {float(steps.weights.max()):.2f}." in said["softmax"]
    assert f"length {float(steps.mlp.norm()):.2f}" in said["mlp"]
    # What a head attends to is shown beside its effect.
    with tl.edit(trace.model, tl.ablate(1, 2)):
        without = tl.trace(trace.model, IDS).logits[0, 8].softmax(-1)
    top = int(trace.logits[0, 8].argmax())
    assert "With head 2 of this layer switched off, " in said["answer"]
    assert percent(float(without[top])) in said["answer"].split("off, ")[1]


@pytest.mark.parametrize("scheme", ["sinusoidal", "learned", "rotary", "relative", "alibi"])
def test_a_position_is_named_where_it_is_added(scheme):
    added = traced(positions=scheme).model.positions.adds_embedding
    assert ("and its position" in BlockView(traced(positions=scheme), 0).sentence) == added


def test_a_bias_a_sink_and_a_cross_attention_are_told():
    view = BlockView(traced(positions="alibi"), 1, 2, 8, step="mask")
    assert "bias from −" in view.sentence
    model = small("encoder-decoder", noise=0.1)
    trace = tl.trace(model, IDS[None], IDS[None, :7], keep="all")
    view = BlockView(trace, 1)
    assert "cross" in view.steps and view.kind == "decoder"
    encoder = BlockView(trace, 1, kind="encoder", step="answer")
    assert "predicts no tokens" in encoder.sentence


def test_of_a_long_text_the_keys_with_most_weight_are_shown():
    model = small(n_ctx=400, sharpness=5.0)
    trace = tl.trace(
        model, torch.randint(50, (1, 400), generator=torch.Generator().manual_seed(0)), keep="all"
    )
    view = BlockView(trace, 1)
    weights = block_steps(trace, 1, 0, -1).weights
    shown = held(view)[0]["shown"]
    assert len(shown) == 14 and shown == sorted(shown)
    others = [i for i in range(400) if i not in shown]
    assert float(weights[shown].min()) >= float(weights[others].max())
    view.step = "softmax"
    ((panel,),) = view._shown("panels")["panels"]
    assert panel["keys"]["others"] == f"386 others, weights {short(float(weights[others].sum()))}"
    assert BlockView(
        tl.trace(model, torch.tensor([[3]]), keep="all"), 0, step="softmax"
    ).sentence.endswith("gets 1.00. The weights sum to 1.")


def test_selection_is_shared_and_the_page_holds_what_it_says():
    trace = traced()
    view = BlockView(trace, 1, 2, 8, step="values")
    assert (view.selected, view.link) == ((8, None), BlockView(trace).link)
    view.selected = (3, 1)
    assert view.shown == ("decoder", 1, 2, 3) and "“n't”" in view.sentence
    blocks = {block.name for block in view._blocks()}
    assert {f"walk/decoder/1/{head}/3" for head in (0, 1, 3)} <= blocks
    assert {f"walk/decoder/1/2/{p}" for p in range(13) if p != 3} <= blocks and len(blocks) == 15
    page = view.to_html()
    assert "with every head, and head 2 with the tokens around it" in page


def test_its_still_picture_holds_every_vector():
    figure = BlockView(traced(), 1, 2, 8).figure()
    labels = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert labels[0] == "x" and "MLP: hidden" in labels and "+ x: out" in labels


@pytest.mark.badinput
def test_bad_input_is_named():
    trace = traced()
    for options, message in (
        (dict(layer=2), "layer=2 is outside 0 … 1"),
        (dict(head=4), "head=4 is outside 0 … 3"),
        (dict(position=13), "position=13 is outside the 13 tokens"),
        (dict(step="softmix"), "step='softmix' is not one of this block’s steps: stream, norm"),
        (dict(kind="cross"), "kind='cross' has no blocks of its own in this trace; it has decoder"),
        (dict(batch=1), "batch=1 is outside the 1 texts"),
    ):
        with pytest.raises(ValueError, match=message):
            BlockView(trace, **options)
    with pytest.raises(ValueError, match="gives attention maps only"):
        BlockView(maps_only())
    with pytest.raises(ValueError, match=r"give what transformer_lab\.trace"):
        BlockView("text")
    view = BlockView(trace)
    for name in ("walk/decoder/0/0/13", "walk/cross/0/0/1", "nonsense"):
        with pytest.raises(
            ValueError, match=r"this view has no|outside the \d+ tokens \(0 … \d+\)"
        ):
            view._answer({"type": "block", "name": name})
