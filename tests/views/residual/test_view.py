import re

import numpy as np
import pytest
import torch
import traitlets

import transformer_lab as tl
from tests.missing import package
from transformer_lab.analysis.circuits import block_share, logit_lens, stream_norms
from transformer_lab.views import ResidualView
from transformer_lab.views.residual.data import ResidualData
from transformer_lab.views.shared.messages import messages, percent, size, with_sign


def floats(data):
    return torch.from_numpy(np.frombuffer(data, "<f4").copy())


def test_what_travels_is_what_python_computes(translation):
    view = ResidualView(translation)
    for kind, tokens in (("encoder", 13), ("decoder", 9)):
        stream = view._streams[kind]
        own = stream_norms(translation, kind=kind)
        sent = floats(view._part_named(f"stream/{kind}")[1][0])
        assert torch.equal(sent[: own.numel()].view_as(own), own)
        found = block_share(translation, kind=kind)
        both = torch.stack((found.share, found.cosine))
        assert torch.equal(sent[own.numel() :].view_as(both), both)
        assert stream["parts"] == list(found.parts)
        assert len(stream["tokens"]) == tokens
    assert [view._streams[k]["lens"] for k in ("encoder", "decoder")] == [False, True]
    assert "encoder of an encoder-decoder" in view._streams["encoder"]["note"]["lens"]


def test_blocks_of_the_lens_are_the_lens(long_trace):
    data = ResidualData(long_trace)
    assert data.block_names()[:3] == ["lens/0", "lens/16", "lens/32"]
    info, sent = data.block("lens/592")
    lens = logit_lens(long_trace, positions=range(592, 600))
    shape, sent = lens.tokens.shape, floats(sent)
    n = lens.tokens.numel()
    names = np.array(info["names"], dtype=object)
    likeliest = names[sent[:n].int().view(shape).numpy()]
    assert likeliest.tolist() == [[[str(i) for i in c] for c in r] for r in lens.tokens.tolist()]
    assert torch.equal(sent[n : 2 * n].view(shape), lens.probabilities)
    assert names[sent[2 * n : 2 * n + 8].int().numpy()].tolist() == list(
        map(str, lens.answer.tolist())
    )
    view = ResidualView(long_trace)
    for column in range(8):
        view.selected = (592 + column, None)
        row = lens.settled(column)
        words = [
            "the most likely from the start",
            *(f"the most likely from layer {i} on" for i in range(3)),
        ]
        words += ["the most likely only after the last layer", "%)."]
        assert view.sentence.removesuffix(".").endswith(words[row].removesuffix("."))
    with pytest.raises(ValueError, match="lens/7"):
        data.block("lens/7")


def test_sentences_follow_the_selection(trace):
    view = ResidualView(trace)
    norms, shares = stream_norms(trace), block_share(trace)
    first, last = (norms[row].median() for row in (0, -1))
    assert view.sentence.startswith(
        "A typical token (medians): the size of the residual stream goes from "
        f"{size(float(first))} to {size(float(last))} over 2 layers. Layer "
    )
    view.selected = (8, 3)
    assert view.token == 8
    part, layer = divmod(int(shares.share[..., 8].argmax()), 2)
    name = shares.parts[part]
    most, turn = shares.share[part, layer, 8], shares.cosine[part, layer, 8]
    assert (
        f"“it” (8): the size of the residual stream goes from {size(float(norms[0, 8]))} to "
        f"{size(float(norms[2, 8]))} over 2 layers. Layer {layer}’s {name} adds most: "
        f"{size(float(most))} times the stream’s size, cosine {with_sign(float(turn))}."
    ) in view.sentence
    answer = trace.logits[0, 8].softmax(-1).max(-1)
    assert (
        f"next token is “{int(answer.indices)}” ({percent(float(answer.values))})" in view.sentence
    )
    view.selected = (None, 3)
    assert view.token == 3
    with pytest.raises(traitlets.TraitError, match="outside 0 … 12"):
        view.selected = (13, None)


def test_a_cross_selection_means_the_decoders_tokens(translation):
    view = ResidualView(translation)
    view.kind = "cross"
    view.selected = (2, 5)
    assert view.stream == "decoder"
    assert "Decoder: “animal” (2)" in view.sentence
    view.selected = (None, 5)  # an encoder token
    assert view.token is None


def test_answers_in_words():
    values = dict(answer="key", probability=0.31, here=False)
    say = lambda settled, language="en": messages("residual", language)(  # noqa: E731
        "answer", settled=settled, **values
    )
    start = "The model’s answer for the next token is “key” (31%)"
    assert say("start") == f"{start}, the most likely from the start."
    assert say(2) == f"{start}, the most likely from layer 2 on."
    assert say("last") == f"{start}, the most likely only after the last layer."
    assert say(None) == f"{start}."
    assert say(2, "de").endswith("ist „key“ (31 %), am wahrscheinlichsten ab Schicht 2.")
    with pytest.raises(ValueError, match="language must be one of en, de, got 'fr'"):
        say(2, "fr")


def test_a_view_in_another_language(trace):
    view = ResidualView(trace, language="de")
    assert re.search(r"geht über 2 Schichten von \d+,\d+ auf \d+,\d+\. Die ", view.sentence)
    assert view._messages["start"] == "Start" and view._scene().title.endswith("Residualstrom")
    assert not ResidualView(trace)._messages
    with pytest.raises(ValueError, match="language must be one of en, de, got 'xx'"):
        ResidualView(trace, language="xx")


def test_what_is_not_known_is_said(trace):
    model = trace.model
    lean = ResidualView(tl.trace(model, torch.arange(13), keep="maps"))
    assert lean._streams["decoder"]["parts"] == []
    assert "keep='all'" in lean._streams["decoder"]["note"]["parts"]
    assert [name for name, *_ in lean._answers] == ["stream/decoder"]
    assert lean.sentence.endswith("over 2 layers.")
    assert lean.png()[:4] == b"\x89PNG"
    for options, message in (
        (dict(kind="cross"), "kind='cross' is not in this trace"),
        (dict(batch=1), "batch=1 is outside the 1 texts"),
    ):
        with pytest.raises(ValueError, match=message):
            ResidualView(trace, **options)
    with pytest.raises(ValueError, match=r"give what transformer_lab\.trace"):
        ResidualView("a text")


def test_a_model_that_learns_on_leaves_the_view_as_it_was(trace):
    torch.manual_seed(0)
    model = tl.Transformer(tl.ModelConfig(vocab_size=50, n_layers=2, n_heads=2, d_model=16)).eval()
    view = ResidualView(tl.trace(model, torch.arange(9)))
    with torch.no_grad():
        model.head.weight.mul_(2)
    view.selected = (4, None)
    assert "The model’s answer" not in view.sentence
    assert "(4): the size of" in view.sentence


def test_hugging_face_models_have_one_part_and_a_lens():
    transformers = package("transformers")
    config = transformers.GPT2Config(n_layer=3, n_head=4, n_embd=32, vocab_size=100)
    view = ResidualView(tl.trace(transformers.GPT2LMHeadModel(config).eval(), torch.arange(7)))
    stream = view._streams["decoder"]
    assert stream["parts"] == ["block"]
    assert stream["lens"]
    assert "attention and MLP are counted together" in stream["note"]["parts"]
    assert "The block of layer" in view.sentence
    config = transformers.BertConfig(
        num_hidden_layers=2, num_attention_heads=4, hidden_size=32, intermediate_size=64
    )
    bare = ResidualView(tl.trace(transformers.BertModel(config).eval(), torch.arange(7)))
    assert "no head that predicts tokens" in bare._streams["encoder"]["note"]["lens"]
    assert bare.png()[:4] == b"\x89PNG"


def test_long_texts_are_cut_and_their_lens_is_computed_in_pieces(long_trace):
    view = ResidualView(long_trace)
    assert len(view._streams["decoder"]["tokens"]) == 600
    sent = []
    view.send = lambda message, buffers: sent.append((message, buffers))
    view._on_question(view, {"type": "block", "name": "lens/64", "request": 1}, [])
    view._on_question(view, {"type": "block", "name": "lens/9999", "request": 2}, [])
    assert sent[0][0]["info"]["from"] == 64
    assert sent[1][0]["type"] == "error"


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_picture_of_every_kind(translation, kind):
    assert ResidualView(translation, kind=kind).png()[:4] == b"\x89PNG"
