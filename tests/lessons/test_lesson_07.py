"""The checks of lesson 07 accept right answers, however written, and name what is wrong."""

import pytest
import torch

from transformer_lab.lessons.solutions import lesson_07 as solutions


def steps_with_where(length, n_layers, recurrent):
    return torch.where(torch.tensor(recurrent), length - 1 + n_layers, n_layers)


def steps_by_walking(length, n_layers, recurrent):
    """The longest chain of cells, counted."""
    counts = []
    for n in length.tolist():
        ready = [0] * n
        for _ in range(n_layers):
            left = 0
            for t in range(n):
                ready[t] = left = max(ready[t], left if recurrent else 0) + 1
        counts.append(ready[-1])
    return torch.tensor(counts)


def path_with_floor(source, place, reach):
    return -(-(source - place).abs() // reach)


def path_by_walking(source, place, reach):
    left, steps = (source - place).abs().clone(), torch.zeros_like(source)
    while (left > 0).any():
        steps = steps + (left > 0)
        left = left - reach
    return steps


def gru_of_torch(x, h, w_ih, w_hh, b_ih, b_hh):
    layer = torch.nn.GRU(x.shape[-1], h.shape[-1], batch_first=True).to(x.dtype)
    for name, weight in zip(
        ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"),
        (w_ih, w_hh, b_ih, b_hh),
        strict=True,
    ):
        getattr(layer, name).data = weight
    return layer(x, h[None])[0]


def gru_one_gate_at_a_time(x, h, w_ih, w_hh, b_ih, b_hh, **own):
    """Written from scratch, with some steps replaced."""
    d = h.shape[-1]
    of = {"r": slice(0, d), "z": slice(d, 2 * d), "n": slice(2 * d, 3 * d), **own.get("of", {})}
    squash = own.get("squash", torch.tanh)
    blend = own.get("blend", lambda z, n, h: n + z * (h - n))
    inner = own.get("inner", lambda r, w, h, b: r * (h @ w.T + b))
    states = torch.empty(*x.shape[:2], d, dtype=x.dtype)
    first = h
    for t in own.get("order", range(x.shape[1])):
        start = first if own.get("alone") else h
        r, z = (
            1 / (1 + torch.exp(-(x[:, t] @ w_ih[of[g]].T + start @ w_hh[of[g]].T
                                 + b_ih[of[g]] + b_hh[of[g]])))
            for g in "rz"
        )  # fmt: skip
        at = of["n"]
        n = squash(x[:, t] @ w_ih[at].T + b_ih[at] + inner(r, w_hh[at], start, b_hh[at]))
        h = blend(z, n, start)
        states[:, t] = h
    return states


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("gru", solutions.gru),
        ("gru", gru_of_torch),
        ("gru", gru_one_gate_at_a_time),
        ("dependent_steps", solutions.dependent_steps),
        ("dependent_steps", steps_with_where),
        ("dependent_steps", steps_by_walking),
        ("dependent_steps", lambda *a: steps_with_where(*a).int()),
        ("path_length", solutions.path_length),
        ("path_length", path_with_floor),
        ("path_length", path_by_walking),
        ("path_length", lambda *a: path_with_floor(*a).int()),
    ],
)
def test_right_answers_are_accepted(name, function, judged):
    result = judged(f"07/{name}", function)
    assert result.passed, result.diagnosis


MUTANTS = {
    "layer after layer": (
        "dependent_steps",
        lambda n, layers, r: n * layers if r else torch.full_like(n, layers),
        "wait until the one below has read the whole text",
    ),
    "one layer": (
        "dependent_steps",
        lambda n, layers, r: n if r else torch.full_like(n, layers),
        "you counted one layer",
    ),
    "attention waits": (
        "dependent_steps",
        lambda n, layers, r: n + layers - 1 if r else n * layers,
        "wait for each other. Each needs the layer below",
    ),
    "places": ("path_length", lambda i, j, reach: (i - j).abs(), "You counted positions"),
    "floor": ("path_length", lambda i, j, reach: (i - j).abs() // reach, "You rounded down. With"),
    "floor and one": (
        "path_length",
        lambda i, j, reach: 1 + (i - j).abs() // reach,
        "one too many wherever",
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_answers_are_named(mutant, judged):
    name, function, said = MUTANTS[mutant]
    result = judged(f"07/{name}", function)
    assert not result.passed
    assert said in result.diagnosis.replace("\n", " "), result.diagnosis


def with_own(**own):
    return lambda *a: gru_one_gate_at_a_time(*a, **own)


def turned(z, n, h):
    return (1 - z) * h + z * n


def before_the_matrix(r, w, h, b):
    return (r * h) @ w.T + b


def swapped(*a):
    d = a[1].shape[-1]
    return gru_one_gate_at_a_time(*a, of={"z": slice(0, d), "r": slice(d, 2 * d)})


GRU_MUTANTS = {
    "gates": (swapped, "The first third of the rows is r"),
    "before the matrix": (with_own(inner=before_the_matrix), "*before* its matrix"),
    "r on the bias alone": (
        with_own(inner=lambda r, w, h, b: h @ w.T + r * b),
        "the largest difference is",
    ),
    "turned and no tanh": (with_own(blend=turned, squash=lambda n: n), "Two things at once"),
    "alone and before": (with_own(alone=True, inner=before_the_matrix), "Two things at once"),
    "no bias and turned": (
        lambda *a: with_own(blend=turned)(*(0 * x if i == 4 else x for i, x in enumerate(a))),
        "Two things at once",
    ),
}


@pytest.mark.parametrize("mutant", GRU_MUTANTS)
def test_wrong_layers_are_named(mutant, judged):
    function, said = GRU_MUTANTS[mutant]
    result = judged("07/gru", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_the_check_of_the_layer_never_crashes(never_crashes):
    never_crashes("07/gru", solutions.gru)


@pytest.mark.parametrize("name", ["dependent_steps", "path_length"])
def test_checks_never_crash(name, never_crashes):
    never_crashes(f"07/{name}", getattr(solutions, name), sort=torch.int64)


def test_a_single_number_is_not_enough(judged):
    result = judged("07/dependent_steps", lambda n, layers, r: layers)
    assert not result.passed
    assert result.diagnosis
