"""However training stops, it keeps its results and leaves nothing behind."""

import io
import math
import os
import signal
import threading
import time
import traceback

import pytest
import torch

from tests.factories import Counting, Watch, learner, weights
from transformer_lab.optim import AdamW
from transformer_lab.training.loop import TrainingStopped, train
from transformer_lab.training.objective import CrossEntropy
from transformer_lab.training.state import Step

# ---------------------------------------------------------------- stopping


@pytest.mark.parametrize("how", ["finish", "break", "error", "body error"])
def test_the_mode_returns_however_training_ends(how):
    model, watch = learner(), Watch()
    model.eval()
    model.decoder.blocks[0].train()
    before = {name: m.training for name, m in model.named_modules()}
    handler = signal.getsignal(signal.SIGINT)

    def loss(m, batch):
        assert m.training
        value = CrossEntropy()(m, batch)
        return value * (math.nan if how == "error" and watch.events[-1].index == 1 else 1)

    try:
        for _ in train(
            model, Counting(), steps=3, watch=watch, loss=loss if how == "error" else None
        ):
            if how == "break":
                break
            if how == "body error":
                raise KeyError("mine")
    except (FloatingPointError, KeyError):
        pass
    assert {name: m.training for name, m in model.named_modules()} == before
    assert signal.getsignal(signal.SIGINT) == handler
    assert all(p.grad is None for p in model.parameters())
    kind, reason = watch.events[-1]
    assert kind == "finish"
    expected = {
        "finish": "finished",
        "break": "ended early at step 1",
        "error": "failed at step 1",
        "body error": "ended early at step 1",
    }[how]
    assert reason.startswith(expected)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("where", ["body", "data", "forward", "backward", "update", "watch"])
def test_an_interrupt_stops_between_whole_steps(where, monkeypatch):
    model, watch, done = learner(dropout=0.2), Watch(), []
    source = Counting()
    optimizer = type(AdamW().build(model, 1)[0])
    original = optimizer.step

    class Data:
        def batch(self, step):
            if where == "data" and step == 2:
                interrupt()
            return source.batch(step)

    def loss(m, batch):
        value = CrossEntropy()(m, batch)
        if where == "forward" and len(done) == 2:
            interrupt()
        if where == "backward" and len(done) == 2:
            value.register_hook(lambda g: interrupt())
        return value

    def step(self, *args, **kwargs):
        if where == "update" and len(done) == 1:
            interrupt()  # waits until the step is whole
        return original(self, *args, **kwargs)

    monkeypatch.setattr(optimizer, "step", step)
    if where == "watch":
        watch.update = lambda step, m: interrupt() if step.index == 2 else None
    with pytest.raises(TrainingStopped, match="Training stopped at step 2; history kept") as caught:  # noqa: PT012
        for s in train(model, Data(), steps=5, watch=watch, loss=loss):
            done.append(s)
            if where == "body" and s.index == 2:
                interrupt()
                time.sleep(5)  # interrupted before it ends
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert watch.events[-1] == ("finish", "stopped at step 2; history kept")
    assert model.training
    monkeypatch.undo()
    other = learner(dropout=0.2)
    for s in train(other, source, steps=5):
        if s.index == 2:
            break
    assert torch.equal(weights(model), weights(other))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_going_on_after_a_stop_says_stopped_again():
    steps = train(learner(), Counting(), steps=5)
    next(steps)
    with pytest.raises(TrainingStopped):  # noqa: PT012
        interrupt()
        time.sleep(5)
    with pytest.raises(TrainingStopped, match="step 1"):
        next(steps)


def test_two_trainings_that_take_turns_do_not_disturb_each_other():
    alone = [learner(dropout=0.3), learner(dropout=0.3)]
    torch.manual_seed(5)
    list(train(alone[0], Counting(), steps=3))
    torch.manual_seed(5)
    list(train(alone[1], Counting(), steps=5))
    together = [learner(dropout=0.3), learner(dropout=0.3)]
    torch.manual_seed(5)
    first = train(together[0], Counting(), steps=3)
    second = train(together[1], Counting(), steps=5)
    next(first)
    torch.manual_seed(5)
    next(second)
    list(first), list(second)
    assert torch.equal(weights(alone[0]), weights(together[0]))
    assert torch.equal(weights(alone[1]), weights(together[1]))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_stop_is_one_line_in_a_notebook():
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    try:
        try:
            raise TrainingStopped("Training stopped at step 480; history kept")
        except TrainingStopped as error:
            shown = io.StringIO()
            shell._showtraceback = lambda etype, value, stb: shown.write("\n".join(stb))
            shell.showtraceback((type(error), error, error.__traceback__))
    finally:
        InteractiveShell.clear_instance()
    assert shown.getvalue() == "TrainingStopped: Training stopped at step 480; history kept"


def test_trains_in_a_thread_too():
    model, result = learner(), []

    def work():
        try:
            result.extend(train(model, Counting(), steps=2))
        except BaseException:
            result.append(traceback.format_exc())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [type(r) for r in result] == [Step, Step], result


def test_a_loss_that_is_not_finite_keeps_the_last_good_weights():
    model = learner()

    def loss(m, batch):
        value = CrossEntropy()(m, batch)
        return value / 0 if len(seen) == 2 else value

    seen = []
    with pytest.raises(FloatingPointError, match=r"the loss is inf at step 3.*of step 2"):  # noqa: PT012
        for step in train(model, Counting(), steps=5, loss=loss):
            seen.append(step)
            good = weights(model)
    assert torch.equal(weights(model), good)
