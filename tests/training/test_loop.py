"""The training loop: against a loop written by hand, and through interrupts and bad input."""

import json
import math
import os
import random
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import transformer_lab as tl
from tests.factories import Counting, Watch, learner, weights
from transformer_lab.training.hardware import threads_for
from transformer_lab.training.loop import evaluate, train
from transformer_lab.training.objective import CrossEntropy

# ---------------------------------------------------------------- learning


@pytest.mark.parametrize("clip", [0.05, math.inf])
def test_is_the_loop_that_one_would_write_by_hand(clip):
    ours, theirs = learner(), learner()
    steps = list(
        train(
            ours,
            Counting(),
            steps=6,
            lr=1e-2,
            schedule="constant",
            warmup=3,
            clip=clip,
            weight_decay=0.1,
        )
    )
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
        tl.ModelConfig(
            kind="encoder-decoder",
            vocab_size=data.vocab_size,
            n_layers=1,
            n_heads=2,
            d_model=32,
            n_ctx=16,
        )
    )
    steps = list(train(model, data.batches(32), steps=80, lr=5e-3, eval_batches=data.epoch(20)))
    assert steps[-1].eval_loss < 0.7 * steps[0].loss


def test_step_is_frozen_and_counts_from_one():
    steps = list(train(learner(), Counting(), steps=3))
    assert [s.index for s in steps] == [1, 2, 3]
    assert [s.seconds for s in steps] == sorted(s.seconds for s in steps)
    assert steps[1].tokens_per_second > 0
    with pytest.raises(FrozenInstanceError):
        steps[0].loss = 1.0


def test_noam_multiplies_one():
    steps = list(train(learner(), Counting(), steps=3, schedule="noam", warmup=2))
    assert [s.lr for s in steps] == pytest.approx(
        [16**-0.5 * min(n**-0.5, n * 2**-1.5) for n in (1, 2, 3)]
    )


def test_label_smoothing_is_that_of_pytorch_and_not_in_evaluation():
    model = learner()
    held_out = [Counting().batch(99)]
    (step,) = train(model, Counting(), steps=1, label_smoothing=0.1, lr=1e-9, eval_batches=held_out)
    tokens, targets = Counting().batch(0)
    logits = learner()(tokens)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=0.1)
    assert step.loss == pytest.approx(expected.item(), abs=1e-6)
    assert step.eval_loss == pytest.approx(evaluate(model, held_out), abs=1e-6)


def test_evaluation_weighs_batches_by_their_targets():
    model = learner()
    tokens, targets = Counting(6).batch(0)
    hidden = targets.clone()
    hidden[4:, 2:] = -100
    whole = evaluate(model, [(tokens, hidden)])
    parts = evaluate(model, [(tokens[:4], hidden[:4]), (tokens[4:], hidden[4:])])
    assert parts == pytest.approx(whole, abs=1e-6)


def test_evaluation_changes_nothing_that_is_learned():
    plain = learner(dropout=0.3)
    list(train(plain, Counting(), steps=5))
    evaluated = learner(dropout=0.3)
    list(train(evaluated, Counting(), steps=5, eval_batches=Counting(), eval_every=1))
    assert torch.equal(weights(plain), weights(evaluated))


def test_what_the_loop_body_draws_changes_nothing_that_is_learned():
    plain = learner(dropout=0.3)
    list(train(plain, Counting(), steps=5))
    disturbed = learner(dropout=0.3)
    for _ in train(disturbed, Counting(), steps=5):
        torch.manual_seed(77)
        torch.rand(3), np.random.rand(2), random.random()
        disturbed.eval()
    assert torch.equal(weights(plain), weights(disturbed))


def test_own_loss():
    def loss(model, batch):
        return CrossEntropy()(model, batch) * 2

    (double,) = train(learner(), Counting(), steps=1, loss=loss)
    (single,) = train(learner(), Counting(), steps=1)
    assert double.loss == pytest.approx(2 * single.loss)


def test_bf16_and_compile_stay_close(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    (exact,) = train(learner(), Counting(), steps=1, precision="fp32")
    (coarse,) = train(learner(), Counting(), steps=1, precision="bf16")
    (compiled,) = train(learner(), Counting(), steps=1, compile="eager")
    (given,) = train(torch.compile(learner(), backend="eager"), Counting(), steps=1)
    assert given == replace(
        compiled, seconds=given.seconds, tokens_per_second=given.tokens_per_second
    )
    assert 0 < abs(coarse.loss - exact.loss) < 0.05
    assert compiled.loss == pytest.approx(exact.loss, abs=1e-5)


@pytest.mark.needs("gpu")
def test_on_a_gpu_bf16_is_automatic():
    losses = {
        precision: [
            s.loss for s in train(learner().cuda(), Counting(), steps=3, precision=precision)
        ]
        for precision in ("auto", "bf16", "fp32")
    }
    wanted = "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    assert losses["auto"] == losses[wanted]
    assert losses["bf16"] != losses["fp32"]
    (compiled,) = train(learner().cuda(), Counting(), steps=1, compile=True)
    assert compiled.loss == pytest.approx(losses["auto"][0], abs=0.05)


# ---------------------------------------------------------------- data


def test_a_list_is_begun_again():
    batches = [Counting().batch(i) for i in range(2)]
    by_list = [s.loss for s in train(learner(), batches, steps=5)]
    by_hand = [s.loss for s in train(learner(), (batches[i % 2] for i in range(5)), steps=5)]
    assert by_list == by_hand


@pytest.mark.badinput
def test_a_generator_that_ends_early_is_named():
    with pytest.raises(ValueError, match="ended after 2, before step 3"):
        list(train(learner(), (Counting().batch(i) for i in range(2)), steps=5))


# ---------------------------------------------------------------- watching


def test_prints_nothing_and_shows_a_bar_only_when_asked(capfd):
    list(train(learner(), Counting(), steps=3))
    assert capfd.readouterr() == ("", "")
    list(train(learner(), Counting(), steps=3, progress=True))
    out, err = capfd.readouterr()
    assert out == ""
    assert "3/3" in err
    assert "loss" in err
    assert "tokens/s" in err


def test_a_watch_is_told_everything():
    watch = Watch()
    steps = list(train(learner(), Counting(), steps=3, watch=watch))
    assert watch.events == [("start", 3), *steps, ("finish", "finished")]


# ---------------------------------------------------------------- bad input


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(steps=0), r"steps must be a whole number of at least 1, got 0"),
        (dict(steps=2.5), r"steps must be a whole number, got 2.5"),
        (dict(lr=-1.0), r"lr must be above 0, got -1.0"),
        (dict(clip=0.0), r"clip must be above 0, got 0.0"),
        (dict(optimizer="adm"), r"optimizer must be one of adamw, modern.* got 'adm'"),
        (dict(schedule="cos"), r"schedule must be one of cosine.* got 'cos'"),
        (dict(warmup=-1), r"warmup must be .* got -1"),
        (dict(weight_decay=-0.1), r"weight_decay must be 0 or more, got -0.1"),
        (dict(label_smoothing=1.0), r"label_smoothing must be in \[0, 1\), got 1.0"),
        (dict(precision="half"), r"precision must be one of auto, fp32.* got 'half'"),
        (dict(precision="fp16"), r"precision='fp16' needs a GPU"),
        (dict(eval_every=5), r"eval_every=5 needs eval_batches"),
        (dict(eval_every=0, eval_batches=[]), r"eval_every must be .* got 0"),
        (dict(snapshot_every=5), r"need run="),
        (dict(resume=True), r"need run="),
        (dict(optimizer="modern", schedule="noam"), r"schedule='noam' is for optimizer='adamw'"),
        (dict(loss=CrossEntropy(), label_smoothing=0.1), r"add it to your own"),
    ],
)
def test_bad_arguments_are_named_at_the_call(options, message):
    with pytest.raises(ValueError, match=message):
        train(learner(), Counting(), **{"steps": 2, **options})


@pytest.mark.badinput
def test_batches_of_the_wrong_type_are_named():
    with pytest.raises(TypeError, match=r"batches must be an iterable .* got int"):
        train(learner(), 3, steps=1)
    ids = Counting().batch(0)[0]
    for batch, got in ((ids, f"Tensor {list(ids.shape)}"), ({"input_ids": ids}, "dict")):
        with pytest.raises(TypeError, match=re.escape(f"got {got}; to predict the next token")):
            list(train(learner(), [batch], steps=1))


@pytest.mark.badinput
def test_labels_that_cannot_be_learned_are_named():
    tokens, targets = Counting().batch(0)
    ignored = torch.full_like(targets, -100)
    with pytest.raises(ValueError, match=r"step 1: every target of the batch is -100"):
        list(train(learner(), [(tokens, ignored)], steps=1))
    with pytest.raises(ValueError, match=r"a target is 10, but the model has 10 classes"):
        list(train(learner(), [(tokens, targets + 1)], steps=1))
    with pytest.raises(ValueError, match="no batch with a target"):
        list(train(learner(), Counting(), steps=1, eval_batches=[(tokens, ignored)]))


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
        "import sys\nfrom transformer_lab.training.toml import run_from_config\n"
        "run_from_config(sys.argv[1], progress=False)\n"
    )
    from transformer_lab.training.toml import run_from_config

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, str(script), str(files["two"])],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
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


# ---------------------------------------------------------------- threads


@pytest.fixture
def _three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_three_threads")
@pytest.mark.parametrize("end", ["finished", "broken off", "failed"])
def test_a_small_model_trains_on_one_thread_and_gives_the_others_back(end):
    seen = []

    class Counts(Watch):
        def update(self, step, model):
            seen.append(torch.get_num_threads())

    steps = train(learner(), Counting(), steps=3, watch=Counts())
    next(steps)
    if end == "finished":
        list(steps)
    elif end == "broken off":
        steps.close()
    else:
        with pytest.raises(RuntimeError, match="mine"):
            steps.throw(RuntimeError("mine"))
    assert set(seen) == {1}
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("_three_threads")
def test_threads_are_those_that_are_asked_for():
    steps = train(learner(), Counting(), steps=2, threads=2)
    next(steps)
    assert torch.get_num_threads() == 2
    list(steps)
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("_three_threads")
def test_a_large_model_keeps_all_threads():
    with torch.device("meta"):
        large = tl.Transformer(
            tl.ModelConfig(vocab_size=1000, n_layers=12, n_heads=12, d_model=768)
        )
        tiny = tl.Transformer(tl.ModelConfig(vocab_size=9, n_layers=1, n_heads=1, d_model=16))
    assert threads_for(large, Counting()) == 3
    assert threads_for(tiny, Counting()) == 1

    class Many:
        batch_size, n_ctx = 4096, 4096

    assert threads_for(tiny, Many()) == 3


@pytest.mark.badinput
@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_threads_are_a_whole_number(threads):
    with pytest.raises(ValueError, match=r"threads must be a whole number.* got"):
        train(learner(), Counting(), steps=1, threads=threads)
