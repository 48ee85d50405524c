"""The checks of lesson 05's training accept right answers, however written, and name what is wrong."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from transformer_lab.lessons.solutions import lesson_05 as solutions


def loop_with_scheduler(
    model, batches, steps, lr, warmup, clip, zero=True, cosine=True, cut=True, shift=0, kind="AdamW"
):
    optimizer = getattr(torch.optim, kind)(list(model.parameters()), lr=lr)

    def factor(s):
        if s < warmup:
            return (s + 1) / warmup
        return 0.5 + 0.5 * math.cos(math.pi * (s - warmup) / (steps - warmup)) if cosine else 1.0

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    rows, source = [], iter(batches)
    for _ in range(steps):
        batch = next(source)
        if zero:
            model.zero_grad()
        found = model(batch.tokens).log_softmax(-1)
        n = found.shape[1] - shift
        loss = -found[:, :n].gather(-1, batch.targets[:, shift:, None]).mean()
        loss.backward()
        length = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        if cut and length > clip:
            for p in model.parameters():
                p.grad *= clip / length
        rows.append(torch.stack([loss.detach(), length]))
        optimizer.step()
        schedule.step()
    return torch.stack(rows)


def loop_in_order(model, batches, steps, lr, warmup, clip):
    optimizer, told = torch.optim.AdamW(model.parameters()), []
    for step in range(steps):
        batch = next(batches)
        t = (step - warmup) / (steps - warmup)
        rate = (step + 1) / warmup if step < warmup else math.cos(math.pi * t / 2) ** 2
        for group in optimizer.param_groups:
            group["lr"] = lr * rate
        loss = F.cross_entropy(model(batch.tokens).transpose(1, 2), batch.targets)
        loss.backward()
        told.append((float(loss), float(nn.utils.clip_grad_norm_(model.parameters(), clip))))
        optimizer.step()
        optimizer.zero_grad()
    return torch.tensor(told)


def generate_with_room(model, tokens, n, n_ctx, choose):
    """A tensor with room for everything, filled in."""
    batch, length = tokens.shape
    text = tokens.new_zeros(batch, length + n)
    text[:, :length] = tokens
    with torch.inference_mode():
        for i in range(length, length + n):
            text[:, i] = choose(model(text[:, max(0, i - n_ctx) : i]).select(1, -1))
    return text.clone()


@torch.no_grad()
def generate_by_rows(model, tokens, n, n_ctx, choose):
    """Lists, and a while loop."""
    rows = tokens.tolist()
    while len(rows[0]) < tokens.shape[1] + n:
        logits = model(torch.tensor([row[-n_ctx:] for row in rows]))
        for row, token in zip(rows, choose(logits[:, -1, :]).tolist(), strict=True):
            row.append(token)
    return torch.tensor(rows)


def generate_again(model, tokens, n, n_ctx, choose):
    """Calls itself."""
    if n == 0:
        return tokens
    with torch.no_grad():
        new = choose(model(tokens[:, -n_ctx:])[:, -1])
    return generate_again(model, torch.hstack((tokens, new.unsqueeze(1))), n - 1, n_ctx, choose)


def generated(window=None, row=-1, keep=None, grad=False):
    """A wrong `generate` in one way or another."""

    def wrong(model, tokens, n, n_ctx, choose):
        with torch.set_grad_enabled(grad):
            for _ in range(n):
                read = tokens if window is None else window(tokens, n_ctx)
                new = choose(model(read)[:, row])[:, None]
                tokens = torch.cat((tokens, new), 1)
        return tokens if keep is None else keep(tokens, n)

    return wrong


RIGHT = [
    ("generate", generate_with_room),
    ("generate", generate_by_rows),
    ("generate", generate_again),
    ("train_loop", loop_with_scheduler),
    ("train_loop", loop_in_order),
]


@pytest.mark.parametrize(("name", "made"), RIGHT)
def test_right_answers_are_accepted(name, made, judged):
    result = judged(f"05/{name}", made, seconds=30)
    assert result.passed, result.diagnosis


# what was done -> (exercise, answer, words of the diagnosis)
WRONG = {
    "no zero_grad": (
        "train_loop", lambda *a: loop_with_scheduler(*a, zero=False), ["never set to 0"],
    ),
    "no fall": ("train_loop", lambda *a: loop_with_scheduler(*a, cosine=False), ["does not fall"]),
    "no clip": ("train_loop", lambda *a: loop_with_scheduler(*a, cut=False), ["not clipped"]),
    "shifted": ("train_loop", lambda *a: loop_with_scheduler(*a, shift=1), ["shift once more"]),
    "SGD": ("train_loop", lambda *a: loop_with_scheduler(*a, kind="SGD"), ["SGD"]),
    "losses alone": ("train_loop", lambda *a: loop_with_scheduler(*a)[:, 0], ["only the losses"]),
    "no clip, no fall": (
        "train_loop", lambda *a: loop_with_scheduler(*a, cut=False, cosine=False),
        ["Two things at once", "not clipped", "does not fall"],
    ),
    "the whole text": ("generate", generated(), ["the last `n_ctx`"]),
    "the first tokens": ("generate", generated(lambda t, n: t[:, :n]), ["the *first* `n_ctx`"]),
    "only the newest": ("generate", generated(lambda t, n: t[:, -1:]), ["only the newest token"]),
    "the first row": (
        "generate", generated(lambda t, n: t[:, -n:], row=0), ["logits of the first position"],
    ),
    "only what is new": (
        "generate", generated(lambda t, n: t[:, -n:], keep=lambda t, n: t[:, -n:]),
        ["only what was written"],
    ),
    "gradients on": ("generate", generated(lambda t, n: t[:, -n:], grad=True), ["torch.no_grad()"]),
    "the first row, and only what is new": (
        "generate", generated(lambda t, n: t[:, -n:], row=0, keep=lambda t, n: t[:, -n:]),
        ["Two things at once", "first position", "only what was written"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_answers_are_named(mistake, judged):
    name, made, words = WRONG[mistake]
    result = judged(f"05/{name}", made, seconds=30)
    assert not result.passed
    assert all(word in result.diagnosis for word in words), result.diagnosis


def test_checks_never_crash(never_crashes):
    never_crashes("05/train_loop", solutions.train_loop, torch.float64)
    never_crashes("05/generate", solutions.generate, torch.int64)
