"""The checks of lesson 05b accept right answers, however written, and name what is wrong."""

import pytest
import torch

from tests.lessons.test_lesson_05 import rotary_rolled
from transformer_lab.lessons.solutions import lesson_05b as solutions


def rotary_complex(x, base=10000.0):
    half = x.shape[-1] // 2
    rates = base ** (-torch.arange(half) / half)
    angles = torch.outer(torch.arange(x.shape[-2]).float(), rates)
    pairs = torch.complex(x[..., :half].float(), x[..., half:].float())
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag], -1).to(x.dtype)


def rotary_neighbours(x, base=10000.0, **more):
    d = x.shape[-1]
    order = torch.cat([torch.arange(0, d, 2), torch.arange(1, d, 2)])
    return rotary_rolled(x[..., order], base, **more)[..., order.argsort()]


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


RIGHT = [
    ("rotary", rotary_complex),
    ("rotary", rotary_rolled),
    ("numerical_gradient", gradient_by_index),
    ("numerical_gradient", gradient_by_steps),
    ("from_gpt2", gpt2_by_replace),
    ("from_gpt2", lambda t, n: dict(reversed(gpt2_by_replace(t, n).items()))),
]


@pytest.mark.parametrize("lesson", ["05b", "05"])  # where they were in the second edition
@pytest.mark.parametrize(("name", "made"), RIGHT)
def test_right_answers_are_accepted(name, made, lesson, judged):
    result = judged(f"{lesson}/{name}", made, seconds=30)
    assert result.passed, result.diagnosis


# what was done -> (exercise, answer, words of the diagnosis)
WRONG = {
    "neighbours": ("rotary", rotary_neighbours, ["pair neighbours"]),
    "backwards": ("rotary", lambda x: rotary_rolled(x, sign=-1.0), ["other way round"]),
    "from 1": ("rotary", lambda x: rotary_rolled(x, first=1), ["begin at 1"]),
    "slow": ("rotary", lambda x: rotary_rolled(x, power=1.0), ["half as far"]),
    "not at all": ("rotary", lambda x: x * 1.0, ["comes back as it was"]),
    "another base": ("rotary", lambda x: rotary_rolled(x, 1000.0), ["base"]),
    "neighbours, from 1": (
        "rotary", lambda x: rotary_neighbours(x, first=1),
        ["Two things at once", "pair neighbours", "begin at 1"],
    ),
    "backwards and slow": (
        "rotary", lambda x: rotary_rolled(x, sign=-1.0, power=1.0),
        ["Two things at once", "other way round", "half as far"],
    ),
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
    result = judged(f"05b/{name}", made, seconds=30)
    assert not result.passed
    assert all(word in result.diagnosis for word in words), result.diagnosis


def test_checks_never_crash(never_crashes):
    never_crashes("05b/rotary", solutions.rotary)
    never_crashes("05b/numerical_gradient", solutions.numerical_gradient, torch.float64)


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
    result = judged("05b/from_gpt2", made)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis
