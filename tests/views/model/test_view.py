"""ModelView: every number is that of the analyses, edits are those of a direct pass, and unusual
models and texts give a figure that says what it omits."""

import json

import pytest
import torch
import traitlets

import transformer_lab as tl
from tests.factories import FRENCH, WORDS, maps_only, picture, small, vision
from tests.missing import package
from transformer_lab.analysis.circuits import (
    block_share,
    logit_lens,
    stream_norms,
    value_weighted_norms,
)
from transformer_lab.views import ModelView
from transformer_lab.views.model.data import WINDOW, ModelData, edits_name
from transformer_lab.views.shared.messages import VIEWS

EDITS = [tl.ablate(0, 1), tl.knock_out(1, 2, query=8, key=1), tl.scale(1, 0, by=0.5)]


@pytest.fixture(scope="module")
def trace():
    return tl.trace(small(sharpness=3.0), torch.arange(len(WORDS)), labels=WORDS, keep="all")


def carried(trace, layer, kind=None):
    """What attention carries between tokens, [head, query, key]; self-edges are 0."""
    found = value_weighted_norms(trace, layer, kind=kind)
    return found if kind == "cross" else found * ~torch.eye(found.shape[-1], dtype=torch.bool)


def test_every_number_is_that_of_an_analysis(trace):
    view = ModelView(trace)
    found = view.found
    torch.testing.assert_close(found.norms["decoder"][0], stream_norms(trace))
    shares = block_share(trace)
    for part, share in zip(shares.parts, shares.share, strict=True):
        torch.testing.assert_close(found.shares["decoder"][part][0], share)
    for at, edges in found.edges.items():
        whole = carried(trace, found.steps[at]["layer"])
        torch.testing.assert_close(edges.carried[0], whole[tuple(edges.places.T)])
        torch.testing.assert_close(edges.sums[0], whole.sum())
        led = {query for _, query, _ in edges.places.tolist()}
        assert led == set(range(1, 13))  # each token's strongest is listed; the first has no other
        for query in led:
            mine = edges.carried[0][edges.places[:, 1] == query]
            torch.testing.assert_close(mine.max(), whole[:, query].max())
    lens = logit_lens(trace, positions=[12])
    rows = view._said["rows"][0]
    assert [row[0][1] for row in rows] == lens.probabilities[:, 0, 0].tolist()
    assert view.answers[0][1] == pytest.approx(float(trace.logits[0, 12].softmax(-1).max()))


def test_edits_are_those_of_a_direct_pass(trace):
    view = ModelView(trace, edits=EDITS)
    with tl.edit(trace.network, *EDITS):
        after = tl.trace(trace.network, trace.tokens, keep="all")
    found = view.found
    torch.testing.assert_close(found.norms["decoder"][0], stream_norms(trace))
    torch.testing.assert_close(found.norms["decoder"][1], stream_norms(after))
    for at, edges in found.edges.items():
        layer = found.steps[at]["layer"]
        whole = carried(after, layer)
        if layer == 0:
            whole[1] = 0  # an ablated head carries nothing
        else:
            whole[0] *= 0.5
        torch.testing.assert_close(edges.carried[1], whole[tuple(edges.places.T)])
        torch.testing.assert_close(
            edges.sums, torch.stack((carried(trace, layer).sum(), whole.sum()))
        )
    before, now = (one.logits[0, 12].softmax(-1) for one in (trace, after))
    best = int(before.argmax())
    assert view.answers[0] == pytest.approx((str(best), float(before[best]), float(now[best])))
    assert view.sentence.startswith("Layer 0, head 1 switched off and ")
    assert f"“{best}” " in view.sentence and " → " in view.sentence
    view.edits = []
    assert view.sentence.startswith("After “.” the model expects “")


def test_each_step_says_what_happens(trace):
    view = ModelView(trace)
    said = []
    for step in range(len(view.found.steps)):
        view.step = step
        said.append(view.sentence)
    assert said[0].startswith("13 tokens enter the model.")
    whole = carried(trace, 1)[:, 12]
    head, key = divmod(int(whole.argmax()), 13)
    assert (
        said[3] == f"Layer 1, attention: “.” takes most from “{WORDS[key]}”, through head {head}."
    )
    assert said[4].startswith("Layer 1, MLP: each token by itself. “.” gets a vector ")
    assert said[-1] == ModelView(trace).sentence
    view.selected = (0, None)
    view.step = 1
    assert view.sentence.endswith(f"“{WORDS[0]}” takes nothing from other tokens.")
    with pytest.raises(traitlets.TraitError, match="step=6 is outside 0 … 5"):
        view.step = 6


def hybrid():
    transformers = package("transformers")
    config = transformers.Lfm2Config(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        full_attn_idxs=[1, 3],
    )
    return tl.trace(transformers.Lfm2ForCausalLM(config).eval(), torch.arange(9), keep="all")


def bare():
    transformers = package("transformers")
    config = transformers.BertConfig(
        num_hidden_layers=2, num_attention_heads=4, hidden_size=32, intermediate_size=64
    )
    return tl.trace(transformers.BertModel(config).eval(), torch.arange(7))


def translation():
    model = small("encoder-decoder", n_heads=8)
    ids, target = torch.arange(len(WORDS)), torch.arange(len(FRENCH))
    return tl.trace(model, ids, target, labels=WORDS, target_labels=FRENCH)


def image():
    package("transformers")
    return tl.ImageModel(vision(num_labels=3), name="small").trace(picture())


# (what is traced, its number of steps, words of its sentence or page).
ODD = {
    "one layer, one head": (
        lambda: tl.trace(small(n_layers=1, n_heads=1), torch.arange(5)),
        4,
        "After “4” the model expects",
    ),
    "60 layers": (
        lambda: tl.trace(small(n_layers=60, n_heads=1, d_model=8), torch.arange(4)),
        122,
        "After “3”",
    ),
    "one token": (lambda: tl.shipped("manual").trace("for"), 10, "After “for” the model expects"),
    "encoder-decoder": (translation, 12, "After “rue” the model expects"),
    "hybrid": (hybrid, 10, "After “8” the model expects"),
    "no head that predicts": (bare, 6, "which predicts no tokens"),
    "an image": (image, 6, "The model’s answer is “LABEL_"),
    "long": (
        lambda: tl.trace(small(n_ctx=4000, d_model=16), torch.arange(4000) % 50),
        6,
        "After “49”₈₀ the model expects",
    ),
    "an encoder": (
        lambda: tl.trace(small("encoder", n_ctx=200), torch.arange(200) % 50),
        6,
        "At “0”₁ the model expects",
    ),
    "maps alone": (maps_only, 4, "which predicts no tokens"),
}


@pytest.mark.badinput
@pytest.mark.parametrize("name", ODD)
def test_odd_models_and_texts_give_a_picture(name):
    make, steps, said = ODD[name]
    view = ModelView(make())
    assert len(view.found.steps) == steps
    assert said in view.sentence
    assert view.png()[:4] == b"\x89PNG"
    for step in range(min(steps, 12)):
        view.step = step
        assert view.sentence
    view.step = None
    assert "<template data-block" in view.to_html(model=False)
    info, data = view._data.block(view._from, "[]")
    assert data and len(info["steps"]) == steps


def test_a_layer_without_attention_says_what_it_is():
    view = ModelView(hybrid())
    view.step = 1
    assert "Layer 0 has no attention, it is a " in view.sentence
    assert view.found.steps[1]["what"] == "none"


def test_a_long_text_has_a_window_whose_edges_come_from_everywhere():
    trace = tl.trace(small(n_ctx=300, sharpness=1.0), torch.arange(300) % 50)
    view = ModelView(trace)
    edges = view.found.edges[1]
    assert view.found.norms["decoder"].shape[-1] == WINDOW
    assert edges.places[:, 1].min() >= 300 - WINDOW > edges.places[:, 2].min()
    torch.testing.assert_close(edges.sums[0], carried(trace, 0)[:, -WINDOW:].sum())
    view.first = 10
    assert {q for _, q, _ in view.found.edges[1].places.tolist()} == set(range(10, 10 + WINDOW))
    assert view._scene().numbers.axes["position"] == [str(i % 50) for i in range(10, 10 + WINDOW)]
    with pytest.raises(traitlets.TraitError, match="first=300 is outside 0 … 299"):
        view.first = 300


@pytest.mark.parametrize("kind", ["encoder", "decoder", "cross"])
def test_edits_of_each_kind(kind):
    trace = translation()
    view = ModelView(trace, edits=[tl.ablate(1, 2, kind=kind)])
    at = next(
        i for i, s in enumerate(view.found.steps) if s.get("kind") == kind and s["layer"] == 1
    )
    edges = view.found.edges[at]
    off = edges.places[:, 0] == 2
    assert off.any() and not edges.carried[1][off].any() and edges.carried[1][~off].any()
    torch.testing.assert_close(edges.carried[0], carried(trace, 1, kind)[tuple(edges.places.T)])


@pytest.mark.badinput
def test_what_does_not_fit_is_said(trace):
    for options, said in (
        (dict(layer=2), "layer=2 is outside 0 … 1"),
        (dict(batch=1), "batch=1 is outside the 1 texts"),
        (dict(edits=[tl.ablate(5, 0)]), "layer=5 is outside 0 … 1 of this model"),
    ):
        with pytest.raises((ValueError, traitlets.TraitError), match=said):
            ModelView(trace, **options)
    with pytest.raises(ValueError, match=r"give what transformer_lab\.trace"):
        ModelView("a text")
    with pytest.raises(traitlets.TraitError, match="has no model, so nothing can be switched off"):
        ModelView(maps_only(), edits=[tl.ablate(0, 0)])
    sent = []
    view = ModelView(trace)
    view.send = lambda message, buffers: sent.append(message)
    for i, name in enumerate(
        ("pass/99/[]", "likely/-1/[]", "map/decoder/7/0/[]", "walk/decoder/0/0/99", "what/1")
    ):
        view._on_question(view, {"type": "block", "name": name, "request": i}, [])
    assert [message["type"] for message in sent] == ["error"] * 5


def test_a_page_without_the_model_holds_what_it_plays(trace):
    view = ModelView(trace, edits=EDITS[:1])
    edits = json.dumps([{"edit": "ablate", "layer": 0, "head": 1}], separators=(",", ":"))
    assert edits_name(view._edits) == edits
    names = {block.name for block in view._blocks()}
    assert {"pass/0/[]", f"likely/3/{edits}", f"map/decoder/1/2/{edits}"} <= names
    assert any(name.startswith("walk/decoder/") for name in names)


def test_a_pass_is_kept_and_made_once(trace):
    data = ModelData(trace)
    assert data.found(0, "[]") is data.found(0, "[]")
    edits = edits_name([EDITS[0].to_dict()])
    assert data.under(edits) is data.under(edits) and data.under("[]") is trace


def test_in_german_it_names_edits_in_german_too(trace):
    view = ModelView(
        trace, edits=[tl.ablate(0, 1), tl.knock_out(1, 2, query=8, key=1)], language="de"
    )
    english = json.loads((VIEWS / "model" / "messages.json").read_text("utf-8"))
    assert english.keys() <= view._messages.keys()
    start = "Schicht 0, Kopf 1 ausgeschaltet und it → animal durchtrennt in Schicht 1, Kopf 2: „"
    assert view.sentence.startswith(start) and view._scene().title.endswith("bei der Arbeit")
    with pytest.raises(ValueError, match="language must be one of en, de, got 'fr'"):
        ModelView(trace, language="fr")
