"""Saved models, exact resume, and runs on disk."""

import errno
import json
import math
import os
import shutil
import subprocess
from functools import partial

import pytest
import torch

import transformer_lab as tl
from tests.factories import Rows, learner, same
from tests.missing import package
from transformer_lab.files import safefiles
from transformer_lab.files.lock import LockedError
from transformer_lab.files.models import DiskFullError, load_model, save_model
from transformer_lab.files.paths import FileError
from transformer_lab.training.loop import train
from transformer_lab.training.run import Run, snapshot_path

small = partial(learner, dropout=0.2)


# ---------------------------------------------------------------- a run's folder


def finished(tmp_path, **options):
    run = Run(tmp_path / "r", keep=3)
    list(train(small(), Rows(), steps=6, run=run, checkpoint_every=2, **options))
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
    for step in train(model, Rows(), steps=4, run=run, snapshot_every=2, probe=probe):
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
    with pytest.raises(ValueError, match="labels has 2 names, but the probe has 6"):
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
        safefiles.write_tensors(snapshot_path(run.folder, step), tensors, {"scale": scale})
    torch.testing.assert_close(run.snapshot(3)["decoder"], maps, atol=0.51 / 255, rtol=0)
    assert run.trace(3).shape() == (4, 4)
    with pytest.raises(FileError, match="later version"):
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
    list(train(plain, Rows(), steps=4))
    looked_at = small()
    list(
        train(
            looked_at, Rows(), steps=4, run=tmp_path / "r", snapshot_every=1, probe=torch.arange(4)
        )
    )
    assert same(plain, looked_at)


def test_a_torn_checkpoint_is_named_and_passed_over(tmp_path):
    run = finished(tmp_path)
    path = run.folder / "checkpoints" / "step-00000006" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.warns(
        UserWarning, match=r"skipping .*step-00000006/model.safetensors has changed since"
    ):
        assert run.newest().step == 4
    whole = Run(tmp_path / "r").load_model(4)
    with pytest.warns(UserWarning, match="skipping"):
        rest = list(train(small(), Rows(), steps=6, run=run, resume=True, checkpoint_every=2))
    assert [s.index for s in rest] == [5, 6]
    assert run.newest().step == 6  # the truncated one was replaced
    assert not same(whole, run.load_model())


@pytest.mark.parametrize(
    "name", ["model.safetensors", "training.safetensors", "state.json", "config.json"]
)
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
    list(train(small(), Rows(), steps=6, run=run, resume=True, checkpoint_every=2))
    assert [m["index"] for m in run.metrics()] == [1, 2, 3, 4, 5, 6]


def test_one_writer_a_folder(tmp_path):
    run = Run(tmp_path / "r")
    steps = train(small(), Rows(), steps=3, run=run)
    next(steps)
    holder = f"process {os.getpid()} on "
    with pytest.raises(LockedError, match=holder):
        next(train(small(), Rows(), steps=3, run=run, resume=True))
    steps.close()
    assert len(list(train(small(), Rows(), steps=3, run=run, resume=True))) == 2


def test_the_lock_of_a_dead_process_is_taken_over_with_a_warning(tmp_path):
    run = finished(tmp_path)
    import socket

    left = {"host": socket.gethostname(), "pid": 4_000_000}
    (run.folder / "lock").write_text(json.dumps(left))
    with pytest.warns(UserWarning, match=r"written by process 4000000 on .*ended; taking over"):
        list(train(small(), Rows(), steps=6, run=run, resume=True))
    left["host"] = "elsewhere"
    (run.folder / "lock").write_text(json.dumps(left))
    with pytest.raises(
        LockedError, match=r"process 4000000 on elsewhere; if that process has ended, "
    ):
        list(train(small(), Rows(), steps=6, run=run, resume=True))


def test_tensorboard_where_it_is_installed(tmp_path):
    package("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = finished(tmp_path)
    events = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    logged = [(e.step, e.value) for e in events.Scalars("loss")]
    assert logged == [(m["index"], pytest.approx(m["loss"])) for m in run.metrics()]


# ---------------------------------------------------------------- a full disk


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 2 MiB, if we may mount one; otherwise None."""
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
            monkeypatch.setattr("transformer_lab.training.writer.write_tensors", full)
            monkeypatch.setattr("transformer_lab.files.models.write_tensors", full)

    with pytest.raises(DiskFullError, match="the disk is full; everything written before is kept"):  # noqa: PT012
        for step in train(model, Rows(), steps=20, run=run, checkpoint_every=2):
            if step.index == 5:
                fill()
    assert run.newest().step == 4
    assert not list(run.folder.rglob(".*.writing-*"))
    assert [m["index"] for m in run.metrics()][:4] == [1, 2, 3, 4]
    if tiny_disk:
        (folder / "junk").unlink()
    monkeypatch.undo()
    rest = list(
        train(small(d_model=48), Rows(), steps=20, run=run, resume=True, checkpoint_every=2)
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

        monkeypatch.setattr("transformer_lab.files.models.write_tensors", full)
    with pytest.raises(DiskFullError, match="the disk is full"):
        save_model(small(d_model=256), folder / "m")
    assert same(load_model(folder / "m"), old)
    assert len(list((folder / "m").iterdir())) == 2


def test_metrics_hold_null_for_what_is_not_finite(tmp_path):
    run = Run(tmp_path / "r")
    steps = train(small(), Rows(), steps=2, run=run)
    next(steps)
    steps.close()
    for line in run.metrics():
        assert all(v is None or isinstance(v, int) or math.isfinite(v) for v in line.values())
