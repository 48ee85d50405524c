"""The doctor's report is true, and survives whatever is broken."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner

from transformer_lab.cli import main
from transformer_lab.doctor import report as doctor

ROOT = Path(__file__).parent.parent
BASICS = [
    "Python",
    "packages",
    "torch",
    "a model",
    "JupyterLab",
    "widgets",
    "this folder",
    "progress",
]


def report(cwd, **environment):
    """(exit code, {name: (ok, text)}) of the doctor in a separate process."""
    done = subprocess.run(
        [sys.executable, "-m", "transformer_lab.doctor"],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    assert "Traceback" not in done.stdout + done.stderr and done.stderr == ""
    return done.returncode, parsed(done.stdout)


def parsed(text):
    """name -> (ok, text and what to do), for each entry of a report."""
    found, name = {}, ""
    for line in text.splitlines():
        if line.startswith("  ") and line[2] != " ":
            name = line[2:15].strip()
            found[name] = [line[15:25].strip() == "ok", line[25:].strip()]
            assert line[15:25].strip() in ("ok", "no")
        elif line.startswith(" " * 25):
            found[name][1] += " " + line.strip()
    return {name: tuple(line) for name, line in found.items()}


def path_with(folder):
    return os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])


def test_here_the_basics_work_and_it_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", path_with(tmp_path))
    result = CliRunner().invoke(main, ["doctor"])
    found = parsed(result.output)
    assert [name for name in BASICS if not found[name][0]] == []
    assert result.exit_code == 0
    assert result.output.rstrip().endswith("The basics work. No network is needed.")
    assert found["torch"][1].startswith(metadata.version("torch"))
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- broken torch


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise OSError('libcudart.so.13: cannot open shared object file')", "libcudart.so.13"),
        ("raise ImportError()", "ImportError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed (signal 11)"),
        ("import os; os._exit(3)", "exit status 3"),
        ("import sys; sys.exit('no licence')", "no licence"),
        ("print('doctor:no JSON')", "AttributeError"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
def test_a_torch_that_fails_or_crashes_gives_its_reason(tmp_path, monkeypatch, code, reason):
    (tmp_path / "torch.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", path_with(tmp_path))
    found = doctor.try_parts(["torch", "model"])
    assert reason in found["torch"]["error"]
    assert found["model"] == {"error": "not tried, because torch failed"}


def test_a_broken_torch_is_a_line_and_not_the_end_of_the_report(tmp_path):
    (tmp_path / "torch.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    status, found = report(ROOT, PYTHONPATH=path_with(tmp_path))
    assert status == 1
    ok, text = found["torch"]
    assert not ok and 'pip install --force-reinstall "torch>=2.5"' in text
    assert not found["a model"][0] and "not tried, because torch failed" in found["a model"][1]
    assert found["Python"][0] and found["packages"][0] and found["widgets"][0]


def test_a_torch_that_never_loads_is_given_up(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("import time; time.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", path_with(tmp_path))
    monkeypatch.setattr(doctor, "SECONDS", 1)
    assert doctor.try_parts()["torch"] == {"error": "did not finish within 1 seconds"}


def test_a_crash_in_one_part_leaves_the_others(tmp_path, monkeypatch):
    (tmp_path / "transformers.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", path_with(tmp_path))
    found = doctor.try_parts(["torch", "hub", "box"])
    assert "version" in found["torch"] and "works" in found["box"]
    assert found["hub"] == {"error": "crashed (signal 6)"}


# ---------------------------------------------------------------- packages


@pytest.mark.parametrize(
    ("version", "word"), [(None, "missing"), ("0.9.1", "0.9.1"), ("", "missing")]
)
def test_a_package_that_is_missing_or_too_old_is_named_with_what_to_type(
    monkeypatch, version, word
):
    real = metadata.version

    def changed(name):
        if name != "anywidget":
            return real(name)
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", changed)
    ok, text, todo = doctor.packages()
    assert (ok, text) == (False, f"anywidget<1,>=0.9.13 is {word}")
    assert todo == 'python -m pip install "anywidget<1,>=0.9.13"'


def test_the_extras_are_looked_at_one_by_one(monkeypatch):
    real = metadata.version

    def changed(name):
        if name in ("gguf", "nbgrader"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", changed)
    assert doctor.packages()[0]
    assert doctor.hub({"version": "5"})[1] == "gguf<1,>=0.10 is missing"
    assert doctor.homework()[1] == "nbgrader<0.10,>=0.9.3 is missing (for teachers)"


# ---------------------------------------------------------------- widgets, as JupyterLab sees them


def test_a_widget_that_was_disabled_in_jupyterlab_is_told(tmp_path, monkeypatch):
    (tmp_path / "labconfig").mkdir()
    page = {"disabledExtensions": {"anywidget": True}}
    (tmp_path / "labconfig" / "page_config.json").write_text(json.dumps(page))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    ok, text, todo = doctor.widgets()
    assert (ok, text) == (False, "anywidget is disabled")
    assert todo.startswith("jupyter labextension enable")


def test_an_old_widget_in_front_of_the_installed_one_is_told(tmp_path, monkeypatch):
    import anywidget

    installed = Path(sys.prefix, "share/jupyter/labextensions/anywidget/package.json")
    old = tmp_path / "labextensions" / "anywidget"
    old.mkdir(parents=True)
    (old / "package.json").write_text(
        installed.read_text("utf-8").replace(
            f'"version": "{anywidget.__version__}"', '"version": "0.8.0"'
        )
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    # JupyterLab would call node for an answer that is not needed, and double the time taken.
    (tmp_path / "node").write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    (tmp_path / "node").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    ok, text, _ = doctor.widgets()
    assert (ok, text) == (False, f"anywidget is 0.8.0 in JupyterLab, {anywidget.__version__} here")
    assert os.name == "nt" or not (tmp_path / "asked").exists()


def test_widgets_that_jupyterlab_does_not_find_are_told(monkeypatch):
    monkeypatch.setattr(doctor, "_labextensions", dict)
    ok, text, todo = doctor.widgets()
    assert not ok and text.count("JupyterLab does not find") == 2
    assert "--force-reinstall anywidget" in todo


# ---------------------------------------------------------------- folders


def test_a_folder_that_may_not_be_written_to_is_told(monkeypatch, tmp_path):
    def refused(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    for look in (doctor.this_folder, doctor.progress, doctor.cache):
        ok, text, todo = look()
        assert not ok and "cannot be written (Permission denied)" in text and todo


def test_a_folder_in_the_place_of_the_progress_file_is_told(monkeypatch, tmp_path):
    (tmp_path / "progress.json").mkdir()
    monkeypatch.setenv("TRANSFORMER_LAB_RUNS", str(tmp_path))
    assert doctor.progress() == (
        False,
        f"{tmp_path}/progress.json is not an ordinary file",
        "rename it",
    )


def test_a_file_in_the_place_of_a_folder_is_told(monkeypatch, tmp_path):
    (tmp_path / "runs").write_text("")
    monkeypatch.setenv("TRANSFORMER_LAB_RUNS", str(tmp_path / "runs"))
    assert not doctor.progress()[0]


def test_little_room_on_the_disk_is_told(monkeypatch):
    usage = doctor.shutil.disk_usage("/")._replace(free=10**8)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    assert doctor.disk() == (False, "0.1 GB free for runs", "free some space, or use another disk")


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a folder that somebody is in")
def test_a_folder_that_was_removed_is_told(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        "import os, runpy; os.rmdir(os.getcwd()); "
        "runpy.run_module('transformer_lab.doctor', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=gone,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert not parsed(done.stdout)["this folder"][0]


# ---------------------------------------------------------------- the report


def test_it_survives_that_nothing_can_be_looked_at():
    def broken(*_, **__):
        raise RuntimeError("broken\nin\ntwo ways" + "x" * 999)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("metadata.version", "metadata.requires", "shutil.disk_usage", "shutil.which"):
            patch.setattr(f"transformer_lab.doctor.report.{name}", broken)
        for name in (
            "subprocess.Popen",
            "subprocess.run",
            "pathlib.Path.cwd",
            "tempfile.TemporaryFile",
        ):
            patch.setattr(name, broken)
        text, works = doctor.examine()
    assert not works
    found = parsed(text)
    assert [name for name, line in found.items() if line[0]] == ["Python"]
    assert all(len(line[1]) < 500 for line in found.values())


def test_lines_fit_a_terminal_and_say_what_to_do():
    long = doctor.Line("model wheels", False, "word " * 40, "do " * 60)
    text = doctor.report([doctor.Line("Python", True, "3.11")], [long])
    assert max(map(len, text.splitlines())) <= 80
    assert parsed(text)["model wheels"] == (False, ("word " * 40 + "> " + "do " * 60).strip())
    assert "Not everything" in doctor.report([long], [])


@pytest.mark.parametrize(
    ("tried", "ok", "words"),
    [
        ({"build": None}, False, "none"),
        ({"build": "13.0"}, False, "built for CUDA 13.0 and finds no GPU"),
        (
            {"build": "13.0", "name": "Card (80 GiB)", "count": 2, "precision": "bf16, fp16"},
            True,
            "2 x Card (80 GiB); precision bf16, fp16",
        ),
        ({"error": "RuntimeError: no kernel image"}, False, "no kernel image"),
    ],
)
def test_what_it_says_of_a_gpu(tried, ok, words, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    found = doctor.gpu(tried)
    assert found[0] == ok and words in found[1]


def test_a_driver_beside_a_torch_for_cpus_is_told(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert doctor.gpu({"build": None}) == (
        False,
        "a driver is installed, but torch is a build for CPUs",
        "install torch for CUDA",
    )
