import itertools
from dataclasses import replace

import pytest
import torch
import traitlets

import transformer_lab as tl
from tests.factories import small
from transformer_lab.views import HeadView
from transformer_lab.views.heads.scene import heads_panel, map_of
from transformer_lab.views.marks.draw_matplotlib import figure_of
from transformer_lab.views.marks.scene import Axis, Matrix, Panel, Scene
from transformer_lab.views.shared.messages import percent


def test_state_is_bytes_and_names_are_few(trace):
    view = HeadView(trace)
    assert len(view._maps) == 2 * 2 * 4 * 13 * 13
    public = {name for name in view.trait_names(sync=True) if not name.startswith("_")}
    assert {"layer", "head", "kind", "selected"} <= public


def test_bad_places_are_refused_in_one_sentence(trace):
    for options, message in (
        (dict(layer=2), r"layer=2 is outside 0 … 1"),
        (dict(head=-1), r"head=-1 is outside 0 … 3"),
        (dict(kind="cross"), r"kind='cross' is not in this trace; it has decoder"),
        (dict(batch=1), r"batch=1 is outside the 1 texts"),
    ):
        with pytest.raises(ValueError, match=message):
            HeadView(trace, **options)
    with pytest.raises(ValueError, match=r"trace is a str; give what transformer_lab\.trace"):
        HeadView("a text")
    view = HeadView(trace)
    for name, value in (("layer", 9), ("selected", (13, 0)), ("kind", "encoder")):
        with pytest.raises(traitlets.TraitError, match=name):
            setattr(view, name, value)


def test_sentences_follow_the_selection(trace):
    view = HeadView(trace, layer=1, head=2)
    whole = view.sentence
    assert whole.startswith("Layer 1, head 2: after the first token, the strongest link is “")
    view.selected = (8, None)
    best = int(trace.pattern(1, 2)[8].argmax())
    assert "“it” attends" in view.sentence
    assert f"“{trace.key_tokens()[best]}”" in view.sentence
    view.selected = [8, 1]
    assert view.selected == (8, 1)
    weight = float(trace.pattern(1, 2)[8, 1])
    assert f"gives {percent(weight)} of its attention" in view.sentence
    view.selected = (1, 8)
    assert "cannot attend to “it”, which comes later" in view.sentence
    view.selected = None
    assert view.sentence == whole


def test_hiding_and_weighting_are_what_they_say(trace):
    view = HeadView(trace)
    view._options = {"hide_first": True}
    pattern = trace.pattern(0, 0)
    wanted = pattern[5].clone()
    wanted[0] = 0
    torch.testing.assert_close(view.row(5), wanted / wanted.sum())
    assert view.row(0).tolist() == [0] * 13
    view._options = {"weights": "value"}
    torch.testing.assert_close(view.row(5), trace.value_weighted(0, 0)[5])
    assert "weight × value length" in view.sentence


@pytest.mark.parametrize("kind", ["encoder", "decoder", "cross"])
def test_a_picture_of_every_kind(translation, kind):
    assert HeadView(translation, kind=kind).png()[:4] == b"\x89PNG"


def test_questions_get_answers_and_errors_are_told(long_trace):
    view = HeadView(long_trace)
    sent = []
    view.send = lambda message, buffers: sent.append((message, buffers))
    view._on_question(view, {"type": "block", "name": "decoder/3/7", "request": 4}, [])
    view._on_question(view, {"type": "block", "name": "decoder/3/99", "request": 5}, [])
    view._on_question(view, {"type": "nonsense", "request": 6}, [])
    view._on_question(view, {"type": "page", "request": 7}, [])
    view._on_question(view, "not a question", [])
    assert [m["request"] for m, _ in sent] == [4, 5, 6, 7]
    width = {"scores16": 2, "scores32": 4}[sent[0][0]["info"]["encoding"]]
    assert len(sent[0][1][0]) == width * 2 * 600 * 8
    assert sent[1][0]["type"] == "error"
    assert "head=99 is outside 0 … 7" in sent[1][0]["message"]
    assert sent[2][0]["type"] == "error"
    assert sent[3][1][0].startswith(b"<!DOCTYPE html>")


def lies_on_another(axes):
    """(pairs of overlapping names on the left, all those names)."""
    axes.figure.canvas.draw()
    names = [label for label in axes.get_yticklabels() if label.get_text()]
    boxes = [label.get_window_extent() for label in names]
    return [
        (a, b) for a, b in itertools.pairwise(boxes) if min(a.y1, b.y1) - max(a.y0, b.y0) > 2.5
    ], names


def drawn(*panels):
    figure = figure_of(Scene("", "", [panels]))
    figure.canvas.draw()
    return figure


@pytest.mark.parametrize(
    ("n_query", "n_key", "all_named"), [(9, 9, True), (14, 52, True), (30, 200, False)]
)
def test_names_of_a_flat_map_do_not_lie_on_one_another(n_query, n_key, all_named):
    rows, columns = (
        Axis("", [name] * n, tokens=True) for name, n in (("Oakfield", n_query), ("key", n_key))
    )
    matrix = Matrix(torch.zeros(n_query, n_key), rows, columns, square=True)
    figure = drawn(Panel("", matrix))
    pairs, names = lies_on_another(figure.axes[0])
    assert pairs == []
    assert (len(names) == n_query) == all_named


@pytest.mark.parametrize("word", ["is", "statement", "a-very-long-token-that-is-cut"])
def test_what_names_a_map_beside_small_heads_leaves_them_alone(word):
    shown = HeadView(tl.trace(small(n_layers=2), torch.arange(6), labels=[word] * 6))._shown_head()
    heads, chosen = drawn(heads_panel(shown), Panel("", map_of(shown))).axes
    assert chosen.yaxis.label.get_window_extent().x0 >= heads.get_window_extent().x1


@pytest.mark.parametrize("largest", [0.031, 0.27, 0.42, 0.49, 1.0, 2.3])
def test_the_scale_names_no_weight_beyond_its_end(largest):
    shown = HeadView(tl.trace(small(n_layers=1), torch.arange(4)))._shown_head()
    shown = replace(shown, weights=largest * shown.weights / shown.weights.max())
    scale = drawn(Panel("", map_of(shown, means="weight"))).axes[1]
    named = scale.get_yticks()
    assert len(named) >= 3
    assert min(named) >= 0
    assert max(named) <= largest * 1.0001
