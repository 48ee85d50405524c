"""Facts that an Explorer computes by itself, in a thread that yields to everything else."""

import threading

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.views.explorer.test_view import FRENCH, TEXT, text_model
from transformer_lab.heads.measures import all_scores
from transformer_lab.training.usage import held_for_edits, is_wanted
from transformer_lab.views import Explorer
from transformer_lab.views.explorer import background, facts, session, singles
from transformer_lab.views.explorer.background import Background, Interrupted

LONG = 20  # seconds that a test waits at most


@pytest.fixture(autouse=True)
def no_rest(monkeypatch):
    monkeypatch.setattr(background, "REST", 0.0)
    monkeypatch.setattr(background, "AGAIN", 0.001)


def listened(view):
    """Record messages that a view sends unasked."""
    sent = []
    view.send = lambda message, buffers=None: sent.append(message)
    return sent


def found_out(view):
    view._answer({"type": "facts"})
    assert view._facts.background.wait(LONG)


@pytest.mark.parametrize("kind", ["decoder", "encoder-decoder"])
def test_every_head_is_measured_and_told_in_small_messages(kind):
    model = text_model(kind)
    view = Explorer(model, TEXT, *([FRENCH] if kind != "decoder" else []), layer=1, head=2)
    sent = listened(view)
    assert not view._facts.background.is_running and not view._effects
    found_out(view)
    shown = view.kind
    told = {name: one for message in sent for name, one in message["found"].items()}
    assert list(sent[0]["found"]) == [f"{shown}/1/2"], "the head on view comes first"
    assert max(len(message["found"]) for message in sent) <= singles.IN_A_PASS
    assert told == view._effects and len(told) == 8 * len(view._kinds)
    assert {message["of"] for message in sent} == {view._facts_of}
    for name, effect in told.items():
        where, layer, head = name.split("/")
        alone = Explorer(model, TEXT, *([FRENCH] if kind != "decoder" else []), layer=0, head=0)
        outcome = alone.effect_of(int(layer), int(head), where)
        assert effect["after"] == pytest.approx(outcome.likeliest.after, abs=1e-6)
        assert effect["kl"] == pytest.approx(outcome.kl, abs=1e-6)
        assert effect["token"] == outcome.likeliest.token
    estimates = np.frombuffer(view._estimates, "<f4").reshape(len(view._kinds), 2, 4)
    scores, at = np.frombuffer(view._scores, "<f4"), 0
    for i, each in enumerate(view._kinds):
        exact = tl.estimate_effects(
            model,
            view.session.reading.ids,
            view.session.reading.target_ids,
            kind=each,
            position=view.position,
            measure="probability",
        ).values
        np.testing.assert_allclose(estimates[i], exact, atol=1e-6)
        expected = all_scores(view.trace, kind=each)
        assert [name for name, *_ in view._score_names[each]] == list(expected)
        for score in expected.values():
            np.testing.assert_allclose(scores[at : at + 8].reshape(2, 4), score, atol=1e-6)
            at += 8
    assert at == len(scores)


@pytest.mark.parametrize("quick", [True, False])
def test_it_begins_with_the_head_that_matters_most(monkeypatch, quick):
    """By effect, measured or (if too slow) estimated, times its attention to other tokens."""
    model = text_model()
    monkeypatch.setattr(singles, "MEASURED_WITHIN", 100.0 if quick else 0.0)
    view = Explorer(model, TEXT)
    last, score = view.position, {}
    estimates = tl.estimate_effects(model, TEXT, measure="probability").values
    before = view.trace.logits[0, last].softmax(-1)
    for layer, head in np.ndindex(2, 4):
        with tl.edit(model, tl.ablate(layer, head)):
            after = model.trace(TEXT).logits[0, last].softmax(-1)
        change = (after - before)[before.argmax()] if quick else estimates[layer, head]
        score[layer, head] = abs(float(change)) * (
            1 - float(view.trace.pattern(layer, head)[last, last])
        )
    assert (view.layer, view.head) == max(score, key=score.get)
    assert quick or (view.layer, view.head) != (0, 0), "or this shows nothing"
    monkeypatch.setattr(singles, "MEASURED_WITHIN", 0.0)
    view = Explorer(model, TEXT)
    chosen = Explorer(model, TEXT, layer=0)
    assert (chosen.layer, chosen.head) == (0, 0)
    assert len(view._estimates) == 4 * 8 and chosen._estimates == b""


def test_a_page_knows_whether_every_head_will_be_measured():
    """Until then it says that it measures; where estimates remain, it offers them as such."""
    view = Explorer(text_model(), TEXT)
    assert view._about["measures_all"]
    view.session.reading.seconds = 3 * session.UNASKED / 7  # of 8 heads
    assert not view.session.about("")["measures_all"]
    assert not Explorer(text_model("encoder"), TEXT)._about["measures_all"]  # no mask


@pytest.mark.parametrize("why", ["slow", "no head", "no mask"])
def test_where_nothing_can_be_estimated_it_begins_with_the_first(why, monkeypatch):
    kind = "decoder" if why == "slow" else "encoder"
    model = text_model(kind, **({"head": False} if why == "no head" else {}))
    if why == "slow":
        monkeypatch.setattr(facts, "QUICK", 0.0)
    view = Explorer(model, TEXT)
    assert (view.layer, view.head) == (0, 0) and view._estimates == b""


def test_a_model_without_a_head_is_measured_by_its_states():
    view = Explorer(text_model("encoder", head=False), TEXT)
    sent = listened(view)
    found_out(view)
    assert len(view._effects) == 8 and all(e["mean"] is not None for e in view._effects.values())
    assert len(sent) == 8 and view._estimates == b"" and view._scores


def test_nothing_to_predict_is_not_measured():
    view = Explorer(text_model("encoder"), TEXT)
    sent = listened(view)
    found_out(view)
    assert not sent and not view._effects and view._scores


def test_another_position_and_another_text_are_measured_anew():
    view = Explorer(text_model(), TEXT)
    found_out(view)
    first, of = dict(view._effects), view._facts_of
    sent = listened(view)
    view.position = 3
    assert view._facts.background.wait(LONG) and view._facts_of == of + 1
    assert {m["of"] for m in sent} == {of + 1} and view._effects != first
    view.text = "it was tired ."
    assert view._facts.background.wait(LONG) and view._facts_of == of + 2
    assert len(view._effects) == 8
    view.edits = [tl.ablate(0, 1)]
    assert view._facts_of == of + 2, "edits change nothing of what single heads do"


def test_a_click_ends_a_pass_between_two_layers_and_loses_nothing(monkeypatch):
    model = text_model()
    view = Explorer(model, TEXT, layer=0, head=0)
    begun, layers = threading.Event(), []
    check = view._facts.background.check

    def slow():
        """At the third check, wait until somebody wants the model."""
        layers.append(1)
        if len(layers) == 3:
            begun.set()
            assert waits.wait(LONG)
        check()

    waits = threading.Event()
    monkeypatch.setattr(view._facts.background, "check", slow)
    view._answer({"type": "facts"})
    assert begun.wait(LONG)
    clicked = threading.Thread(target=lambda: setattr(view, "edits", [tl.ablate(1, 1)]))
    clicked.start()
    while not is_wanted(model.model):
        pass
    waits.set()
    clicked.join(LONG)
    assert view.effect is not None and not clicked.is_alive()
    assert view._facts.background.wait(LONG) and len(view._effects) == 8


def test_edits_that_a_cell_has_in_force_are_no_heads_doing():
    model = text_model()
    expected = Explorer(model, TEXT, layer=0, head=0)
    found_out(expected)
    view = Explorer(model, TEXT, layer=0, head=0)
    with tl.edit(model, tl.ablate(1)):
        view._answer({"type": "facts"})
        assert not view._facts.background.wait(0.3) and not view.session.reading.effects
    assert view._facts.background.wait(LONG)
    for name, effect in view._effects.items():
        assert effect["after"] == pytest.approx(expected._effects[name]["after"], abs=1e-6)


def test_a_closed_view_leaves_no_thread():
    before = threading.active_count()
    model = text_model()
    view = Explorer(model, TEXT, layer=0)
    with held_for_edits(model.model):
        view._answer({"type": "facts"})
        assert view._facts.background.is_running
        view.close()
    assert threading.active_count() == before and not view._effects
    view._facts.background.wake()
    assert threading.active_count() == before


def test_what_goes_wrong_is_told_and_ends_the_work(monkeypatch):
    monkeypatch.setattr(singles, "MEASURED_WITHIN", 0.0)
    view = Explorer(text_model(), TEXT)
    sent = listened(view)

    def broken(self, *_):
        raise RuntimeError("no room for it")

    monkeypatch.setattr(singles.Singles, "measure", broken)
    found_out(view)
    assert [message.get("failed") for message in sent] == ["no room for it"]


def test_slow_models_are_measured_where_it_matters_most(monkeypatch):
    monkeypatch.setattr(facts, "UNASKED", 0.0)
    monkeypatch.setattr(singles, "MEASURED_WITHIN", 0.0)
    view = Explorer(text_model(), TEXT)
    found_out(view)
    assert list(view._effects) == [f"decoder/{view.layer}/{view.head}"]


def test_steps_go_on_until_there_is_none_and_begin_again_when_woken():
    left, failed = [3], []
    model = torch.nn.Linear(1, 1)

    def step():
        if left[0] == 2:
            left[0] = 1
            raise Interrupted
        left[0] -= 1
        return left[0] > 0

    work = Background(model, step, failed.append)
    work.wake()
    assert not work.is_running, "nothing is done before it is opened"
    work.open()
    assert work.wait(LONG) and left == [0]
    left[0] = 4
    work.wake()
    assert work.wait(LONG) and left == [0] and not failed


def test_patient_work_waits_for_others_and_is_not_waited_for():
    model = torch.nn.Linear(1, 1)
    entered, leave = threading.Event(), threading.Event()

    def patient():
        with held_for_edits(model, patient=True):
            entered.set()
            leave.wait(LONG)

    threads = [threading.Thread(target=patient) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert entered.wait(LONG) and not is_wanted(model), (
        "two that are patient do not hurry each other"
    )
    leave.set()
    for thread in threads:
        thread.join(LONG)


def test_a_saved_page_holds_scores_and_estimates():
    view = Explorer(text_model(), TEXT)
    state = view._page_state(effects=False)
    assert len(state["_estimates"]) == 4 * 8 and state["_scores"] and state["_score_names"]
