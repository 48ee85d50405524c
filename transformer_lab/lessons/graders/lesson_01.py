"""Checks of lesson 01, Attention by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader, idle, random
from transformer_lab.lessons.solutions import lesson_01 as solutions


# Numbers of words, d_head and batch all differ, so that a swapped axis is detected.
def _attention_cases() -> list[Case]:
    small = tuple(1.5 * random(i, 5, 4) for i in (1, 2)) + (random(3, 5, 2),)
    wide = tuple(1.5 * random(i, 3, 16) for i in (4, 5, 6))
    longer_keys = (1.5 * random(7, 3, 8), 1.5 * random(8, 6, 8), random(9, 6, 8))
    batch = tuple(1.5 * random(i, 2, 3, 5, 8) for i in (10, 11, 12))
    return [
        Case("five words with d_head = 4", small),
        Case("three words with d_head = 16", wide),
        Case("three queries and six keys", longer_keys),
        Case("a batch of 2 sentences with 3 heads each", batch),
    ]


ATTENTION = Grader(
    reference=solutions.attention,
    cases=_attention_cases,
    shape_hint="one row for each query, as wide as the rows of `value`",
    mistakes="""
- dim=-1
+ dim=-2
  Your weights sum to 1 along the wrong axis: you normalised over the queries. Each query divides
  one unit of attention among the keys. Which axis of `scores` counts the keys?

- scores / math.sqrt(query.shape[-1])
+ scores
  The scores are not scaled: nothing is divided by `√d_head` before the softmax.

- math.sqrt(query.shape[-1])
+ query.shape[-1]
  You divided the scores by `d_head`. The formula divides by its square root.

- scores / math.sqrt
+ scores * math.sqrt
  You multiplied the scores by `√d_head`. The formula divides by it.

- query.shape[-1]
+ key.shape[-2]
  You divided by the square root of the number of words. `d_head` is how many numbers one word's
  query has: the last axis.

- math.sqrt(query.shape[-1])
+ 2
  You always divide by 2. That is `√d_head` only when `d_head` is 4, as in our sentence: read
  `d_head` off the query.

- scores = scores / math.sqrt(query.shape[-1])
+
- return weights @ value
+ return weights / math.sqrt(query.shape[-1]) @ value
  You scaled the weights after the softmax, so they no longer sum to 1. The scores are scaled
  before it.

= right(key, query, value)
  Query and key are swapped: `key @ queryᵀ` has a row for each key. A row belongs to the word that
  attends, so the query comes first.

- weights @ value
+ weights @ key
  You mixed the keys. The weights come from the keys, but they multiply the values.

- weights @ value
+ weights
  These are the weights. The last step is missing: use them to mix the values.

- return weights @ value
+ return scores
  These are the scaled scores. Two steps are missing: the softmax, and mixing the values.

- torch.softmax(scores, dim=-1)
+ scores
  The scores mix the values without a softmax, so some weights are negative and the rows do not
  sum to 1.

- torch.softmax(scores, dim=-1)
+ scores.exp()
  You took `exp` but did not divide by each row's sum, so the weights do not sum to 1.

- torch.softmax(scores, dim=-1)
+ scores / scores.sum(dim=-1, keepdim=True)
  You divided the scores by their sum. Softmax takes `exp` first; without it negative scores give
  negative weights.

- torch.softmax(scores, dim=-1)
+ torch.softmax(causal(scores), dim=-1)
  You also hid the later words. This function lets every query attend to every key; the mask is
  the next exercise.
""",
    values=(2.5, 3, 3.5),
    variant="""
- scores = scores / math.sqrt(query.shape[-1])
+ scores = scores / math.sqrt(query.shape[-1])
+ scores = DRAWN * torch.tanh(scores / DRAWN)
  Cap the scores softly, so that none is beyond ±DRAWN, as Gemma 2 does: after the scores are divided by
  √d, replace each score s by DRAWN · tanh(s / DRAWN). The softmax comes after that.

- scores = DRAWN * torch.tanh(scores / DRAWN)
+ scores = scores.clamp(-DRAWN, DRAWN)
  You cut the scores off at ±DRAWN. The cap is soft: DRAWN · tanh(s / DRAWN) also moves scores below it.

- scores = scores / math.sqrt(query.shape[-1])
- scores = DRAWN * torch.tanh(scores / DRAWN)
+ scores = DRAWN * torch.tanh(scores / DRAWN)
+ scores = scores / math.sqrt(query.shape[-1])
  You capped the scores before you scaled them. Divide by √d first.

- DRAWN * torch
+ torch
  You did not multiply by the cap: tanh alone keeps every score below 1.

- tanh(scores / DRAWN)
+ tanh(scores)
  You did not divide by the cap inside tanh, so scores far below it are changed too.
""",
)


def _weights(scores: Tensor) -> Tensor:
    return torch.softmax(scores, dim=-1)


CAUSAL = Grader(
    reference=solutions.causal,
    cases=lambda: [
        Case("scores of nine words", (random(20, 9, 9),)),
        Case("scores of three words, some of them 0", (idle(random(21, 3, 3)),)),
        Case("scores of a batch, [2, 3, 4, 4]", (random(22, 2, 3, 4, 4),)),
    ],
    compare_as=_weights,
    shape_hint="the shape of `scores`, unchanged",
    mistakes="""
- pairs.triu(1)
+ ~pairs.triu()
  The mask is inverted: each word attends to itself and the words after it. Hide what is above the
  diagonal, and keep what is below.

- pairs.triu(1)
+ ~pairs.triu(1)
  The mask is inverted: you hid the word itself and the words before it, and the last word attends
  to nothing at all. Hide what is above the diagonal.

- triu(1)
+ triu(0)
  You hid the diagonal as well: no word attends to itself, and the first word attends to nothing,
  so its softmax is NaN. Start one step to the right of the diagonal.

- triu(1)
+ triu(2)
  Each word still sees one word of the future. Hide everything to the right of the diagonal,
  starting right next to it.

- -math.inf
+ 0.0
  You set the future to 0, but `exp(0)` = 1 is a weight like any other. Which score has
  `exp(score)` = 0?

- -math.inf
+ math.inf
  You set the future to +∞, so all attention goes there. The sign is wrong.

- -math.inf
+ -1.0
  You set the future to −1, which still gets a weight. Which score has `exp(score)` = 0?

- pairs.triu(1)
+ (scores.tril() == 0)
  A real score may be 0, too, and you hide it. Hide what the mask says, not every 0.

= torch.softmax(right(scores), dim=-1)
  You returned weights. Return masked scores: the softmax comes after the mask.

= torch.softmax(scores, dim=-1).tril()
  You took the softmax first and cut the weights afterwards, so that the rows no longer sum to 1.
  Mask the scores, and leave the softmax to the next step.

= scores
  Nothing is hidden: the scores are unchanged. (`masked_fill` returns a new tensor; did you return
  the old one?)
""",
    values=(2, 4, 6),
    variant="""
- pairs.triu(1)
+ pairs.triu(1) | pairs.tril(-DRAWN - 1)
  Hide what is long past too (a sliding window): a word may attend to itself and to the DRAWN words
  right before it, and to nothing else.

- pairs.triu(1) | pairs
+ pairs
  You hid the far past, but not the future: each word attends to all words after it.

- pairs.tril(-DRAWN - 1)
+ pairs.tril(-DRAWN)
  Your window is one word too narrow: DRAWN words *before* the word itself stay visible.

- pairs.tril(-DRAWN - 1)
+ pairs.tril(-DRAWN - 2)
  Your window is one word too wide: it has DRAWN words besides the word itself.

- pairs.tril(-DRAWN - 1)
+ pairs.tril(-1).triu(-DRAWN)
  Your window is inverted: you hid the words right before the word, and kept those that are farther
  away.
""",
)
