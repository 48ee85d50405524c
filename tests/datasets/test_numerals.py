"""Numbers in words against num2words, and their alignment against arithmetic."""

import os
from collections.abc import Iterable

import pytest
from num2words import num2words

from transformer_lab.datasets import number_words, spell
from transformer_lab.datasets.numerals import LARGEST, translate


def _oracle(n: int, language: str) -> str:
    """num2words 0.5.14, which in Spanish leaves "uno" whole before "mil" ("veintiuno mil")."""
    text = num2words(n, lang=language)
    if language == "es":
        text = text.replace("veintiuno mil", "veintiún mil").replace(" uno mil", " un mil")
    return text


@pytest.mark.parametrize("language", ["en", "de", "fr", "es"])
def test_every_number_is_spelled_as_num2words_spells_it(language):
    wrong = [n for n in _numbers() if spell(n, language) != _oracle(n, language)]
    assert not wrong


def _numbers() -> Iterable[int]:
    """All numbers with TL_EXAMPLES; else all last three digits after some thousands, and all
    thousands before some last three digits."""
    if "TL_EXAMPLES" in os.environ:
        return range(LARGEST + 1)
    after = [n * 1000 + last for n in (0, 1, 2, 21, 80, 91) for last in range(1000)]
    before = [n * 1000 + last for n in range(LARGEST // 1000 + 1) for last in (0, 1, 21, 100, 371)]
    return sorted(n for n in {*after, *before, LARGEST} if n <= LARGEST)


ENGLISH = {num2words(n): n for n in [*range(21), *range(30, 100, 10)]}
ENGLISH |= {"hundred": 100, "thousand": 1000}


def _value_of_each_word(language: str) -> dict[str, int]:
    """Each word's value, from num2words and a list of words that it never writes alone."""
    values = {num2words(n, lang=language): n for n in range(100)}
    values |= {
        "de": {"ein": 1, "hundert": 100, "tausend": 1000},
        "fr": {"vingts": 20, "cent": 100, "cents": 100, "mille": 1000},
        "es": {"un": 1, "veintiún": 21, "ciento": 100, "mil": 1000}
        | {num2words(n, lang="es"): n for n in range(100, 1000, 100)},
    }[language]
    return values


def _number(values: list[int]) -> int:
    """Combine the values of a number's words, in spoken order: 4 20 10 7 is 97."""
    total = 0
    for value in values:
        multiplies = value in (100, 1000) or (value == 20 and total == 4)
        total = total * value if multiplies and total else total + value
    return total


def _linked(alignment) -> list[tuple[set[int], set[int]]]:
    """Groups of target and source words that are linked, directly or through others."""
    groups: list[tuple[set[int], set[int]]] = []
    for t, sources in enumerate(alignment):
        if not sources:
            continue
        joined = ({t}, set(sources))
        for group in [g for g in groups if g[1] & joined[1]]:
            groups.remove(group)
            joined = (joined[0] | group[0], joined[1] | group[1])
        groups.append(joined)
    return groups


@pytest.mark.parametrize("language", ["de", "fr", "es"])
def test_linked_words_say_the_same_number(language):
    values = _value_of_each_word(language)
    for n in [*range(2000), *range(2000, LARGEST, 97)]:
        pair = translate(n, language)
        source, target = pair.source.split(), pair.target.split()
        assert len(pair.alignment) == len(target)
        groups = _linked(pair.alignment)
        for ours, theirs in groups:
            assert _number([values[target[t]] for t in sorted(ours)]) == _number(
                [ENGLISH[source[s]] for s in sorted(theirs)]
            ), (n, ours, theirs)
        left_out = set(range(len(source))).difference(*(theirs for _, theirs in groups))
        assert {source[s] for s in left_out} <= {"and"}
        free = {target[t] for t in range(len(target)) if not pair.alignment[t]}
        assert free <= {"und", "et", "y"}


def test_german_crosses_and_is_one_to_one():
    pair = translate(4321, "de")
    assert pair.source == "four thousand three hundred and twenty one"
    assert pair.target == "vier tausend drei hundert ein und zwanzig"
    assert pair.alignment == ((0,), (1,), (2,), (3,), (6,), (), (5,))
    for n in range(0, LARGEST, 7):
        used = [source for sources in translate(n, "de").alignment for source in sources]
        assert len(used) == len(set(used))


def test_french_counts_in_twenties_and_spanish_in_single_words():
    assert translate(71, "fr").alignment == ((0,), (), (0, 1))  # soixante et onze
    assert translate(97, "fr").alignment == ((0,), (0,), (0,), (1,))  # quatre vingt dix sept
    assert translate(1500, "es").alignment == ((0, 1), (2, 3))  # mil quinientos


def test_all_numbers_are_there_once_and_no_word_is_unknown():
    for largest in (9, 150, 9_999):
        data = number_words("fr", largest=largest, held_out=min(1000, largest // 2))
        sources = [pair.source for pair in data.train + data.held_out]
        assert len(set(sources)) == len(sources) == largest + 1
        texts = [text for pair in data.train + data.held_out for text in (pair.source, pair.target)]
        assert not any(3 in data.tokenizer.encode(text) for text in texts)


@pytest.mark.badinput
def test_bad_arguments():
    with pytest.raises(ValueError, match="language must be one of 'de', 'fr', 'es', got 'it'"):
        number_words("it")
    with pytest.raises(ValueError, match="language must be one of en, de, fr, es, got 'it'"):
        spell(3, "it")
    with pytest.raises(ValueError, match=r"n must be in 0 … 99999, got 100000"):
        spell(100_000, "de")
    with pytest.raises(ValueError, match=r"largest must be in 1 … 99999, got 100000"):
        number_words(largest=100_000)
    with pytest.raises(ValueError, match="exceed the 10000 numbers up to"):
        number_words(size=9_500)
    with pytest.raises(ValueError, match="held_out must be at least 1, got 0"):
        number_words(held_out=0)
