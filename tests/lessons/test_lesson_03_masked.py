"""The check of `masked_attention` accepts right answers, however written, and names what is wrong."""

import math

import pytest
import torch
import torch.nn.functional as F

import transformer_lab as tl
from transformer_lab.lessons.solutions import lesson_03 as solutions


def by_the_kernel(x, w_q, w_k, w_v, may_look):
    query, key, value = (x @ w if x.dim() == 3 else (x @ w)[None] for w in (w_q, w_k, w_v))
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=may_look)
    return out if x.dim() == 3 else out[0]


def with_nan_taken_out(x, w_q, w_k, w_v, may_look):
    scores = torch.einsum("...qd,...kd->...qk", x @ w_q, x @ w_k) * w_q.size(-1) ** -0.5
    weights = F.softmax(torch.where(may_look, scores, -torch.inf), -1).nan_to_num(0.0)
    return torch.einsum("...qk,...kv->...qv", weights, x @ w_v)


def word_by_word(x, w_q, w_k, w_v, may_look):
    flat = x.reshape(-1, *x.shape[-2:])
    masks = may_look.reshape(-1, *may_look.shape[-2:])
    out = x.new_zeros(*flat.shape[:2], w_v.shape[1])
    for i, (sentence, mask) in enumerate(zip(flat, masks, strict=True)):
        for q, sees in enumerate(mask):
            if sees.any():
                scores = (sentence[sees] @ w_k) @ (sentence[q] @ w_q) / math.sqrt(w_q.shape[1])
                out[i, q] = scores.softmax(0) @ (sentence[sees] @ w_v)
    return out.reshape(*x.shape[:-1], -1)


def test_the_mask_means_what_it_means_in_the_package():
    x, matrices = torch.randn(2, 4, 6), [torch.randn(6, 3) for _ in range(3)]
    may_look = torch.rand(2, 4, 4) > 0.6
    query, key, value = (x @ matrix for matrix in matrices)
    expected = tl.attend(query[:, None], key[:, None], value[:, None], bias=may_look[:, None])
    found = solutions.masked_attention(x, *matrices, may_look)
    torch.testing.assert_close(found, expected[:, 0])


@pytest.mark.parametrize(
    "function", [solutions.masked_attention, by_the_kernel, with_nan_taken_out, word_by_word]
)
def test_right_answers_are_accepted(function, judged):
    result = judged("03/masked_attention", function)
    assert result.passed, result.diagnosis


def mutant(**changed):
    """The right answer, step by step, with some of its steps replaced."""
    steps = {
        "project": lambda x, q, k, v: (x @ q, x @ k, x @ v),
        "scale": lambda x, query: query.shape[-1] ** 0.5,
        "mask": lambda scores, sees: scores.masked_fill(~sees, -math.inf),
        "softmax": lambda scores: scores.softmax(-1).nan_to_num(0.0),
        "mix": lambda weights, value, sees: weights @ value,
        **changed,
    }

    def wrong(x, w_q, w_k, w_v, may_look):
        query, key, value = steps["project"](x, w_q, w_k, w_v)
        scores = steps["mask"](query @ key.mT / steps["scale"](x, query), may_look)
        return steps["mix"](steps["softmax"](scores), value, may_look)

    return wrong


def fill(number):
    return lambda scores, sees: scores.masked_fill(~sees, number)


MUTANTS = {
    "one matrix": (mutant(project=lambda x, q, k, v: (x @ q, x @ q, x @ v)), "one matrix"),
    "exchanged": (mutant(project=lambda x, q, k, v: (x @ k, x @ q, x @ v)), "changed places"),
    "two at once": (
        mutant(scale=lambda x, query: 1.0, mask=lambda s, sees: s.masked_fill(sees, -math.inf)),
        "Two things at once. First: The scores are not scaled",
    ),
    "two others": (
        mutant(
            project=lambda x, q, k, v: (x @ k, x @ q, x @ v),
            mask=lambda s, sees: fill(-math.inf)(s, sees.mT),
        ),
        "Second: Rows and columns of `may_look`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_answers_are_named(name, judged):
    function, said = MUTANTS[name]
    result = judged("03/masked_attention", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_the_check_never_crashes(never_crashes):
    never_crashes("03/masked_attention", solutions.masked_attention)
