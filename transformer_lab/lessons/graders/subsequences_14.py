"""Checks of lesson 14, Summarization: the longest common subsequence."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.graders.slips import Slip, suspects_of
from transformer_lab.lessons.solutions import lesson_14 as solutions


def words(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers)


def _rouge_l_cases() -> list[Case]:
    return [
        Case(
            "a summary of 11 words and a reference of 20",
            (
                words(6, 9, 8, 7, 4, 7, 4, 2, 2, 1, 6),
                words(9, 5, 6, 1, 8, 3, 2, 4, 7, 3, 9, 7, 1, 8, 6, 4, 3, 2, 1, 4),
            ),
        ),
        Case("a summary that begins with two wrong words", (words(2, 2, 5, 4, 1), words(3, 5, 4, 1, 3))),
        Case("a summary with three right words in order and others between them", (words(5, 1, 2, 9, 3), words(1, 2, 7, 4, 3, 8, 6))),
        Case("a summary whose first word comes last in the reference", (words(4, 1, 2, 3), words(1, 2, 3, 4))),
        Case("the right words in another order", (words(3, 2, 1, 5, 4), words(1, 2, 3, 4, 5, 6))),
        Case("a summary that repeats one word three times", (words(4, 4, 4, 6, 1), words(4, 3, 6, 4, 1, 5, 7))),
        Case("a summary that is longer than its reference", (words(8, 6, 1, 7, 2, 9, 3, 3), words(6, 7, 9, 3))),
        Case("a single right word, at the end", (words(1, 2, 9), words(5, 4, 8, 9))),
        Case("a summary without a right word", (words(1, 2, 3), words(4, 5))),
        Case("a summary equal to the reference", (words(3, 1, 3), words(3, 1, 3))),
    ]  # fmt: skip


def _made_rouge_l(slips: frozenset[str]):
    """ROUGE-L with some of these slips."""

    def rouge_l(summary, reference):
        ours, wanted = summary.tolist(), reference.tolist()
        n, m = len(ours), len(wanted)
        table = [[0] * (m + 1) for _ in range(n + 1)]
        start = 1 if "first words left out" in slips else 0
        for i in range(start, n):
            for j in range(start, m):
                up, left, corner = table[i][j + 1], table[i + 1][j], table[i][j]
                if ours[i] == wanted[j]:
                    best = max(up, left, corner) if "a word used again" in slips else corner
                    table[i + 1][j + 1] = best + 1
                elif "unbroken runs" in slips:
                    table[i + 1][j + 1] = 0
                elif "only words of the summary left out" in slips:
                    table[i + 1][j + 1] = up
                elif "only words of the reference left out" in slips:
                    table[i + 1][j + 1] = left
                elif "both left out at once" in slips:
                    table[i + 1][j + 1] = corner
                else:
                    table[i + 1][j + 1] = max(up, left)
        longest = table[n][m]
        if "last words left out" in slips:
            longest = table[n - 1][m - 1]
        if "unbroken runs" in slips:
            longest = max(max(row) for row in table)
        return torch.tensor(_score(slips, longest, n, m))

    return rouge_l


def _score(slips: frozenset[str], longest: int, n: int, m: int) -> float:
    if "recall only" in slips:
        return longest / m
    if "precision only" in slips:
        return longest / n
    if "the 2 forgotten" in slips:
        return longest / (n + m)
    if "the length itself" in slips:
        return float(longest)
    if "plain mean" in slips:
        return (longest / n + longest / m) / 2
    return 2 * longest / (n + m)


_ROUGE_L_SLIPS = (
    Slip(
        "table",
        "a word used again",
        "If two words are equal, you add 1 to the best neighbour, so one word can be "
        "counted again and again. A match adds 1 to the length **without both** words, which is the "
        "cell above to the left.",
    ),
    Slip(
        "table",
        "unbroken runs",
        "You searched for the longest unbroken run. A subsequence may have other words in between: "
        "if two words differ, keep the length so far.",
    ),
    Slip(
        "table",
        "only words of the summary left out",
        "If two words differ, you leave out a word of the summary and never one of the reference. "
        "Try both, and keep the larger length.",
    ),
    Slip(
        "table",
        "only words of the reference left out",
        "If two words differ, you leave out a word of the reference and never one of the summary. "
        "Try both, and keep the larger length.",
    ),
    Slip(
        "table",
        "both left out at once",
        "If two words differ, you leave out both. One of them may still match something: leave "
        "out one at a time, and keep the larger length.",
    ),
    Slip(
        "table",
        "first words left out",
        "The first words of both texts are never compared. Word i belongs to row i + 1 of the table, "
        "because row 0 means no words yet.",
    ),
    Slip(
        "table",
        "last words left out",
        "The last words of both texts do not count. The length for all words is in the last row "
        "and the last column of a table with n + 1 rows and m + 1 columns.",
    ),
    Slip(
        "score",
        "recall only",
        "This is recall: the length of the subsequence divided by that of the reference. Use the "
        "length of the summary too.",
    ),
    Slip(
        "score",
        "precision only",
        "This is precision: the length of the subsequence divided by that of the summary. Use the "
        "length of the reference too.",
    ),
    Slip(
        "score",
        "the 2 forgotten",
        "Your result is half of what it should be: two equal texts must score 1.",
    ),
    Slip(
        "score",
        "the length itself",
        "This is the length of the subsequence. Divide by the lengths of the texts, so that the best "
        "score is 1.",
    ),
    Slip(
        "score",
        "plain mean",
        "You took the plain mean of precision and recall. F1 is their harmonic mean, "
        "2·P·R / (P + R).",
    ),
)


def _next_match(summary, reference):
    """Takes the next position at which a word occurs, and never goes back."""
    left, hits = reference.tolist(), 0
    for word in summary.tolist():
        if word in left:
            left = left[left.index(word) + 1 :]
            hits += 1
    return torch.tensor(2 * hits / (len(summary) + len(reference)))


def _wrapped(summary, reference):
    """A table that lacks the row and column for no words yet, so index −1 is its other end."""
    n, m = len(summary), len(reference)
    table = torch.zeros(n, m)
    for i in range(n):
        for j in range(m):
            if summary[i] == reference[j]:
                table[i, j] = table[i - 1, j - 1] + 1
            else:
                table[i, j] = torch.maximum(table[i - 1, j], table[i, j - 1])
    return 2 * table[n - 1, m - 1] / (n + m)


def _by_the_longer(summary, reference):
    longest = _made_rouge_l(frozenset({"the length itself"}))(summary, reference)
    return longest / max(len(summary), len(reference))


def _harmonic_l(summary, reference):
    longest = _made_rouge_l(frozenset({"the length itself"}))(summary, reference)
    precision, recall = longest / len(summary), longest / len(reference)
    return 2 * precision * recall / (precision + recall)


def as_sets(summary, reference):
    ours, wanted = set(summary.tolist()), set(reference.tolist())
    return torch.tensor(2 * len(ours & wanted) / (len(ours) + len(wanted)))


def by_position(summary, reference):
    n = min(len(summary), len(reference))
    return 2 * (summary[:n] == reference[:n]).sum() / (len(summary) + len(reference))


ROUGE_L = Grader(
    name="14/rouge_l",
    cases=_rouge_l_cases,
    reference=solutions.rouge_l,
    shape_hint="a tensor with one number and no axis",
    suspects=(
        Suspect(
            "order ignored",
            solutions.rouge_1,
            "That is ROUGE-1, which counts shared words in any order. Here they must come in the same "
            "order in both texts.",
        ),
        Suspect(
            "positions compared",
            by_position,
            "You compared the words position by position. One extra word at the beginning would make "
            "all others wrong; a subsequence may leave words out.",
        ),
        Suspect(
            "the next match taken",
            _next_match,
            "For each word you took the next position at which it occurs, and never went back. A word "
            "that comes late in the reference then costs you all the words before it. Keep a table: "
            "the longest subsequence of the first i and the first j words, for all i and j.",
        ),
        Suspect(
            "0 divided by 0",
            _harmonic_l,
            "If no word is in common, precision and recall are both 0, and 2·P·R / (P + R) is 0 / 0. "
            "Return 0 in that case.",
        ),
        Suspect(
            "words as sets",
            as_sets,
            "You compared sets of words, which ignore the order and how often a word occurs. Here the "
            "words must come in the same order in both texts.",
        ),
        Suspect(
            "no row for no words yet",
            _wrapped,
            "Your table has no row and no column for “no words yet”, so at the first word `i - 1` is "
            "−1, which is the other end of the table. Give it n + 1 rows and m + 1 columns.",
        ),
        *suspects_of(_made_rouge_l, _ROUGE_L_SLIPS),
        Suspect(
            "divided by the longer text",
            _by_the_longer,
            "You divided by the length of the longer text. F1 uses both: 2 · length / (n + m).",
        ),
    ),
)
