"""BLEU equals sacreBLEU's, and is refused where there is nothing to compare."""

import math
import random

import pytest

import transformer_lab as tl
from transformer_lab.training.bleu import words_13a

OURS = [
    "Ein Mann schläft auf dem Sofa.",
    "Zwei Hunde laufen, springen & spielen im 3,5 m hohen Schnee.",
    'Sie sagt: "Gut-so!" 10-mal.',
]
WANTED = [
    "Ein Mann schläft auf einem grünen Sofa.",
    "Zwei Hunde laufen und spielen im 3,5 m hohen Schnee!",
    'Sie sagt: "Gut-so!" 10-mal laut.',
]
ODD = "ab  19.,-!\"#$%&()*+/:;<=>?@[\\]^_`{|}~'äß—„“…\n\t"


@pytest.mark.parametrize(
    ("texts", "references", "score", "brevity"),
    [  # according to sacreBLEU 2.6.0
        (OURS, WANTED, 65.11052816707989, 1.0),
        (OURS[:1], WANTED[:1], 42.38365628278778, 0.8668778997501817),
        (["eins zwei drei vier fünf"], ["eins zwei fünf vier drei"], 26.86424829558855, 1.0),
        ([text.lower() for text in OURS], WANTED, 32.827302846268836, 1.0),
        (["a b"], ["a b"], 0.0, 1.0),  # no matching 4-gram
        (["x"], ["a b"], 0.0, math.exp(-1)),
        ([""], ["a b"], 0.0, 0.0),
    ],
)
def test_bleu_is_that_of_sacrebleu(texts, references, score, brevity):
    found = tl.bleu(texts, references)
    assert found.score == pytest.approx(score, rel=1e-9)
    assert float(found) == found.score
    assert found.brevity == pytest.approx(brevity)


def test_what_bleu_is_made_of():
    found = tl.bleu(OURS, WANTED)
    assert found.precisions == (26 / 31, 20 / 28, 15 / 25, 11 / 22)
    assert (found.n_words, found.n_reference) == (31, 31)


def test_words_and_signs():
    assert words_13a('Er sagt: "1,5 m, 10-mal!"') == [
        *("Er", "sagt", ":", '"', "1,5", "m", ",", "10", "-", "mal", "!", '"')
    ]
    assert words_13a("T-Shirt. &quot;A&amp;B&quot;") == ["T-Shirt", ".", '"', "A", "&", "B", '"']


def test_random_texts_are_parted_and_scored_as_by_sacrebleu():
    sacrebleu = pytest.importorskip("sacrebleu")
    part = sacrebleu.metrics.BLEU().tokenizer
    rng = random.Random(0)
    texts = ["".join(rng.choices(ODD, k=rng.randint(0, 30))) for _ in range(2000)]
    for text in texts:
        assert words_13a(text) == part(text.rstrip()).split(), text
    words = [[rng.choice("abcd") for _ in range(rng.randint(0, 9))] for _ in range(400)]
    ours, wanted = ([" ".join(w) for w in half] for half in (words[:200], words[200:]))
    for n in (1, 2, 5, 200):
        theirs = sacrebleu.corpus_bleu(ours[:n], [wanted[:n]]).score
        assert tl.bleu(ours[:n], wanted[:n]).score == pytest.approx(theirs, rel=1e-9), n


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("texts", "references", "said"),
    [
        ([], [], "0 texts and 0 references"),
        (["a"], ["a", "b"], "1 texts and 2 references"),
        ("ein Text", ["ein Text"], "texts='ein Text' is one text"),
        (["a"], "a", "references='a' is one text"),
        (["a", None], ["a", "b"], "None"),
        ([["a", "b"]], ["a b"], r"texts must be a string, got \['a', 'b'\]"),
    ],
)
def test_what_cannot_be_compared_is_refused(texts, references, said):
    with pytest.raises((ValueError, TypeError), match=said):
        tl.bleu(texts, references)
