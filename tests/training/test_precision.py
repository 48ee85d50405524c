"""The precision of training: requested, resumed, or chosen by a timed trial."""

import copy
from dataclasses import asdict

import pytest
import torch
from torch import nn

import transformer_lab as tl
from tests.factories import Rows, learner, same
from transformer_lab.files.rng import RandomState
from transformer_lab.optim import Modern, recipe
from transformer_lab.training import precision, resume
from transformer_lab.training.loop import train
from transformer_lab.training.precision import is_tried, precision_of, trial, with_muon_precision
from transformer_lab.training.run import Run

AVX2 = {"avx2": True, "amx_bf16": False, "avx512_bf16": False}


def has(monkeypatch, *flags):
    told = AVX2 | dict.fromkeys(flags, True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)


def large(**options):
    return learner(**(dict(d_model=256, dropout=0.1) | options))


def asked(name, model=None, steps=100, run=None, **options):
    model = model or learner()
    return precision_of(name, model, Rows(), recipe("adamw"), steps, 1, run, **options)


@pytest.mark.parametrize("flag", ["amx_bf16", "avx512_bf16", "bf16"])
def test_bf16_is_for_processors_that_have_it_and_are_asked(monkeypatch, recwarn, flag):
    has(monkeypatch, flag)
    assert asked("bf16") is torch.bfloat16
    assert asked("auto") is torch.float32  # a small model
    assert not recwarn


def test_bf16_is_believed_where_pytorch_does_not_tell_what_the_processor_has(monkeypatch, recwarn):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert asked("bf16") is torch.bfloat16
    assert not is_tried(large(), Rows(), recipe("adamw"), 100)
    assert not recwarn


def test_without_bf16_training_goes_on_in_fp32_and_the_run_says_so(monkeypatch, tmp_path):
    has(monkeypatch)
    with pytest.warns(UserWarning, match=r"^precision='bf16': .*continues in fp32$") as told:
        steps = list(train(learner(), Rows(), steps=2, precision="bf16", run=tmp_path / "run"))
    assert len(told) == 1 and told[0].filename == __file__
    exact = list(train(learner(), Rows(), steps=2, precision="fp32"))
    assert [s.loss for s in steps] == [s.loss for s in exact]
    assert Run(tmp_path / "run").config()["training"]["precision"] == "float32"


class Iterable:
    def __iter__(self):
        return (Rows().batch(i) for i in range(200))


@pytest.mark.parametrize("name", precision.AS_GOOD)
def test_what_is_tried_in_bf16(monkeypatch, name):
    has(monkeypatch, "avx512_bf16")
    chosen = recipe(name)
    assert is_tried(large(), Rows(), chosen, 100)
    assert not is_tried(large(), Rows(), chosen, 99)
    assert not is_tried(large(), Iterable(), chosen, 100)
    assert not is_tried(large(d_model=128), Rows(), chosen, 100)
    assert not is_tried(large(kind="encoder"), Rows(), chosen, 100)
    assert not is_tried(nn.Linear(2, 2), Rows(), chosen, 100)
    monkeypatch.setattr(precision, "AS_GOOD", ())
    assert not is_tried(large(), Rows(), chosen, 100)
    monkeypatch.undo()
    has(monkeypatch)
    assert not is_tried(large(), Rows(), chosen, 100)


@pytest.mark.parametrize(("bound", "wanted"), [(1e9, torch.bfloat16), (0.0, torch.float32)])
def test_a_trial_decides(monkeypatch, recwarn, bound, wanted):
    has(monkeypatch, "avx512_bf16")
    monkeypatch.setattr(precision, "FASTER", bound)
    assert asked("auto", large()) is wanted
    assert asked("fp32", large()) is torch.float32
    assert asked("auto", large(), plain=False) is torch.float32
    assert not recwarn


class Told(Rows):
    """Rows that record which batches were requested."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def batch(self, step):
        self.asked.append(step)
        return super().batch(step)


class Counts(tl.Tap):
    calls = 0

    def on_stream(self, name, site, x):
        self.calls += 1
        return x


@pytest.mark.parametrize("name", precision.AS_GOOD)
def test_a_trial_leaves_everything_as_it_was(name):
    model, rows, tap = large().eval(), Told(), Counts()
    model.add_tap(tap)
    before, random = copy.deepcopy(model), RandomState.now().to_tensors()
    threads = torch.get_num_threads()
    with torch.no_grad():
        assert trial(model, rows, recipe(name), threads + 1) > 0
    assert same(model, before)
    assert all(p.grad is None for p in model.parameters())
    assert not model.training
    assert tap.calls == 0
    assert rows.asked == [0]
    assert torch.get_num_threads() == threads
    after = RandomState.now().to_tensors()
    assert all(torch.equal(random[key], after[key]) for key in random)


def trained(folder, steps=100, **options):
    torch.manual_seed(1)
    model = large(d_ff=64)
    return model, train(model, Rows(), steps=steps, run=folder, **options)


def test_a_run_says_what_was_chosen_and_keeps_it_when_it_is_resumed(monkeypatch, tmp_path, recwarn):
    has(monkeypatch, "avx512_bf16")
    monkeypatch.setattr(precision, "FASTER", 1e9)
    whole, steps = trained(tmp_path / "whole", precision="bf16")
    losses = [step.loss for step in steps]
    _, steps = trained(tmp_path / "run")
    begun = [next(steps).loss for _ in range(40)]
    steps.close()
    assert Run(tmp_path / "run").config()["training"]["precision"] == "bfloat16"
    monkeypatch.setattr(precision, "FASTER", 0.0)  # no trial would choose it now
    model, steps = trained(tmp_path / "run", resume=True)
    assert begun + [step.loss for step in steps] == losses
    assert same(whole, model)
    assert not recwarn


def test_a_run_begun_in_fp32_stays_so(monkeypatch, tmp_path, recwarn):
    has(monkeypatch, "avx512_bf16")
    monkeypatch.setattr(precision, "FASTER", 1e9)
    _, steps = trained(tmp_path / "run", precision="fp32")
    next(steps)
    steps.close()
    _, steps = trained(tmp_path / "run", resume=True)
    next(steps)
    steps.close()
    assert Run(tmp_path / "run").config()["training"]["precision"] == "float32"
    assert not recwarn


def test_where_a_run_does_not_say_a_trial_decides(monkeypatch, tmp_path):
    has(monkeypatch, "avx512_bf16")
    monkeypatch.setattr(precision, "FASTER", 1e9)
    run = Run(tmp_path / "run")
    assert asked("auto", large(), run=run) is torch.bfloat16  # no checkpoint yet
    _, steps = trained(run.folder, precision="fp32")
    next(steps)
    steps.close()
    assert asked("auto", large(), run=run) is torch.float32
    (run.folder / "config.json").unlink()
    assert asked("auto", large(), run=run) is torch.bfloat16


def wide(folder, steps=4, **options):
    """Train a model with matrices large enough for bf16."""
    torch.manual_seed(1)
    model = learner(d_model=128, d_ff=32, vocab_size=10)
    return model, train(model, Rows(), steps=steps, optimizer="modern", run=folder, **options)


def said(folder):
    return Run(folder).config()["training"]["muon_precision"]


def test_a_run_says_what_muon_multiplied_in(monkeypatch, tmp_path):
    has(monkeypatch, "avx512_bf16")
    for name, options, wanted in (
        ("auto", dict(), "bf16"),
        ("asked", dict(precision="fp32"), "fp32"),
        ("bf16", dict(precision="bf16"), "bf16"),
    ):
        list(wide(tmp_path / name, 1, **options)[1])
        assert said(tmp_path / name) == wanted
    list(train(learner(), Rows(), steps=1, optimizer="modern", run=tmp_path / "small"))
    assert said(tmp_path / "small") == "fp32"
    list(train(learner(), Rows(), steps=1, run=tmp_path / "adamw"))
    assert "muon_precision" not in Run(tmp_path / "adamw").config()["training"]
    has(monkeypatch)
    list(wide(tmp_path / "another processor", 1)[1])
    assert said(tmp_path / "another processor") == "fp32"


def test_several_processes_multiply_in_fp32(monkeypatch):
    has(monkeypatch, "avx512_bf16")
    model = learner(d_model=128)
    assert with_muon_precision(Modern(), "auto", model).muon_precision == "bf16"
    monkeypatch.setattr(precision.distributed, "rank_and_size", lambda: (0, 2))
    assert with_muon_precision(Modern(), "auto", model).muon_precision == "fp32"
    asked = Modern(muon_precision="bf16")
    assert with_muon_precision(asked, "auto", model) == asked


def test_muon_goes_on_in_what_a_run_was_begun_in(monkeypatch, tmp_path, recwarn):
    has(monkeypatch, "avx512_bf16")
    for begun in ("fp32", "bf16"):
        options = dict(precision="fp32") if begun == "fp32" else {}
        whole, steps = wide(tmp_path / f"{begun} whole", **options)
        list(steps)
        run = tmp_path / begun
        _, steps = wide(run, **options)
        next(steps), next(steps)
        steps.close()
        assert said(run) == begun
        model, steps = wide(run, resume=True)
        list(steps)
        assert same(whole, model)
    assert not same(whole, wide_in_fp32(tmp_path))
    assert not recwarn


def wide_in_fp32(folder):
    model, steps = wide(folder / "fp32 again", precision="fp32")
    list(steps)
    return model


def test_a_run_that_does_not_say_what_muon_multiplied_in_goes_on_in_fp32(
    monkeypatch, tmp_path, recwarn
):
    """As before the precision was recorded."""
    has(monkeypatch, "avx512_bf16")

    def then(recipe):
        return {k: v for k, v in asdict(recipe).items() if k != "muon_precision"}

    with monkeypatch.context() as earlier:
        earlier.setattr(resume, "asdict", then)
        _, steps = wide(tmp_path / "run", precision="fp32")
        next(steps), next(steps)
        steps.close()
    assert "muon_precision" not in Run(tmp_path / "run").config()["training"]
    model, steps = wide(tmp_path / "run", resume=True)
    list(steps)
    assert same(model, wide_in_fp32(tmp_path))
    assert not recwarn


def test_muon_in_bf16_on_a_processor_without_it_is_fp32_in_one_line(monkeypatch, tmp_path):
    has(monkeypatch, "avx512_bf16")
    _, steps = wide(tmp_path / "run")
    next(steps)
    steps.close()
    has(monkeypatch)
    model, asked = learner(d_model=128), Modern(muon_precision="bf16")
    with pytest.warns(UserWarning, match=r"^muon_precision='bf16': .*continues in fp32$") as told:
        list(train(model, Rows(), steps=1, optimizer=asked, run=tmp_path / "asked"))
    assert len(told) == 1 and told[0].filename == __file__
    assert said(tmp_path / "asked") == "fp32"
    with pytest.warns(UserWarning, match="muon_precision was 'bf16' and is now 'fp32'") as told:
        list(wide(tmp_path / "run", resume=True)[1])
    assert len(told) == 1
