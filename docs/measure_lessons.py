"""Run every lesson in full over three seeds, and write what it takes into the lessons' headers.

    python docs/measure_lessons.py [--seeds 0 1 2] [LESSON …]
    python docs/measure_lessons.py --headers      (only write the headers, from what was measured)

A lesson whose claims do not hold for a seed fails here. The results are kept in
notebooks/measured.json, lesson by lesson, with the machine they were measured on; a test compares
the headers with it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import statistics
import tempfile
import time
from pathlib import Path

import nbformat
import torch

from transformer_lab.lessons import NotebookFailed, run_notebook

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"
TABLE = NOTEBOOKS / "measured.json"
TIME = re.compile(r"All cells together take about [^.;|]*? on a (2-core CPU|GPU) \(measured\)")


def spoken(seconds: float) -> str:
    """A duration as a person says it: "9 seconds", "40 seconds", "2 minutes"."""
    if seconds < 10:
        return f"{max(1, round(seconds))} seconds"
    if seconds < 95:
        return f"{5 * round(seconds / 5)} seconds"
    return f"{round(seconds / 60)} minutes"


def measured(path: Path, seed: int) -> dict:
    """One run of a lesson: its wall and CPU seconds (the kernel's start included), and its claims."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRANSFORMER_LAB_RUNS"] = folder
        out = run_notebook(
            path, Path(folder) / path.name, cell_seconds=1800, preset="full", seed=seed,
            answers="solutions",
        )  # fmt: skip
        cells = nbformat.read(out, as_version=4).cells
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    claims = [
        output["data"]["text/plain"].removeprefix("✓ ")
        for cell in cells
        for output in cell.get("outputs", [])
        if re.match(r"✓ .*\[measured ", output.get("data", {}).get("text/plain", ""), re.S)
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
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        runs = table["lessons"].get(path.stem[:2])
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
    """The sentence of a header."""
    took = statistics.median(run["cpu_seconds"] for run in runs)
    return f"All cells together take about {spoken(took)} on a 2-core CPU (measured)"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("lessons", nargs="*", metavar="LESSON")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--headers", action="store_true")
    options = parser.parse_args()
    table = json.loads(TABLE.read_text("utf-8")) if TABLE.is_file() else {"lessons": {}}
    failed = []
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        number = path.stem[:2]
        if options.headers or (options.lessons and number not in options.lessons):
            continue
        runs = []
        for seed in options.seeds:
            try:
                runs.append(measured(path, seed))
            except NotebookFailed as error:
                failed.append(f"{number}, seed {seed}: {error}")
                print(failed[-1], flush=True)
                continue
            run = runs[-1]
            print(
                f"{number} seed {seed}: {run['cpu_seconds']} CPU-s, {len(run['claims'])} claims",
                flush=True,
            )
        if len(runs) == len(options.seeds):
            table = json.loads(TABLE.read_text("utf-8")) if TABLE.is_file() else table
            table["machine"] = (
                f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, "
                f"Python {platform.python_version()}, {torch.get_num_threads()} thread"
            )
            table["lessons"][number] = runs
            text = json.dumps(table, indent=1, ensure_ascii=False, sort_keys=True)
            TABLE.write_text(text + "\n", "utf-8")
    print("headers written:", ", ".join(write_headers(table)) or "none changed")
    if failed:
        raise SystemExit(f"{len(failed)} runs failed:\n" + "\n".join(failed))


if __name__ == "__main__":
    main()
