"""A traced program as plain data: the nodes of a `Graph`."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

# Operations that change no number: left out, or replaced by their first argument.
_NOTHING = ("_assert", "_check", "sym_constrain")
SAME = ("alias", "clone", "detach", "lift_fresh_copy", "contiguous")


def clean(graph: fx.Graph) -> None:
    """Drop assertions and unused nodes, such as the attention that our operation replaced.

    `eliminate_dead_code` keeps that one, since it might draw random numbers."""
    for node in reversed(graph.nodes):
        unused = not node.users and not writes(node.target)
        asserts = name_of(node.target).startswith(_NOTHING)
        if node.op in ("call_function", "get_attr") and (unused or asserts):
            graph.erase_node(node)


def writes(operation: Any) -> bool:
    """Whether an operation changes one of its arguments."""
    return isinstance(operation, torch._ops.OpOverload) and operation._schema.is_mutable


def graph_as_data(
    graph: fx.Graph,
    stored: Mapping[str, tuple[str, Tensor]],
    inputs: Sequence[str],
    results: Sequence[str],
) -> tuple[list[list[Any]], dict[str, Tensor], dict[str, str]]:
    """The nodes, weights and results of a `Graph`.

    Args:
        stored: the nodes that are weights -> (name of the weight, tensor).
        inputs: names of the other placeholders, in order.
        results: names of its results, in order.
    """
    nodes: list[list[Any]] = []
    weights: dict[str, Tensor] = {}
    first: dict[Any, str] = {}
    same: dict[str, str] = {}
    made: dict[str, str] = {}  # to leave out what is computed again
    read, found = iter(inputs), dict[str, str]()

    def shown(node: Any) -> str:
        return same[node.name] if node.name in same else str(node.name)

    for node in graph.nodes:
        if node.name in stored:
            name, tensor = stored[node.name]
            like = tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype
            name = first.setdefault(like, name)
            weights[name] = tensor
            nodes.append(["weight", node.name, [name], {}])
        elif node.op == "placeholder":
            nodes.append(["input", node.name, [next(read)], {}])
        elif node.op == "call_function":
            called = name_of(node.target)
            if called in SAME:
                same[node.name] = shown(node.args[0])
                continue
            arguments = [_plain(x, same) for x in node.args]
            named = {key: _plain(x, same) for key, x in node.kwargs.items() if _matters(key)}
            key = repr((called, arguments, named))
            if key in made and not called.startswith("transformer_lab."):
                same[node.name] = made[key]
                continue
            made[key] = node.name
            nodes.append([called, node.name, arguments, named])
        elif node.op == "output":
            given = tree_leaves(node.args[0])
            found = {name: shown(one) for name, one in zip(results, given, strict=True)}
    return nodes, weights, found


def name_of(target: Any) -> str:
    """An operation's name: "addmm", "add.Tensor", "transformer_lab.attend", "getitem"."""
    if isinstance(target, torch._ops.OpOverload):
        return str(target).removeprefix("aten.").removesuffix(".default")
    if target in (operator.getitem,):
        return "getitem"
    return f"number.{getattr(target, '__name__', target)}"


def _matters(name: str) -> bool:
    return name not in ("memory_format", "layout", "device", "pin_memory", "non_blocking")


def _plain(x: Any, same: Mapping[str, str]) -> Any:
    if isinstance(x, fx.Node):
        return {"n": same.get(x.name, x.name)}
    if isinstance(x, list | tuple):
        return [_plain(one, same) for one in x]
    if isinstance(x, dict):
        return {key: _plain(one, same) for key, one in x.items()}
    if isinstance(x, float) and x in (float("inf"), float("-inf")):
        return {"inf": 1 if x > 0 else -1}
    if x is None or isinstance(x, bool | int | float | str):
        return x
    return str(x).removeprefix("torch.")  # a dtype
