"""The checks of lesson 07 accept right answers, however written, and name mistakes."""

import torch

from tests.lessons.answers import checks_of


def steps_with_where(length, n_layers, recurrent):
    return torch.where(torch.tensor(recurrent), length - 1 + n_layers, n_layers)


def steps_by_walking(length, n_layers, recurrent):
    """Count the longest chain of cells."""
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


def gru_one_gate_at_a_time(
    x, h, w_ih, w_hh, b_ih, b_hh, inner=lambda r, w, h, b: r * (h @ w.T + b)
):
    """Written from scratch."""
    d = h.shape[-1]
    of = {"r": slice(0, d), "z": slice(d, 2 * d), "n": slice(2 * d, 3 * d)}
    states = torch.empty(*x.shape[:2], d, dtype=x.dtype)
    for t in range(x.shape[1]):
        r, z = (
            1
            / (
                1
                + torch.exp(
                    -(x[:, t] @ w_ih[of[g]].T + h @ w_hh[of[g]].T + b_ih[of[g]] + b_hh[of[g]])
                )
            )
            for g in "rz"
        )
        at = of["n"]
        n = torch.tanh(x[:, t] @ w_ih[at].T + b_ih[at] + inner(r, w_hh[at], h, b_hh[at]))
        h = n + z * (h - n)
        states[:, t] = h
    return states


RIGHT = {
    "gru": (gru_of_torch, gru_one_gate_at_a_time),
    "dependent_steps": (steps_with_where, steps_by_walking, lambda *a: steps_with_where(*a).int()),
    "path_length": (path_with_floor, path_by_walking, lambda *a: path_with_floor(*a).int()),
}
WRONG = {
    "gru": {
        "r on the bias alone": (
            lambda *a: gru_one_gate_at_a_time(*a, lambda r, w, h, b: h @ w.T + r * b),
            "the largest difference is",
        )
    },
    "dependent_steps": {"a single number": (lambda n, layers, r: layers, "")},
}


test_right, test_odd, test_wrong = checks_of("07", RIGHT, WRONG)
