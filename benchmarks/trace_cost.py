"""What a trace costs: time against a plain fused forward pass, memory against all maps.

    python benchmarks/trace_cost.py [--lengths 512 1024] [--runs 5] [--threads N] [--json FILE]

A GPT-2-small shape (12 layers × 12 heads, d_model 768, 124 M random weights), as our own model
and as transformers' GPT-2. Plain passes, traces and eager passes that return every map take
turns, so that a busy machine slows all alike; medians of the turns after the first are compared,
and so are the sums of their CPU time.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import transformer_lab as tl

LAYERS, HEADS, D_MODEL, VOCABULARY = 12, 12, 768, 50257
SEED = 0


def our_model() -> tl.Transformer:
    return tl.Transformer(
        tl.ModelConfig(
            vocab_size=VOCABULARY, n_layers=LAYERS, n_heads=HEADS, d_model=D_MODEL, n_ctx=1024,
            positions="learned", activation="gelu_tanh",
        )
    ).eval()  # fmt: skip


def their_model():
    import transformers

    transformers.logging.set_verbosity_error()
    config = transformers.GPT2Config(bos_token_id=0, eos_token_id=0)
    return transformers.GPT2LMHeadModel(config).eval()


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def take_turns(work: dict[str, Callable[[], object]], runs: int) -> dict[str, tuple[float, float]]:
    """name -> (median seconds, CPU seconds a run); the first turn warms up and is left out."""
    wall: dict[str, list[float]] = {name: [] for name in work}
    cpu: dict[str, list[float]] = {name: [] for name in work}
    names = list(work)
    for turn in range(runs + 1):
        for name in names if turn % 2 else reversed(names):  # nobody always follows the same one
            start, start_cpu = time.perf_counter(), cpu_seconds()
            result = work[name]()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(cpu_seconds() - start_cpu)
            del result
    return {n: (statistics.median(wall[n][1:]), statistics.median(cpu[n][1:])) for n in names}


@torch.no_grad()
def measure(which: str, length: int, runs: int) -> list[dict]:
    """The rows of one model at one length."""
    start = time.perf_counter()
    torch.manual_seed(SEED)
    model = our_model() if which == "ours" else their_model()
    text = torch.randint(0, VOCABULARY, (1, length))
    work: dict[str, Callable[[], object]] = {
        "plain": lambda: model(text),
        "trace": lambda: tl.trace(model, text),
    }
    if which != "ours":

        def eager() -> object:
            model.set_attn_implementation("eager")
            try:
                return model(text, output_attentions=True, use_cache=False)
            finally:
                model.set_attn_implementation("sdpa")

        work["plain"] = lambda: model(text, use_cache=False)
        work["eager with maps"] = eager
    seconds = take_turns(work, runs)
    kept = tl.trace(model, text).kept_bytes()
    maps = LAYERS * HEADS * length * length * 4
    name = f"{which}, {length} tokens"
    rows = [
        row(f"plain fused pass, {name}", seconds["plain"][0], "s"),
        row(f"trace, {name}", seconds["trace"][0], "s"),
        row(f"trace / plain, wall, {name}", seconds["trace"][0] / seconds["plain"][0], "×", 1.05),
        row(f"trace / plain, CPU, {name}", seconds["trace"][1] / seconds["plain"][1], "×", 1.05),
        row(f"kept by the trace, {name}", kept / 1e6, "MB"),
        row(f"all maps, {name}", maps / 1e6, "MB"),
        row(f"kept / all maps, {name}", kept / maps, "×", 1 / 6 if length >= 1024 else None),
    ]
    if "eager with maps" in seconds:
        ratio = seconds["eager with maps"][0] / seconds["plain"][0]
        rows.append(row(f"eager with maps / plain, wall, {name}", ratio, "×"))
    for r in rows:
        r["seconds"] = round(time.perf_counter() - start, 1)
    return rows


def row(name: str, value: float, unit: str, bar: float | None = None) -> dict:
    """A bar is the largest value that will do."""
    holds = None if bar is None else value <= bar
    return dict(name=name, value=value, unit=unit, bar=bar, holds=holds, seed=SEED)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--models", nargs="+", default=["ours", "transformers"])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for which in options.models:
        for length in options.lengths:
            for r in measure(which, length, options.runs):
                rows.append(r)
                bar = (
                    ""
                    if r["bar"] is None
                    else f"(bar {r['bar']:.3f}: {'holds' if r['holds'] else 'FAILS'})"
                )
                print(f"{r['name']:52s} {r['value']:10.3f} {r['unit']:3s} {bar}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    return 0 if all(r["holds"] is not False for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
