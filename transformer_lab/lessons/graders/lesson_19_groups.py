"""Checks of lesson 19, Circuits: a minimal group of heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.graders.slips import Slip, suspects_of
from transformer_lab.lessons.solutions import lesson_19 as solutions


class Stages:
    """Fraction of right answers of a circuit with stages. In each stage the best remaining head works.

    Args:
        stages: for each stage, head -> the fraction of answers that it lets through.
        helpers: head -> the fraction that is left without it, whatever the other heads do.
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
        Case("three heads that replace each other, and two helpers", (helped, 5, 0.1)),
        Case("a level that is reached exactly", (level, 4, 0.25)),
        Case("a model that answers some texts without any head", (never, 3, 0.1)),
    ]


SLIPS = (
    Slip(
        "choose",
        "each alone",
        "You switch each head off **alone**. A redundant head only shows its effect when the heads "
        "chosen so far are off as well: measure every candidate together with the group.",
    ),
    Slip(
        "choose",
        "in their order",
        "You take heads in the order of their numbers. Try all that are left, and take the one that "
        "leaves the fewest answers right.",
    ),
    Slip(
        "choose",
        "the least harm",
        "You take the head that leaves the *most* answers right. Take the one that leaves the fewest.",
    ),
    Slip(
        "choose",
        "the index in the list",
        "You add the *index* of the best head in the list of those that are left. Add the head "
        "itself: `rest[left.index(…)]`.",
    ),
    Slip(
        "stop",
        "one too few",
        "The group is one head short: with it off, more than `level` of the answers are still right.",
    ),
    Slip(
        "stop",
        "below the level",
        "You go on when the fraction is exactly `level`. **At most** `level` is enough, in both halves.",
    ),
    Slip(
        "stop",
        "everything",
        "You switch every head off before you thin out. Stop once at most `level` is right.",
    ),
    Slip(
        "thin",
        "not thinned",
        "The group is not thinned out: a head chosen early is no longer needed. Switch each one back "
        "on, and drop it from the group if at most `level` is still right.",
    ),
    Slip(
        "thin",
        "thinned at once",
        "You check whether the *first* group can spare each head, and drop all of these at once. The "
        "group may be able to spare either of two redundant heads, but not both: check against the "
        "group as it is by then.",
    ),
    Slip(
        "thin",
        "the needed thinned",
        "You drop the heads that are needed and keep those that are not. Drop a head if at most "
        "`level` is right **without** it in the group.",
    ),
    Slip(
        "thin",
        "thinned alone",
        "You drop a head if little is lost with it off *alone*. Measure with the rest of the group "
        "off.",
    ),
    Slip(
        "answer",
        "the others",
        "These are the heads that are left on. Return those that are off.",
    ),
    Slip(
        "answer",
        "unsorted",
        "These are the right heads, in the order in which you found them. Return the smallest number "
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
        chosen = left.index(min(left)) if "the index in the list" in slips else chosen
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
    shape_hint="the number of each head in the group",
    suspects=(
        Suspect(
            "all that matter alone",
            _matter_alone,
            "These are the heads that matter *alone*. Redundant heads matter only together: let the "
            "group grow, and measure it as a group.",
        ),
        *suspects_of(_with, SLIPS),
        Suspect(
            "fractions",
            _shares,
            "These are fractions of right answers. Return the numbers of the heads.",
        ),
    ),
)

GRADERS = (_GROUP,)
