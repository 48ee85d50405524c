"""A disk that fills up at any moment. TL_DISKS=30 for the long version."""

import os
import random
import shutil
import subprocess
import sys
import warnings

import pytest
import torch

import transformer_lab as tl
from tests.factories import Rows, learner
from tests.missing import lacking
from transformer_lab.files.models import DiskFullError
from transformer_lab.training.loop import train
from transformer_lab.training.run import Run

pytestmark = pytest.mark.diskfull
STEPS = 8


@pytest.fixture
def disk(tmp_path):
    """A file system of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        lacking("mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def learn(folder, each=None, **options):
    model = learner(d_model=48, dropout=0.2)
    steps = train(
        model,
        Rows(),
        steps=STEPS,
        run=Run(folder),
        checkpoint_every=1,
        snapshot_every=2,
        probe=torch.arange(8),
        **options,
    )
    for step in steps:
        if each:
            each(step)
    return model


def fill(folder, leave):
    free = shutil.disk_usage(folder).free
    (folder / "junk").write_bytes(b"x" * max(0, free - leave))


@pytest.mark.parametrize("seed", range(int(os.environ.get("TL_DISKS", "4"))))
def test_going_on_after_a_full_disk_is_bitwise(tmp_path, disk, seed):
    whole = learn(tmp_path / "whole")
    chance = random.Random(seed)
    at, leave = chance.randint(1, STEPS - 1), chance.choice([0, 4096, chance.randrange(300_000)])
    before = 0

    def each(step):
        nonlocal before
        if step.index == at:
            before = max(Run(disk / "r").checkpoints, default=0)
            fill(disk, leave)

    with pytest.raises(DiskFullError, match="the disk is full") as caught:
        learn(disk / "r", each)
    assert str(disk) in str(caught.value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is damaged
        newest = Run(disk / "r").newest()
    assert (newest.step if newest else 0) >= before
    (disk / "junk").unlink()
    resumed = learn(disk / "r", resume=True)
    assert all(map(torch.equal, whole.state_dict().values(), resumed.state_dict().values()))
    assert [m["index"] for m in Run(disk / "r").metrics()] == list(range(1, STEPS + 1))
    assert not list((disk / "r").rglob(".*"))


LIMITED = """
import resource, sys, torch, transformer_lab as tl
from transformer_lab.files.safefiles import DiskFullError
from tests.factories import Rows, learner
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
model, folder = learner(), sys.argv[1]
for write in (lambda: tl.save_model(model, f"{folder}/m"),
              lambda: list(tl.train(model, Rows(), steps=2, run=f"{folder}/r")),
              lambda: tl.views.HeadView(tl.trace(model, torch.arange(6))).save_html(f"{folder}/p.html")):
    try:
        write()
    except DiskFullError as error:
        print(error)
"""


def test_a_limit_on_the_size_of_files_is_named(tmp_path):
    tl.save_model(learner(), tmp_path / "m")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True
    )
    lines = run.stdout.splitlines()
    assert len(lines) == 3, run.stderr
    assert all("the system does not allow files this large" in line for line in lines)
    assert all(path.read_bytes() == data for path, data in before.items())
    assert not list(tmp_path.rglob("*writing*"))


def test_a_page_on_a_full_disk_names_its_path(disk):
    model = learner()
    view = tl.views.HeadView(tl.trace(model, torch.arange(6)))
    (disk / "page.html").write_text("old")
    fill(disk, 8192)
    with pytest.raises(DiskFullError, match="the disk is full") as caught:
        view.save_html(disk / "page.html")
    assert str(disk / "page.html") in str(caught.value)
    assert (disk / "page.html").read_text() == "old"
    assert sorted(p.name for p in disk.iterdir()) == ["junk", "page.html"]


def test_a_study_on_a_full_disk_keeps_what_was_computed_and_goes_on(disk):
    model = learner(d_model=32, n_layers=4, n_heads=8)
    texts = [[i % 8, i % 7, i % 5, i % 8] for i in range(40)]
    whole = tl.study(model, texts, measure="effects")
    told = []

    def each(done, total):
        told.append(done)
        if done == 3:
            fill(disk, 0)

    options = dict(measure="effects", out=disk / "o", batch_size=1)
    with pytest.raises(DiskFullError, match="the disk is full; everything written before is kept"):
        tl.study(model, texts, progress=each, **options)
    assert 3 <= max(told) < 40
    (disk / "junk").unlink()
    before = len(told)
    found = tl.study(model, texts, progress=lambda done, total: told.append(total), **options)
    assert told[before] <= 40 - max(told[:before])  # nothing saved was computed again
    torch.testing.assert_close(found["kl"].values, whole["kl"].values)
