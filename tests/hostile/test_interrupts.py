"""Ctrl+C or a timeout during any operation on a model leaves nothing on it, or in the process."""

import random
import signal
import threading

import pytest
import torch

import transformer_lab as tl
from tests.hostile.interrupts import (
    MODELS,
    OPERATIONS,
    SIGNALS,
    Before,
    Killer,
    Subject,
    Timeout,
    at_event,
    does,
    held,
    n_events,
    raising,
)
from tests.missing import package
from transformer_lab.adapters.interrupts import no_grad, sheltered, together
from transformer_lab.adapters.settings import quiet

EVENTS = 12  # per operation and model
SLOW = {
    "explore": 3,
    "edge_scores": 4,
    "grid": 4,
    "table": 4,
    "circuits": 4,
    "path": 4,
    "scores": 4,
}


@pytest.fixture(scope="module", params=MODELS)
def subject(request):
    if request.param != "ours":
        package("transformers")
    return Subject(request.param)


def skip_unless_done(subject, what):
    work = lambda: OPERATIONS[what](subject)  # noqa: E731
    if why := does(subject, OPERATIONS[what]):
        pytest.skip(why)
    return work


@pytest.mark.parametrize("what", OPERATIONS)
def test_an_interrupt_at_any_step_leaves_nothing(subject, what):
    work = skip_unless_done(subject, what)
    before, n = Before(subject), n_events(work)
    rng = random.Random(f"{subject.name} {what}")
    for i, number in enumerate(rng.sample(range(1, n), min(n - 1, SLOW.get(what, EVENTS)))):
        at_event(work, number, SIGNALS[i % len(SIGNALS)])
        assert before.left() == [], f"event {number} of {n}, SIG{SIGNALS[i % len(SIGNALS)]}"


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("what", ["edit", "trace"])
def test_an_interrupt_at_every_step_of_our_own_model_leaves_nothing(what, name):
    """At entry and exit of edits and traces; in between, torch computes."""
    subject = Subject("ours")
    work, before = lambda: OPERATIONS[what](subject), Before(subject)
    n, first = n_events(work), 1 + SIGNALS.index(name)
    numbers = range(first, n, 3 * len(SIGNALS))
    inside = sum(at_event(work, i, name) and not _left(before, i) for i in numbers)
    assert inside > len(numbers) / 2


def _left(before, number):
    left = before.left()
    assert left == [], f"event {number}"
    return left


@pytest.mark.parametrize("name", SIGNALS)
def test_an_interrupt_from_outside_leaves_nothing(subject, name):
    killer, before, rng = Killer(name), Before(subject), random.Random(0)
    try:
        for what in ("trace", "edits", "gradients", "sweep"):
            for _ in range(1):
                killer.interrupt(lambda w=what: OPERATIONS[w](subject), rng.uniform(0, 0.02))
                assert before.left() == []
    finally:
        killer.close()


# -- the mechanism -----------------------------------------------------------------------------


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(params=SIGNALS)
def interrupt(request):
    """A function that sends this process a signal."""
    with raising(request.param) as number:
        yield lambda: signal.raise_signal(number)


def handlers():
    return [signal.getsignal(getattr(signal, f"SIG{name}")) for name in SIGNALS]


INTERRUPTED = (KeyboardInterrupt, Timeout)


def test_an_interrupt_waits_for_the_end_of_an_entry_and_of_an_exit(interrupt):
    seen, handler = [], handlers()

    @sheltered
    def registered(entry, leaving):
        seen.append("in")
        if entry:
            interrupt()
        try:
            yield
        finally:
            if leaving:
                interrupt()
            seen.append("out")

    for at in ((True, False), (False, True)):
        seen.clear()
        with pytest.raises(INTERRUPTED), registered(*at):
            seen.append("body")
        assert seen == (["in", "out"] if at[0] else ["in", "body", "out"])
        assert handlers() == handler
    # Nested, it waits for the outermost.
    seen.clear()
    with pytest.raises(INTERRUPTED), together(registered(True, False), registered(False, False)):
        seen.append("body")
    assert seen == ["in", "in", "out", "out"]
    assert handlers() == handler


def test_gradients_are_on_again_where_torch_was_interrupted_as_it_switched_them_on(interrupt):
    def interrupted():
        torch.set_grad_enabled(False)
        interrupt()

    with pytest.raises(INTERRUPTED), together():
        interrupted()
    assert torch.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert torch.is_grad_enabled()


def test_signals_that_wait_are_all_handled():
    seen = []
    before = [signal.getsignal(getattr(signal, f"SIG{name}")) for name in SIGNALS]
    for name in SIGNALS:
        signal.signal(getattr(signal, f"SIG{name}"), lambda n, _: seen.append(n) or int("x"))

    @sheltered
    def registered():
        for name in SIGNALS:
            signal.raise_signal(getattr(signal, f"SIG{name}"))
        assert seen == []
        yield

    try:
        with pytest.raises(ValueError, match="invalid literal"), registered():
            pass
    finally:
        for name, handler in zip(SIGNALS, before, strict=True):
            signal.signal(getattr(signal, f"SIG{name}"), handler)
    assert seen == [getattr(signal, f"SIG{name}") for name in SIGNALS]


def test_a_handler_that_raises_nothing_restores_nothing():
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with together():
            torch.set_grad_enabled(False)
            ctrl_c()
        assert not torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)
        signal.signal(signal.SIGINT, before)


def test_handlers_of_others_are_called_and_come_back():
    called = []
    before = signal.signal(signal.SIGINT, lambda *_: called.append(1))
    try:
        with together():
            ctrl_c()
            another = signal.signal(signal.SIGINT, before)
            with together(), pytest.raises(KeyboardInterrupt):
                ctrl_c()
            signal.signal(signal.SIGINT, another)
        assert called == [1]
        ctrl_c()
        assert called == [1, 1]
    finally:
        signal.signal(signal.SIGINT, before)


def test_context_managers_may_be_left_by_another_thread():
    handler = signal.getsignal(signal.SIGINT)
    opened = together()
    opened.__enter__()
    thread = threading.Thread(target=lambda: opened.__exit__(None, None, None))
    thread.start()
    thread.join()
    with together():
        pass
    assert signal.getsignal(signal.SIGINT) == handler
    model = MODELS["ours"]()
    found = []
    thread = threading.Thread(target=lambda: found.append(tl.trace(model, torch.arange(5))))
    thread.start()
    thread.join()
    assert found


def test_an_interrupt_of_logging_leaves_its_lock_to_others():
    """`Logger.setLevel` acquires it with no `finally`, and every trace silences transformers."""
    package("transformers")

    def speak():
        with quiet():
            pass

    for number in range(1, n_events(speak)):
        at_event(speak, number)
        assert held(None) == []


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_a_block_left_in_training_is_traced_without_dropout(name):
    if name != "ours":
        package("transformers")
    subject = Subject(name)
    block = max(
        (m for m in subject.model.modules()), key=lambda m: isinstance(m, torch.nn.ModuleList)
    )[1]
    for module in subject.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    expected = tl.trace(subject.model, subject.clean)
    block.train()
    twins = [tl.trace(subject.model, subject.clean) for _ in range(2)]
    assert block.training and not subject.model.training
    for twin in twins:
        assert torch.equal(twin.logits, expected.logits)
        assert twin.network.module is not subject.model
        weights = zip(twin.network.module.parameters(), subject.model.parameters(), strict=True)
        assert all(x is y for x, y in weights)  # no second copy of the weights
    sweeps = [tl.sweep_heads(subject.model, subject.clean).values for _ in range(2)]
    assert torch.equal(*sweeps)
    with tl.edit(subject.model, tl.ablate(1, 0)):
        edited = tl.trace(subject.model, subject.clean).logits
    assert not torch.equal(edited, expected.logits)
