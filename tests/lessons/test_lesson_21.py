"""The checks of lesson 21 accept right answers, however written, and say what is wrong with the others."""

from itertools import combinations, permutations, product

import pytest
import torch

from transformer_lab.lessons.solutions import lesson_21 as solutions


def study_with_loops(pairs):
    n = len(pairs[0][0])
    table = torch.zeros(3, n)
    for first, second, a, b in pairs:
        words = set(range(first.shape[1])) - {a, b}
        for head, (one, two) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
            if one[a] > one[b] and two[b] > two[a]:
                table[0, head] += 1
                table[1, head] = max(table[1, head], min(one[a], two[b]))
            turned = [one[c] > one[d] and two[d] > two[c] for c, d in permutations(words, 2)]
            table[2, head] += sum(turned) / len(turned)
    return table


def study_at_once(pairs):
    """All couples of words in one comparison, [head, word, word]."""
    rows = []
    for first, second, a, b in pairs:
        more = first[:, :, None] - first[:, None]
        less = second[:, None] - second[:, :, None]
        turns = ((more > 0) & (less > 0)).double()
        n = first.shape[1]
        others = 1 - torch.eye(n, dtype=torch.double)
        others[[a, b]] = 0
        others[:, [a, b]] = 0
        weight = first[:, a].clamp(max=second[:, b]) * turns[:, a, b]
        rows.append((turns[:, a, b], weight, (turns * others).sum((1, 2)) / others.sum()))
    turned, weight, chance = (torch.stack(part) for part in zip(*rows, strict=True))
    return torch.stack((turned.sum(0), weight.max(0).values, chance.sum(0)))


def patched_with_where(stream, source, position):
    here = (torch.arange(stream.shape[1]) == position)[None, :, None]
    return torch.where(here, source, stream)


def patched_with_cat(stream, source, position):
    middle = source[:, position : position + 1].expand(len(stream), -1, -1)
    return torch.cat((stream[:, :position], middle, stream[:, position + 1 :]), dim=1)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("pair_study", solutions.pair_study),
        ("pair_study", study_with_loops),
        ("pair_study", study_at_once),
        ("pair_study", lambda pairs: study_at_once(pairs).bfloat16()),
        ("patched", solutions.patched),
        ("patched", patched_with_where),
        ("patched", patched_with_cat),
        ("patched", lambda a, b, p: patched_with_cat(a.half(), b.half(), p)),
    ],
)
def test_right_answers_are_accepted(name, function, judged):
    result = judged(f"21/{name}", function)
    assert result.passed, result.diagnosis


def put(stream, source, place):
    stream = stream.clone()
    stream[place] = source.expand_as(stream)[place]
    return stream


def in_place(stream, source, position):
    stream[:, position] = source[:, position]
    return stream


def study(pairs, *, turns=lambda one, two, a, b: (one[:, a] > one[:, b]) & (two[:, b] > two[:, a]),
          weight=lambda one, two, a, b, there: torch.minimum(one[:, a], two[:, b]) * there,
          others=lambda n, a, b: [c for c in range(n) if c not in (a, b)], couples=permutations,
          share=lambda found: found.mean(0), rows=("sum", "amax", "sum"), fair=False):  # fmt: skip
    """The study with one step done differently."""
    right = study.__kwdefaults__["turns"]
    parts = []
    for one, two, a, b in pairs:
        there = turns(one, two, a, b)
        chosen = couples(others(one.shape[1], a, b), 2)
        found = [(right if fair else turns)(one, two, c, d).float() for c, d in chosen]
        parts.append((there.float(), weight(one, two, a, b, there), share(torch.stack(found))))
    stacked = (torch.stack(part) for part in zip(*parts, strict=True))
    return torch.stack([getattr(part, row)(0) for part, row in zip(stacked, rows, strict=True)])


def first_alone(one, two, a, b):
    return one[:, a] > one[:, b]


def exchanged(one, two, a, b):
    return (one[:, b] > one[:, a]) & (two[:, a] > two[:, b])


MUTANTS = {
    "study: either": (
        lambda one, two, a, b: (one[:, a] > one[:, b]) | (two[:, b] > two[:, a]),
        "`&`, not `|`",
    ),
    "study: first": (first_alone, "the first sentence alone"),
}
MUTANTS = {
    name: ("pair_study", lambda pairs, turns=turns: study(pairs, turns=turns), said)
    for name, (turns, said) in MUTANTS.items()
} | {
    "study: first, not by chance": (
        "pair_study", lambda p: study(p, turns=first_alone, fair=True), "the first sentence alone",
    ),
    "study: larger": (
        "pair_study",
        lambda p: study(p, weight=lambda one, two, a, b, there: one[:, a].maximum(two[:, b]) * there),
        "larger of the two weights",
    ),
    "study: mean weight": (
        "pair_study",
        lambda p: study(p, weight=lambda one, two, a, b, there: (one[:, a] + two[:, b]) / 2 * there),
        "mean of the two weights",
    ),
    "study: always": (
        "pair_study",
        lambda p: study(p, weight=lambda one, two, a, b, there: one[:, a].minimum(two[:, b])),
        "also counts heads that do not turn",
    ),
    "study: weights summed": (
        "pair_study", lambda p: study(p, rows=("sum", "sum", "sum")), "you add up the pairs",
    ),
    "study: weights averaged": (
        "pair_study", lambda p: study(p, rows=("sum", "mean", "sum")), "second row you take the mean",
    ),
    "study: share of pairs": (
        "pair_study", lambda p: study(p, rows=("mean", "amax", "sum")), "*number* of pairs",
    ),
    "study: mean chance": (
        "pair_study", lambda p: study(p, rows=("sum", "amax", "mean")), "mean of the chances",
    ),
    "study: with the two": (
        "pair_study", lambda p: study(p, others=lambda n, a, b: range(n)), "contain `a` or `b`",
    ),
    "study: one way": ("pair_study", lambda p: study(p, couples=combinations), "one order only"),
    "study: itself": (
        "pair_study", lambda p: study(p, couples=lambda words, n: product(words, repeat=n)), "with itself",
    ),
    "study: counted": (
        "pair_study", lambda p: study(p, share=lambda found: found.sum(0)), "Take the *fraction*",
    ),
    "study: columns": ("pair_study", lambda p: study(p).T, "Rows and columns"),
    "study: no chance": ("pair_study", lambda p: study(p)[:2], "third row is missing"),
    "study: either way round": (
        "pair_study",
        lambda p: study(p) * torch.tensor([[1.0], [1.0], [2.0]]),
        "either way round",
    ),
    "study: all heads": (
        "pair_study",
        lambda p: study(p, share=lambda found: found.mean().expand(found.shape[1])),
        "separately for each head",
    ),
    "study: exchanged, one way": (
        "pair_study", lambda p: study(p, turns=exchanged, couples=combinations), "Two things at once",
    ),
    "study: larger, counted": (
        "pair_study",
        lambda p: study(
            p, weight=lambda one, two, a, b, there: one[:, a].maximum(two[:, b]) * there,
            share=lambda found: found.sum(0),
        ),
        "Two things at once",
    ),
    "all": ("patched", lambda a, b, p: b.expand_as(a).clone(), "one position"),
    "nothing": ("patched", lambda a, b, p: a.clone(), "nothing was patched"),
    "other way": (
        "patched",
        lambda a, b, p: put(b.expand_as(a).clone(), a, (slice(None), p)),
        "other way round",
    ),
    "added": (
        "patched",
        lambda a, b, p: put(a, a + b, (slice(None), p)),
        "added",
    ),
    "later too": ("patched", lambda a, b, p: put(a, b, (slice(None), slice(p, None))), "after it"),
    "wrong axis": ("patched", lambda a, b, p: put(a, b, (..., p)), "one *number*"),
    "in place": ("patched", in_place, "changes the tensor"),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_answers_are_named(mutant, judged):
    name, function, said = MUTANTS[mutant]
    result = judged(f"21/{name}", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_checks_never_crash(never_crashes):
    never_crashes("21/pair_study", solutions.pair_study)
    never_crashes("21/patched", solutions.patched)
