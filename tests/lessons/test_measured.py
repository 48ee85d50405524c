"""A claim's bound is no looser than its sentence: what `make lessons-full` measured holds it."""

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

MEASURED = json.loads(
    (Path(__file__).parents[2] / "notebooks" / "measured.json").read_text("utf-8")
)["lessons"]
NUMBER = r"(−?[\d,]*\.?\d+(?:e−?\d+)?)"
SHOWN = re.compile(
    rf"\[measured {NUMBER} · (?:at (?P<side>least|most) (?P<bound>{NUMBER[1:-1]})"
    rf"|within {NUMBER} of {NUMBER}|between {NUMBER} and {NUMBER}|{NUMBER}) · without it {NUMBER}\]"
)


def value(text):
    return float(text.replace("−", "-").replace(",", ""))


def one_sided(runs):
    """Claims with one bound and a null value: place in the lesson -> (text, side, bound, [measured],
    [null])."""
    found = defaultdict(list)
    for run in runs:
        for place, text in enumerate(run["claims"]):
            if (shown := SHOWN.search(text)) and shown["side"]:
                numbers = [g for g in shown.groups() if g]
                found[place].append(
                    (
                        text,
                        shown["side"],
                        value(shown["bound"]),
                        value(numbers[0]),
                        value(numbers[-1]),
                    )
                )
    return found.values()


@pytest.mark.parametrize("number", sorted(MEASURED))
def test_a_bound_is_near_what_was_measured(number):
    """At most a third of the way from the worst of the seeds to the nearest null value."""
    for runs in one_sided(MEASURED[number]):
        text, side, bound = runs[0][:3]
        measured, nulls = [r[3] for r in runs], [r[4] for r in runs]
        worst, null = (
            (min(measured), max(nulls)) if side == "least" else (max(measured), min(nulls))
        )
        assert abs(bound - worst) <= abs(null - worst) / 3, (text, worst, bound, null)


def test_claims_are_read_as_they_are_written():
    lines = ["it copies  [measured .9 · at least .7 · without it .1]",
             "far  [measured 1,200 · at most 1,300 · without it 2e5]",
             "near  [measured −.5 · at most −.4 · without it −1e−3]",
             "no null  [measured .9 · at least .7]",
             "about  [measured .9 · within .1 of 1 · without it .1]"]  # fmt: skip
    read = [runs[0][1:] for runs in one_sided([{"claims": lines}])]
    assert read == [
        ("least", 0.7, 0.9, 0.1),
        ("most", 1300, 1200, 2e5),
        ("most", -0.4, -0.5, -1e-3),
    ]
