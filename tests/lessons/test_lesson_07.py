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


@pytest.mark.parametrize(
    ("name", "function"),
    [
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
    "corner twice": (
        "dependent_steps",
        lambda n, layers, r: n + layers if r else torch.full_like(n, layers),
        "counted twice",
    ),
    "first word not counted": (
        "dependent_steps",
        lambda n, layers, r: n + layers - 2 if r else torch.full_like(n, layers),
        "One too few",
    ),
    "attention waits": (
        "dependent_steps",
        lambda n, layers, r: n + layers - 1 if r else n * layers,
        "wait for each other. Each needs the layer below",
    ),
    "work": (
        "dependent_steps",
        lambda n, layers, r: n + layers - 1 if r else n**2 * layers,
        "how much there is to compute",
    ),
    "no difference": (
        "dependent_steps",
        lambda n, layers, r: n + layers - 1,
        "Both kinds",
    ),
    "layers forgotten": (
        "dependent_steps",
        lambda n, layers, r: n + layers - 1 if r else n**0,
        "the layers wait for each other",
    ),
    "swapped": (
        "dependent_steps",
        lambda n, layers, r: torch.full_like(n, layers) if r else n + layers - 1,
        "swapped",
    ),
    "places": ("path_length", lambda i, j, reach: (i - j).abs(), "You counted places"),
    "floor": ("path_length", lambda i, j, reach: (i - j).abs() // reach, "rounded down. A"),
    "floor and one": (
        "path_length",
        lambda i, j, reach: 1 + (i - j).abs() // reach,
        "one too many wherever",
    ),
    "one more": (
        "path_length",
        lambda i, j, reach: path_with_floor(i, j, reach) + 1,
        "One too many everywhere",
    ),
    "nearest": (
        "path_length",
        lambda i, j, reach: torch.round((i - j).abs() / reach).long(),
        "nearest whole number",
    ),
    "signed": ("path_length", lambda i, j, reach: -((i - j) // reach), "comes after"),
    "signed the other way": (
        "path_length",
        lambda i, j, reach: -((j - i) // reach),
        "comes before",
    ),
    "one step": ("path_length", lambda i, j, reach: (i != j).long(), "One step always"),
    "narrow": (
        "path_length",
        lambda i, j, reach: path_with_floor(i, j, reach - 1 or 1),
        "one place too short",
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_answers_are_named(mutant, judged):
    name, function, said = MUTANTS[mutant]
    result = judged(f"07/{name}", function)
    assert not result.passed
    assert said in result.diagnosis.replace("\n", " "), result.diagnosis


@pytest.mark.parametrize("name", ["dependent_steps", "path_length"])
def test_checks_never_crash(name, never_crashes):
    never_crashes(f"07/{name}", getattr(solutions, name), sort=torch.int64)


def test_a_single_number_is_not_enough(judged):
    result = judged("07/dependent_steps", lambda n, layers, r: layers)
    assert not result.passed
    assert result.diagnosis
