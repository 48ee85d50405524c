"""What is saved is loaded unchanged, or the error names it."""

import json
import os
import shutil
import stat
import subprocess
import sys
from functools import partial

import pytest
import torch

from tests.factories import Rows, learner, same
from transformer_lab.files import safefiles
from transformer_lab.files.models import load_model, save_model
from transformer_lab.files.paths import FileError
from transformer_lab.training.loop import train

small = partial(learner, dropout=0.2)


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
        list(train(small(), Rows(), steps=1, run=tmp_path / "r"))
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
    with pytest.raises(
        ValueError, match=r"dtype must be one of fp32, fp16, bf16, None, got 'int8'"
    ):
        save_model(small(), tmp_path, dtype="int8")
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"has no model.safetensors"):
        load_model(tmp_path)


@pytest.mark.badinput
def test_another_shape_or_version_is_named(tmp_path):
    save_model(small(), tmp_path / "m")
    with pytest.raises(
        FileError, match=r"embedding.weight is \[10, 16\] in the file but \[12, 16\] in the model"
    ):
        load_model(tmp_path / "m", model=small(vocab_size=12))
    with pytest.raises(FileError, match=r"decoder.blocks.1.*is missing; and \d+ more"):
        load_model(tmp_path / "m", model=small(n_layers=2))
    tensors, metadata = safefiles.read_tensors(tmp_path / "m" / "model.safetensors")
    described = {**json.loads(metadata["transformer_lab"]), "transformer_lab": 99}
    safefiles.write_tensors(
        tmp_path / "m" / "model.safetensors", tensors, {"transformer_lab": json.dumps(described)}
    )
    (tmp_path / "m" / "config.json").unlink()
    with pytest.raises(FileError, match="format version 99; this package reads version 1"):
        load_model(tmp_path / "m")
