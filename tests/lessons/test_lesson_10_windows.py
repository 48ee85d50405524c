"""The check of lesson 10's long texts accepts right answers, however written, and names what is wrong."""

import math

import pytest
import torch
import torch.nn.functional as F

import transformer_lab as tl
from transformer_lab.lessons.solutions import lesson_10 as solutions


def with_labels(predict, tokens, size, stride):
    """What is judged already is no label, as Hugging Face's recipe has it."""
    total, before = 0.0, 0
    for begin in range(0, len(tokens), stride):
        end = min(begin + size, len(tokens))
        labels = tokens[begin:end].clone()
        labels[: max(before - begin, 1)] = -100
        logits = predict(tokens[begin:end])
        total += F.cross_entropy(logits[:-1], labels[1:], ignore_index=-100, reduction="sum")
        before = end
        if end >= len(tokens):
            break
    return total / (len(tokens) - 1)


def token_by_token(predict, tokens, size, stride):
    """For every token the first window that holds it."""
    losses = []
    for t in range(1, len(tokens)):
        begin = max(0, -(-(t + 1 - size) // stride) * stride)
        logits = predict(tokens[begin : begin + size])
        losses.append(-logits[t - begin - 1].log_softmax(-1)[tokens[t]])
    return sum(losses) / len(losses)


def with_a_while(predict, tokens, size, stride):
    begin, found = 0, predict(tokens[:size])[:-1]
    while begin + size < len(tokens):
        begin += stride
        window = tokens[begin : begin + size]
        have = len(found) + 1 - begin
        found = torch.cat((found, predict(window)[have - 1 : -1]))
    return F.cross_entropy(found, tokens[1:])


@pytest.mark.parametrize(
    "function", [solutions.windowed_loss, with_labels, token_by_token, with_a_while]
)
def test_right_answers_are_accepted(function, judged):
    result = judged("10/windowed_loss", function)
    assert result.passed, result.diagnosis


def windows(predict, tokens, size, stride, *, step=None, first=lambda new, losses, begin, last: new,
            count=lambda n, judged: n - 1, shift=1, stop=False, join=lambda parts: torch.cat(parts).sum()):  # fmt: skip
    """The loss by windows, with a step done otherwise."""
    parts, judged = [], 1
    for begin in range(0, len(tokens), step or stride):
        end = min(begin + size, len(tokens))
        if stop and begin and begin + size > len(tokens):
            break
        window = tokens[begin:end]
        every = -predict(window).log_softmax(-1)
        losses = every[: len(window) - shift].gather(-1, window[shift:, None])[:, 0]
        new = max(judged - begin - 1, 0)
        parts.append(losses[max(0, first(new, losses, begin, end == len(tokens))) :])
        judged = end
        if end == len(tokens):
            break
    return join(parts) / count(len(tokens), sum(map(len, parts)))


def again(new, losses, begin, last):
    return 0


MUTANTS = {
    "again": (lambda *x: windows(*x, first=again), "count twice"),
    "again, own count": (
        lambda *x: windows(*x, first=again, count=lambda n, judged: judged), "count twice",
    ),
    "again, and a sum": (
        lambda *x: windows(*x, first=again, count=lambda n, judged: 1), "Two things at once",
    ),
    "end, and bits": (lambda *x: windows(*x, stop=True) / math.log(2), "Two things at once"),
    "all at once": (lambda p, t, size, stride: F.cross_entropy(p(t)[:-1], t[1:]), "ValueError"),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_answers_are_named(mutant, judged):
    function, said = MUTANTS[mutant]
    result = judged("10/windowed_loss", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_checks_never_crash(never_crashes):
    never_crashes("10/windowed_loss", solutions.windowed_loss)


def test_one_window_gives_the_loss_of_the_package():
    torch.manual_seed(0)
    config = tl.ModelConfig(vocab_size=11, n_layers=1, n_heads=2, d_model=8, n_ctx=16)
    model = tl.Transformer(config).eval()
    tokens = torch.randint(11, (12,))

    @torch.no_grad()
    def predict(window):
        return model(window[None])[0]

    whole = solutions.next_token_loss(predict(tokens)[None], tokens[None])
    torch.testing.assert_close(solutions.windowed_loss(predict, tokens, 16, 3), whole)
