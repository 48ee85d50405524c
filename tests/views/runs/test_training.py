import threading
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.factories import CountingBatches, learner
from transformer_lab.training.state import Step
from transformer_lab.views import TrainingView
from transformer_lab.views.shared.javascript import call

small = partial(learner, vocab_size=20, n_ctx=16)


def test_a_run_is_shown_to_its_last_step():
    view, model = TrainingView(torch.arange(6)), small()
    assert "Nothing has been learned yet" in view.sentence
    for _ in tl.train(
        model, CountingBatches(), steps=30, watch=view, eval_batches=[CountingBatches().batch(99)]
    ):
        pass
    assert [s.index for s in view.history] == list(range(1, 31))
    curve = np.frombuffer(view._curve, "<f4").reshape(-1, 2)
    np.testing.assert_allclose(curve, [(s.index, s.loss) for s in view.history], rtol=1e-6)
    assert view._status["state"] == "finished"
    assert view._note == "The heads on the probe, at step 30."
    model.eval()
    torch.testing.assert_close(view.row(4), tl.trace(model, torch.arange(6)).pattern(0, 0)[4])
    assert view.sentence.startswith("Trained for 30 steps in ")
    assert f"{view.history[-1].eval_loss:.2f}" in view.sentence
    assert view.png()[:4] == b"\x89PNG"


def test_a_notebook_keeps_the_picture_of_the_end_and_waits_for_no_other(monkeypatch):
    shown = []

    class Handle:
        def update(self, data, metadata, raw):
            shown.append((data, metadata))

    def display(data, metadata, raw, display_id):
        shown.append((data, metadata))
        return Handle()

    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=None))
    monkeypatch.setattr("IPython.display.display", display)
    view = TrainingView(torch.arange(6))
    for _ in tl.train(small(), CountingBatches(), steps=3, watch=view):
        assert len(shown) == 1
    (first, about), (last, about_last) = shown
    assert first["text/plain"] == "<TrainingView: Training: step 0 of 3.>"
    assert "image/png" not in first and "image/png" not in about
    picture, _ = view._repr_mimebundle_()
    assert bool(last["image/png"] == picture["image/png"])  # a diff of bytes takes minutes
    assert about_last["image/png"]["alt"].startswith(view.sentence)
    assert last["text/plain"] == repr(view)
    view._ipython_display_()  # in a separate cell
    assert shown[-1] == (last, about_last)


def test_watching_changes_nothing_that_is_learned():
    losses = []
    for watch in (None, TrainingView(torch.arange(6))):
        torch.manual_seed(1)
        steps = list(tl.train(small(dropout=0.3), CountingBatches(), steps=12, watch=watch))
        losses.append([s.loss for s in steps])
    assert losses[0] == losses[1]


def test_an_interrupt_keeps_the_history_and_says_so():
    view, model = TrainingView(torch.arange(6)), small()

    def run():
        for step in tl.train(model, CountingBatches(), steps=50, watch=view):
            if step.index == 7:
                raise_keyboard_interrupt()

    with pytest.raises(tl.TrainingStopped):
        run()
    assert len(view.history) == 7
    assert view._status["state"] == "stopped"
    assert "stopped at step 7; history kept" in view.sentence


def raise_keyboard_interrupt():
    import os
    import signal

    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):  # the signal is handled between two bytecodes
        pass


def test_the_page_is_told_at_most_ten_times_a_second(monkeypatch):
    view = TrainingView()
    now = [0.0]
    monkeypatch.setattr("transformer_lab.views.runs.training.time.monotonic", lambda: now[0])
    told = []

    def publish(_status=None, **_):
        told.extend([_status["step"]] if _status else [])

    monkeypatch.setattr(view, "_publish", publish)
    view.start(torch.nn.Linear(1, 1), 1000)
    for index in range(1, 1001):
        now[0] += 0.01
        view.update(Step(index, 1.0, 1e-3, 10.0, index * 0.01, 1.0), None)
    assert 90 <= len(told) <= 102
    view.finish("finished")
    assert told[-1] == 1000


def test_long_histories_are_drawn_as_means_of_equal_stretches():
    view = TrainingView()
    for index in range(1, 6001):
        view.history.append(Step(index, float(index % 2), 1e-3, 1.0, 1.0, 1.0))
    view._tell("training")
    curve = np.frombuffer(view._curve, "<f4").reshape(-1, 2)
    assert curve.shape == (600, 2)
    np.testing.assert_allclose(curve[:, 1], 0.5)


def test_a_resumed_run_goes_on_from_its_step():
    view = TrainingView()
    view.start(torch.nn.Linear(1, 1), 9)
    for index in (1, 2, 3, 2, 3, 4):
        view.update(Step(index, 1.0, 1e-3, 1.0, 1.0, 1.0), None)
    assert [s.index for s in view.history] == [1, 2, 3, 4]


def test_training_in_a_thread_tells_what_it_does(monkeypatch):
    """A context of the embedded engine belongs to one thread; nothing that a step does needs one."""
    view, told, calls = TrainingView(torch.arange(6)), [], []
    monkeypatch.setattr("transformer_lab.views.runs.training.SHORTEST_PAUSE", 0)

    def counted(*given):
        calls.append(given[1])
        return call(*given)

    monkeypatch.setattr("transformer_lab.views.shared.scripted.call", counted)

    def train():
        for step in tl.train(small(), CountingBatches(), steps=20, watch=view):
            if step.index == 10:
                told.append(view.sentence)

    thread = threading.Thread(target=train)
    thread.start()
    while thread.is_alive():
        assert view.sentence.startswith(("Nothing has", "Training: step ", "Trained for 20 steps"))
        thread.join(0.01)
    assert "Training: step 10 of 20. The loss went from " in told[0]
    assert view.sentence.startswith("Trained for 20 steps in ")
    calls.clear()
    for _ in tl.train(small(), CountingBatches(), steps=20, watch=view):
        pass
    assert not calls
    assert view.run_sentence.startswith("Step 20 of 20")


def test_text_probes_need_a_tokenizer_and_use_it():
    with pytest.raises(ValueError, match=r"probe='for key' is text; give tokenizer= or corpus="):
        TrainingView("for key")
    with pytest.raises(ValueError, match="probe is empty"):
        TrainingView(torch.tensor([], dtype=torch.long))
    tokenizer = tl.tokenizers.CharTokenizer.train("for key in keys")
    view = TrainingView("for key", tokenizer=tokenizer)
    torch.manual_seed(0)
    config = tl.ModelConfig(vocab_size=tokenizer.vocab_size, n_layers=1, n_heads=2, d_model=16)
    view.start(tl.Transformer(config), 10)
    assert view._kinds["decoder"]["query_tokens"] == list("for·key")


def test_a_probe_that_does_not_fit_is_refused_before_training():
    view = TrainingView(torch.arange(30) % 20)
    with pytest.raises(ValueError, match="16"):
        next(iter(tl.train(small(), CountingBatches(), steps=5, watch=view)))
