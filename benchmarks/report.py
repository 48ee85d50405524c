"""The rows that a benchmark measured, and the files that they are written to."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

BEGIN, END = "<!-- results -->", "<!-- end of results -->"


@dataclass(frozen=True)
class Row:
    """One measured number. bar: the value it must reach, such as "≥ 0.99"; None if it is only reported.
    seconds: CPU time of the training, or of the whole measurement if nothing is trained."""

    name: str
    value: float | str
    unit: str
    bar: str | None
    holds: bool | None
    seconds: float
    seed: int
    note: str = ""

    def describe(self) -> str:
        mark = {True: "holds", False: "MISSED", None: ""}[self.holds]
        bar = f"(bar {self.bar}: {mark})" if self.bar else ""
        return f"{self.name}: {number(self.value)} {self.unit} {bar} [{self.seconds:.1f} s] {self.note}"


def at_least(name, value, bar, *, seconds, seed, unit="fraction", note="") -> Row:
    """A row whose value must be `bar` or more (None: it is only reported)."""
    if bar is None:
        return Row(name, round(value, 4), unit, None, None, round(seconds, 1), seed, note)
    holds = value >= bar
    return Row(name, round(value, 4), unit, f"≥ {bar}", holds, round(seconds, 1), seed, note)


def at_most(name, value, bar, *, seconds, seed, unit="fraction", note="") -> Row:
    """A row whose value must be `bar` or less."""
    holds = value <= bar
    return Row(name, round(value, 4), unit, f"≤ {bar}", holds, round(seconds, 1), seed, note)


def number(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class Clock:
    """Measures CPU seconds of this process and wall seconds, from entry to exit."""

    def __enter__(self) -> Clock:
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_) -> None:
        self.cpu, self.wall = self.read()

    def read(self) -> tuple[float, float]:
        return time.process_time() - self._cpu, time.perf_counter() - self._wall


def machine() -> dict:
    """The machine and the versions of a measurement."""
    import torch

    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(": ", 1)[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    try:
        import transformers

        versions["transformers"] = transformers.__version__
    except ImportError:
        pass
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    load = round(os.getloadavg()[0], 1)  # processes that want a core, at the time of writing
    return {"cpu": cpu, "cores": os.cpu_count(), "load": load, "gpu": gpu, "versions": versions}


def load(folder: Path) -> dict[str, list[Row]]:
    """The saved rows of every benchmark."""
    path = folder / "results.json"
    if not path.exists():
        return {}
    kept = json.loads(path.read_text())["results"]
    rows: dict[str, list[Row]] = {}
    for values in kept:
        values = dict(values)
        name = values.pop("benchmark")
        for key in ("when", "threads", "load"):
            values.pop(key, None)
        rows.setdefault(name, []).append(Row(**values))
    return rows


def write_results(folder: Path, results: dict[str, list[Row]], options) -> None:
    flat = [{"benchmark": name, **asdict(r)} for name, rows in results.items() for r in rows]
    text = json.dumps({"machine": machine(), "results": flat}, indent=1, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n")


def write_table(folder: Path, results: dict[str, list[Row]]) -> None:
    """Write the table in README.md, between its two marks."""
    from . import NAMES

    lines = [
        "| benchmark | what | measured | bar | holds | CPU-s | seed |",
        "|---|---|---|---|---|---|---|",
    ]
    order = [n for n in NAMES if n in results] + [n for n in results if n not in NAMES]
    for name in order:
        for row in results[name]:
            holds = {True: "yes", False: "**no**", None: ""}[row.holds]
            what = f"{row.name} ({row.note})" if row.note else row.name
            lines.append(
                f"| `python -m benchmarks {name}` | {what} | {number(row.value)} {row.unit} | "
                f"{row.bar or ''} | {holds} | {row.seconds:g} | {row.seed} |"
            )
    where = machine()
    versions = ", ".join(f"{k} {v}" for k, v in where["versions"].items())
    gpu = where["gpu"] or "none, so the GPU table was not measured"
    lines += [
        "",
        f"Table last written on: {where['cpu']}, {where['cores']} cores, load {where['load']}; GPU: {gpu}; "
        f"{versions}.",
    ]
    path = folder / "README.md"
    text = path.read_text() if path.exists() else f"{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after)


@contextmanager
def plot(path: Path, *, title: str, x: str, y: str) -> Iterator:
    """Axes on a light background; the figure is saved at the end."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), dpi=150, facecolor="#fbfaf7")
    axes.set_facecolor("#fbfaf7")
    axes.grid(True, color="#dcd8cf", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#8a857a")
    axes.tick_params(colors="#4a463f", labelsize=9)
    axes.set_xlabel(x, color="#2b2925")
    axes.set_ylabel(y, color="#2b2925")
    axes.set_title(title, loc="left", color="#2b2925", fontsize=11, fontweight="bold")
    yield axes
    axes.legend(frameon=False, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, facecolor=figure.get_facecolor())
    plt.close(figure)


# Colours that colour-blind readers can distinguish, on a light background (Okabe and Ito).
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#8c5a9e"
