"""Run every lesson in full over ten seeds, and write what it takes into the lessons' headers.

    python docs/measure_lessons.py [--seeds 0 1 2] [--jobs 2] [--again] [--keep DIR] [LESSON …]
    python docs/measure_lessons.py --headers      (only write the headers, from what was measured)

A lesson whose claims do not hold for a seed fails here. The results are kept in
notebooks/measured.json, run by run, with the machine they were measured on and a digest of what the
lesson computes, which rewording does not change: a stopped run continues where it was, and no run
of the same code is repeated (`--again` repeats it). `--keep` keeps the executed notebooks. A test
compares the headers with the table.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from hashlib import sha256
from pathlib import Path
from typing import Any

import nbformat
import torch

from transformer_lab.lessons import NotebookFailed, run_notebook
from transformer_lab.lessons.claims import CLAIM_MIME
from transformer_lab.lessons.listing import lesson_paths, number_of

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"
TABLE = NOTEBOOKS / "measured.json"
TIME = re.compile(r"All cells together take about [^.;|]*? on a (2-core CPU|GPU) \(measured\)")


def spoken(seconds: float) -> str:
    """A rounded duration in words: "9 seconds", "40 seconds", "2 minutes"."""
    if seconds < 10:
        return f"{max(1, round(seconds))} seconds"
    if seconds < 95:
        return f"{5 * round(seconds / 5)} seconds"
    return f"{round(seconds / 60)} minutes"


def measured(path: Path, seed: int, keep: Path | None = None) -> dict:
    """One run of a lesson: its wall and CPU seconds (the kernel's start included), and its claims."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRANSFORMER_LAB_RUNS"] = folder
        kept = keep / f"{path.stem}-{seed}.ipynb" if keep else Path(folder) / path.name
        out = run_notebook(
            path, kept, cell_seconds=1800, preset="full", seed=seed, answers="solutions"
        )
        cells = nbformat.read(out, as_version=4).cells
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    claims = [
        {
            name: float(f"{value:.6g}") if isinstance(value, float) else value
            for name, value in output["data"][CLAIM_MIME].items()
        }
        for cell in cells
        for output in cell.get("outputs", [])
        if CLAIM_MIME in output.get("data", {})
    ]
    return {
        "seed": seed,
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1
        ),
        "claims": claims,
    }


def header_of(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """The cell that says how long a lesson takes."""
    return next((c for c in notebook.cells if "| **Time** |" in c.source), None)


def write_headers(table: dict) -> list[str]:
    """Put the measured times into the lessons; returns the names of those that changed."""
    changed = []
    for path in lesson_paths(NOTEBOOKS):
        runs = table["lessons"].get(number_of(path))
        notebook = nbformat.read(path, as_version=4)
        cell = header_of(notebook)
        if not runs or cell is None:
            continue
        said = said_time(runs)
        if said not in cell.source and TIME.search(cell.source):
            cell.source = TIME.sub(said, cell.source)
            nbformat.write(notebook, path)
            changed.append(path.name)
    return changed


def said_time(runs: list[dict]) -> str:
    """The sentence about time in a header."""
    took = statistics.median(run["cpu_seconds"] for run in runs)
    return f"All cells together take about {spoken(took)} on a 2-core CPU (measured)"


# Calls whose strings only people read: these, and everything imported from these modules.
SHOWING = {"claim", "print", "ImportError", "ModuleNotFoundError"}
SHOWING_MODULES = ("transformer_lab.lessons.pictures", "transformer_lab.lessons.texts")
SHOWING_ARGUMENTS = {"title", "caption", "alt", "label", "xlabel", "ylabel"}  # of any call


class _Unworded(ast.NodeTransformer):
    """Drops what a lesson's code only shows: docstrings, strings in such calls, and predictions."""

    def __init__(self, showing: set[str]) -> None:
        self.showing = showing

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id in self.showing:
            for argument in node.args:
                _drop_words(argument)
        for keyword in node.keywords:
            shows = isinstance(node.func, ast.Name) and node.func.id in self.showing
            if shows or keyword.arg in SHOWING_ARGUMENTS:
                _drop_words(keyword.value)
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        function = node.value.func if isinstance(node.value, ast.Call) else None
        asks = isinstance(function, ast.Name) and function.id == "predict"
        return None if asks else self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        node.names = [name for name in node.names if name.name != "predict"]
        return node

    def _without_docstring(self, node: Any) -> ast.AST:
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)

    visit_FunctionDef = visit_ClassDef = _without_docstring


def _drop_words(node: ast.expr) -> None:
    """Empty the strings of an argument, except those used in computing, such as keys."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node.value = ""
    elif isinstance(node, ast.JoinedStr):
        node.values = [part for part in node.values if isinstance(part, ast.FormattedValue)]
    elif isinstance(node, ast.List | ast.Tuple | ast.Dict | ast.BinOp | ast.IfExp):
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.expr) and part is not getattr(node, "test", None):
                _drop_words(part)


def code_of(path: Path) -> str:
    """A digest of what a lesson computes: its code without comments, docstrings and words that are
    only shown."""
    cells = nbformat.read(path, as_version=4).cells
    tree = ast.parse("\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    showing = {
        name.asname or name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in SHOWING_MODULES
        for name in node.names
    }
    return sha256(ast.unparse(_Unworded(SHOWING | showing).visit(tree)).encode()).hexdigest()[:16]


def apart(path: Path, seed: int, keep: Path | None) -> dict:
    """Run `measured` in a separate process, so that several can be measured at once."""
    command = [sys.executable, __file__, "--one", str(path), str(seed)]
    command += ["--keep", str(keep)] if keep else []
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise NotebookFailed(run.stderr.strip().splitlines()[-1])
    return json.loads(run.stdout.splitlines()[-1])


def read_table() -> dict:
    """The table. "lessons": the runs of each lesson over ten seeds; "begun": those of newer code,
    until there are enough of them."""
    table = json.loads(TABLE.read_text("utf-8")) if TABLE.is_file() else {}
    return {"lessons": {}, "begun": {}} | table


def keep(number: str, run: dict) -> None:
    """Add one run to the table, or replace an older one with its seed.

    Runs of older code are replaced once there are ten seeds of the new code, or as many as of the
    old.
    """
    table = read_table()
    table["machine"] = (
        f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {torch.get_num_threads()} thread"
    )
    known = [*table["lessons"].get(number, []), *table["begun"].pop(number, []), run]
    same = {old["seed"]: old for old in known if old.get("code") == run["code"]}
    others = [old for old in table["lessons"].get(number, []) if old.get("code") != run["code"]]
    runs = [same[seed] for seed in sorted(same)]
    table["lessons" if len(runs) >= min(10, len(others)) else "begun"][number] = runs
    write_table(table)


def write_table(table: dict) -> None:
    """Write the table, one line per run, so that a diff shows which runs are new."""
    parts = [f'"machine": {json.dumps(table["machine"])}']
    for name in ("lessons", "begun"):
        lessons = ",\n".join(
            f" {json.dumps(number)}: [\n"
            + ",\n".join("  " + json.dumps(r, ensure_ascii=False, sort_keys=True) for r in runs)
            + "\n ]"
            for number, runs in sorted(table[name].items())
        )
        parts.append(f'"{name}": {{\n{lessons}\n}}' if lessons else f'"{name}": {{}}')
    TABLE.write_text("{" + ",\n".join(parts) + "}\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("lessons", nargs="*", metavar="LESSON")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(10))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="DIR")
    parser.add_argument("--headers", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(Path(options.one[0]), int(options.one[1]), options.keep)))
        return
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    paths = [
        path
        for path in lesson_paths(NOTEBOOKS)
        if not options.headers and (not options.lessons or number_of(path) in options.lessons)
    ]
    if missing := {*options.lessons} - {number_of(path) for path in lesson_paths(NOTEBOOKS)}:
        parser.error(f"there is no lesson {min(missing)!r}; give a number such as 07 or 00b")
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {options.jobs}")
    codes = {path: code_of(path) for path in paths}
    table = read_table()
    known = {
        (number, run["seed"], run.get("code"))
        for part in (table["lessons"], table["begun"])
        for number, runs in part.items()
        for run in runs
    }
    failed = []
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = {
            pool.submit(apart, path, seed, options.keep): (path, seed)
            for path in paths
            for seed in options.seeds
            if options.again or (number_of(path), seed, codes[path]) not in known
        }
        for done in as_completed(runs):
            path, seed = runs[done]
            try:
                run = done.result() | {"code": codes[path]}
            except NotebookFailed as error:
                failed.append(f"{number_of(path)}, seed {seed}: {error}")
                print(failed[-1], flush=True)
                continue
            keep(number_of(path), run)
            print(
                f"{number_of(path)} seed {seed}: {run['cpu_seconds']} CPU-s, "
                f"{len(run['claims'])} claims",
                flush=True,
            )
    print("headers written:", ", ".join(write_headers(read_table())) or "none, nothing changed")
    if failed:
        raise SystemExit(f"{len(failed)} runs failed:\n" + "\n".join(sorted(failed)))


if __name__ == "__main__":
    main()
