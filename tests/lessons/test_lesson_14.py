"""The checks of lesson 14 accept right answers, however written, and name what is wrong."""

from collections import Counter

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


@pytest.mark.parametrize(
    ("name", "function"),
    [
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


def f1_of_sets(s, r):
    shared = set(s.tolist()) & set(r.tolist())
    return torch.tensor(2 * len(shared) / (len(set(s.tolist())) + len(set(r.tolist()))))


MUTANTS = {
    "itself counted": ("coverage", lambda c: c.cumsum(-2), "first row is all 0"),
    "along the source": ("coverage", lambda c: c.cumsum(-1), "Add up along the summary words"),
    "along the batch": ("coverage", lambda c: c.cumsum(0) - c, "from the end"),
    "total": ("coverage", lambda c: c.sum(-2, keepdim=True) + 0 * c, "sum over all steps"),
    "future": ("coverage", lambda c: c.flip(-2).cumsum(-2).flip(-2) - c, "looks back"),
    "one step": (
        "coverage",
        lambda c: torch.cat((torch.zeros_like(c[..., :1, :]), c[..., :-1, :]), -2),
        "just before t alone",
    ),
    "rolled": ("coverage", lambda c: c.cumsum(-2).roll(1, -2), "`roll`"),
    "in place": ("coverage", lambda c: c.copy_(c.cumsum(-2) - c), "changes the tensor"),
    "as it came": ("coverage", lambda c: c, "weights as they came"),
    "not clipped": (
        "rouge_1",
        lambda s, r: torch.tensor(
            2 * sum(w in r.tolist() for w in s.tolist()) / (len(s) + len(r))
        ),
        "repeating itself",
    ),
    "recall": ("rouge_1", lambda s, r: torch.tensor(hits(s, r) / len(r)), "recall"),
    "precision": ("rouge_1", lambda s, r: torch.tensor(hits(s, r) / len(s)), "precision"),
    "sets": ("rouge_1", f1_of_sets, "sets of words"),
    "no 2": ("rouge_1", lambda s, r: torch.tensor(hits(s, r) / (len(s) + len(r))), "Half"),
    "count": ("rouge_1", lambda s, r: torch.tensor(float(hits(s, r))), "number of shared words"),
    "plain mean": (
        "rouge_1",
        lambda s, r: torch.tensor((hits(s, r) / len(s) + hits(s, r) / len(r)) / 2),
        "harmonic mean",
    ),
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
    assert "The answer there is 0" in result.diagnosis


def test_checks_never_crash(never_crashes):
    never_crashes("14/coverage", solutions.coverage)
    never_crashes("14/rouge_1", solutions.rouge_1)
