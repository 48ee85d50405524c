"""Export the first layers of a deep model, and repeat them for the rest that are built alike.

A layer is repeated if two exported layers of its kind, each after a layer of the same kind, have
the same operations except for their weights' names and their number. `check_graph` of the whole
graph with the whole model shows whether that was right.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..adapters.hugging_face import HuggingFaceNetwork
from ..adapters.lookup import network_of
from ..adapters.network import Network
from ..adapters.own_network import OurNetwork
from ..attention import Site
from .running import names_in

_LAYER = {
    "transformer_lab.attend": 9,
    "transformer_lab.point": 3,
}  # which argument is the layer's number


class NotAlike(Exception):
    """The layers of a model do not repeat, as far as its first ones show."""


@dataclass(frozen=True)
class Stack:
    """Layers of which the first `kept` are exported.

    kinds: for each layer, a number that layers built alike share.
    """

    path: str
    kinds: tuple[int, ...]
    kept: int

    def block(self, i: int) -> str:
        return f"{self.path}.{i}"

    def alike(self, i: int, j: int) -> bool:
        """Whether two layers and those before them are built alike."""
        return i > 0 and j > 0 and self.kinds[i - 1 : i + 1] == self.kinds[j - 1 : j + 1]

    def pair(self, layer: int) -> tuple[int, int] | None:
        """The last two exported layers that show how this one is repeated."""
        found = [i for i in range(1, self.kept) if self.alike(i, layer)]
        return (found[-2], found[-1]) if len(found) > 1 else None


def shortened(network: Network) -> tuple[Network, list[Stack]] | None:
    """A copy of a deep model's first layers, with the same weights; None if that saves nothing."""
    if type(network) not in (OurNetwork, HuggingFaceNetwork):
        return None
    stacks = list(_stacks(network))
    if not stacks:
        return None
    try:
        short = _copy_of(network.module)
        for stack in stacks:
            blocks: Any = short.get_submodule(stack.path)
            del blocks[stack.kept :]
        return network_of(short), stacks
    except Exception:  # a user's module may refuse to be copied with any error
        return None


def _copy_of(module: nn.Module) -> nn.Module:
    """A copy of the modules with the very same tensors."""
    tensors = [*module.parameters(), *module.buffers()]
    tensors += [x for m in module.modules() for x in vars(m).values() if isinstance(x, Tensor)]
    return copy.deepcopy(module, {id(x): x for x in tensors})


def _stacks(network: Network) -> Iterator[Stack]:
    names = {id(module): name for name, module in network.module.named_modules()}
    for kind in ("encoder", "decoder"):
        blocks = network.blocks(kind) if kind in network.kinds else []
        path = names.get(id(blocks[0]), "").rpartition(".")[0] if blocks else ""
        if not path or len({id(block) for block in blocks}) < len(blocks):
            continue
        held = network.module.get_submodule(path)
        if not isinstance(held, nn.ModuleList) or [*map(id, held)] != [*map(id, blocks)]:
            continue
        kinds = _kinds(blocks)
        for kept in range(3, len(blocks)):
            stack = Stack(path, kinds, kept)
            rest = all(stack.pair(i) for i in range(kept, len(blocks)))
            if rest and stack.alike(kept - 1, len(blocks) - 1):
                yield stack
                break


def _kinds(blocks: Sequence[nn.Module]) -> tuple[int, ...]:
    """A number for each layer, the same for those that are built alike."""
    traits = [dict(_traits(block)) for block in blocks]
    names = sorted({name for one in traits for name in one})
    numbered = {
        name
        for name in names
        if all(isinstance(one.get(name), int) for one in traits)
        and len({one[name] - i for i, one in enumerate(traits)}) == 1
    }
    known: dict[str, int] = {}
    kept = [name for name in names if name not in numbered]
    return tuple(
        known.setdefault(repr([one.get(name) for name in kept]), len(known)) for one in traits
    )


def _traits(block: nn.Module) -> Iterator[tuple[str, Any]]:
    for path, module in block.named_modules():
        yield path, type(module)
        for name, x in vars(module).items():
            if not name.startswith("_") and name != "training" and _is_plain(x):
                yield f"{path}.{name}", x
        for name, x in (*module._parameters.items(), *module._buffers.items()):
            yield f"{path}.{name}", None if x is None else (tuple(x.shape), x.dtype)


def _is_plain(x: Any) -> bool:
    if isinstance(x, list | tuple):
        return not isinstance(x, Site) and all(map(_is_plain, x))
    return x is None or isinstance(x, bool | int | float | str | torch.dtype)


def owners_of(graph: Any, stacks: Sequence[Stack]) -> dict[str, tuple[int, int]]:
    """Which nodes of an exported program belong to a layer: name -> (stack, layer)."""
    places = {stack.block(i): (s, i) for s, stack in enumerate(stacks) for i in range(stack.kept)}
    found = {}
    for node in graph.nodes:
        within = node.meta.get("nn_module_stack") or {}
        for path, _ in within.values():
            place = places.get(path.removeprefix("module."))
            if node.op == "call_function" and place is not None:
                found[node.name] = place
    return found


def exported_name(name: str) -> str:
    """The exported node that a node of a repeated layer copies; any other node itself."""
    return name.partition(".")[0]


def lengthened(
    nodes: list[list[Any]],
    weights: Mapping[str, Tensor],
    results: Mapping[str, str],
    owners: Mapping[str, tuple[int, int]],
    stacks: Sequence[Stack],
    network: Network,
) -> tuple[list[list[Any]], dict[str, Tensor], dict[str, str]]:
    """Nodes, weights and results of the whole model.

    Args:
        nodes, weights, results: of its first layers.
        owners: as `owners_of` gives them.
        network: the whole model.

    Raises:
        NotAlike: if layers that are built alike do not compute the same.
    """
    found = nodes, dict(weights), dict(results)
    for s, stack in enumerate(stacks):
        own = {name: layer for name, (of, layer) in owners.items() if of == s}
        found = _Lengthening(*found, own, stack, network).whole()
    return found


class _Lengthening:
    """The exported layers of one stack, and how to make the others from them."""

    def __init__(self, nodes, weights, results, owners, stack: Stack, network: Network):
        self.stack, self.weights, self.results = stack, weights, results
        self.named: dict[str, Tensor] = {
            name: x.detach()
            for of in (network.module.named_parameters, network.module.named_buffers)
            for name, x in of(remove_duplicate=False)
        }
        self.weight_of = {node[1]: node[2][0] for node in nodes if node[0] == "weight"}
        nodes, owners = self._hoisted(nodes, owners)
        first = [
            next((p for p, n in enumerate(nodes) if owners.get(n[1]) == i), -1)
            for i in range(stack.kept)
        ]
        if -1 in first or first != sorted(first):
            raise NotAlike("a layer has no operations, or they are not in order")
        last = max(p for p, n in enumerate(nodes) if n[1] in owners)
        # The operations between two layers belong to the first of them; so as many after the last
        # layer belong to that one.
        within = [p for p in range(first[-2], first[-1]) if owners.get(nodes[p][1]) is not None]
        last += first[-1] - 1 - max(within)
        ends = [*first[1:], last + 1]
        self.before, self.after = nodes[: first[0]], nodes[ends[-1] :]
        self.segments = [nodes[a:b] for a, b in zip(first, ends, strict=True)]
        for i, segment in enumerate(self.segments):
            if any(owners.get(node[1], i) != i for node in segment):
                raise NotAlike("the operations of layers are mixed")
        self.at = {
            node[1]: (i, p) for i, seg in enumerate(self.segments) for p, node in enumerate(seg)
        }
        self.new_weights: dict[str, str] = {}  # name of a weight -> the node that reads it

    def _hoisted(self, nodes, owners) -> tuple[list[list[Any]], dict[str, int]]:
        """Move what depends on no layer before all layers: it is computed once, in the first layer
        that needs it, and other layers would differ from that one."""
        start = next((p for p, node in enumerate(nodes) if node[1] in owners), 0)
        path = f"{self.stack.path}."
        free = {n[1] for n in nodes[:start] if not self.weight_of.get(n[1], "").startswith(path)}
        early = []
        for node in nodes[start:]:
            if node[1] in owners and node[0] not in _LAYER and free.issuperset(names_in(node[2:])):
                free.add(node[1])
                early.append(node)
        moved = {node[1] for node in early}
        rest = [node for node in nodes[start:] if node[1] not in moved]
        own = {name: layer for name, layer in owners.items() if name not in moved}
        return [*nodes[:start], *early, *rest], own

    def whole(self) -> tuple[list[list[Any]], dict[str, Tensor], dict[str, str]]:
        stack, n = self.stack, len(self.stack.kinds)
        known: dict[tuple[int, int], list[list[Any]]] = {}
        for layer in range(stack.kept, n):
            pair = stack.pair(layer)
            assert pair is not None
            if pair not in known:
                known[pair] = self._template(*pair)
            self.segments.append(self._repeated(known[pair], layer, pair[1]))
        ends = {
            a[1]: b[1]
            for a, b in zip(self.segments[stack.kept - 1], self.segments[-1], strict=True)
        }
        after = [[*node[:2], *self._moved(node[2:], ends)] for node in self.after]
        results = dict(
            zip(self.results, self._moved([*map(_node, self.results.values())], ends), strict=True)
        )
        made = [["weight", x, [self.weight_of[x]], {}] for x in self.new_weights.values()]
        nodes = [*made, *self.before, *(node for one in self.segments for node in one), *after]
        return nodes, self.weights, {name: x["n"] for name, x in results.items()}

    def _moved(self, x: Any, ends: Mapping[str, str]) -> Any:
        """Make what follows the layers read the very last one instead of the last exported one."""
        if isinstance(x, dict) and "n" in x:
            if x["n"] in self.at and x["n"] not in ends:
                raise NotAlike("what follows the layers reads more than the last")
            return _node(ends.get(x["n"], x["n"]))
        if isinstance(x, dict):
            return {key: self._moved(one, ends) for key, one in x.items()}
        return [self._moved(one, ends) for one in x] if isinstance(x, list) else x

    # -- two layers as one pattern ----------------------------------------------------------------

    def _template(self, i: int, j: int) -> list[list[Any]]:
        """The nodes of a layer, with `_Hole`s where layers i and j differ as others would."""
        a, b = self.segments[i], self.segments[j]
        if len(a) != len(b):
            raise NotAlike(f"layers {i} and {j} have {len(a)} and {len(b)} operations")
        found = []
        for one, other in zip(a, b, strict=True):
            if one[0] != other[0]:
                raise NotAlike(f"layer {i} has {one[0]} where layer {j} has {other[0]}")
            arguments = [*one[2]], [*other[2]]
            at = _LAYER.get(one[0])
            if at is not None:
                ahead = arguments[0][at] - i
                if arguments[1][at] - j != ahead:
                    raise NotAlike("layers are not numbered in their order")
                arguments[0][at] = arguments[1][at] = _Hole("layer", ahead)
            found.append(
                [one[0], *self._one([arguments[0], one[3]], [arguments[1], other[3]], i, j)]
            )
        return found

    def _one(self, a: Any, b: Any, i: int, j: int) -> Any:
        if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
            if "n" in a:
                return self._reference(a["n"], b["n"], i, j)
            return {key: self._one(a[key], b[key], i, j) for key in a}
        if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            return [self._one(x, y, i, j) for x, y in zip(a, b, strict=True)]
        if type(a) is not type(b) or a != b:
            raise NotAlike(f"layer {i} has {a!r:.40} where layer {j} has {b!r:.40}")
        return a

    def _reference(self, a: str, b: str, i: int, j: int) -> Any:
        if a == b:
            return _node(b)
        if a in self.at and b in self.at:
            (of_a, p), (of_b, q) = self.at[a], self.at[b]
            back = i - of_a
            if back:  # counted from its end, since the first layer may do more
                p, q = p - len(self.segments[of_a]), q - len(self.segments[of_b])
            if p == q and back == j - of_b and self.stack.kinds[of_a] == self.stack.kinds[of_b]:
                return _Hole("node", back, p)
        elif a in self.weight_of and b in self.weight_of:
            names = self.weight_of[a], self.weight_of[b]
            paths = f"{self.stack.block(i)}.", f"{self.stack.block(j)}."
            inside = [n.startswith(p) for n, p in zip(names, paths, strict=True)]
            rest = names[1][len(paths[1]) :]
            if all(inside) and names[0][len(paths[0]) :] == rest and names[1] in self.named:
                return _Hole("weight", rest)
            x, y = (self.weights[name] for name in names)
            fixed = names[0] not in self.named and names[1] not in self.named
            if fixed and x.shape == y.shape and torch.equal(x, y):  # a constant of the code
                return _node(b)
        raise NotAlike(f"layers {i} and {j} read {a} and {b}")

    # -- other layers from the pattern ------------------------------------------------------------

    def _repeated(self, template: list[list[Any]], layer: int, like: int) -> list[list[Any]]:
        names = [f"{node[1]}.{layer}" for node in self.segments[like]]

        def filled(x: Any) -> Any:
            if isinstance(x, list):
                return [filled(one) for one in x]
            if isinstance(x, dict):
                return {key: filled(one) for key, one in x.items()}
            if not isinstance(x, _Hole):
                return x
            if x.what == "layer":
                return layer + x.given[0]
            if x.what == "weight":
                return _node(self._weight(f"{self.stack.block(layer)}.{x.given[0]}"))
            back, at = x.given
            if not back:
                return _node(names[at])
            if self.stack.kinds[layer - back] != self.stack.kinds[like - back]:
                raise NotAlike("a layer reads an earlier one of another kind")
            return _node(self.segments[layer - back][at][1])

        return [
            [kind, name, *filled(rest)] for (kind, *rest), name in zip(template, names, strict=True)
        ]

    def _weight(self, name: str) -> str:
        """The node for a weight of a layer that was not exported."""
        if name not in self.new_weights:
            if name not in self.named:
                raise NotAlike(f"the model has no {name}")
            x = self.named[name]
            same = (n for n, y in self.weights.items() if _is_same(x, y))
            self.weights.setdefault(known := next(same, name), x)
            self.new_weights[name] = node = f"{name}.weight"
            self.weight_of[node] = known
        return self.new_weights[name]


@dataclass(frozen=True)
class _Hole:
    """What differs from layer to layer: "layer" (an offset to its number), "weight" (the end of its
    name) or "node" (how many layers before, and its index there)."""

    what: str
    given: tuple[Any, ...]

    def __init__(self, what: str, *given: Any):
        object.__setattr__(self, "what", what)
        object.__setattr__(self, "given", given)


def _node(name: str) -> dict[str, str]:
    return {"n": name}


def _is_same(x: Tensor, y: Tensor) -> bool:
    return x.data_ptr() == y.data_ptr() and x.shape == y.shape and x.stride() == y.stride()
