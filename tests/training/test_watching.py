"""Objects that watch training: one or several, one that fails, and the numbers trackers receive."""

import inspect
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

import transformer_lab as tl
from tests.factories import Counting, Watch, learner, weights
from tests.missing import package
from transformer_lab.training import watching
from transformer_lab.training.watching import LOGGED, TensorBoard, Trackio, WandB


class Service(ModuleType):
    """A fake wandb or trackio: `init` takes its keywords, and returns a run that records calls."""

    def __init__(self, name):
        super().__init__(name)
        self.inits, self.logs, self.ends, self.fail_at = [], [], [], None

    def begin(self, **options):
        self.inits.append(options)
        return self.Run(self)


class WandBRun:
    def __init__(self, service):
        self.service = service

    def log(self, data, step=None, commit=None):
        if step == self.service.fail_at:
            raise ConnectionError("the server is gone")
        self.service.logs.append((step, data))

    def finish(self, exit_code=None):
        self.service.ends.append(exit_code)


class TrackioRun:
    def __init__(self, service):
        self.service = service

    def log(self, metrics, step=None):
        WandBRun.log(self, metrics, step)

    def finish(self):
        self.service.ends.append(0)


class WandBService(Service):
    Run = WandBRun

    def init(
        self,
        entity=None,
        project=None,
        dir=None,
        id=None,
        name=None,
        config=None,
        mode=None,
        resume=None,
    ):
        return self.begin(project=project, name=name, config=config)


class TrackioService(Service):
    Run = TrackioRun

    def init(self, project, name=None, group=None, space_id=None, config=None, resume="never"):
        return self.begin(project=project, name=name, config=config)


SERVICES = {"wandb": (WandB, WandBService), "trackio": (Trackio, TrackioService)}


@pytest.fixture(params=SERVICES)
def service(request, monkeypatch):
    """(the watch's class, its fake library)"""
    kind, library = SERVICES[request.param]
    library = library(request.param)
    monkeypatch.setitem(sys.modules, request.param, library)
    return kind, library


def test_the_stand_ins_are_called_as_the_libraries_are():
    wandb = package("wandb")
    for ours, theirs in (
        (WandBService.init, wandb.init),
        (WandBRun.log, wandb.Run.log),
        (WandBRun.finish, wandb.Run.finish),
    ):
        ours, theirs = (list(inspect.signature(one).parameters) for one in (ours, theirs))
        ours = [name for name in ours if name != "self"]
        theirs = [name for name in theirs if name != "self"]
        assert set(ours) <= set(theirs) and ours[0] == theirs[0]


@pytest.mark.needs("trackio")
def test_trackio_itself_holds_what_it_was_given(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))  # read when trackio is imported
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    trackio = package("trackio")
    for ours, theirs in (
        (TrackioService.init, trackio.init),
        (TrackioRun.log, trackio.Run.log),
        (TrackioRun.finish, trackio.Run.finish),
    ):
        ours, theirs = (list(inspect.signature(one).parameters) for one in (ours, theirs))
        assert {*ours} - {"self"} <= {*theirs}
    model, batches = learner(), [Counting().batch(9)]
    watch = Trackio("letters", name="first", config={"seed": 3})
    training = tl.train(model, Counting(), steps=4, eval_batches=batches, eval_every=2, watch=watch)
    wanted = [{"step": step.index, **watching.numbers(step)} for step in training]
    from trackio.sqlite_storage import SQLiteStorage

    logs = SQLiteStorage.get_logs("letters", "first")
    assert [{n: x for n, x in log.items() if n != "timestamp"} for log in logs] == wanted
    config = SQLiteStorage.get_run_config("letters", "first")
    kept = {"model": model.config.to_dict(), "steps": 4, "seed": 3}
    assert {n: config[n] for n in kept} == kept


def test_a_tracker_gets_the_settings_every_step_and_the_end(service):
    kind, library = service
    model = learner()
    steps = list(
        tl.train(
            model,
            Counting(),
            steps=4,
            eval_batches=[Counting().batch(9)],
            eval_every=2,
            watch=kind("letters", name="first", config={"seed": 3}),
        )
    )
    config = {"model": model.config.to_dict(), "steps": 4, "seed": 3}
    assert library.inits == [{"project": "letters", "name": "first", "config": config}]
    wanted = [
        (s.index, {n: getattr(s, n) for n in LOGGED if getattr(s, n) is not None}) for s in steps
    ]
    assert library.logs == wanted and library.ends == [0]
    assert ["eval_loss" in numbers for _, numbers in library.logs] == [False, True, False, True]


@pytest.mark.badinput
def test_a_tracker_that_fails_is_named_once_and_training_continues(service):
    kind, library = service
    library.fail_at = 2
    plain, watched, beside = learner(), learner(), Watch()
    list(tl.train(plain, Counting(), steps=4))
    with pytest.warns(UserWarning, match="failed") as told:
        steps = list(tl.train(watched, Counting(), steps=4, watch=[kind("letters"), beside]))
    assert [str(warning.message) for warning in told] == [
        f"{kind.__name__} failed at step 2 (ConnectionError: the server is gone); it is not updated again, "
        "and training continues"
    ]
    assert len(steps) == 4 and beside.events == [("start", 4), *steps, ("finish", "finished")]
    assert [step for step, _ in library.logs] == [1] and library.ends == [0]
    for ours, theirs in zip(weights(watched), weights(plain), strict=True):
        assert ours.equal(theirs)


@pytest.mark.badinput
def test_an_end_that_fails_is_named_and_the_others_end():
    class Fails(Watch):
        def finish(self, reason):
            raise OSError("no space")

    after = Watch()
    with pytest.warns(
        UserWarning, match=r"^Fails failed at the end of training \(OSError: no space\)"
    ):
        list(tl.train(learner(), Counting(), steps=2, watch=[Fails(), after]))
    assert after.events[-1] == ("finish", "finished")


class Unwritable(Exception):
    def __str__(self):
        raise RuntimeError("no str")


@pytest.mark.badinput
def test_an_error_that_cannot_be_written_does_not_stop_training():
    class Fails(Watch):
        def update(self, step, model):
            raise Unwritable

    with pytest.warns(UserWarning, match=r"Fails failed at step 1 \(Unwritable: Unwritable\)"):
        assert len(list(tl.train(learner(), Counting(), steps=3, watch=Fails()))) == 3

    def loss(output, batch):
        raise Unwritable

    watch = Watch()
    with pytest.raises(Unwritable):
        list(tl.train(learner(), Counting(), steps=3, watch=watch, loss=loss))
    assert watch.events[-1] == ("finish", "failed at step 0: Unwritable: Unwritable")


@pytest.mark.parametrize("where", ["start", "update", "finish", "body"])
def test_gradients_that_are_left_switched_off_are_on_in_the_next_step(where):
    plain, model, watch = learner(), learner(), Watch()
    off = lambda *_: torch.set_grad_enabled(False)  # noqa: E731
    if where != "body":
        setattr(watch, where, off)
    list(tl.train(plain, Counting(), steps=3))
    try:
        for _ in tl.train(model, Counting(), steps=3, watch=watch):
            if where == "body":
                off()
        assert torch.is_grad_enabled() == (where != "body")  # the caller's own
    finally:
        torch.set_grad_enabled(True)
    for ours, theirs in zip(weights(model), weights(plain), strict=True):
        assert ours.equal(theirs)


@pytest.mark.badinput
def test_a_start_that_fails_is_raised_before_anything_is_learned(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)  # as if it were not installed
    model = learner()
    before = [w.clone() for w in weights(model)]
    with pytest.raises(
        ModuleNotFoundError, match=r"Trackio needs trackio, .*: pip install trackio"
    ):
        next(tl.train(model, Counting(), steps=2, watch=Trackio("letters")))
    assert all(a.equal(b) for a, b in zip(before, weights(model), strict=True))


@pytest.mark.badinput
@pytest.mark.parametrize(
    "watch",
    [3, [Watch(), "loss"], Watch, lambda step: None, SimpleNamespace(start=1, update=2, finish=3)],
)
def test_what_is_no_watch_is_refused_at_the_call(watch):
    with pytest.raises(ValueError, match="watch must be an object with the methods start, update"):
        tl.train(learner(), Counting(), steps=2, watch=watch)


def test_a_training_that_fails_is_a_failed_run(service):
    kind, library = service
    with pytest.raises(ValueError, match="ended after 2"):
        list(tl.train(learner(), (Counting().batch(i) for i in range(2)), steps=5, watch=kind("x")))
    assert library.ends == [1 if kind is WandB else 0]


def test_tensorboard_itself(tmp_path):
    package("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for n in (3, 2):  # the second run hides the first in this folder
        steps = list(tl.train(learner(), Counting(), steps=n, watch=TensorBoard(tmp_path)))
    events = EventAccumulator(str(tmp_path)).Reload()
    logged = [(event.step, event.value) for event in events.Scalars("loss")]
    assert logged == [(step.index, pytest.approx(step.loss)) for step in steps]


def test_wandb_itself_without_a_network(tmp_path, monkeypatch):
    package("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    list(
        tl.train(
            learner(), Counting(), steps=2, watch=WandB("letters", mode="offline", dir=tmp_path)
        )
    )
    assert list(tmp_path.rglob("run-*.wandb"))
