"""Reports: the summary against an independent parser, and the positions of copied words."""

import re

import pytest

from transformer_lab.datasets import reports

RESULTS = [
    r"At the end (?P<winner>\w+) had won (?P<more>\d) to (?P<less>\d) over (?P<loser>\w+) \.",
    r"(?P<loser>\w+) lost it (?P<less>\d) to (?P<more>\d) , and (?P<winner>\w+) went home happy",
    r"showed (?P<more>\d) for (?P<winner>\w+) and (?P<less>\d) for (?P<loser>\w+) \.",
    r"So (?P<loser>\w+) had (?P<less>\d) and (?P<winner>\w+) had (?P<more>\d) at the whistle",
]
FIRST = r"(\w+) opened the scoring|first goal came from (\w+)|minute \d+ (\w+) broke the deadlock"


@pytest.fixture(scope="module")
def data():
    return reports(size=3000, held_out=300)


def _read(report):
    found = next(m for m in (re.search(pattern, report) for pattern in RESULTS) if m)
    scorer = next(name for name in re.search(FIRST, report).groups() if name)
    f = found.groupdict()
    assert int(f["more"]) > int(f["less"])
    return f"{f['winner']} beat {f['loser']} {f['more']} - {f['less']} ; {scorer} scored first ."


def test_summaries_are_what_a_reader_would_write(data):
    for pair in data.train + data.held_out:
        assert pair.target == _read(pair.source)


def test_copied_words_are_found_where_they_stand(data):
    for pair in data.train:
        source, target = pair.source.split(), pair.target.split()
        copied = [t for t, places in enumerate(pair.alignment) if places]
        assert copied == [0, 2, 3, 5, 7]
        for t in copied:
            assert {source[i] for i in pair.alignment[t]} == {target[t]}
        for team in (0, 2):  # both mentions of the team, and no others
            assert len(pair.alignment[team]) == source.count(target[team]) == 2
        for slot in (3, 5, 7):
            assert len(pair.alignment[slot]) == 1


def test_sizes_are_as_promised(data):
    lengths = [len(pair.source.split()) for pair in data.train]
    assert 45 < sum(lengths) / len(lengths) < 55
    assert {len(pair.target.split()) for pair in data.train} == {11}


def test_positions_count_tokens(data):
    for pair in data.train[:300]:
        ids = data.tokenizer.encode(pair.source)
        assert data.tokenizer.tokens(ids) == pair.source.split()
    assert not any(3 in data.tokenizer.encode(p.source + p.target) for p in data.train)


def test_the_home_side_wins_half_the_time_and_the_first_named_scores_first_half_the_time(data):
    first = [pair.alignment[0][0] < pair.alignment[2][0] for pair in data.train]
    assert 0.45 < sum(first) / len(first) < 0.55
