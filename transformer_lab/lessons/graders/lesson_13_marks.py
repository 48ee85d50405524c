"""Checks of lesson 13, Two facts, and a pointer: exact match and F1."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.graders.slips import Slip, suspects_of
from transformer_lab.lessons.solutions import lesson_13 as solutions


def _cases() -> list[Case]:
    said = [
        "The new Stadium .",
        "4300 people",
        "Friday evening",
        "Duran (no. 9)",
        "the way of the old town hall",
        "a draw, after an hour",
    ]
    known = [
        ["new stadium"],
        ["people", "some 4300 people there tonight"],
        ["on Friday", "Friday"],
        ["Duran, no 9", "Duran of Ashford"],
        ["the old old way", "town way"],
        ["draw after hour"],
    ]
    return [
        Case("six answers", (said, known)),
        Case("words that come twice", (["one to one to two one"], [["one one six"]])),
        Case("the right words in another order", (["Street Canal"], [["Canal Street"]])),
        Case(
            "empty answers, with an empty reference and with one that has words",
            (["", "", "a minute"], [[""], ["Moreau"], ["The"]]),
        ),
    ]


_SLIPS = (
    Slip(
        "case", "capitals count",
        "Capital letters make a difference in yours. Compare in lower case: `.lower()`.",
    ),
    Slip(
        "marks", "punctuation counts",
        "Punctuation makes a difference in yours. Leave out the characters in "
        "`string.punctuation`.",
    ),
    Slip(
        "articles", "articles count",
        "Articles make a difference in yours. Leave out “a”, “an” and “the”.",
    ),
    Slip(
        "common", "each word once",
        "You count each word once. Count a word as often as it occurs in both: use two `Counter`s "
        "and `&`.",
    ),
    Slip(
        "common", "every repetition",
        "You count every repetition of a word that is in the other text. Count a word as often as "
        "it occurs in **both**: use two `Counter`s and `&`.",
    ),
    Slip(
        "f1", "precision alone",
        "You divide by the number of words in the answer: that is precision alone.",
    ),
    Slip(
        "f1", "recall alone",
        "You divide by the number of words in the reference: that is recall alone.",
    ),
    Slip(
        "f1", "plain mean of both",
        "You took the plain mean of precision and recall. F1 is 2PR / (P + R), which is closer to "
        "the smaller of the two.",
    ),
    Slip(
        "f1", "all words of both",
        "You divide by the number of different words in both texts. F1 is twice the number of common "
        "words, divided by the sum of the two lengths.",
    ),
    Slip(
        "empty", "empty counts as wrong",
        "If the answer and the reference are both empty, F1 is 1.",
    ),
    Slip(
        "exact", "any order is exact",
        "Your exact match ignores the order of the words. Compare the two lists.",
    ),
    Slip(
        "exact", "part is exact",
        "Your exact match accepts an answer that is only part of the reference, or the other way "
        "round. The two must be the same.",
    ),
    Slip(
        "best", "the first reference alone",
        "You use the first reference alone. Use the one with the best score.",
    ),
    Slip(
        "best", "mean over references",
        "You took the mean over the references. Take the best score.",
    ),
    Slip(
        "mean", "sum over questions",
        "You added up the scores of the questions. Return their mean.",
    ),
    Slip(
        "mean", "per cent",
        "These are per cent. Return numbers between 0 and 1.",
    ),
    Slip(
        "order", "F1 first",
        "The two are in the wrong order: exact match comes first.",
    ),
)  # fmt: skip


def _making(wrong: frozenset[str]) -> Callable[..., Tensor]:
    """`exact_and_f1` with these slips."""

    def words(text: str) -> list[str]:
        text = text if "capitals count" in wrong else text.lower()
        marks = "" if "punctuation counts" in wrong else string.punctuation
        plain = "".join(c for c in text if c not in marks).split()
        drop = () if "articles count" in wrong else ("a", "an", "the")
        return [w for w in plain if w not in drop]

    def f1(mine: list[str], right: list[str]) -> float:
        if not mine and not right:
            return float("empty counts as wrong" not in wrong)
        both = Counter(mine) & Counter(right)
        common = len(both) if "each word once" in wrong else sum(both.values())
        if "every repetition" in wrong:
            common = sum(w in right for w in mine)
        precision, recall = (common / max(len(x), 1) for x in (mine, right))
        if "precision alone" in wrong:
            return precision
        if "recall alone" in wrong:
            return recall
        if "plain mean of both" in wrong:
            return (precision + recall) / 2
        if "all words of both" in wrong:
            return common / len(set(mine) | set(right))
        return 2 * precision * recall / (precision + recall) if common else 0.0

    def same(mine: list[str], right: list[str]) -> bool:
        if "any order is exact" in wrong:
            return sorted(mine) == sorted(right)
        if "part is exact" in wrong:
            return " ".join(mine) in " ".join(right) or " ".join(right) in " ".join(mine)
        return mine == right

    def best(numbers: list[float]) -> float:
        if "the first reference alone" in wrong:
            return numbers[0]
        return sum(numbers) / len(numbers) if "mean over references" in wrong else max(numbers)

    def exact_and_f1(said: list[str], references: list[list[str]]) -> Tensor:
        scores = torch.zeros(2)
        for text, known in zip(said, references, strict=True):
            mine, rights = words(text), [words(r) for r in known]
            exact = best([float(same(mine, right)) for right in rights])
            scores += torch.tensor([exact, best([f1(mine, right) for right in rights])])
        scores = scores if "sum over questions" in wrong else scores / len(said)
        scores = 100 * scores if "per cent" in wrong else scores
        return scores.flip(0) if "F1 first" in wrong else scores

    return exact_and_f1


_MARKS = Grader(
    name="13/exact_and_f1",
    cases=_cases,
    reference=solutions.exact_and_f1,
    shape_hint="two numbers: exact match and F1",
    suspects=suspects_of(_making, _SLIPS),
)

GRADERS = (_MARKS,)
