"""The checks of lesson 09 accept right answers, however written, and name what is wrong."""

import pytest
import torch

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


@pytest.mark.parametrize(
    ("name", "function"),
    [
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


def with_labels(make):
    def mask_words(tokens, *rest):
        shown, labels = solutions.mask_words(tokens, *rest)
        return torch.stack([shown, make(tokens, shown, labels)])

    return mask_words


MASK_MUTANTS = {
    "always <mask>": (
        lambda t, m, c, f, o, i: solutions.mask_words(t, m, c, torch.zeros_like(f), o, i),
        "Every chosen word became `<mask>`",
    ),
    "never as it is": (
        lambda t, m, c, f, o, i: solutions.mask_words(t, m, c, f.clamp(max=0.85), o, i),
        "No chosen word stays as it is",
    ),
    "labels everywhere": (with_labels(lambda t, s, w: t), "Every word has a label"),
    "labels of what is shown": (
        with_labels(lambda t, s, w: torch.where(w == -100, -100, s)),
        "what the model *sees*",
    ),
    "labels where changed": (
        with_labels(lambda t, s, w: torch.where(s != t, t, -100)),
        "They are asked for, too",
    ),
    "labels inverted": (
        with_labels(lambda t, s, w: torch.where(w == -100, t, -100)),
        "the wrong way round",
    ),
    "zero": (with_labels(lambda t, s, w: w.clamp(min=0)), "0 is a token"),
    "special tokens": (
        lambda t, m, c, f, o, i: solutions.mask_words(t, torch.ones_like(m), c, f, o, i),
        "where `may_hide` is False",
    ),
    "most are chosen": (
        lambda t, m, c, f, o, i: solutions.mask_words(t, m, c - 0.7, f, o, i),
        "You chose 85 %",
    ),
    "labels first": (lambda *a: solutions.mask_words(*a).flip(0), "in the wrong order"),
    "a tuple": (lambda *a: tuple(solutions.mask_words(*a)), "tuple"),
}


@pytest.mark.parametrize("mutant", MASK_MUTANTS)
def test_wrong_masking_is_named(mutant, judged):
    function, said = MASK_MUTANTS[mutant]
    result = judged("09/mask_words", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


VECTOR_MUTANTS = {
    "padding counted": (lambda s, r: s.mean(1), "Padding counts in yours"),
    "divided by all": (lambda s, r: (s * r[..., None]).mean(1), "divide by all places"),
    "sum": (lambda s, r: (s * r[..., None]).sum(1), "That is the sum"),
    "first token": (lambda s, r: s[:, 0], "the first token"),
    "all texts": (lambda s, r: (s * r[..., None]).sum(1) / r.sum(), "all texts together"),
    "over the texts": (lambda s, r: s.mean(0), "has shape"),
}


@pytest.mark.parametrize("mutant", VECTOR_MUTANTS)
def test_wrong_vectors_are_named(mutant, judged):
    function, said = VECTOR_MUTANTS[mutant]
    result = judged("09/sentence_vector", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_checks_never_crash(never_crashes):
    never_crashes("09/mask_words", solutions.mask_words, sort=torch.int64)
    never_crashes("09/sentence_vector", solutions.sentence_vector)
