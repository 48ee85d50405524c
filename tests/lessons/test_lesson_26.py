"""The checks of lesson 26 accept right answers, however written, and name mistakes."""

import torch

from tests.lessons.answers import checks_of
from transformer_lab.lessons.solutions import lesson_26 as solutions
from transformer_lab.positions import rotary_angles


def mask_in_loops(length, window, first, *, width=0):
    return torch.tensor(
        [
            [k <= q and (q - k < window + width or k < first) for k in range(length)]
            for q in range(length)
        ]
    )


def mask_of_triangles(length, window, first):
    mask = torch.ones(length, length).tril() - torch.ones(length, length).tril(-window)
    mask[:, :first] = 1
    return mask.tril().bool()


def mask_row_by_row(length, window, first, *, last=1):
    mask = torch.zeros(length, length, dtype=torch.bool)
    for q in range(length):
        mask[q, max(0, q + 1 - window) : q + last] = True
        mask[q, : min(first, q + last)] = True
    return mask


def angles_in_loops(length, d_head, base, factor, *, step=2):
    return torch.tensor(
        [
            [p / factor / base ** (step * i / d_head) for i in range(d_head // 2)]
            for p in range(length)
        ]
    )


def angles_by_outer_product(length, d_head, base, factor):
    rates = 1 / base ** (torch.arange(d_head // 2) * 2 / d_head)
    return torch.outer(torch.arange(length) / factor, rates)


def angles_by_log(length, d_head, base, factor, *, squeeze=True):
    rates = torch.exp(-torch.log(torch.tensor(base)) * torch.arange(0, d_head, 2) / d_head)
    return torch.einsum("p,i->pi", torch.arange(length) / (factor if squeeze else 1), rates)


test_right, test_odd, test_wrong = checks_of(
    "26",
    {
        "window_mask": (mask_in_loops, mask_of_triangles, mask_row_by_row),
        "rotary_angles": (angles_in_loops, angles_by_outer_product, angles_by_log),
    },
    {
        "window_mask": {
            "wide": (lambda *x: mask_in_loops(*x, width=1), "too wide"),
            "itself": (lambda *x: mask_row_by_row(*x, last=0), "attend to itself"),
            "first": (lambda length, w, first: mask_in_loops(length, w, 0), "not used"),
        },
        "rotary_angles": {
            "slow": (lambda *x: angles_in_loops(*x, step=1), "half as far"),
            "unsqueezed": (lambda *x: angles_by_log(*x, squeeze=False), "`factor` is not used"),
        },
    },
)


def test_the_package_turns_by_the_same_angles():
    ours = solutions.rotary_angles(50, 16, 10000, 1)
    assert torch.allclose(ours.double(), rotary_angles(50, 16), atol=1e-4, rtol=1e-6)
