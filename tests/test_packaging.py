"""The ways to install agree with each other, and importing the package stays cheap."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import transformer_lab as tl
from tests.missing import need, package
from transformer_lab.cli import main
from transformer_lab.text_model import SHIPPED

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    ).stdout


def test_importing_building_and_loading_a_model_bring_torch_and_nothing_heavier():
    heavy = ["matplotlib", "plotly", "transformers", "IPython", "ipywidgets", "anywidget"]
    heavy += ["tokenizers", "pooch", "papermill", "click", "nbformat", "torch._dynamo", "sympy"]
    loaded = run(
        f"""import sys, transformer_lab as tl
tl.Network, tl.Output, tl.Site
model = tl.load_model({str(ROOT / "data" / "models" / SHIPPED)!r})
with tl.edit(model, tl.ablate(1, 1)):
    tl.trace(model, [1, 2, 3]).pattern(0, 0)
print([m for m in {heavy} if m in sys.modules])"""
    )
    assert json.loads(loaded.replace("'", '"')) == []


def test_every_public_name_loads():
    for name in tl.__all__:
        assert getattr(tl, name) is not None


def test_a_function_is_not_hidden_by_the_module_of_its_name():
    import transformer_lab.training.loop  # noqa: F401 (binding the module is what is tested)

    assert callable(tl.trace) and callable(tl.train) and callable(tl.edit)


@pytest.mark.badinput
def test_an_unknown_name_lists_those_that_are_known():
    with pytest.raises(AttributeError, match="no 'Tranformer'; did you mean Transformer"):
        _ = tl.Tranformer


def test_environment_yml_installs_the_one_list_of_dependencies():
    lines = (ROOT / "environment.yml").read_text("utf-8").splitlines()
    packages = [line.strip().removeprefix("- ") for line in lines if line.lstrip().startswith("- ")]
    assert packages[-2:] == ["-c constraints.txt", "-e .[hub]"]
    names = {p.split()[0] for p in packages if not p.startswith("-")}
    assert names == {"conda-forge", "python", "pip:", "pip"}, "conda brings python and pip only"
    low, high = PROJECT["requires-python"].split(",")
    assert f"python {low},{high}" in packages


def test_the_lock_is_what_make_uses_and_agrees_with_the_list_of_dependencies():
    assert "LOCK   ?= -c constraints.txt\n" in MAKEFILE
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        one = Requirement(line)
        [spec] = one.specifier
        assert spec.operator == "==", line
        pinned.setdefault(canonicalize_name(one.name), []).append(spec.version)
    assert "torch" not in pinned  # which build fits depends on the machine
    extras = PROJECT["optional-dependencies"].values()
    for text in [*PROJECT["dependencies"], *(d for extra in extras for d in extra)]:
        wanted = Requirement(text)
        if wanted.name != "torch":
            versions = pinned[canonicalize_name(wanted.name)]
            assert all(wanted.specifier.contains(v) for v in versions), (text, versions)


def test_torch_is_required_by_range():
    torch = next(d for d in PROJECT["dependencies"] if d.startswith("torch"))
    assert torch == "torch>=2.5"


def test_the_documents_show_the_commands_that_exist():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "notebooks").glob("*.md")]
    text = "\n".join(page.read_text("utf-8") for page in pages)
    for target in ("lab", "test", "models", "check", "book", "slides"):
        assert f"make {target}" in text and f"\n{target}:" in MAKEFILE
    for command in main.commands:
        assert f"transformer-lab {command}" in text, command
    assert "make test" in (ROOT / ".ci" / "run").read_text("utf-8")


# ---------------------------------------------------------------- make


def make(folder, *arguments):
    """(exit code, the output of `make -n`: the commands that make would run)."""
    done = subprocess.run(
        ["make", "-n", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "VENV")},
    )
    return done.returncode, done.stdout + done.stderr


def extras(commands):
    return [line.split('".[')[1].split("]")[0] for line in commands.splitlines() if '".[' in line]


@pytest.fixture
def clone(tmp_path):
    """A folder with copies of the files that make needs for a dry run."""
    need("make")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def stamp(clone, *names):
    (clone / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
    for name in ("bin/pip", *names):
        (clone / ".venv" / name).touch()


def test_lab_installs_what_a_learner_needs_and_test_what_a_developer_needs(clone):
    assert extras(make(clone, "lab")[1]) == ["hub"]
    for target in ("test", "check", "bench"):
        assert extras(make(clone, target)[1]) == ["hub,pictures,course,book,dev"]
    for target in ("book", "slides"):
        assert extras(make(clone, target)[1]) == ["hub,book"]
    assert extras(make(clone, "models")[1]) == ["hub"]
    printed = make(clone, "check")[1]
    assert "bin/tsc" in printed and "bin/prettier" in printed


def test_either_may_come_first_and_each_adds_what_it_lacks(clone):
    stamp(clone, ".learner")
    assert extras(make(clone, "lab")[1]) == []
    assert extras(make(clone, "test")[1]) == ["hub,pictures,course,book,dev"]
    stamp(clone, ".developer", ".models")
    assert extras(make(clone, "lab", "test", "check")[1]) == []
    os.utime(clone / "pyproject.toml")  # newer than every stamp
    os.utime(clone / ".venv" / ".learner", (1, 1))
    assert extras(make(clone, "lab")[1]) == ["hub"]


def test_an_environment_that_was_cut_short_is_made_whole(clone):
    stamp(clone)
    assert "-m venv" not in make(clone, "lab")[1]
    (clone / ".venv" / "bin" / "pip").rename(clone / ".venv" / "bin" / "python")
    assert "-m venv .venv" in make(clone, "lab")[1]


def test_the_small_torch_comes_first_from_pytorchs_own_index_and_only_when_asked(clone):
    commands = make(clone, "lab", "TORCH=cpu")[1]
    small = '--index-url https://download.pytorch.org/whl/cpu "torch>=2.5"'
    assert 0 < commands.index(small) < commands.index('".[hub]"') < commands.index("jupyterlab")
    assert "index-url" not in make(clone, "lab")[1]
    code, told = make(clone, "lab", "TORCH=gpu")
    assert code and "TORCH=gpu is not known; TORCH=cpu" in told


# ---------------------------------------------------------------- the wheel, outside the repository


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    package("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [found] = folder.glob("*.whl")
    return found


def environment(folder, wheel, seen, base=sys.executable):
    """A fresh environment with nothing but the wheel and the packages in the folders `seen`."""
    subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--no-input", "install", "--quiet"]
    # If pip compiled the files, they would not be compiled again, and warnings not seen.
    pip += ["--no-compile", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True, capture_output=True)
    # Only now, or pip would see what is installed there. A line in a .pth adds a folder's packages
    # and runs no .pth in it, so an editable install of this repository stays invisible.
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True)
    Path(site.stdout.strip(), "seen.pth").write_text("\n".join(map(str, seen)), "utf-8")
    return python


def call(python, cwd, *arguments):
    """Run a command of the environment in a folder outside the repository."""
    settings = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "TRANSFORMER"))}
    settings |= {"JUPYTER_PATH": str(Path(sys.prefix, "share", "jupyter")), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [python, *arguments], cwd=cwd, capture_output=True, text=True, env=settings
    )


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """(Python, folder) of an environment with the wheel and the packages that run these tests."""
    folder = tmp_path_factory.mktemp("installed")
    paths = sysconfig.get_paths()
    python = environment(folder / "venv", wheel, {paths["purelib"], paths["platlib"]})
    work = folder / "work"
    work.mkdir()
    return python, work


def test_the_wheel_brings_the_command_and_its_basics_work(installed):
    python, work = installed
    found = call(python, work, "-c", "import transformer_lab; print(transformer_lab.__file__)")
    assert Path(found.stdout).is_relative_to(python.parents[1])
    done = subprocess.run([python.parent / "transformer-lab", "--version"], capture_output=True)
    assert done.returncode == 0
    done = call(python, work, "-m", "transformer_lab", "doctor")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


NEWS = """
import json, sys
from jupyterlab_server.settings_utils import get_settings

defaults, user, name = *sys.argv[1:], "@jupyterlab/apputils-extension:notification"
found, _ = get_settings("", defaults, user, schema_name=name)
news = found["schema"]["properties"]["fetchNews"]["default"]
print(json.dumps([news, found["settings"]]))
"""


def test_the_wheel_brings_what_shows_saved_pictures_in_jupyterlab(installed):
    python, _ = installed
    found = python.parents[1] / "share" / "jupyter" / "labextensions" / PROJECT["name"]
    about = json.loads((found / "package.json").read_text("utf-8"))
    assert [about["name"], about["version"]] == [PROJECT["name"], PROJECT["version"]]
    assert (found / about["jupyterlab"]["_build"]["load"]).is_file()


def test_graders_tools_do_not_stand_in_a_learners_jupyterlab():
    config = package("jupyterlab_server").config
    found = config.get_page_config([str(ROOT / "transformer_lab" / "views")])
    assert "@jupyter/nbgrader" in found["disabledExtensions"]


def test_no_question_about_news_lies_over_the_first_lesson_unless_a_user_wants_news(installed):
    python, work = installed
    schemas = Path(sys.prefix, "share", "jupyter", "lab", "schemas")
    own = work / "settings" / "@jupyterlab" / "apputils-extension"
    for chosen in ({}, {"fetchNews": "true"}):
        if chosen:
            own.mkdir(parents=True)
            (own / "notification.jupyterlab-settings").write_text(json.dumps(chosen))
        done = call(python, work, "-c", NEWS, schemas, work / "settings")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == ["false", chosen]


def test_the_wheel_explores_its_model(installed):
    python, work = installed
    done = call(python, work, "-m", "transformer_lab", "explore", "--html", "heads.html")
    assert done.returncode == 0, done.stderr
    assert "default-src 'none'" in (work / "heads.html").read_text("utf-8")


def test_a_lesson_copied_from_the_wheel_runs_outside_the_repository(installed):
    python, work = installed
    done = call(python, work, "-m", "transformer_lab", "lessons", "course", "--no-open")
    assert done.returncode == 0, done.stderr
    for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"):
        assert (work / "course" / path.name).read_bytes() == path.read_bytes()
    code = (
        "from transformer_lab.lessons import run_notebook; "
        "run_notebook('01_attention_by_hand.ipynb', '../01.ipynb', preset='quick')"
    )
    done = call(python, work / "course", "-c", code)
    assert done.returncode == 0, done.stderr
    cells = json.loads((work / "01.ipynb").read_text("utf-8"))["cells"]
    assert sum(bool(cell.get("outputs")) for cell in cells) > 5


def others():
    """Other supported Pythons on this machine."""
    for minor in (10, 11, 12, 13):
        path = shutil.which(f"python3.{minor}")
        if path and minor != sys.version_info.minor:
            # A version manager's shim may have no Python behind it.
            asked = subprocess.run([path, "-c", "import venv"], capture_output=True)
            if asked.returncode == 0:
                yield path


def test_without_torch_other_pythons_still_copy_lessons_and_say_what_is_missing(wheel, tmp_path):
    """The parts that need only click work there; every module at least compiles."""
    import click

    few = tmp_path / "few"
    shutil.copytree(Path(click.__file__).parent, few / "click")
    lessons = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    found = list(others())
    for base in found:
        work = tmp_path / Path(base).name
        work.mkdir()
        python = environment(work / "venv", wheel, [few], base)
        done = call(python, work, "-m", "transformer_lab", "lessons", "course", "--no-open")
        assert done.returncode == 0, (base, done.stderr)
        assert sorted(path.name for path in (work / "course").glob("*.ipynb")) == lessons
        done = call(python, work, "-m", "transformer_lab", "doctor")
        assert (done.returncode, done.stderr) == (1, ""), base
        assert "No module named 'torch'" in " ".join(done.stdout.split())
        package = next((work / "venv").rglob("transformer_lab"))
        done = call(python, work, "-W", "error", "-m", "compileall", "-q", package)
        assert done.returncode == 0, (base, done.stdout)
    if not found:
        pytest.skip("no other Python is here")


@pytest.mark.parametrize(("given", "wanted"), [(None, "passive"), ("active", "active")])
def test_threads_that_wait_sleep_unless_told_otherwise(given, wanted):
    """On a shared machine, spinning threads made a step take seconds."""
    env = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    env |= {} if given is None else {"OMP_WAIT_POLICY": given}
    code = "import os, transformer_lab; print(os.environ['OMP_WAIT_POLICY'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.strip() == wanted
