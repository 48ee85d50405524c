"""`tl.study`: one measurement on many prompts.

study = tl.study(model, "prompts.csv", measure="patching", out="results")
study["z"].mean[layer, head], study["z"].low, study["z"].high
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...adapters.network import Network
from ...arguments import check, shown
from ...attention import Tap
from ...edits.passes import evaluated
from ...files.models import weights_sha256
from ...tracing.provenance import finding
from ...training import distributed
from .batches import Ready, in_batches, most_together, named, ready
from .folder import StudyFolder
from .prompts import Prompt, prompts_of
from .questions import PATCHING, Grid, Question, Questions, measures_of
from .results import Study
from .spread import Spread

WAYS = ("attribution", "exact")
Progress = bool | Callable[[int, int], None]


@finding
def study(
    model: Any,
    prompts: Any,
    *,
    measure: str | Sequence[str] | None = None,
    metric: Any = None,
    sites: str | Sequence[str] | None = None,
    by: str = "attribution",
    direction: str = "denoising",
    align: Any = None,
    at: str | Sequence[int] | None = None,
    kind: str | None = None,
    value: Any = "zero",
    out: str | os.PathLike | None = None,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
    batch_size: int | None = None,
    budget_mib: float = 512,
    progress: Progress = False,
) -> Study:
    """Measure every prompt, and return the mean of each head or cell, its spread and its interval.

    Args:
        model: a `TextModel`, or any model with token ids as prompts.
        prompts: a list of texts, of token ids, or of dicts with "clean" and, as needed,
            "corrupted", "answer", "wrong" (token ids, or texts of one token) and "target" (the
            output of an encoder-decoder); or a file of them: .txt (one text a line), or .jsonl,
            .csv or .tsv (with these columns).
        measure: "patching" ("corrupted" against "clean"), "effects" (every head switched off),
            "estimates" (an approximation of those from one gradient pass), a head score
            ("induction", "previous token", … see `tl.heads`), "scores" for all head scores, or a
            list. None: patching if every prompt has a corrupted one, otherwise effects.
        metric: for patching as in `patching_grid`; None means each prompt's answer, minus its wrong
            token if it has one. For effects "log_prob", "probability" or "kl", or a function, as in
            `sweep_heads`; the token is each prompt's answer, or the model's top prediction.
        sites, direction, align, kind: as in `patching_grid`. by: "attribution" or "exact".
        at: the positions to patch in residual-stream sites: "last", or numbers (negative ones count
            from the end). None means all, for prompts of equal length.
        value: as in `ablate`.
        out: a folder where results are saved as they come. The same call later continues from there
            and computes nothing twice; a different study is refused.
        seed, resamples, level: settings of the bootstrap over prompts, see `Spread.interval`.
        batch_size: the most prompts of equal length in one forward pass; None for as many as fit.
        budget_mib: memory of one pass, as in `sweep_heads`.
        progress: True shows a bar; a function is called with (prompts done, total prompts).

    Under torchrun the processes share the prompts, and each returns the whole study.

    Raises:
        FileError: for a file that cannot be read, naming the line.
        ValueError: for a prompt that the model cannot read, naming it, before anything is computed;
            for a folder with another study.
        DiskFullError: if the disk is full; results so far are kept.

    Source of the interval: Efron and Tibshirani 1993.
    """
    given = prompts_of(prompts)
    network = evaluated(model)
    read = ready(model, network, given)
    asked = _asked(
        [one.corrupted is not None for one in given],
        measure,
        metric,
        kind=kind,
        sites=sites,
        by=by,
        direction=direction,
        align=align,
        at=at,
        value=value,
        budget_mib=budget_mib,
    )
    drawn = _drawn(seed, resamples, level)
    asking = Question(model, network, asked, read)
    most = most_together(network, read, budget_mib)
    if batch_size is not None:
        most = check("batch_size", batch_size, int)
        if most < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    batches = in_batches(read, 1 if asked.alone else most)
    _, joined = distributed.join(network.device.type)
    try:
        with _kept(out, model, network, asked, given) as kept:
            found = _computed(asking, batches, given, kept, progress)
    finally:
        if joined:
            distributed.leave()
    name = getattr(model, "name", "") or network.name
    return _study(name, given, found, asking.grids, drawn)


def _asked(patches: list[bool], measure: Any, metric: Any, **options: Any) -> Questions:
    measures = measures_of(measure, all(patches))
    if options["by"] not in WAYS:
        raise ValueError(f"by must be {' or '.join(WAYS)}, got {shown(options['by'])}")
    if metric is not None and not {PATCHING, "effects"} & set(measures):
        raise ValueError(f"metric={shown(metric)} is for patching and effects; leave it out")
    sites, at = options.pop("sites"), options.pop("at")
    if sites is not None:
        sites = (sites,) if isinstance(sites, str) else tuple(sites)
    if at is not None:
        places = [-1] if at == "last" else [at] if type(at) is int else list(at)
        if not places or any(type(one) is not int for one in places):
            raise ValueError(f'at={shown(at)} is not a list of positions; give "last", or numbers')
        at = tuple(places)
    return Questions(measures, metric, sites=sites, at=at, **options)


def _drawn(seed: Any, resamples: Any, level: Any) -> dict[str, Any]:
    """Check the settings of the bootstrap."""
    for name, given in (("seed", seed), ("resamples", resamples)):
        check(name, given, int)
    if resamples < 1 or not 0 < check("level", level, float) < 1:
        raise ValueError(
            f"resamples must be at least 1 and level between 0 and 1, got {resamples} and {level}"
        )
    return {"seed": seed, "resamples": resamples, "level": level}


def _computed(
    asking: Question,
    batches: list[list[Ready]],
    prompts: Sequence[Prompt],
    kept: StudyFolder | None,
    progress: Progress,
) -> dict[int, dict[str, Tensor]]:
    """Return the values of all prompts; those of other processes are gathered at the end."""
    rank, size = distributed.rank_and_size()
    found: dict[int, dict[str, Tensor]] = {}
    if kept is not None:
        kept.read()
        found = kept.found
        asking.grids |= kept.grids
    done = set().union(*distributed.gather(set(found)))
    waiting = [[one for one in batch if one.index not in done] for batch in batches]
    mine = [batch for batch in waiting if batch][rank::size]
    with _bar(progress, sum(map(len, mine)), rank) as tell:
        for batch in mine:
            try:
                values = asking.of(batch)
            except ValueError as error:
                which = ", ".join(named(prompts[one.index], one.index) for one in batch)
                raise ValueError(f"{which}: {error}") from error
            new = {
                one.index: {name: x[row].float().cpu() for name, x in values.items()}
                for row, one in enumerate(batch)
            }
            if kept is not None:
                kept.append(new, asking.grids)
            found |= new
            tell(len(batch))
    for theirs, grids in distributed.gather((found, asking.grids)):
        found, asking.grids = {**theirs, **found}, {**grids, **asking.grids}
    return found


@contextmanager
def _bar(progress: Progress, total: int, rank: int) -> Iterator[Callable[[int], None]]:
    if progress is True and rank == 0:
        from tqdm import tqdm

        with tqdm(total=total, unit="prompt") as bar:
            yield lambda n: (bar.update(n), None)[1]
        return
    done = 0

    def tell(n: int) -> None:
        nonlocal done
        done += n
        if callable(progress):
            progress(done, total)

    yield tell


@contextmanager
def _kept(
    out: str | os.PathLike | None,
    model: Any,
    network: Network,
    asked: Questions,
    prompts: Sequence[Prompt],
) -> Iterator[StudyFolder | None]:
    """Open the folder, which the first process checks before the others write there."""
    if out is None:
        yield None
        return
    from ...views.shared.exports import versions

    if network.edited_beside(Tap()):
        raise ValueError(
            "out= stores results of the unedited model, but an edit is active; end the edit first"
        )
    lines = [json.dumps(one.to_dict(), sort_keys=True) for one in prompts]
    about = {
        "model": {
            "name": getattr(model, "name", "") or network.name,
            "weights": weights_sha256(network.module),
        },
        "asked": described(asked),
        "prompts": {
            "n": len(prompts),
            "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        },
        "versions": versions(),
    }
    rank, kept = distributed.rank_and_size()[0], None
    for turn in (0, 1):
        failed: Exception | None = None
        if (rank > 0) == turn:
            try:
                kept = StudyFolder(Path(out).expanduser(), about, rank)
            except Exception as error:
                failed = error
        why = [one for one in distributed.gather(failed and str(failed)) if one]
        if failed is not None:
            raise failed
        if why:
            raise OSError(f"another process failed: {why[0]}")
    assert kept is not None
    try:
        yield kept
    finally:
        kept.close()


def described(asked: Questions) -> dict[str, Any]:
    """Return what is measured as JSON; for a function, its name and a hash of its code."""
    found = {name: _plain(x) for name, x in vars(asked).items() if x is not None}
    return {name: x for name, x in found.items() if name != "budget_mib"}


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    code = getattr(value, "__code__", None)
    if code is not None:
        digest = hashlib.sha256(code.co_code + repr(code.co_consts).encode()).hexdigest()[:16]
        return f"{value.__qualname__} ({digest})"
    return value if isinstance(value, str | int | float | None) else repr(value)


def _study(
    name: str,
    prompts: Sequence[Prompt],
    found: Mapping[int, Mapping[str, Tensor]],
    grids: Mapping[str, Grid],
    drawn: Mapping[str, Any],
) -> Study:
    spreads, baselines, missing = {}, {}, {}
    order = list(dict.fromkeys(n for i in range(len(prompts)) for n in found[i]))
    for one in order:
        grid = grids[one]
        nothing = torch.full([len(x) for x in grid.labels.values()], torch.nan)
        values = torch.stack([found[i].get(one, nothing) for i in range(len(prompts))])
        spread = Spread(one, grid.unit, tuple(grid.axes), grid.labels, values, **drawn)
        if values.isnan().all():
            missing[one] = "no prompt has what it needs"
        else:
            (spreads if grid.axes else baselines)[one] = spread
    if not spreads:
        raise ValueError(
            f"nothing was measured: {', '.join(missing)}: {next(iter(missing.values()))}"
        )
    return Study(spreads, tuple(prompts), name, missing, baselines)
