"""Both halves of the view describe the same numbers alike, whichever processor computed them."""

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import transformer_lab as tl
from transformer_lab.views.shared.passes import changed
from transformer_lab.views.spectrogram.listening import (
    Listening,
    edits_code,
    edits_words,
    half_of,
    listen_sentence,
    silent_from,
    time_words,
    who_words,
)
from transformer_lab.views.spectrogram.scene import columns

TEST = Path(__file__).parents[1] / "js" / "spectrogram.test.mjs"


def rows():
    """Weights over time: sharp and uniform ones, exact ties, with silence, and all zero."""
    chance = np.random.default_rng(3)
    for n in (1, 2, 8, 10, 50, 300):
        for sharpness in (0.0, 0.3, 2.0, 9.0):
            scores = np.exp(sharpness * chance.standard_normal(n))
            yield (scores / scores.sum()).astype(np.float32).astype(float)
        yield np.full(n, 1 / n)
        yield np.eye(n)[n // 2]
        yield np.zeros(n)
    yield np.tile([0.375, 0.125], 2) / 1.0
    yield np.repeat([0.1, 0.0], [10, 40])


def sentences():
    cases, chance = [], np.random.default_rng(5)
    for i, weights in enumerate(rows()):
        n = len(weights)
        seen = Listening(
            who_words(i % 3, i % 2, ("", "layer", "all")[i % 3], [2, 3, 4]),
            f"w{i}",
            weights.tolist(),
            0.02,
            (0.02 * n, 0.013 * n, 0.005, 0.0)[i % 4],
            (None, ("“a”", 0.125, True), ("“b”", 0.004, False))[i % 3],
            (None, (0, n - 1), (n // 3, n // 2))[i % 3 - 1],
        )
        told = dataclasses.asdict(seen)
        told["weights"] = (weights * (1 + 3e-7 * chance.standard_normal(n))).tolist()
        cases.append([told, listen_sentence(seen)])
    return cases


def edits():
    at = dict(layer=1, head=0, kind="cross")
    times = [tl.knock_out(query=1, key=k, **at) for k in (3, 4, 5)]
    every = [
        [tl.ablate(1, 0, kind="cross")],
        [tl.ablate(1, kind="cross"), tl.ablate(kind="cross")],
        [tl.ablate(0, 1), tl.ablate(0, 1, kind="encoder")],
        times,
        [*times, tl.knock_out(query=1, key=7, **at)],
        [tl.knock_out(query=1, key=6, layer=1, kind="cross"), *times, *times],
        [tl.knock_out(key=k, kind="cross") for k in (0, 1)],
        [tl.knock_out(query=2, kind="cross"), tl.knock_out(key=0, **at)],
        [tl.knock_out(0, 0, query=2, key=1), tl.knock_out(0, 0, query=9, key=9, kind="encoder")],
        [tl.scale(1, 0, by=2.5, kind="cross")],
    ]
    return [[one.to_dict() for one in some] for some in every]


def test_edges_beside_each_other_are_one_time():
    told = [edits_words(some, ["<s>", "one", "·two"], 0.02, 10) for some in edits()]
    assert told[3] == "“one” → 0.05–0.11 s cut in layer 1, head 0"
    assert told[4] == told[3] + " and “one” → 0.13–0.15 s cut in layer 1, head 0"
    assert told[5].count("0.05–0.11 s cut") == 2
    assert told[6] == "everything → 0.00–0.03 s cut in every layer"
    assert told[7].startswith("“·two” → everything cut in every layer and everything → 0.00–0.01")
    assert (
        told[2] == "decoder layer 0, head 1 switched off and encoder layer 0, head 1 switched off"
    )


@pytest.mark.parametrize("some", edits())
def test_the_python_of_edits_makes_them(some):
    made = eval(edits_code(some), {"tl": tl, "range": range})
    assert [one.to_dict() for one in made] == some


def test_the_shortest_time_that_holds_half():
    assert half_of([0.1, 0.2, 0.4, 0.3]) == (2, 3, pytest.approx(0.7))
    assert half_of([0.25] * 4) == (0, 1, 0.5)
    assert half_of([0.0, 1.0, 0.0]) == (1, 1, 1.0)
    assert half_of([0.0, 0.0]) is None
    assert time_words(21, 28, 0.02) == "0.41–0.57 s" and time_words(0, 0, 0.02) == "0.00–0.01 s"
    assert [silent_from(end, 0.02, 5) for end in (0.0, 0.03, 0.04, 9.0)] == [0, 2, 2, 5]


@pytest.mark.needs("node")
def test_the_browser_says_the_same(tmp_path):
    chance = np.random.default_rng(1)
    shown = [(0.3, 7), (0.82, 333), (1.0, 50)]
    weights = chance.random(50)
    told = dict(
        sentences=sentences(),
        weights=weights.tolist(),
        columns=[[s, w, columns(weights, s, 0.02, w).tolist()] for s, w in shown],
    )
    (tmp_path / "told.json").write_text(json.dumps(told))
    run = subprocess.run(
        ["node", "--test", str(TEST)],
        env=os.environ | {"TL_SOUNDS": str(tmp_path / "told.json")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert "skipped 0" in run.stdout


def test_a_probability_that_stays_does_not_go_from_itself_to_itself():
    stays, falls = (
        changed(torch.tensor([0.34, 0.66]), torch.tensor([after, 1 - after]), "ab".__getitem__, 0)
        for after in (0.3401, 0.31)
    )
    assert stays.sentence == "P(a) stays at 34%."
    assert falls.sentence == "P(a) goes from 34% to 31%."
