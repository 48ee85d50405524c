"""What a grader is made of."""

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
        arguments: by position. Tensors are on the CPU, those of fractions in float32 (the reference
            gets them in float64); whole numbers, functions and the like are passed as they are.
    """

    name: str
    arguments: tuple[Any, ...]


class Unfit(Exception):
    """What a learner wrote cannot be put to use; the message says what is lacking, and where."""


@dataclass(frozen=True)
class Suspect:
    """A mistake with a name: when the learner's numbers equal these, the sentence is said.

    Args:
        name: what went wrong, in two or three words.
        function: makes the same mistake on purpose.
        sentence: what to tell the learner: what was done, and where to look; not the answer.
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
        cases: makes the cases; the first that fails is the one that is explained.
        reference: the right function, or class.
        suspects: mistakes to recognise, the most telling first.
        compare_as: applied to the reference's and the learner's result before comparing, so that
            several right answers count as equal (a mask of −∞ and one of −10⁹).
        shape_hint: one sentence on the shape that is wanted, in words.
        use: how what was written becomes a tensor: use(written, *arguments), where calling it with
            the arguments does not do. A class is made into an object and run by it. It raises
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
        """What this function or class gives for the arguments of a case."""
        return written(*arguments) if self.use is None else self.use(written, *arguments)
