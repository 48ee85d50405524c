"""Checks of lesson 26, Long context."""

from __future__ import annotations

from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.solutions import lesson_26 as solutions

WINDOW = Grader(
    reference=solutions.window_mask,
    cases=lambda: [
        Case("9 tokens and a window of 3", (9, 3, 0)),
        Case("8 tokens, a window of 2, and the first 3", (8, 2, 3)),
        Case("12 tokens, a window of 4, and the first token", (12, 4, 1)),
        Case("5 tokens and a window of 7, which hides nothing", (5, 7, 0)),
    ],
    shape_hint="True or False for each query and key: `[query, key]`, that is `[length, length]`",
    mistakes="""
# width
- query - key < window
+ query - key <= window
  Your window is one token too wide. It holds the query itself and the `window − 1` tokens before it.

- query - key < window
+ query - key < window - 1
  Your window is one token too narrow. It holds the query itself and the `window − 1` tokens before it.

# direction
- (key <= query) &
+
  Your queries attend to later tokens: those are at a negative distance, which is below `window`. Ask
  for `key <= query`, too.

- (key <= query)
+ (key < query)
  A query must be able to attend to itself.

# first
- (near | (key < first))
+ near
  `first` is not used. The first tokens stay visible to every query, however far away.

- (near | (key < first))
+ (near & (key >= first))
  You hid the first tokens. They are the ones that stay visible to every query.

- key < first
+ key <= first
  You kept one token too many at the beginning: `first` of them have positions 0 to `first − 1`.

- (near | (key < first))
+ (near | (query < first))
  You let the first *queries* attend far. It is the first *keys* that stay visible.

- (key <= query) & (near | (key < first))
+ ((key <= query) & near) | (key < first)
  Your first tokens can be attended to by queries before them. The causal mask holds for them, too.

#
- return (key <= query) & (near | (key < first))
+ return ((key <= query) & (near | (key < first))).T
  Rows and columns are exchanged: a row is a query.

- return (key <= query) & (near | (key < first))
+ return ~((key <= query) & (near | (key < first)))
  Your mask is True where a key is hidden. Here True means that the query may attend.
""",
)

ANGLES = Grader(
    reference=solutions.rotary_angles,
    cases=lambda: [
        Case("6 positions, 8 numbers, nothing scaled", (6, 8, 10000.0, 1.0)),
        Case("9 positions squeezed by 4", (9, 6, 10000.0, 4.0)),
        Case("20 positions with a base of 1,000,000", (20, 10, 1000000.0, 1.0)),
        Case("5 positions, both at once", (5, 4, 500.0, 2.5)),
    ],
    shape_hint="one angle for each position and pair: `[length, d_head / 2]`",
    mistakes="""
# factor
- torch.arange(length)[:, None] / factor
+ torch.arange(length)[:, None]
  `factor` is not used: divide the positions by it.

- torch.arange(length)[:, None] / factor
+ torch.arange(length)[:, None] * factor
  You stretched the positions. Divide by the factor, so that far positions come near.

- torch.arange(length)[:, None] / factor
+ torch.arange(length)[:, None] // factor
  You rounded the positions down, so neighbours share one. Divide without rounding: 3 / 4 is 0.75.

- base **
+ (base * factor) **
  You multiplied the base by the factor, too. The factor divides positions and nothing else.

# base
- base **
+ 10000 **
  `base` is not used: the base is not always 10,000.

- position / base
+ position * base
  You multiplied by base^(2i/d). The formula divides: later pairs turn more slowly.

# speed
- even / d_head
+ even / 2 / d_head
  The exponent is 2i/d: for the pairs i = 0, 1, 2, … it is 0/d, 2/d, 4/d, … Yours goes half as far.

- even / d_head
+ 2 * even / d_head
  The exponent is doubled twice: `arange(0, d, 2)` is 2i already.

- even / d_head
+ even / even[-1].clamp(min=1)
  Your last pair has the exponent 1. The exponent is 2i/d, so that of the last pair is (d − 2)/d.

#
- torch.arange(length)
+ torch.arange(1, length + 1)
  Your positions begin at 1. The first position is 0, and all of its angles are 0.

- torch.arange(0, d_head, 2)
+ torch.arange(0, d_head, 2).repeat_interleave(2)
  You gave an angle to each number. Each *pair* has one: [length, d_head / 2].

- return position / base ** (even / d_head)
+ return (position / base ** (even / d_head)) % (2 * torch.pi)
  You took the angles modulo 2π. Their sines are the same, but return the angles themselves.

- return position / base ** (even / d_head)
+ return torch.rad2deg(position / base ** (even / d_head))
  Your angles are in degrees. Leave them in radians.
""",
)
