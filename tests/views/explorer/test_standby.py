"""What a live Explorer sends the page for when Python does not answer."""

import json
import time

import pytest
import torch

import transformer_lab as tl
from tests.adapters.families import tiny
from tests.views.explorer.test_view import TEXT, text_model
from transformer_lab import TextModel
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views import (
    CompareView,
    Explorer,
    HeadView,
    PatchingView,
    ResidualView,
    WhyView,
)
from transformer_lab.views.pages import carrying, standing_by
from transformer_lab.views.pages.carried import exported_of


def answer(view, part=None):
    """The answer to the page's question; for a part of the model, after its export."""
    sent = []
    view.send = lambda message, buffers=None: sent.append((message, buffers))
    question = {"type": "standby", "request": 7} | ({"part": part} if part else {})
    for _ in range(2):
        view._on_question(view, question, [])
        if not sent[0][0].get("info", {}).get("later"):
            break
        while len(sent) < 2:
            time.sleep(0.05)
        sent.clear()
    return sent[0]


def test_the_page_is_given_the_model_that_read_the_text():
    model = text_model()
    exported_of(model)  # background work yields to all other tests
    view = Explorer(model, TEXT)
    mark = view._standby["mark"]
    assert len(mark) == 24 and view._standby["first"] == len(view.ids) - 1
    message, (about, weights) = answer(view, "model")
    assert message["info"]["mark"] == mark and json.loads(about)["name"] == model.name
    numbers = sum(p.numel() for p in model.model.parameters())
    assert len(weights) > 4 * numbers  # exactly, in 32 bits
    message, (script,) = answer(view, "engine")
    assert message["info"]["mark"] == mark and b"class Scheduler" in script
    assert Explorer(model, "The animal")._standby["mark"] == mark  # once per page
    # With other weights, a text is read by another model.
    with torch.no_grad():
        next(model.model.parameters()).add_(0.1)
    assert answer(view, "model")[0]["type"] == "error"
    view.text = "The animal"
    assert view._standby["mark"] not in ("", mark)
    assert answer(view, "model")[0]["info"]["mark"] == view._standby["mark"]


@pytest.mark.parametrize("why", ["large", "not known"])
def test_a_model_that_does_not_travel_stays(why, monkeypatch):
    model = text_model()
    if why == "large":
        monkeypatch.setattr(carrying, "UNASKED", 1000)
    else:
        model.model.__class__ = type("Own", (tl.Transformer,), {})
    view = Explorer(model, TEXT)
    assert view._standby["mark"] == ""
    told = {
        "large": "and up to 0 MB are kept in a page",
        "not known": "a Own does not run in a page",
    }
    assert told[why] in view._standby["why"]
    assert answer(view, "model")[0]["message"] == "the page cannot run this model"


def test_a_hugging_face_model_is_given_too():
    network = tiny("llama")
    words = [f"w{i}" for i in range(network.config.vocab_size - 5)]
    model = TextModel(network, WordTokenizer.train(" ".join(words)), "tiny")
    exported_of(model)
    view = Explorer(model, "w1 w2")
    message, (about, _) = answer(view, "model")
    assert message["info"]["mark"] == view._standby["mark"] and "graph" in json.loads(about)


def test_views_of_texts_are_given_it_too():
    model = text_model()
    mark = Explorer(model, TEXT)._standby["mark"]
    trace, other = model.trace(TEXT, keep="all"), model.trace("The animal")
    for view in (HeadView(trace), ResidualView(trace), WhyView(trace, 0, 0)):
        about = answer(view)[0]["about"]
        more = isinstance(view, WhyView)  # as it needs each source's graph
        assert (about["mark"] == mark) == (not more) and about["mark"]
        assert (about["why"], about["kind"]) == ("", model.kind)
        assert about["sides"][0]["text"] == TEXT
        assert about["sides"][0]["ids"] == model.encode(TEXT).tolist()
    compared = CompareView(trace, other)
    assert [side["text"] for side in answer(compared)[0]["about"]["sides"]] == [TEXT, "The animal"]
    message, (about, weights) = answer(compared, "model")
    assert message["info"]["mark"] == mark and json.loads(about)["name"] == model.name and weights
    desk = PatchingView(model, TEXT, TEXT.replace("animal", "street"), metric=("tired", "street"))
    about = answer(desk)[0]["about"]
    assert about["mark"] == mark and about["ids"][0] == model.encode(TEXT).tolist()
    assert answer(desk, "engine")[0]["info"]["mark"] == mark
    for view in (compared, desk):
        assert answer_of(view, {"type": "there"}) == {"type": "done", "request": 8}


def test_what_a_page_cannot_compute_it_is_not_given():
    model = text_model()
    trace = model.trace(TEXT)
    desk = PatchingView(model, TEXT, TEXT.replace("animal", "street"), metric=("tired", "street"))
    with tl.edit(model, tl.ablate(0, 0)):
        edited = model.trace(TEXT)
    bare = tl.trace(model.model, trace.tokens)
    with torch.no_grad():
        next(model.model.parameters()).add_(0.1)
    whys = {
        "has learned": HeadView(trace),
        "was edited then": HeadView(edited),
        "not read by one TextModel": HeadView(bare),
        "since the two runs": desk,
    }
    for why, view in whys.items():
        about = answer(view)[0]["about"]
        assert set(about) == {"mark", "why"} and about["mark"] == "" and why in about["why"], why
    assert answer(HeadView(bare), "model")[0]["type"] == "error"


def test_a_model_is_exported_first_and_the_page_told_when_it_can_be_had(monkeypatch):
    """Python keeps answering meanwhile, and reports when there is something to fetch."""
    model, sent, ended = text_model(), [], []
    views = Explorer(model, TEXT), HeadView(model.trace(TEXT))
    at_hand = lambda _, then, written: bool(ended) or ended.append(then)  # noqa: E731
    monkeypatch.setattr(standing_by, "graph_at_hand", at_hand)
    for view in views:
        ended.clear()
        view.send = lambda message, buffers=None: sent.append(message)
        view._on_question(view, {"type": "standby", "part": "model", "request": 7}, [])
        assert sent.pop()["info"]["later"]
        ended[0]()
        assert sent.pop() == {"type": "standby"}
        message, (about, _) = answer(view, "model")
        assert "later" not in message["info"] and json.loads(about)["name"] == model.name


def answer_of(view, question):
    sent = []
    view.send = lambda message, buffers=None: sent.append(message)
    view._on_question(view, {**question, "request": 8}, [])
    return sent[0]
