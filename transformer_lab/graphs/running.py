"""Run the nodes of a graph in PyTorch, as the engine of a page runs them."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from . import operations

MASKED = -1e30  # scores at most this large count for nothing


class GraphError(ValueError):
    """A model cannot be exported exactly; says why, as the end of a sentence."""


def _selected(x: Tensor, k: int, axis: int = -1, *more: bool) -> Any:
    """`torch.topk`, if its choice does not depend on how equal numbers are ordered.

    Raises:
        GraphError: if it does; PyTorch does not say which of them it takes.
    """
    if more and not more[0]:
        raise GraphError("it selects the smallest scores, which no page does")
    chosen = torch.topk(x, k, axis, *more)
    least = chosen.values.amin(axis, keepdim=True) if k else x
    tied = ((x >= least).sum(axis, keepdim=True) > k) & (least > MASKED)
    if k and bool(tied.any()):
        raise GraphError(
            f"it selects {k} of several equal scores, and PyTorch does not say which of them it takes"
        )
    return chosen


_OURS: dict[str, Callable[..., Any]] = {
    "getitem": operator.getitem,
    "view": torch.reshape,  # of a tensor whose copy the graph leaves out
    # Called as functions: a registered operation would import torch's compiler first.
    "transformer_lab.attend": operations.attend_in_graph,
    "transformer_lab.point": operations.point_in_graph,
    "transformer_lab.topk": _selected,
}
_NAME = re.compile(r"[a-zA-Z_]\w*(\.[a-zA-Z_]\w*)?")
_FACTORIES = ("arange", "empty", "empty_permuted", "full", "ones", "scalar_tensor", "zeros")


class UnknownOperation(ValueError):
    """A description names an operation that no graph of a model has."""


class Program:
    """Nodes, ready to run.

    Args:
        nodes, results: as in `Graph`.

    Raises:
        UnknownOperation: for an operation that is not one of PyTorch's, or changes its arguments.
    """

    def __init__(self, nodes: Sequence[Sequence[Any]], results: Mapping[str, str]):
        self.results = list(results.values())
        self.steps = [(_function(node[0]), node) for node in nodes]
        last: dict[str, int] = {}
        for i, node in enumerate(nodes):
            for name in names_in(node[2:]):
                last[name] = i
        self.gone: list[list[str]] = [[] for _ in nodes]  # results that nothing reads later
        for name, i in last.items():
            if name not in self.results:
                self.gone[i].append(name)

    def run(self, inputs: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[Any]:
        """The results, in their order."""
        values: dict[str, Any] = {}
        for step, gone in zip(self.steps, self.gone, strict=True):
            values[step[1][1]] = self.result(step, values, inputs, weights)
            for name in gone:
                values.pop(name, None)
        return [values[name] for name in self.results]

    def evaluate(
        self,
        wanted: str,
        known: Mapping[str, Any],
        inputs: Mapping[str, Tensor],
        weights: Mapping[str, Tensor],
    ) -> Any:
        """The result of one node; as `evaluate_all`."""
        return self.evaluate_all([wanted], known, inputs, weights)[wanted]

    def evaluate_all(
        self,
        wanted: Iterable[str],
        known: Mapping[str, Any],
        inputs: Mapping[str, Tensor],
        weights: Mapping[str, Tensor],
    ) -> dict[str, Any]:
        """The results of some nodes and of what they need, with known results of others put in.

        Args:
            known: node -> its result. Nodes that only these need are not run.
        """
        values, needed = dict(known), set(wanted)
        for _, node in reversed(self.steps):
            if node[1] in needed and node[1] not in known and node[0] not in ("weight", "input"):
                needed.update(names_in(node[2:]))
        for step in self.steps:
            if step[1][1] in needed and step[1][1] not in known:
                values[step[1][1]] = self.result(step, values, inputs, weights)
        return values

    @staticmethod
    def result(
        step: tuple[Callable[..., Any], Sequence[Any]],
        values: Any,
        inputs: Mapping[str, Tensor],
        weights: Mapping[str, Tensor],
    ) -> Any:
        """The result of one node, which reads others by their names in `values`."""
        function, (kind, _, arguments, named) = step
        if kind == "weight":
            return weights[arguments[0]]
        if kind == "input":
            return inputs[arguments[0]]
        given = {key: _value(x, values) for key, x in named.items()}
        if isinstance(kind, str) and kind.split(".")[0] in _FACTORIES:
            tensors = (*weights.values(), *inputs.values())
            given["device"] = next((x.device for x in tensors), None)
        return function(*(_value(x, values) for x in arguments), **given)


def names_in(x: Any) -> Iterator[str]:
    """The nodes that arguments name."""
    if isinstance(x, dict):
        if "n" in x:
            yield x["n"]
        else:
            for one in x.values():
                yield from names_in(one)
    elif isinstance(x, list | tuple):
        for one in x:
            yield from names_in(one)


def _value(x: Any, values: Any) -> Any:
    if isinstance(x, dict):
        if "n" in x:
            return values[x["n"]]
        if "inf" in x:
            return math.copysign(math.inf, x["inf"])
        return {key: _value(one, values) for key, one in x.items()}
    if isinstance(x, list):
        return [_value(one, values) for one in x]
    if isinstance(x, str) and isinstance(found := getattr(torch, x, None), torch.dtype):
        return found
    return x


def _function(kind: Any) -> Callable[..., Any]:
    """The function in PyTorch for an operation of a graph."""
    if kind in ("weight", "input"):
        return lambda: None
    if kind in _OURS:
        return _OURS[kind]
    if isinstance(kind, str) and _NAME.fullmatch(kind):
        if kind.startswith("number."):
            name = kind.removeprefix("number.")
            places = (operator, math) if not name.startswith("sym_") else (torch,)
            for place in places:
                if callable(found := getattr(place, name, None)):
                    return found
        else:
            place = torch.ops.aten
            if kind.startswith("transformers."):  # which registers some of its own
                place, kind = torch.ops.transformers, kind.removeprefix("transformers.")
            packet, _, overload = kind.partition(".")
            found = getattr(getattr(place, packet, None), overload or "default", None)
            if isinstance(found, torch._ops.OpOverload) and _is_pure(found):
                return found
    raise UnknownOperation(f"a graph names the operation {str(kind)[:60]!r}, which none has")


def _is_pure(found: torch._ops.OpOverload) -> bool:
    """Whether an operation makes a tensor from tensors or from numbers, and changes nothing."""
    schema = found._schema
    makes = any("Tensor" in str(one.type) for one in schema.arguments)
    return not schema.is_mutable and (makes or schema.name.split("::")[1] in _FACTORIES)
