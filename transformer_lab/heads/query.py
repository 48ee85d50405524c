"""Queries to a table of heads: words, and comparisons of its columns. The counterpart of `asked` in
explorer/table_rows.js, which gives the same answers.

    "punctuation"                       heads with the word in their label or evidence; of a head
                                        without a label, the nearest one does not count
    "layer > 10 and effect > 0.1"        both hold
    "induction >= 50% and no label"

The effect is compared by its size, unless the number is below 0.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .measures import MEASURES

WORDS = ("label", "evidence")  # columns of words; the others are numbers
_AND = re.compile(r"\s+and\s+", re.IGNORECASE)
_NEAREST = re.compile(r"nearest is “[^”]*”")
_LEFT = re.compile(r"(^|\s)and$", re.IGNORECASE)
_COMPARED = re.compile(r"^(.*?)(<=|>=|!=|==|=|<|>|≤|≥|≠)(.*)$", re.DOTALL)
_NUMBER = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(%?)$", re.IGNORECASE)
_ALIKE = {"==": "=", "≤": "<=", "≥": ">=", "≠": "!="}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}

Row = Mapping[str, Any]  # column -> a number, None where there is none; words of WORDS


def asked(query: str, columns: Sequence[str]) -> Callable[[Row], bool]:
    """Return a function that says whether a row matches the query.

    Args:
        columns: those that may be compared.

    Raises:
        ValueError: for an unknown column, or a comparison without a number.
    """
    clauses = [_clause(part, columns) for part in _parts(query)]
    return lambda row: all(clause(row) for clause in clauses)


def _parts(query: str) -> list[str]:
    """Split a query at every "and" outside quotes; an "and" at its end is dropped."""
    kept: list[str] = []

    def hide(found: re.Match) -> str:
        kept.append(found[0])
        return f"\0{len(kept) - 1}\0"

    hidden = re.sub(r"[\"“”][^\"“”]*[\"“”]", hide, query.replace("\0", "")).strip()
    parts = _AND.split(_LEFT.sub("", hidden))
    shown = [re.sub(r"\0(\d+)\0", lambda found: kept[int(found[1])], part) for part in parts]
    return [part.strip() for part in shown if part.strip()]


def _clause(part: str, columns: Sequence[str]) -> Callable[[Row], bool]:
    compared = None if part[0] in '"“”' else _COMPARED.match(part)
    if compared is None:
        words = _bare(part)
        return lambda row: words in _said(row)
    name, sign, given = (text.strip() for text in compared.groups())
    sign = _ALIKE.get(sign, sign)
    column = _column(name, columns)
    if column is None:
        raise ValueError(f"there is no column “{name}”; choose from {', '.join(columns)}")
    if column in WORDS:
        return _same_words(column, sign, _bare(given))
    number = _number(given)
    if number is None:
        raise ValueError(f"“{part}” needs a number; write “{column} {sign} 3”")
    compare, either = _COMPARE[sign], column == "effect" and number >= 0

    def holds(row: Row) -> bool:
        value = row[column]
        if value is None or math.isnan(value):
            return False
        return compare(abs(value) if either else value, number)

    return holds


def _column(name: str, columns: Sequence[str]) -> str | None:
    """Find a column by its name, or by the tag that the Explorer shows above it."""
    spelled = _spelled(name)
    full = {_spelled(column): column for column in columns}
    tags = {_spelled(MEASURES[x].tag): x for x in columns if x in MEASURES and MEASURES[x].tag}
    return full.get(spelled) or tags.get(spelled)


def _said(row: Row) -> str:
    """A head's label and evidence."""
    return _plain(f"{row['label'] or ''} {_NEAREST.sub('', row['evidence'])}")


def _same_words(column: str, sign: str, words: str) -> Callable[[Row], bool]:
    if sign not in ("=", "!="):
        raise ValueError(f"“{column}” holds words; compare it with = or !=")
    return lambda row: (_plain(row[column] or "") == words) == (sign == "=")


def _number(given: str) -> float | None:
    found = _NUMBER.match(given.replace("−", "-"))
    if found is None:
        return None
    return float(found[1]) / 100 if found[2] else float(found[1])


def _bare(words: str) -> str:
    return _plain(words.strip('"“” \t\r\n'))


def _plain(words: str) -> str:
    return " ".join(words.lower().split())


def _spelled(name: str) -> str:
    return " ".join(re.sub(r"[_-]", " ", name).lower().split())
