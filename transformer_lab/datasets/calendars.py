"""Dates as people write them in many languages, to be converted to ISO 8601."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arguments import Seed, checked
from ..files.paths import FileError
from .batches import check_counts
from .corpora import make_tokenizer
from .pairs import Pair, PairData

LOCALES = ("en_US", "en_GB", "de", "fr", "es", "it", "pt", "nl", "sv", "pl", "hu", "ja")
STYLES = ("medium", "long", "full")
FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)

_FIELD = re.compile(r"%\((\w+)\)s|%(%)")


@checked
def dates(
    locales: Sequence[str] = LOCALES, *, size: int = 20_000, held_out: int = 1000, seed: Seed = 0
) -> PairData:
    """Generate dates to convert to ISO, character by character: "3. März 2021" → "2021-03-03".

    Each date is written for one of the locales, in one of the styles of CLDR ("medium", "long",
    "full" with the day of the week). "short" is left out, because 3/4/21 can mean two days.

    Args:
        locales: names that `babel` knows.
        size: number of training examples.
        held_out: examples of days between 1950 and 2049 that are not in training in any locale.
        seed: chooses days, locales and styles.

    Returns:
        Pairs whose alignment gives, for each digit, the characters that determine it: the same
        digit of the year or day, or all of the month's name.

    Raises:
        FileError: if babel is not installed.
        ValueError: for an unknown locale, or a size larger than the number of different texts.
    """
    check_counts(size=size, held_out=held_out)
    writers = [_Writer(locale, style) for locale in locales for style in STYLES]
    if not writers:
        raise ValueError("locales is empty; try ('en_US', 'de')")
    days = (LAST - FIRST).days + 1
    rng = np.random.default_rng(seed)
    order = rng.permutation(days).tolist()
    if held_out >= days:
        raise ValueError(
            f"held_out={held_out} leaves none of the {days} days to train on; lower it"
        )
    rest = _draw(order[:held_out], held_out, writers, rng)
    train = _draw(order[held_out:], size, writers, rng)
    texts = (text for pair in train + rest for text in (pair.source, pair.target))
    # Every locale's letters, drawn or not, so that a later text has no unknown one.
    letters = (
        w.write(datetime.date(2000 + d % 2, 1 + d % 12, 1 + d % 28))
        for w in writers
        for d in range(84)
    )
    alphabet = "".join(sorted(set("".join(texts)).union(*(pair.source for pair in letters))))
    return PairData("dates", make_tokenizer("char", alphabet), train, rest)


def _draw(
    days: list[int], size: int, writers: list[_Writer], rng: np.random.Generator
) -> list[Pair]:
    """Write days in turn, each by a random writer, until there are `size` different texts."""
    pairs: dict[str, Pair] = {}
    for _ in range(len(writers)):
        chosen = rng.integers(len(writers), size=len(days)).tolist()
        for day, writer in zip(days, chosen, strict=True):
            pair = writers[writer].write(FIRST + datetime.timedelta(days=day))
            known = pairs.setdefault(pair.source, pair)
            if known.target != pair.target:
                raise ValueError(
                    f"{pair.source!r} means {known.target} in one locale and {pair.target} in "
                    "another; leave out one of the two locales"
                )
            if len(pairs) == size:
                return list(pairs.values())
    raise ValueError(
        f"size={size} is more than the different texts that {len(days)} days give; lower it"
    )


class _Writer:
    """One locale's date format, with the position of each field."""

    def __init__(self, locale: str, style: str):
        try:
            import babel
            from babel import dates as babel_dates
        except ImportError:
            raise FileError.at(
                "babel", "is not installed, and dates() needs its locales; pip install babel"
            ) from None
        try:
            self.locale = babel.Locale.parse(locale)
        except (ValueError, babel.UnknownLocaleError):
            raise ValueError(
                f"locale {locale!r} is unknown to babel; try one of {LOCALES}"
            ) from None
        # babel's annotations narrow the style and miss an optional argument
        pattern: str = babel_dates.get_date_format(style, self.locale).format  # type: ignore
        self._format: Any = babel_dates.DateTimeFormat
        self._pieces: list[tuple[str, str]] = []  # (text before the field, field)
        end = 0
        text = ""
        for match in _FIELD.finditer(pattern):
            text += pattern[end : match.start()] + (match[2] or "")
            end = match.end()
            if match[1]:
                self._pieces.append((text, match[1]))
                text = ""
        self._tail = text + pattern[end:]
        self._cache: dict[tuple[str, int], str] = {}

    def write(self, day: datetime.date) -> Pair:
        """The date in this locale and in ISO, aligned."""
        text, where = "", {}
        for before, name in self._pieces:
            text += before
            value = self._field(name, day)
            where[name[0]] = (len(text), value)
            text += value
        iso = day.isoformat()
        year, month, date = (_places(*where[letter], width) for letter, width in _WIDTHS)  # type: ignore
        return Pair(text + self._tail, iso, (*year, (), *month, (), *date))

    def _field(self, name: str, day: datetime.date) -> str:
        part = {"y": day.year, "M": day.month, "L": day.month, "d": day.day}
        key = name, part.get(name[0], day.weekday())
        if key not in self._cache:
            self._cache[key] = self._format(day, self.locale)[name]  # type: ignore[call-arg]
        return self._cache[key]


_WIDTHS = (("y", 4), ("M", 2), ("d", 2))


def _places(start: int, value: str, width: int) -> list[tuple[int, ...]]:
    """For each of the `width` digits of a field in ISO, the characters of `value` that give it."""
    if not value.isdecimal():
        return [tuple(range(start, start + len(value)))] * width
    shift = width - len(value)  # a missing leading zero follows from the digit that is there
    return [(start + max(i - shift, 0),) for i in range(width)]
