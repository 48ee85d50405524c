"""Saved models, exact resume, and runs on disk."""

import errno
import json
import math
import os
import shutil
import signal
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import transformer_lab as tl
from transformer_lab import safefiles
from transformer_lab.checkpoint import CheckpointError, DiskFullError, load_model, save_model
from transformer_lab.lock import LockedError
from transformer_lab.objective import CrossEntropy
from transformer_lab.rng import seed_everything
from transformer_lab.run import Run
from transformer_lab.train import TrainingStopped, train


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Data:
    """Random rows, a pure function of the step."""

    seed = 0

    def batch(self, step):
        rows = torch.randint(10, (4, 9), generator=torch.Generator().manual_seed(step))
        return rows[:, :-1], rows[:, 1:]


def small(**options):
    torch.manual_seed(0)
    shape = dict(vocab_size=10, n_layers=1, n_heads=2, d_model=16, n_ctx=8, dropout=0.2)
    return tl.Transformer(tl.ModelConfig(**{**shape, **options}))


def same(a, b):
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return all(n == m and torch.equal(p, q) for (n, p), (m, q) in pairs)


def timeless(run):
    return [
        {k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")}
        for line in run.metrics()
    ]


# ---------------------------------------------------------------- one model


@pytest.mark.parametrize("kind", ["decoder", "encoder", "encoder-decoder"])
@pytest.mark.parametrize("tie_head", [True, False])
def test_a_model_comes_back_bitwise(tmp_path, kind, tie_head):
    model = small(kind=kind, tie_head=tie_head)
    state = torch.get_rng_state()
    loaded = load_model(save_model(model, tmp_path / "m"))
    assert same(model, loaded)
    assert loaded.config == model.config
    assert not loaded.training
    assert (loaded.head.weight is loaded.target_embedding.weight) == tie_head
    assert torch.equal(torch.get_rng_state(), state)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def test_half_precision_takes_half_the_space(tmp_path):
    model = small(d_model=64)
    full = save_model(model, tmp_path / "full") / "model.safetensors"
    half = save_model(model, tmp_path / "half", dtype="fp16") / "model.safetensors"
    assert half.stat().st_size < 0.55 * full.stat().st_size
    loaded = load_model(tmp_path / "half")
    for p, q in zip(model.parameters(), loaded.parameters(), strict=True):
        assert q.dtype == torch.float32
        torch.testing.assert_close(p, q, atol=1e-4, rtol=1e-3)


def test_files_are_readable_by_whom_the_umask_lets(tmp_path):
    before = os.umask(0o022)
    try:
        folder = save_model(small(), tmp_path / "m")
        list(train(small(), Data(), steps=1, run=tmp_path / "r"))
    finally:
        os.umask(before)
    for path in [p for f in (folder, tmp_path / "r") for p in f.rglob("*") if p.is_file()]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o644, path


def test_a_torn_pair_of_files_still_gives_one_model(tmp_path):
    """A kill between the two renames leaves new weights beside an old config.json."""
    save_model(small(d_model=32), tmp_path / "m")
    new = small()
    save_model(new, tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", tmp_path / "m")
    with pytest.warns(UserWarning, match=r"config.json differs from the configuration stored with"):
        assert same(load_model(tmp_path / "m"), new)


def test_what_a_dead_writer_left_is_cleaned_up(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".model.safetensors.writing-{dead.pid}").write_bytes(b"half")
    (tmp_path / f".model.safetensors.writing-{os.getppid()}").write_bytes(b"alive")
    save_model(small(), tmp_path)
    left = [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]
    assert left == [f".model.safetensors.writing-{os.getppid()}"]


@pytest.mark.badinput
def test_what_cannot_be_saved_or_loaded_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"a Linear has no config"):
        save_model(torch.nn.Linear(2, 2), tmp_path)
    with pytest.raises(ValueError, match=r"dtype='int8'.*fp32, fp16, bf16"):
        save_model(small(), tmp_path, dtype="int8")
    with pytest.raises(FileNotFoundError, match=r"nowhere is no folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"holds no model.safetensors"):
        load_model(tmp_path)


@pytest.mark.badinput
def test_another_shape_or_version_is_named(tmp_path):
    save_model(small(), tmp_path / "m")
    with pytest.raises(
        CheckpointError,
        match=r"embedding.weight is \[10, 16\] in the file but \[12, 16\] in the model",
    ):
        load_model(tmp_path / "m", model=small(vocab_size=12))
    with pytest.raises(CheckpointError, match=r"decoder.blocks.1.*is missing; and \d+ more"):
        load_model(tmp_path / "m", model=small(n_layers=2))
    tensors, metadata = safefiles.read_tensors(tmp_path / "m" / "model.safetensors")
    described = {**json.loads(metadata["transformer_lab"]), "transformer_lab": 99}
    safefiles.write_tensors(
        tmp_path / "m" / "model.safetensors", tensors, {"transformer_lab": json.dumps(described)}
    )
    (tmp_path / "m" / "config.json").unlink()
    with pytest.raises(CheckpointError, match="format version 99; this package reads version 1"):
        load_model(tmp_path / "m")


# ---------------------------------------------------------------- exact resume


def resumed(tmp_path, stop, *, make=small, data=Data, how="break", **options):
    """A run stopped after `stop` steps and resumed, and one that never stopped."""
    settings = dict(steps=8, eval_batches=[Data().batch(-1)], eval_every=3, checkpoint_every=4)
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
    seed_everything(99)  # whatever the new process has drawn before
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
            tl.ModelConfig.modern(vocab_size=10, n_layers=1, n_heads=2, d_model=16, n_ctx=8,
                                  dropout=0.2)
        )  # fmt: skip

    resumed(tmp_path, 5, make=make, optimizer="modern")


@pytest.mark.resume
def test_resume_is_bitwise_in_bf16(tmp_path):
    resumed(tmp_path, 3, precision="bf16")


class Augmented(TensorDataset):
    """Examples that draw from torch's global state when they are fetched."""

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
    """The interrupt falls into step 6; at step 6 an evaluation is due."""
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

    settings = dict(steps=8, eval_batches=[Data().batch(-1)], eval_every=3, checkpoint_every=4)
    stopped = [True]
    whole = small()
    list(train(whole, Data(), run=tmp_path / "whole", loss=Loss(), **settings))
    stopped.clear()
    calls.clear()
    broken, original = small(), torch.optim.AdamW.step
    if where == "update":

        def step(self, *args, **kwargs):
            if calls.count(True) == 6 and not stopped:
                stopped.append(True)
                os.kill(os.getpid(), signal.SIGINT)
            return original(self, *args, **kwargs)

        torch.optim.AdamW.step = step
    try:
        with pytest.raises(TrainingStopped, match=f"step {5 if where == 'forward' else 6};"):
            list(train(broken, Data(), run=tmp_path / "broken", loss=Loss(), **settings))
    finally:
        torch.optim.AdamW.step = original
    fresh = small()
    list(train(fresh, Data(), run=tmp_path / "broken", loss=Loss(), resume=True, **settings))
    assert same(whole, fresh)
    assert timeless(Run(tmp_path / "whole")) == timeless(Run(tmp_path / "broken"))


@pytest.mark.resume
def test_resume_in_another_process_is_bitwise(tmp_path):
    """Stopped and resumed in processes of their own, as a user would."""
    script = tmp_path / "go.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import torch; torch.set_num_threads(1)\n"
        "from test_checkpoint import Data, small\n"
        "from transformer_lab.train import train\n"
        "for s in train(small(), Data(), steps=6, run=sys.argv[1], resume=True):\n"
        "    if s.index == int(sys.argv[2]): break\n"
    )
    for stop in ("2", "-1"):
        subprocess.run([sys.executable, str(script), str(tmp_path / "r"), stop], check=True)
    whole = small()
    list(train(whole, Data(), steps=6))
    assert same(Run(tmp_path / "r").load_model(), whole.eval())


@pytest.mark.resume
def test_what_differs_on_resume_is_said(tmp_path):
    for step in train(small(), Data(), steps=8, run=tmp_path / "r"):
        if step.index == 2:
            break
    other = Data()
    other.seed = 5
    torch.set_num_threads(2)
    with pytest.warns(UserWarning, match="not be bitwise") as caught:
        list(train(small(), other, steps=9, lr=1e-4, run=tmp_path / "r", resume=True))
    said = " ".join(str(w.message) for w in caught)
    for part in ("steps was 8 and is 9", "lr was 0.003 and is 0.0001", "threads was 1 and is 2",
                 "data_seed was 0 and is 5"):  # fmt: skip
        assert part in said


@pytest.mark.badinput
def test_what_cannot_be_resumed_is_refused(tmp_path):
    run = tmp_path / "r"
    list(train(small(), Data(), steps=3, run=run))
    with pytest.raises(
        FileExistsError, match=r"already holds a run \(checkpoint at step 3\); pass "
    ):
        list(train(small(), Data(), steps=3, run=run))
    with pytest.raises(CheckpointError, match=r"of another model: d_model was 16 and is 32"):
        list(train(small(d_model=32), Data(), steps=3, run=run, resume=True))
    with pytest.raises(CheckpointError, match=r"optimizer='adamw', whose state does not serve"):
        list(train(small(), Data(), steps=3, run=run, resume=True, optimizer="modern"))
    with (
        pytest.warns(UserWarning, match="steps was 3"),
        pytest.raises(ValueError, match=r"steps=2 but the run .* has made 3"),
    ):
        list(train(small(), Data(), steps=2, run=run, resume=True))
    assert list(train(small(), Data(), steps=3, run=run, resume=True)) == []


def test_options_stay_those_of_the_call(tmp_path):
    """A saved state does not bring back the fused kernel of the machine that saved it."""
    for step in train(small(), Data(), steps=4, run=tmp_path / "r"):
        if step.index == 2:
            break
    before = torch.optim.AdamW.__init__

    def plain(self, *args, **kwargs):
        before(self, *args, **{**kwargs, "fused": None, "foreach": False})

    torch.optim.AdamW.__init__ = plain
    try:
        with pytest.warns(UserWarning, match=r"implementation was \['AdamW/fused'\] and is"):
            list(train(small(), Data(), steps=4, run=tmp_path / "r", resume=True))
    finally:
        torch.optim.AdamW.__init__ = before


# ---------------------------------------------------------------- a run's folder


def finished(tmp_path, **options):
    run = Run(tmp_path / "r", keep=3)
    list(train(small(), Data(), steps=6, run=run, checkpoint_every=2, **options))
    return run


def test_a_run_can_be_read(tmp_path):
    run = finished(tmp_path)
    assert run.checkpoints == [2, 4, 6]
    assert [m["index"] for m in run.metrics()] == [1, 2, 3, 4, 5, 6]
    assert run.config()["model"]["d_model"] == 16
    assert run.config()["training"]["optimizer"] == "adamw"
    assert same(run.load_model(), load_model(run.folder))
    assert not same(run.load_model(2), run.load_model(6))
    with pytest.raises(ValueError, match=r"step=3 has no checkpoint .*\[2, 4, 6\]"):
        run.load_model(3)


def test_snapshots_are_the_maps_of_the_trace(tmp_path):
    model, probe = small(), torch.arange(6)
    run = Run(tmp_path / "r")
    for step in train(model, Data(), steps=4, run=run, snapshot_every=2, probe=probe):
        if step.index == 2:
            expected = tl.trace(model, probe)
    assert run.snapshots == [0, 2, 4]
    maps = run.snapshot(2)
    assert list(maps) == ["decoder"]
    assert maps["decoder"].shape == (1, 2, 6, 6)
    torch.testing.assert_close(maps["decoder"][0], expected.pattern(0), atol=1 / 60000, rtol=0)
    assert [f"{w:.4f}" for w in maps["decoder"].flatten().tolist()] == [
        f"{w:.4f}" for w in expected.pattern(0).flatten().tolist()
    ]
    shown = run.trace(2, labels=list("abcdef"))
    assert torch.equal(shown.pattern(0), maps["decoder"][0])
    assert shown.key_tokens() == list("abcdef") and shown.tokens.tolist() == [list(range(6))]
    torch.testing.assert_close(
        tl.heads.previous_token(shown), tl.heads.previous_token(expected), atol=1e-4, rtol=0
    )
    assert run.trace(4).key_tokens() == list("012345")
    with pytest.raises(ValueError, match="labels has 2 names; the probe has 6"):
        run.trace(2, labels=["a", "b"])
    with pytest.raises(ValueError, match=r"step=1 has no snapshot .*\[0, 2, 4\]"):
        run.snapshot(1)


def test_snapshots_of_the_first_version_are_read(tmp_path):
    run = Run(tmp_path / "r")
    (tmp_path / "r" / "snapshots").mkdir(parents=True)
    maps = torch.rand(1, 2, 4, 4).softmax(-1)
    for step, scale in ((3, "255"), (4, "9")):
        tensors = {
            "probe.source": torch.arange(4),
            "decoder.pattern": (maps * 255).round().to(torch.uint8),
        }
        safefiles.write_tensors(run._snapshot_path(step), tensors, {"scale": scale})
    torch.testing.assert_close(run.snapshot(3)["decoder"], maps, atol=0.51 / 255, rtol=0)
    assert run.trace(3).shape() == (4, 4)
    with pytest.raises(CheckpointError, match="later version"):
        run.snapshot(4)


def test_snapshots_of_an_encoder_decoder(tmp_path):
    class Pairs:
        def batch(self, step):
            rows = torch.arange(16).view(2, 8) % 10
            return tl.datasets.Batch(tokens=rows, targets=rows, target_in=rows.flip(1))

    run, probe = Run(tmp_path / "r"), (torch.arange(5), torch.arange(3))
    model = small(kind="encoder-decoder")
    list(train(model, Pairs(), steps=2, run=run, snapshot_every=1, probe=probe))
    shapes = {kind: list(maps.shape) for kind, maps in run.snapshot(2).items()}
    assert shapes == {"encoder": [1, 2, 5, 5], "decoder": [1, 2, 3, 3], "cross": [1, 2, 3, 5]}


def test_snapshots_change_nothing_that_is_learned(tmp_path):
    plain = small()
    list(train(plain, Data(), steps=4))
    looked_at = small()
    list(train(looked_at, Data(), steps=4, run=tmp_path / "r", snapshot_every=1,
               probe=torch.arange(4)))  # fmt: skip
    assert same(plain, looked_at)


def test_a_torn_checkpoint_is_named_and_passed_over(tmp_path):
    run = finished(tmp_path)
    path = run.folder / "checkpoints" / "step-00000006" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.warns(
        UserWarning, match=r"passing over .*step-00000006/model.safetensors is not as"
    ):
        assert run.newest().step == 4
    whole = Run(tmp_path / "r").load_model(4)
    with pytest.warns(UserWarning, match="passing over"):
        rest = list(train(small(), Data(), steps=6, run=run, resume=True, checkpoint_every=2))
    assert [s.index for s in rest] == [5, 6]
    assert run.newest().step == 6  # the torn one has given way
    assert not same(whole, run.load_model())


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "state.json", "config.json"])  # fmt: skip
@pytest.mark.parametrize("how", ["flipped", "cut", "missing"])
def test_damage_anywhere_is_seen(tmp_path, name, how):
    run = finished(tmp_path)
    path = run.folder / "checkpoints" / "step-00000006" / name
    raw = bytearray(path.read_bytes())
    if how == "flipped":
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
    elif how == "cut":
        path.write_bytes(raw[: len(raw) // 2])
    else:
        path.unlink()
    with pytest.warns(UserWarning, match="step-00000006"):
        assert run.newest().step == 4


def test_a_metrics_line_cut_short_is_dropped(tmp_path):
    run = finished(tmp_path)
    path = run.folder / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert [m["index"] for m in run.metrics()] == [1, 2, 3, 4, 5]
    shutil.rmtree(run.folder / "checkpoints" / "step-00000006")
    list(train(small(), Data(), steps=6, run=run, resume=True, checkpoint_every=2))
    assert [m["index"] for m in run.metrics()] == [1, 2, 3, 4, 5, 6]


def test_one_writer_a_folder(tmp_path):
    run = Run(tmp_path / "r")
    steps = train(small(), Data(), steps=3, run=run)
    next(steps)
    holder = f"process {os.getpid()} on "
    with pytest.raises(LockedError, match=holder):
        next(train(small(), Data(), steps=3, run=run, resume=True))
    steps.close()
    assert len(list(train(small(), Data(), steps=3, run=run, resume=True))) == 2


def test_the_lock_of_a_dead_process_is_taken_over_with_a_warning(tmp_path):
    run = finished(tmp_path)
    import socket

    left = {"host": socket.gethostname(), "pid": 4_000_000}
    (run.folder / "lock").write_text(json.dumps(left))
    with pytest.warns(UserWarning, match=r"written by process 4000000 on .*gone; taking over"):
        list(train(small(), Data(), steps=6, run=run, resume=True))
    left["host"] = "elsewhere"
    (run.folder / "lock").write_text(json.dumps(left))
    with pytest.raises(
        LockedError, match=r"process 4000000 on elsewhere; if that process is gone, "
    ):
        list(train(small(), Data(), steps=6, run=run, resume=True))


def test_tensorboard_where_it_is_installed(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = finished(tmp_path)
    events = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    logged = [(e.step, e.value) for e in events.Scalars("loss")]
    assert logged == [(m["index"], pytest.approx(m["loss"])) for m in run.metrics()]


# ---------------------------------------------------------------- a full disk


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 2 MiB, where we may mount one; otherwise None."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    yield folder if mounted else None
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.mark.diskfull
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, tiny_disk, monkeypatch, record_property):
    record_property("disk", "tmpfs of 2 MiB" if tiny_disk else "monkeypatched ENOSPC")
    folder = tiny_disk or tmp_path
    run = Run(folder / "r")
    model = small(d_model=48)

    def fill():
        if tiny_disk:
            free = shutil.disk_usage(folder).free
            (folder / "junk").write_bytes(b"x" * (free - 8192))
        else:

            def full(*args, **kwargs):
                raise OSError(errno.ENOSPC, "No space left on device")

            monkeypatch.setattr(safefiles, "write_tensors", full)
            monkeypatch.setattr("transformer_lab.run.write_tensors", full)
            monkeypatch.setattr("transformer_lab.checkpoint.write_tensors", full)

    with pytest.raises(DiskFullError, match="the disk is full; what was written before is kept"):  # noqa: PT012
        for step in train(model, Data(), steps=20, run=run, checkpoint_every=2):
            if step.index == 5:
                fill()
    assert run.newest().step == 4
    assert not list(run.folder.rglob(".*.writing-*"))
    assert [m["index"] for m in run.metrics()][:4] == [1, 2, 3, 4]
    if tiny_disk:
        (folder / "junk").unlink()
    monkeypatch.undo()
    rest = list(
        train(small(d_model=48), Data(), steps=20, run=run, resume=True, checkpoint_every=2)
    )
    assert [s.index for s in rest] == list(range(5, 21))


@pytest.mark.diskfull
def test_a_full_disk_keeps_the_saved_model(tmp_path, tiny_disk, monkeypatch):
    folder = tiny_disk or tmp_path
    old = small()
    save_model(old, folder / "m")
    if tiny_disk is None:

        def full(*args, **kwargs):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("transformer_lab.checkpoint.write_tensors", full)
    with pytest.raises(DiskFullError, match="the disk is full"):
        save_model(small(d_model=256), folder / "m")
    assert same(load_model(folder / "m"), old)
    assert len(list((folder / "m").iterdir())) == 2


def test_metrics_hold_null_for_what_is_not_finite(tmp_path):
    run = Run(tmp_path / "r")
    steps = train(small(), Data(), steps=2, run=run)
    next(steps)
    steps.close()
    for line in run.metrics():
        assert all(v is None or isinstance(v, int) or math.isfinite(v) for v in line.values())
