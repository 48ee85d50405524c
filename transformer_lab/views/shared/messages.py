"""What views say, in Python: messages.js, with the catalogue of a view's folder.

Templates use a small part of ICU's MessageFormat:

    {token}                     a word, or a whole number
    {loss, fixed, 2}            a value in one of the formats of messages.js
    {before, apart, after}      a fraction, with enough digits to differ from another
    {@head}                     another message, with the same values
    {n, plural, =0 {none} one {# token} other {# tokens}}
    {rank, selectordinal, one {#st} two {#nd} few {#rd} other {#th}}
    {key, select, =none {…} true {…} other {…}}     by a word, true or false; =none: None, or null
    {p, below, 0.005 {…} 0.5 {…} other {…}}         the first number that the value is below
    '{'                         a brace; likewise '}' and '#'

A translation is a file messages.de.json with the same keys.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from .javascript import call
from .modules import VIEWS

MESSAGES = VIEWS / "shared" / "messages.js"
NOTHING = 1e-30  # a weight below it is 0 on some processors


def fixed(x: float, decimals: int = 2) -> str:
    """Format a number with fixed decimals. Halves are rounded away from 0, and so are numbers
    that fall short of a half by up to a thousandth of the last digit."""
    return call(MESSAGES, "fixed", x, decimals)


def short(x: float, decimals: int = 2) -> str:
    """Format a weight with two decimals, as "0.61"; one that rounds to 0 as "<0.01"."""
    return call(MESSAGES, "short", x, decimals)


def with_sign(x: float, decimals: int = 2) -> str:
    """Format a number with its sign, "+0.34"; one that rounds to 0 has "+"."""
    return call(MESSAGES, "withSign", x, decimals)


def change_text(x: float) -> str:
    """Format a change with two decimals, as "+0.21" or "−0.21", or three if two would not show it,
    as "+0.003"; below 0.0005 as "0"."""
    return call(MESSAGES, "changeText", x)


def size(x: float) -> str:
    """Format a number with about three digits."""
    return call(MESSAGES, "sizeText", x)


def percent(x: float, decimals: int = 0) -> str:
    """Format a fraction as "34%"; one that rounds to 0 as "<1%"."""
    return call(MESSAGES, "percentText", x, decimals)


def quoted(token: str) -> str:
    return call(MESSAGES, "quoted", token)


def numbered(tokens: Sequence[str], at: int) -> str:
    """A token's name for a sentence, with its number if several have the same name: “the”₂."""
    return call(MESSAGES, "numbered", list(tokens), at)


class Messages:
    """A catalogue: called with a key and its values, it returns the sentence."""

    def __init__(self, *paths: Path):
        """Later files replace messages of earlier ones, and all those that views share."""
        self._paths = paths

    @property
    def templates(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for path in (VIEWS / "shared" / "messages.json", *self._paths):
            found |= json.loads(path.read_text("utf-8"))
        return found

    def __call__(self, key: str, /, **values: Any) -> str:
        """
        Raises:
            JavaScriptError: for a key or a value that is not there, or that cannot be written.
        """
        return call(MESSAGES, "sayFrom", key, values, *self._paths)


@cache
def messages(view: str, language: str = "en") -> Messages:
    """The catalogue of a view, named by its folder, over the one that all views share.

    Raises:
        ValueError: for a language that the view is not translated to.
    """
    return Messages(VIEWS / view / "messages.json", *_translation(view, language))


def translated(view: str, language: str) -> dict[str, str]:
    """The messages that replace the English ones.

    Raises:
        ValueError: for a language that the view is not translated to.
    """
    found = _translation(view, language)
    return json.loads(found[0].read_text("utf-8")) if found else {}


def _translation(view: str, language: str) -> list[Path]:
    if language == "en":
        return []
    known = sorted(path.suffixes[0][1:] for path in (VIEWS / view).glob("messages.*.json"))
    if language not in known:
        raise ValueError(f"language must be one of {', '.join(['en', *known])}, got {language!r}")
    return [VIEWS / view / f"messages.{language}.json"]
