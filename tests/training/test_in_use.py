"""Views leave a model alone while it trains, and only then."""

import copy
import pickle
import threading

import pytest

import transformer_lab as tl
from tests.factories import Counting, learner
from transformer_lab.training.usage import ModelIsTraining, held_for_edits, is_training


def test_marked_from_the_first_step_to_the_end_however_it_ends():
    network = learner()
    assert not is_training(network)
    for _ in tl.train(network, Counting(), steps=3):
        assert is_training(network)
        assert not is_training(copy.deepcopy(network))
        assert not is_training(pickle.loads(pickle.dumps(network)))
        with pytest.raises(ModelIsTraining, match="training…"), held_for_edits(network):
            pass
    assert not is_training(network)
    next(iter(tl.train(network, Counting(), steps=3)))
    assert not is_training(network)
    steps = tl.train(network, Counting(), steps=3)
    next(steps)
    with pytest.raises(RuntimeError, match="mine"):
        steps.throw(RuntimeError("mine"))
    assert not is_training(network)
    with held_for_edits(network), held_for_edits(network):
        pass


def test_a_second_training_of_a_model_ends_the_first():
    """Two loops would change the same weights; a failed cell's loop must not block a new one."""
    network = learner()
    first = tl.train(network, Counting(), steps=3)
    next(first)
    assert [step.index for step in tl.train(network, Counting(), steps=2)] == [1, 2]
    assert not is_training(network)
    with pytest.raises(
        tl.TrainingStopped, match=r"ended by another tl\.train of this model at step 1"
    ):
        next(first)
    second, refused = tl.train(network, Counting(), steps=3), []
    next(second)

    def elsewhere():
        with pytest.raises(ModelIsTraining, match="training…") as caught:
            next(tl.train(network, Counting(), steps=1))
        refused.append(caught)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(30)
    assert refused and [step.index for step in second] == [2, 3]


def test_training_waits_for_an_edit_that_has_begun():
    network = learner()
    begun, go_on, order = threading.Event(), threading.Event(), []

    def view():
        with held_for_edits(network):
            begun.set()
            go_on.wait(10)
            order.append("edited")

    thread = threading.Thread(target=view)
    thread.start()
    assert begun.wait(10)
    threading.Timer(0.2, go_on.set).start()
    for _ in tl.train(network, Counting(), steps=1):
        order.append("trained")
    thread.join(10)
    assert order == ["edited", "trained"]
