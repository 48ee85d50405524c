"""BLEU: how much translations have in common with reference translations."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..arguments import check, shown

LONGEST_RUN = 4  # words in the longest n-grams that are compared

# Signs that are words of their own. Full stops and commas belong to a number if there are digits on
# both sides of them, a hyphen to a word unless a digit precedes it.
_APART = re.compile(r"""[!"#$%&()*+/:;<=>?@\[\\\]^_`{|}~]""")
_POINT_AFTER = re.compile(r"([^0-9])([.,])")
_POINT_BEFORE = re.compile(r"([.,])([^0-9])")
_HYPHEN = re.compile(r"([0-9])(-)")
_WRITTEN = {"&quot;": '"', "&amp;": "&", "&lt;": "<", "&gt;": ">"}


@dataclass(frozen=True)
class Bleu:
    """The BLEU score of a set of translations, and its parts.

    Attributes:
        score: 0 … 100.
        precisions: the fractions of the translations' 1-, 2-, 3- and 4-grams that occur in their
            references, 0 … 1.
        brevity: the penalty factor for translations that are too short, 0 … 1.
        n_words, n_reference: the number of words in all translations, and in all references.
    """

    score: float
    precisions: tuple[float, ...]
    brevity: float
    n_words: int
    n_reference: int

    def __float__(self) -> float:
        return self.score


def bleu(texts: Sequence[str], references: Sequence[str]) -> Bleu:
    """Compute BLEU of translations against one reference each, with sacreBLEU's defaults.

    Words are split as in mteval-v13a, case matters, and n-gram precisions of zero are replaced by
    1/2, 1/4, … of one n-gram.

    Args:
        texts: the translations, as ordinary text.
        references: a person's translations of the same sources, in the same order.

    Raises:
        ValueError: if there are no texts, or not one reference for each.

    Source: Papineni et al. 2002; Post 2018.
    """
    for name, given in (("texts", texts), ("references", references)):
        if isinstance(given, str):
            raise ValueError(f"{name}={shown(given)} is one text; give a list of them")
        for text in given:
            check(name, text, str)
    if not texts or len(texts) != len(references):
        raise ValueError(
            f"got {len(texts)} texts and {len(references)} references; give one reference for each text"
        )
    hits, runs = [0] * LONGEST_RUN, [0] * LONGEST_RUN
    n_words = n_reference = 0
    for text, reference in zip(texts, references, strict=True):
        words, wanted = words_13a(text), words_13a(reference)
        n_words, n_reference = n_words + len(words), n_reference + len(wanted)
        for n in range(LONGEST_RUN):
            found = _runs(words, n + 1)
            hits[n] += (found & _runs(wanted, n + 1)).total()
            runs[n] += found.total()
    brevity = 1.0 if n_words >= n_reference else math.exp(1 - n_reference / max(n_words, 1e-9))
    precisions = tuple(hit / max(run, 1) for hit, run in zip(hits, runs, strict=True))
    return Bleu(100 * brevity * _mean(hits, runs), precisions, brevity, n_words, n_reference)


def words_13a(text: str) -> list[str]:
    """The words and signs of a text, as mteval-v13a and sacreBLEU's "13a" split them."""
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "")
    for written, sign in _WRITTEN.items():
        text = text.replace(written, sign)
    text = _APART.sub(r" \g<0> ", f" {text} ")
    text = _POINT_AFTER.sub(r"\1 \2 ", text)
    text = _POINT_BEFORE.sub(r" \1 \2", text)
    return _HYPHEN.sub(r"\1 \2 ", text).split()


def _runs(words: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _mean(hits: list[int], runs: list[int]) -> float:
    """The geometric mean of the precisions."""
    if not any(hits):
        return 0.0
    logs, share = 0.0, 1.0
    for hit, run in zip(hits, runs, strict=True):
        if not run:  # no text is that long
            return 0.0
        if not hit:
            share /= 2
        logs += math.log((hit or share) / run)
    return math.exp(logs / LONGEST_RUN)
