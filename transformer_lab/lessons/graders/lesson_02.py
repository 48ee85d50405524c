"""Checks of lesson 02, Positions."""

from __future__ import annotations

from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.solutions import lesson_02 as solutions

SINUSOIDS = Grader(
    reference=solutions.sinusoids,
    cases=lambda: [
        Case("5 positions, 8 numbers each", (5, 8)),
        Case("50 positions, 16 numbers each", (50, 16)),
        Case("one position", (1, 6)),
    ],
    shape_hint="`[position, number]`, that is `[length, d_model]`",
    mistakes="""
- table[:, 0::2] =
+ table[:, : d_model // 2] =
- table[:, 1::2] =
+ table[:, d_model // 2 :] =
  All sines come first, then all cosines. Some models do this (Marian), but the paper's formula
  alternates: sine at 0, 2, 4, …, cosine at 1, 3, 5, …

- torch.sin(
+ torch.cos(
- torch.cos(
+ torch.sin(
  Sine and cosine are swapped: the even numbers hold the sine.

- torch.arange(length)
+ torch.arange(1, length + 1)
  Your positions begin at 1. The first position is 0: its sines are 0, its cosines 1.

- position / 10000 ** (even / d_model)
+ position / 10000 ** (torch.arange(d_model) / d_model)
- torch.sin(angle)
+ torch.sin(angle[:, 0::2])
- torch.cos(angle)
+ torch.cos(angle[:, 1::2])
  Each number has an angle of its own. Two neighbours, 2i and 2i + 1, share one: they are the sine
  and the cosine of the same angle.

- even / d_model
+ even / 2 / d_model
  The exponent is 2i/d: for the pairs i = 0, 1, 2, … it goes 0/d, 2/d, 4/d, … Yours goes half as
  far.

# speed
- even / d_model
+ 2 * even / d_model
  The exponent is doubled twice: `arange(0, d, 2)` is 2i already.

#
- position / 10000
+ position * 10000
  You multiplied by 10000^(2i/d). The formula divides: later numbers turn more slowly.

- position / 10000 ** (even / d_model)
+ position.expand(-1, len(even))
  All pairs turn at the same speed. The angle of pair i is the position divided by 10000^(2i/d).

# speed
- 10000
+ 1000
  The base is 10000, not 1000.

#
- torch.sin(angle)
+ torch.sin(torch.deg2rad(angle))
- torch.cos(angle)
+ torch.cos(torch.deg2rad(angle))
  The angles are in radians already: do not convert them.

- torch.cos(
+ torch.sin(
  All numbers are sines. The odd ones should be the *cosine* of the angle.

- return table
+ return table.T
  Rows and columns are swapped: a row is a position.
""",
    values=(100, 500, 2000),
    variant="""
- 10000
+ DRAWN
- even / d_model
+ even / (d_model - 2)
  Let the hands cover another range. The first one still turns by one radian a position, but the last
  one by exactly 1/DRAWN radian; from each hand to the next, the speed falls by the same factor.
  (`d_model` is 4 or more.)

- even / (d_model - 2)
+ even / d_model
  Your last hand is too fast: 2i/d never reaches 1. Which exponent is 0 for the first pair and 1 for
  the last one?

- DRAWN
+ 10000
  The last hand turns by 1/10000 radian a position. It should be 1/DRAWN.

- position / DRAWN ** (even / (d_model - 2))
+ position * (1 - (1 - 1 / DRAWN) * even / (d_model - 2))
  Your speeds fall by equal *steps*. They should fall by equal factors, as powers do.
""",
)


SHIFT = Grader(
    reference=solutions.shift_matrix,
    # Shifts of both signs, and no shift, to detect a wrong sign.
    cases=lambda: [
        Case("3 positions forward, 8 numbers", (3, 8)),
        Case("2 positions back, 6 numbers", (-2, 6)),
        Case("no shift, which changes nothing", (0, 4)),
        Case("50 positions forward, 16 numbers", (50, 16)),
    ],
    shape_hint="`[d_model, d_model]`",
    mistakes="""
# sign
- torch.sin(angle)
+ torch.sin(-angle)
  Your matrix goes backwards: it turns the vector of t into that of t − k (or its rows and columns
  are exchanged). It is used as `matrix @ vector`.

- even] = -sin
+ even] = sin
  The sine has a + in both rows. cos(a + b) = cos a · cos b **−** sin a · sin b.

- even + 1] = sin
+ even + 1] = -sin
  The sine has a − in both rows. sin(a + b) = sin a · cos b **+** cos a · sin b.

- even + 1] = sin
+ even + 1] = 0.0
- even] = -sin
+ even] = 0.0
  Only the diagonal is filled. The new sine also needs the old cosine, and the new cosine needs
  the old sine: each pair has four numbers.

# parts
- cos, sin =
+ sin, cos =
  Sine and cosine have changed places: with k = 0 nothing may change, so the diagonal holds
  cosines.

# layout
- return matrix
+ halves = torch.cat([even, even + 1])
+ return matrix[halves][:, halves]
  You paired number i with number i + d/2. In the table of exercise 1 a sine is next to its
  cosine: 2i and 2i + 1.

# speed
- even / d_model
+ even / 2 / d_model
  The exponent of pair i is 2i/d: 0/d, 2/d, 4/d, … Yours goes half as far.

- even / d_model
+ 2 * even / d_model
  The exponent is doubled twice: `arange(0, d, 2)` is 2i already.

- 10000
+ 1000
  The base is 10000, not 1000.

- / 10000
+ * 10000
  You multiplied by 10000^(2i/d). The formula divides: later pairs turn more slowly.

- / 10000 ** (even / d_model)
+ * torch.ones(d_model // 2)
  All pairs turn by the same angle. Pair i turns by k / 10000^(2i/d).

# unit
- angle = k
+ angle = torch.deg2rad(torch.tensor(float(k)))
  The angles are in radians already: do not convert them.

# all
= sinusoids(abs(k) + 1, d_model)[abs(k)]
  This is the vector of position k. Return a matrix that turns the vector of t into that of t + k,
  whatever t is.

= torch.eye(d_model)
  This matrix changes nothing: `k` is not used.
""",
)
