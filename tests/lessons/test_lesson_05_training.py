"""The checks of lesson 05's training accept right answers, however written, and name what is wrong."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from transformer_lab.lessons.solutions import lesson_05 as solutions


def gradient_by_index(loss, weight, eps=1e-3, low=-1, by=2):
    slopes = []
    for index in torch.cartesian_prod(*[torch.arange(n) for n in weight.shape]).view(
        -1, weight.dim()
    ):
        place, tried = tuple(index.tolist()), []
        kept = weight.data[place].item()
        for side in (1, low):
            weight.data[place] = kept + side * eps
            tried.append(float(loss()))
        weight.data[place] = kept
        slopes.append((tried[0] - tried[1]) / (by * eps))
    return torch.tensor(slopes).view(weight.shape)


def gradient_by_steps(loss, weight, eps=1e-3):
    found = torch.empty_like(weight)
    for i in range(weight.numel()):
        step = torch.zeros(weight.numel(), dtype=weight.dtype)
        step[i] = eps
        step = step.view_as(weight)
        weight += step
        up = loss()
        weight -= 2 * step
        found.view(-1)[i] = (up - loss()) / (2 * eps)
        weight += step
    return found


def never_put_back(loss, weight, eps=1e-3):
    before = weight.view(-1)[0]  # a view, which changes with the weight
    weight.view(-1)[0] += eps
    up = loss()
    weight.view(-1)[0] = before
    return torch.full_like(weight, float(up))


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


def gpt2_by_replace(theirs, n_layers, order=("query", "key", "value"), turn_square=True):
    ours = {}
    renamed = {
        "transformer.": "", "wte": "embedding", "wpe": "positions", "ln_f": "norm", "h.": "blocks.",
        "ln_1": "norm1", "ln_2": "norm2", "mlp.c_fc": "up", "mlp.c_proj": "down",
        "attn.c_proj": "attention.out", "lm_head": "head",
    }  # fmt: skip
    for name, weight in theirs.items():
        for old, new in renamed.items():
            name = name.replace(old, new)
        square = name.endswith("attention.out.weight")
        if weight.dim() == 2 and name.startswith("blocks") and (turn_square or not square):
            weight = weight.T
        if "c_attn" not in name:
            ours[name] = weight
            continue
        third = len(weight) // 3
        for i, part in enumerate(order):
            ours[name.replace("attn.c_attn", f"attention.{part}")] = weight[i * third :][:third]
    return ours


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


RIGHT = [
    ("numerical_gradient", gradient_by_index),
    ("numerical_gradient", gradient_by_steps),
    ("train_loop", loop_with_scheduler),
    ("train_loop", loop_in_order),
    ("from_gpt2", gpt2_by_replace),
    ("from_gpt2", lambda t, n: dict(reversed(gpt2_by_replace(t, n).items()))),
]


@pytest.mark.parametrize(("name", "made"), RIGHT)
def test_right_answers_are_accepted(name, made, judged):
    result = judged(f"05/{name}", made, seconds=30)
    assert result.passed, result.diagnosis


# what was done -> (exercise, answer, words of the diagnosis)
WRONG = {
    "one side": (
        "numerical_gradient", lambda f, w, e: gradient_by_index(f, w, e, low=0, by=1), ["both sides"],
    ),
    "not halved": (
        "numerical_gradient", lambda f, w, e: gradient_by_index(f, w, e, by=1), ["2 · eps apart"],
    ),
    "own eps": ("numerical_gradient", lambda f, w, e: gradient_by_index(f, w), ["Use `eps`"]),
    "sign": ("numerical_gradient", lambda f, w, e: -gradient_by_index(f, w, e), ["sign is wrong"]),
    "only differences": (
        "numerical_gradient", lambda f, w, e: gradient_by_index(f, w, e) * 2 * e, ["difference of two"],
    ),
    "a view kept": ("numerical_gradient", never_put_back, ["not what it was", ".clone()"]),
    "not halved, and the sign": (
        "numerical_gradient", lambda f, w, e: -gradient_by_index(f, w, e, by=1),
        ["Two things at once", "2 · eps apart", "sign is wrong"],
    ),
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
    "not turned": (
        "from_gpt2", lambda t, n: gpt2_by_replace(t, n, turn_square=False), ["is square"],
    ),
    "order": (
        "from_gpt2", lambda t, n: gpt2_by_replace(t, n, ("key", "query", "value")),
        ["Query and key have changed places"],
    ),
    "nothing turned": (
        "from_gpt2", lambda t, n: {k: w.t() if k.endswith("up.weight") else w
                                   for k, w in gpt2_by_replace(t, n).items()},
        ["up.weight", "(in, out)"],
    ),
    "one missing": (
        "from_gpt2", lambda t, n: {k: w for k, w in gpt2_by_replace(t, n).items() if k != "norm.bias"},
        ["`norm.bias` is missing"],
    ),
    "lists": (
        "from_gpt2", lambda t, n: {k: w.tolist() for k, w in gpt2_by_replace(t, n).items()},
        ["is a list, not a tensor"],
    ),
    "order, and not turned": (
        "from_gpt2", lambda t, n: gpt2_by_replace(t, n, ("query", "value", "key"), False),
        ["Two things at once", "is square", "Key and value"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_answers_are_named(mistake, judged):
    name, made, words = WRONG[mistake]
    result = judged(f"05/{name}", made, seconds=30)
    assert not result.passed
    assert all(word in result.diagnosis for word in words), result.diagnosis


@pytest.mark.parametrize("name", ["numerical_gradient", "train_loop"])
def test_checks_never_crash(name, never_crashes):
    never_crashes(f"05/{name}", getattr(solutions, name), torch.float64)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda *_: None, "returned nothing"),
        (lambda *_: [1, 2], "returned a list; return a dict"),
        (lambda *_: {}, "`embedding.weight` is missing"),
        (lambda *_: {}["x"], "KeyError"),
        (
            lambda t, n: {**gpt2_by_replace(t, n), "more": t["lm_head.weight"]},
            "`more` is not a weight",
        ),
    ],
)
def test_what_is_no_table_of_weights_is_told(made, said, judged):
    result = judged("05/from_gpt2", made)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis
