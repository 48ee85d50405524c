"""The checks of lesson 05b accept right answers, however written, and name mistakes."""

import torch

from tests.lessons.answers import checks_of
from tests.lessons.test_lesson_05 import rotary_rolled


def rotary_complex(x, base=10000.0):
    half = x.shape[-1] // 2
    rates = base ** (-torch.arange(half) / half)
    angles = torch.outer(torch.arange(x.shape[-2]).float(), rates)
    pairs = torch.complex(x[..., :half].float(), x[..., half:].float())
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag], -1).to(x.dtype)


def gradient_by_index(loss, weight, eps=1e-3):
    slopes = []
    for index in torch.cartesian_prod(*[torch.arange(n) for n in weight.shape]).view(
        -1, weight.dim()
    ):
        place, tried = tuple(index.tolist()), []
        kept = weight.data[place].item()
        for side in (1, -1):
            weight.data[place] = kept + side * eps
            tried.append(float(loss()))
        weight.data[place] = kept
        slopes.append((tried[0] - tried[1]) / (2 * eps))
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


def gpt2_by_replace(theirs, n_layers):
    ours = {}
    renamed = {
        "transformer.": "",
        "wte": "embedding",
        "wpe": "positions",
        "ln_f": "norm",
        "h.": "blocks.",
        "ln_1": "norm1",
        "ln_2": "norm2",
        "mlp.c_fc": "up",
        "mlp.c_proj": "down",
        "attn.c_proj": "attention.out",
        "lm_head": "head",
    }
    for name, weight in theirs.items():
        for old, new in renamed.items():
            name = name.replace(old, new)
        if weight.dim() == 2 and name.startswith("blocks"):
            weight = weight.T
        if "c_attn" not in name:
            ours[name] = weight
            continue
        third = len(weight) // 3
        for i, part in enumerate(("query", "key", "value")):
            ours[name.replace("attn.c_attn", f"attention.{part}")] = weight[i * third :][:third]
    return ours


RIGHT = {
    "rotary": (rotary_complex, rotary_rolled),
    "numerical_gradient": (gradient_by_index, gradient_by_steps),
    "from_gpt2": (gpt2_by_replace, lambda t, n: dict(reversed(gpt2_by_replace(t, n).items()))),
}
WRONG = {
    "numerical_gradient": {"a view kept": (never_put_back, ["not what it was", ".clone()"])},
    "from_gpt2": {
        "nothing turned": (
            lambda t, n: {
                k: w.t() if k.endswith("up.weight") else w for k, w in gpt2_by_replace(t, n).items()
            },
            ["up.weight", "(in, out)"],
        ),
        "one missing": (
            lambda t, n: {k: w for k, w in gpt2_by_replace(t, n).items() if k != "norm.bias"},
            ["`norm.bias` is missing"],
        ),
        "lists": (
            lambda t, n: {k: w.tolist() for k, w in gpt2_by_replace(t, n).items()},
            ["is a list, not a tensor"],
        ),
        "nothing": (lambda *_: None, "returned nothing"),
        "a list": (lambda *_: [1, 2], "returned a list; return a dict"),
        "empty": (lambda *_: {}, "`embedding.weight` is missing"),
        "an error": (lambda *_: {}["x"], "KeyError"),
        "one more": (
            lambda t, n: {**gpt2_by_replace(t, n), "more": t["lm_head.weight"]},
            "`more` is not a weight",
        ),
    },
}


test_right, test_odd, test_wrong = checks_of("05b", RIGHT, WRONG, odd=["numerical_gradient"])
