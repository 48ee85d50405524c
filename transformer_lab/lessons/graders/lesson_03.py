"""Checks of lesson 03, Many heads."""

from __future__ import annotations

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader, idle, random
from transformer_lab.lessons.solutions import lesson_03 as solutions

SPLIT = Grader(
    reference=solutions.split_heads,
    # Sizes of all axes differ wherever possible, so that swapped axes are detected.
    cases=lambda: [
        Case("one text of 5 words, 12 numbers each, 3 heads", (random(1, 1, 5, 12), 3)),
        Case("2 texts of 4 words, 8 numbers each, 2 heads", (random(2, 2, 4, 8), 2)),
        Case("a single head", (random(3, 2, 3, 6), 1)),
        Case("as many heads as numbers", (random(4, 2, 3, 4), 4)),
    ],
    shape_hint="`[batch, head, position, d_head]`, where d_head is d_model / n_heads",
    mistakes="""
= x.reshape(x.shape[0], n_heads, x.shape[1], -1)
  The shape is right, but a plain `view` or `reshape` to it reads the numbers in a row, so that
  pieces of one word end up at several positions. First split the last axis in two, then swap two
  axes.

- .transpose(1, 2)
  The split is right, but the axes are not in order yet. Yours are `[batch, position, head,
  d_head]`: swap the two in the middle.

- (n_heads, d_head)).transpose(1, 2)
+ (d_head, n_heads)).permute(0, 3, 1, 2)
  Each head got every n-th number. A head takes d_head numbers that are side by side: the first
  head takes the first ones.

= right(x, n_heads).transpose(-2, -1)
  Position and d_head are swapped: swap axes 1 and 2 of `[batch, position, head, d_head]`, and no
  others.

- (n_heads, d_head)
+ (d_head, n_heads)
  You split the last axis into d_head pieces of n_heads numbers. It should be n_heads pieces of
  d_head numbers.

= x[:, None].expand(-1, n_heads, -1, -1)
  Every head got all of the numbers. Divide them among the heads: each gets d_model / n_heads.

= x.unflatten(1, (n_heads, -1)) if x.shape[1] % n_heads == 0 else x
  You divided the words among the heads. Every head gets every word, but only d_head of its
  numbers: split the last axis.
""",
)


# Now part of multi_head_attention.
MERGE = Grader(
    reference=solutions.merge_heads,
    retired=True,
    cases=lambda: [
        Case("one text of 5 words with 3 heads of 4 numbers", (random(11, 1, 3, 5, 4),)),
        Case("2 texts of 4 words with 2 heads of 3 numbers", (random(12, 2, 2, 4, 3),)),
        Case("a single head", (random(13, 2, 1, 3, 6),)),
    ],
    shape_hint="`[batch, position, head · d_head]`",
    mistakes="""
= z.reshape(z.shape[0], z.shape[2], -1)
  The shape is right, but the numbers of different words are mixed: a plain `view` or `reshape`
  reads them in a row. Swap head and position first, then join.

= z.permute(0, 2, 3, 1).flatten(2)
  The heads' numbers alternate. They should follow one another: all of head 0, then all of head 1.

= z.mean(1)
  You averaged the heads, so what they found can no longer be told apart. Put them side by side.

= z.sum(1)
  You added the heads up, so what they found can no longer be told apart. Put them side by side.

- .flatten(2)
  Head and position are in the right order, but the last two axes still have to be joined into
  one.
""",
)


def _whole_case(name: str, seed: int, sizes: tuple[int, int, int, int], padded: list[int]) -> Case:
    """A case. sizes: texts, words, d_model, heads. padded: number of padding words at the end of
    each text."""
    batch, length, d, n_heads = sizes
    weights = (
        0.5 * random(seed, 3 * d, d),
        random(seed + 1, 3 * d),
        0.5 * random(seed + 2, d, d),
        random(seed + 3, d),
    )
    real = length - torch.tensor(padded)[:, None]
    padding = torch.arange(length) >= real
    weights[1][:d] = 0  # no bias of the queries
    return Case(name, (idle(random(seed + 4, batch, length, d)), *weights, n_heads, padding))


WHOLE = Grader(
    reference=solutions.multi_head_attention,
    # Sizes of all axes differ, so that swapped axes are detected.
    cases=lambda: [
        _whole_case("2 texts of 5 words, 12 numbers each, 3 heads", 10, (2, 5, 12, 3), [0, 0]),
        _whole_case("3 texts, two of them padded, 2 heads", 20, (3, 4, 8, 2), [0, 1, 2]),
        _whole_case("a single head", 30, (1, 3, 4, 1), [1]),
        _whole_case("as many heads as numbers", 40, (2, 3, 4, 4), [0, 1]),
    ],
    shape_hint="the shape of `x`, unchanged",
    mistakes="""
# in
- + in_bias
  `in_bias` is not added to the result of `in_weight`.

# thirds
- query, key, value = projected
+ key, query, value = projected
  Queries and keys have changed places: the first third of `in_weight` computes the queries.

- query, key, value = projected
+ value, key, query = projected
  The thirds are in the wrong order: queries come first, then keys, then values.

- projected.chunk(3, dim=-1)
+ projected.unflatten(-1, (n_heads, 3, -1)).permute(3, 0, 1, 2, 4).flatten(3)
  You cut into heads first and each head into three. (Some models store them like this.) Here the
  first third holds the queries of *all* heads: cut in three first, then into heads.

- projected.chunk(3, dim=-1)
+ projected.unflatten(-1, (-1, 3)).unbind(-1)
  You took every third number. The queries are the first third, all side by side.

# split
- split_heads(part, n_heads)
+ part.reshape(len(x), n_heads, x.shape[1], -1)
  With a plain `view` or `reshape`, pieces of one word end up at several positions. Use
  `split_heads`.

- split_heads(part, n_heads)
+ part.unflatten(-1, (-1, n_heads)).permute(0, 3, 1, 2)
  Each head got every n-th number. Use `split_heads`.

# scale
- scores / math.sqrt(query.shape[-1])
+ scores
  The scores are not scaled: divide by √d_head.

- math.sqrt(query.shape[-1])
+ query.shape[-1]
  You divided by d_head. The formula divides by its square root.

- query.shape[-1]
+ x.shape[-1]
  You divided by √d_model. Each head's query has d_head numbers, so it is √d_head.

# mask
- padding[:, None, None]
+ torch.zeros_like(padding)[:, None, None]
  `padding` is not used: words attend to the padding.

- padding[:, None, None]
+ (scores * ~padding[:, None, None] == 0)
  A real score may be 0, too, and you hide it. Hide what the mask says, not every 0.

- padding[
+ ~padding[
  The mask is the wrong way round: True in `padding` marks padding, and no word may attend to it.

- padding[:, None, None]
+ padding[:, None, :, None]
  You hid the *rows* of the padding, so whole rows are −∞. Hide the keys instead: `padding`
  belongs to the last axis of the scores.

- padding[:, None, None]
+ torch.zeros_like(padding)[:, None, None]
- mixed =
+ weights = weights.masked_fill(padding[:, None, None], 0.0)
+ mixed =
  You masked the weights after the softmax, so they no longer sum to 1. Mask the scores.

# fill
- -math.inf
+ 0.0
  A hidden score of 0 still gets a weight. Set it to −∞.

# softmax
- (scores, dim=-1)
+ (scores, dim=-2)
  Your weights sum to 1 along the wrong axis, over the queries. The keys are the last axis.

- (scores, dim=-1)
+ (scores, dim=1)
  Your weights sum to 1 over the heads. Each head has one unit of attention: `dim=-1`.

# merge
- (weights @ value).transpose(1, 2).flatten(2)
+ (weights @ value).reshape(*x.shape)
  You merged the heads with a plain `view` or `reshape`, which mixes words. Swap head and position
  first, then join.

- (weights @ value).transpose(1, 2).flatten(2)
+ (weights @ value).permute(0, 2, 3, 1).flatten(2)
  The heads' numbers alternate. All of head 0 should come first: swap head and position,
  then join.

# out
- mixed @ out_weight.T + out_bias
+ mixed
  The last step is missing: mix what the heads found with `out_weight`.

- out_weight.T
+ out_weight
  `out_weight` is the other way round: PyTorch stores [out, in], so use `mixed @ out_weight.T`.

# out bias
- + out_bias
  `out_bias` is not added.
""",
)


def _whole(seed: int, *shape: int) -> Tensor:
    """Draw whole numbers, whose products are exact in any floating-point type."""
    drawn = torch.randint(-6, 7, shape, generator=torch.Generator().manual_seed(seed))
    return drawn.float()


def _maps(seed: int, d_model: int, d: int, d_value: int) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(random(seed + i, d_model, n) for i, n in enumerate((d, d, d_value)))  # type: ignore


# Sizes of all axes differ, so that a swapped axis is detected. No mask is symmetric.
def _masked_cases() -> list[Case]:
    before = torch.ones(5, 5, dtype=torch.bool).tril()
    filled = torch.ones(2, 4, 4, dtype=torch.bool)
    filled[1, :, 3] = filled[0, 0, 1] = False
    lost = before[:4, :4].clone()
    lost[2], lost[0, 3] = False, True
    large = tuple(_whole(40 + i, 4, n) for i, n in enumerate((4, 4, 3)))
    return [
        Case(
            "five words that attend to themselves and to earlier words",
            (random(10, 5, 6), *_maps(11, 6, 4, 3), before),
        ),
        Case(
            "two sentences, the second with one word of padding",
            (idle(random(20, 2, 4, 5)), *_maps(21, 5, 3, 2), filled),
        ),
        Case("a word that may attend to nothing", (random(30, 4, 6), *_maps(31, 6, 4, 3), lost)),
        Case("scores of a thousand and more", (_whole(43, 5, 4), *large, before)),
    ]


MASKED = Grader(
    reference=solutions.masked_attention,
    cases=_masked_cases,
    shape_hint="one row for each word, as wide as `x @ W_V`",
    mistakes="""
# project
- x @ W_K
+ x @ W_Q
  Queries and keys come from one matrix. The keys have their own: `W_K`.

- query @ key.transpose
+ key @ query.transpose
  Query and key have changed places: a row belongs to the word that attends, and its query is a
  row of `x @ W_Q`.

# values
- x @ W_V
+ x @ W_K
  You made the values with `W_K`; they have a matrix of their own, `W_V`.

- x @ W_V
+ x
  You mixed the embeddings themselves. Mix the values, `x @ W_V`.

# scale
- / math.sqrt(query.shape[-1])
  The scores are not scaled: divide by √d, where d is the length of a query.

- math.sqrt(query.shape[-1])
+ query.shape[-1]
  You divided by d. The formula divides by its square root.

- query.shape[-1]
+ x.shape[-1]
  You divided by the square root of the size of an *embedding*. Use the size of a *query*: the
  last axis of `x @ W_Q`.

# mask
- ~may_look
+ may_look
  The mask is the wrong way round: True in `may_look` means that this query **may** attend to this
  key. Hide the scores where it is False (`~may_look`).

- ~may_look
+ torch.zeros_like(may_look)
  `may_look` is not used: nothing is hidden.

- ~may_look
+ (scores * may_look == 0)
  A real score may be 0, too, and you hide it. Hide what the mask says, not every 0.

- ~may_look
+ torch.ones_like(may_look).triu(1)
  You always hide what comes later. Any mask is possible here: use `may_look`.

- ~may_look
+ ~may_look.mT
  Rows and columns of `may_look` are exchanged. It has the same axes as the scores: row = query.

- ~may_look
+ torch.zeros_like(may_look)
- return
+ weights = weights.masked_fill(~may_look, 0.0)
+ return
  You masked the weights after the softmax, so they no longer sum to 1. Mask the scores.

# fill
- , -math.inf
+ , 0.0
  A hidden score of 0 still gets a weight, because `exp(0)` = 1. Set it to −∞.

# softmax
- amax(dim=-1
+ amax(dim=-2
- sum(dim=-1
+ sum(dim=-2
  Your weights sum to 1 along the wrong axis: take the softmax over the keys, `dim=-1`.

# largest
- (scores - largest.masked_fill(nowhere, 0.0)).exp()
+ scores.exp()
  `exp` of a large score is infinite, and ∞/∞ is NaN. Before `exp`, subtract the largest score of
  the row from every score in it: the weights stay the same.

- scores = scores.masked_fill
+ raw = scores
+ scores = scores.masked_fill
- largest.masked_fill(nowhere, 0.0)
+ raw.amax(dim=-1, keepdim=True)
  You took the largest score of the row before the mask. If that score is hidden, the others may
  be so far below it that every `exp` is 0. Mask first.

- largest.masked_fill(nowhere, 0.0)
+ scores.amax()
  You subtracted the largest score of the whole table. In a row far below it, every `exp` is 0.
  Use the largest score of each row: `amax(dim=-1, keepdim=True)`.

# divide
- exponentials / total.masked_fill(nowhere, 1.0)
+ exponentials
  You took `exp` but did not divide by the sum of each row.

# nowhere
- total.masked_fill(nowhere, 1.0)
+ total
  The row of the word that may attend to nothing is NaN: −∞ − (−∞), or 0/0. Its weights should all
  be 0, and so should its output.

- exponentials / total.masked_fill(nowhere, 1.0)
+ (exponentials / total).masked_fill(nowhere, 1 / scores.shape[-1])
  The word that may attend to nothing attends to everything evenly, hidden words too. (This
  happens with a large negative number in place of −∞.) Its weights should all be 0.

- return weights @ value
+ return torch.where(may_look.any(-1, keepdim=True), weights @ value, value)
  The word that may attend to nothing gets its own value. It should get nothing: its output is 0.

# mix
- weights @ value
+ weights
  These are the weights. The last step is missing: mix the values with them.
""",
)
