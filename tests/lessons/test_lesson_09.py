"""The checks of lesson 09 accept right answers, however written, and name what is wrong."""

import pytest
import torch
import torch.nn.functional as F

from transformer_lab.lessons.solutions import lesson_09 as solutions


def mask_with_loops(tokens, may_hide, chance, fate, other, mask_id):
    shown, labels = tokens.clone(), torch.full_like(tokens, -100)
    for i in range(tokens.shape[0]):
        for j in range(tokens.shape[1]):
            if not may_hide[i, j] or chance[i, j] >= 0.15:
                continue
            labels[i, j] = tokens[i, j]
            if fate[i, j] < 0.8:
                shown[i, j] = mask_id
            elif fate[i, j] < 0.9:
                shown[i, j] = other[i, j]
    return torch.stack([shown, labels])


def mask_in_place(tokens, may_hide, chance, fate, other, mask_id):
    chosen = (chance < 0.15).logical_and(may_hide)
    shown, labels = tokens.clone(), tokens.clone()
    labels[~chosen] = -100
    shown[chosen & fate.lt(0.8)] = mask_id
    random = chosen & fate.ge(0.8) & fate.lt(0.9)
    shown[random] = other[random]
    return torch.stack((shown, labels))


def vector_with_loops(states, real):
    return torch.stack([s[r].mean(0) for s, r in zip(states, real, strict=True)])


def vector_by_matrix(states, real):
    weights = real.to(states.dtype) / real.sum(-1, keepdim=True)
    return torch.einsum("bp,bpd->bd", weights, states)


def probe_with_autograd(train, labels, test, steps, lr):
    centre, spread = train.mean(0, keepdim=True), train.std(0, keepdim=True)
    x, ones = (train - centre) / spread, torch.ones(len(train), 1, dtype=train.dtype)
    border = torch.zeros(train.shape[1] + 1, dtype=train.dtype, requires_grad=True)
    for _ in range(steps):
        scores = torch.cat([x, ones], 1) @ border
        loss = F.binary_cross_entropy_with_logits(scores, labels.to(train.dtype))
        (slope,) = torch.autograd.grad(loss, border)
        border = (border - lr * slope).detach().requires_grad_()
    with torch.no_grad():
        return ((test - centre) / spread @ border[:-1] + border[-1]).sigmoid()


def probe_with_loops(
    train, labels, test, steps, lr, *,
    known=None, scaled=True, direction=-1.0, per=None, end=lambda s: 1 / (1 + torch.exp(-s)),
    factor=lambda p: 1, learn_bias=True,
):  # fmt: skip
    """Written from scratch, number by number, with some steps replaced."""
    of = train if known is None else known(train, test)
    centre = torch.stack([column.sum() / len(of) for column in of.T])
    spread = torch.stack([
        ((column - c).square().sum() / (len(of) - 1)).sqrt() if scaled else torch.ones(())
        for column, c in zip(of.T, centre, strict=True)
    ])  # fmt: skip
    weights, bias = [0.0] * train.shape[1], 0.0
    for _ in range(steps):
        steps_w, step_b = [0.0] * len(weights), 0.0
        for row, label in zip((train - centre) / spread, labels, strict=True):
            p = torch.sigmoid(sum(w * x for w, x in zip(weights, row, strict=True)) + bias)
            pull = (p - label) * factor(p) / (per or len(train))
            steps_w = [s + pull * x for s, x in zip(steps_w, row, strict=True)]
            step_b = step_b + pull
        weights = [w + direction * lr * s for w, s in zip(weights, steps_w, strict=True)]
        bias = bias + direction * lr * step_b * learn_bias
    return torch.stack([
        end(sum(w * x for w, x in zip(weights, row, strict=True)) + bias)
        for row in (test - centre) / spread
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("linear_probe", solutions.linear_probe),
        ("linear_probe", probe_with_autograd),
        ("linear_probe", probe_with_loops),
        ("mask_words", solutions.mask_words),
        ("mask_words", mask_with_loops),
        ("mask_words", mask_in_place),
        ("sentence_vector", solutions.sentence_vector),
        ("sentence_vector", vector_with_loops),
        ("sentence_vector", vector_by_matrix),
        ("sentence_vector", lambda s, r: solutions.sentence_vector(s.bfloat16(), r)),
    ],
)
def test_right_answers_are_accepted(name, function, judged):
    result = judged(f"09/{name}", function)
    assert result.passed, result.diagnosis


MASK_MUTANTS = {
    "always <mask>": (
        lambda t, m, c, f, o, i: solutions.mask_words(t, m, c, torch.zeros_like(f), o, i),
        "Every chosen word became `<mask>`",
    ),
    "never as it is": (
        lambda t, m, c, f, o, i: solutions.mask_words(t, m, c, f.clamp(max=0.85), o, i),
        "No chosen word stays as it is",
    ),
    "a tuple": (lambda *a: tuple(solutions.mask_words(*a)), "tuple"),
}


@pytest.mark.parametrize("mutant", MASK_MUTANTS)
def test_wrong_masking_is_named(mutant, judged):
    function, said = MASK_MUTANTS[mutant]
    result = judged("09/mask_words", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


VECTOR_MUTANTS = {
    "padding counted": (lambda s, r: s.mean(1), "You count padding, both in the sum"),
    "divided by all": (lambda s, r: (s * r[..., None]).mean(1), "divide by all positions"),
    "over the texts": (lambda s, r: s.mean(0), "has shape"),
}


@pytest.mark.parametrize("mutant", VECTOR_MUTANTS)
def test_wrong_vectors_are_named(mutant, judged):
    function, said = VECTOR_MUTANTS[mutant]
    result = judged("09/sentence_vector", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def probe_with(**own):
    return lambda *a: probe_with_loops(*a, **own)


def leaking(train, labels, test, steps, lr):
    own = (test - test.mean(0)) / test.std(0)
    there = (train - train.mean(0)) / train.std(0)
    return probe_with_autograd(there, labels, own * there.std(0) + there.mean(0), steps, lr)


PROBE_MUTANTS = {
    "test by itself": (leaking, "by its own mean and spread"),
    "both parts": (probe_with(known=lambda *both: torch.cat(both)), "together. Nothing of `test`"),
    "no spread": (probe_with(scaled=False), "but did not divide by the standard deviation"),
    "both classes": (
        lambda *a: torch.stack([1 - probe_with_loops(*a), probe_with_loops(*a)], -1),
        "has shape",
    ),
    "summed, no bias": (probe_with(per=1, learn_bias=False), "Two things at once"),
    "no spread, scores": (probe_with(scaled=False, end=lambda s: s), "Two things at once"),
    "squared, summed": (
        probe_with(factor=lambda p: p * (1 - p), per=1),
        "Two things at once",
    ),
}


@pytest.mark.parametrize("mutant", PROBE_MUTANTS)
def test_wrong_probes_are_named(mutant, judged):
    function, said = PROBE_MUTANTS[mutant]
    result = judged("09/linear_probe", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_checks_never_crash(never_crashes):
    never_crashes("09/linear_probe", solutions.linear_probe)
    never_crashes("09/mask_words", solutions.mask_words, sort=torch.int64)
    never_crashes("09/sentence_vector", solutions.sentence_vector)
