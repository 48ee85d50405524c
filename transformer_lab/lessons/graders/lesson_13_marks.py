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
            "nothing said, where nothing is right and where something is",
            (["", "", "a minute"], [[""], ["Moreau"], ["The"]]),
        ),
    ]


_SLIPS = (
    Slip(
        "case", "capitals count",
        "Capital letters make a difference in yours. Compare small letters: `.lower()`.",
    ),
    Slip(
        "marks", "punctuation counts",
        "Punctuation makes a difference in yours. Leave out what stands in `string.punctuation`.",
    ),
    Slip(
        "articles", "articles count",
        "Articles make a difference in yours. Leave out “a”, “an” and “the”.",
    ),
    Slip(
        "common", "each word once",
        "You count each word once. A word counts as often as it stands in both: two `Counter`s "
        "and `&`.",
    ),
    Slip(
        "common", "every repetition",
        "You count every repetition of a word that stands in the other text. It counts as often as "
        "it stands in **both**: two `Counter`s and `&`.",
    ),
    Slip(
        "f1", "precision alone",
        "You divide by the words that were said: that is precision alone.",
    ),
    Slip(
        "f1", "recall alone",
        "You divide by the words of the reference: that is recall alone.",
    ),
    Slip(
        "f1", "plain mean of both",
        "You took the plain mean of precision and recall. F1 is 2PR / (P + R), which lies nearer to "
        "the smaller.",
    ),
    Slip(
        "f1", "all words of both",
        "You divide by all different words of both. F1 is twice what is common, divided by the "
        "two lengths together.",
    ),
    Slip(
        "empty", "empty counts as wrong",
        "Where nothing is said and nothing is right, F1 is 1.",
    ),
    Slip(
        "exact", "any order is exact",
        "Your exact match ignores the order of the words. Compare the two lists.",
    ),
    Slip(
        "exact", "part is exact",
        "Your exact match takes an answer that is contained in the other. It has to be the same.",
    ),
    Slip(
        "best", "the first reference alone",
        "You look at the first reference alone. The best of all counts.",
    ),
    Slip(
        "best", "mean over references",
        "You took the mean over the references. The best counts.",
    ),
    Slip(
        "mean", "sum over questions",
        "You added up the questions. Return the mean.",
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
        found = "".join(c for c in text if c not in marks).split()
        drop = () if "articles count" in wrong else ("a", "an", "the")
        return [w for w in found if w not in drop]

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
        found = torch.zeros(2)
        for text, known in zip(said, references, strict=True):
            mine, rights = words(text), [words(r) for r in known]
            exact = best([float(same(mine, right)) for right in rights])
            found += torch.tensor([exact, best([f1(mine, right) for right in rights])])
        found = found if "sum over questions" in wrong else found / len(said)
        found = 100 * found if "per cent" in wrong else found
        return found.flip(0) if "F1 first" in wrong else found

    return exact_and_f1


_MARKS = Grader(
    name="13/exact_and_f1",
    cases=_cases,
    reference=solutions.exact_and_f1,
    shape_hint="two numbers: exact match and F1",
    suspects=suspects_of(_making, _SLIPS),
)

GRADERS = (_MARKS,)
