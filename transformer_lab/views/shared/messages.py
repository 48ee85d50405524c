"""Sentences from a catalogue: the messages.json of a view's folder holds a template for each key.
messages.js does the same in a page; tests/views/messages.json tests that both agree.

Templates use a small part of ICU's MessageFormat:

    {token}                     a word, or a whole number
    {loss, fixed, 2}            a value in one of NUMBERS
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
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

VIEWS = Path(__file__).parent.parent
WHICH = "\u2063"  # between a name and its index among equal names
SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
NOTHING = 1e-30  # a weight below it is 0 on some processors

_VALUE = re.compile(r"\{(@?)(\w+)(?:, (\w+)(?:, (\w+))?)?\}")
_CHOICE = re.compile(r"\{(\w+), (plural|selectordinal|select|below), ")
_CASE = re.compile(r" *([=\w.]+) \{")
_TEXT = re.compile(r"'([{}#])'|([^{}#']+|')")


def fixed(x: float, decimals: int = 2) -> str:
    """Format a number with fixed decimals. Halves are rounded away from 0, and so are numbers
    that fall short of a half by up to a thousandth of the last digit: the last bits differ between
    Python and a browser."""
    if not math.isfinite(x):
        return "NaN" if math.isnan(x) else "∞" if x > 0 else "−∞"
    whole = math.floor(abs(x) * 10**decimals + 0.501)
    digits = str(whole).zfill(decimals + 1)
    at = len(digits) - decimals
    return f"{'−' if x < 0 and whole else ''}{digits[:at]}{'.' if decimals else ''}{digits[at:]}"


def short(x: float, decimals: int = 2) -> str:
    """Format a weight with two decimals, as "0.61"; one that rounds to 0 as "<0.01"."""
    text = fixed(x, decimals)
    if x > NOTHING and not text.strip("0."):
        return f"<0.{'1'.zfill(decimals)}"
    return text


def with_sign(x: float, decimals: int = 2) -> str:
    """Format a number with its sign, "+0.34"; one that rounds to 0 has "+"."""
    text = fixed(x, decimals)
    return text if text.startswith("−") else f"+{text}"


def change_text(x: float) -> str:
    """Format a change with two decimals, as "+0.21" or "−0.21", or three if two would not show it,
    as "+0.003"; below 0.0005 as "0"."""
    size = abs(x)
    if size < 0.0005:
        return "0"
    return ("+" if x > 0 else "−") + short(size, 3 if size < 0.005 - 1e-5 else 2)


def size(x: float) -> str:
    """Format a number with about three digits."""
    return fixed(x, 0 if abs(x) >= 100 or x == 0 else 1 if abs(x) >= 10 else 2)


def percent(x: float, decimals: int = 0) -> str:
    """Format a fraction as "34%"; one that rounds to 0 as "<1%"."""
    text = fixed(100 * x, decimals)
    return "<1%" if x > NOTHING and text == "0" else f"{text}%"


def digits_apart(a: float, b: float) -> int:
    """Decimals that make two percentages differ: 0, or 1 if only that helps."""
    return int(percent(a) == percent(b) and percent(a, 1) != percent(b, 1))


def power(x: float) -> str:
    """Format a number between 0 and 1 with its power of ten, as "3e−5"."""
    places = next((n for n in range(1, 300) if x * 10**n >= 0.95), 300)
    return f"{fixed(x * 10**places, 0)}e−{places}"


def quoted(token: str) -> str:
    return f"“{token}”"


def numbered(tokens: Sequence[str], at: int) -> str:
    """A token's name for a sentence, with its number if several have the same name: “the”₂."""
    name = tokens[at]
    same = (
        [i for i, token in enumerate(tokens) if token == name]
        if name in tokens[at + 1 :] or name in tokens[:at]
        else []
    )
    return f"{name}{WHICH}{same.index(at) + 1}" if same else name


def first_capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def first_small(text: str) -> str:
    return text[:1].lower() + text[1:]


NUMBERS: dict[str, Callable[..., str]] = {
    "abs": lambda x, decimals=2: fixed(abs(x), decimals),
    "fixed": fixed,
    "short": short,
    "signed": with_sign,
    "change": change_text,
    "size": size,
    "percent": percent,
    "apart": lambda x, other: percent(x, digits_apart(x, other)),
    "power": power,
}
WORDS: dict[str, Callable[[str], str]] = {"capital": first_capital, "small": first_small}


class MessageError(ValueError):
    """A template that cannot be read, or a value that it lacks."""


class Messages:
    """A catalogue: called with a key and its values, it returns the sentence."""

    def __init__(self, templates: Mapping[str, str]):
        self.templates = templates

    def __call__(self, key: str, /, **values: Any) -> str:
        if key not in self.templates:
            raise MessageError(f"no message {key}")
        return self._written(key, parsed(key, self.templates[key]), values)

    def _written(self, key: str, nodes: list, values: Mapping[str, Any], count: str = "#") -> str:
        return "".join(
            node
            if isinstance(node, str)
            else count
            if node == ("#",)
            else self(node[1], **values)
            if node[0] == "@"
            else self._chosen(key, node, values, count)
            if isinstance(node[-1], dict)
            else self._value(key, node, values)
            for node in nodes
        )

    def _chosen(self, key: str, node: tuple, values: Mapping[str, Any], count: str) -> str:
        name, choice, cases = node
        value = _of(key, name, values)
        if choice == "select":
            case = "=none" if value is None else str(value)
            case = case.lower() if isinstance(value, bool) else case
            case = "other" if case[:1] == "=" and value is not None else case
        elif not _is_number(value):
            raise MessageError(f"message {key}: {name} must be a number, got {json.dumps(value)}")
        elif choice == "below":
            below = (case for case in cases if case != "other" and value < float(case))
            case = next(below, "other")
        else:
            count = fixed(value, 0)
            exact, named = f"={count}", _category(value, choice == "selectordinal")
            case = exact if exact in cases else named
            count = re.sub(r"\B(?=(\d{3})+$)", self.templates["thousands"], count)
        return self._written(key, cases.get(case, cases["other"]), values, count)

    def _value(self, key: str, node: tuple, values: Mapping[str, Any]) -> str:
        _, name, form, detail = node
        value = _of(key, name, values)
        if form in NUMBERS and _is_number(value):
            other = _of(key, detail, values) if form == "apart" else int(detail or 0)
            text = NUMBERS[form](value, *([other] if detail else []))
            text = text.replace(".", self.templates["decimal"])
            return text.replace("%", self.templates["percent"])
        if form is None and _is_number(value) and value == math.floor(value):
            return fixed(value, 0)
        if isinstance(value, str) and form == "quoted":
            name, _, which = value.partition(WHICH)
            return self.templates["quotes"].replace("…", name) + which.translate(SUBSCRIPT)
        if isinstance(value, str) and (form is None or form in WORDS):
            return WORDS[form](value) if form else value
        raise MessageError(f"message {key}: {name} cannot be written {form or 'without a format'}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _of(key: str, name: str, values: Mapping[str, Any]) -> Any:
    if name not in values:
        raise MessageError(f"message {key} has no value for {name}")
    return values[name]


def _category(n: int, ordinal: bool) -> str:
    """The plural category, by Unicode's rules for English and German."""
    if not ordinal:
        return "one" if n == 1 else "other"
    tens, last = n % 100 // 10, n % 10
    return "other" if tens == 1 else {1: "one", 2: "two", 3: "few"}.get(last, "other")


@cache
def parsed(key: str, template: str) -> list:
    """Parse a template to texts, ("#",), (@, name, format, detail), and (name, choice, cases)."""
    return _parse(key, template, 0, False)[0]


def _parse(key: str, text: str, at: int, inside: bool) -> tuple[list, int]:
    nodes: list = []
    while at < len(text):
        if found := _VALUE.match(text, at):
            nodes.append(found.groups())
            at = found.end()
        elif found := _CHOICE.match(text, at):
            cases, at = {}, found.end()
            while case := _CASE.match(text, at):
                cases[case[1]], at = _parse(key, text, case.end(), True)
            if text[at : at + 1] != "}" or "other" not in cases:
                raise MessageError(f"message {key}: {found[1]} has no other {{…}}, or no end")
            nodes.append((found[1], found[2], cases))
            at += 1
        elif found := _TEXT.match(text, at):
            nodes.append(found[1] or found[2])
            at = found.end()
        elif text[at] == "#":
            nodes.append(("#",))
            at += 1
        elif text[at] == "}" and inside:
            return nodes, at + 1
        else:
            raise MessageError(f"message {key}: what is {text[at : at + 20]}?")
    if inside:
        raise MessageError(f"message {key}: a brace is open")
    return nodes, at


@cache
def messages(view: str, language: str = "en") -> Messages:
    """The catalogue of a view, named by its folder, over the one that all views share.

    Raises:
        ValueError: for a language that the view is not translated to.
    """
    return Messages({**_read("shared"), **_read(view), **translated(view, language)})


def translated(view: str, language: str) -> dict[str, str]:
    """The messages that replace the English ones.

    Raises:
        ValueError: for a language that the view is not translated to.
    """
    if language == "en":
        return {}
    known = sorted(path.suffixes[0][1:] for path in (VIEWS / view).glob("messages.*.json"))
    if language not in known:
        raise ValueError(f"language must be one of {', '.join(['en', *known])}, got {language!r}")
    return _read(view, f".{language}")


def _read(view: str, language: str = "") -> dict[str, str]:
    return json.loads((VIEWS / view / f"messages{language}.json").read_text("utf-8"))
