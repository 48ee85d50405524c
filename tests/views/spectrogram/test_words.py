"""The view describes the same numbers alike, whichever processor computed them."""

import numpy as np
import pytest
import torch

import transformer_lab as tl
from transformer_lab.views.shared.javascript import call
from transformer_lab.views.shared.modules import VIEWS
from transformer_lab.views.shared.passes import changed
from transformer_lab.views.spectrogram.edits import edits_code, edits_words

SCENE = VIEWS / "spectrogram" / "scene.js"


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
    """What sentences are made from, and the same with other last bits."""
    chance = np.random.default_rng(5)
    for i, weights in enumerate(rows()):
        n = len(weights)
        seen = dict(
            who=f"Head {i}",
            word=f"w{i}",
            weights=weights.tolist(),
            step=0.02,
            end=(0.02 * n, 0.013 * n, 0.005, 0.0)[i % 4],
            next=(None, ["“a”", 0.125, True], ["“b”", 0.004, False])[i % 3],
            span=(None, [0, n - 1], [n // 3, n // 2])[i % 3 - 1],
        )
        off = (weights * (1 + 3e-7 * chance.standard_normal(n))).tolist()
        yield seen, {**seen, "weights": off}


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


def half_of(weights):
    found = call(SCENE, "halfOf", weights)
    return found and (found["first"], found["last"], found["held"])


def test_the_shortest_time_that_holds_half():
    assert half_of([0.1, 0.2, 0.4, 0.3]) == (2, 3, pytest.approx(0.7))
    assert half_of([0.25] * 4) == (0, 1, 0.5)
    assert half_of([0.0, 1.0, 0.0]) == (1, 1, 1.0)
    assert half_of([0.0, 0.0]) is None
    times = [call(SCENE, "timeWords", *span, 0.02) for span in ((21, 28), (0, 0))]
    assert times == ["0.41–0.57 s", "0.00–0.01 s"]
    ends = (0.0, 0.03, 0.04, 9.0)
    assert [call(SCENE, "silentFrom", end, 0.02, 5) for end in ends] == [0, 2, 2, 5]


def test_sentences_do_not_depend_on_the_last_bits():
    told = [[call(SCENE, "listenSentence", one) for one in pair] for pair in sentences()]
    assert len(told) > 30 and all(here == there for here, there in told)
    assert len({here for here, _ in told}) > 30


def test_a_probability_that_stays_does_not_go_from_itself_to_itself():
    stays, falls = (
        changed(torch.tensor([0.34, 0.66]), torch.tensor([after, 1 - after]), "ab".__getitem__, 0)
        for after in (0.3401, 0.31)
    )
    assert stays.sentence == "P(a) stays at 34%."
    assert falls.sentence == "P(a) goes from 34% to 31%."
