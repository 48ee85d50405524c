"""Checks of lesson 04, The block."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader, random
from transformer_lab.lessons.solutions import lesson_04 as solutions


# A gain far from 1, a bias far from 0, and rows of different size and mean, to detect a missing
# step.
def _norm_cases() -> list[Case]:
    rows = 3 * random(1, 2, 4, 6) + 5 * random(2, 2, 4, 1)
    gain, bias = 1 + random(3, 6).abs(), random(4, 6)
    tiny = 1e-3 * random(5, 3, 8)
    return [
        Case("2 texts of 4 words, 6 numbers each", (rows, gain, bias)),
        Case("words of very small numbers", (tiny, torch.full((8,), 1.7), torch.full((8,), 0.3))),
        Case("a word whose numbers are all equal", (torch.full((1, 5), 2.5), gain[:5], bias[:5])),
    ]


NORM = Grader(
    reference=solutions.layer_norm,
    cases=_norm_cases,
    shape_hint="the shape of `x`, unchanged",
    mistakes="""
- x.mean(dim=-1, keepdim=True)
+ x.mean(dim=-2, keepdim=True)
- 2).mean(dim=-1, keepdim=True)
+ 2).mean(dim=-2, keepdim=True)
  You took mean and variance over the words. Normalise every word by itself, over its own numbers:
  the last axis.

- x.mean(dim=-1, keepdim=True)
+ x.mean(dim=0, keepdim=True)
- 2).mean(dim=-1, keepdim=True)
+ 2).mean(dim=0, keepdim=True)
  You took mean and variance over the first axis, which counts texts or words. That is batch norm;
  layer norm uses the numbers of one word: the last axis.

- x.mean(dim=-1, keepdim=True)
+ x.mean()
- 2).mean(dim=-1, keepdim=True)
+ 2).mean()
  You took one mean and one variance of everything. Each word needs its own: `dim=-1,
  keepdim=True`.

- x.mean(dim=-1, keepdim=True)
+ 0.0
  The mean is not subtracted. (Dividing by the root of the mean square alone is called RMSNorm,
  and works as well. Here it should be LayerNorm.)

- / (variance + eps) ** 0.5
  The mean is subtracted, but the numbers are not divided by their spread.

- ** 0.5
  You divided by the variance. Divide by its square root.

- (variance + eps) ** 0.5
+ (variance**0.5 + eps)
  `eps` belongs under the root, with the variance. It matters for words whose numbers are nearly
  equal.

- + eps
  `eps` is missing: a word whose numbers are all equal has variance 0, and 0/0 is NaN.

- ((x - mean) ** 2).mean(dim=-1, keepdim=True)
+ x.var(dim=-1, keepdim=True)
  Your variance divides by n − 1, as `.var()` and `.std()` do by default. LayerNorm divides by n:
  `correction=0`.

- gain * (x - mean)
+ (x - mean)
  The result is not multiplied by `gain`.

- + bias
  `bias` is not added.

- gain * (x - mean)
+ (x - mean)
- + bias
  `gain` and `bias` are missing: multiply, then add.

- gain * (x - mean) / (variance + eps) ** 0.5 + bias
+ gain * ((x - mean) / (variance + eps) ** 0.5 + bias)
  You added `bias` before multiplying by `gain`. It is the other way round.
""",
)


# Four different functions that do not commute, so that any wrong order is detected.
def _attention(x: Tensor) -> Tensor:
    return x.flip(-2) * 0.5 + 1.0


def _feed_forward(x: Tensor) -> Tensor:
    return torch.relu(x) * 1.5 - 0.25


def _norm_a(x: Tensor) -> Tensor:
    return torch.tanh(x)


def _norm_b(x: Tensor) -> Tensor:
    return x / (1.0 + x.abs())


def _block_cases() -> list[Case]:
    parts = (_attention, _feed_forward, _norm_a, _norm_b)
    return [
        Case("norm_first=True (pre-norm)", (random(11, 2, 4, 6), *parts, True)),
        Case("norm_first=False (post-norm)", (random(12, 2, 4, 6), *parts, False)),
        Case("one text, norm_first=True", (random(13, 1, 3, 5), *parts, True)),
    ]


BLOCK = Grader(
    reference=solutions.block,
    cases=_block_cases,
    shape_hint="the shape of `x`, unchanged",
    mistakes="""
- if norm_first
+ if False
  With `norm_first=True` you computed post-norm, `norm(x + f(x))`. It should be pre-norm, `x +
  f(norm(x))`: is the switch the wrong way round, or not used?

- if norm_first
+ if True
  With `norm_first=False` you computed pre-norm, `x + f(norm(x))`. It should be post-norm, `norm(x
  + f(x))`: is the switch the wrong way round, or not used?

- x = x + attention(norm1(x))
+ x = attention(norm1(x))
- x + feed_forward(norm2(x))
+ feed_forward(norm2(x))
- x + attention(x)
+ attention(x)
- x + feed_forward(x)
+ feed_forward(x)
  Nothing is added to `x`: the residual connections are missing. Each part should add its result
  to the stream.

- x + feed_forward(norm2(x))
+ feed_forward(norm2(x))
- x + feed_forward(x)
+ feed_forward(x)
  The result of the feed-forward part replaces the stream. Add it to the stream.

- if norm_first:
+ start = x
+ if norm_first:
- x + feed_forward(norm2(x))
+ start + feed_forward(norm2(x))
- x + feed_forward(x)
+ start + feed_forward(x)
  The second sum starts from the block's input, so the result of attention is lost. Add the result
  of the feed-forward part to the stream *after* attention.

- if norm_first:
+ start = x
+ if norm_first:
- feed_forward(norm2(x))
+ feed_forward(norm2(start))
- feed_forward(x)
+ feed_forward(start)
  Attention and feed-forward both read the block's input. Here the feed-forward part should read
  the stream after attention. (Some models do run both in parallel.)

- x = x + attention(norm1(x))
+ x = norm1(x) + attention(norm1(x))
- x + feed_forward(norm2(x))
+ norm2(x) + feed_forward(norm2(x))
  You added to the *normalised* stream. In pre-norm the stream itself is never normalised:
  normalise only what goes into the part.

- norm1(x + attention(x))
+ x + norm1(attention(x))
- norm2(x + feed_forward(x))
+ x + norm2(feed_forward(x))
  With `norm_first=False`, take the norm of the sum, `norm(x + f(x))`. You took it of `f(x)`
  alone.

= right(x, attention, feed_forward, norm1, norm1, norm_first)
  `norm2` is not used: each part has its own norm.

= right(x, attention, feed_forward, norm2, norm1, norm_first)
  `norm1` belongs to attention, `norm2` to the feed-forward part.

= right(x, feed_forward, attention, norm1, norm2, norm_first)
  Attention comes first, then the feed-forward part.
""",
)


# Four functions per layer that do not commute, no two alike, so that any wrong order is detected.
def _layer(i: int) -> tuple[Any, ...]:
    return (
        lambda x: x.flip(-2) * (0.5 + 0.25 * i) + 1.0 - i,
        lambda x: torch.relu(x + 0.125 * i) * 1.5 - 0.25,
        lambda x: torch.tanh(x * (1 + 0.5 * i)),
        lambda x: x / (1.0 + i + x.abs()),
    )


def _layers(n: int) -> list[tuple[Any, ...]]:
    return [_layer(i) for i in range(n)]


def _stream_cases() -> list[Case]:
    late = [(1, "mlp")]
    two = [(0, "attention"), (2, "mlp")]
    return [
        Case("two pre-norm blocks", (random(1, 2, 3, 4), _layers(2), True, [])),
        Case("three post-norm blocks", (random(2, 1, 4, 3), _layers(3), False, [])),
        Case("pre-norm, block 1 without its mlp", (random(3, 2, 3, 4), _layers(3), True, late)),
        Case("post-norm, two parts left out", (random(4, 1, 3, 5), _layers(3), False, two)),
    ]


STREAM = Grader(
    reference=solutions.residual_stream,
    cases=_stream_cases,
    shape_hint="`[layer + 1, …]`: the shape of `x`, once before the first block and once after each",
    mistakes="""
# kept
- stream = [x]
+ stream = []
  The stream before the first block is missing: it is row 0, so there is one more row than there
  are blocks.

- stream.append(x)
+     if name == parts[0][0]:
+         stream.append(x)
+ stream.append(x)
  You stored the stream after every *part*. Store it once a block, after both parts.

# end
- torch.stack(stream)
+ x
  This is the stream after the last block. Store it after every block.

- torch.stack(stream)
+ torch.stack([stream[0], *(b - a for a, b in zip(stream, stream[1:], strict=False))])
  These are the *changes* from row to row. Return the stream itself.

- torch.stack(stream)
+ torch.cat(stream)
  You joined the streams along their first axis. `torch.stack` makes a new axis for the layers.

- torch.stack(stream)
+ torch.stack([x if norm_first else row for row in stream])
  All rows are the same: `+=` writes into the tensor that you have already stored. Write `x = x +
  …`, which makes a new one.

# switch
- for i,
+ norm_first = True
+ for i,
  With `norm_first=False` you computed pre-norm. It should be `norm(x + f(x))`: is the switch the
  wrong way round, or not used?

- for i,
+ norm_first = False
+ for i,
  With `norm_first=True` you computed post-norm. It should be `x + f(norm(x))`: is the switch the
  wrong way round, or not used?

# norms
- norm2)]
+ norm1)]
  `norm2` is not used: it belongs to the feed-forward part.

- norm1),
+ norm2),
- norm2)]
+ norm1)]
  `norm1` belongs to attention, `norm2` to the feed-forward part.

# order
- ("attention", attention,
+ ("mlp", feed_forward,
- ("mlp", feed_forward,
+ ("attention", attention,
  Attention comes first, then the feed-forward part.

- for name, part
+ entered = x
+ for name, part
- part(norm(x) if norm_first else x)
+ part(norm(entered) if norm_first else entered)
  Both parts read the block's input. The feed-forward part should read the stream *after*
  attention.

- parts =
+ x = stream[0]
+ parts =
  Every block starts again from the first stream. It should continue from the result of the block
  before it.

# sum
- x = x + added if norm_first else norm(x + added)
+ x = added if norm_first else norm(added)
  Nothing is added to the stream: each part should add its result to it.

# skip
- (i, name) in skipped
+ False
  `skipped` is not used: nothing is left out.

- (i, name) in skipped
+ i in [layer for layer, _ in skipped]
  You left both parts of the block out. `(1, "mlp")` names only one of them.

- (i, name) in skipped
+ name in [part for _, part in skipped]
  You left the part out of every block. `(1, "mlp")` means block 1 alone.

- (i, name)
+ (i + 1, name)
  You count blocks from 1 in `skipped`. The first one is 0.

# how
- added = torch.zeros_like(added)
+ continue
  Where you leave out a part in post-norm, you also leave out the norm after it. The part adds
  nothing, but the sum, which is then just the stream, is still normalised.

- added = torch.zeros_like(added)
+ x = added = torch.zeros_like(added)
  Where you leave out a part, you lose the stream as well. Only what the part *adds* should be 0.
""",
)
