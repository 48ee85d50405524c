"""Numbers in words, in four languages, with the alignment of their words."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..arguments import Seed, checked, shown
from ..tokenizers import WordTokenizer
from .batches import check_counts
from .pairs import Pair, PairData

LARGEST = 99_999


class Part(NamedTuple):
    """One word, or one member of a compound, of a number.

    Attributes:
        glue: what precedes it in ordinary spelling: nothing, a space, a hyphen.
        word: the part itself.
        says: what it expresses: "t" the tens, "u" the units, "h" the number of hundreds, "H" that
            they are hundreds, "T" thousands; "kt" and "ku" are the digits that count thousands.
    """

    glue: str
    word: str
    says: frozenset[str]


@checked
def number_words(
    language: str = "de",
    *,
    size: int | None = None,
    held_out: int = 1000,
    largest: int = 9_999,
    seed: Seed = 0,
) -> PairData:
    """Generate numbers in English words to translate: "forty two" → "zwei und vierzig".

    Compounds are split into their parts, so that each part is a token with its own source. German
    puts the units before the tens, so the alignment crosses. French counts 70 to 99 in twenties, so
    one word may come from two; Spanish has one word for each hundred.

    Args:
        language: "de", "fr" or "es".
        size: number of training examples; None for all that are not held out.
        held_out: number of held-out numbers.
        largest: the largest number, at most 99,999; the smallest is 0.
        seed: chooses which numbers are used and which are held out.

    Returns:
        Pairs whose alignment is exact.
    """
    if language not in ("de", "fr", "es"):
        raise ValueError(f"language must be one of 'de', 'fr', 'es', got {shown(language)}")
    if not 1 <= largest <= LARGEST:
        raise ValueError(f"largest must be in 1 … {LARGEST}, got {largest}")
    check_counts(size=size, held_out=held_out)
    available = largest + 1 - held_out
    if available < (size or 1):
        raise ValueError(
            f"size={size} and held_out={held_out} exceed the {largest + 1} numbers up to "
            f"largest={largest}; raise largest (at most {LARGEST}) or lower them"
        )
    order = np.random.default_rng(seed).permutation(largest + 1).tolist()
    rest, train = order[:held_out], order[held_out : held_out + (size or available)]
    # Together these use every word, so that no held-out number has an unknown one.
    every = [*range(102), *range(200, 1000, 100), *range(1000, LARGEST, 1000)]
    words = (number_parts(n, code) for n in every if n <= largest for code in ("en", language))
    tokenizer = WordTokenizer.train(part.word for parts in words for part in parts)
    pairs = [[translate(n, language) for n in numbers] for numbers in (train, rest)]
    return PairData(f"number words en-{language}", tokenizer, *pairs)


def translate(n: int, language: str) -> Pair:
    """A number as English words and as words of another language, aligned."""
    source, target = number_parts(n, "en"), number_parts(n, language)
    alignment = tuple(
        tuple(i for i, origin in enumerate(source) if origin.says & part.says) for part in target
    )
    return Pair(
        " ".join(part.word for part in source), " ".join(part.word for part in target), alignment
    )


@checked
def spell(n: int, language: str) -> str:
    """Spell a number from 0 to 99,999 as usual: "zweiundvierzig", "quatre-vingts"."""
    return "".join(part.glue + part.word for part in number_parts(n, language)).strip(" -,")


def number_parts(n: int, language: str) -> list[Part]:
    """The words of a number, and which digits each one expresses.

    Raises:
        ValueError: `n` is outside 0 … 99,999 or the language is unknown.
    """
    if language not in _LANGUAGES:
        raise ValueError(f"language must be one of {', '.join(_LANGUAGES)}, got {shown(language)}")
    if not 0 <= n <= LARGEST:
        raise ValueError(f"n must be in 0 … {LARGEST}, got {n}")
    return _LANGUAGES[language](n)


def _part(glue: str, word: str, says: str) -> Part:
    return Part(glue, word, frozenset(says))


def _thousands(parts: list[Part]) -> list[Part]:
    """The same parts, counting thousands."""
    return [Part(p.glue, p.word, frozenset(f"k{digit}" for digit in p.says)) for p in parts]


def _list(words: str) -> list[str]:
    return ["", *words.split()]


# English: thousand, hundred and twenty-three.
_EN = _list(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_EN_TENS = _list("ten twenty thirty forty fifty sixty seventy eighty ninety")


def _english(n: int) -> list[Part]:
    if n == 0:
        return [_part("", "zero", "u")]
    thousands, hundreds, rest = n // 1000, n // 100 % 10, n % 100
    parts: list[Part] = []
    if thousands:
        parts += [*_thousands(_english_tens(thousands)), _part(" ", "thousand", "T")]
    if hundreds:
        glue = ", " if parts else " "
        parts += [_part(glue, _EN[hundreds], "h"), _part(" ", "hundred", "H")]
    if rest:
        joint = [_part(" ", "and", "")] if parts else []
        parts += [*joint, *_english_tens(rest)]
    return parts


def _english_tens(n: int) -> list[Part]:
    if n < 20:
        return [_part(" ", _EN[n], _digits(n))]
    tens = [_part(" ", _EN_TENS[n // 10], "t")]
    return tens + [_part("-", _EN[n % 10], "u")] * (n % 10 > 0)


def _digits(n: int) -> str:
    """Which digits one word for n expresses."""
    return "u" if n < 10 else "t" if n % 10 == 0 else "tu"


# German: everything in one word, units before tens.
_DE = _list(
    "ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn "
    "sechzehn siebzehn achtzehn neunzehn"
)
_DE_TENS = _list("zehn zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig")


def _german(n: int) -> list[Part]:
    if n == 0:
        return [_part("", "null", "u")]
    thousands, hundreds, rest = n // 1000, n // 100 % 10, n % 100
    parts: list[Part] = []
    if thousands:
        parts += [*_thousands(_german_tens(thousands)), _part("", "tausend", "T")]
    if hundreds:
        parts += [_part("", _DE[hundreds], "h"), _part("", "hundert", "H")]
    if rest == 1:
        parts.append(_part("", "eins", "u"))
    elif rest:
        parts += _german_tens(rest)
    return parts


def _german_tens(n: int) -> list[Part]:
    if n < 20:
        return [_part("", _DE[n], _digits(n))]
    tens = [_part("", _DE_TENS[n // 10], "t")]
    return [_part("", _DE[n % 10], "u"), _part("", "und", "")] * (n % 10 > 0) + tens


# French: 70 and 90 count on from 60 and 80; "et" before 1 and 11; plural s only at the end.
_FR = _list(
    "un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize"
)
_FR_TENS = {2: "vingt", 3: "trente", 4: "quarante", 5: "cinquante", 6: "soixante"}


def _french(n: int) -> list[Part]:
    if n == 0:
        return [_part("", "zéro", "u")]
    thousands, hundreds, rest = n // 1000, n // 100 % 10, n % 100
    parts: list[Part] = []
    if thousands == 1:
        parts.append(Part(" ", "mille", frozenset(("ku", "T"))))
    elif thousands:
        parts += [*_thousands(_french_tens(thousands, last=False)), _part(" ", "mille", "T")]
    if hundreds == 1:
        parts.append(_part(" ", "cent", "hH"))
    elif hundreds:
        plural = "cent" if rest else "cents"
        parts += [_part(" ", _FR[hundreds], "h"), _part(" ", plural, "H")]
    return parts + _french_tens(rest, last=True)


def _french_tens(n: int, *, last: bool) -> list[Part]:
    tens, units = divmod(n, 10)
    if n == 0:
        return []
    if n <= 16:
        return [_part(" ", _FR[n], _digits(n))]
    if tens == 1:
        return [_part(" ", "dix", "t"), _part("-", _FR[units], "u")]
    if tens >= 8:
        twenty = "vingts" if n == 80 and last else "vingt"
        parts = [_part(" ", "quatre", "t"), _part("-", twenty, "t")]
    else:
        parts = [_part(" ", _FR_TENS[6 if tens == 7 else tens], "t")]
    on_top = n - 20 * (n // 20) if tens >= 6 else units
    if not on_top:
        return parts
    if on_top in (1, 11) and tens < 8:
        parts.append(_part(" ", "et", ""))
        glue = " "
    else:
        glue = "-"
    # From 70 and 90 on, the added number also expresses the tens.
    added = _french_tens(on_top, last=last)
    return parts + [added[0]._replace(glue=glue), *added[1:]]


# Spanish: one word up to 29, "y" between tens and units, one word for each hundred.
_ES = _list(
    "uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince "
    "dieciséis diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés "
    "veinticuatro veinticinco veintiséis veintisiete veintiocho veintinueve"
)
_ES_TENS = _list("diez veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa")
_ES_HUNDREDS = _list(
    "ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos "
    "novecientos"
)


def _spanish(n: int) -> list[Part]:
    if n == 0:
        return [_part("", "cero", "u")]
    thousands, hundreds, rest = n // 1000, n // 100 % 10, n % 100
    parts: list[Part] = []
    if thousands == 1:
        parts.append(Part(" ", "mil", frozenset(("ku", "T"))))
    elif thousands:
        before = [p._replace(word=_ES_SHORT.get(p.word, p.word)) for p in _spanish_tens(thousands)]
        parts += [*_thousands(before), _part(" ", "mil", "T")]
    if hundreds:
        word = "cien" if hundreds == 1 and not rest else _ES_HUNDREDS[hundreds]
        parts.append(_part(" ", word, "hH"))
    return parts + _spanish_tens(rest)


_ES_SHORT = {"uno": "un", "veintiuno": "veintiún"}


def _spanish_tens(n: int) -> list[Part]:
    if n == 0:
        return []
    if n < 30:
        return [_part(" ", _ES[n], _digits(n))]
    tens = [_part(" ", _ES_TENS[n // 10], "t")]
    return tens + [_part(" ", "y", ""), _part(" ", _ES[n % 10], "u")] * (n % 10 > 0)


_LANGUAGES: dict[str, Callable[[int], list[Part]]] = {
    "en": _english,
    "de": _german,
    "fr": _french,
    "es": _spanish,
}
