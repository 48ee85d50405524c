"""Checks of lesson 20, Circuits in depth: circuits of one head."""

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
        Case("5 asking and 7 offering, of a head of width 3", few),
        Case("6 tokens among themselves", (same, same.clone(), _random(6, 6, 2), _random(7, 6, 2))),
    ]


def _scores(asking, offering, w_q, w_k, width=None):
    return (asking @ w_q) @ (offering @ w_k).T / (width or w_q.shape[1]) ** 0.5


_QK = Grader(
    name="20/qk_circuit",
    cases=_qk_cases,
    reference=solutions.qk_circuit,
    shape_hint="a row for each that asks, a column for each that offers",
    suspects=(
        Suspect(
            "not scaled",
            lambda a, b, q, k: _scores(a, b, q, k, 1),
            "The products are right, and not scaled: attention divides scores by √d_head.",
        ),
        Suspect(
            "scaled by d_model",
            lambda a, b, q, k: _scores(a, b, q, k, q.shape[0]),
            "You divided by √d_model. Queries and keys of a head are d_head long, `w_q.shape[1]`.",
        ),
        Suspect(
            "divided by the width",
            lambda a, b, q, k: _scores(a, b, q, k, q.shape[1] ** 2),
            "You divided by d_head. It is its square root.",
        ),
        Suspect(
            "queries and keys exchanged",
            lambda a, b, q, k: _scores(a, b, k, q),
            "Those that ask went through `w_k` and those that offer through `w_q`. Queries ask.",
        ),
        Suspect(
            "turned",
            lambda a, b, q, k: _scores(a, b, q, k).T,
            "Your matrix is turned: rows are those that ask, columns those that offer.",
        ),
        Suspect(
            "softmax",
            lambda a, b, q, k: _scores(a, b, q, k).softmax(-1),
            "You took a softmax. A circuit through the vocabulary has scores: in a text only some of "
            "the tokens stand beside each other, and the softmax is over those.",
        ),
        Suspect(
            "those that ask on both sides",
            lambda a, b, q, k: _scores(a, a, q, k),
            "Both sides are made of `asking`. Keys are made of `offering`.",
        ),
        Suspect(
            "those that offer on both sides",
            lambda a, b, q, k: _scores(b, b, q, k),
            "Both sides are made of `offering`. Queries are made of `asking`.",
        ),
        Suspect(
            "exchanged and not scaled",
            lambda a, b, q, k: _scores(a, b, k, q, 1),
            "Two things: those that ask went through `w_k`, and scores are divided by √d_head.",
        ),
        Suspect(
            "turned and not scaled",
            lambda a, b, q, k: _scores(a, b, q, k, 1).T,
            "Two things: rows are those that ask, and scores are divided by √d_head.",
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
    """The same, or nothing where the shapes allow no such mistake."""

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
    shape_hint="a row for each token that is read, a column for each that is made likelier",
    suspects=(
        Suspect(
            "turned",
            lambda *a: _ov(*a).T,
            "Your matrix is turned: rows are the tokens that are read, columns those that become "
            "likelier.",
        ),
        Suspect(
            "not unembedded",
            lambda read, v, o, u: read @ v @ o,
            "This is what the head writes into the stream. The last step is missing: `unembed` makes "
            "logits of it.",
        ),
        Suspect(
            "no values",
            lambda read, v, o, u: read @ u.T,
            "The head is missing: what is read goes through `w_v` and `w_o` first.",
        ),
        Suspect(
            "unembedding not turned",
            _fits(lambda read, v, o, u: read @ v @ o @ u),
            "`unembed` is [vocabulary, d_model], as an `nn.Linear` keeps it: multiply by its transpose.",
        ),
        Suspect(
            "output before values",
            _fits(lambda read, v, o, u: read @ o @ v @ u.T),
            "`w_o` comes before `w_v` in your product. A value is made first, and written then.",
        ),
        Suspect(
            "values turned",
            _fits(lambda read, v, o, u: read @ v.T @ o @ u.T),
            "`w_v` is turned in your product. It is [d_model, d_head] already.",
        ),
        Suspect(
            "output turned",
            _fits(lambda read, v, o, u: read @ v @ o.T @ u.T),
            "`w_o` is turned in your product. It is [d_head, d_model] already.",
        ),
        Suspect(
            "read and unembedded exchanged",
            lambda read, v, o, u: u @ v @ o @ read.T,
            "You began with `unembed`. The head reads `read`, and `unembed` comes last.",
        ),
        Suspect(
            "scaled",
            lambda read, v, o, u: _ov(read, v, o, u) / v.shape[1] ** 0.5,
            "You divided by √d_head. That belongs to scores; values are not scaled.",
        ),
        Suspect(
            "softmax",
            lambda *a: _ov(*a).softmax(-1),
            "You took a softmax. The head adds to logits that others add to as well.",
        ),
        Suspect(
            "turned and scaled",
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
            "You took the diagonal in place of the eigenvalues. Their sums are the same, the sums of "
            "their sizes are not.",
        ),
        Suspect(
            "as if symmetric",
            lambda ov: _ratio(torch.linalg.eigvalsh(ov.double()).to(torch.complex128)),
            "`eigvalsh` is for symmetric matrices, and reads one half of yours. Use `eigvals`.",
        ),
        Suspect(
            "sizes of the real parts",
            lambda ov: _eigen(ov).real.sum() / _eigen(ov).real.abs().sum(),
            "Below you added the sizes of the *real parts*. The size of a complex number is "
            "√(real² + imaginary²), which is `values.abs()`.",
        ),
        Suspect(
            "not divided",
            lambda ov: _eigen(ov).real.sum(),
            "This is the sum of the eigenvalues. Divide it by the sum of their sizes.",
        ),
        Suspect(
            "the mean",
            lambda ov: _eigen(ov).real.mean(),
            "This is the mean of the eigenvalues. Divide their sum by the sum of their sizes.",
        ),
        Suspect(
            "size of the sum",
            lambda ov: _eigen(ov).sum().abs() / _eigen(ov).abs().sum(),
            "You took the size of the sum, so a head that does the opposite of copying looks like one "
            "that copies. Take the real part of the sum.",
        ),
        Suspect(
            "upside down",
            lambda ov: _eigen(ov).abs().sum() / _eigen(ov).real.sum(),
            "Your fraction is upside down: the score lies between −1 and 1.",
        ),
        Suspect(
            "share of positive ones",
            lambda ov: (_eigen(ov).real > 0).double().mean(),
            "You counted the eigenvalues with a positive real part. A large one should count for more.",
        ),
        Suspect(
            "each by itself",
            _each,
            "You divided each eigenvalue by its own size. Add them up first, above and below.",
        ),
        Suspect(
            "mean of each by itself",
            lambda ov: _each(ov).mean(),
            "You divided each eigenvalue by its own size and took the mean, so small ones count as "
            "much as large ones. Add them up first, above and below.",
        ),
        Suspect(
            "one too far",
            lambda ov: _eigen(ov).real.abs().sum() / _eigen(ov).abs().sum(),
            "You took sizes above the line as well. Negative eigenvalues must pull the score down.",
        ),
    ),
)

GRADERS = (_QK, _OV, _COPYING)
