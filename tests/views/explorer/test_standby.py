"""What a live Explorer gives the page for the time in which Python does not answer."""

import json

import pytest
import torch

from tests.hub.families import tiny
from tests.views.explorer.test_view import TEXT, text_model
from transformer_lab import TextModel
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views import Explorer
from transformer_lab.views.pages import carrying


def answer(view, name):
    sent = []
    view.send = lambda message, buffers=None: sent.append((message, buffers))
    view._on_question(view, {"type": "block", "request": 7, "name": name}, [])
    return sent[0]


def test_the_page_is_given_the_model_that_read_the_text():
    model = text_model()
    view = Explorer(model, TEXT)
    mark = view._standby["mark"]
    assert len(mark) == 24 and view._standby["first"] == len(view.ids) - 1
    message, (about, weights) = answer(view, "model")
    assert message["info"]["mark"] == mark and json.loads(about)["name"] == model.name
    numbers = sum(p.numel() for p in model.model.parameters())
    assert len(weights) > 4 * numbers  # exactly, in 32 bits
    message, (script,) = answer(view, "engine")
    assert message["info"]["mark"] == mark and b"class Scheduler" in script
    assert Explorer(model, "The animal")._standby["mark"] == mark  # once a page
    # With other weights it is another one, when a text is read with them.
    with torch.no_grad():
        next(model.model.parameters()).add_(0.1)
    assert answer(view, "model")[0]["type"] == "error"
    view.text = "The animal"
    assert view._standby["mark"] not in ("", mark)
    assert answer(view, "model")[0]["info"]["mark"] == view._standby["mark"]


@pytest.mark.parametrize("why", ["large", "not ours"])
def test_a_model_that_does_not_travel_stays(why, monkeypatch):
    model = text_model()
    if why == "large":
        monkeypatch.setattr(carrying, "UNASKED", 1000)
    else:
        network = tiny("llama")
        words = [f"w{i}" for i in range(network.config.vocab_size - 5)]
        model = TextModel(network, WordTokenizer.train(" ".join(words)), "tiny")
    view = Explorer(model, "w1 w2" if why == "not ours" else TEXT)
    assert view._standby["mark"] == ""
    assert answer(view, "model")[0]["message"] == "the page cannot run this model"
