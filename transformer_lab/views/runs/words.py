"""Where a scrubber stands, in words and numbers. The counterpart of runs/words.js."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..shared.messages import fixed, short


@dataclass(frozen=True)
class RunFacts:
    """What a sentence is made from.

    steps: of the whole run; known: those with a snapshot; loss: at `step`, or None; scores
    [snapshot, layer, head] of the measure; unit: "share", "bits" or "tokens".
    """

    step: int
    steps: int
    known: list[int]
    loss: float | None
    measure: str
    unit: str
    layer: int
    head: int
    scores: Tensor


def amount(value: float, unit: str) -> str:
    """A score, as a share or with its unit."""
    return short(value) if unit == "share" else f"{fixed(value)} {unit}"


def passed_half(line: Tensor) -> int | None:
    """The first snapshot at which a score has passed half of its last value; None where it did not
    grow by a tenth."""
    line = line.double()
    if float(line[-1] - line[0]) < 0.1:
        return None
    return int((line >= line[-1] / 2).nonzero()[0])


def run_sentence(facts: RunFacts) -> str:
    """Step, loss, and the chosen head's score beside the best one's."""
    at = facts.known.index(facts.step)
    if facts.step == 0:
        text = f"Step 0 of {facts.steps}, before training."
    elif facts.loss is None:
        text = f"Step {facts.step} of {facts.steps}."
    else:
        text = f"Step {facts.step} of {facts.steps}: loss {fixed(facts.loss)} nats a token."
    if not facts.measure:
        return text
    now = facts.scores[at]
    value = float(now[facts.layer, facts.head])
    name = facts.measure[0].upper() + facts.measure[1:]
    text += f" {name}: layer {facts.layer}, head {facts.head} has {amount(value, facts.unit)}"
    best = int(torch.argmax(now))
    layer, head = divmod(best, now.shape[1])
    if (layer, head) == (facts.layer, facts.head):
        text += ", the most of all." if now.numel() > 1 else "."
    else:
        most = amount(float(now.flatten()[best]), facts.unit)
        text += f"; layer {layer}, head {head} has the most, {most}."
    line = facts.scores[:, facts.layer, facts.head]
    half = passed_half(line) if facts.unit == "share" else None
    if half is not None:
        text += (
            f" It began at {short(float(line[0]))} and ends at {short(float(line[-1]))}; by step "
            f"{facts.known[half]} it had passed half of that."
        )
    return text
