"""The training loop: against a loop written by hand, and through interrupts and bad input."""

import io
import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import transformer_lab as tl
from transformer_lab.objective import CrossEntropy
from transformer_lab.train import Step, TrainingStopped, evaluate, train


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Counting:
    """Rows that count upwards modulo 10, from a random start: learned in a few steps."""

    seed = 0

    def __init__(self, rows=4, length=8):
        self.rows, self.length = rows, length

    def batch(self, step):
        start = torch.randint(10, (self.rows, 1), generator=torch.Generator().manual_seed(step))
        row = (start + torch.arange(self.length + 1)) % 10
        return row[:, :-1], row[:, 1:]


def small(dropout=0.0, **options):
    torch.manual_seed(0)
    shape = dict(vocab_size=10, n_layers=1, n_heads=2, d_model=16, n_ctx=8)
    return tl.Transformer(tl.ModelConfig(**{**shape, "dropout": dropout, **options}))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


class Watch:
    def __init__(self):
        self.events = []

    def start(self, model, steps):
        self.events.append(("start", steps))

    def update(self, step, model):
        self.events.append(step)

    def finish(self, reason):
        self.events.append(("finish", reason))


# ---------------------------------------------------------------- learning


@pytest.mark.parametrize("clip", [0.05, math.inf])
def test_is_the_loop_that_one_would_write_by_hand(clip):
    ours, theirs = small(), small()
    steps = list(train(ours, Counting(), steps=6, lr=1e-2, schedule="constant", warmup=3,
                       clip=clip, weight_decay=0.1))  # fmt: skip
    matrices = [p for p in theirs.parameters() if p.dim() > 1]
    vectors = [p for p in theirs.parameters() if p.dim() < 2]
    groups = [dict(params=matrices, weight_decay=0.1), dict(params=vectors, weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.98))
    for i in range(6):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * min(1, (i + 1) / 3)
        tokens, targets = Counting().batch(i)
        loss = F.cross_entropy(theirs(tokens).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(theirs.parameters(), clip)
        optimizer.step()
        assert steps[i].loss == pytest.approx(loss.item(), abs=1e-6)
        assert steps[i].grad_norm == pytest.approx(norm.item(), rel=1e-4)
        assert steps[i].lr == pytest.approx(optimizer.param_groups[0]["lr"])
    torch.testing.assert_close(weights(ours), weights(theirs), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["adamw", "modern"])
def test_learns(optimizer):
    make = tl.ModelConfig.modern if optimizer == "modern" else tl.ModelConfig
    torch.manual_seed(0)
    model = tl.Transformer(make(vocab_size=10, n_layers=1, n_heads=2, d_model=16, n_ctx=8))
    steps = list(train(model, Counting(16), steps=100, lr=2e-2, optimizer=optimizer))
    assert steps[0].loss > 2
    assert steps[-1].loss < 0.2


def test_learns_from_masked_pairs():
    """An encoder-decoder, padding on both sides, ignored targets."""
    data = tl.datasets.reverse(length=(2, 4), vocab=6, size=200, held_out=20)
    torch.manual_seed(0)
    model = tl.Transformer(
        tl.ModelConfig(kind="encoder-decoder", vocab_size=data.vocab_size, n_layers=1, n_heads=2,
                       d_model=32, n_ctx=16)
    )  # fmt: skip
    steps = list(train(model, data.batches(32), steps=80, lr=5e-3, eval_batches=data.epoch(20)))
    assert steps[-1].eval_loss < 0.7 * steps[0].loss


def test_step_is_frozen_and_counts_from_one():
    steps = list(train(small(), Counting(), steps=3))
    assert [s.index for s in steps] == [1, 2, 3]
    assert [s.seconds for s in steps] == sorted(s.seconds for s in steps)
    assert steps[1].tokens_per_second > 0
    with pytest.raises(FrozenInstanceError):
        steps[0].loss = 1.0


def test_noam_multiplies_one():
    steps = list(train(small(), Counting(), steps=3, schedule="noam", warmup=2))
    assert [s.lr for s in steps] == pytest.approx(
        [16**-0.5 * min(n**-0.5, n * 2**-1.5) for n in (1, 2, 3)]
    )


def test_label_smoothing_is_that_of_pytorch_and_not_in_evaluation():
    model = small()
    held_out = [Counting().batch(99)]
    (step,) = train(model, Counting(), steps=1, label_smoothing=0.1, lr=1e-9,
                    eval_batches=held_out)  # fmt: skip
    tokens, targets = Counting().batch(0)
    logits = small()(tokens)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=0.1)
    assert step.loss == pytest.approx(expected.item(), abs=1e-6)
    assert step.eval_loss == pytest.approx(evaluate(model, held_out), abs=1e-6)


def test_evaluation_weighs_batches_by_their_targets():
    model = small()
    tokens, targets = Counting(6).batch(0)
    hidden = targets.clone()
    hidden[4:, 2:] = -100
    whole = evaluate(model, [(tokens, hidden)])
    parts = evaluate(model, [(tokens[:4], hidden[:4]), (tokens[4:], hidden[4:])])
    assert parts == pytest.approx(whole, abs=1e-6)


def test_evaluation_changes_nothing_that_is_learned():
    plain = small(dropout=0.3)
    list(train(plain, Counting(), steps=5))
    evaluated = small(dropout=0.3)
    list(train(evaluated, Counting(), steps=5, eval_batches=Counting(), eval_every=1))
    assert torch.equal(weights(plain), weights(evaluated))


def test_what_the_loop_body_draws_changes_nothing_that_is_learned():
    plain = small(dropout=0.3)
    list(train(plain, Counting(), steps=5))
    disturbed = small(dropout=0.3)
    for _ in train(disturbed, Counting(), steps=5):
        torch.manual_seed(77)
        torch.rand(3), np.random.rand(2), random.random()
        disturbed.eval()
    assert torch.equal(weights(plain), weights(disturbed))


def test_own_loss():
    def loss(model, batch):
        return CrossEntropy()(model, batch) * 2

    (double,) = train(small(), Counting(), steps=1, loss=loss)
    (single,) = train(small(), Counting(), steps=1)
    assert double.loss == pytest.approx(2 * single.loss)


def test_bf16_and_compile_stay_close():
    (exact,) = train(small(), Counting(), steps=1, precision="fp32")
    (coarse,) = train(small(), Counting(), steps=1, precision="bf16")
    (compiled,) = train(small(), Counting(), steps=1, compile="eager")
    (given,) = train(torch.compile(small(), backend="eager"), Counting(), steps=1)
    assert given == replace(compiled, seconds=given.seconds,
                            tokens_per_second=given.tokens_per_second)  # fmt: skip
    assert 0 < abs(coarse.loss - exact.loss) < 0.05
    assert compiled.loss == pytest.approx(exact.loss, abs=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu_bf16_is_automatic():
    list(train(small().cuda(), Counting(), steps=20, compile=True))


# ---------------------------------------------------------------- data


def test_a_list_is_begun_again():
    batches = [Counting().batch(i) for i in range(2)]
    by_list = [s.loss for s in train(small(), batches, steps=5)]
    by_hand = [s.loss for s in train(small(), (batches[i % 2] for i in range(5)), steps=5)]
    assert by_list == by_hand


@pytest.mark.badinput
def test_a_generator_that_ends_early_is_named():
    with pytest.raises(ValueError, match="ended after 2 when step 3 was due"):
        list(train(small(), (Counting().batch(i) for i in range(2)), steps=5))


# ---------------------------------------------------------------- watching


def test_prints_nothing_and_shows_a_bar_only_when_asked(capfd):
    list(train(small(), Counting(), steps=3))
    assert capfd.readouterr() == ("", "")
    list(train(small(), Counting(), steps=3, progress=True))
    out, err = capfd.readouterr()
    assert out == ""
    assert "3/3" in err
    assert "loss" in err
    assert "tokens/s" in err


def test_a_watch_is_told_everything():
    watch = Watch()
    steps = list(train(small(), Counting(), steps=3, watch=watch))
    assert watch.events == [("start", 3), *steps, ("finish", "finished")]


# ---------------------------------------------------------------- stopping


@pytest.mark.parametrize("how", ["finish", "break", "error", "body error"])
def test_the_mode_returns_however_training_ends(how):
    model, watch = small(), Watch()
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
    expected = {"finish": "finished", "break": "ended early at step 1", "error": "failed at step 1",
                "body error": "ended early at step 1"}[how]  # fmt: skip
    assert reason.startswith(expected)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("where", ["body", "data", "forward", "backward", "update", "watch"])
def test_an_interrupt_stops_between_whole_steps(where, monkeypatch):
    model, watch, done = small(dropout=0.2), Watch(), []
    source = Counting()
    original = torch.optim.AdamW.step

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

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    if where == "watch":
        watch.update = lambda step, m: interrupt() if step.index == 2 else None
    with pytest.raises(TrainingStopped, match="Training stopped at step 2; history kept") as caught:  # noqa: PT012
        for s in train(model, Data(), steps=5, watch=watch, loss=loss):
            done.append(s)
            if where == "body" and s.index == 2:
                interrupt()
                time.sleep(5)  # never slept through
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert watch.events[-1] == ("finish", "stopped at step 2; history kept")
    assert model.training
    monkeypatch.undo()
    other = small(dropout=0.2)
    for s in train(other, source, steps=5):
        if s.index == 2:
            break
    assert torch.equal(weights(model), weights(other))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_going_on_after_a_stop_says_stopped_again():
    steps = train(small(), Counting(), steps=5)
    next(steps)
    with pytest.raises(TrainingStopped):  # noqa: PT012
        interrupt()
        time.sleep(5)
    with pytest.raises(TrainingStopped, match="step 1"):
        next(steps)


def test_two_trainings_that_take_turns_do_not_disturb_each_other():
    alone = [small(dropout=0.3), small(dropout=0.3)]
    torch.manual_seed(5)
    list(train(alone[0], Counting(), steps=3))
    torch.manual_seed(5)
    list(train(alone[1], Counting(), steps=5))
    together = [small(dropout=0.3), small(dropout=0.3)]
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
    model, result = small(), []

    def work():
        try:
            result.extend(train(model, Counting(), steps=2))
        except BaseException:
            result.append(traceback.format_exc())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [type(r) for r in result] == [Step, Step], result


# ---------------------------------------------------------------- bad input


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(steps=0), r"steps=0 must be a whole number of at least 1"),
        (dict(steps=2.5), r"steps=2.5"),
        (dict(lr=-1.0), r"lr=-1.0 must be above 0"),
        (dict(clip=0.0), r"clip=0.0 must be above 0"),
        (dict(optimizer="adm"), r"optimizer='adm' is not known; choose one of adamw, modern"),
        (dict(schedule="cos"), r"schedule='cos' is not known; choose one of cosine"),
        (dict(warmup=-1), r"warmup=-1"),
        (dict(weight_decay=-0.1), r"weight_decay=-0.1"),
        (dict(label_smoothing=1.0), r"label_smoothing=1.0 must be in \[0, 1\)"),
        (dict(precision="half"), r"precision='half' is not known; choose one of auto, fp32"),
        (dict(precision="fp16"), r"precision='fp16' needs a GPU"),
        (dict(eval_every=5), r"eval_every=5 needs eval_batches"),
        (dict(eval_every=0, eval_batches=[]), r"eval_every=0"),
        (dict(snapshot_every=5), r"need run="),
        (dict(resume=True), r"need run="),
        (dict(optimizer="modern", schedule="noam"), r"schedule='noam' is for optimizer='adamw'"),
        (dict(loss=CrossEntropy(), label_smoothing=0.1), r"build it into your own"),
    ],
)
def test_bad_arguments_are_named_at_the_call(options, message):
    with pytest.raises(ValueError, match=message):
        train(small(), Counting(), **{"steps": 2, **options})


@pytest.mark.badinput
def test_batches_of_the_wrong_type_are_named():
    with pytest.raises(TypeError, match="batches is a int"):
        train(small(), 3, steps=1)


@pytest.mark.badinput
def test_labels_that_cannot_be_learned_are_named():
    tokens, targets = Counting().batch(0)
    ignored = torch.full_like(targets, -100)
    with pytest.raises(ValueError, match=r"step 1: every target of the batch is -100"):
        list(train(small(), [(tokens, ignored)], steps=1))
    with pytest.raises(ValueError, match=r"a target is 10 but the model tells 10 classes apart"):
        list(train(small(), [(tokens, targets + 1)], steps=1))
    with pytest.raises(ValueError, match="no batch with a target"):
        list(train(small(), Counting(), steps=1, eval_batches=[(tokens, ignored)]))


def test_a_loss_that_is_not_finite_keeps_the_last_good_weights():
    model = small()

    def loss(m, batch):
        value = CrossEntropy()(m, batch)
        return value / 0 if len(seen) == 2 else value

    seen = []
    with pytest.raises(FloatingPointError, match=r"the loss is inf at step 3.*of step 2"):  # noqa: PT012
        for step in train(model, Counting(), steps=5, loss=loss):
            seen.append(step)
            good = weights(model)
    assert torch.equal(weights(model), good)


# ---------------------------------------------------------------- several processes

CONFIG = """
[model]
n_layers = 1
n_heads = 2
d_model = 16
n_ctx = 16
[data]
name = "text_file"
path = {text!r}
batch_size = 6
[train]
steps = 10
eval_every = 5
eval_batches = 3
device = "cpu"
threads = 1
[run]
folder = {folder!r}
"""


@pytest.mark.timeout(120)
def test_two_processes_learn_what_one_learns(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 50)
    files = {}
    for name in ("one", "two"):
        files[name] = tmp_path / f"{name}.toml"
        files[name].write_text(CONFIG.format(text=str(text), folder=str(tmp_path / name)))
    script = tmp_path / "go.py"
    script.write_text(
        "import sys\nfrom transformer_lab.train_config import run_from_config\n"
        "run_from_config(sys.argv[1], progress=False)\n"
    )
    from transformer_lab.train_config import run_from_config

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, str(script), str(files["two"])],
        capture_output=True, text=True, timeout=100, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    one = run_from_config(files["one"], progress=False).metrics()
    two = [json.loads(line) for line in (tmp_path / "two" / "metrics.jsonl").open()]
    assert len(one) == len(two) == 10
    for a, b in zip(one, two, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=1e-5)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], abs=1e-4)
        if a["eval_loss"] is not None:
            assert b["eval_loss"] == pytest.approx(a["eval_loss"], abs=1e-5)
    assert (tmp_path / "two" / "model" / "model.safetensors").exists()
