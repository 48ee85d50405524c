"""Dates against babel's own formatting, and digits against the characters they depend on."""

import datetime
import sys

import pytest

from tests.missing import package
from transformer_lab.datasets import dates
from transformer_lab.datasets.calendars import LOCALES, STYLES
from transformer_lab.files.paths import FileError

babel_dates = package("babel.dates")


@pytest.fixture(scope="module")
def data():
    return dates(size=6000, held_out=500)


def test_every_date_is_one_that_babel_writes(data):
    for pair in data.train[:1000] + data.held_out:
        day = datetime.date.fromisoformat(pair.target)
        written = {babel_dates.format_date(day, s, locale=x) for x in LOCALES for s in STYLES}
        assert pair.source in written


def test_no_text_means_two_days(data):
    meaning = {}
    for pair in data.train + data.held_out:
        assert meaning.setdefault(pair.source, pair.target) == pair.target


def test_held_out_days_are_in_no_locale_of_the_training_part(data):
    assert not {p.target for p in data.train} & {p.target for p in data.held_out}


def test_digits_come_from_the_characters_that_tell_them(data):
    named = numbered = 0
    for pair in data.train:
        told = ["".join(pair.source[i] for i in places) for places in pair.alignment]
        year, month, day = pair.target.split("-")
        assert told[4] == told[7] == ""
        assert "".join(told[:4]) == year
        assert "".join(told[8:]).zfill(2) in (day, day[1] * 2)  # one digit implies the zero too
        if told[5].isdecimal():
            assert "".join(told[5:7]).zfill(2) in (month, month[1] * 2)
            numbered += 1
        else:
            assert told[5] == told[6]
            assert told[5][0].isalpha()
            named += 1
    assert named > numbered > 0


def test_other_locales_can_be_named():
    data = dates(("ru", "el", "ko"), size=200, held_out=20)
    assert any("\u0370" <= c <= "\u03ff" for pair in data.train for c in pair.source)
    assert not any(3 in data.tokenizer.encode(pair.source) for pair in data.train)


@pytest.mark.badinput
def test_bad_arguments(monkeypatch):
    with pytest.raises(ValueError, match="locale 'xx' is unknown to babel"):
        dates(("xx",))
    with pytest.raises(ValueError, match="locale 'no locale' is unknown"):
        dates(("no locale",))
    with pytest.raises(ValueError, match="locales is empty"):
        dates(())
    with pytest.raises(ValueError, match="size=10000000 is more than the different texts"):
        dates(("ja",), size=10_000_000, held_out=10)
    with pytest.raises(ValueError, match="held_out=40000 leaves none"):
        dates(held_out=40_000)
    monkeypatch.setitem(sys.modules, "babel", None)
    with pytest.raises(FileError, match="pip install babel"):
        dates()
