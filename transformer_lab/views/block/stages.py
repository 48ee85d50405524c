"""One token's way through a block as stages, each with its numbers and its sentence.

stages.json lists what each stage shows, for Python and for a page that embeds its model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...analysis.circuits.block_walk import BlockSteps
from ...graphs import analyses
from ..shared.messages import VIEWS, messages, numbered

say = messages("block")
STAGES = json.loads((VIEWS / "block" / "stages.json").read_text("utf-8"))
SHOWN_KEYS = 14  # most rows in a table of keys; those with most weight are kept
SHOWN_HEADS = 16


@dataclass(frozen=True, eq=False)
class Vector:
    """A vector with a name."""

    name: str
    values: Tensor
    chosen: bool = False


@dataclass(frozen=True, eq=False)
class Stage:
    """One step: `tab` is its short name, `formula` what is computed, `sentence` what came out.

    `columns` is a table with a row for each key, whose last column is drawn as a bar (−inf: the
    token may not attend to the key); `beside` is a name and a vector for each key.
    """

    name: str
    tab: str
    title: str
    formula: str
    sentence: str
    vectors: list[Vector]
    columns: dict[str, Tensor]
    beside: tuple[str, Tensor] | None
    answers: list[list[Any]]


def shown_keys(steps: BlockSteps) -> list[int]:
    """The keys of a table, in text order; if there are many, those with most weight."""
    return sorted(steps.weights.argsort(descending=True, stable=True)[:SHOWN_KEYS].tolist())


def stages_of(steps: BlockSteps, around: Mapping[str, Any]) -> list[Stage]:
    """All stages that this block has, in order.

    Args:
        around: `tokens` of the text; `positions`: whether position embeddings are added; `last`:
            whether this is the last block; `here`: whether logits predict the token at a position,
            not the next one; `lens`: what the stream after this block would predict, and `final`
            what the model predicts, pairs (token, probability), likeliest first; `without`: the
            probability of the model's first answer with this head ablated; `why` these are missing.
    """
    numbers, values = _numbers(steps, around["tokens"])
    values |= dict(around, token=None, why=around["why"] or None)
    answers: list[list[Any]] = []
    if around["lens"]:
        final = dict(around["final"])
        (values["token"], values["chance"]), (values["likeliest"], values["p"]) = (
            around["final"][0],
            around["lens"][0],
        )
        answers = [[name, p, final.get(name)] for name, p in around["lens"]]
    stages = []
    for name, has in STAGES.items():
        if any(numbers[part] is None for part in has.get("needs", ())):
            continue
        tab, title, formula, sentence = (
            say(key, stage=name, **values) for key in ("tab", "title", "formula", name)
        )
        vectors = [one for row in has.get("vectors", ()) for one in _vectors(steps, numbers, *row)]
        columns = {label: numbers[column] for label, column in has.get("columns", ())}
        label, vector = has.get("beside", ("", ""))
        beside = (label, numbers[vector]) if label else None
        shown = answers if name == "answer" else []
        stages.append(Stage(name, tab, title, formula, sentence, vectors, columns, beside, shown))
    return stages


def _numbers(steps: BlockSteps, tokens: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The numbers of the stages by name (None if the block has none), and values for messages."""
    s, hidden = steps, torch.zeros(1) if steps.hidden is None else steps.hidden
    facts = analyses.walk_facts(
        s.dots,
        s.scaled,
        s.weights,
        s.scores,
        s.bias,
        s.values,
        s.z[s.head],
        s.stream,
        s.out,
        hidden,
    )
    numbers: dict[str, Any] = vars(s) | {"scores": s.scores, "z_head": s.z[s.head]}
    numbers |= {name: facts.pop(name) for name in ("parts", "shares")}
    numbers |= {"uncrossed": s.middle if s.cross is None else None}
    numbers |= {name: numbers[name] or None for name in ("norm", "mlp_norm")}
    values: dict[str, Any] = {name: one.item() for name, one in facts.items()}
    for name in ("dots", "scaled", "weights", "shares"):
        at = int(values[f"best_{name}"])
        known = at < len(tokens)
        values[f"best_{name}"] = numbered(tokens, at) if known else None
        values[f"value_{name}"] = float(numbers[name][at]) if known else 0.0
    for name, x in numbers.items():
        if isinstance(x, Tensor) and x.dim() == 1:
            values[f"{name}_length"] = float(x.norm())
    values |= {
        name: numbers[name] for name in ("norm", "mlp_norm", "layer", "head", "after", "nothing")
    }
    values |= {"query": numbered(tokens, s.position), "heads": len(s.z), "d": len(s.stream)}
    values |= {"width": len(s.query), "units": None if s.hidden is None else len(s.hidden)}
    values |= {"root": math.isclose(s.scale, len(s.query) ** -0.5, rel_tol=1e-4)}
    values |= {"scale": f"{s.scale:.4g}", "cap": None if s.softcap is None else f"{s.softcap:.4g}"}
    return numbers, values


def _vectors(
    steps: BlockSteps, numbers: Mapping[str, Any], label: str, name: str, chosen: bool = False
) -> list[Vector]:
    """A vector with its label; if there is one per head, those around the chosen head."""
    x, label = numbers[name], label.replace("{head}", str(steps.head))
    label = label.replace("{sum}", say("formula", stage="add", after=steps.after))
    if x is None or x.dim() == 1:
        return [] if x is None else [Vector(label, x, chosen)]
    first = min(max(0, steps.head - SHOWN_HEADS // 2), max(0, len(x) - SHOWN_HEADS))
    rows = range(first, min(len(x), first + SHOWN_HEADS))
    return [Vector(label.replace("{row}", str(i)), x[i], i == steps.head) for i in rows]
