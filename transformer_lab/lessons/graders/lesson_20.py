"""Checks of lesson 20, Circuits in depth: the circuits of one head."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.solutions import lesson_20 as solutions


def _random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# -- QK -----------------------------------------------------------------------------------------------


def _qk_cases() -> list[Case]:
    few = (_random(1, 5, 8), _random(2, 7, 8), _random(3, 8, 3), _random(4, 8, 3))
    same = _random(5, 6, 6)
    return [
        Case("5 queries and 7 keys, in a head of width 3", few),
        Case("6 tokens with themselves", (same, same.clone(), _random(6, 6, 2), _random(7, 6, 2))),
    ]


def _scores(asking, offering, w_q, w_k, width=None):
    return (asking @ w_q) @ (offering @ w_k).T / (width or w_q.shape[1]) ** 0.5


_QK = Grader(
    name="20/qk_circuit",
    cases=_qk_cases,
    reference=solutions.qk_circuit,
    shape_hint="a row for each query, a column for each key",
    suspects=(
        Suspect(
            "not scaled",
            lambda a, b, q, k: _scores(a, b, q, k, 1),
            "The products are right but not scaled: attention divides scores by √d_head.",
        ),
        Suspect(
            "scaled by d_model",
            lambda a, b, q, k: _scores(a, b, q, k, q.shape[0]),
            "You divided by √d_model. A head's queries and keys have d_head numbers, `w_q.shape[1]`.",
        ),
        Suspect(
            "divided by the width",
            lambda a, b, q, k: _scores(a, b, q, k, q.shape[1] ** 2),
            "You divided by d_head. Divide by its square root.",
        ),
        Suspect(
            "queries and keys exchanged",
            lambda a, b, q, k: _scores(a, b, k, q),
            "You multiplied `asking` by `w_k` and `offering` by `w_q`. Queries come from `asking`.",
        ),
        Suspect(
            "transposed",
            lambda a, b, q, k: _scores(a, b, q, k).T,
            "Your matrix is transposed: rows are queries, columns are keys.",
        ),
        Suspect(
            "softmax",
            lambda a, b, q, k: _scores(a, b, q, k).softmax(-1),
            "You took a softmax. A circuit holds scores. The softmax comes later, in a text, over the "
            "tokens that occur there.",
        ),
        Suspect(
            "queries on both sides",
            lambda a, b, q, k: _scores(a, a, q, k),
            "Both sides are made from `asking`. Keys are made from `offering`.",
        ),
        Suspect(
            "keys on both sides",
            lambda a, b, q, k: _scores(b, b, q, k),
            "Both sides are made from `offering`. Queries are made from `asking`.",
        ),
        Suspect(
            "exchanged and not scaled",
            lambda a, b, q, k: _scores(a, b, k, q, 1),
            "Two things: queries come from `asking @ w_q`, and scores are divided by √d_head.",
        ),
        Suspect(
            "transposed and not scaled",
            lambda a, b, q, k: _scores(a, b, q, k, 1).T,
            "Two things: rows are queries, and scores are divided by √d_head.",
        ),
    ),
)


# -- OV -----------------------------------------------------------------------------------------------


def _ov_cases() -> list[Case]:
    wide = (_random(11, 5, 8), _random(12, 8, 3), _random(13, 3, 8), _random(14, 7, 8))
    even = (_random(15, 6, 6), _random(16, 6, 6), _random(17, 6, 6), _random(18, 6, 6))
    return [Case("5 tokens read, 7 to be predicted", wide), Case("6 tokens in 6 numbers", even)]


def _ov(read, w_v, w_o, unembed):
    return read @ w_v @ w_o @ unembed.T


def _fits(function):
    """The same function, or an empty result where the shapes rule this mistake out."""

    def made(*arguments):
        try:
            return function(*arguments)
        except RuntimeError:
            return torch.zeros(0)

    return made


_OV = Grader(
    name="20/ov_circuit",
    cases=_ov_cases,
    reference=solutions.ov_circuit,
    shape_hint="a row for each token that is read, a column for each token of the vocabulary",
    suspects=(
        Suspect(
            "transposed",
            lambda *a: _ov(*a).T,
            "Your matrix is transposed: rows are the tokens that are read, columns those that become "
            "more likely.",
        ),
        Suspect(
            "not unembedded",
            lambda read, v, o, u: read @ v @ o,
            "This is what the head writes into the residual stream. The last step is missing: "
            "`unembed` turns it into logits.",
        ),
        Suspect(
            "no values",
            lambda read, v, o, u: read @ u.T,
            "The head is missing: multiply `read` by `w_v` and `w_o` first.",
        ),
        Suspect(
            "unembedding not transposed",
            _fits(lambda read, v, o, u: read @ v @ o @ u),
            "`unembed` is [vocabulary, d_model], as in an `nn.Linear`: multiply by its transpose.",
        ),
        Suspect(
            "output before values",
            _fits(lambda read, v, o, u: read @ o @ v @ u.T),
            "`w_o` comes before `w_v` in your product. First make the value, then write it.",
        ),
        Suspect(
            "values transposed",
            _fits(lambda read, v, o, u: read @ v.T @ o @ u.T),
            "`w_v` is transposed in your product. It is already [d_model, d_head].",
        ),
        Suspect(
            "output transposed",
            _fits(lambda read, v, o, u: read @ v @ o.T @ u.T),
            "`w_o` is transposed in your product. It is already [d_head, d_model].",
        ),
        Suspect(
            "read and unembedded exchanged",
            lambda read, v, o, u: u @ v @ o @ read.T,
            "You started with `unembed`. Start with `read`; `unembed` comes last.",
        ),
        Suspect(
            "scaled",
            lambda read, v, o, u: _ov(read, v, o, u) / v.shape[1] ** 0.5,
            "You divided by √d_head. Only scores are divided by it; values are not scaled.",
        ),
        Suspect(
            "softmax",
            lambda *a: _ov(*a).softmax(-1),
            "You took a softmax. Return the head's part of the logits; other heads add theirs.",
        ),
        Suspect(
            "transposed and scaled",
            lambda read, v, o, u: (_ov(read, v, o, u) / v.shape[1] ** 0.5).T,
            "Two things: rows are the tokens that are read, and values are not scaled.",
        ),
    ),
)


# -- copying ------------------------------------------------------------------------------------------


def _copying_cases() -> list[Case]:
    thin = _random(21, 7, 2) @ _random(22, 2, 7)
    symmetric = _random(23, 5, 5)
    return [
        Case("a matrix of random numbers", (_random(24, 6, 6),)),
        Case("a matrix of rank 2", (thin,)),
        Case("a symmetric matrix", (symmetric + symmetric.T,)),
    ]


def _eigen(ov):
    return torch.linalg.eigvals(ov.double())


def _ratio(values):
    return values.real.sum() / values.abs().sum()


def _diagonal(ov):
    return ov.diagonal().sum() / ov.diagonal().abs().sum()


def _each(ov):
    values = _eigen(ov)
    return values.real / values.abs()


_COPYING = Grader(
    name="20/copying_score",
    cases=_copying_cases,
    reference=solutions.copying_score,
    shape_hint="one number, with no axis",
    suspects=(
        Suspect(
            "singular values",
            lambda ov: torch.linalg.svdvals(ov).sum() / torch.linalg.svdvals(ov).sum(),
            "This is 1 for every matrix: singular values are never negative, so they cannot tell "
            "copying from its opposite. Take eigenvalues.",
        ),
        Suspect(
            "the diagonal",
            _diagonal,
            "You took the diagonal instead of the eigenvalues. Their sums are equal, but the sums of "
            "their absolute values are not.",
        ),
        Suspect(
            "as if symmetric",
            lambda ov: _ratio(torch.linalg.eigvalsh(ov.double()).to(torch.complex128)),
            "`eigvalsh` is for symmetric matrices, and reads only half of yours. Use `eigvals`.",
        ),
        Suspect(
            "absolute real parts",
            lambda ov: _eigen(ov).real.sum() / _eigen(ov).real.abs().sum(),
            "In the denominator you added the absolute values of the *real parts*. The absolute value "
            "of a complex number is √(real² + imaginary²), `values.abs()`.",
        ),
        Suspect(
            "not divided",
            lambda ov: _eigen(ov).real.sum(),
            "This is the sum of the eigenvalues. Divide it by the sum of their absolute values.",
        ),
        Suspect(
            "the mean",
            lambda ov: _eigen(ov).real.mean(),
            "This is the mean of the eigenvalues. Divide their sum by the sum of their absolute values.",
        ),
        Suspect(
            "absolute value of the sum",
            lambda ov: _eigen(ov).sum().abs() / _eigen(ov).abs().sum(),
            "You took the absolute value of the sum, so a head that does the opposite of copying looks "
            "like one that copies. Take the real part of the sum.",
        ),
        Suspect(
            "upside down",
            lambda ov: _eigen(ov).abs().sum() / _eigen(ov).real.sum(),
            "Your fraction is upside down: the score is between −1 and 1.",
        ),
        Suspect(
            "fraction of positive ones",
            lambda ov: (_eigen(ov).real > 0).double().mean(),
            "You counted the eigenvalues with a positive real part. A large one should count for more.",
        ),
        Suspect(
            "each by itself",
            _each,
            "You divided each eigenvalue by its own absolute value. First take the two sums, then "
            "divide.",
        ),
        Suspect(
            "mean of each by itself",
            lambda ov: _each(ov).mean(),
            "You divided each eigenvalue by its own absolute value and took the mean, so small ones "
            "count as much as large ones. First take the two sums, then divide.",
        ),
        Suspect(
            "one too far",
            lambda ov: _eigen(ov).real.abs().sum() / _eigen(ov).abs().sum(),
            "You took absolute values in the numerator as well. Negative eigenvalues must lower the "
            "score.",
        ),
    ),
)

GRADERS = (_QK, _OV, _COPYING)
