"""Optional requirements of tests: a test names what it needs, and the summary what was not tested.

    @pytest.mark.needs("gpu")        # checked before the test and its fixtures
    need("browser")                  # in a fixture or a test
    lacking("mount")                 # where only trying can tell
    T = package("transformers")      # from an extra; at the top of a file too
    installed("nbgrader")            # the same, for what takes seconds to import

The test is skipped, or fails if TL_REQUIRE_BROWSER=1 or TL_REQUIRE_MODELS=1 (set in CI) require it.
"""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

from transformer_lab.doctor.report import chromium

EXTRAS = {
    "transformers": "hub",
    "nbgrader": "course",
    "sklearn": "pictures",
}  # the others are in `dev`
NEEDS, AND = "needs ", "; "


@dataclass(frozen=True)
class Thing:
    """Something that tests may need.

    Args:
        name: as in "3 tests need …".
        how: how to get it, or "".
        here: returns whether it is here; None where only trying can tell.
        required: the variable that makes its absence a failure, or "".
    """

    name: str
    how: str = ""
    here: Callable[[], bool] | None = None
    required: str = ""


def _gpu():
    import torch  # here: tests without a GPU need not wait for it

    return torch.cuda.is_available()


@cache
def _box():
    from transformer_lab.lessons.homework.sandbox import box_problem

    return not box_problem()


# Kept apart from the other packages: see the Makefile.
QUANTIZATION = Path(sys.prefix) / "quantization"
COLAB = Path(sys.prefix) / "lib/node_modules/@jupyter-widgets/html-manager/dist/embed-amd.js"
THINGS = {
    "browser": Thing(
        "Chromium", "apt install chromium", lambda: chromium() is not None, "TL_REQUIRE_BROWSER"
    ),
    "axe": Thing("axe-core", "pip install -e '.[dev]'", required="TL_REQUIRE_BROWSER"),
    "models": Thing("the model wheels", "make models", required="TL_REQUIRE_MODELS"),
    "gpu": Thing("a GPU", here=_gpu),
    "node": Thing("Node.js", "apt install nodejs", lambda: shutil.which("node") is not None),
    "box": Thing("a box of bubblewrap's", "apt install bubblewrap, 0.8 or newer", _box),
    "mount": Thing("to mount a file system", "root on Linux"),
    "device": Thing("to make a device", "root on Linux"),
    "trackio": Thing("trackio", "pip install trackio", lambda: find_spec("trackio") is not None),
    "where": Thing(
        "Notebook 7, marimo and JupyterLite",
        "pip install -e '.[where]'",
        lambda: all(find_spec(x) is not None for x in ("notebook", "marimo", "jupyterlite_core")),
    ),
    "colab": Thing(
        "ipywidgets' manager for pages",
        "npm install --global --prefix .venv @jupyter-widgets/html-manager@1",
        COLAB.is_file,
    ),
    "peft": Thing("PEFT", "pip install peft", lambda: find_spec("peft") is not None),
    "torchao": Thing(
        "torchao and bitsandbytes",
        "make .venv/.quantization",
        lambda: all((QUANTIZATION / name).is_dir() for name in ("torchao", "bitsandbytes")),
        "TL_REQUIRE_MODELS",
    ),
    "make": Thing("make", "apt install make", lambda: shutil.which("make") is not None),
}


def need(name: str):
    """Skip or fail this test if something is not here."""
    here = THINGS[name].here
    if here is None:
        raise ValueError(f"whether {name!r} is here only trying can tell: use lacking")
    if not here():
        lacking(name)


def lacking(name: str, why: object = "") -> NoReturn:
    """Skip this test for lack of something, or fail it if that is required."""
    thing = THINGS[name]
    reason = f"{NEEDS}{thing.name}" + (f" ({thing.how})" if thing.how else "")
    if thing.required and os.environ.get(thing.required) == "1":
        pytest.fail(f"{thing.required}=1, and this test {reason}: {why}".removesuffix(": "))
    pytest.skip(reason)


def package(name: str):
    """Import a package of an extra; without it the test, or the file, is skipped."""
    return pytest.importorskip(name, reason=_without(name))


def installed(name: str):
    """Skip the test, or the file, without a package of an extra; it is not imported."""
    if find_spec(name) is None:
        pytest.skip(_without(name), allow_module_level=True)


def _without(name: str) -> str:
    extra = EXTRAS.get(name.partition(".")[0], "dev")
    return f"{NEEDS}the extra `{extra}` (pip install -e '.[{extra}]')"


def not_tested(reports) -> str:
    """One line on skipped tests, grouped by what is missing; "" when none was skipped.

    A file that was skipped as a whole counts as one: how many tests it has is not known.
    """
    reasons = {r.nodeid: str(r.longrepr[2]).removeprefix("Skipped: ") for r in reports}
    files = Counter(reason for node, reason in reasons.items() if "::" not in node)
    tests = Counter(reason for node, reason in reasons.items() if "::" in node)
    parts, other = [], 0
    for reason in sorted({*files, *tests}, key=lambda r: (-tests[r], -files[r], r)):
        if not reason.startswith(NEEDS):
            other += tests[reason] + files[reason]
            continue
        counted = [
            f"{count} {noun if count == 1 else noun + 's'}"
            for count, noun in ((tests[reason], "test"), (files[reason], "file"))
            if count
        ]
        one = tests[reason] + files[reason] == 1
        verb = NEEDS if one else "need "
        parts.append(f"{' and '.join(counted)} {verb}{reason.removeprefix(NEEDS)}")
    if other:
        parts.append(f"{other} for other reasons (pytest -rs tells them)")
    return f"not tested here: {AND.join(parts)}" if parts else ""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    for mark in item.iter_markers("needs"):
        need(*mark.args)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
    """Write the line after pytest's own output, where it is read."""
    yield
    line = not_tested(terminalreporter.stats.get("skipped", []))
    if line:
        terminalreporter.write_line(line, yellow=True)
