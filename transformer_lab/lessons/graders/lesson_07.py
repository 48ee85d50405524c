"""Checks for lesson 07, RNN against transformer."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.graders.cells_07 import GRU
from transformer_lab.lessons.solutions import lesson_07 as solutions


def _steps_cases() -> list[Case]:
    lengths = torch.tensor([2, 5, 20, 1000])
    return [
        Case("one recurrent layer", (lengths, 1, True)),
        Case("three recurrent layers", (lengths, 3, True)),
        Case("two layers of attention", (lengths, 2, False)),
        Case("seven layers of attention", (lengths, 7, False)),
        Case("a recurrent network that reads a single word", (torch.tensor([1]), 4, True)),
    ]


def _layer_after_layer(length, n_layers, recurrent):
    return length * n_layers if recurrent else solutions.dependent_steps(length, n_layers, False)


def _one_layer_counted(length, n_layers, recurrent):
    return length if recurrent else solutions.dependent_steps(length, n_layers, False)


def _added(length, n_layers, recurrent):
    return length + n_layers if recurrent else solutions.dependent_steps(length, n_layers, False)


def _one_too_few(length, n_layers, recurrent):
    if recurrent:
        return length + n_layers - 2
    return solutions.dependent_steps(length, n_layers, False)


def _attention_waits(length, n_layers, recurrent):
    if recurrent:
        return solutions.dependent_steps(length, n_layers, True)
    return length * n_layers


def _attention_is_the_same(length, n_layers, recurrent):
    return solutions.dependent_steps(length, n_layers, True)


def _attention_in_one(length, n_layers, recurrent):
    if recurrent:
        return solutions.dependent_steps(length, n_layers, True)
    return torch.ones_like(length)


def _work(length, n_layers, recurrent):
    if recurrent:
        return solutions.dependent_steps(length, n_layers, True)
    return length * length * n_layers


def _swapped(length, n_layers, recurrent):
    return solutions.dependent_steps(length, n_layers, not recurrent)


_STEPS = Grader(
    name="07/dependent_steps",
    cases=_steps_cases,
    reference=solutions.dependent_steps,
    shape_hint="the shape of `length`: one number for each text",
    suspects=(
        Suspect(
            "layer after layer",
            _layer_after_layer,
            "You let every recurrent layer wait until the one below has read the whole text. It "
            "does not have to: a cell waits only for its left neighbour and for the cell below. "
            "Number the cells of a small grid by the step in which each is ready.",
        ),
        Suspect(
            "one layer counted",
            _one_layer_counted,
            "For the recurrent network you counted one layer. The last cell of the top layer "
            "is ready some steps after the last cell of the bottom layer.",
        ),
        Suspect(
            "one too many",
            _added,
            "One too many for the recurrent network: you counted the corner cell twice, once along "
            "the text and once up through the layers.",
        ),
        Suspect(
            "one too few",
            _one_too_few,
            "One too few for the recurrent network: with one layer it takes a step for each word, "
            "including the first.",
        ),
        Suspect(
            "attention waits",
            _attention_waits,
            "You let the words of an attention layer wait for each other. Each needs the layer "
            "below, and nothing from its own layer, so all of them can be computed at once.",
        ),
        Suspect(
            "work, not waiting",
            _work,
            "You counted how much there is to compute. The question is how much has to *wait*: "
            "all n² scores of a layer can be computed at the same time.",
        ),
        Suspect(
            "no difference",
            _attention_is_the_same,
            "Both kinds of layers got the recurrent count. In an attention layer, which other "
            "word of the same layer has to be ready first?",
        ),
        Suspect(
            "layers forgotten",
            _attention_in_one,
            "One attention layer is one step, but the layers wait for each other.",
        ),
        Suspect(
            "swapped",
            _swapped,
            "The two kinds are swapped: `recurrent` is True for the network that reads one word "
            "after another.",
        ),
    ),
)


def _path_cases() -> list[Case]:
    last = torch.full((7,), 12)
    first = torch.tensor([0, 3, 4, 5, 8, 11, 12])
    return [
        Case("a window of 4 positions", (first, last, 4)),
        Case("a recurrent network, which reaches one position", (first, last, 1)),
        Case("a window of 4 positions, read backwards", (last, first, 4)),
        Case("a window of 5 positions", (first, last, 5)),
        Case("attention that sees the whole text", (first, last, 13)),
    ]


def _distance(source, place, reach):
    return (source - place).abs()


def _rounded_down(source, place, reach):
    return _distance(source, place, reach) // reach


def _rounded_down_and_one(source, place, reach):
    return _distance(source, place, reach) // reach + 1


def _one_more(source, place, reach):
    return solutions.path_length(source, place, reach) + 1


def _nearest(source, place, reach):
    return (_distance(source, place, reach) / reach).round().long()


def _one_way(source, place, reach):
    return (place - source + reach - 1) // reach


def _other_way(source, place, reach):
    return (source - place + reach - 1) // reach


def _at_once(source, place, reach):
    return (source != place).long()


def _narrower(source, place, reach):
    return solutions.path_length(source, place, max(reach - 1, 1))


_PATH = Grader(
    name="07/path_length",
    cases=_path_cases,
    reference=solutions.path_length,
    shape_hint="the shape of `source` and `place`: one number for each pair",
    suspects=(
        Suspect(
            "reach forgotten",
            _distance,
            "You counted positions, not steps: with a window, one step crosses `reach` positions.",
        ),
        Suspect(
            "rounded down",
            _rounded_down,
            "You rounded down. With a reach of 4, a distance of 5 is not covered by one step: the "
            "remainder takes another one.",
        ),
        Suspect(
            "rounded down, and one",
            _rounded_down_and_one,
            "You rounded down and added one: that is one too many wherever the distance is a "
            "multiple of the reach. A distance of 4 with a reach of 4 takes one step.",
        ),
        Suspect(
            "one more",
            _one_more,
            "One too many everywhere: count the steps *between* the positions. From a position to "
            "itself it takes none.",
        ),
        Suspect(
            "rounded to the nearest",
            _nearest,
            "You rounded to the nearest whole number. Any remainder takes a step of its own, "
            "however small it is.",
        ),
        Suspect(
            "one direction",
            _one_way,
            "This is right when `place` comes after `source`, and wrong the other way round: a "
            "distance has no sign.",
        ),
        Suspect(
            "the other direction",
            _other_way,
            "This is right when `place` comes before `source`, and wrong the other way round: a "
            "distance has no sign.",
        ),
        Suspect(
            "always one step",
            _at_once,
            "You always take one step. That is only right for attention to the whole text: with "
            "a smaller `reach`, it takes several.",
        ),
        Suspect(
            "reach too small",
            _narrower,
            "Your steps are one position too short: a reach of 4 crosses four positions, not three.",
        ),
    ),
)

GRADERS = (_STEPS, _PATH, GRU)
