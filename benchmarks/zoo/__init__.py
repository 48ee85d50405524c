"""Every architecture that transformers registers, tiny and random: which are exact, which are refused.

    python -m benchmarks zoo                          all of them
    python -m benchmarks zoo --only 'causal/llama'    those whose task/name matches the pattern
    python -m benchmarks zoo --resume                 continue an interrupted sweep
    python -m benchmarks zoo --resume --again         and repeat those that were not exact
    python -m benchmarks zoo --travel [--resume …]    whether each travels in a page as its graph
    python -m benchmarks zoo --browser [--only …]     whether each page agrees in a real browser

The results go to `--raw`, one line of JSON per architecture. Once every architecture has its line, the
table is written to docs/models.md and docs/models.json. `--travel` adds its results so far to that
table.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

from ..report import Row

RAW, TRAVEL = Path("runs/zoo.jsonl"), Path("runs/travel.jsonl")
DOCS = Path(__file__).parents[2] / "docs"


def run(options) -> Iterator[Row]:
    from . import table
    from .building import TEXT, registered
    from .examine import EXACT, NOT_BUILT, WRONG
    from .pool import read, sweep

    every = registered()
    pattern = re.compile(getattr(options, "only", None) or "")
    chosen = [one for name, one in every.items() if pattern.search(name)]
    if getattr(options, "travel", False):
        yield from travelling(options, chosen)
        return
    if getattr(options, "browser", False):
        yield from in_browser(options, chosen)
        return
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
        table.write(DOCS, [found[name] for name in every])
    for task in dict.fromkeys(one.task for one in chosen):
        mine = [found[one.name] for one in chosen if one.task == task]
        built = [result for result in mine if result.verdict != NOT_BUILT]
        wrong = [result.name for result in built if result.verdict == WRONG]
        exact = sum(result.verdict == EXACT for result in built)
        yield Row(
            f"{task} architectures that are shown correctly or refused",
            len(built) - len(wrong),
            f"of {len(built)}",
            "none wrong" if task in TEXT else None,
            not wrong if task in TEXT else None,
            round(seconds, 1),
            options.seed,
            f"{exact} exact with edits; {len(mine) - len(built)} not built",
        )


def in_browser(options, chosen) -> Iterator[Row]:
    """The row of `--browser`: how many pages agree with PyTorch."""
    from .browser import AGREES, DIFFERS, agrees_in_browser

    started = time.perf_counter()
    found = []
    for one in chosen:
        if one.task in ("causal", "masked", "seq2seq"):
            found.append(result := agrees_in_browser(one))
            print(
                f"  {result.name:40} {result.verdict:10} {result.errors} {result.why[:160]}",
                flush=True,
            )
    wrong = [result.name for result in found if result.verdict == DIFFERS]
    agree = sum(result.verdict == AGREES for result in found)
    yield Row(
        "pages that agree with PyTorch in a browser",
        agree,
        f"of {len(found)}",
        "none differs",
        not wrong,
        round(time.perf_counter() - started, 1),
        options.seed,
        f"{len(found) - agree - len(wrong)} refused",
    )


def travelling(options, chosen) -> Iterator[Row]:
    """Rows of `--travel`: how many of the architectures of each kind travel at any length."""
    from . import table
    from .pool import read, sweep
    from .travel import ANY, FIXED, IMAGES, travels

    raw = getattr(options, "raw", None) or TRAVEL
    started = time.perf_counter()
    for result in sweep(
        chosen,
        jobs=getattr(options, "jobs", 1),
        raw=raw,
        resume=getattr(options, "resume", False),
        again=getattr(options, "again", False),
        how=travels,
        best=ANY,
    ):
        print(f"  {result.name:40} {result.verdict:18} {result.why[:160]}", flush=True)
    seconds = time.perf_counter() - started
    found = read(raw)
    table.write_travel(DOCS, found)
    for task in dict.fromkeys(one.task for one in chosen):
        mine = [found[one.name] for one in chosen if one.task == task]
        count = {
            length: sum(one.verdict == length for one in mine) for length in (ANY, IMAGES, FIXED)
        }
        yield Row(
            f"{task} architectures that travel at any length or size",
            count[ANY] + count[IMAGES],
            f"of {len(mine)}",
            None,
            None,
            round(seconds, 1),
            options.seed,
            f"{count[FIXED]} at one length",
        )
