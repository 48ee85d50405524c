"""Checks of lesson 04, The block."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.solutions import lesson_04 as solutions


def _random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# A gain far from 1, a bias far from 0, and rows of different size and mean: a missing step shows.
def _norm_cases() -> list[Case]:
    rows = 3 * _random(1, 2, 4, 6) + 5 * _random(2, 2, 4, 1)
    gain, bias = 1 + _random(3, 6).abs(), _random(4, 6)
    tiny = 1e-3 * _random(5, 3, 8)
    return [
        Case("2 texts of 4 words, 6 numbers each", (rows, gain, bias)),
        Case("words of very small numbers", (tiny, torch.full((8,), 1.7), torch.full((8,), 0.3))),
        Case("a word whose numbers are all equal", (torch.full((1, 5), 2.5), gain[:5], bias[:5])),
    ]


def _with(axis=-1, centre=True, root=True, eps_outside=False, unbiased=False, eps=1e-5):
    """LayerNorm with one of its steps replaced."""

    def wrong(x, gain, bias, _=None):
        mean = x.mean(dim=axis, keepdim=True)
        variance = x.var(dim=axis, keepdim=True, correction=1 if unbiased else 0)
        if not centre:
            variance, mean = (x**2).mean(dim=axis, keepdim=True), 0.0
        if eps_outside:
            return gain * (x - mean) / (variance.sqrt() + eps) + bias
        return gain * (x - mean) / (variance + eps) ** (0.5 if root else 1.0) + bias

    return wrong


def _no_gain(x, gain, bias):
    return solutions.layer_norm(x, torch.ones_like(gain), bias)


def _no_bias(x, gain, bias):
    return solutions.layer_norm(x, gain, torch.zeros_like(bias))


def _bare(x, gain, bias):
    return solutions.layer_norm(x, torch.ones_like(gain), torch.zeros_like(bias))


def _bias_inside(x, gain, bias):
    return gain * (_bare(x, gain, bias) + bias)


def _only_centred(x, gain, bias):
    return gain * (x - x.mean(dim=-1, keepdim=True)) + bias


def _everything(x, gain, bias):
    return gain * (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt() + bias


_NORM = Grader(
    name="04/layer_norm",
    cases=_norm_cases,
    reference=solutions.layer_norm,
    shape_hint="the shape of `x`, unchanged",
    suspects=(
        Suspect(
            "over the words",
            _with(axis=-2),
            "You took mean and variance over the words. Normalise every word by itself, over "
            "its own numbers: the last axis.",
        ),
        Suspect(
            "over the texts",
            _with(axis=0),
            "You took mean and variance over the first axis, which counts texts or words. That "
            "is batch norm; layer norm uses the numbers of one word: the last axis.",
        ),
        Suspect(
            "over everything",
            _everything,
            "You took one mean and one variance of everything. Each word needs its own: "
            "`dim=-1, keepdim=True`.",
        ),
        Suspect(
            "not centred",
            _with(centre=False),
            "The mean is not subtracted. (Dividing by the root of the mean square alone is called "
            "RMSNorm, and works as well. Here it should be LayerNorm.)",
        ),
        Suspect(
            "not scaled",
            _only_centred,
            "The mean is subtracted, but the numbers are not divided by their spread.",
        ),
        Suspect(
            "no root",
            _with(root=False),
            "You divided by the variance. Divide by its square root.",
        ),
        Suspect(
            "eps outside the root",
            _with(eps_outside=True),
            "`eps` belongs under the root, with the variance. It matters for words whose numbers "
            "are nearly equal.",
        ),
        Suspect(
            "no eps",
            _with(eps=0.0),
            "`eps` is missing: a word whose numbers are all equal has variance 0, and 0/0 is NaN.",
        ),
        Suspect(
            "variance with n − 1",
            _with(unbiased=True),
            "Your variance divides by n − 1, as `.var()` and `.std()` do by default. "
            "LayerNorm divides by n: `correction=0`.",
        ),
        Suspect("no gain", _no_gain, "The result is not multiplied by `gain`."),
        Suspect("no bias", _no_bias, "`bias` is not added."),
        Suspect("neither", _bare, "`gain` and `bias` are missing: multiply, then add."),
        Suspect(
            "bias before gain",
            _bias_inside,
            "You added `bias` before multiplying by `gain`. It is the other way round.",
        ),
    ),
)


# Four different functions that do not commute, so that any order but the right one shows.
def _attention(x: torch.Tensor) -> torch.Tensor:
    return x.flip(-2) * 0.5 + 1.0


def _feed_forward(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x) * 1.5 - 0.25


def _norm_a(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x)


def _norm_b(x: torch.Tensor) -> torch.Tensor:
    return x / (1.0 + x.abs())


def _block_cases() -> list[Case]:
    parts = (_attention, _feed_forward, _norm_a, _norm_b)
    return [
        Case("norm_first=True (pre-norm)", (_random(11, 2, 4, 6), *parts, True)),
        Case("norm_first=False (post-norm)", (_random(12, 2, 4, 6), *parts, False)),
        Case("one text, norm_first=True", (_random(13, 1, 3, 5), *parts, True)),
    ]


def _always(norm_first):
    return lambda x, a, f, n1, n2, _: solutions.block(x, a, f, n1, n2, norm_first)


def _no_residual(x, a, f, n1, n2, norm_first):
    return f(n2(a(n1(x)))) if norm_first else n2(f(n1(a(x))))


def _residual_only_first(x, a, f, n1, n2, norm_first):
    if norm_first:
        return f(n2(x + a(n1(x))))
    return n2(f(n1(x + a(x))))


def _residual_of_input(x, a, f, n1, n2, norm_first):
    """The second residual starts again from the block's input."""
    if norm_first:
        return x + f(n2(x + a(n1(x))))
    return n2(x + f(n1(x + a(x))))


def _parallel(x, a, f, n1, n2, norm_first):
    if norm_first:
        return x + a(n1(x)) + f(n2(x))
    return n2(n1(x + a(x)) + f(x))


def _residual_normed(x, a, f, n1, n2, norm_first):
    """The normalised stream is added, not the stream itself."""
    if not norm_first:
        return solutions.block(x, a, f, n1, n2, False)
    h = n1(x)
    x = h + a(h)
    h = n2(x)
    return h + f(h)


def _one_norm(x, a, f, n1, n2, norm_first):
    return solutions.block(x, a, f, n1, n1, norm_first)


def _norms_swapped(x, a, f, n1, n2, norm_first):
    return solutions.block(x, a, f, n2, n1, norm_first)


def _parts_swapped(x, a, f, n1, n2, norm_first):
    return solutions.block(x, f, a, n1, n2, norm_first)


def _norm_on_output(x, a, f, n1, n2, norm_first):
    if norm_first:
        return solutions.block(x, a, f, n1, n2, True)
    x = x + n1(a(x))
    return x + n2(f(x))


_BLOCK = Grader(
    name="04/block",
    cases=_block_cases,
    reference=solutions.block,
    shape_hint="the shape of `x`, unchanged",
    suspects=(
        Suspect(
            "post-norm in place of pre-norm",
            _always(False),
            "With `norm_first=True` you computed post-norm, `norm(x + f(x))`. It should be pre-norm, "
            "`x + f(norm(x))`: is the switch the wrong way round, or not used?",
        ),
        Suspect(
            "pre-norm in place of post-norm",
            _always(True),
            "With `norm_first=False` you computed pre-norm, `x + f(norm(x))`. It should be post-norm, "
            "`norm(x + f(x))`: is the switch the wrong way round, or not used?",
        ),
        Suspect(
            "no residual",
            _no_residual,
            "Nothing is added to `x`: the residual connections are missing. "
            "Each part should add its result to the stream.",
        ),
        Suspect(
            "no second residual",
            _residual_only_first,
            "The result of the feed-forward part replaces the stream. Add it to the stream.",
        ),
        Suspect(
            "back to the input",
            _residual_of_input,
            "The second sum starts from the block's input, so the result of attention is lost. "
            "Add the result of the feed-forward part to the stream *after* attention.",
        ),
        Suspect(
            "in parallel",
            _parallel,
            "Attention and feed-forward both read the block's input. Here the feed-forward part "
            "should read the stream after attention. (Some models do run both in parallel.)",
        ),
        Suspect(
            "the normed stream added",
            _residual_normed,
            "You added to the *normalised* stream. In pre-norm the stream itself is never "
            "normalised: normalise only what goes into the part.",
        ),
        Suspect(
            "norm of the output only",
            _norm_on_output,
            "With `norm_first=False`, take the norm of the sum, `norm(x + f(x))`. "
            "You took it of `f(x)` alone.",
        ),
        Suspect("one norm twice", _one_norm, "`norm2` is not used: each part has its own norm."),
        Suspect(
            "norms swapped",
            _norms_swapped,
            "`norm1` belongs to attention, `norm2` to the feed-forward part.",
        ),
        Suspect(
            "parts swapped", _parts_swapped, "Attention comes first, then the feed-forward part."
        ),
    ),
)

GRADERS = (_NORM, _BLOCK)
