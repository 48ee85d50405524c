"""Training in two processes on this machine, and what more machines would give: docs/scaling.md.

Measured: a training step of three sizes in one process, and the time to sum gradients over two
processes (gloo, one thread each), by number of bytes. From this come α, the cost of a message, and the
rate in bytes a second. What GPUs would give is computed by `step_on` from figures that their
manufacturers publish; none of that was measured, and docs/scaling.md says so.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from .report import Clock, Row

PAGE = Path(__file__).parent.parent / "docs" / "scaling.md"
BEGIN, END = "<!-- measured -->", "<!-- end of what is measured -->"

SIZES = {"d 64": (64, 2), "d 128": (128, 4), "d 256": (256, 4)}  # d_model, layers
COUNTS = (1, 2**18, 2**20, 2**22)  # floats in a sum
TURNS = 15
BACKWARD = 2 / 3  # of a step: gradients can be sent while others are computed


@dataclass(frozen=True)
class Link:
    """A connection: seconds a message, and bytes a second in each direction."""

    alpha: float
    rate: float


def all_reduce(n: int, size: float, link: Link) -> float:
    """Seconds that n processes in a ring take to sum `size` bytes: 2(n − 1) messages, and each byte
    is sent 2(n − 1)/n times. Source: Patarasuk and Yuan 2009."""
    return 2 * (n - 1) * link.alpha + 2 * (n - 1) / n * size / link.rate


def step_on(n: int, seconds: float, size: float, link: Link, overlap: float = BACKWARD) -> float:
    """Seconds of a step on n devices, each of which takes `seconds` for its own rows. Summing `size`
    bytes of gradients can hide behind a fraction `overlap` of that time."""
    return seconds + max(0.0, all_reduce(n, size, link) - overlap * seconds)


def training_bytes(weights: float) -> float:
    """Bytes of fp32 weights, their gradients and AdamW's two moments."""
    return 16.0 * weights


def muon_share(d_model: int, tokens: float, *, gram: bool) -> float:
    """Operations of Muon relative to those of forward and backward, for this many tokens per process.

    A layer has 12 d² weights, so 72 d² operations per token. Muon's four iterations take 24 d³ for a
    d × d matrix and 72 d³ for a d × 4d one, or 42 d³ with its Gram matrix. A layer has four of the first
    kind and two of the second.
    """
    return (4 * 24 + 2 * (42 if gram else 72)) * d_model / (72 * tokens)


# As published by the manufacturers: NVIDIA's H100 SXM (dense bf16, memory, NVLink in one direction),
# InfiniBand NDR, and 100-gigabit Ethernet. The cost of a message is assumed.
PEAK, MEMORY = 989e12, 80e9
NVLINK, INFINIBAND = Link(5e-6, 450e9), Link(10e-6, 50e9)
ETHERNET = Link(50e-6, 12.5e9)
USED = 0.4  # of the peak; assumed
TOKENS = 16 * 1024  # of each device in a step
MODELS = {
    "GPT-2 small": (124e6, 768),
    "GPT-2 XL": (1.56e9, 1600),
    "7 B, Llama's width": (7e9, 4096),
}


def tables(rows: list[Row]) -> str:
    """The tables of docs/scaling.md, from the measured rows and the figures above."""
    at = {row.name: row for row in rows}
    lines = ["| one process | step | Muon and AdamW's part | gradients |", "|:--|--:|--:|--:|"]
    for name, (d_model, _) in SIZES.items():
        row = at[f"step of one process, {name}"]
        weights, update = numbers(row)
        share = update / (float(row.value) - update)
        bound = muon_share(d_model, 768, gram=True)
        lines.append(
            f"| {name}, {weights:,.0f} weights | {row.value:.1f} ms | {update:.1f} ms: {share:.2f} of "
            f"forward and backward (counting operations: {bound:.2f}) | {4 * weights / 1e6:.2f} MB |"
        )
    lines += ["", "| two processes, summing | time | bytes a second |", "|:--|--:|--:|"]
    for count in COUNTS:
        seconds = float(at[f"sum over two processes, {4 * count:,} bytes"].value) / 1e3
        rate = f"{4 * count / seconds / 1e9:.2f} GB/s" if count > 1 else ""
        lines.append(f"| {4 * count:,} bytes | {1e3 * seconds:.2f} ms | {rate} |")
    here = link_here(rows)
    lines += [
        "",
        f"So on this machine α = {1e3 * here.alpha:.2f} ms and the rate is {here.rate / 1e9:.2f} GB/s.",
        "",
    ]
    lines += ["| computed: two processes here, 768 tokens each | step | speed |", "|:--|--:|--:|"]
    for name in SIZES:
        row = at[f"step of one process, {name}"]
        weights, update = numbers(row)
        seconds = float(row.value) / 1e3
        # An update waits for the sum: only the backward pass hides it.
        hidden = BACKWARD * (seconds - update / 1e3) / seconds
        two = step_on(2, seconds, 4 * weights, here, hidden)
        lines.append(f"| {name} | {1e3 * two:.1f} ms | {2 * seconds / two:.2f} × |")
    lines += [
        "",
        "| H100s, 16,384 tokens each, AdamW | one | memory | 8, NVLink | 64, InfiniBand | 64, 100 Gb Ethernet |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    for name, (weights, _) in MODELS.items():
        seconds = 6 * weights * TOKENS / (USED * PEAK)
        speeds = [
            f"{n * seconds / step_on(n, seconds, 4 * weights, link):.1f} ×"
            for n, link in ((8, NVLINK), (64, INFINIBAND), (64, ETHERNET))
        ]
        memory = training_bytes(weights)
        fits = "" if memory < MEMORY else f": too much for one; {memory / 8e9:.0f} GB on each of 8"
        lines.append(
            f"| {name} | {1e3 * seconds:,.0f} ms | {memory / 1e9:.0f} GB{fits} | {' | '.join(speeds)} |"
        )
    lines += ["", "| Muon on each device, relative to forward and backward | ratio |", "|:--|--:|"]
    for name, (_, d_model) in MODELS.items():
        lines.append(f"| {name}, d {d_model} | {muon_share(d_model, TOKENS, gram=False):.2f} |")
    return "\n".join(lines)


def numbers(row: Row) -> tuple[float, float]:
    """The number of weights and the milliseconds of the update, from a row's note."""
    found = re.match(r"([\d,]+) weights, .*; ([\d.]+) ms are", row.note)
    assert found is not None, row.note
    return float(found[1].replace(",", "")), float(found[2])


def link_here(rows: list[Row]) -> Link:
    """This machine's link: α from the sum of one number, the rate from the largest sum. With two
    processes a sum takes two messages, and every byte is sent once."""
    at = {row.name: float(row.value) / 1e3 for row in rows if row.name.startswith("sum")}
    one, most = (at[f"sum over two processes, {4 * COUNTS[i]:,} bytes"] for i in (0, -1))
    return Link(one / 2, 4 * COUNTS[-1] / (most - one))


def write_tables(rows: list[Row], page: Path = PAGE) -> None:
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{tables(rows)}\n{END}{after}")


def steps_here(seed: int):
    """(name, number of weights, CPU seconds of forward and backward, of the update) for each size."""
    import transformer_lab as tl

    from . import limits

    kept = limits.D_MODEL, limits.LAYERS
    for name, (limits.D_MODEL, limits.LAYERS) in SIZES.items():
        gradient, update, n = limits.step_of(tl.ModelConfig.modern, "modern", seed, compiled=False)
        least = limits.by_turns(5, gradient=gradient, update=update)
        yield name, n, least["gradient"], least["update"]
    limits.D_MODEL, limits.LAYERS = kept


def run(options):
    rows = list(measured(options))
    yield from rows
    if options.out.resolve() == Path(__file__).parent:
        write_tables(rows)


def measured(options):
    with Clock() as clock:
        steps = list(steps_here(options.seed))
    for name, n, gradient, update in steps:
        yield Row(
            f"step of one process, {name}",
            round(1e3 * (gradient + update), 1),
            "CPU ms",
            None,
            None,
            round(clock.cpu, 1),
            options.seed,
            f"{n:,} weights, {4 * n / 1e6:.2f} MB of gradients; {1e3 * update:.1f} ms are spent in Muon and AdamW",
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sums.json"
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        subprocess.run(
            [*launch, "--nproc-per-node=2", "-m", "benchmarks.scaling", str(path)],
            check=True,
            timeout=300,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        found = json.loads(path.read_text())
    for count, seconds in zip(COUNTS, found["seconds"], strict=True):
        yield Row(
            f"sum over two processes, {4 * count:,} bytes",
            round(1e3 * seconds, 3),
            "ms",
            None,
            None,
            round(found["cpu"], 1),
            options.seed,
            f"gloo, fastest of {TURNS}",
        )


def sums(path: str) -> None:
    """Runs in each of two processes: seconds of an all-reduce for each size, the fastest of several."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    least = [float("inf")] * len(COUNTS)
    began = time.process_time()
    values = [torch.ones(count) for count in COUNTS]
    for _ in range(TURNS):
        for i, value in enumerate(values):
            dist.barrier()
            started = time.perf_counter()
            dist.all_reduce(value)
            least[i] = min(least[i], time.perf_counter() - started)
            value.fill_(1.0)
    if dist.get_rank() == 0:
        cpu = time.process_time() - began
        Path(path).write_text(json.dumps(dict(seconds=least, cpu=cpu)))
    dist.destroy_process_group()


if __name__ == "__main__":
    sums(sys.argv[1])
