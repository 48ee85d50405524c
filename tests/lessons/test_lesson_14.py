"""The checks of lesson 14 accept right answers, however written, and name mistakes."""

from collections import Counter
from functools import cache
from itertools import combinations

import torch

from tests.lessons.answers import checks_of


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
    """Try every subsequence of the summary, the longest first."""
    ours, wanted = summary.tolist(), reference.tolist()
    for n in range(len(ours), 0, -1):
        for chosen in combinations(ours, n):
            rest = iter(wanted)
            if all(word in rest for word in chosen):
                precision, recall = n / len(ours), n / len(wanted)
                return torch.tensor(2 * precision * recall / (precision + recall))
    return torch.tensor(0.0)


RIGHT = {
    "rouge_l": (rouge_l_by_recursion, rouge_l_by_trying),
    "coverage": (
        coverage_with_loop,
        coverage_with_matrix,
        coverage_by_shifting,
        lambda cross: coverage_with_loop(cross.bfloat16()),
    ),
    "rouge_1": (
        rouge_with_counters,
        rouge_with_a_list,
        lambda s, r: rouge_with_counters(s, r).half(),
    ),
}
WRONG = {"coverage": {"in place": (lambda c: c.copy_(c.cumsum(-2) - c), "changes the tensor")}}


test_right, test_odd, test_wrong = checks_of("14", RIGHT, WRONG)
