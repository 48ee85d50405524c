"""Checks of lesson 20, Circuits in depth."""

from __future__ import annotations

from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader, random
from transformer_lab.lessons.solutions import lesson_20 as solutions


def _qk_cases() -> list[Case]:
    few = (random(1, 5, 8), random(2, 7, 8), random(3, 8, 3), random(4, 8, 3))
    same = random(5, 6, 6)
    return [
        Case("5 queries and 7 keys, in a head of width 3", few),
        Case("6 tokens with themselves", (same, same.clone(), random(6, 6, 2), random(7, 6, 2))),
    ]


QK = Grader(
    reference=solutions.qk_circuit,
    cases=_qk_cases,
    shape_hint="a row for each query, a column for each key",
    mistakes="""
- / w_q.shape[1] ** 0.5
  The products are right but not scaled: attention divides scores by √d_head.

- w_q.shape[1]
+ w_q.shape[0]
  You divided by √d_model. A head's queries and keys have d_head numbers, `w_q.shape[1]`.

- ** 0.5
  You divided by d_head. Divide by its square root.

= right(asking, offering, w_k, w_q)
  You multiplied `asking` by `w_k` and `offering` by `w_q`. Queries come from `asking`.

= right(asking, offering, w_q, w_k).T
  Your matrix is transposed: rows are queries, columns are keys.

= right(asking, offering, w_q, w_k).softmax(-1)
  You took a softmax. A circuit holds scores. The softmax comes later, in a text, over the tokens
  that occur there.

- offering @
+ asking @
  Both sides are made from `asking`. Keys are made from `offering`.

- asking @
+ offering @
  Both sides are made from `offering`. Queries are made from `asking`.

- asking @ w_q
+ asking @ w_k
- offering @ w_k
+ offering @ w_q
- / w_q.shape[1] ** 0.5
  Two things: queries come from `asking @ w_q`, and scores are divided by √d_head.

- queries @ keys.T / w_q.shape[1] ** 0.5
+ keys @ queries.T
  Two things: rows are queries, and scores are divided by √d_head.
""",
)


def _ov_cases() -> list[Case]:
    wide = (random(11, 5, 8), random(12, 8, 3), random(13, 3, 8), random(14, 7, 8))
    even = (random(15, 6, 6), random(16, 6, 6), random(17, 6, 6), random(18, 6, 6))
    return [Case("5 tokens read, 7 to be predicted", wide), Case("6 tokens in 6 numbers", even)]


OV = Grader(  # now given in the lesson
    reference=solutions.ov_circuit,
    retired=True,
    cases=_ov_cases,
    shape_hint="a row for each token that is read, a column for each token of the vocabulary",
    mistakes="""
= right(read, w_v, w_o, unembed).T
  Your matrix is transposed: rows are the tokens that are read, columns those that become more
  likely.

- @ unembed.T
  This is what the head writes into the residual stream. The last step is missing: `unembed` turns
  it into logits.

- @ w_v @ w_o
  The head is missing: multiply `read` by `w_v` and `w_o` first.

= right(unembed, w_v, w_o, read)
  You started with `unembed`. Start with `read`; `unembed` comes last.

= right(read, w_v, w_o, unembed) / w_v.shape[1] ** 0.5
  You divided by √d_head. Only scores are divided by it; values are not scaled.

= right(read, w_v, w_o, unembed).softmax(-1)
  You took a softmax. Return the head's part of the logits; other heads add theirs.

= (right(read, w_v, w_o, unembed) / w_v.shape[1] ** 0.5).T
  Two things: rows are the tokens that are read, and values are not scaled.
""",
)


def _copying_cases() -> list[Case]:
    thin = random(21, 7, 2) @ random(22, 2, 7)
    symmetric = random(23, 5, 5)
    return [
        Case("a matrix of random numbers", (random(24, 6, 6),)),
        Case("a matrix of rank 2", (thin,)),
        Case("a symmetric matrix", (symmetric + symmetric.T,)),
    ]


COPYING = Grader(
    reference=solutions.copying_score,
    cases=_copying_cases,
    shape_hint="one number, with no axis",
    mistakes="""
- eigvals
+ svdvals
  This is 1 for every matrix: singular values are never negative, so they cannot tell copying from
  its opposite. Take eigenvalues.

- torch.linalg.eigvals(ov)
+ ov.diagonal()
  You took the diagonal instead of the eigenvalues. Their sums are equal, but the sums of their
  absolute values are not.

- eigvals
+ eigvalsh
  `eigvalsh` is for symmetric matrices, and reads only half of yours. Use `eigvals`.

- values.abs()
+ values.real.abs()
  In the denominator you added the absolute values of the *real parts*. The absolute value of a
  complex number is √(real² + imaginary²), `values.abs()`.

- / values.abs().sum()
  This is the sum of the eigenvalues. Divide it by the sum of their absolute values.

- values.real.sum() / values.abs().sum()
+ values.real.mean()
  This is the mean of the eigenvalues. Divide their sum by the sum of their absolute values.

- values.real.sum()
+ values.sum().abs()
  You took the absolute value of the sum, so a head that does the opposite of copying looks like
  one that copies. Take the real part of the sum.

- values.real.sum() / values.abs().sum()
+ values.abs().sum() / values.real.sum()
  Your fraction is upside down: the score is between −1 and 1.

- values.real.sum() / values.abs().sum()
+ (values.real > 0).double().mean()
  You counted the eigenvalues with a positive real part. A large one should count for more.

- values.real.sum() / values.abs().sum()
+ values.real / values.abs()
  You divided each eigenvalue by its own absolute value. First take the two sums, then divide.

- values.real.sum() / values.abs().sum()
+ (values.real / values.abs()).mean()
  You divided each eigenvalue by its own absolute value and took the mean, so small ones count as
  much as large ones. First take the two sums, then divide.

- values.real.sum()
+ values.real.abs().sum()
  You took absolute values in the numerator as well. Negative eigenvalues must lower the score.
""",
)


_WIDTH, _SMALL = 12, 4


def _head(seed: int, d_model: int = _WIDTH, d_head: int = _SMALL) -> tuple[Tensor, ...]:
    w_q, w_k, w_v = (random(seed + i, d_model, d_head) for i in range(3))
    return w_q, w_k, w_v, random(seed + 3, d_head, d_model)


def _composition_cases() -> list[Case]:
    chance = [(_head(200 + 8 * i), _head(204 + 8 * i)) for i in range(6)]
    early, late = _head(100), _head(110)
    tuned = (late[0], early[3].T.contiguous(), *late[2:])  # its keys read what `early` writes
    return [
        Case("two heads with random weights", (early, late, chance)),
        Case("a head whose keys read what the other writes", (early, tuned, chance[::-1])),
    ]


COMPOSITION = Grader(
    reference=solutions.composition_scores,
    cases=_composition_cases,
    shape_hint="three rows, for Q, K and V; three columns: score, mean of random pairs, standard deviations "
    "above it",
    mistakes="""
- (w_q @ w_k.T, w_k @ w_q.T
+ (w_k @ w_q.T, w_q @ w_k.T
  The rows of Q and K are exchanged. Start with the matrix that reads: `w_q @ w_k.T` for queries,
  `w_k @ w_q.T` for keys.

- writes @ r
+ r @ writes
  You multiplied the late head's matrix by the early one's. The early head writes first, so its
  matrix is on the left.

= right(late, early, [(b, a) for a, b in random])
  The two heads are exchanged: the early one writes, the late one reads.

= right(late, early, random)
  The two heads are exchanged: the early one writes, the late one reads.

- / (writes.norm() * r.norm())
  Your products are not divided by the two norms, so a head with large weights seems to read a
  lot.

- writes.norm() * r.norm()
+ r.norm()
  You divided only by the norm of the reading matrix. Divide by that of the writing one too.

- reads =
+ size = lambda matrix: torch.linalg.matrix_norm(matrix, 2)
+ reads =
- (writes @ r).norm() / (writes.norm() * r.norm())
+ size(writes @ r) / (size(writes) * size(r))
  You used the largest singular value. The Frobenius norm, `.norm()` of a matrix, is the square
  root of the sum of all squares.

- (w_q @ w_k.T, w_k @ w_q.T, w_v @ w_o)
+ (w_q, w_k, w_v)
  You stopped at a single matrix. What counts is what reaches a score or the residual stream: `w_q
  @ w_k.T`, `w_k @ w_q.T`, `w_v @ w_o`.

- early[2] @ early[3]
+ early[0] @ early[1].T
  For the early head you took queries and keys. It writes with `w_v @ w_o`.

- chance.std(0)
+ chance.var(0)
  You divided by the variance. Its square root is the standard deviation.

- chance.std(0)
+ chance.std()
  You took one standard deviation over all three kinds. Use a separate one for each row.

- chance.std(0)
+ chance.std(0) / len(chance) ** 0.5
  You divided by the standard *error* of the mean. You compare one pair with other single pairs,
  so take the standard deviation.

- / spread
  The last column is the difference. Divide it by the standard deviation of the random pairs.

- (found - mean) / spread
+ found / mean
  The last column is a ratio. Take the difference from the mean, in standard deviations.

- (found - mean) / spread
+ spread
  The last column is the standard deviation of the random pairs. It should say how many of these
  the score is above the mean.

- found - mean
+ mean - found
  The sign of the last column is wrong: above the mean is positive.

= right(early, late, random).T
  Your table is transposed: its rows are the kinds Q, K and V.

- (w_q @ w_k.T, w_k @ w_q.T
+ (w_k @ w_q.T, w_q @ w_k.T
- / (writes.norm() * r.norm())
  Two things: the rows of Q and K are exchanged, and the products are not divided by the two
  norms.
""",
)


def _attribution_cases() -> list[Case]:
    two = (random(31, 6), random(32, 2, 3, 2), random(33, 2, 6, 6), 2 * random(34, 6))
    one = (random(35, 8), random(36, 1, 2, 4), random(37, 1, 8, 8), random(38, 8))
    return [Case("2 layers of 3 heads", two), Case("1 layer of 2 heads", one)]


ATTRIBUTION = Grader(
    reference=solutions.attribute_logit,
    cases=_attribution_cases,
    shape_hint="one number for the embedding, then one for each head, layer by layer",
    mistakes="""
- / size
  The final norm is missing. It divides the whole residual stream by its size, so divide every
  part by that size too.

- stream.square().mean()
+ parts.square().mean(-1, keepdim=True)
  You divided every part by its own size, so a head that writes almost nothing seems as strong as
  any other. Divide all parts by one number, the size of their sum.

- stream.square()
+ embedded.square()
  You divided by the size of the embedding. Divide by the size of the whole stream: the embedding
  plus what all heads wrote.

- (stream.square().mean() + 1e-5).sqrt()
+ stream.norm()
  You divided by the stream's length, the square root of the *sum* of squares. RMSNorm takes the
  square root of their *mean*.

- .sqrt()
  You divided by the mean square. RMSNorm divides by its square root.

- stream = parts
+ parts = parts - parts.mean(-1, keepdim=True)
+ stream = parts
  You subtracted the mean, as layer norm does. This model has RMSNorm, which does not.

- [embedded]
+ []
  The embedding is missing, in the result and in the stream. It is the first part.

- parts / size
+ parts[1:] / size
  The heads are right; the embedding, which comes first, is missing.

- parts / size
+ parts.roll(-1, 0) / size
  The numbers are right, but the embedding is last. Put it first.

- w_out[layer, :, columns]
+ w_out[layer].T[:, columns]
  You took rows of `w_out` for a head. A head's numbers are multiplied by its *columns*:
  `w_out[layer]` is [d_model, n_heads · d_head].

- slice(head * d_head, (head + 1) * d_head)
+ slice(head, None, n_heads)
  The columns of a head are side by side: first those of head 0, then those of head 1.

- parts / size
+ parts.cumsum(0) / size
  You read the stream *after* each part, so each number includes everything before it. Read each
  part alone.

= parts = right(embedded, z, w_out, unembed)
= torch.cat((parts[:1], parts[1:].unflatten(0, z.shape[:2]).sum(1)))
  You added up the heads of a layer. Return a separate number for each head.

- for layer in range(n_layers)
+ for head in range(n_heads)
- for head in range(n_heads)
+ for layer in range(n_layers)
  Your order is by head and then by layer. All heads of layer 0 come first.

= right(embedded, z, w_out, unembed).sum()
  This is the logit, the sum of all parts. Return the parts.

= right(embedded, z, w_out, unembed).softmax(-1)
  You took a softmax over the parts. They are the terms of one sum, a single logit.

- parts / size
+ parts[1:]
  Two things: the final norm is missing, and so is the embedding, which comes first.

- stream.square().mean()
+ parts.square().mean(-1, keepdim=True)
- parts / size
+ (parts / size)[1:]
  Two things: divide all parts by one number, the size of the whole stream; and the embedding,
  which comes first, is missing.
""",
)
