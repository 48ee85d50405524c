"""A sandbox contains everything Python needs, wherever it is, and nothing else of the machine."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.missing import installed
from transformer_lab.lessons.homework import group, sandbox
from transformer_lab.lessons.homework.assignment import NBGRADER
from transformer_lab.lessons.homework.group import _places, counted
from transformer_lab.lessons.homework.sandbox import Limits, _links, box_problem

pytestmark = [pytest.mark.grading, pytest.mark.timeout(120)]


def inside(code, python=None, hidden=None, limits=None):
    with sandbox._box([], limits or Limits(), hidden) as (box, files):
        return subprocess.run(
            [*box, python or sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=sandbox._environment("/tmp"),
            pass_fds=files,
        )


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An environment behind a symlink, whose Python is behind two more, as with pyenv and uv."""
    real = tmp_path / "disk" / "environment"
    venv.create(real, symlinks=True, with_pip=False)
    versions = tmp_path / "versions"
    versions.mkdir()
    base = Path(sys.base_prefix)
    (versions / "current").symlink_to(base)
    python = real / "bin" / "python"
    for link in (real / "bin").glob("python*"):
        link.unlink()
    python.symlink_to(versions / "current" / "bin" / Path(os.path.realpath(sys.executable)).name)
    config = real / "pyvenv.cfg"
    config.write_text(f"home = {versions / 'current' / 'bin'}\nversion = 3\n", "utf-8")
    (tmp_path / "project").mkdir()
    link = tmp_path / "project" / ".venv"
    link.symlink_to(os.path.relpath(real, link.parent))
    (tmp_path / "project" / "secret.txt").write_text("secret")
    monkeypatch.setattr(sys, "prefix", str(link))
    monkeypatch.setattr(sys, "exec_prefix", str(link))
    monkeypatch.setattr(sys, "executable", str(link / "bin" / "python"))
    return link


@pytest.mark.needs("box")
def test_an_environment_may_be_a_symlink_and_its_python_too(elsewhere):
    run = inside("import json, sys; print(sys.prefix); print(open('/etc/passwd').read())")
    assert run.returncode == 0, run.stderr
    assert Path(run.stdout.splitlines()[0]) in (elsewhere, elsewhere.resolve())
    secret = elsewhere.with_name("secret.txt")
    run = inside(f"import os; print(os.path.exists({str(secret)!r}))")
    assert run.stdout == "False\n"


@pytest.mark.needs("box")
def test_a_course_inside_what_python_needs_is_hidden(elsewhere):
    course = elsewhere.resolve() / "lib" / "course"
    course.mkdir()
    (course / "solution.txt").write_text("42")
    look = f"import os; print(os.listdir({str(course)!r}))"
    assert inside(look).stdout == "['solution.txt']\n"
    assert inside(look, hidden=course).stdout == "[]\n"


FORKS = """import os, sys, time
sys.path.insert(0, {folder!r})
import steps
steps.limit(memory=2 << 30, disk=1 << 20, seconds=60, processes={most})
made = 0
while made < 200:
    try:
        if os.fork() == 0:
            time.sleep(60)
    except OSError:
        break
    made += 1
print(made)"""


@pytest.mark.needs("box")
def test_no_box_has_more_processes_than_it_may_whoever_grades():
    """Root can exceed its limit: a fork bomb reached 6,000 processes before it was noticed."""
    if os.geteuid() == 0:
        with counted(8) as before:
            if not before:
                pytest.skip(
                    "no control group can be made here, so only a look ends what root starts"
                )
    limits, folder = Limits(processes=32), str(sandbox.STEPS.parent)
    most = limits.processes + sandbox.SPARE
    run = inside(FORKS.format(folder=folder, most=most), limits=limits)
    assert most - 8 < int(run.stdout) < most, run.stderr
    run = inside(FORKS.format(folder=folder, most=500), limits=Limits(processes=500))
    assert int(run.stdout) == 200, run.stderr  # so the limit stopped the first
    assert not list(Path("/sys/fs/cgroup").glob(f"**/transformer-lab-{os.getpid()}-*"))


def test_a_group_is_made_where_linux_counts_in_it(tmp_path):
    """Version 1 counts in each group; version 2 below one that enables it, without processes."""
    old, new = tmp_path / "pids", tmp_path / "unified"
    session = new / "user.slice" / "session-1.scope"
    session.mkdir(parents=True)
    for folder, counts in ((new, "cpu pids"), (session.parent, "memory pids"), (session, "")):
        (folder / "cgroup.subtree_control").write_text(f"{counts}\n")

    def places(groups, *mounts):
        (tmp_path / "cgroup").write_text("".join(f"{line}\n" for line in groups))
        (tmp_path / "mountinfo").write_text("".join(f"{line}\n" for line in mounts))
        return list(_places(tmp_path))

    disk = "21 1 8:1 / / rw shared:1 - ext4 /dev/vda rw"
    first = f"30 21 0:26 / {old} rw - cgroup cgroup rw,pids"
    second = f"31 21 0:27 / {new} rw shared:3 master:1 - cgroup2 cgroup2 rw,nsdelegate"
    time = f"32 21 0:28 / {tmp_path}/cpu rw - cgroup cgroup rw,cpu,cpuacct"
    assert places(["8:pids:/a", "1:name=systemd:/b"], disk, time, first) == [old / "a"]
    own = "0::/user.slice/session-1.scope"
    assert places([own], disk, second) == [session.parent, new]
    both = places(["2:cpu,cpuacct:/c", "8:pids:/", own], first, second)
    assert both == [old, session.parent, new]
    # A container sees only a part of all groups, or is in one whose path is not mounted.
    part = second.replace("0:27 /", "0:27 /docker/1a")
    (new / "cgroup.subtree_control").write_text("")
    assert places(["0::/docker/1a"], part) == places(["0::/../x"], part) == []
    assert places(["8:pids:/docker/1a/b"], first.replace("0:26 /", "0:26 /docker/1a")) == [
        old / "b"
    ]
    assert places([own], disk) == list(_places(tmp_path / "nowhere")) == []


@pytest.mark.skipif(os.name == "nt", reason="there are no control groups")
def test_a_group_that_lets_nobody_in_stops_no_grading(tmp_path, monkeypatch):
    made = tmp_path / "made"
    (made / "cgroup.procs").mkdir(parents=True)
    monkeypatch.setattr(group, "_make", lambda most: made)
    monkeypatch.setattr(group, "ENDED", 0)
    with counted(8) as before:
        run = subprocess.run([*before, sys.executable, "-c", "print(42)"], capture_output=True)
    assert (run.stdout.strip(), run.stderr) == (b"42", b"")


@pytest.mark.needs("box")
def test_a_box_without_bubblewrap_is_refused_with_its_reason(monkeypatch, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: Unknown option --disable-userns' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert shutil.which("bwrap") == str(fake)
    assert "0.8 or newer is needed" in box_problem()
    assert "Unknown option --disable-userns" in box_problem()


def test_every_link_on_a_way_is_found(tmp_path):
    real = tmp_path.resolve() / "a" / "real"
    real.mkdir(parents=True)
    (real.parent / "one").symlink_to("real")
    (real.parent.parent / "two").symlink_to(real.parent)
    (real / "file").write_text("")
    steps = list(_links(real.parent.parent / "two" / ".." / "a" / "one" / "file"))
    assert steps[-1] == (real / "file", "")
    assert dict(steps[:-1]) == {
        real.parent.parent / "two": str(real.parent),
        real.parent / "one": "real",
    }
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    assert {step for step, _ in _links(loop)} == {loop}  # it ends


def test_limits_are_checked():
    with pytest.raises(ValueError, match="memory must be at least 268435456, got 5"):
        Limits(memory=5)
    with pytest.raises(ValueError, match="seconds must be at least 1, got nan"):
        Limits(seconds=float("nan"))


@pytest.mark.parametrize("what", ["nbgrader", "run", "serve"])
def test_grading_starts_without_a_grammar_that_no_notebook_asks_for(what, tmp_path):
    """The grammar costs more than all else that nbgrader imports, three times per submission."""
    installed("nbgrader")
    given = [tmp_path / name for name in ("given", "handed", "prepared", "work")]
    for folder in given:
        folder.mkdir()
    limits = '{"memory": 2147483648, "disk": 100000000, "seconds": 60, "processes": 0}'
    commands = {
        "nbgrader": ["-c", NBGRADER, "--version"],
        "run": [sandbox.STEPS, "run", "hw", *given, limits],
        "serve": [sandbox.STEPS, "serve", "hw", *given[1:], limits],
    }
    told = subprocess.run(
        [sys.executable, "-X", "importtime", *commands[what]],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    ).stderr
    assert "| jsonschema" in " ".join(told.split())
    assert "rfc3987_syntax.syntax_helpers" not in told
