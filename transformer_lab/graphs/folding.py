"""Compute once, when a graph is made, what depends on neither its inputs nor its parameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from .running import Program, names_in

MOST = 65_536  # numbers in a result that is kept


def folded(
    nodes: list[list[Any]],
    weights: Mapping[str, Tensor],
    results: Mapping[str, str],
    learned: Collection[str],
) -> tuple[list[list[Any]], dict[str, Tensor]]:
    """Nodes and weights with such results stored as weights, if they are finite and of few numbers.

    Args:
        learned: names of weights that may change.
    """
    known: dict[str, Any] = {}
    for step in Program(nodes, results).steps:
        kind, name, *given = step[1]
        if kind == "input" or kind.startswith("transformer_lab."):
            continue
        if kind == "weight" and (given[0][0] in learned or weights[given[0][0]].numel() > MOST):
            continue
        if all(one in known for one in names_in(given)):
            value = Program.result(step, known, {}, weights)
            if not isinstance(value, Tensor) or value.numel() <= MOST:
                known[name] = value
    fold = {
        node[1]: known[node[1]].contiguous()
        for node in nodes
        if node[1] in known and any(names_in(node[2:])) and _is_kept(known[node[1]])
    }
    changed = [
        ["weight", node[1], [f"constant.{node[1]}"], {}] if node[1] in fold else node
        for node in nodes
    ]
    read = set(results.values())
    left: list[list[Any]] = []
    for node in reversed(changed):
        if node[1] in read or node[0] == "input" or node[0].startswith("transformer_lab."):
            left.append(node)
            read.update(names_in(node[2:]))
    left.reverse()
    constants = {f"constant.{name}": value for name, value in fold.items()}
    names = {node[2][0] for node in left if node[0] == "weight"}
    return left, {n: x for n, x in {**weights, **constants}.items() if n in names}


def _is_kept(x: Any) -> bool:
    if not isinstance(x, Tensor) or x.is_complex():
        return False
    return x.dtype == torch.bool or bool(x.isfinite().all())
