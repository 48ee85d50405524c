"""Checks of lesson 19, Circuits."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader, random
from transformer_lab.lessons.solutions import lesson_19 as solutions


def _causal_pattern(seed: int, n_heads: int, n: int) -> Tensor:
    scores = 1.5 * random(seed, n_heads, n, n)
    future = torch.ones(n, n, dtype=torch.bool).triu(1)
    return torch.softmax(scores.masked_fill(future, -torch.inf), dim=-1)


def _score_cases() -> list[Case]:
    once = torch.tensor([7, 3, 9, 4, 7, 3, 9, 1])
    often = torch.tensor([2, 5, 2, 6, 8, 2, 5])
    far = torch.tensor([3, 1, 3, 2, 3, 5, 1, 4, 6, 2, 7, 8, 5, 9, 3, 8, 4, 2, 0])
    return [
        Case(
            "two heads on a text whose tokens come again sooner or later",
            (_causal_pattern(3, 2, 19), far),
        ),
        Case("three heads on a text in which a part comes again", (_causal_pattern(1, 3, 8), once)),
        Case("two heads on a text with one token three times", (_causal_pattern(2, 2, 7), often)),
    ]


SCORE = Grader(
    reference=solutions.induction_score,
    cases=_score_cases,
    shape_hint="one number for each head",
    mistakes="""
- after[:, 1:] = earlier[:, :-1]
+ after = earlier
  This is attention on the earlier occurrence **itself**. That is a duplicate-token head. An
  induction head attends one position later, to what came next.

- after[:, 1:] = earlier[:, :-1]
+ after[:, :-1] = earlier[:, 1:]
- after.any
+ earlier.any
  You used the token *before* the earlier occurrence: the shift goes the wrong way.

- after[:, 1:] = earlier[:, :-1]
+ after[:, 2:] = earlier[:, :-2]
- after.any
+ earlier.any
  You used the second token after the earlier occurrence. Use the first.

- [:, queries]
  Your mean is over all queries. A query whose token has not occurred before has nothing to attend
  to and only lowers the score: leave those out.

- tril(-1)
+ tril(0)
  In your table a token counts as its own earlier occurrence. Keep only what comes strictly before
  it.

- tril(-1)
+ triu(1)
  All scores are 0: you used attention to the future, which a decoder never has. Either query and
  key are swapped (the last axis of `pattern` counts keys), or you took *later* occurrences.

- .sum(dim=-1)[:, queries].mean(dim=-1)
+ .sum(dim=(-2, -1))
  You added up the queries. Take their mean, so that a perfect head scores 1.

- .sum(
+ .amax(
  When a token has occurred several times there are several right positions. Add up the weight on
  all of them.

- .sum(dim=-1)[:, queries].mean(dim=-1)
+ .sum(dim=(-2, -1)) / after.sum()
  You divided by the number of marked pairs. Divide by the number of queries that have one: a head
  that attends to any right position has done its work.

= pattern.diagonal(-1, -2, -1).mean(dim=-1)
  This is attention on the token just before the query, whatever it is.
""",
    values=(4, 6, 8),
    variant="""
- same.tril(-1)
+ same.tril(-1).triu(-DRAWN)
  Count only what is near: an earlier occurrence counts if it is at most DRAWN positions before the
  query. A query without such an occurrence is left out.

- triu(-DRAWN)
+ triu(-DRAWN - 1)
  You reach one position too far back. Measure the distance from the query to the earlier
  occurrence, not to the token after it.

- after.any(dim=-1)
+ same.tril(-1).any(dim=-1)
  Your mean includes queries whose token occurred only farther away. Leave them out.

- same.tril(-1).triu(-DRAWN)
+ same.tril(-DRAWN)
  You counted what is *far*: occurrences at least DRAWN positions back. Count those at most DRAWN back.
""",
)


def _without_cases() -> list[Case]:
    square = (random(10, 2, 3, 4, 5), random(11, 15, 15), 1)
    wide = (random(12, 1, 4, 5, 2), random(13, 6, 8), 3)
    first = (random(14, 3, 2, 2, 3), random(15, 6, 6), 0)
    return [
        Case("2 texts, 3 heads of width 5, without head 1", square),
        Case("4 heads of width 2 that write into 6 numbers, without head 3", wide),
        Case("2 heads, without head 0", first),
    ]


WITHOUT = Grader(
    reference=solutions.without_head,
    cases=_without_cases,
    shape_hint="`[batch, position, d_model]`, like attention's output",
    mistakes="""
- z[:, head] = 0
+
- return merged @ w_out.T
+ out = merged @ w_out.T
+ out[..., head * z.shape[-1] : (head + 1) * z.shape[-1]] = 0
+ return out
  You set part of the *output* to 0. By then `W_O` has mixed the heads: each number of the output
  comes from all of them. Set the head's `z` to 0, before `W_O`.

- z[:, head] = 0
+ z[:, [i for i in range(z.shape[1]) if i != head]] = 0
  You kept this head and switched off all the others. Do it the other way round.

- z[:, head] = 0
  No head is switched off. (To change `z`, put `z[:, head]` on the left of `=`.)

- z[:, head] = 0
+ z[:, (head + 1) % z.shape[1]] = 0
  You switched off the head after it. Heads are counted from 0.

- z[:, head] = 0
+ z[:, head - 1] = 0
  You switched off the head before it. Heads are counted from 0.

- z[:, head] = 0
+ z[:, :, min(head, z.shape[2] - 1)] = 0
  You set a *position* to 0. The axes of `z` are [batch, head, position, d_head].

- z[:, head] = 0
+ z[min(head, len(z) - 1)] = 0
  You set a whole *text* of the batch to 0. The axes of `z` are [batch, head, position, d_head].

- z.transpose(1, 2).flatten(2)
+ z.permute(0, 2, 3, 1).flatten(2)
  The heads are interleaved: `W_O` expects the numbers of head 0, then those of head 1, and so on,
  for each position.

- z.transpose(1, 2).flatten(2)
+ z.reshape(len(z), z.shape[2], -1)
  You reshaped [head, position, d_head] without swapping head and position first, so one row holds
  numbers of different positions. First use `transpose(1, 2)`.

- w_out.T
+ w_out
  `w_out` is the weight of an `nn.Linear`, [d_model, n_heads · d_head]: multiply by its transpose.

- z[:, head] = 0
+ z[:, head] = z[:, head].mean(dim=1, keepdim=True)
  You replaced the head with its mean. That is a good ablation too, but here the head should add
  nothing: set it to 0.

- merged @ w_out.T
+ merged
  These are the heads side by side. The last step is missing: `W_O` mixes them.
""",
)


class _Stages:
    """Accuracy of a circuit with stages. In each stage the best remaining head works.

    Args:
        stages: for each stage, head -> the fraction of right answers that it passes on.
        helpers: head -> the factor of the accuracy without it, whatever the other heads do.
        none: the fraction that a stage without heads passes on.
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


def _group_cases() -> list[Case]:
    twos = _Stages({0: 1.0, 1: 0.5}, {2: 0.9, 3: 0.85}, {4: 0.95, 5: 0.9})
    threes = _Stages(
        {0: 0.92, 1: 0.91, 2: 0.9},
        {3: 0.95, 4: 0.9, 5: 0.8},
        {6: 1.0, 7: 0.6},
        helpers={4: 0.98, 5: 0.97},
    )
    helped = _Stages({1: 0.97, 3: 0.95, 4: 0.93}, helpers={2: 0.85, 0: 0.9}, none=0.11)
    level = _Stages({0: 1.0, 1: 0.5, 2: 0.25}, helpers={3: 0.75}, none=0.125)
    never = _Stages({0: 1.0, 2: 0.9}, helpers={1: 0.98}, none=0.4)
    return [
        Case("three stages, of two heads each", (twos, 6, 0.1)),
        Case("three stages, of three, three and two heads", (threes, 8, 0.1)),
        Case("three heads that replace each other, and two helpers", (helped, 5, 0.1)),
        Case("a level that is reached exactly", (level, 4, 0.25)),
        Case("a model that answers some texts without any head", (never, 3, 0.1)),
    ]


GROUP = Grader(
    reference=solutions.minimal_group,
    cases=_group_cases,
    shape_hint="the number of each head in the group",
    mistakes="""
= whole = right([])
= torch.tensor([head for head in range(n_heads) if right([head]) < whole])
  These are the heads that matter *alone*. Redundant heads matter only together: let the group
  grow, and measure it as a group.

# choose
- [*group, head]
+ [head]
  You switch each head off **alone**. A redundant head only shows its effect when the heads chosen
  so far are off as well: measure every candidate together with the group.

- rest[left.index(min(left))]
+ rest[0]
  You take heads in the order of their numbers. Try all that are left, and take the one that
  leaves the fewest answers right.

- min(left)
+ max(left)
  You take the head that leaves the *most* answers right. Take the one that leaves the fewest.

- rest[left.index(min(left))]
+ left.index(min(left))
  You add the *index* of the best head in the list of those that are left. Add the head itself:
  `rest[left.index(…)]`.

# stop
- for head in list
+ if group and right(group) <= level:
+     group.pop()
+ for head in list
  The group is one head short: with it off, more than `level` of the answers are still right.

- > level
+ >= level
- <= level
+ < level
  You go on when the fraction is exactly `level`. **At most** `level` is enough, in both halves.

- right(group) > level and
  You switch every head off before you thin out. Stop once at most `level` is right.

# thin
- group = fewer
+ pass
  The group is not thinned out: a head chosen early is no longer needed. Switch each one back on,
  and drop it from the group if at most `level` is still right.

- list(group)
+ (first := list(group))
- other in group
+ other in first
- group = fewer
+ group = [other for other in group if other != head]
  You check whether the *first* group can spare each head, and drop all of these at once. The
  group may be able to spare either of two redundant heads, but not both: check against the group
  as it is by then.

- if right(fewer)
+ if not right(fewer)
- torch.tensor
+ torch.LongTensor
  You drop the heads that are needed and keep those that are not. Drop a head if at most `level`
  is right **without** it in the group.

# answer
- return
+ group = [head for head in range(n_heads) if head not in group]
+ return
  These are the heads that are left on. Return those that are off.

- sorted(group)
+ group
  These are the right heads, in the order in which you found them. Return the smallest number
  first.
""",
)
