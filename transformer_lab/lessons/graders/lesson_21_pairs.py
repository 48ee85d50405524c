"""Checks of lesson 21, Research desk: minimal pairs, compared with chance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.graders.slips import Slip, suspects_of
from transformer_lab.lessons.solutions import lesson_21 as solutions


def _weights(seed: int, heads: int, words: int) -> Tensor:
    drawn = torch.randn(heads, words, generator=torch.Generator().manual_seed(seed))
    return drawn.mul(1.5).softmax(-1)


def _cases() -> list[Case]:
    def pair(seed, heads, words, a, b):
        return _weights(seed, heads, words), _weights(seed + 1, heads, words), a, b

    three = [pair(10, 8, 5, 1, 3), pair(20, 8, 6, 4, 0), pair(30, 8, 4, 2, 1)]
    two = [pair(40, 6, 7, 5, 2), pair(50, 6, 4, 0, 3)]
    return [
        Case("three pairs and 8 heads", (three,)),
        Case("two pairs and 6 heads", (two,)),
        Case("one pair and 6 heads", (two[:1],)),
    ]


SLIPS = (
    Slip(
        "turn",
        "either sentence",
        "A head turns only if it is right in **both** sentences: `&`, not `|`.",
    ),
    Slip(
        "turn",
        "the first alone",
        "You check the first sentence alone. A head that always gives `a` more is right there without "
        "following anything: check the second, too.",
    ),
    Slip(
        "turn",
        "the other way",
        "`a` and `b` are exchanged: the right word of the first sentence is at `a`, and that of the "
        "second is at `b`.",
    ),
    Slip(
        "turn",
        "it reacts",
        "You compare one word between the two sentences. A weight can *react* to the change without "
        "moving to the other word: compare `a` with `b` inside each sentence.",
    ),
    Slip(
        "turn",
        "strongest of all",
        "You check whether the right word is the strongest of *all*. Compare only the two words with "
        "each other, `a` with `b`.",
    ),
    Slip(
        "most",
        "the larger",
        "You take the larger of the two weights. A head gives the right word of *both* sentences at "
        "least the smaller: take that.",
    ),
    Slip(
        "most",
        "their mean",
        "You take the mean of the two weights. A head gives the right word of *both* sentences at "
        "least the smaller: take that.",
    ),
    Slip(
        "most",
        "without turning",
        "The second row also counts heads that do not turn: it should be 0 in a pair where the head "
        "does not turn.",
    ),
    Slip(
        "most",
        "summed weights",
        "In the second row you add up the pairs. Take the largest over the pairs.",
    ),
    Slip(
        "most",
        "mean over pairs",
        "In the second row you take the mean over the pairs. Take the largest.",
    ),
    Slip(
        "chance",
        "with the two words",
        "Your couples for chance contain `a` or `b`. Take *other* words, which have nothing to do with "
        "the change.",
    ),
    Slip(
        "chance",
        "one way round",
        "You try two other words in one order only. (c, d) and (d, c) are two couples.",
    ),
    Slip(
        "chance",
        "either way round",
        "You count a couple if the head turns either way round. The right words count one way only, so "
        "count (c, d) and (d, c) separately.",
    ),
    Slip(
        "chance",
        "over all heads",
        "Your chance is the mean over all heads. Compute it separately for each head.",
    ),
    Slip(
        "chance",
        "a word with itself",
        "Your list has couples of a word with itself, which can never turn. Leave out `c == d`.",
    ),
    Slip(
        "chance",
        "couples counted",
        "You count the couples that turn. Take the *fraction* of couples: it says how often one pair "
        "turns by chance.",
    ),
    Slip(
        "chance",
        "mean of the chances",
        "You take the mean of the chances over the pairs. The first row counts pairs, so add the chances up.",
    ),
    Slip(
        "count",
        "a fraction of pairs",
        "The first row is the *number* of pairs in which a head turns, not the fraction.",
    ),
)


def _with(slips: frozenset[str], fair: bool = False) -> Callable[[list], Tensor]:
    """A study with slips; with `fair` the chance row has none."""

    def made(pairs):
        parts = [_one(first, second, a, b, slips, fair) for first, second, a, b in pairs]
        turned, weight, chance = (torch.stack(part) for part in zip(*parts, strict=True))
        most = weight.amax(0)
        if "summed weights" in slips:
            most = weight.sum(0)
        if "mean over pairs" in slips:
            most = weight.mean(0)
        return torch.stack(
            (
                turned.mean(0) if "a fraction of pairs" in slips else turned.sum(0),
                most,
                chance.mean(0) if "mean of the chances" in slips else chance.sum(0),
            )
        )

    return made


def _one(first, second, a, b, slips, fair) -> tuple[Tensor, Tensor, Tensor]:
    """For one pair: which heads turn, with what weight, and how often by chance."""

    def turns(a, b, slips=slips):
        if "the other way" in slips:
            a, b = b, a
        if "it reacts" in slips:
            return (first[:, a] > second[:, a]) & (second[:, b] > first[:, b])
        if "strongest of all" in slips:
            return (first.argmax(1) == a) & (second.argmax(1) == b)
        here, there = first[:, a] > first[:, b], second[:, b] > second[:, a]
        if "either sentence" in slips:
            return here | there
        return here if "the first alone" in slips else here & there

    there = turns(a, b)
    weight = torch.minimum(first[:, a], second[:, b])
    if "the larger" in slips:
        weight = torch.maximum(first[:, a], second[:, b])
    if "their mean" in slips:
        weight = (first[:, a] + second[:, b]) / 2
    if "without turning" not in slips:
        weight = weight * there
    words = range(first.shape[1])
    others = [c for c in words if "with the two words" in slips or c not in (a, b)]
    itself = "a word with itself" in slips
    couples = [(c, d) for c in others for d in others if c != d or itself]
    if "one way round" in slips:
        couples = [(c, d) for c, d in couples if c <= d]
    by_chance = frozenset() if fair else slips
    found = torch.stack([turns(c, d, by_chance) for c, d in couples]).to(first)
    chance = found.sum(0) if "couples counted" in slips else found.mean(0)
    if "either way round" in slips:
        chance = 2 * chance  # a head that turns one way round does not turn the other
    if "over all heads" in slips:
        chance = chance.mean().expand_as(chance)
    return there.to(first), weight, chance


_STUDY = Grader(
    name="21/pair_study",
    cases=_cases,
    reference=solutions.pair_study,
    shape_hint="three rows, and a column for each head",
    suspects=(
        *suspects_of(_with, SLIPS),
        *(
            Suspect(
                f"{slip.name}, but for chance", _with(frozenset({slip.name}), True), slip.sentence
            )
            for slip in SLIPS
            if slip.step == "turn"
        ),
        Suspect(
            "columns for rows",
            lambda pairs: solutions.pair_study(pairs).T,
            "Rows and columns are exchanged: a row for each of the three numbers.",
        ),
        Suspect(
            "a table for each pair",
            lambda pairs: torch.stack([solutions.pair_study([pair]) for pair in pairs]),
            "You return a table for each pair. Combine the pairs: add them up, or take the largest.",
        ),
        Suspect(
            "without chance",
            lambda pairs: solutions.pair_study(pairs)[:2],
            "The third row is missing: the number of turns to expect by chance.",
        ),
    ),
)

GRADERS = (_STUDY,)
