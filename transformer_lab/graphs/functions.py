"""Export a function of tensors as a graph: an analysis of a pass, or a loss and its gradients."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from . import operations  # noqa: F401  (registers the two operations)
from .as_data import clean, graph_as_data, writes
from .export import Graph


def function_graph(
    function: Callable[..., Mapping[str, Tensor]],
    example: Mapping[str, Tensor],
    *,
    any_size: bool = True,
    weights: Mapping[str, Tensor] | None = None,
) -> Graph:
    """Export a function as a graph.

    Args:
        function: takes the tensors of `example` by name, and returns its results by name. It must
            not make decisions by their numbers. It may call torch.autograd.grad.
        example: tensors to trace it with; without `any_size` the graph is for their shapes only.
        any_size: whether the graph is valid for any size of every axis that is at least 2 in
            `example` (axes of 1 stay 1, and two axes of one size need not stay equal). A function
            that is only right for some sizes is not refused here: compare with it at other sizes.
        weights: name -> tensor, of those that the function reads beside `example`; others get a
            name. A result with the name of one of them replaces it once all results are computed.
    """
    names: list[str] = []

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        found = function(**dict(zip(example, tensors, strict=True)))
        names[:] = found
        return tuple(found.values())

    table = core_aten_decompositions()
    table.pop(torch.ops.aten._safe_softmax.default, None)  # one operation of ours instead of seven
    how: dict[str, Any] = dict(
        decomposition_table=table,
        tracing_mode="symbolic" if any_size else "real",
        _allow_non_fake_inputs=True,  # weights
    )
    traced = make_fx(run, **how)(*example.values())
    if any(writes(node.target) for node in traced.graph.nodes):
        # Once more, so that no operation writes into its arguments.
        traced = make_fx(torch.func.functionalize(traced), **how)(*example.values())
    clean(traced.graph)
    known = {x.data_ptr(): name for name, x in (weights or {}).items()}
    stored = {}
    for node in traced.graph.nodes:
        if node.op == "get_attr":
            tensor = getattr(traced, str(node.target)).detach()
            stored[node.name] = (known.get(tensor.data_ptr()) or _name_of(tensor), tensor)
    nodes, kept, results = graph_as_data(traced.graph, stored, tuple(example), names)
    updates = {name: results.pop(name) for name in names if name in (weights or {})}
    return Graph(tuple(example), nodes, kept, results, updates=updates)


def _name_of(constant: Tensor) -> str:
    """A name from its contents: several graphs of a page share some constants."""
    data = constant.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    shape = "x".join(map(str, constant.shape))
    return f"constant.{shape}.{hashlib.sha256(data).hexdigest()[:12]}"
