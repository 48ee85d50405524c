"""Checks for lesson 08, Translation: a table of words, read off cross-attention."""

from __future__ import annotations

from collections.abc import Callable

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.graders.slips import Slip, suspects_of
from transformer_lab.lessons.solutions import lesson_08 as solutions


def _texts(seed: int, *, lengths: list[tuple[int, int]], heads: int, vocab_size: int, pad_id: int):
    """Arguments: padded texts of (source, target) words, and maps that attend to no padding."""
    draw = torch.Generator().manual_seed(seed)
    n_keys, n_words = (max(sides) for sides in zip(*lengths, strict=True))
    words = torch.tensor([i for i in range(2, vocab_size) if i != pad_id])
    source = torch.full((len(lengths), n_keys), pad_id)
    target = torch.full((len(lengths), n_words + 1), pad_id)
    target[:, 0] = 1
    for row, (keys, written) in enumerate(lengths):
        source[row, :keys] = words[torch.randint(len(words), (keys,), generator=draw)]
        target[row, 1 : written + 1] = words[torch.randint(len(words), (written,), generator=draw)]
    scores = 3 * torch.randn(len(lengths), heads, n_words + 1, n_keys, generator=draw)
    scores = scores.masked_fill((source == pad_id)[:, None, None], float("-inf"))
    return scores.softmax(-1), source, target, pad_id, vocab_size


def _table_cases() -> list[Case]:
    some = [(5, 7), (3, 4), (6, 5), (4, 8)]
    one = [(6, 9)]
    return [
        Case("four texts and two heads", _texts(1, lengths=some, heads=2, vocab_size=9, pad_id=0)),
        Case("one text and one head", _texts(2, lengths=one, heads=1, vocab_size=7, pad_id=0)),
        Case("texts padded with 5", _texts(3, lengths=some, heads=3, vocab_size=8, pad_id=5)),
    ]


def _made(slips: frozenset[str]) -> Callable[..., torch.Tensor]:
    """The table with the given slips."""

    def translation_table(maps, source, target, pad_id, vocab_size):
        looks = maps[:, 0] if "one head" in slips else maps.mean(1)
        if "the strongest head" in slips:
            looks = maps.amax(1)
        looks = looks[:, 1:] if "a row too late" in slips else looks[:, :-1]
        written = target[:, 1:]
        real = torch.ones_like(written, dtype=torch.bool)
        if "padding counted" not in slips:
            real = written != pad_id
        if "places, not words" in slips:
            partners = torch.arange(source.shape[1]).expand_as(source)
        else:
            partners = source
        counts = torch.zeros(vocab_size, vocab_size, dtype=maps.dtype)
        best = looks.argmax(-1)
        for text, place in real.nonzero().tolist():
            word = int(written[text, place])
            if "weights added up" in slips:
                for partner, weight in zip(
                    partners[text].tolist(), looks[text, place], strict=True
                ):
                    counts[word, partner] += weight
            else:
                counts[word, int(partners[text, best[text, place]])] += 1
        if "each pair once" in slips:
            counts = (counts > 0).to(maps.dtype)
        if "turned" in slips:
            counts = counts.T
        return _shares(slips, counts)

    return translation_table


def _shares(slips: frozenset[str], counts: torch.Tensor) -> torch.Tensor:
    if "not divided" in slips:
        return counts
    if "columns divided" in slips:
        return counts / counts.sum(0, keepdim=True).clamp(min=1)
    if "divided by all" in slips:
        return counts / counts.sum()
    if "divided by 0" in slips:
        return counts / counts.sum(-1, keepdim=True)
    return counts / counts.sum(-1, keepdim=True).clamp(min=1)


_SLIPS = (
    Slip(
        "row",
        "a row too late",
        "For each word you took the row that has read *this* word. That row writes the word after it: "
        "the attention that belongs to a word is one row above.",
    ),
    Slip(
        "heads",
        "one head",
        "You used one head alone. Take the mean over all heads of a text first.",
    ),
    Slip(
        "heads",
        "the strongest head",
        "For each source word you took the head that attends to it most. Take the mean over the heads.",
    ),
    Slip(
        "padding",
        "padding counted",
        "Padding of the target is counted as if it were a word. Leave out the positions that hold "
        "`pad_id`.",
    ),
    Slip(
        "partner",
        "places, not words",
        "You counted the *position* that a word attends to. Count the word at that position instead: "
        "look it up in `source`.",
    ),
    Slip(
        "count",
        "weights added up",
        "You added up the weights. Here each written word has one vote, for the source word that it "
        "attends to most.",
    ),
    Slip(
        "count",
        "each pair once",
        "You count each pair of words once, however often it occurs. (`counts[words, partners] "
        "+= 1` with tensors of indices does that: an index that occurs twice is added once. Use a loop, "
        "`bincount` or `index_put_(…, accumulate=True)`.)",
    ),
    Slip(
        "sides",
        "turned",
        "The table is transposed: rows should be target words, and columns source words.",
    ),
    Slip(
        "shares",
        "not divided",
        "These are counts. Divide each row by its sum, so that it holds fractions of the target word's "
        "votes.",
    ),
    Slip(
        "shares",
        "columns divided",
        "You divided each column by its sum. Each *row* should sum to 1.",
    ),
    Slip(
        "shares",
        "divided by all",
        "You divided by the number of all words. Divide each row by its own sum.",
    ),
    Slip(
        "shares",
        "divided by 0",
        "Rows of words that were never written are 0 / 0. They should be 0: divide by at least 1.",
    ),
)

TABLE = Grader(
    name="08/translation_table",
    cases=_table_cases,
    reference=solutions.translation_table,
    shape_hint="`[vocab_size, vocab_size]`: a row for each word of the target",
    suspects=(
        Suspect(
            "the next word",
            lambda maps, source, target, pad_id, vocab_size: _made(frozenset())(
                maps[:, :, 1:], source, target[:, :-1], pad_id, vocab_size
            ),
            "Your rows run ahead of your words: word t is written by row t − 1, because row 0 has read "
            "`<s>` and writes word 1.",
        ),
        *suspects_of(_made, _SLIPS),
    ),
)
