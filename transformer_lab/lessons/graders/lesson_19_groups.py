"""Checks of lesson 19, Circuits: the group of heads that does it together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.graders.slips import Slip, suspects_of
from transformer_lab.lessons.solutions import lesson_19 as solutions


class Stages:
    """Right answers of a circuit of stages: in each the best head that is left does the work.

    Args:
        stages: for each stage the share of answers that head -> lets through.
        helpers: head -> the share that is left without it, whoever else works.
        none: what a stage with no head lets through.
    """

    def __init__(
        self, *stages: dict[int, float], helpers: dict[int, float] | None = None, none: float = 0.03
    ):
        self.stages, self.helpers, self.none = stages, helpers or {}, none

    def __call__(self, off: Sequence[int]) -> float:
        gone = {int(head) for head in off}
        through = [
            max((share for head, share in stage.items() if head not in gone), default=self.none)
            for stage in self.stages
        ]
        return prod(through) * prod(s for head, s in self.helpers.items() if head in gone)


def _cases() -> list[Case]:
    twos = Stages({0: 1.0, 1: 0.5}, {2: 0.9, 3: 0.85}, {4: 0.95, 5: 0.9})
    threes = Stages(
        {0: 0.92, 1: 0.91, 2: 0.9},
        {3: 0.95, 4: 0.9, 5: 0.8},
        {6: 1.0, 7: 0.6},
        helpers={4: 0.98, 5: 0.97},
    )
    helped = Stages({1: 0.97, 3: 0.95, 4: 0.93}, helpers={2: 0.85, 0: 0.9}, none=0.11)
    level = Stages({0: 1.0, 1: 0.5, 2: 0.25}, helpers={3: 0.75}, none=0.125)
    never = Stages({0: 1.0, 2: 0.9}, helpers={1: 0.98}, none=0.4)
    return [
        Case("three stages, of two heads each", (twos, 6, 0.1)),
        Case("three stages, of three, three and two heads", (threes, 8, 0.1)),
        Case("three heads that stand in for each other, and two helpers", (helped, 5, 0.1)),
        Case("a level that is reached exactly", (level, 4, 0.25)),
        Case("a model that answers some without any head", (never, 3, 0.1)),
    ]


SLIPS = (
    Slip(
        "choose",
        "each alone",
        "You compare what is left without each head **alone**. Redundant heads show only when those "
        "that were chosen are off as well: measure every candidate together with the group.",
    ),
    Slip(
        "choose",
        "in their order",
        "You take heads in the order of their numbers. Try all that are left, and take the one without "
        "which the least is right.",
    ),
    Slip(
        "choose",
        "the least harm",
        "You take the head without which the *most* is right. Take the one without which the least is.",
    ),
    Slip(
        "choose",
        "the place in the list",
        "You add the *place* of the best head among those that are left, and not the head: "
        "`rest[left.index(…)]`.",
    ),
    Slip(
        "stop",
        "one too few",
        "The group is one head short: more than `level` is still right without it.",
    ),
    Slip(
        "stop",
        "below the level",
        "You go on where exactly `level` is right. **At most** `level` is enough, in both halves.",
    ),
    Slip(
        "stop",
        "everything",
        "You switch every head off before you thin out. Stop as soon as at most `level` is right.",
    ),
    Slip(
        "thin",
        "not thinned",
        "The group is not thinned out: a head chosen early has become needless. Give each back, and "
        "keep it on if at most `level` is right all the same.",
    ),
    Slip(
        "thin",
        "thinned at once",
        "You ask of each head whether the *first* group could spare it, and take all such away at once. "
        "Two that stand in for each other can be spared singly, but not both: ask the group as it is by "
        "then.",
    ),
    Slip(
        "thin",
        "the needed thinned",
        "You throw out the heads that are needed, and keep those that are not: a head goes if at most "
        "`level` is right **without** it in the group.",
    ),
    Slip(
        "thin",
        "thinned alone",
        "You throw a head out if little is lost with it off *alone*. Ask what is right with the rest of "
        "the group off.",
    ),
    Slip(
        "answer",
        "the others",
        "These are the heads that are left on. Return those that are off.",
    ),
    Slip(
        "answer",
        "unsorted",
        "These are the right heads in the order in which they were found. Return the smallest number "
        "first.",
    ),
)


def _with(slips: frozenset[str]) -> Callable[..., torch.Tensor]:
    def made(right, n_heads, level):
        heads = list(range(n_heads))
        group = _found(right, heads, level, slips)
        group = _thinned(right, group, level, slips)
        if "the others" in slips:
            group = [head for head in heads if head not in group]
        return torch.tensor(group if "unsorted" in slips else sorted(group), dtype=torch.long)

    return made


def _found(right, heads, level, slips) -> list[int]:
    group: list[int] = []

    def goes_on(group):
        left = right(group)
        enough = left < level if "below the level" in slips else left <= level
        return "everything" in slips or not enough

    while goes_on(group) and len(group) < len(heads):
        rest = [head for head in heads if head not in group]
        with_them = [] if "each alone" in slips else group
        left = [right([*with_them, head]) for head in rest]
        chosen = rest[left.index(max(left) if "the least harm" in slips else min(left))]
        chosen = rest[0] if "in their order" in slips else chosen
        chosen = left.index(min(left)) if "the place in the list" in slips else chosen
        if "one too few" in slips and not goes_on([*group, chosen]):
            break
        group.append(chosen)
    return group


def _thinned(right, group, level, slips) -> list[int]:
    if "not thinned" in slips:
        return group
    first, kept = group, list(group)
    for head in first:
        asked = first if "thinned at once" in slips else kept
        left = right([other for other in asked if other != head])
        if "thinned alone" in slips:
            needless = right([head]) > 0.9
        else:
            needless = left < level if "below the level" in slips else left <= level
        if needless != ("the needed thinned" in slips):
            kept = [other for other in kept if other != head]
    return kept


def _shares(right, n_heads, level):
    return torch.tensor([right([head]) for head in range(n_heads)])


def _matter_alone(right, n_heads, level):
    whole = right([])
    return torch.tensor([h for h in range(n_heads) if right([h]) < whole], dtype=torch.long)


_GROUP = Grader(
    name="19/minimal_group",
    cases=_cases,
    reference=solutions.minimal_group,
    shape_hint="the number of each head of the group",
    suspects=(
        Suspect(
            "all that matter alone",
            _matter_alone,
            "These are the heads that matter *alone*. Redundant heads do not, and yet nothing works "
            "without all of them: let the group grow, and measure it as a group.",
        ),
        *suspects_of(_with, SLIPS),
        Suspect(
            "shares",
            _shares,
            "These are shares of right answers. Return the numbers of the heads.",
        ),
    ),
)

GRADERS = (_GROUP,)
