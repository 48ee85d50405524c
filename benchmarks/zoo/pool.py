"""Run each architecture in a separate process, a few at once, each with a time limit.

A process is forked from a server that already has torch and transformers in memory. Each result is
written to a file at once, so that an interrupted sweep can continue.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from .building import Architecture
from .examine import EXACT, NOT_BUILT, WRONG, Result, examine

LIMIT = 180  # seconds for one architecture


@dataclass
class Running:
    one: Architecture
    process: Any
    pipe: Connection
    until: float


def sweep(
    architectures: list[Architecture],
    *,
    jobs: int = 2,
    raw: Path,
    resume: bool,
    again: bool = False,
    limit: float = LIMIT,
    how: Callable[[Architecture], Result] = examine,
    best: str = EXACT,
) -> Iterator[Result]:
    """Yield the results as they come. With `resume`, those in `raw` are not repeated; with `again`,
    those that do not have the best verdict are."""
    done = read(raw) if resume else {}
    if again:
        done = {name: result for name, result in done.items() if result.verdict == best}
    if not resume and raw.exists():
        raw.unlink()
    raw.parent.mkdir(parents=True, exist_ok=True)
    yield from (done[one.name] for one in architectures if one.name in done)
    waiting = [one for one in architectures if one.name not in done]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.zoo.warm"])
    running: list[Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(start(context, waiting.pop(0), limit, how))
            left = min(job.until for job in running) - time.monotonic()
            wait([job.pipe for job in running], timeout=max(left, 0))
            for job in list(running):
                result = finished(job)
                if result is None:
                    continue
                running.remove(job)
                with raw.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(result), ensure_ascii=False) + "\n")
                yield result
    finally:
        for job in running:
            job.process.kill()


def start(
    context: Any, one: Architecture, limit: float, how: Callable[[Architecture], Result] = examine
) -> Running:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(one, theirs, how), daemon=True)
    process.start()
    theirs.close()
    return Running(one, process, ours, time.monotonic() + limit)


def finished(job: Running) -> Result | None:
    """The result of a process, also if it died or took too long; None while it is running."""
    name, made = job.one.name, job.one.made
    if job.pipe.poll():
        try:
            result = job.pipe.recv()
        except EOFError:
            job.process.join()
            code = job.process.exitcode
            result = Result(name, made, WRONG, f"the process died with exit code {code}")
        job.process.join(5)
    elif time.monotonic() >= job.until:
        result = Result(name, made, NOT_BUILT, "it took longer than the time limit")
    else:
        return None
    if job.process.is_alive():
        job.process.kill()
    job.process.join()
    job.pipe.close()
    return result


def work(one: Architecture, pipe: Connection, how: Callable[[Architecture], Result]) -> None:
    """Runs in the process of one architecture."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    pipe.send(how(one))
    pipe.close()


def read(raw: Path) -> dict[str, Result]:
    """The results so far, by name; later lines replace earlier ones."""
    if not raw.exists():
        return {}
    lines = raw.read_text("utf-8").splitlines()
    results = [Result(**json.loads(line)) for line in lines if line.endswith("}")]
    return {result.name: result for result in results}
