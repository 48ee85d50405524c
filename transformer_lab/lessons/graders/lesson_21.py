"""Checks of lesson 21, Research desk."""

from __future__ import annotations

from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader, random
from transformer_lab.lessons.solutions import lesson_21 as solutions

PATCH = Grader(
    reference=solutions.patched,
    cases=lambda: [
        Case("one text of 4 positions, position 2", (random(3, 1, 4, 5), random(4, 1, 4, 5), 2)),
        Case("2 texts of 3 positions, position 0", (random(5, 2, 3, 4), random(6, 2, 3, 4), 0)),
        Case("one source for 3 texts, position 1", (random(7, 3, 5, 6), random(8, 1, 5, 6), 1)),
    ],
    shape_hint="the shape of `stream`",
    mistakes="""
= stream
  The stream is unchanged: nothing was patched.

= source.expand_as(stream)
  You put in the whole source. Patch only **one position** and leave the rest.

= right(source.expand_as(stream), stream, position)
  You put the stream's vector into the source. Do it the other way round: `stream` is the run that
  goes on.

- ] = source
+ ] += source
  You added the source's vector. *Replace* the old one with it.

- stream[:, position] = source[:, position]
+ stream[:, position:] = source[:, position:]
  You patched this position and everything after it. Patch this position only.

- stream[:, position] = source[:, position]
+ stream[:, : position + 1] = source[:, : position + 1]
  You patched everything up to this position. Patch this position only.

- stream[:, position] = source[:, position]
+ stream[..., position] = source[..., position]
  You patched one *number* of every vector: the last axis is d_model. Positions are the middle
  axis.

= right(stream, source, min(position + 1, stream.shape[1] - 1))
  You patched the position after it. Positions are counted from 0.
""",
)


def _weights(seed: int, heads: int, words: int) -> Tensor:
    return random(seed, heads, words).mul(1.5).softmax(-1)


def _study_cases() -> list[Case]:
    def pair(seed, heads, words, a, b):
        return _weights(seed, heads, words), _weights(seed + 1, heads, words), a, b

    three = [pair(10, 8, 5, 1, 3), pair(20, 8, 6, 4, 0), pair(30, 8, 4, 2, 1)]
    two = [pair(40, 6, 7, 5, 2), pair(50, 6, 4, 0, 3)]
    return [
        Case("three pairs and 8 heads", (three,)),
        Case("two pairs and 6 heads", (two,)),
        Case("one pair and 6 heads", (two[:1],)),
    ]


STUDY = Grader(
    reference=solutions.pair_study,
    cases=_study_cases,
    shape_hint="three rows, and a column for each head",
    mistakes="""
# turn
- (first[:, a] > first[:, b]) & (second[:, b] > second[:, a])
+ (first[:, a] > first[:, b]) | (second[:, b] > second[:, a])
  A head turns only if it is right in **both** sentences: `&`, not `|`.

- (first[:, a] > first[:, b]) & (second[:, b] > second[:, a])
+ first[:, a] > first[:, b]
  You check the first sentence alone. A head that always gives `a` more is right there without
  following anything: check the second, too.

- (first[:, a] > first[:, b]) & (second[:, b] > second[:, a])
+ (first[:, b] > first[:, a]) & (second[:, a] > second[:, b])
  `a` and `b` are exchanged: the right word of the first sentence is at `a`, and that of the
  second is at `b`.

- (first[:, a] > first[:, b]) & (second[:, b] > second[:, a])
+ (first[:, a] > second[:, a]) & (second[:, b] > first[:, b])
  You compare one word between the two sentences. A weight can *react* to the change without
  moving to the other word: compare `a` with `b` inside each sentence.

- (first[:, a] > first[:, b]) & (second[:, b] > second[:, a])
+ (first.argmax(1) == a) & (second.argmax(1) == b)
  You check whether the right word is the strongest of *all*. Compare only the two words with each
  other, `a` with `b`.

# most
- minimum
+ maximum
  You take the larger of the two weights. A head gives the right word of *both* sentences at least
  the smaller: take that.

- torch.minimum(first[:, a], second[:, b])
+ (first[:, a] + second[:, b]) / 2
  You take the mean of the two weights. A head gives the right word of *both* sentences at least
  the smaller: take that.

- * there
  The second row also counts heads that do not turn: it should be 0 in a pair where the head does
  not turn.

- most.amax(0)
+ most.sum(0)
  In the second row you add up the pairs. Take the largest over the pairs.

- most.amax(0)
+ most.mean(0)
  In the second row you take the mean over the pairs. Take the largest.

# chance
- if c not in (a, b)
  Your couples for chance contain `a` or `b`. Take *other* words, which have nothing to do with
  the change.

- c != d
+ c < d
  You try two other words in one order only. (c, d) and (d, c) are two couples.

- found.float()
+ 2 * found.float()
  You count a couple if the head turns either way round. The right words count one way only, so
  count (c, d) and (d, c) separately.

- found.float().mean(0)
+ found.float().mean().expand_as(there)
  Your chance is the mean over all heads. Compute it separately for each head.

- if c != d
  Your list has couples of a word with itself, which can never turn. Leave out `c == d`.

- found.float().mean(0)
+ found.float().sum(0)
  You count the couples between which the head turns. Take the *fraction* of all couples: how often
  a head turns by chance.

- chance.sum(0)
+ chance.mean(0)
  You average the chance over pairs. The first row counts pairs, so add up the chance of each.

# count
- turned.sum(0)
+ turned.mean(0)
  The first row is the *number* of pairs in which a head turns, not the fraction.

#
- there = turns(first, second, a, b)
+ there = (first[:, a] > first[:, b]) | (second[:, b] > second[:, a])
  A head turns only if it is right in **both** sentences: `&`, not `|`.

- there = turns(first, second, a, b)
+ there = first[:, a] > first[:, b]
  You check the first sentence alone. A head that always gives `a` more is right there without
  following anything: check the second, too.

- there = turns(first, second, a, b)
+ there = (first[:, b] > first[:, a]) & (second[:, a] > second[:, b])
  `a` and `b` are exchanged: the right word of the first sentence is at `a`, and that of the
  second is at `b`.

- there = turns(first, second, a, b)
+ there = (first[:, a] > second[:, a]) & (second[:, b] > first[:, b])
  You compare one word between the two sentences. A weight can *react* to the change without
  moving to the other word: compare `a` with `b` inside each sentence.

- there = turns(first, second, a, b)
+ there = (first.argmax(1) == a) & (second.argmax(1) == b)
  You check whether the right word is the strongest of *all*. Compare only the two words with each
  other, `a` with `b`.

= right(pairs).T
  Rows and columns are exchanged: a row for each of the three numbers.

= torch.stack([right([pair]) for pair in pairs])
  You return a table for each pair. Combine the pairs: add them up, or take the largest.

= right(pairs)[:2]
  The third row is missing: the number of turns to expect by chance.
""",
)
