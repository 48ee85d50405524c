"""The check of `multi_head_attention` accepts right answers, however written, and names mistakes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from transformer_lab.lessons.solutions import lesson_03 as solutions


def by_the_module(x, in_weight, in_bias, out_weight, out_bias, n_heads, padding):
    layer = nn.MultiheadAttention(x.shape[-1], n_heads, batch_first=True).to(x)
    weights = dict(in_proj_weight=in_weight, in_proj_bias=in_bias)
    layer.load_state_dict(weights | {"out_proj.weight": out_weight, "out_proj.bias": out_bias})
    return layer(x, x, x, key_padding_mask=padding, need_weights=False)[0]


def head_by_head(x, in_weight, in_bias, out_weight, out_bias, n_heads, padding):
    d = x.shape[-1]
    width, found = d // n_heads, []
    for head in range(n_heads):
        rows = [slice(i * d + head * width, i * d + (head + 1) * width) for i in range(3)]
        q, k, v = (F.linear(x, in_weight[one], in_bias[one]) for one in rows)
        scores = (q / math.sqrt(width)) @ k.mT
        found.append(torch.where(padding[:, None], -torch.inf, scores).softmax(-1) @ v)
    return F.linear(torch.cat(found, -1), out_weight, out_bias)


def by_einsum(x, in_weight, in_bias, out_weight, out_bias, n_heads, padding):
    packed = F.linear(x, in_weight, in_bias).unflatten(-1, (3, n_heads, -1))
    q, k, v = packed.unbind(2)
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
    scores = (
        scores + torch.zeros_like(padding, dtype=x.dtype).masked_fill(padding, -1e30)[:, None, None]
    )
    mixed = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).flatten(2)
    return mixed @ out_weight.mT + out_bias  # fmt: skip


@pytest.mark.parametrize(
    "function", [solutions.multi_head_attention, by_the_module, head_by_head, by_einsum]
)
def test_right_answers_are_accepted(function, judged):
    result = judged(
        "03/multi_head_attention", function, seconds=60
    )  # torch's module is slow at first
    assert result.passed, result.diagnosis


def mutant(**changed):
    """The right answer, step by step, with some of its steps replaced."""
    steps = {
        "thirds": lambda packed, h: packed.chunk(3, -1),
        "split": lambda x, h: torch.stack(x.chunk(h, -1), 1),
        "scale": lambda x, q: q.shape[-1] ** 0.5,
        "mask": lambda scores, padding: scores.masked_fill(padding[:, None, None], -math.inf),
        "softmax": lambda scores, padding: scores.softmax(-1),
        "merge": lambda z: torch.cat([*z.unbind(1)], -1),
        "biases": (1, 1),
        "out": lambda mixed, weight: mixed @ weight.T,
        **changed,
    }

    def wrong(x, in_weight, in_bias, out_weight, out_bias, n_heads, padding):
        first, second = steps["biases"]
        packed = x @ in_weight.T + first * in_bias
        q, k, v = (steps["split"](part, n_heads) for part in steps["thirds"](packed, n_heads))
        scores = steps["mask"](q @ k.mT / steps["scale"](x, q), padding)
        mixed = steps["merge"](steps["softmax"](scores, padding) @ v)
        return steps["out"](mixed, out_weight) + second * out_bias

    return wrong


def per_head(packed, h):
    return [part.flatten(2) for part in packed.unflatten(-1, (h, 3, -1)).unbind(3)]


MUTANTS = {
    "no first bias": (mutant(biases=(0, 1)), "`in_bias` is not added"),
    "no last bias": (mutant(biases=(1, 0)), "`out_bias` is not added"),
    "strided": (mutant(split=lambda x, h: torch.stack([x[..., i::h] for i in range(h)], 1)), "n-th"),
    "two at once": (
        mutant(scale=lambda x, q: 1.0, biases=(1, 0)),
        "Two things at once. First: The scores are not scaled",
    ),
    "two others": (
        mutant(thirds=per_head, merge=lambda z: z.reshape(len(z), z.shape[2], -1)),
        "Two things at once. First: You cut into heads first",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_answers_are_named(name, judged):
    function, said = MUTANTS[name]
    result = judged("03/multi_head_attention", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_the_check_never_crashes(never_crashes):
    never_crashes("03/multi_head_attention", solutions.multi_head_attention)
