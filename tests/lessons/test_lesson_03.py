"""The checks of lesson 03 accept right answers, however written, and name what is wrong."""

import pytest
import torch

from transformer_lab.lessons.solutions import lesson_03 as solutions


def split_with_view(x, n_heads):
    batch, length, d_model = x.shape
    return x.view(batch, length, n_heads, d_model // n_heads).permute(0, 2, 1, 3)


def split_with_loop(x, n_heads):
    return torch.stack(x.chunk(n_heads, dim=-1), dim=1)


def merge_with_loop(z):
    return torch.cat([z[:, head] for head in range(z.shape[1])], dim=-1)


def merge_with_reshape(z):
    batch, heads, length, width = z.shape
    return z.permute(0, 2, 1, 3).reshape(batch, length, heads * width)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("split_heads", solutions.split_heads),
        ("split_heads", split_with_view),
        ("split_heads", split_with_loop),
        ("split_heads", lambda x, n: split_with_loop(x.bfloat16(), n)),
        ("merge_heads", solutions.merge_heads),
        ("merge_heads", merge_with_loop),
        ("merge_heads", merge_with_reshape),
        ("merge_heads", lambda z: merge_with_loop(z.double())),
    ],
)
def test_right_answers_are_accepted(name, function, judged):
    result = judged(f"03/{name}", function)
    assert result.passed, result.diagnosis


MUTANTS = {
    "reshaped": ("split_heads", lambda x, n: x.reshape(len(x), n, x.shape[1], -1), "in a row"),
    "not swapped": ("split_heads", lambda x, n: x.unflatten(-1, (n, -1)), "swap the two"),
    "merged in a row": ("merge_heads", lambda z: z.reshape(len(z), z.shape[2], -1), "in a row"),
    "woven": ("merge_heads", lambda z: z.movedim(1, -1).flatten(2), "alternate"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_answers_are_named(mutant, judged):
    name, function, said = MUTANTS[mutant]
    result = judged(f"03/{name}", function)
    assert not result.passed
    assert said in result.diagnosis.replace("\n", " "), result.diagnosis


@pytest.mark.parametrize("name", ["split_heads", "merge_heads"])
def test_checks_never_crash(name, never_crashes):
    never_crashes(f"03/{name}", getattr(solutions, name))
