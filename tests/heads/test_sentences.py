"""Boundaries of sentences and paragraphs in tokens of several vocabularies."""

import pytest

from tests.factories import WORDS
from transformer_lab.heads import paragraphs, sentences


def parts(tokens, spans):
    return ["".join(tokens[start:end]) for start, end in spans]


@pytest.mark.parametrize(
    ("tokens", "wanted"),
    [
        (
            ["It", " is", " 3", ".", "14", ".", " So", '?"', " Yes"],
            ["It is 3.14.", ' So?"', " Yes"],
        ),
        (["It·is", ".", "·So", "!", "·e", ".g", ".", "x"], ["It·is.", "·So!", "·e.g.x"]),
        (["One", ".", "ĊĊ", "Two", ".", "Ġthree"], ["One.ĊĊ", "Two.", "Ġthree"]),
        (["One", ".", "Two", ")", ".", "3", ".", "5"], ["One.", "Two).3.5"]),
        (["a", "↵", "b", ".↵", "↵", "c"], ["a↵", "b.↵↵", "c"]),
        (["a"], ["a"]),
        ([], []),
    ],
)
def test_sentences(tokens, wanted):
    assert parts(tokens, sentences(tokens)) == wanted


def test_words_alone_end_with_a_full_stop():
    assert sentences(WORDS * 3) == [(0, 13), (13, 26), (26, 39)]


def test_paragraphs_end_with_empty_lines_and_else_with_lines():
    tokens = ["a", "↵", "b", "↵↵", "c", "↵", "↵", "d"]
    assert parts(tokens, paragraphs(tokens)) == ["a↵b↵↵", "c↵↵", "d"]
    assert parts(tokens[:3], paragraphs(tokens[:3])) == ["a↵", "b"]
    assert paragraphs(["a", "b"]) == [(0, 2)]
    assert paragraphs([]) == []
