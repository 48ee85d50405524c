"""Check an exercise and say what went wrong."""

from __future__ import annotations

import math
import re
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from transformer_lab.lessons.cards import Card, Shown
from transformer_lab.lessons.exercises.answers import save_answer
from transformer_lab.lessons.exercises.exercise import Exercise
from transformer_lab.lessons.exercises.guard import Outcome, run_limited, where
from transformer_lab.lessons.graders import Case, Grader, Unfit
from transformer_lab.lessons.progress import record

if TYPE_CHECKING:
    import torch

# Largest |difference| / (1 + |expected|). Exact arithmetic in float32 stays far below the first;
# bf16 and TF32 matrix products stay below the second, and every named mistake is above it.
EXACT = 2e-5
COARSE = 4e-2


@dataclass(frozen=True, repr=False)
class CheckResult(Shown):
    """Whether an exercise passed, and if not, why.

    Attributes:
        exercise: its name.
        passed: True when every case was right.
        diagnosis: a short paragraph for the learner.
        status: "passed", "empty" (still the stub) or "wrong".
        printed: what the function printed, the first lines.
        note: a remark that does not change the verdict.
        kind: "function" or "class".
        below: a sentence about what the cells below use until it passes.
    """

    exercise: str
    status: str
    diagnosis: str
    aside: str = ""
    printed: str = ""
    note: str = ""
    kind: str = "function"
    below: str = "Until it passes, the cells below use the reference."

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    def __bool__(self) -> bool:
        return self.passed

    def card(self) -> Card:
        title, tone = {
            "passed": (f"`{self.exercise}` is right.", "good"),
            "empty": (f"`{self.exercise}` is not written yet.", "wait"),
            "wrong": (f"`{self.exercise}` is not right yet.", "bad"),
        }[self.status]
        lines = [self.diagnosis]
        if self.note:
            lines.append(self.note)
        if not self.passed:
            lines.append(self.below)
        if self.printed:
            lines.append(f"While it was checked, your {self.kind} printed:")
        return Card(tone, title, lines, code=self.printed, aside=self.aside)


class _Wrong(Exception):
    """A finding that ends a check, with the sentence for the learner."""

    def __init__(self, sentence: str, status: str = "wrong"):
        super().__init__(sentence)
        self.status = status


def check(exercise: Exercise, *, seconds: float | None = None) -> CheckResult:
    """Run an exercise on its test cases and report whether it is right, or what went wrong.

    Nothing that the learner's function or class does raises an error here: wrong types and shapes, NaN,
    errors, prints and endless loops are all explained in a sentence. Numbers are compared in float64 on
    the CPU, once type, shape and finiteness are right; a correct result in bf16 or on another device
    passes. Solved exercises are saved in the progress file, and their sources beside it.

    Args:
        exercise: an exercise defined with `@exercise(...)`.
        seconds: time limit for all cases together; by default the exercise's own.

    Raises:
        TypeError: the argument is not an exercise.
    """
    if not isinstance(exercise, Exercise):
        raise TypeError(
            f"check() takes an exercise, got {type(exercise).__name__}: "
            "is `@exercise(...)` still above what you wrote, and did you run that cell?"
        )
    import torch

    started, printed, notes = time.monotonic(), "", []
    seconds = exercise.grader.seconds if seconds is None else seconds
    exercise.passed = False
    grader, cases = exercise.grader, exercise.grader.cases()
    run = partial(grader.run, exercise.yours)
    below = CheckResult.below
    if exercise.variant:
        below = f"The cells below use the reference without the change of variant {exercise.variant.number}."
    with torch.random.fork_rng(devices=[]):
        try:
            for case in cases:
                left = seconds - (time.monotonic() - started)
                arguments = tuple(map(_copy, case.arguments))
                outcome = run_limited(run, arguments, max(left, 0.1))
                printed = printed or outcome.printed
                note = _judge(exercise, case, arguments, outcome, seconds)
                notes += [note] if note and note not in notes else []
        except _Wrong as finding:
            said = str(finding).replace("our function", f"our {grader.noun}")
            return CheckResult(
                exercise.__name__,
                finding.status,
                said,
                printed=printed,
                kind=exercise.kind,
                below=below,
            )
    exercise.passed = True
    if exercise.lesson.answers == "learner":
        notes += filter(None, [record(grader.name)])
        if not exercise.variant:  # later lessons build on the exercise without a change
            notes += filter(None, [save_answer(grader.name, exercise.written)])
    used = f"your {exercise.kind}" if exercise.lesson.answers == "learner" else "our solution"
    return CheckResult(
        exercise.__name__,
        "passed",
        below if exercise.variant else f"Run the cells below again: from here on they use {used}.",
        f"{len(cases)} of {len(cases)} cases",
        printed,
        " ".join(notes),
        exercise.kind,
    )


def _judge(
    exercise: Exercise, case: Case, arguments: tuple, outcome: Outcome, seconds: float
) -> str:
    """Raise _Wrong with a diagnosis, or return a remark ("" when there is none)."""
    _explain_failure(exercise.yours, case, outcome, seconds)
    answer = exercise.grader.run(exercise.grader.reference, *map(_exact, case.arguments))
    sort, expected = _sort(answer.dtype), answer.detach().double()
    yours, note = _read_tensor(outcome.value, sort, expected)
    _explain_shape(yours, expected, case, exercise.grader)
    _explain_values(yours, case, exercise.grader, expected, sort=sort, coarse=bool(note))
    for before, after in zip(case.arguments, arguments, strict=True):
        if changed := _changed(before, after):
            raise _Wrong(
                f"The numbers are right, but your function changes {changed} passed to it. "
                "The caller still needs the original: build a new one (methods whose name "
                "ends in `_`, `+=` and `x[…] = …` all overwrite the old one)."
            )
    return note


def _explain_failure(
    function: Callable[..., Any], case: Case, outcome: Outcome, seconds: float
) -> None:
    if outcome.timed_out:
        more = "" if outcome.stopped else " It is still running: restart the kernel (↻) first."
        raise _Wrong(
            f"Your function did not finish within {seconds:g} seconds on {case.name}. "
            f"Is there a loop that never ends?{more}"
        )
    error = outcome.error
    if error is None:
        return
    if isinstance(error, Unfit):
        raise _Wrong(str(error))
    if isinstance(error, NotImplementedError):
        raise _Wrong("Replace the line that raises `NotImplementedError`.", "empty")
    if isinstance(error, SystemExit):
        raise _Wrong("Your function ended the program (`exit()`). Return the result instead.")
    line = where(error, function)
    at = f" at `{line}`" if line else ""
    message = " ".join(str(error).split())[:300] if _is_builtin(error) else ""
    hint = ""
    if re.search(r"\.T\b", line) and any(_is_tensor(a) and a.ndim > 2 for a in case.arguments):
        hint = " `.T` is for tensors with two axes; `.transpose(-2, -1)` swaps the last two axes of any tensor."
    text = f": {message.rstrip('.')}." if message else "."
    raise _Wrong(f"On {case.name}, {type(error).__name__}{at}{text}{hint}")


def _is_builtin(error: BaseException) -> bool:
    """Whether an exception's message is safe to read: `__str__` of an unknown class may do
    anything."""
    return type(error).__module__.split(".")[0] in {"builtins", "torch"}


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _copy(argument: Any) -> Any:
    """Copy an argument for the learner's function, so that ours stays unchanged."""
    if isinstance(argument, (list, tuple)):
        return type(argument)(map(_copy, argument))
    return argument.clone() if _is_tensor(argument) else argument


def _exact(argument: Any) -> Any:
    """Convert an argument for the reference: floats to float64, everything else unchanged."""
    if isinstance(argument, (list, tuple)):
        return type(argument)(map(_exact, argument))
    return argument.double() if _is_tensor(argument) and argument.is_floating_point() else argument


def _read_tensor(value: Any, sort: str, expected: torch.Tensor) -> tuple[torch.Tensor, str]:
    """The result as float64 on the CPU, and a remark if its precision is coarse."""
    import torch

    # type(), not isinstance(): an object may claim any class, and a subclass may redefine equality.
    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        raise _Wrong(_wrong_type(value))
    if _sort(value.dtype) != sort:
        raise _Wrong(
            f"Your function returned a tensor of {value.dtype}; the result contains "
            f"{_WANTED[sort]}."
        )
    try:
        numbers = value.detach().to_dense().to("cpu", torch.float64).clone()
    except (RuntimeError, NotImplementedError, TypeError):
        raise _Wrong(
            f"The numbers of your result cannot be read (device {value.device}, "
            f"layout {value.layout}). Return an ordinary tensor."
        ) from None
    if sort != "fractions":
        return numbers, ""
    single = numbers.to(torch.float32)
    for dtype, name in ((torch.bfloat16, "bfloat16"), (torch.float16, "float16")):
        # 0 and ½ survive any rounding, so a result of such numbers does not show its precision.
        coarse = _survives(single, dtype) and not _survives(expected.float(), dtype)
        if value.dtype == dtype or coarse:
            return numbers, f"Right, within the precision of {name}."
    if value.device.type != "cpu":
        return numbers, f"Right, within the precision of {value.device.type}."
    return numbers, ""


def _survives(numbers: torch.Tensor, dtype: torch.dtype) -> bool:
    return bool((numbers.to(dtype).to(numbers.dtype) == numbers).all())


_WANTED = {
    "fractions": "fractions, so it needs a floating-point type such as `torch.float32`",
    "whole numbers": "whole numbers, so it needs an integer type such as `torch.long`",
    "truths": "True and False, so its type must be `torch.bool`",
}


def _sort(dtype: torch.dtype) -> str:
    """The kind of numbers that a tensor of this dtype holds."""
    import torch

    if dtype == torch.bool:
        return "truths"
    if dtype.is_complex:
        return "complex numbers"
    return "fractions" if dtype.is_floating_point else "whole numbers"


def _wrong_type(value: Any) -> str:
    if value is None:
        return "Your function returned nothing. Is the `return` missing?"
    kind = type(value)
    if kind in (tuple, list):
        return (
            f"Your function returned {len(value)} things in a {kind.__name__}. "
            "Return only the result, as one tensor."
        )
    if kind is types.GeneratorType:
        return "Your function contains `yield`, so it returned a generator. Use `return`."
    if kind.__module__ == "numpy":
        return "Your function returned a NumPy array. Use torch tensors throughout."
    if kind in (int, float, bool, str, dict):
        return f"Your function returned a {kind.__name__}. Return a torch tensor."
    return "Your function did not return a torch tensor (an ordinary `torch.Tensor`)."


def _shape(tensor: torch.Tensor) -> str:
    return "[" + ", ".join(map(str, tensor.shape)) + "]"


def _explain_shape(yours: torch.Tensor, expected: torch.Tensor, case: Case, grader: Grader) -> None:
    if yours.shape == expected.shape:
        return
    sentence = (
        f"On {case.name}, the result has shape {_shape(yours)}; "
        f"it should be {_shape(expected)}: {grader.shape_hint}."
    )
    suspect = _suspect(yours, case, grader, COARSE)
    raise _Wrong(f"{sentence} {suspect}" if suspect else sentence)


def _explain_values(
    yours: torch.Tensor,
    case: Case,
    grader: Grader,
    expected: torch.Tensor,
    *,
    sort: str,
    coarse: bool,
) -> None:
    limit = COARSE if coarse else EXACT
    mine, right = grader.compare_as(yours), grader.compare_as(expected)
    if _distance(mine, right) <= limit:
        return
    suspect = _suspect(yours, case, grader, limit)
    if suspect:
        raise _Wrong(f"On {case.name}: {suspect}")
    if not bool(mine.isfinite().all()):
        bad = "NaN" if bool(mine.isnan().any()) else "infinite"
        count = int((~mine.isfinite()).sum())
        raise _Wrong(
            f"On {case.name}, {count} of the {mine.numel()} numbers are {bad}. "
            "Look for 0/0, 0·∞, ∞ − ∞, or a row of scores that is −∞ everywhere."
        )
    difference = (mine - right).abs()
    place = int(difference.argmax())
    kind = "largest"
    if sort != "fractions":
        kind, place = "first", int((difference > 0).double().argmax())
    index = []
    for size in reversed(mine.shape):
        index.append(place % size)
        place //= size
    at = tuple(reversed(index))
    of = f" of {grader.contents}" if grader.contents else ""
    what = "after the softmax, the " if grader.compare_as(expected) is not expected else "the "
    raise _Wrong(
        f"On {case.name}, {what}{kind} difference is at {list(at)}{of}: "
        f"yours {_shown(mine[at], sort)}, expected {_shown(right[at], sort)}."
    )


def _shown(value: torch.Tensor, sort: str) -> str:
    if sort == "truths":
        return str(bool(value))
    return f"{float(value):.0f}" if sort == "whole numbers" else f"{float(value):.4f}"


def _suspect(yours: torch.Tensor, case: Case, grader: Grader, limit: float) -> str:
    """The sentence of the first named mistake that gives exactly these numbers."""
    rounds = [(_exact, suspect) for suspect in grader.suspects]
    # Some mistakes, such as exp of a large number, are visible in float32 only.
    rounds += [(_copy, suspect) for suspect in grader.suspects if len(suspect.mistakes) == 1]
    for prepare, suspect in rounds:
        try:
            made = grader.run(suspect.function, *map(prepare, case.arguments)).detach().double()
        except Exception:  # this mistake gives no numbers on this case
            continue
        if made.shape != yours.shape:
            continue
        alike = _distance(grader.compare_as(yours), grader.compare_as(made)) <= limit
        if alike or _distance(yours, made) <= limit:
            return suspect.sentence
    return ""


def _distance(mine: torch.Tensor, other: torch.Tensor) -> float:
    """Largest relative difference; equal infinities and NaN in the same places count as equal."""
    import torch

    if mine.numel() == 0:
        return 0.0
    special = ~mine.isfinite() | ~other.isfinite()
    alike = (mine == other) | (mine.isnan() & other.isnan())
    if bool((special & ~alike).any()):
        return math.inf
    relative = (mine - other).abs() / (1 + other.abs())
    return float(torch.where(special, torch.zeros_like(relative), relative).max())


def _changed(before: Any, after: Any) -> str:
    """Name the part of an argument that was changed; "" if nothing was."""
    if _is_tensor(before):
        return "" if _is_tensor(after) and _same(before, after) else "the tensor"
    if isinstance(before, (list, tuple)):
        if len(before) != len(after):
            return "the list"
        inside = [_changed(*pair) for pair in zip(before, after, strict=True)]
        found = next(filter(None, inside), "")
        return "a tensor in the list" if found == "the tensor" else found
    kept = after is before or (type(after) in (int, float, str) and bool(after == before))
    return "" if kept else "the list"


def _same(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Whether an argument is unchanged, including its shape, which can be changed in place."""
    return before.shape == after.shape and _distance(after.detach().double(), before.double()) == 0
