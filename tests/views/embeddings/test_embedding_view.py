"""A cloud of embeddings or residual streams: its numbers, its sentences, and its links."""

import base64
import json

import numpy as np
import pytest
import torch
import traitlets

import transformer_lab as tl
from tests.factories import WORDS, maps_only, small
from transformer_lab.analysis.circuits import principal_components, random_cloud
from transformer_lab.tracing.trace import TraceError
from transformer_lab.views import EmbeddingView, ResidualView
from transformer_lab.views.embeddings.data import kind_of, text_names

N = len(WORDS)


@pytest.fixture(scope="module")
def whole():
    """A trace of thirteen words that keeps the stream."""
    return tl.trace(small(sharpness=3.0), torch.arange(N), labels=WORDS, keep="all")


@pytest.fixture
def view(whole):
    return EmbeddingView(whole)


def stream(trace, row, batch=0):
    found = trace.residual(batch=batch)
    return found["resid_pre"][0] if row == 0 else found["resid_post"][row - 1]


@pytest.mark.parametrize("row", [0, 1, 2])
def test_points_are_the_streams_principal_components(view, whole, row):
    view.row = row
    found = principal_components(stream(whole, row))
    torch.testing.assert_close(view.coordinates(), found.coordinates)
    assert view.explained()[0] == pytest.approx(found.shares.tolist(), abs=1e-6)
    chance = principal_components(random_cloud(stream(whole, row), seed=row))
    assert view.explained()[1] == pytest.approx(chance.shares.tolist(), abs=1e-6)
    view.shows = "random"
    torch.testing.assert_close(view.coordinates(), chance.coordinates)


def test_paths_are_in_components_of_all_layers_together(view, whole):
    view.shows = "paths"
    every = torch.cat([stream(whole, row) for row in range(3)])
    found = principal_components(every)
    for row in range(3):
        view.row = row
        torch.testing.assert_close(view.coordinates(), found.coordinates[row * N : (row + 1) * N])
    lines = [t for t in view.to_plotly().data if t.mode == "lines"]
    assert len(lines) == N
    np.testing.assert_allclose(lines[4].y, found.coordinates[4::N, 1])
    assert list(lines[4].customdata) == ["before the first layer", "after layer 0", "after layer 1"]


def test_the_browser_is_sent_the_same_numbers(view, whole):
    sent, at = {}, 0
    for name, _, size in view._answers:
        numbers = torch.frombuffer(bytearray(view._answers_data[at : at + size]), dtype=torch.float)
        sent[name], at = numbers.reshape(-1, N, 5), at + size
    assert at == len(view._answers_data) and len(sent) == 7
    norms = tl.circuits.stream_norms(whole)
    for shows in ("layer", "random", "paths"):
        for row in range(3):
            view.shows, view.row = shows, row
            found = sent["paths/0"][row] if shows == "paths" else sent[f"{shows}/{row}"][0]
            torch.testing.assert_close(found[:, :3], view.coordinates().float())
            torch.testing.assert_close(found[:, 4], norms[row])


def test_the_sentence_says_what_is_held_and_what_chance_holds(view):
    whole, chance = (sum(x) for x in view.explained())
    assert view.sentence.startswith("After layer 1, 13 tokens: three principal components hold ")
    assert f"hold {100 * whole:.0f}% of the variance" in view.sentence
    assert f"random directions of the same lengths {100 * chance:.0f}%." in view.sentence
    view.selected = (8, None)
    assert "“it” (8) has norm " in view.sentence
    assert view.sentence in view.to_plotly()._alt
    view.shows = "paths"
    assert "The paths of 13 tokens through 2 layers: three components of all" in view.sentence
    view.shows = "random"
    assert "13 tokens: three components of random directions, as far from" in view.sentence


def test_one_token_that_hides_the_others_is_told_of_and_can_be_left_out():
    torch.manual_seed(0)
    vectors = torch.randn(20, 16)
    vectors[3] += 100
    view = EmbeddingView.of_vectors(vectors, [f"v{i}" for i in range(20)])
    assert view.sentence.startswith("20 vectors: three principal components hold ")
    assert "“v3” (3) alone accounts for 9" in view.sentence
    assert view.explained()[1][0] > 0.9  # as in a random cloud of these lengths


def test_tokens_left_out_are_said_and_gone(whole):
    view = EmbeddingView(whole, without=[0, 5])
    assert "11 tokens (without tokens 0 and 5)" in view.sentence
    left = [i for i in range(N) if i not in (0, 5)]
    torch.testing.assert_close(
        view.coordinates(), principal_components(stream(whole, 2)[left]).coordinates
    )
    few = EmbeddingView(whole, without=range(10))
    assert "(without 10 tokens: 0, 1, 2, 3, 4 and 5 more)" in few.sentence
    view.selected = (6, None)
    assert view.point == 4 and "“street” (6)" in view.sentence
    view.selected = (5, None)
    assert view.point is None


def test_it_follows_the_layer_and_the_token_of_the_other_views(view, whole):
    other = ResidualView(whole)
    assert view.link == other.link and view.link
    assert view._kinds == other._kinds
    view.layer = 0
    assert view.row == 1
    view.row = 0  # before the first layer, so no head belongs to it
    view.layer = 1
    assert view.row == 2


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["the cat sat", "the dog sat"], ["text with “cat”", "text with “dog”"]),
        (["a b c d", "a e"], ["text with “b c”", "text with “e”"]),
        (["the cat", "the cat sat"], ["text 0", "text 1"]),  # one has no word of its own
        (["one"], ["text with “one”"]),
    ],
)
def test_texts_are_named_by_what_only_they_have(texts, names):
    tokens = [word for text in texts for word in text.split()]
    assert text_names(tokens, [i for i, text in enumerate(texts) for _ in text.split()]) == names


def test_several_texts_are_one_cloud_without_padding():
    tokens = torch.arange(10).reshape(2, 5)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    trace = tl.trace(small(), tokens, mask=mask, keep="all")
    view = EmbeddingView(trace)
    assert view._cloud.points.texts == [0] * 5 + [1] * 3 and view.link == ""
    assert "text" in view.colours
    together = torch.cat([stream(trace, 2, 0), stream(trace, 2, 1)[:3]])
    torch.testing.assert_close(view.coordinates(), principal_components(together).coordinates)
    view.selected = (6, None)  # a point, since two texts have a token 1
    assert view.point == 6 and view._points["positions"][6] == 1
    pair = [tl.trace(small(), row[None], keep="all") for row in tokens]
    assert len(EmbeddingView(pair, labels=["a"] * 5 + ["b"] * 5).coordinates()) == 10
    assert len(EmbeddingView(trace, batch=1).coordinates()) == 3


def test_a_vocabulary_is_shown_by_its_learned_embeddings():
    model = tl.shipped("manual")
    view = EmbeddingView.of_vocabulary(model, most=100)
    ids = [i * 1024 // 100 for i in range(100)]
    table = model.model.embedding.weight.detach()[ids]
    torch.testing.assert_close(
        view.coordinates(), principal_components(table).coordinates, rtol=1e-4, atol=1e-5
    )
    assert "Token embeddings, 100 tokens (of 1024, evenly spread)" in view.sentence
    assert view.colour == "label" and view._points["positions"] == ids
    with pytest.raises(
        traitlets.TraitError, match="shows='paths' is not here; choose one of layer"
    ):
        view.shows = "paths"


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("<s>", "special"),
        ("[CLS]", "special"),
        ("42", "number"),
        ("·the", "begins a word"),
        ("ing", "letters"),
        ("++", "punctuation or space"),
        ("x1", "mixed"),
        ("<", "punctuation or space"),
        ("", "punctuation or space"),
    ],
)
def test_kinds_of_tokens(token, kind):
    assert kind_of(token) == kind


@pytest.mark.parametrize("n", [1, 2, 400])
def test_few_and_many_tokens(n):
    trace = tl.trace(small(n_ctx=400), torch.arange(n) % 50, keep="all")
    view = EmbeddingView(trace)
    view.shows = "paths"
    assert view.png()[:4] == b"\x89PNG" and view.to_plotly().data
    assert torch.isfinite(view.coordinates()).all()
    view.shows = "layer"
    if n == 1:
        assert view.sentence == "After layer 1, 1 token, with no spread to show."


def test_the_first_of_many_tokens_are_shown_and_said(whole):
    view = EmbeddingView(whole, most=5)
    assert "5 tokens (the first 5 of 13)" in view.sentence
    assert len(view.coordinates()) == 5


def test_a_translation_has_two_streams(translation):
    both = [EmbeddingView(translation, kind=kind) for kind in ("encoder", "decoder")]
    assert [len(v.coordinates()) for v in both] == [12, 9]  # padding has no point
    with pytest.raises(ValueError, match="kind='cross' has no stream in every trace"):
        EmbeddingView(translation, kind="cross")


def refused(make, error, said):
    with pytest.raises(error, match=said):
        make()


def test_what_does_not_fit_is_refused_in_a_sentence(whole):
    refused(
        lambda: EmbeddingView("text"), ValueError, "trace is a str; give what transformer_lab.trace"
    )
    refused(lambda: EmbeddingView([3]), ValueError, "trace holds a int; give what")
    refused(lambda: EmbeddingView([]), ValueError, "trace is a list; give what")
    refused(lambda: EmbeddingView(whole, batch=1), TraceError, "batch=1 is outside 0 … 0")
    refused(
        lambda: EmbeddingView(whole, labels=["a"]), ValueError, "labels has 1 entries; there are 13"
    )
    refused(
        lambda: EmbeddingView(whole, without=range(N)), ValueError, "leaves no token; name fewer"
    )
    refused(lambda: EmbeddingView(whole, most=0), ValueError, "most=0 must be a whole number")
    refused(lambda: EmbeddingView(whole, row=9), traitlets.TraitError, "row=9 is outside 0 … 2")
    refused(
        lambda: EmbeddingView(maps_only()),
        TraceError,
        "residual stream of this model could not be recorded",
    )
    refused(
        lambda: EmbeddingView(tl.trace(small(), torch.arange(4), keep="maps")), TraceError, "stream"
    )
    refused(lambda: EmbeddingView.of_vocabulary(small()), ValueError, "give a TextModel")
    refused(
        lambda: EmbeddingView.of_vectors(torch.ones(2, 2), ["a"]), ValueError, "names has 1 entries"
    )
    view = EmbeddingView(whole)
    with pytest.raises(
        traitlets.TraitError, match="colour='text' is not here; choose one of token"
    ):
        view.colour = "text"
    assert view.colour == "token"


def test_a_page_holds_the_script_once_and_a_state_never(view):
    from transformer_lab.views.pages.script import plotly_script

    page = view.to_html()
    assert page.count('<template data-block="plotly"') == 1
    assert base64.b64encode(plotly_script()).decode() in page
    assert sum(len(bytes(v)) for v in view.get_state().values() if isinstance(v, bytes)) < 20_000
    assert (
        len(
            json.dumps(
                {k: v for k, v in view.get_state().items() if isinstance(v, (str, list, dict))}
            )
        )
        < 320_000  # a script of ours; plotly’s is 4 MB
    )
    _, (script,) = view._answer({"type": "block", "name": "plotly"})
    assert script == plotly_script()
