"""One word's attention by hand: numbers, refusals, and the still image."""

import math

import pytest
import torch
import traitlets

from transformer_lab.views import MixView

WORDS = ["the", "cat", "drank", "its", "milk"]
VALUES = [[0, 0], [4, 0], [1, 3], [1, 1], [0, 4]]


def view(**options):
    settings = dict(scores=[0.5, 6, -2, 0, 1], values=VALUES, query="its", d=4) | options
    return MixView(WORDS, **settings)


def test_weights_and_mixture_are_attention():
    made = view(scores=torch.tensor([0.5, 6, -2, 0, 1]))
    weights = torch.softmax(torch.tensor(made.scores, dtype=torch.float64) / 2, -1)
    torch.testing.assert_close(torch.tensor(made.weights, dtype=torch.float64), weights)
    torch.testing.assert_close(
        torch.tensor(made.mixture, dtype=torch.float64), weights @ torch.tensor(VALUES).double()
    )


def test_a_hidden_word_gets_nothing_and_the_rest_sums_to_one():
    made = view(hidden=[1])
    assert made.weights[1] == 0
    assert math.isclose(sum(made.weights), 1)
    assert view(hidden=range(5)).mixture == (0, 0)
    assert "nothing to mix" in view(hidden=range(5)).sentence
    assert max(view(scores=[40, -40, 0, 0, 0], d=1).weights) <= 1


def test_the_sentence_says_what_is_seen():
    assert view(scores=[0, 6, 0, 0, 0]).sentence == (
        "“its” gives “cat” 83% of its attention; the mixture is at (3.42, 0.33)."
    )
    assert view(values=[[-1, -0.001]] * 5).sentence.endswith("(−1.00, 0.00).")


def test_any_words_have_a_picture():
    assert MixView(["$\\frac$", "\u202e"], [0, 1], [[0, 0], [1, 1]]).png()


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(scores=[1, 2]), "scores has 2 entries for 5 words"),
        (dict(values=[[0, 0]]), "values has 1 entries"),
        (dict(values=[[0, 0, 0]] * 5), "points"),
        (dict(values=[[0, math.nan]] * 5), "finite"),
        (dict(scores=[math.nan, 0, 0, 0, 0]), "nan"),
        (dict(scores=[99, 0, 0, 0, 0]), "between −40 and 40"),
        (dict(d=0), "d=0 must be 1 or more"),
        (dict(hidden=[7]), "hidden=7 is outside 0 … 4"),
    ],
)
def test_what_does_not_fit_is_refused(options, said):
    with pytest.raises((ValueError, traitlets.TraitError), match=said):
        view(**options)
    with pytest.raises(ValueError, match="words has 0 entries"):
        MixView([], [], [])
