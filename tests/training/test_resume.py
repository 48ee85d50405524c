"""Interrupted training resumes bit for bit, from any step, or says why not."""

import os
import signal
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import transformer_lab as tl
from tests.factories import Rows, learner, same, timeless
from transformer_lab.files.paths import FileError
from transformer_lab.files.rng import seed_everything
from transformer_lab.optim import recipe
from transformer_lab.training.loop import TrainingStopped, train
from transformer_lab.training.objective import CrossEntropy
from transformer_lab.training.run import Run

small = partial(learner, dropout=0.2)


# ---------------------------------------------------------------- exact resume


def resumed(tmp_path, stop, *, make=small, data=Rows, how="break", **options):
    """Compare a run stopped after `stop` steps and resumed with one that never stopped."""
    settings = dict(steps=8, eval_batches=[Rows().batch(-1)], eval_every=3, checkpoint_every=4)
    settings |= options
    whole, broken = make(), make()
    seed_everything(1)
    list(train(whole, data(), run=tmp_path / "whole", **settings))
    seed_everything(1)
    if stop:
        for step in train(broken, data(), run=tmp_path / "broken", **settings):
            if step.index == stop:
                break
    fresh = make()
    seed_everything(99)  # any random state of the new process
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rest = list(train(fresh, data(), run=tmp_path / "broken", resume=True, **settings))
    assert [s.index for s in rest] == list(range(stop + 1, 9))
    assert same(whole, fresh)
    ends = [tmp_path / name / "checkpoints" / "step-00000008" for name in ("whole", "broken")]
    for name in ("model.safetensors", "training.safetensors"):
        assert (ends[0] / name).read_bytes() == (ends[1] / name).read_bytes(), name
    assert timeless(Run(tmp_path / "whole")) == timeless(Run(tmp_path / "broken"))
    return Run(tmp_path / "broken")


@pytest.mark.resume
@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5, 6, 7])
def test_resume_is_bitwise_from_any_step(tmp_path, stop):
    run = resumed(tmp_path, stop)
    assert run.checkpoints[-1] == 8
    assert len(run.checkpoints) == 2
    assert not list(run.folder.rglob(".*"))
    assert not (run.folder / "lock").exists()


@pytest.mark.resume
def test_resume_is_bitwise_with_muon(tmp_path):
    def make():
        torch.manual_seed(0)
        return tl.Transformer(
            tl.ModelConfig.modern(
                vocab_size=10, n_layers=1, n_heads=2, d_model=16, n_ctx=8, dropout=0.2
            )
        )

    resumed(tmp_path, 5, make=make, optimizer="modern")


@pytest.mark.resume
def test_resume_is_bitwise_in_bf16(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    resumed(tmp_path, 3, precision="bf16")


class Augmented(TensorDataset):
    """Examples that draw from torch's global random state when fetched."""

    def __getitem__(self, i):
        tokens, targets = super().__getitem__(i)
        return tokens.roll(int(torch.randint(8, ()))), targets


@pytest.mark.resume
@pytest.mark.parametrize("stop", [2, 3, 5])
@pytest.mark.parametrize("form", ["shuffling loader", "generator"])
def test_resume_is_bitwise_with_iterables(tmp_path, stop, form):
    def loader():
        tokens = torch.randint(10, (10, 9), generator=torch.Generator().manual_seed(0))
        return DataLoader(Augmented(tokens[:, :-1], tokens[:, 1:]), batch_size=4, shuffle=True)

    def generator():  # three batches an epoch; draws between the model's own dropout
        while True:
            rows = torch.randint(10, (4, 9))
            yield rows[:, :-1], rows[:, 1:]

    resumed(tmp_path, stop, data=loader if form == "shuffling loader" else generator)


@pytest.mark.resume
@pytest.mark.parametrize("where", ["forward", "evaluation", "update"])
def test_resume_after_an_interrupt_is_bitwise(tmp_path, where):
    """The interrupt comes in step 6, when an evaluation is due."""
    calls = []

    class Loss(CrossEntropy):
        def __call__(self, model, batch):
            calls.append(model.training)
            here = calls.count(True) == 6 and (
                (where == "forward" and model.training)
                or (where == "evaluation" and not model.training)
            )
            if here and not stopped:
                stopped.append(True)
                os.kill(os.getpid(), signal.SIGINT)
            return super().__call__(model, batch)

    settings = dict(steps=8, eval_batches=[Rows().batch(-1)], eval_every=3, checkpoint_every=4)
    stopped = [True]
    whole = small()
    list(train(whole, Rows(), run=tmp_path / "whole", loss=Loss(), **settings))
    stopped.clear()
    calls.clear()
    used = type(recipe("adamw").build(small(), 8)[0])
    broken, original = small(), used.step
    if where == "update":

        def step(self, *args, **kwargs):
            if calls.count(True) == 6 and not stopped:
                stopped.append(True)
                os.kill(os.getpid(), signal.SIGINT)
            return original(self, *args, **kwargs)

        used.step = step
    try:
        with pytest.raises(TrainingStopped, match=f"step {5 if where == 'forward' else 6};"):
            list(train(broken, Rows(), run=tmp_path / "broken", loss=Loss(), **settings))
    finally:
        used.step = original
    fresh = small()
    list(train(fresh, Rows(), run=tmp_path / "broken", loss=Loss(), resume=True, **settings))
    assert same(whole, fresh)
    assert timeless(Run(tmp_path / "whole")) == timeless(Run(tmp_path / "broken"))


@pytest.mark.resume
def test_resume_in_another_process_is_bitwise(tmp_path):
    """Stopped and resumed in separate processes, as a user would."""
    script = tmp_path / "go.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "import torch; torch.set_num_threads(1)\n"
        "from tests.factories import Rows, learner\n"
        "from transformer_lab.training.loop import train\n"
        "for s in train(learner(dropout=0.2), Rows(), steps=6, run=sys.argv[1], resume=True):\n"
        "    if s.index == int(sys.argv[2]): break\n"
    )
    for stop in ("2", "-1"):
        subprocess.run([sys.executable, str(script), str(tmp_path / "r"), stop], check=True)
    whole = small()
    list(train(whole, Rows(), steps=6))
    assert same(Run(tmp_path / "r").load_model(), whole.eval())


@pytest.mark.resume
def test_what_differs_on_resume_is_said(tmp_path):
    for step in train(small(), Rows(), steps=8, run=tmp_path / "r"):
        if step.index == 2:
            break
    other = Rows()
    other.seed = 5
    with pytest.warns(UserWarning, match="not be bitwise") as caught:
        list(train(small(), other, steps=9, lr=1e-4, threads=2, run=tmp_path / "r", resume=True))
    said = " ".join(str(w.message) for w in caught)
    for part in (
        "steps was 8 and is now 9",
        "lr was 0.003 and is now 0.0001",
        "threads was 1 and is now 2",
        "data_seed was 0 and is now 5",
    ):
        assert part in said


@pytest.mark.badinput
def test_what_cannot_be_resumed_is_refused(tmp_path):
    run = tmp_path / "r"
    list(train(small(), Rows(), steps=3, run=run))
    with pytest.raises(
        FileExistsError, match=r"already holds a run \(checkpoint at step 3\); pass "
    ):
        list(train(small(), Rows(), steps=3, run=run))
    with pytest.raises(FileError, match=r"from a different model: d_model was 16 and is now 32"):
        list(train(small(d_model=32), Rows(), steps=3, run=run, resume=True))
    with pytest.raises(FileError, match=r"optimizer='adamw', whose state cannot be used by"):
        list(train(small(), Rows(), steps=3, run=run, resume=True, optimizer="modern"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one line, not two
        with pytest.raises(ValueError, match=r"steps=2, but the run .* is already at step 3"):
            list(train(small(), Rows(), steps=2, run=run, resume=True))
    assert list(train(small(), Rows(), steps=3, run=run, resume=True)) == []


def test_options_stay_those_of_the_call(tmp_path):
    """A saved state does not restore the fused kernel of the machine that saved it."""
    for step in train(small(), Rows(), steps=4, run=tmp_path / "r"):
        if step.index == 2:
            break
    before = torch.optim.AdamW.__init__

    def plain(self, *args, **kwargs):
        before(self, *args, **{**kwargs, "fused": None, "foreach": False})

    torch.optim.AdamW.__init__ = plain
    try:
        with pytest.warns(UserWarning, match=r"implementation was \['AdamW/fused'\] and is"):
            list(train(small(), Rows(), steps=4, run=tmp_path / "r", resume=True))
    finally:
        torch.optim.AdamW.__init__ = before
