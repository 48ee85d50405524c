"""Measure what heads attend to, and label each head with the evidence for its label.

`measures` scores heads from traces, `inputs` makes controlled inputs, and `naming` labels heads by
the `evidence` of both. `over_texts` averages a head over a batch; `spans` measures attention from
one part of a text to another; `sentences` finds a text's sentences and paragraphs; `probe` fits linear
probes.
"""

from .measures import (
    distance,
    duplicate_token,
    entropy,
    first_token,
    induction,
    induction_pairs,
    mass_on,
    moved,
    next_token,
    pairs,
    previous_token,
    punctuation,
    same_word,
    self_token,
    special_tokens,
    two_hop_induction,
)
from .naming import HeadLabel, label, labels
from .over_texts import AverageMap, ByDistance, aligned_texts, average_map, by_distance
from .pictures import patch_distance
from .sentences import paragraphs, sentences
from .spans import even_between, segments, share_between
from .token_pairs import words

__all__ = [
    "AverageMap",
    "ByDistance",
    "HeadLabel",
    "aligned_texts",
    "average_map",
    "by_distance",
    "distance",
    "duplicate_token",
    "entropy",
    "even_between",
    "first_token",
    "induction",
    "induction_pairs",
    "label",
    "labels",
    "mass_on",
    "moved",
    "next_token",
    "pairs",
    "paragraphs",
    "patch_distance",
    "previous_token",
    "punctuation",
    "same_word",
    "segments",
    "self_token",
    "sentences",
    "share_between",
    "special_tokens",
    "two_hop_induction",
    "words",
]
