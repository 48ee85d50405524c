"""Runs with missing or damaged files: intact ones are kept, and resuming is bitwise."""

import json
import math
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories import Rows, learner, same
from transformer_lab.files.checkpoints import sealed
from transformer_lab.files.paths import FileError
from transformer_lab.files.safefiles import read_tensors, sha256, write_tensors
from transformer_lab.training.loop import train
from transformer_lab.training.run import Run

pytestmark = pytest.mark.resume
EXAMPLES = int(os.environ.get("TL_EXAMPLES", "60"))
STEPS = 6


def learn(folder, until=STEPS, **options):
    """Train with a checkpoint and a snapshot at every second step; stop at `until`."""
    model = learner(dropout=0.2)
    steps = train(
        model,
        Rows(),
        steps=STEPS,
        run=Run(folder, keep=2),
        checkpoint_every=2,
        snapshot_every=2,
        probe=torch.arange(4),
        **options,
    )
    for step in steps:
        if step.index == until:
            break
    return model


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return learn(folder), Run(folder)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    learn(folder, until=4)
    assert Run(folder).checkpoints == [2, 4]
    return folder


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def goes_on(folder, whole):
    """Check that the run resumes to the end as if nothing had happened."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = learn(folder, resume=True)
    assert same(model, whole[0])
    lines = {m["index"]: m["loss"] for m in Run(folder).metrics()}
    expected = {m["index"]: m["loss"] for m in whole[1].metrics()}
    assert lines.items() <= expected.items() and {5, 6} <= set(lines)  # these are true
    assert Run(folder).newest().step == STEPS
    assert not list(folder.rglob(".*"))


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@given(data=st.data())
def test_resume_after_any_prefix_of_any_file(whole, stopped, data):
    names = sorted(p.relative_to(stopped) for p in stopped.rglob("*") if p.is_file())
    names = [name for name in names if "tensorboard" not in name.parts]
    name = data.draw(st.sampled_from(names))
    raw = (stopped / name).read_bytes()
    kept = data.draw(st.integers(-1, len(raw) - 1))
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(stopped, folder, dirs_exist_ok=True)
        if kept < 0:
            (Path(folder) / name).unlink()
        else:
            (Path(folder) / name).write_bytes(raw[:kept])
        goes_on(Path(folder), whole)


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@given(data=st.data())
def test_resume_after_any_flipped_bit(whole, stopped, data):
    names = sorted((stopped / "checkpoints").rglob("*.*"))
    path = data.draw(st.sampled_from([p for p in names if p.is_file()]))
    raw = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(stopped, folder, dirs_exist_ok=True)
        (Path(folder) / path.relative_to(stopped)).write_bytes(raw)
        goes_on(Path(folder), whole)


@pytest.mark.parametrize("gone", ["checkpoints", "checkpoints/step-00000004", "snapshots"])
def test_resume_without_a_folder(whole, stopped, tmp_path, gone):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / gone)
    goes_on(tmp_path, whole)


def test_with_no_whole_checkpoint_nothing_is_lost(stopped, tmp_path):
    """Training once started over and removed each checkpoint that it made."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    for state in tmp_path.glob("checkpoints/*/state.json"):
        state.write_text("{")
    before = contents(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one sentence is enough
        with pytest.raises(FileError, match=r"no usable checkpoint \(those of steps 2, 4 ar"):
            learn(tmp_path, resume=True)
    assert contents(tmp_path) == before


def test_damaged_checkpoints_of_later_steps_push_none_out(whole, stopped, tmp_path):
    """Those of steps 20 and 30 are damaged; with keep=2 they must not displace the intact ones."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    for step in (20, 30):
        damaged = tmp_path / "checkpoints" / f"step-{step:08d}"
        shutil.copytree(tmp_path / "checkpoints" / "step-00000004", damaged)
        (damaged / "state.json").write_text("{}")
    with pytest.warns(UserWarning, match="skipping"):
        model = learn(tmp_path, resume=True)
    assert same(model, whole[0])
    assert Run(tmp_path).checkpoints == [4, 6, 20, 30]
    with pytest.warns(UserWarning, match="skipping"):
        assert Run(tmp_path).newest().step == 6


def test_a_limit_of_infinity_can_be_kept(tmp_path):
    learn(tmp_path, until=2, clip=math.inf)
    assert Run(tmp_path).config()["training"]["clip"] is None  # nothing is clipped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learn(tmp_path, resume=True, clip=math.inf)


@pytest.mark.badinput
@pytest.mark.parametrize("keep", [0, -1, 1.5, True, "2", None, float("nan")])
def test_keep_is_a_whole_number(tmp_path, keep):
    with pytest.raises(ValueError, match=r"keep must be a whole number of at least 1, got"):
        Run(tmp_path, keep=keep)


@pytest.mark.parametrize("what", ["no probe", "no maps", "another probe", "another kind", "flat"])
def test_a_snapshot_that_does_not_hold_together_is_named(stopped, tmp_path, what):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "snapshots" / "step-00000004.safetensors"
    tensors, metadata = read_tensors(path)
    maps, probe = tensors.pop("decoder.pattern"), tensors.pop("probe.source")
    tensors = {
        "no probe": {"decoder.pattern": maps},
        "no maps": {"probe.source": probe},
        "another probe": {"decoder.pattern": maps, "probe.source": probe[:2].clone()},
        "another kind": {"sideways.pattern": maps, "probe.source": probe},
        "flat": {"decoder.pattern": maps[0].clone(), "probe.source": probe},
    }[what]
    write_tensors(path, tensors, metadata)
    with pytest.raises(FileError, match=r"step-00000004.safetensors has changed since it was"):
        Run(tmp_path).snapshot(4)


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"null",
        b'{"index": "3"}',
        b'{"index": true}',
        b"{" * 10**6,
        b"\xff\xfe",
        b'{"index": 3.5}',
        b'{"index": 5}',
        b'{"index": 5, "loss": [1]}',
        b'{"index": 5, "loss": "x"}',
        b'{"index": 5, "loss": 1, "eval_loss": {}}',
    ],
)
def test_metrics_end_where_they_make_no_sense(stopped, tmp_path, line):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "metrics.jsonl"
    with path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.warns(
        UserWarning, match=r"metrics.jsonl, line 5 (has|is).*all later lines are skipped"
    ):
        assert [m["index"] for m in Run(tmp_path).metrics()] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["step-٣", "step-3", "step-000000003", "step-" + "9" * 5000])
def test_a_checkpoint_has_a_name_as_we_write_it(stopped, tmp_path, name):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    (tmp_path / "checkpoints" / name[:200]).mkdir()
    assert Run(tmp_path).checkpoints == [2, 4]


@pytest.mark.parametrize("forge", ["all", "one", "updates", "kind"])
def test_a_forged_seal_does_not_hide_what_is_lost(stopped, tmp_path, forge):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    folder = Run(tmp_path).newest().folder
    path, state = folder / "training.safetensors", json.loads((folder / "state.json").read_text())
    state.pop("seal")
    tensors, _ = read_tensors(path)
    names = [name for name in tensors if name.startswith("optimizer.")]
    for name in {"all": names, "one": names[:1]}.get(forge, []):
        del tensors[name]
    write_tensors(path, tensors, {})
    state["files"][path.name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    if forge in ("updates", "kind"):
        state["updates"] = [[None]] if forge == "updates" else [["x"]]
    (folder / "state.json").write_text(json.dumps(sealed(state)))
    with pytest.raises(FileError, match=r"optimizer tensors, not|updates="):
        learn(tmp_path, resume=True)


def test_a_line_of_metrics_without_an_end_is_not_read_whole(stopped, tmp_path):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.truncate(1 << 34)  # 16 GiB of zeros that take no space
    assert [m["index"] for m in Run(tmp_path).metrics()] == [1, 2, 3, 4]
