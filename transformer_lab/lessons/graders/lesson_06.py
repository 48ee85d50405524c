"""Checks of lesson 06, Tokens."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.solutions import lesson_06 as solutions

A, B, C, D, E = range(10, 15)  # ids of bytes
LAST = 18
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
    letters = list(range(A, LAST + 1))
    long = [(letters[:n], n) for n in range(2, 10)]
    long += [([LAST, A], 3), ([LAST, B], 2), ([LAST, C], 1)]
    return [
        Case("words that begin alike, nine merges", (long, 9, FIRST)),
        Case("five words, three merges", (plain, 3, FIRST)),
        Case("pairs that come in both orders", (orders, 1, FIRST)),
        Case("words that occur 1, 5, 1, 2 and 1 times", (several, 1, FIRST)),
        Case("pairs that are equally frequent", (tied, 1, FIRST)),
        Case("a letter several times in a row", (runs, 3, FIRST)),
        Case("words with room for one merge, when three are requested", (short, 3, FIRST)),
        Case("another first id", (plain, 3, 300)),
    ]


LEARN = Grader(
    reference=solutions.learn_bpe,
    cases=_learn_cases,
    shape_hint="one row for each merge that was made, with the two ids that were merged",
    mistakes="""
- for ids, _ in words
+ for ids, _ in []
  You took the same pair again and again, because the words still contain it. After each round,
  replace the pair in every word by its new id before you count.

= counts = Counter()
= for ids, count in words:
=     for pair in pairwise(ids):
=         counts[pair] += count
= torch.tensor(sorted(counts, key=lambda pair: (-counts[pair], pair))[:n_merges])
  You took the most frequent pairs of a single count. Each merge changes the words, so after it
  the pairs have to be counted again.

- merges = []
+ merges, counts = [], Counter()
- counts = Counter()
  Your counts carry over from one round to the next. Start each round with empty counts, because
  the words have changed.

- += count
+ += 1
  You counted each word once. If a word occurs 5 times, each of its pairs counts 5 times.

- words = [(list(ids), count) for ids, count in words]
+ words = [([i for ids, count in words for _ in range(count) for i in ids], 1)]
  You counted pairs that reach across two words. No token does that: go through the words one by
  one.

- counts[pair] +=
+ counts[tuple(sorted(pair))] +=
- for ids, _ in words
+ for ids, best in [(ids, pair) for ids, _ in words for pair in (best, best[::-1])]
  You treated (a, b) and (b, a) as the same pair. Order matters: “th” is not “ht”.

- -counts[pair]
+ counts[pair]
  You took the *least* frequent pair.

- min(counts, key=lambda pair: (-counts[pair], pair))
+ max(counts, key=lambda pair: (counts[pair], pair))
  When several pairs were equally frequent, you took the largest. Take the smallest pair of ids.

- min(counts, key=lambda pair: (-counts[pair], pair))
+ max(counts, key=counts.get)
  When several pairs were equally frequent, you took the one seen first (as `max` and
  `most_common` do). Take the smallest pair of ids, whatever the order of the words.

- min(counts, key=lambda pair: (-counts[pair], pair))
+ max(reversed(counts), key=counts.get)
  When several pairs were equally frequent, you took the one seen last. Take the smallest pair of
  ids, whatever the order of the words.

- ids[i : i + 2] = [new]
+ ids[i : i + 2] = [new]
+ break
  You replaced the pair only once in each word. A word may contain it several times.

- ids[i : i + 2] = [new]
+ ids[i] = new
  You replaced the first id of the pair and kept the second. The new id replaces both.

- i = 0
+ i = len(ids) - 2
- i < len(ids) - 1
+ i >= 0
- i += 1
+ i -= 1
  In a run such as “aaa” you merged the last two. Go from left to right.

- [new]
+ [new - first]
  Your new tokens are numbered from 0. The first of them should have the id `first`.

- [new]
+ [new + 1]
  Your new ids are one too high. The first new token should have the id `first`.

- [new]
+ [first]
  All your new tokens have the same id. Each merge makes a new token with its own id: `first`,
  `first + 1` and so on.

= right(words, n_merges - 1, first)
  One merge is missing at the end.

= right(words, n_merges + 1, first)
  You made one merge too many.

= torch.arange(first, first + n_merges)
  These are the ids of the new tokens. Return the pairs that were merged into them.
""",
    values=(4, 6, 8),
    variant="""
- words = [(list(ids), count) for ids, count in words]
+ words = [(list(ids), count) for ids, count in words]
+ length = {}
- for pair in pairwise(ids):
-     counts[pair] += count
+ for pair in pairwise(ids):
+     if sum(length.get(i, 1) for i in pair) <= DRAWN:
+         counts[pair] += count
- merges.append(best)
+ merges.append(best)
+ length[new] = sum(length.get(i, 1) for i in best)
  Let no token become long: each one may stand for at most DRAWN of the ids in `words` as they were
  passed. Never make a merge that would break this; in each round, take the most frequent of the
  other pairs.

- <= DRAWN
+ < DRAWN
  Your longest token is one id too short: DRAWN ids are allowed.

- if not counts:
+ if len(merges) and length[new - 1] == DRAWN:
+     break
+ if not counts:
  You stopped when a token had reached the longest length. Other pairs may still be merged.
""",
)


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


ENCODE = Grader(
    reference=solutions.encode_word,
    cases=_encode_cases,
    shape_hint="one id for each token of the word",
    mistakes="""
= torch.tensor(ids)
  These are the ids that you were passed: nothing is merged.

- while len(ids) > 1
+ for _ in range(len(ids) > 1)
  You stopped after one merge. Go on until none of the word's pairs is in `merges`.

- min(pairwise(ids), key=lambda pair: rank.get(pair, len(rank)))
+ next((pair for pair in pairwise(ids) if pair in rank), None)
  You merged the leftmost pair that is in `merges`. Of all pairs in the word, take the one that
  was learned *first*: the one with the smallest row.

= _longest_first(ids, merges, first)
  You took the longest token that fits at each position. That is a different scheme (WordPiece's).
  BPE makes the merges in the order in which they were learned.

- min(
+ max(
- len(rank)
+ -1
  You took the pair that was learned last. Take the one that was learned first.

- i = 0
+ i = len(ids) - 2
- i < len(ids) - 1
+ i >= 0
- i += 1
+ i -= 1
  In a run of the same letter you merged from the right. Go from left to right, as you did when
  learning.

- ids[i : i + 2] = [first + rank[best]]
+ ids[i] = first + rank[best]
  You replaced the first id of the pair and kept the second. The new id replaces both.

- [first + rank[best]]
+ [rank[best]]
  You used the row number of a merge as the id of its token. Row 0 makes the token `first`.

- [first + rank[best]]
+ [first + rank[best] + 1]
  Your new ids are one too high. Row 0 makes the token `first`.
""",
)


def _bits_cases() -> list[Case]:
    losses = torch.rand(7, generator=torch.Generator().manual_seed(0)) * 4
    return [
        Case("seven tokens that cover 19 bytes", (losses, 19)),
        Case("one token that covers 4 bytes", (torch.tensor([2.5]), 4)),
    ]


BITS = Grader(
    reference=solutions.bits_per_byte,
    cases=_bits_cases,
    shape_hint="one number",
    mistakes="""
- / math.log(2)
  These are nats: the loss is a natural logarithm. One bit is ln 2 nats.

- / math.log(2)
+ * math.log(2)
  You multiplied by ln 2. A bit is *smaller* than a nat, so you need more of them.

= losses.mean() / math.log(2)
  These are bits for each *token*. Add up the losses of all tokens, and divide by the number of
  bytes.

= losses.mean()
  This is the mean loss of a token, in nats. Two things are missing: bits, and bytes.

- losses.sum()
+ losses.mean()
  You took the mean over the tokens and divided by the bytes as well. Take the *sum* of the losses
  instead.

= losses.mean() / n_bytes
  You took the mean over the tokens and divided by the bytes as well: take the sum instead. And
  these are nats: one bit is ln 2 nats.

- / n_bytes
  These are the bits of the whole text. Divide by the number of its bytes.

- math.log(2)
+ math.log(10)
  You divided by ln 10, which measures in decimal digits. One bit is ln 2 nats.

- bits / n_bytes
+ n_bytes / bits
  These are bytes per bit: your fraction is upside down.
""",
)
