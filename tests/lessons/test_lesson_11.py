"""The checks of lesson 11 accept right answers, however written, and name what is wrong."""

import math

import pytest
import torch

from transformer_lab.lessons.solutions import lesson_11 as solutions


def top_p_with_threshold(logits, p):
    probabilities = logits.softmax(-1)
    ordered = probabilities.sort(-1, descending=True).values
    n = (ordered.cumsum(-1) < p).sum(-1, keepdim=True).clamp(max=logits.shape[-1] - 1)
    least = ordered.gather(-1, n)
    kept = probabilities * (probabilities >= least)
    return kept / kept.sum(-1, keepdim=True)


def top_p_with_loops(logits, p):
    rows = logits.reshape(-1, logits.shape[-1])
    out = torch.zeros_like(rows)
    for row, result in zip(rows.softmax(-1), out, strict=True):
        total = 0.0
        for token in row.argsort(descending=True).tolist():
            result[token] = row[token]
            total += float(row[token])
            if total >= p:
                break
        result /= result.sum()
    return out.reshape(logits.shape)


def top_p_with_minus_infinity(logits, p):
    ordered, places = logits.sort(-1, descending=True)
    total = ordered.softmax(-1).cumsum(-1)
    cut = torch.cat((torch.zeros_like(total[..., :1]), total[..., :-1]), -1) >= p
    masked = ordered.masked_fill(cut, -math.inf)
    return torch.empty_like(logits).scatter_(-1, places, masked).softmax(-1)


def sorted_kept(logits, p):
    ordered, places = logits.softmax(-1).sort(-1, descending=True)
    kept = ordered * (ordered.cumsum(-1) - ordered < p)
    return kept, places


def too_few(logits, p):
    ordered, places = logits.softmax(-1).sort(-1, descending=True)
    kept = torch.zeros_like(ordered).scatter(-1, places, ordered * (ordered.cumsum(-1) <= p))
    return kept / kept.sum(-1, keepdim=True)


def write_with_while(step, prompt, n, choose, end=None):
    text = torch.tensor(prompt)
    logits, past = step(prompt, None)
    while len(text) < len(prompt) + n:
        token = choose(logits[-1])
        text = torch.cat((text, torch.tensor([token])))
        if token == end or len(text) == len(prompt) + n:
            return text
        logits, past = step([token], past)
    return text


def write_by_length(step, prompt, n, choose, end=None):
    text, past, read = list(prompt), None, 0
    while len(text) - len(prompt) < n and (end is None or end not in text[len(prompt) :]):
        logits, past = step(text[read:], past)
        read = len(text)
        text.append(choose(logits[len(logits) - 1]))
    return torch.tensor(text)


def wrong(step, prompt, n, choose, end=None, *, feed=None, keep=True, row=-1, more=0):
    """A wrong `write` in one way or another."""
    text, new, past = list(prompt), list(prompt), None
    for _ in range(n + more):
        logits, given = step(new, past)
        past = given if keep else None
        text.append(choose(logits[row]))
        if text[-1] == end:
            break
        new = feed(text) if feed else text[-1:]
    return torch.tensor(text)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("top_p", solutions.top_p),
        ("top_p", top_p_with_threshold),
        ("top_p", top_p_with_loops),
        ("top_p", top_p_with_minus_infinity),
        ("write", solutions.write),
        ("write", write_with_while),
        ("write", write_by_length),
    ],
)
def test_right_answers_are_accepted(name, function, judged):
    result = judged(f"11/{name}", function)
    assert result.passed, result.diagnosis


MUTANTS = {
    "too few": ("top_p", too_few, "makes the sum *pass* `p`"),
    "no renormalising": (
        "top_p",
        lambda x, p: torch.zeros_like(x).scatter(-1, *reversed(sorted_kept(x, p))),
        "do not sum to 1",
    ),
    "reads all again": ("write", lambda *a: wrong(*a, feed=list, keep=False), "cost grows with the square"),
    "all and the past": ("write", lambda *a: wrong(*a, feed=list), "reads old tokens twice"),
    "two at once": ("write", lambda *a: wrong(*a, row=0, more=1), ""),
    "a list": ("write", lambda *a: wrong(*a).tolist(), ""),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_answers_are_named(mutant, judged):
    name, function, said = MUTANTS[mutant]
    result = judged(f"11/{name}", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_checks_never_crash(never_crashes):
    never_crashes("11/top_p", solutions.top_p)
    never_crashes("11/write", solutions.write, sort=torch.int64)
