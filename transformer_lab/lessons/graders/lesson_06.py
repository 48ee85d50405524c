"""Checks for lesson 06, Tokens."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.solutions import lesson_06 as solutions

A, B, C, D, E = range(10, 15)  # ids of bytes
FIRST = 20


# Each case reveals a mistake that the cases before it cannot. If an answer has two mistakes, the
# learner reads about one of them first, and about the other once the first is corrected.
def _learn_cases() -> list[Case]:
    plain = [([A, B, A, B], 1), ([C, D], 1), ([A, B, A, B], 1), ([C, D], 1), ([C, D], 1)]
    orders = [([B, A], 1), ([A, B], 1), ([C, D], 1), ([B, A], 1), ([A, B], 1)]
    orders += [([C, D], 1), ([C, D], 1)]
    several = [([A, B], 1), ([C, D], 5), ([A, B, E], 1), ([D, A], 2), ([B, A, B], 1)]
    tied = [([C, D], 3), ([A, B], 3), ([E, D], 3), ([B, C], 3)]
    runs = [([A, A, A, B], 3), ([A, A, A, A, A], 2)]
    short = [([A, B], 2), ([C], 9)]
    return [
        Case("five words, three merges", (plain, 3, FIRST)),
        Case("pairs that come in both orders", (orders, 1, FIRST)),
        Case("words that occur 1, 5, 1, 2 and 1 times", (several, 1, FIRST)),
        Case("pairs that are equally frequent", (tied, 1, FIRST)),
        Case("a letter several times in a row", (runs, 3, FIRST)),
        Case("words with room for one merge, when three are requested", (short, 3, FIRST)),
        Case("another first id", (plain, 3, 300)),
    ]


def _learner(
    weigh=lambda count: count,
    choose=lambda counts: min(counts, key=lambda pair: (-counts[pair], pair)),
    replace=None,
    name=lambda first, done: first + done,
    ordered: Any = tuple,
    joined=False,
    enough=lambda most: True,
    forget=True,
):
    """learn_bpe with one of its steps replaced."""

    def wrong(words, n_merges, first):
        words = [(list(ids), count) for ids, count in words]
        if joined:
            words = [([i for ids, count in words for _ in range(count) for i in ids], 1)]
        merges, counts = [], Counter()
        for done in range(n_merges):
            counts = Counter() if forget else counts
            for ids, count in words:
                for pair in pairwise(ids):
                    counts[ordered(pair)] += weigh(count)
            if not counts or not enough(max(counts.values())):
                break
            best = choose(counts)
            merges.append(best)
            words = [((replace or _merged)(ids, best, name(first, done)), n) for ids, n in words]
        return torch.tensor(merges)

    return wrong


def _merged(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == tuple(pair):
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def _from_the_right(ids, pair, new):
    return _merged(ids[::-1], pair[::-1], new)[::-1]


def _once(ids, pair, new):
    for i, found in enumerate(pairwise(ids)):
        if found == pair:
            return [*ids[:i], new, *ids[i + 2 :]]
    return ids


def _both_ways(ids, pair, new):
    return _merged(_merged(ids, pair, new), pair[::-1], new)


def _second_stays(ids, pair, new):
    found = [i for i, p in enumerate(pairwise(ids)) if p == pair]
    return [new if i in found else one for i, one in enumerate(ids)]


_LEARN = Grader(
    name="06/learn_bpe",
    cases=_learn_cases,
    reference=solutions.learn_bpe,
    shape_hint="one row for each merge that was made, with the two ids that were merged",
    suspects=(
        Suspect(
            "nothing merged",
            _learner(replace=lambda ids, pair, new: ids),
            "You took the same pair again and again, because the words still contain it. After "
            "each round, replace the pair in every word by its new id before you count.",
        ),
        Suspect(
            "all from one count",
            lambda words, n_merges, first: torch.tensor(
                sorted((c := _counted(words)), key=lambda pair: (-c[pair], pair))[:n_merges]
            ),
            "You took the most frequent pairs of a single count. Each merge changes the words, so "
            "after it the pairs have to be counted again.",
        ),
        Suspect(
            "counts kept from round to round",
            _learner(forget=False),
            "Your counts carry over from one round to the next. Start each round with empty "
            "counts, because the words have changed.",
        ),
        Suspect(
            "each word counted once",
            _learner(weigh=lambda count: 1),
            "You counted each word once. If a word occurs 5 times, each of its pairs counts 5 times.",
        ),
        Suspect(
            "pairs across words",
            _learner(joined=True),
            "You counted pairs that reach across two words. No token does that: go through the "
            "words one by one.",
        ),
        Suspect(
            "order forgotten",
            _learner(ordered=lambda pair: tuple(sorted(pair)), replace=_both_ways),
            "You treated (a, b) and (b, a) as the same pair. Order matters: “th” is not “ht”.",
        ),
        Suspect(
            "the rarest pair",
            _learner(choose=lambda counts: min(counts, key=lambda pair: (counts[pair], pair))),
            "You took the *least* frequent pair.",
        ),
        Suspect(
            "ties by the largest pair",
            _learner(choose=lambda counts: max(counts, key=lambda pair: (counts[pair], pair))),
            "When several pairs were equally frequent, you took the largest. Take the smallest "
            "pair of ids.",
        ),
        Suspect(
            "ties by the first seen",
            _learner(choose=lambda counts: max(counts, key=lambda pair: counts[pair])),
            "When several pairs were equally frequent, you took the one seen first (as `max` and "
            "`most_common` do). Take the smallest pair of ids, whatever the order of the words.",
        ),
        Suspect(
            "ties by the last seen",
            _learner(choose=lambda counts: max(reversed(counts), key=lambda pair: counts[pair])),
            "When several pairs were equally frequent, you took the one seen last. Take the "
            "smallest pair of ids, whatever the order of the words.",
        ),
        Suspect(
            "only the first in a word",
            _learner(replace=_once),
            "You replaced the pair only once in each word. A word may contain it several times.",
        ),
        Suspect(
            "the second stays",
            _learner(replace=_second_stays),
            "You replaced the first id of the pair and kept the second. The new id replaces both.",
        ),
        Suspect(
            "from the right",
            _learner(replace=_from_the_right),
            "In a run such as “aaa” you merged the last two. Go from left to right.",
        ),
        Suspect(
            "ids from 0",
            _learner(name=lambda first, done: done),
            "Your new tokens are numbered from 0. The first of them should have the id `first`.",
        ),
        Suspect(
            "ids one too high",
            _learner(name=lambda first, done: first + done + 1),
            "Your new ids are one too high. The first new token should have the id `first`.",
        ),
        Suspect(
            "one id for all",
            _learner(name=lambda first, done: first),
            "All your new tokens have the same id. Each merge makes a new token with its own id: "
            "`first`, `first + 1` and so on.",
        ),
        Suspect(
            "pairs that come once left out",
            _learner(enough=lambda most: most > 1),
            "You stopped when no pair occurred twice. Go on until you have made `n_merges` merges "
            "or no pair is left.",
        ),
        Suspect(
            "one merge too few",
            lambda words, n_merges, first: solutions.learn_bpe(words, n_merges - 1, first),
            "One merge is missing at the end.",
        ),
        Suspect(
            "one merge too many",
            lambda words, n_merges, first: solutions.learn_bpe(words, n_merges + 1, first),
            "You made one merge too many.",
        ),
        Suspect(
            "words in place of merges",
            lambda words, n_merges, first: torch.arange(first, first + n_merges),
            "These are the ids of the new tokens. Return the pairs that were merged into them.",
        ),
    ),
)


def _counted(words) -> Counter:
    counts: Counter = Counter()
    for ids, count in words:
        for pair in pairwise(ids):
            counts[tuple(pair)] += count
    return counts


def _encode_cases() -> list[Case]:
    two = torch.tensor([[A, B], [B, C]])
    inner = torch.tensor([[B, C], [A, B], [A, FIRST]])
    long = torch.tensor([[A, B], [B, C], [A, FIRST + 1]])
    many = torch.tensor([[C, D], [B, C], [A, B], [FIRST + 2, FIRST], [E, E], [FIRST + 4, E]])
    return [
        Case("a word with one pair to merge", ([A, D, C, D], many, FIRST)),
        Case("a letter that two merges want", ([A, B, C], two, FIRST)),
        Case("a later merge that is further left", ([A, B, C], inner, FIRST)),
        Case("a long token that the merges do not lead to", ([A, B, C], long, FIRST)),
        Case("a merge of two merges", ([C, D, B, A, B, C, D], many, FIRST)),
        Case("the same letter five times", ([E, E, E, E, E], many, FIRST)),
        Case("a word of one letter", ([B], many, FIRST)),
        Case("other ids for the new tokens", ([A, B, C], two, 300)),
    ]


def _encoder(choose, replace=_merged, rounds=10**6, name=lambda first, rank: first + rank):
    """encode_word with one of its steps replaced."""

    def wrong(ids, merges, first):
        rank = {tuple(pair): i for i, pair in enumerate(merges.tolist())}
        ids = list(ids)
        for _ in range(rounds):
            known = [pair for pair in pairwise(ids) if pair in rank]
            if not known:
                break
            best = choose(known, rank)
            ids = replace(ids, best, name(first, rank[best]))
        return torch.tensor(ids)

    return wrong


def _lowest(known, rank):
    return min(known, key=rank.__getitem__)


def _longest_first(ids, merges, first):
    spelled: dict[int, tuple] = {}
    for i, (left, right) in enumerate(merges.tolist()):
        spelled[first + i] = spelled.get(left, (left,)) + spelled.get(right, (right,))
    by_text = {letters: token for token, letters in spelled.items()}
    out, i = [], 0
    while i < len(ids):
        for length in range(len(ids) - i, 0, -1):
            piece = tuple(ids[i : i + length])
            if length == 1 or piece in by_text:
                out.append(by_text.get(piece, ids[i]))
                i += length
                break
    return torch.tensor(out)


_ENCODE = Grader(
    name="06/encode_word",
    cases=_encode_cases,
    reference=solutions.encode_word,
    shape_hint="one id for each token of the word",
    suspects=(
        Suspect(
            "nothing merged",
            lambda ids, merges, first: torch.tensor(ids),
            "These are the ids that you were passed: nothing is merged.",
        ),
        Suspect(
            "one merge only",
            _encoder(_lowest, rounds=1),
            "You stopped after one merge. Go on until none of the word's pairs is in `merges`.",
        ),
        Suspect(
            "the leftmost pair",
            _encoder(lambda known, rank: known[0]),
            "You merged the leftmost pair that is in `merges`. Of all pairs in the word, take the "
            "one that was learned *first*: the one with the smallest row.",
        ),
        Suspect(
            "the longest token",
            _longest_first,
            "You took the longest token that fits at each position. That is a different scheme "
            "(WordPiece's). BPE makes the merges in the order in which they were learned.",
        ),
        Suspect(
            "the latest merge",
            _encoder(lambda known, rank: max(known, key=rank.__getitem__)),
            "You took the pair that was learned last. Take the one that was learned first.",
        ),
        Suspect(
            "from the right",
            _encoder(_lowest, replace=_from_the_right),
            "In a run of the same letter you merged from the right. Go from left to right, as you "
            "did when learning.",
        ),
        Suspect(
            "the second stays",
            _encoder(_lowest, replace=_second_stays, rounds=50),
            "You replaced the first id of the pair and kept the second. The new id replaces both.",
        ),
        Suspect(
            "the row as the id",
            _encoder(_lowest, name=lambda first, rank: rank),
            "You used the numbers of their rows as ids. Row 0 makes the token `first`.",
        ),
        Suspect(
            "ids one too high",
            _encoder(_lowest, name=lambda first, rank: first + rank + 1),
            "Your new ids are one too high. Row 0 makes the token `first`.",
        ),
    ),
)


def _bits_cases() -> list[Case]:
    losses = torch.rand(7, generator=torch.Generator().manual_seed(0)) * 4
    return [
        Case("seven tokens that cover 19 bytes", (losses, 19)),
        Case("one token that covers 4 bytes", (torch.tensor([2.5]), 4)),
    ]


_BITS = Grader(
    name="06/bits_per_byte",
    cases=_bits_cases,
    reference=solutions.bits_per_byte,
    shape_hint="one number",
    suspects=(
        Suspect(
            "nats",
            lambda losses, n_bytes: losses.sum() / n_bytes,
            "These are nats: the loss is a natural logarithm. One bit is ln 2 nats.",
        ),
        Suspect(
            "multiplied by ln 2",
            lambda losses, n_bytes: losses.sum() * math.log(2) / n_bytes,
            "You multiplied by ln 2. A bit is *smaller* than a nat, so you need more of them.",
        ),
        Suspect(
            "a token",
            lambda losses, n_bytes: losses.mean() / math.log(2),
            "These are bits for each *token*. Add up the losses of all tokens, and divide by the "
            "number of bytes.",
        ),
        Suspect(
            "nats a token",
            lambda losses, n_bytes: losses.mean(),
            "This is the mean loss of a token, in nats. Two things are missing: bits, and bytes.",
        ),
        Suspect(
            "mean over bytes too",
            lambda losses, n_bytes: losses.mean() / math.log(2) / n_bytes,
            "You took the mean over the tokens and divided by the bytes as well. Take the *sum* "
            "of the losses instead.",
        ),
        Suspect(
            "nats, mean, and bytes",
            lambda losses, n_bytes: losses.mean() / n_bytes,
            "You took the mean over the tokens and divided by the bytes as well: take the sum "
            "instead. And these are nats: one bit is ln 2 nats.",
        ),
        Suspect(
            "all bytes together",
            lambda losses, n_bytes: losses.sum() / math.log(2),
            "These are the bits of the whole text. Divide by the number of its bytes.",
        ),
        Suspect(
            "log10",
            lambda losses, n_bytes: losses.sum() / math.log(10) / n_bytes,
            "You divided by ln 10, which measures in decimal digits. One bit is ln 2 nats.",
        ),
        Suspect(
            "bytes a bit",
            lambda losses, n_bytes: n_bytes * math.log(2) / losses.sum(),
            "These are bytes per bit: your fraction is upside down.",
        ),
    ),
)

GRADERS = (_LEARN, _ENCODE, _BITS)
