"""The checks of lesson 21 accept right answers, however written, and name what is wrong."""

import pytest
import torch

from transformer_lab.lessons.solutions import lesson_21 as solutions


def split_with_slices(weight):
    d = weight.shape[0]
    return torch.stack([weight[:, i * d : (i + 1) * d].T for i in range(3)])


def split_with_view(weight):
    return weight.T.reshape(3, weight.shape[0], weight.shape[0])


def split_with_unflatten(weight):
    return weight.unflatten(1, (3, -1)).permute(1, 2, 0)


def patched_with_where(stream, source, position):
    here = (torch.arange(stream.shape[1]) == position)[None, :, None]
    return torch.where(here, source, stream)


def patched_with_cat(stream, source, position):
    middle = source[:, position : position + 1].expand(len(stream), -1, -1)
    return torch.cat((stream[:, :position], middle, stream[:, position + 1 :]), dim=1)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("split_qkv", solutions.split_qkv),
        ("split_qkv", split_with_slices),
        ("split_qkv", split_with_view),
        ("split_qkv", split_with_unflatten),
        ("split_qkv", lambda w: split_with_view(w.bfloat16())),
        ("patched", solutions.patched),
        ("patched", patched_with_where),
        ("patched", patched_with_cat),
        ("patched", lambda a, b, p: patched_with_cat(a.half(), b.half(), p)),
    ],
)
def test_right_answers_are_accepted(name, function, judged):
    result = judged(f"21/{name}", function)
    assert result.passed, result.diagnosis


def put(stream, source, place):
    stream = stream.clone()
    stream[place] = source.expand_as(stream)[place]
    return stream


def in_place(stream, source, position):
    stream[:, position] = source[:, position]
    return stream


MUTANTS = {
    "not turned": ("split_qkv", lambda w: torch.stack(w.chunk(3, -1)), "not turned"),
    "interleaved": ("split_qkv", lambda w: w.T.unflatten(0, (-1, 3)).transpose(0, 1), "every third"),
    "reversed": ("split_qkv", lambda w: torch.stack(w.T.chunk(3)[::-1]), "turned round"),
    "keys first": ("split_qkv", lambda w: split_with_view(w)[[1, 0, 2]], "swapped"),
    "reshaped": ("split_qkv", lambda w: w.reshape(3, len(w), len(w)), "cuts the rows"),
    "one matrix": ("split_qkv", lambda w: w.T, "three square matrices"),
    "a tuple": ("split_qkv", lambda w: w.T.chunk(3), "3 things"),
    "all": ("patched", lambda a, b, p: b.expand_as(a).clone(), "one place"),
    "nothing": ("patched", lambda a, b, p: a.clone(), "nothing was put in"),
    "other way": (
        "patched",
        lambda a, b, p: put(b.expand_as(a).clone(), a, (slice(None), p)),
        "other way round",
    ),
    "added": (
        "patched",
        lambda a, b, p: put(a, a + b, (slice(None), p)),
        "added",
    ),
    "later too": ("patched", lambda a, b, p: put(a, b, (slice(None), slice(p, None))), "after it"),
    "wrong axis": ("patched", lambda a, b, p: put(a, b, (..., p)), "one *number*"),
    "in place": ("patched", in_place, "changes the tensor"),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_answers_are_named(mutant, judged):
    name, function, said = MUTANTS[mutant]
    result = judged(f"21/{name}", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_checks_never_crash(never_crashes):
    never_crashes("21/split_qkv", solutions.split_qkv)
    never_crashes("21/patched", solutions.patched)
