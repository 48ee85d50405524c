"""Checks of lesson 08, Translation."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.solutions import lesson_08 as solutions


def _mask_cases() -> list[Case]:
    right = torch.tensor([[1, 7, 5, 9, 6], [1, 8, 0, 0, 0]])
    left = torch.tensor([[1, 7, 5, 9], [0, 0, 1, 8]])
    other = torch.tensor([[4, 0, 2, 9], [4, 6, 3, 9], [4, 9, 9, 9]])
    return [
        Case("a text of 5 tokens and one of 2, padded with 0 at its end", (right, 0)),
        Case("a text of 4 tokens and one of 2, padded with 0 in front", (left, 0)),
        Case("three texts padded with 9", (other, 9)),
        Case("one text without padding", (torch.tensor([[1, 7, 5, 9]]), 0)),
    ]


MASK = Grader(
    reference=solutions.decoder_mask,
    cases=_mask_cases,
    shape_hint="`[batch, query, key]`, with as many queries and keys as tokens",
    mistakes="""
- target != pad_id
+ torch.ones_like(target, dtype=torch.bool)
  The future is hidden, but padding can still be seen. A query may attend to a key only if the key
  is not `pad_id`.

- .tril()
  Padding is hidden, but the future can still be seen, so the model can copy the word that it
  should predict. A query may attend to itself and to what comes before it.

- causal & real[:, None, :]
+ ~(causal & real[:, None, :])
  The mask is inverted: True should mean “may attend”. (In some libraries it means the opposite,
  so always check.)

- .tril()
+ .triu()
  The triangle is the wrong way round: your queries see the future instead of the past.

- .tril()
+ .tril(-1)
  A token may attend to itself: keep the diagonal. Otherwise the first token sees nothing.

- real[:, None, :]
+ real[:, :, None]
  You hid the rows of padding. It is the columns that have to be hidden: no token may attend *to*
  padding, so mask the last axis (keys). (A row that is all False has no softmax.)

- causal &
+ causal |
  A pair is allowed if it is not in the future *and* not padding: `&`, not `|`.

- != pad_id
+ != 0
  You assumed that padding is 0. It is whatever `pad_id` says.
""",
)


_VOCABULARY = 8


def _one_hot(token: int) -> torch.Tensor:
    scores = torch.zeros(_VOCABULARY)
    scores[token] = 1.0
    return scores


def _counts_up(ids):
    """3, 4, 5, then the end (2)."""
    last = int(ids[-1])
    return _one_hot(3 if last == 1 else last + 1 if last < 5 else 2)


def _never_ends(ids):
    return _one_hot(3 + len(ids) % 3)


def _reads_everything(ids):
    """The next token depends on the sum of all that was read."""
    return _one_hot(2 if len(ids) == 5 else 3 + int(ids.sum()) % 5)


def _negative(ids):
    """All scores are negative, as logarithms of probabilities are."""
    return _counts_up(ids) - 3


GREEDY = Grader(
    reference=solutions.greedy,
    cases=lambda: [
        Case("a model that writes 3 4 5 and ends", (_counts_up, 1, 2, 10)),
        Case("a model that never ends, at most 4 tokens", (_never_ends, 1, 2, 4)),
        Case("a model that uses everything it has written", (_reads_everything, 1, 2, 9)),
        Case("scores that are all negative", (_negative, 1, 2, 9)),
    ],
    shape_hint="the tokens that were written, one axis, without `bos` and `eos`",
    mistakes="""
- ids[1:]
+ ids
  Your result begins with `bos`. The decoder reads it but did not write it: leave it out.

- if new == eos:
-     break
- ids = torch.cat([ids, new.view(1)])
+ ids = torch.cat([ids, new.view(1)])
+ if new == eos:
+     break
  Your result ends with `eos`. That token only says that the text is over: leave it out.

- if new == eos:
-     break
- ids = torch.cat([ids, new.view(1)])
+ ids = torch.cat([ids, new.view(1)])
+ if new == eos:
+     break
- ids[1:]
+ ids
  Your result still has `bos` in front and `eos` at its end. Neither is part of the text.

- next_scores(ids)
+ next_scores(ids[-1:])
  You passed `next_scores` the last token alone. The decoder reads everything that it has written
  so far, including `bos`.

- argmax
+ argmin
  You took the token with the lowest score. Greedy takes the highest: `argmax`.

- range(longest)
+ range(longest + 1)
  You wrote one token more than `longest`.

- range(longest)
+ range(longest - 1)
  You wrote one token fewer than `longest` allows. Does `bos` count? It does not.

- new == eos
+ False
  You went on after `eos`. When `eos` is the likeliest token, the text is over.

- ids[1:]
+ ids[-1:]
  You returned the last token alone. Return all tokens that were written.
""",
)


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


TABLE = Grader(
    reference=solutions.translation_table,
    cases=_table_cases,
    shape_hint="`[vocab_size, vocab_size]`: a row for each word of the target",
    mistakes="""
= right(maps[:, :, 1:], source, target[:, :-1], pad_id, vocab_size)
  Your rows run ahead of your words: word t is written by row t − 1, because row 0 has read `<s>`
  and writes word 1.

# row
- place - 1
+ place
  For each word you took the row that has read *this* word. That row writes the word after it: the
  attention that belongs to a word is one row above.

# heads
- .mean(dim=0)
+ [0]
  You used one head alone. Take the mean over all heads of a text first.

- .mean(dim=0)
+ .amax(dim=0)
  For each source word you took the head that attends to it most. Take the mean over the heads.

# padding
- word == pad_id
+ False
  Padding of the target is counted as if it were a word. Leave out the positions that hold
  `pad_id`.

# partner
- counts = torch.zeros
+ source = torch.arange(source.shape[1]).expand_as(source)
+ counts = torch.zeros
  You counted the *position* that a word attends to. Count the word at that position instead: look
  it up in `source`.

# count
- counts[word, partner] += 1
+ for partner, weight in zip(source[text], looks, strict=True):
+     counts[word, partner] += weight
  You added up the weights. Here each written word has one vote, for the source word that it
  attends to most.

- += 1
+ = 1
  You count each pair of words once, however often it occurs. (`counts[words, partners] += 1` with
  tensors of indices does that: an index that occurs twice is added once. Use a loop, `bincount`
  or `index_put_(…, accumulate=True)`.)

# sides
- totals =
+ counts = counts.T
+ totals =
  The table is transposed: rows should be target words, and columns source words.

# shares
- counts / totals.clamp(min=1)
+ counts
  These are counts. Divide each row by its sum, so that it holds fractions of the target word's
  votes.

- counts.sum(dim=-1
+ counts.sum(dim=0
  You divided each column by its sum. Each *row* should sum to 1.

- totals.clamp(min=1)
+ counts.sum()
  You divided by the number of all words. Divide each row by its own sum.

- .clamp(min=1)
  Rows of words that were never written are 0 / 0. They should be 0: divide by at least 1.
""",
)
