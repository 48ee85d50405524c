"""Run all checks on one architecture, and give the verdict."""

from __future__ import annotations

import contextlib
import re
import time
import warnings
from dataclasses import dataclass, field

import torch

from .building import TEXT, Architecture, NotBuilt, build
from .checks import Checks
from .reading import Refused

EXACT, IN_PART = "exact", "exact, in part"
READ_ONLY, OWN_MAPS = "exact, read-only", "own maps, read-only"
NO_ATTENTION, REFUSED, WRONG, NOT_BUILT = "no attention", "refused", "WRONG", "not built"
# A note on models of text and images, whose maps are over the tokens; it means nothing is left out.
TOWERS = re.compile(r"model\.\S+ attends to inputs other than the tokens, and is not shown\.")
VERDICTS = (EXACT, IN_PART, READ_ONLY, OWN_MAPS, NO_ATTENTION, REFUSED, WRONG, NOT_BUILT)


@dataclass
class Result:
    """The result for one architecture. `why`: the message of a refusal, what is wrong, or why it was
    not built. `errors`: the largest difference of each comparison, relative to its scale."""

    name: str
    made: str
    verdict: str
    why: str = ""
    kinds: dict[str, list[int]] = field(default_factory=dict)  # heads per layer
    errors: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


def examine(one: Architecture, *, pages: bool = True) -> Result:
    """Build an architecture, run its comparisons and judge it. Raises nothing.

    Args:
        pages: whether views are created and saved as well.
    """
    started = time.perf_counter()
    result = Result(one.name, one.made, WRONG)
    with warnings.catch_warnings(), torch.random.fork_rng(), _quiet():
        warnings.simplefilter("ignore")
        try:
            model = build(one)
        except NotBuilt as error:
            result.verdict, result.why = NOT_BUILT, str(error)
        except Exception as error:
            result.verdict, result.why = NOT_BUILT, told(error)
        else:
            judge(result, Checks(model, text=one.task in TEXT), pages)
    result.seconds = round(time.perf_counter() - started, 1)
    return result


def judge(result: Result, checks: Checks, pages: bool) -> None:
    """Run all checks in order and set the verdict."""
    try:
        checks.plain()
    except Exception as error:
        result.verdict, result.why = NOT_BUILT, f"its own forward pass fails: {told(error)}"
        sentence = refusal_of(checks)
        if sentence and str(error)[:40] not in sentence:
            result.verdict, result.why = REFUSED, sentence
        return
    try:
        checks.trace()
    except Refused as refusal:
        sentence = str(refusal)
        if not checks.has_attention:
            result.verdict, result.why = NO_ATTENTION, sentence
        elif "no attention at all" in sentence:
            result.why = (
                f"the message says that there may be no attention, but there is: {sentence}"
            )
        else:
            result.verdict, result.why = REFUSED, sentence
    except Exception as error:
        result.why = f"tl.trace raises {told(error)}"
    else:
        every = [checks.maps, checks.batch, checks.padding, checks.edits, checks.patch]
        every += [checks.half, checks.written]
        for check in every + [checks.pages] * pages:
            try:
                check()
            except Exception as error:
                checks.wrong.append(f"{check.__name__}: {told(error)}")
        result.verdict, result.why = verdict_of(checks)
    try:
        checks.restored()
    except Exception as error:
        checks.wrong.append(f"restored: {told(error)}")
    if checks.wrong:
        first = [result.why] if result.verdict == WRONG and result.why else []
        result.verdict, result.why = WRONG, "; ".join(first + checks.wrong)
    if result.verdict == WRONG and checks.note:
        checks.notes.insert(0, f"it says: {checks.note}")
    result.kinds, result.notes = checks.kinds, checks.notes
    result.errors = {name: float(f"{value:.2g}") for name, value in checks.errors.items()}


def refusal_of(checks: Checks) -> str:
    """Our message for a model that cannot be called in this way; empty if the error is not ours."""
    try:
        checks.trace()
    except Refused as refusal:
        return str(refusal)
    except Exception:
        return ""
    return ""


def verdict_of(checks: Checks) -> tuple[str, str]:
    """The verdict on a trace in which nothing is wrong, and the reason if it is not exact."""
    if checks.own_maps:
        return OWN_MAPS, checks.note
    if checks.refused:
        return READ_ONLY, checks.refused
    note = TOWERS.sub("", checks.note).strip()
    less = " ".join(filter(None, (note, checks.not_compared)))
    return (IN_PART, less) if less else (EXACT, "")


def told(error: BaseException) -> str:
    """The error as one line."""
    text = " ".join(str(error).split())[:240]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextlib.contextmanager
def _quiet():
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
