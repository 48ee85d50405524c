"""The parts of a grader: cases, suspects, and the grader itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Case:
    """One call that the learner's function has to get right.

    Args:
        name: completes "on …": "two sentences at once".
        arguments: by position. Tensors are on the CPU, floating-point ones in float32 (the reference
            gets them in float64); whole numbers, functions and the like are passed unchanged.
    """

    name: str
    arguments: tuple[Any, ...]


class Unfit(Exception):
    """What a learner wrote cannot be used; the message says what is missing, and where."""


@dataclass(frozen=True)
class Suspect:
    """A known mistake: if the learner's numbers equal those of `function`, the sentence is shown.

    Args:
        name: what went wrong, in two or three words.
        function: makes the same mistake on purpose.
        sentence: what the learner reads: what went wrong and where to look, but not the answer.
    """

    name: str
    function: Callable[..., Any]
    sentence: str


def as_it_is(result: torch.Tensor) -> torch.Tensor:
    return result


@dataclass(frozen=True)
class Grader:
    """How one exercise is checked.

    Args:
        name: "lesson/function".
        cases: makes the cases; the diagnosis explains the first one that fails.
        reference: the right function, or class.
        suspects: mistakes to recognise, the most informative first.
        compare_as: applied to the reference's and the learner's result before comparing, so that
            several right answers count as equal (a mask of −∞ and one of −10⁹).
        shape_hint: the expected shape, in words.
        use: turns what the learner wrote into a tensor, use(written, *arguments), if a plain call with
            the arguments is not enough: for a class, it makes an object and runs it. It raises
            `Unfit` for what cannot be used.
        noun: what returns that tensor, in words.
    """

    name: str
    cases: Callable[[], list[Case]]
    reference: Callable[..., Any]
    suspects: tuple[Suspect, ...] = field(default=())
    compare_as: Callable[[torch.Tensor], torch.Tensor] = as_it_is
    shape_hint: str = ""
    use: Callable[..., torch.Tensor] | None = None
    noun: str = "function"

    def run(self, written: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function or class on the arguments of a case and return its result."""
        return written(*arguments) if self.use is None else self.use(written, *arguments)
