"""Somebody else's files in the way: refused with one sentence, and not a byte changed."""

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import transformer_lab as tl
from tests.factories import Rows, learner
from tests.missing import lacking, package
from transformer_lab.files.models import NotReplacedError, load_model, save_model
from transformer_lab.files.paths import FileError
from transformer_lab.files.safefiles import (
    clean,
    committed,
    committed_folder,
    open_regular,
    parse_json,
    read_bytes,
    read_json,
)
from transformer_lab.training.loop import train
from transformer_lab.training.run import Run
from transformer_lab.training.toml import read_config

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes and links here")

PRECIOUS = b"three years of work\n"


def snapshot(folder):
    """Everything below a folder: names, types, link targets and bytes."""
    seen = {}
    for path in sorted(folder.rglob("*")):
        mode = os.lstat(path).st_mode
        what = os.readlink(path) if path.is_symlink() else None
        if stat.S_ISREG(mode):
            what = path.read_bytes()
        seen[str(path.relative_to(folder))] = (stat.S_IFMT(mode), what)
    return seen


def learn(folder, **options):
    return list(train(learner(), Rows(), steps=2, run=folder, checkpoint_every=1, **options))


# ---------------------------------------------------------------- what is at a path


def in_the_way(path, what):
    precious = path.parent / "precious"
    precious.write_bytes(PRECIOUS)
    if what == "link":
        path.symlink_to(precious)
    elif what == "dangling link":
        path.symlink_to(path.parent / "nowhere")
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "link to a folder":
        (path.parent / "target").mkdir()
        (path.parent / "target" / "precious").write_bytes(PRECIOUS)
        path.symlink_to(path.parent / "target")
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            here = os.getcwd()
            os.chdir(path.parent)  # a socket's path may have 108 bytes
            try:
                made.bind(path.name)
            finally:
                os.chdir(here)
    elif what == "device":
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        except OSError:
            lacking("device")


KINDS = ["link", "dangling link", "pipe", "folder", "link to a folder", "socket", "device"]


@pytest.mark.parametrize("what", KINDS)
def test_only_a_regular_file_is_replaced(tmp_path, what):
    path = tmp_path / "page.html"
    in_the_way(path, what)
    before = snapshot(tmp_path)
    with (
        pytest.raises(NotReplacedError, match=r"page\.html is a") as caught,
        committed(path) as part,
    ):
        part.write_text("new")
    assert "\n" not in str(caught.value)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("what", KINDS)
def test_a_page_replaces_only_a_regular_file(tmp_path, what):
    path = tmp_path / "page.html"
    in_the_way(path, what)
    before = snapshot(tmp_path)
    view = tl.views.HeadView(tl.trace(learner(), torch.arange(5)))
    with pytest.raises((NotReplacedError, ValueError), match=r"page\.html"):
        view.save_html(path)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("what", ["link", "pipe", "device"])
def test_the_command_line_says_so_in_one_line(tmp_path, what):
    path = tmp_path / "page.html"
    in_the_way(path, what)
    before = snapshot(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "transformer_lab", "explore", "--html", str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "page.html is a" in done.stderr, done.stderr
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("what", [k for k in KINDS if k != "link"])
def test_only_a_regular_file_is_read(tmp_path, what):
    path = tmp_path / "config.json"
    in_the_way(path, what)
    with pytest.raises(FileError, match=r"config\.json"):
        open_regular(path)
    with pytest.raises(FileError, match=r"config\.json"):
        read_json(path)


def test_a_link_to_a_file_is_read(tmp_path):
    """Hugging Face's caches consist of links."""
    (tmp_path / "blob").write_text('{"a": 1}')
    (tmp_path / "config.json").symlink_to(tmp_path / "blob")
    assert read_json(tmp_path / "config.json") == {"a": 1}


def test_a_large_file_is_refused_unread(tmp_path):
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # takes no space
    with pytest.raises(FileError, match="larger than 4 MiB"):
        read_json(path)
    with pytest.raises(FileError, match="larger than 1 MiB"):
        read_bytes(path, limit=1 << 20)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ('{"a": NaN}', "NaN is not a finite"),
        ('{"a": -Infinity}', "-Infinity is not a finite"),
        ('{"a": 1e999}', "1e999 is not a finite"),
        ('{"a": ' + "9" * 2_000_000 + "}", "a number of 2000000 digits"),
        ('{"a": 1, "a": 2}', "occurs twice"),
        ("[1]", "not a JSON object"),
        ("", "Expecting value"),
        (b"\xff\xfe\xff", "here is not readable JSON"),
    ],
)
def test_json_that_is_none_is_refused_in_a_sentence(text, why):
    with pytest.raises(FileError, match=why) as caught:
        parse_json(text, "here")
    assert len(str(caught.value)) < 200


# ---------------------------------------------------------------- leftovers


def dead():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_writer_left_goes_at_the_next_start(tmp_path):
    script = (
        "import os, sys\nfrom transformer_lab.files.safefiles import committed\n"
        "with committed(sys.argv[1]) as part:\n"
        "    part.write_text('half'); (part.parent / '.tmpXYZ').write_text('of a library')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    path = tmp_path / "page.html"
    path.write_text("old")
    (tmp_path / ".other.writing-notes").write_bytes(PRECIOUS)  # similar, but not ours
    for _ in range(3):
        subprocess.run([sys.executable, "-c", script, str(path)], check=False)
        left = [p.name for p in tmp_path.iterdir() if p.name.startswith(".page.html.writing-")]
        assert len(left) == 1
    assert path.read_text() == "old"
    with committed(path) as part:
        part.write_text("new")
    assert path.read_text() == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.writing-notes", "page.html"]


def test_only_leftovers_of_the_same_name_go(tmp_path):
    (tmp_path / f".a.html.writing-{dead()}-0").mkdir()
    with committed(tmp_path / "b.html") as part:
        part.write_text("b")
    assert len(list(tmp_path.iterdir())) == 2
    assert len(clean(tmp_path)) == 1


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    """Two threads of one process may write the same file."""
    with committed(tmp_path / "a") as first, committed(tmp_path / "a") as second:
        first.write_text("first")
        second.write_text("second")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("letters", ["x" * 250, "ä" * 120, "😀" * 60])
def test_the_longest_names_can_be_written(tmp_path, letters):
    with committed(tmp_path / letters) as part:
        part.write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == [letters]


def test_a_folder_does_not_replace_a_file(tmp_path):
    (tmp_path / "checkpoint").write_bytes(PRECIOUS)
    with (
        pytest.raises(NotReplacedError, match="is a file, but a folder"),
        committed_folder(tmp_path / "checkpoint"),
    ):
        pass
    assert (tmp_path / "checkpoint").read_bytes() == PRECIOUS


# ---------------------------------------------------------------- models


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [PRECIOUS, b'{"model_type": "gpt2"}'])
def test_a_model_is_not_saved_over_somebody_elses_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    before = snapshot(tmp_path)
    with pytest.raises(NotReplacedError, match="save_model did not write"):
        save_model(learner(), tmp_path)
    assert snapshot(tmp_path) == before


def test_a_model_is_not_saved_over_a_hugging_face_model(tmp_path):
    transformers = package("transformers")
    config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=9, n_positions=8)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(NotReplacedError, match="save_model did not write"):
        save_model(learner(), tmp_path)
    assert snapshot(tmp_path) == before


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("file", "is a file"),
        ("file/x", "is a file"),
        ("x" * 300, "name too long"),
        ("\0", "null byte"),
        ("", "path is empty"),
        ("link", "broken link"),
    ],
)
def test_what_cannot_be_a_folder_is_said_once_and_for_all(tmp_path, name, why):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    path, model = (tmp_path / name if name else ""), learner()
    for call in (
        tl.Run,
        lambda path: save_model(model, path),
        tl.shipped("manual").save,
        tl.shipped("manual").tokenizer.save,
        lambda path: learn(path),
    ):
        with pytest.raises(
            ValueError, match=rf"(folder|run)=.* cannot be a folder: .*{why}; name another"
        ):
            call(path)


@pytest.mark.badinput
def test_a_message_is_one_line_whatever_the_path(tmp_path):
    folder = tmp_path / "a\nb"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.safetensors").write_bytes(b"x" * 9)
    for call in (load_model, lambda path: tl.TextModel.from_pretrained(str(path)), read_config):
        with pytest.raises((ValueError, OSError)) as caught:
            call(folder / "model")
        assert "\n" not in str(caught.value) and r"a\nb" in str(caught.value)


def test_a_model_of_ours_is_renewed(tmp_path):
    save_model(learner(), tmp_path)
    save_model(learner(d_model=32), tmp_path)
    assert load_model(tmp_path).config.d_model == 32
    (tmp_path / "config.json").write_text("{")  # the weights still identify their creator
    save_model(learner(), tmp_path)
    assert load_model(tmp_path).config.d_model == 16


# ---------------------------------------------------------------- runs


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "model/config.json",
        "thesis.tex",
        "metrics.jsonl",
        "lock",
        "checkpoints/best.txt",
        "checkpoints/step-00000003/notes.txt",
    ],
)
def test_a_run_takes_over_no_folder_of_others(tmp_path, name, resume):
    folder = tmp_path / "r"
    path = folder / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"lr": 0.1}' if path.suffix == ".json" else PRECIOUS)
    before = snapshot(tmp_path)
    if name == "checkpoints/best.txt":  # named as a run's folder; its contents are not inspected
        learn(folder, resume=resume)
        assert path.read_bytes() == PRECIOUS
        return
    with pytest.raises(OSError, match=r"not from a run|was not created by|already holds a run"):
        learn(folder, resume=resume)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["lock", "metrics.jsonl", "config.json", "checkpoints", "snapshots", "model"]
)
@pytest.mark.parametrize("started", [False, True])
def test_no_link_in_a_run_is_followed(tmp_path, name, started):
    folder, target = tmp_path / "r", tmp_path / "elsewhere"
    folder.mkdir()
    if started:
        learn(folder)
        if (folder / name).exists():
            (folder / name).rename(tmp_path / "moved")
    if name in ("lock", "metrics.jsonl", "config.json"):
        target.write_bytes(PRECIOUS)
    else:
        (target / "step-00000001").mkdir(parents=True)
        (target / "step-00000001" / "precious").write_bytes(PRECIOUS)
    (folder / name).symlink_to(target)
    before = snapshot(tmp_path)
    with pytest.raises(NotReplacedError, match=f"{name} is a symbolic link"):
        learn(folder, resume=True)
    assert snapshot(tmp_path) == before


def test_a_run_begun_and_killed_at_once_can_begin_again(tmp_path):
    for parts in ((), ("checkpoints",), ("checkpoints", "snapshots")):
        folder = tmp_path / str(len(parts))
        for part in parts:
            (folder / part).mkdir(parents=True)
        (folder / "x").parent.mkdir(exist_ok=True)
        (folder / "lock").write_text("")
        (folder / f".config.json.writing-{dead()}-0").mkdir()
        assert len(learn(folder)) == 2
        assert not list(folder.glob(".*"))


def test_a_run_folder_may_be_a_link_itself(tmp_path):
    (tmp_path / "large-disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "large-disk")
    assert len(learn(tmp_path / "runs")) == 2
    assert Run(tmp_path / "large-disk").checkpoints == [1, 2]


def test_a_lock_that_names_no_owner_is_left_alone(tmp_path):
    learn(tmp_path / "r")
    (tmp_path / "r" / "lock").write_bytes(PRECIOUS)
    with pytest.raises(NotReplacedError, match="lock was not created by"):
        learn(tmp_path / "r", resume=True)
    assert (tmp_path / "r" / "lock").read_bytes() == PRECIOUS


def test_a_config_json_of_others_is_not_read_as_a_runs(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(FileError, match=r"is not the config.json of a run"):
        Run(Path(tmp_path)).config()
