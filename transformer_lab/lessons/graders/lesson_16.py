"""Checks of lesson 16, Real translation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.graders.beams_16 import BEAM
from transformer_lab.lessons.solutions import lesson_16 as solutions


def _texts(*lines: str) -> list[list[str]]:
    return [line.split() for line in lines]


def _bleu_cases() -> list[Case]:
    dogs = "zwei Hunde laufen durch den tiefen Schnee"
    return [
        Case(
            "three translations: one repeats a word, one has a wrong word, one is too short",
            (
                _texts(
                    "der der Hund bellt heute den den Mond an",
                    "ein Mann spielt draußen laut Gitarre",
                    "zwei Kinder lachen im Garten",
                ),
                _texts(
                    "der große Hund bellt heute den vollen Mond an",
                    "ein Mann spielt draußen gern Gitarre",
                    "zwei kleine Kinder lachen im Garten und winken den Nachbarn zu",
                ),
            ),
        ),
        Case(
            "two translations, each with one wrong word",
            (
                _texts("ein Mann spielt draußen laut Gitarre", dogs),
                _texts("ein Mann spielt draußen gern Gitarre", dogs.replace("tiefen", "hohen")),
            ),
        ),
        Case(
            "a translation that repeats one word four times",
            (_texts("der der der der Hund", dogs), _texts("der Hund bellt den Mond an", dogs)),
        ),
        Case(
            "translations that are too short",
            (
                _texts("ein Kind lacht im Garten", "zwei Hunde laufen durch den Schnee"),
                _texts("ein kleines Kind lacht im Garten und winkt", dogs),
            ),
        ),
        Case(
            "translations that are too long",
            (
                _texts("ein kleines Kind lacht im Garten und winkt", dogs),
                _texts("ein Kind lacht im Garten", "zwei Hunde laufen durch den Schnee"),
            ),
        ),
        Case(
            "a text of two words beside a longer one",
            (
                _texts("guten Morgen", "die Frau liest am Abend ein Buch"),
                _texts("guten Morgen", "die Frau liest heute am Abend ein Buch"),
            ),
        ),
        Case(
            "the words of one translation in the reference of another",
            (
                _texts("ein Mann fährt mit dem Rad", "eine Frau liest am Abend ein Buch"),
                _texts("eine Frau liest am Abend", "ein Mann fährt mit dem Rad ein Buch holen"),
            ),
        ),
        Case(
            "no run of four words matches",
            (_texts("ein Hund rennt schnell weg"), _texts("ein Hund rennt nun schnell weg")),
        ),
        Case("a translation equal to its reference", (_texts(dogs), _texts(dogs))),
    ]


def _runs(words: list[str], n: int) -> Counter:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _clipped(runs: Counter, wanted: Counter) -> tuple[int, int]:
    return sum((runs & wanted).values()), sum(runs.values())


def _unclipped(runs: Counter, wanted: Counter) -> tuple[int, int]:
    return sum(k for run, k in runs.items() if run in wanted), sum(runs.values())


def _different(runs: Counter, wanted: Counter) -> tuple[int, int]:
    return len(runs.keys() & wanted.keys()), len(runs)


def _recalled(runs: Counter, wanted: Counter) -> tuple[int, int]:
    return sum((runs & wanted).values()), sum(wanted.values())


def _paper(written: int, wanted: int) -> float:
    return min(1.0, math.exp(1 - wanted / written))


def _none(written: int, wanted: int) -> float:
    return 1.0


def _geometric(precisions: list[float]) -> float:
    if min(precisions) <= 0:
        return 0.0
    return math.exp(sum(map(math.log, precisions)) / len(precisions))


def _product(precisions: list[float]) -> float:
    return math.prod(precisions)


def _average(precisions: list[float]) -> float:
    return sum(precisions) / len(precisions)


def _bleu(
    lengths: range = range(1, 5),
    count: Callable = _clipped,
    brevity: Callable = _paper,
    mean: Callable = _geometric,
    scale: float = 100.0,
) -> Callable[..., torch.Tensor]:
    """BLEU with one or more of its parts replaced."""

    def wrong(texts, references):
        precisions = []
        for n in lengths:
            counts = [
                count(_runs(t, n), _runs(r, n)) for t, r in zip(texts, references, strict=True)
            ]
            hits, total = map(sum, zip(*counts, strict=True))
            precisions.append(hits / max(total, 1))
        written, wanted = sum(map(len, texts)), sum(map(len, references))
        return torch.tensor(scale * brevity(written, wanted) * mean(precisions))

    return wrong


def _by_sentence(texts, references):
    pairs = zip(texts, references, strict=True)
    return torch.stack([_bleu()([t], [r]) for t, r in pairs]).mean()


def _pooled(texts, references):
    def runs(many, n):
        return sum((_runs(words, n) for words in many), Counter())

    counts = [_clipped(runs(texts, n), runs(references, n)) for n in range(1, 5)]
    written, wanted = sum(map(len, texts)), sum(map(len, references))
    precisions = [hits / max(total, 1) for hits, total in counts]
    return torch.tensor(100 * _paper(written, wanted) * _geometric(precisions))


_CLIP = (
    "You count a run as often as the translation has it, even if the reference has it less often: "
    "“der der der der” would be wholly right. Count it at most as often as the reference has it."
)
_SHORT = "You do not penalise translations that are too short. Multiply by the brevity penalty."
_SCALE = "This is a fraction between 0 and 1. BLEU goes from 0 to 100."

_BLEU = Grader(
    name="16/bleu",
    cases=_bleu_cases,
    reference=solutions.bleu,
    shape_hint="one number, a tensor without axes",
    suspects=(
        Suspect("not clipped", _bleu(count=_unclipped), _CLIP),
        Suspect(
            "different runs only",
            _bleu(count=_different),
            "You counted each different run once. A run that occurs twice in the translation and "
            "twice in the reference counts twice.",
        ),
        Suspect(
            "fractions of the reference",
            _bleu(count=_recalled),
            "You divided by the number of runs in the references. Precision asks which fraction of "
            "the runs in the *translations* is right.",
        ),
        Suspect("no brevity penalty", _bleu(brevity=_none), _SHORT),
        Suspect(
            "long texts rewarded",
            _bleu(brevity=lambda written, wanted: math.exp(1 - wanted / written)),
            "Your penalty rewards translations that are too long. The brevity penalty is never above 1.",
        ),
        Suspect(
            "the ratio turned",
            _bleu(brevity=lambda written, wanted: _paper(wanted, written)),
            "Your brevity penalty punishes translations that are too *long*: the two lengths are "
            "swapped. The penalty is $e^{1 - r/c}$, with $c$ words in the translations and $r$ in the "
            "references.",
        ),
        Suspect(
            "the plain ratio",
            _bleu(brevity=lambda written, wanted: min(1.0, written / wanted)),
            "You multiplied by the ratio of the lengths. The penalty is $e^{1 - r/c}$, or 1 if the "
            "translations are not shorter.",
        ),
        Suspect(
            "a mean over sentences",
            _by_sentence,
            "You took the mean of the BLEU of each sentence. First add up the hits and the runs of "
            "**all** sentences, then divide: most single sentences have no right run of four words.",
        ),
        Suspect(
            "all sentences in one heap",
            _pooled,
            "You accept a run from the reference of *another* sentence. Compare each translation with "
            "its own reference, and add up the hits.",
        ),
        Suspect(
            "the average",
            _bleu(mean=_average),
            "You took the average of the four precisions. BLEU takes their geometric mean, which is 0 "
            "as soon as one of them is.",
        ),
        Suspect(
            "the product",
            _bleu(mean=_product),
            "You multiplied the four precisions. Their geometric mean is the fourth root of that "
            "product: divide the sum of the logarithms by 4.",
        ),
        Suspect(
            "runs of one word only",
            _bleu(range(1, 2)),
            "You compare only single words, so their order does not matter. Use runs of one, two, "
            "three and four words.",
        ),
        Suspect(
            "runs of four words only",
            _bleu(range(4, 5)),
            "You compare only runs of four words. Use runs of one, two and three words as well.",
        ),
        Suspect(
            "up to three words",
            _bleu(range(1, 4)),
            "You stopped at runs of three words. `range(1, 4)` ends before 4.",
        ),
        Suspect(
            "up to five words",
            _bleu(range(1, 6)),
            "You went on to runs of five words. BLEU stops at four.",
        ),
        Suspect("a fraction", _bleu(scale=1.0), _SCALE),
        Suspect("a fraction, not clipped", _bleu(scale=1.0, count=_unclipped), f"{_SCALE} {_CLIP}"),
        Suspect("a fraction, no penalty", _bleu(scale=1.0, brevity=_none), f"{_SCALE} {_SHORT}"),
        Suspect(
            "not clipped, no penalty",
            _bleu(count=_unclipped, brevity=_none),
            f"{_CLIP} And: {_SHORT}",
        ),
        Suspect(
            "average, no penalty",
            _bleu(mean=_average, brevity=_none),
            "You took the average of the four precisions; BLEU takes their geometric mean. And: "
            + _SHORT,
        ),
    ),
)

GRADERS = (_BLEU, BEAM)
