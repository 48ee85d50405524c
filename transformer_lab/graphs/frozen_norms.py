"""A model's graph with frozen norms, and with the outputs of heads and MLPs put in from a run. It
is then linear, and what was written can be followed through it part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..adapters.parts import in_order
from ..adapters.sources import BIASES, PartsError, Source
from ..adapters.stream_writers import embedded_part
from ..softmax import spread_heads
from .export import Graph
from .rows import ATTEND
from .running import Program, names_in

POINT, NORM = "transformer_lab.point", "native_layer_norm"
_ROOTS = ("rsqrt", "sqrt", "reciprocal", "linalg_vector_norm", "pow")  # what norms divide by
_LOOKUPS = ("embedding", "index", "index_select")


class HeldProgram(Program):
    """A graph with the scales of its norms frozen: no gradient passes through them. Heads attend by
    `patterns`, whatever their queries and keys are."""

    def __init__(self, graph: Graph):
        super().__init__(graph.nodes, graph.results)
        self.graph = graph
        self.node = {node[1]: node for node in graph.nodes}
        self.calls: dict[str, Sequence[Any]] = {}  # by "kind/layer"
        self.points: dict[str, str] = {}  # "resid_pre/kind/layer" -> its node
        for node in graph.nodes:
            if node[0] == ATTEND:
                if (site := f"{node[2][8]}/{node[2][9]}") in self.calls:
                    raise PartsError("heads of a layer return their values in several parts")
                self.calls[site] = node
            elif node[0] == POINT:
                self.points[f"{node[2][1]}/{node[2][2]}/{node[2][3]}"] = node[1]
        self.mlps = {x: node for x, node in self.points.items() if x.startswith("mlp_out/")}
        self.patterns: Mapping[str, Tensor] = {}  # which heads attend by, by "kind/layer"
        self.steps = [(self._held(step, node), node) for step, node in self.steps]

    def _held(self, step: Callable[..., Any], node: Sequence[Any]) -> Callable[..., Any]:
        if node[0] == NORM:
            return _layer_norm
        if node[0].split(".")[0] in _ROOTS:
            return lambda *args, **named: _without_gradient(step(*args, **named))
        if node[0] == ATTEND:
            return self._attend
        return step

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> Tensor:
        return self.patterns[f"{rest[-2]}/{rest[-1]}"] @ spread_heads(value, query.shape[1])

    def values(self, wanted: Iterable[str], known: Mapping[str, Any], texts: Any) -> dict[str, Any]:
        """The values of some nodes and of what they need.

        Args:
            known: node -> its value. texts: what the graph reads, by name.
        """
        return self.evaluate_all(wanted, known, texts, self.graph.weights)


def _layer_norm(x: Tensor, _: Any, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple:
    x = x - x.mean(-1, keepdim=True)
    scale = (x.square().mean(-1, keepdim=True) + eps).rsqrt().detach()
    y = x * scale if weight is None else x * scale * weight
    return y if bias is None else y + bias, None, scale


def _without_gradient(x: Any) -> Any:
    """The scale of a norm, one number per row, without its gradient; anything else as it is."""
    return x.detach() if _is_scale(x) else x


def _is_scale(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dim() > 1 and x.shape[-1] == 1


def is_node(x: Any) -> bool:
    return isinstance(x, dict) and "n" in x


class Bank(NamedTuple):
    """Each source's contribution to a node: [source, ...], or a tuple of such tensors."""

    sources: tuple[Source, ...]
    values: Any


class Splitting:
    """Splits nodes that are linear in what was written into each source's contribution."""

    def __init__(self, held: HeldProgram):
        self.held = held
        self.rest: dict[str, bool] = {}  # stack -> whether more than embeddings enters it
        self.actual: dict[str, Any] = {}
        self.banks: dict[str, Bank] = {}
        nodes = held.node
        first = [node for name, node in held.points.items() if _is_first(name)]
        before = _before(first, nodes, lambda _: False)
        self.lookups = {
            n
            for n in before
            if nodes[n][0].split(".")[0] in _LOOKUPS and nodes[nodes[n][2][0]["n"]][0] == "weight"
        }

    def run(self, wanted: Sequence[str], known: Mapping[str, Any], texts: Any) -> None:
        self.actual, self.banks = self.held.values(wanted, known, texts), {}
        nodes = self.held.node
        needed = _before(wanted, nodes, lambda n: n in known or n in self.lookups or self._holds(n))
        for name in nodes:
            if name in needed and not self._holds(name):
                bank = self._bank(nodes[name], name in known)
                if bank is not None:
                    self.banks[name] = bank

    def whole(self, name: str) -> tuple[tuple[Source, ...], Tensor]:
        """The contributions of the sources to queries or keys, with biases last."""
        if name not in self.banks:
            raise PartsError("queries or keys do not depend on the stream")
        sources, values = self.banks[name]
        order = sorted(range(len(sources)), key=lambda i: in_order(sources[i]))
        if order != list(range(len(order))):
            values = torch.cat([values[i : i + 1] for i in order])
        biases = self.actual[name] - values.sum(0)
        whole = torch.cat((values, biases[None]))
        return (*(sources[i] for i in order), BIASES), whole[:, 0]

    def _holds(self, name: str) -> bool:
        operation = self.held.node[name][0].split(".")[0]
        return operation in _ROOTS and _is_scale(self.actual.get(name))

    def _bank(self, node: Sequence[Any], known: bool) -> Bank | None:
        operation, name, arguments, _ = node
        value = self.actual[name]
        if operation == ATTEND:
            kind, layer = arguments[8:10]
            part = "cross head" if kind == "cross" else "head"
            n = int(value.shape[1])
            alone = torch.eye(n, dtype=value.dtype)[:, None, :, None, None] * value
            return Bank(tuple(Source(part, layer, head) for head in range(n)), alone)
        if known:
            return Bank((Source("mlp", arguments[3]),), value[None])
        if name in self.lookups:
            path = self.held.node[arguments[0]["n"]][2][0]
            return Bank((Source(embedded_part(path)),), value[None])
        if operation == POINT and _is_first("/".join(map(str, arguments[1:4]))):
            return self._with_rest(arguments[0]["n"], arguments[2])
        moving = [n for n in dict.fromkeys(names_in(node[2:])) if n in self.banks]
        return self._pushed(node, moving) if moving else None

    def _with_rest(self, name: str, kind: str) -> Bank | None:
        """The input of the first layer. What no embedding put there is a part of its own, so that
        only what comes later counts as biases."""
        bank = self.banks.get(name)
        rest = self.actual[name] if bank is None else self.actual[name] - bank.values.sum(0)
        if kind not in self.rest:
            self.rest[kind] = float(rest.abs().max()) > 1e-6 * float(self.actual[name].abs().max())
        own = Bank((Source("rest"),), rest[None])
        if not self.rest[kind]:
            return bank
        return own if bank is None else _sum(bank, own)

    def _pushed(self, node: Sequence[Any], moving: list[str]) -> Bank:
        operation, name, arguments, named = node
        kind = operation.split(".")[0]
        of: Any = lambda x: self.banks[x["n"]] if is_node(x) and x["n"] in moving else None  # noqa: E731
        banks = [of(x) for x in arguments]
        if kind in ("add", "sub") and any(banks[:2]):
            rank, by = self.actual[name].dim(), named.get("alpha", 1) * (1 if kind == "add" else -1)
            both = [
                Bank(bank.sources, _times(_of_rank(bank.values, rank), number))
                for bank, number in zip(banks, (1, by), strict=False)
                if bank is not None
            ]
            return both[0] if len(both) == 1 else _sum(*both)
        if kind == "cat":
            every = [of(x) for x in arguments[0]]
            if all(every) and len({bank.sources for bank in every}) == 1:
                axis = _more(arguments[1] if len(arguments) > 1 else 0)
                return Bank(every[0].sources, torch.cat([bank.values for bank in every], axis))
        given = [self._given(x) for x in arguments]
        if kind == "copy" and banks[1] is not None:
            return Bank(banks[1].sources, banks[1].values.expand(-1, *given[0].shape))
        if kind == "slice_scatter" and banks[1] is not None:
            (sources, part), (before, values) = banks[1], banks[0] or (banks[1].sources, None)
            if before == sources:
                values = part.new_zeros(len(sources), *given[0].shape) if values is None else values
                _, _, axis, *ends = given
                return Bank(sources, values.slice_scatter(part, _more(axis), *ends))
        at = 1 if kind == "addmm" or (kind == "mul" and banks[0] is None) else 0
        if len(moving) == 1 and banks[at] is not None and not any(banks[at + 1 :]):
            sources, values = banks[at]
            if kind == NORM:
                values = values - values.mean(-1, keepdim=True)
                values = values * self.actual[name][2]
                return Bank(sources, values if given[2] is None else values * given[2])
            if kind in _LINEAR:
                others = [x for i, x in enumerate(given) if i != at]
                others = others[1:] if kind == "addmm" else others
                return Bank(sources, _LINEAR[kind](values, *others))
        raise PartsError(
            f"its graph computes more than norms and linear layers ({kind}) between the stream and "
            "what heads compare"
        )

    def _given(self, x: Any) -> Any:
        if isinstance(x, list):
            return [self._given(one) for one in x]
        return self.actual[x["n"]] if is_node(x) else x


def _is_first(point: str) -> bool:
    return point.startswith("resid_pre/") and point.endswith("/0")


def _before(
    wanted: Sequence[str], nodes: Mapping[str, Sequence[Any]], stops: Callable[[str], bool]
) -> set[str]:
    """These nodes and all that they depend on, up to where `stops` is true."""
    found, left = set(), list(wanted)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            if not stops(name) and nodes[name][0] not in ("weight", "input"):
                left += names_in(nodes[name][2:])
    return found


def _sum(a: Bank, b: Bank) -> Bank:
    if a.sources == b.sources:
        return Bank(a.sources, a.values + b.values)
    if {*a.sources} & {*b.sources}:
        raise PartsError("a part of it is written in two ways")
    return Bank((*a.sources, *b.sources), torch.cat((a.values, b.values)))


def _times(x: Tensor, number: float) -> Tensor:
    return x if number == 1 else x * number


def _of_rank(values: Tensor, rank: int) -> Tensor:
    while values.dim() < rank + 1:
        values = values.unsqueeze(1)
    return values


def _more(axis: int) -> int:
    """The number of an axis once another one is in front."""
    return axis + (axis >= 0)


def _reshaped(t: Tensor, size: Sequence[int]) -> Tensor:
    return t.reshape(t.shape[0], *size)


def _same_values(t: Tensor, *_: Any) -> Tensor:
    return t


# Linear operations on tensors with one more axis in front, by the operations that they replace.
_LINEAR: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("view", "_unsafe_view", "reshape"), _reshaped),
    **dict.fromkeys(("clone", "alias", "_to_copy", POINT.split(".")[0]), _same_values),
    **dict.fromkeys(("mm", "bmm", "addmm"), torch.matmul),
    **dict.fromkeys(("split", "split_with_sizes"), lambda t, n, i=0: t.split(n, _more(i))),
    "getitem": lambda t, i: t[i] if isinstance(t, tuple) else t,
    "mul": torch.mul,
    "div": torch.div,
    "neg": torch.neg,
    "expand": lambda t, size: t.expand(t.shape[0], *size),
    "permute": lambda t, axes: t.permute(0, *map(_more, axes)),
    "unsqueeze": lambda t, i: t.unsqueeze(_more(i)),
    "squeeze": lambda t, axes: t.squeeze(tuple(map(_more, axes))),
    "slice": lambda t, i=0, *ends: torch.ops.aten.slice(t, _more(i), *ends),
    "select": lambda t, i, at: t.select(_more(i), at),
    "index_select": lambda t, i, at: t.index_select(_more(i), at),
    "index": lambda t, at: torch.ops.aten.index(t, [None, *at]),
    "sum": lambda t, axes, *keep: t.sum([*map(_more, axes)], *keep),
    "mean": lambda t, axes, *keep: t.mean([*map(_more, axes)], *keep),
}
