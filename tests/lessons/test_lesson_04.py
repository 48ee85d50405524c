"""The checks of lesson 04 accept right answers, however written, and name what is wrong."""

import pytest
import torch
import torch.nn.functional as F

from transformer_lab.lessons.solutions import lesson_04 as solutions


def norm_with_var(x, gain, bias, eps=1e-5):
    spread = torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + eps)
    return (x - x.mean(-1, keepdim=True)) / spread * gain + bias


def norm_from_torch(x, gain, bias, eps=1e-5):
    return F.layer_norm(x, (x.shape[-1],), gain, bias, eps)


def norm_of_squares(x, gain, bias):
    mean = x.mean(-1)[..., None]
    variance = (x - mean).pow(2).sum(-1, keepdim=True) / x.shape[-1]
    return gain * (x - mean) * torch.rsqrt(variance + 1e-5) + bias


def block_with_loop(x, attention, feed_forward, norm1, norm2, norm_first):
    for part, norm in ((attention, norm1), (feed_forward, norm2)):
        x = x + part(norm(x)) if norm_first else norm(x + part(x))
    return x


def block_named(x, attention, feed_forward, norm1, norm2, norm_first):
    after = x.clone()
    if norm_first is True:
        after += attention(norm1(x))
        out = after + feed_forward(norm2(after))
    else:
        after = norm1(after + attention(x))
        out = norm2(feed_forward(after) + after)
    return out


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("layer_norm", solutions.layer_norm),
        ("layer_norm", norm_with_var),
        ("layer_norm", norm_from_torch),
        ("layer_norm", norm_of_squares),
        ("block", solutions.block),
        ("block", block_with_loop),
        ("block", block_named),
    ],
)
def test_right_answers_are_accepted(name, function, judged):
    result = judged(f"04/{name}", function)
    assert result.passed, result.diagnosis


def norm_by(mean, spread):
    return lambda x, g, b: g * (x - mean(x)) / spread(x) + b


MEAN = lambda x: x.mean(-1, keepdim=True)  # noqa: E731

NORM_MUTANTS = {
    "over the words": (
        lambda x, g, b: solutions.layer_norm(x.mT, 1, 0).mT * g + b,
        "over the words",
    ),
    "over everything": (
        lambda x, g, b: g * (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt() + b,
        "of everything",
    ),
    "variance": (norm_by(MEAN, lambda x: x.var(-1, keepdim=True, unbiased=False) + 1e-5), "root"),
    "no eps": (norm_by(MEAN, lambda x: x.std(-1, keepdim=True, unbiased=False)), "NaN"),
    "in place": (
        lambda x, g, b: (
            x.sub_(MEAN(x)).div_((x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()) * g + b
        ),
        "changes the tensor",
    ),
}

BLOCK_MUTANTS = {
    "inverted": (lambda *a: block_with_loop(*a[:5], not a[5]), "the wrong way round"),
    "always post": (lambda *a: block_with_loop(*a[:5], False), "With `norm_first=True` you"),
}


@pytest.mark.parametrize("mutant", NORM_MUTANTS)
def test_wrong_norms_are_named(mutant, judged):
    function, said = NORM_MUTANTS[mutant]
    result = judged("04/layer_norm", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


@pytest.mark.parametrize("mutant", BLOCK_MUTANTS)
def test_wrong_blocks_are_named(mutant, judged):
    function, said = BLOCK_MUTANTS[mutant]
    result = judged("04/block", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


@pytest.mark.parametrize("name", ["layer_norm", "block"])
def test_checks_never_crash(name, never_crashes):
    never_crashes(f"04/{name}", getattr(solutions, name))
