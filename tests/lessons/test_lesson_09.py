"""The checks of lesson 09 accept right answers, however written, and name mistakes."""

import torch
import torch.nn.functional as F

from tests.lessons.answers import checks_of
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


def probe_with_loops(train, labels, test, steps, lr):
    """Written from scratch, number by number."""
    centre = torch.stack([column.sum() / len(train) for column in train.T])
    spread = torch.stack(
        [
            ((column - c).square().sum() / (len(train) - 1)).sqrt()
            for column, c in zip(train.T, centre, strict=True)
        ]
    )
    weights, bias = [0.0] * train.shape[1], 0.0
    for _ in range(steps):
        steps_w, step_b = [0.0] * len(weights), 0.0
        for row, label in zip((train - centre) / spread, labels, strict=True):
            p = torch.sigmoid(sum(w * x for w, x in zip(weights, row, strict=True)) + bias)
            pull = (p - label) / len(train)
            steps_w = [s + pull * x for s, x in zip(steps_w, row, strict=True)]
            step_b = step_b + pull
        weights = [w - lr * s for w, s in zip(weights, steps_w, strict=True)]
        bias = bias - lr * step_b
    return torch.stack(
        [
            torch.sigmoid(sum(w * x for w, x in zip(weights, row, strict=True)) + bias)
            for row in (test - centre) / spread
        ]
    )


RIGHT = {
    "linear_probe": (probe_with_autograd, probe_with_loops),
    "mask_words": (mask_with_loops, mask_in_place),
    "sentence_vector": (
        vector_with_loops,
        vector_by_matrix,
        lambda s, r: solutions.sentence_vector(s.bfloat16(), r),
    ),
}
WRONG = {
    "mask_words": {"a tuple": (lambda *a: tuple(solutions.mask_words(*a)), "tuple")},
    "sentence_vector": {"over the texts": (lambda s, r: s.mean(0), "has shape")},
    "linear_probe": {
        "both classes": (
            lambda *a: torch.stack([1 - probe_with_loops(*a), probe_with_loops(*a)], -1),
            "has shape",
        )
    },
}


test_right, test_odd, test_wrong = checks_of("09", RIGHT, WRONG)
