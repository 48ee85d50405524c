"""A folder grows only with a feature that is named: tests/ledger.json holds how much code each has.

A commit that changes a folder's size changes the ledger in the same commit (`python -m
tests.ledger`), and one that makes it larger says in its body which feature that bought.
"""

import json

import pytest

from tests import ledger


def test_the_ledger_is_kept():
    kept, found = json.loads(ledger.LEDGER.read_text("utf-8")), ledger.measured()
    changed = {
        f"{kind} of {folder}": (kept[kind].get(folder, 0.0), found[kind].get(folder, 0.0))
        for kind in found
        for folder in {*kept[kind], *found[kind]}
        if kept[kind].get(folder) != found[kind].get(folder)
    }
    assert changed == {}, "run: python -m tests.ledger"


@pytest.mark.parametrize(
    "text",
    [
        "x = f(1, 2)\n",
        '"""What it is."""\n\n\nx = f(  # why\n    1,\n    2,\n)\n',
        "x = f(\n\t1,\n\n\t2,\n)",
    ],
)
def test_what_a_formatter_changes_counts_nothing(text):
    assert ledger.of_python(text) == len("x=f(12)")


def test_a_docstring_counts_nothing_and_a_string_counts():
    with_one = 'def f():\n    """Three words here."""\n    return "a b"\n'
    assert ledger.of_python(with_one) == len('deff():return"ab"')
    script = '/** Why. */\nconst a = [1, 2]; // how\nconst b = "// a b", c = `x\ny`;\n'
    assert ledger.of_script(script) == len('consta=[12];constb="//ab"c=`xy`;')
    assert ledger.of_words('{"a": "Two words.", "b": "{n}"}') == 13
