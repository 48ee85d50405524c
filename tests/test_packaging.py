"""The ways in agree with each other, and importing the package stays cheap."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import transformer_lab as tl

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    ).stdout


def test_importing_and_building_a_model_bring_torch_and_nothing_heavier():
    heavy = ["matplotlib", "plotly", "transformers", "IPython", "ipywidgets", "anywidget"]
    heavy += ["tokenizers", "pooch", "papermill", "click", "nbformat"]
    loaded = run(
        f"import sys, transformer_lab; transformer_lab.Transformer, transformer_lab.trace; print([m for m in {heavy} if m in sys.modules])"
    )
    assert json.loads(loaded.replace("'", '"')) == []


def test_every_public_name_loads():
    for name in tl.__all__:
        assert getattr(tl, name) is not None


def test_a_function_is_not_hidden_by_the_module_of_its_name():
    import transformer_lab.trace  # noqa: F401 (binding the module is what is tested)

    assert callable(tl.trace) and callable(tl.train) and callable(tl.edit)


@pytest.mark.badinput
def test_an_unknown_name_lists_those_that_are_known():
    with pytest.raises(AttributeError, match=r"no 'Tranformer'; it has .*Transformer"):
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
    assert "LOCK   ?= -c constraints.txt\n" in (ROOT / "Makefile").read_text("utf-8")
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


def test_the_readme_shows_the_commands_that_exist():
    readme = (ROOT / "README.md").read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in ("lab", "test", "models", "book", "slides"):
        assert f"make {target}" in readme and f"\n{target}:" in makefile
    assert "make test" in (ROOT / ".ci" / "run").read_text("utf-8")
