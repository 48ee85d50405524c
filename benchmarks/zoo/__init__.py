"""Every architecture that transformers registers, tiny and random: which are exact, which are refused.

    python -m benchmarks zoo                          all of them
    python -m benchmarks zoo --only 'causal/llama'    those whose task/name matches the pattern
    python -m benchmarks zoo --resume                 continue an interrupted sweep
    python -m benchmarks zoo --resume --again         and repeat those that were not exact

The results go to `--raw`, one line of JSON per architecture. Once every architecture has its line, the
table is written to docs/models.md and docs/models.json.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

from ..report import Row

RAW = Path("runs/zoo.jsonl")


def run(options) -> Iterator[Row]:
    from . import table
    from .building import TEXT, registered
    from .examine import EXACT, NOT_BUILT, WRONG
    from .pool import read, sweep

    every = registered()
    pattern = re.compile(getattr(options, "only", None) or "")
    chosen = [one for name, one in every.items() if pattern.search(name)]
    raw = getattr(options, "raw", None) or RAW
    started = time.perf_counter()
    for result in sweep(
        chosen,
        jobs=getattr(options, "jobs", 2),
        raw=raw,
        resume=getattr(options, "resume", False),
        again=getattr(options, "again", False),
    ):
        print(f"  {result.name:40} {result.verdict:18} {result.why[:160]}", flush=True)
    seconds = time.perf_counter() - started
    found = read(raw)
    if set(every) <= set(found):
        table.write(Path(__file__).parents[2] / "docs", [found[name] for name in every])
    for task in dict.fromkeys(one.task for one in chosen):
        mine = [found[one.name] for one in chosen if one.task == task]
        built = [result for result in mine if result.verdict != NOT_BUILT]
        wrong = [result.name for result in built if result.verdict == WRONG]
        exact = sum(result.verdict == EXACT for result in built)
        yield Row(
            f"{task} architectures that are shown correctly or refused",
            len(built) - len(wrong), f"of {len(built)}", "none wrong" if task in TEXT else None,
            not wrong if task in TEXT else None, round(seconds, 1), options.seed,
            f"{exact} exact with edits; {len(mine) - len(built)} not built",
        )  # fmt: skip
