"""The checks of lesson 14 accept right answers, however written, and name what is wrong."""

from collections import Counter
from functools import cache
from itertools import combinations

import numpy as np
import pytest
import torch

from transformer_lab.lessons.solutions import lesson_14 as solutions


def coverage_with_loop(cross):
    rows, so_far = [], torch.zeros_like(cross[..., 0, :])
    for step in range(cross.shape[-2]):
        rows.append(so_far)
        so_far = so_far + cross[..., step, :]
    return torch.stack(rows, dim=-2)


def coverage_with_matrix(cross):
    n = cross.shape[-2]
    return torch.ones(n, n, dtype=cross.dtype).tril(-1) @ cross


def coverage_by_shifting(cross):
    first = torch.zeros_like(cross[..., :1, :])
    return torch.cat((first, cross), dim=-2).cumsum(-2)[..., :-1, :]


def rouge_with_counters(summary, reference):
    shared = Counter(summary.tolist()) & Counter(reference.tolist())
    return torch.tensor(2 * shared.total() / (len(summary) + len(reference)))


def rouge_with_a_list(summary, reference):
    left, hits = reference.tolist(), 0
    for word in summary.tolist():
        if word in left:
            left.remove(word)
            hits += 1
    if not hits:
        return torch.tensor(0.0)
    precision, recall = hits / len(summary), hits / len(reference)
    return torch.tensor(2 * precision * recall / (precision + recall))


def rouge_l_by_recursion(summary, reference):
    ours, wanted = summary.tolist(), reference.tolist()

    @cache
    def longest(i, j):
        if not i or not j:
            return 0
        if ours[i - 1] == wanted[j - 1]:
            return longest(i - 1, j - 1) + 1
        return max(longest(i - 1, j), longest(i, j - 1))

    return torch.tensor(2 * longest(len(ours), len(wanted)) / (len(ours) + len(wanted)))


def rouge_l_by_trying(summary, reference):
    """Every choice of words of the summary, the longest first."""
    ours, wanted = summary.tolist(), reference.tolist()
    for n in range(len(ours), 0, -1):
        for chosen in combinations(ours, n):
            rest = iter(wanted)
            if all(word in rest for word in chosen):
                precision, recall = n / len(ours), n / len(wanted)
                return torch.tensor(2 * precision * recall / (precision + recall))
    return torch.tensor(0.0)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("rouge_l", solutions.rouge_l),
        ("rouge_l", rouge_l_by_recursion),
        ("rouge_l", rouge_l_by_trying),
        ("coverage", solutions.coverage),
        ("coverage", coverage_with_loop),
        ("coverage", coverage_with_matrix),
        ("coverage", coverage_by_shifting),
        ("coverage", lambda cross: coverage_with_loop(cross.bfloat16())),
        ("rouge_1", solutions.rouge_1),
        ("rouge_1", rouge_with_counters),
        ("rouge_1", rouge_with_a_list),
        ("rouge_1", lambda s, r: rouge_with_counters(s, r).half()),
    ],
)
def test_right_answers_are_accepted(name, function, judged):
    result = judged(f"14/{name}", function)
    assert result.passed, result.diagnosis


def hits(summary, reference):
    return (Counter(summary.tolist()) & Counter(reference.tolist())).total()


MUTANTS = {
    "itself counted": ("coverage", lambda c: c.cumsum(-2), "first row is all 0"),
    "along the source": ("coverage", lambda c: c.cumsum(-1), "Add up along the summary words"),
    "in place": ("coverage", lambda c: c.copy_(c.cumsum(-2) - c), "changes the tensor"),
    "not clipped": (
        "rouge_1",
        lambda s, r: torch.tensor(
            2 * sum(w in r.tolist() for w in s.tolist()) / (len(s) + len(r))
        ),
        "repeating itself",
    ),
    "recall": ("rouge_1", lambda s, r: torch.tensor(hits(s, r) / len(r)), "recall"),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_answers_are_named(mutant, judged):
    name, function, said = MUTANTS[mutant]
    result = judged(f"14/{name}", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_nothing_in_common_is_0_and_not_nan(judged):
    def divides_by_zero(summary, reference):
        n = torch.tensor(float(hits(summary, reference)))
        precision, recall = n / len(summary), n / len(reference)
        return 2 * precision * recall / (precision + recall)

    result = judged("14/rouge_1", divides_by_zero)
    assert not result.passed
    assert "Return 0 in that case" in result.diagnosis


def lcs_table(s, r, *, match=None, other=max, first=0):
    """The table of lengths, with a custom step for equal words, or for words that differ."""
    table = np.zeros((len(s) + 1, len(r) + 1))
    for i in range(first, len(s)):
        for j in range(first, len(r)):
            up, left, corner = table[i, j + 1], table[i + 1, j], table[i, j]
            if s[i] == r[j]:
                table[i + 1, j + 1] = match(up, left, corner) if match else corner + 1
            else:
                table[i + 1, j + 1] = other(up, left)
    return table


def f1(length, s, r):
    return torch.tensor(2 * float(length) / (len(s) + len(r)))


ROUGE_L_MUTANTS = {
    "any order": (rouge_with_counters, "That is ROUGE-1"),
    "place by place": (
        lambda s, r: f1(sum(a == b for a, b in zip(s.tolist(), r.tolist(), strict=False)), s, r),
        "position by position",
    ),
    "two at once": (
        lambda s, r: torch.tensor(lcs_table(s, r, other=lambda up, left: 0).max() / len(r)),
        "Two things at once",
    ),
    "two others": (
        lambda s, r: f1(lcs_table(s, r, other=lambda up, left: up)[-1, -1], s, r) / 2,
        "Two things at once",
    ),
}


@pytest.mark.parametrize("mutant", ROUGE_L_MUTANTS)
def test_wrong_subsequences_are_named(mutant, judged):
    function, said = ROUGE_L_MUTANTS[mutant]
    result = judged("14/rouge_l", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_a_table_without_a_row_for_no_word_is_named(judged):
    def wrapped(s, r):
        table = np.zeros((len(s), len(r)))
        for i, j in np.ndindex(table.shape):
            same = s[i] == r[j]
            table[i, j] = table[i - 1, j - 1] + 1 if same else max(table[i - 1, j], table[i, j - 1])
        return f1(table[-1, -1], s, r)

    assert "n + 1 rows" in judged("14/rouge_l", wrapped).diagnosis


def test_the_next_match_is_not_the_longest_subsequence(judged):
    def next_match(summary, reference):
        place, hits, words = 0, 0, reference.tolist()
        for word in summary.tolist():
            if word in words[place:]:
                place = words.index(word, place) + 1
                hits += 1
        return f1(hits, summary, reference)

    assert "never went back" in judged("14/rouge_l", next_match).diagnosis


def test_no_subsequence_is_0_and_not_nan(judged):
    def divides_by_zero(s, r):
        length = torch.tensor(lcs_table(s, r)[-1, -1])
        precision, recall = length / len(s), length / len(r)
        return 2 * precision * recall / (precision + recall)

    assert "Return 0 in that case" in judged("14/rouge_l", divides_by_zero).diagnosis


def test_checks_never_crash(never_crashes):
    never_crashes("14/rouge_l", solutions.rouge_l)
    never_crashes("14/coverage", solutions.coverage)
    never_crashes("14/rouge_1", solutions.rouge_1)
