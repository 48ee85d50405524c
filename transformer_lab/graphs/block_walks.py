"""Find the nodes of a graph that a walk through a block shows, and the pairs that turn together.

`analysis.circuits.block_walk` finds by a run which module of a block reads and returns what. During
the export these places are marked, and then the marks are removed: the graph computes no more for
them, and its engine can be asked for these nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..adapters.hooks import Hook, hook
from ..adapters.network import Inputs, Network
from ..analysis.circuits.block_parts import BlockParts
from ..analysis.circuits.block_walk import block_parts
from ..analysis.circuits.score_parts import pairs_of_layer
from ..tracing.maps import GivenMaps
from ..tracing.running import trace
from .running import GraphError

Parts = Mapping[tuple[str, int], "BlockParts | ValueError"]  # by kind and layer
MARK = "walk."
NAME = "{model}"
NO_INTERFACE = "its attention does not pass through the attention interface"


def parts_of(network: Network, inputs: Inputs) -> dict[Any, BlockParts | ValueError]:
    """The parts of every block with heads, or why it cannot be walked through, with `NAME` in place
    of the model's name."""
    found: dict[Any, BlockParts | ValueError] = {}
    for kind in network.kinds:
        if kind == "cross":
            continue
        every = range(len(network.layers(kind)))
        try:
            run = trace(network, inputs.tokens, inputs.target, keep="all", labels=None)
            if isinstance(run.call(next(iter(run.attending(kind))), kind=kind), GivenMaps):
                raise GraphError(NO_INTERFACE)
            run.model_name = NAME
            blocks: Any = block_parts(run, kind)
        except GraphError:
            raise
        except ValueError as error:
            blocks = dict.fromkeys(every, error)
        found.update({(kind, layer): block for layer, block in blocks.items()})
    return found


def marking(network: Network, parts: Parts) -> Iterator[Callable[[], Hook]]:
    """Hooks that mark these places in the pass that is exported."""
    for (kind, layer), block in parts.items():
        if isinstance(block, BlockParts):
            marks = _Marks(kind, layer, block)
            yield partial(hook, network.blocks(kind)[layer], marks.begin, before=True)
            for module in {place.module: None for place in block.places.values()}:
                # The export may run a copy, whose modules have the same hooks.
                yield partial(hook, module, partial(marks.read, module), before=True)
                yield partial(hook, module, partial(marks.gave, module))


class _Marks:
    def __init__(self, kind: str, layer: int, block: BlockParts):
        self.kind, self.layer, self.block = kind, layer, block
        self.turns: Counter[nn.Module] = Counter()

    def begin(self, *_: Any) -> None:
        self.turns.clear()

    def read(self, module: nn.Module, _: nn.Module, args: tuple) -> tuple:
        return (self._marked(module, "read", args[0]), *args[1:]) if args else args

    def gave(self, module: nn.Module, _: nn.Module, __: tuple, output: Any) -> Any:
        output = self._marked(module, "gave", output)
        self.turns[module] += 1
        return output

    def _marked(self, module: nn.Module, side: str, x: Any) -> Any:
        for name, place in self.block.places.items():
            if (place.module, place.turn, place.side) == (module, self.turns[module], side):
                assert isinstance(x, Tensor)
                x = torch.ops.transformer_lab.point(x, f"{MARK}{name}", self.kind, self.layer)
        return x


def unmarked(
    nodes: list[list[Any]],
) -> tuple[list[list[Any]], dict[tuple[str, int], dict[str, str]]]:
    """Nodes without the marks, and what was marked: (kind, layer) -> part -> name of the node."""
    found: dict[tuple[str, int], dict[str, str]] = {}
    same: dict[str, str] = {}
    left = []

    def read(x: Any) -> Any:
        if isinstance(x, list):
            return [read(one) for one in x]
        return {"n": same.get(x["n"], x["n"])} if isinstance(x, dict) and "n" in x else x

    for operation, name, arguments, named in nodes:
        arguments = read(arguments)
        if operation == "transformer_lab.point" and arguments[1].startswith(MARK):
            of, mark, kind, layer = arguments
            found.setdefault((kind, layer), {})[mark.removeprefix(MARK)] = same[name] = of["n"]
        else:
            named = {key: read(x) for key, x in named.items()}
            left.append([operation, name, arguments, named])
    return left, found


def walks_of(parts: Parts, nodes: Mapping[tuple[str, int], Mapping[str, str]]) -> dict[str, Any]:
    """Walks for the page's engine: "kind/layer" -> the nodes and names of the block's parts, or the
    reason why there is none."""
    walks: dict[str, Any] = {}
    for (kind, layer), block in parts.items():
        site = f"{kind}/{layer}"
        if isinstance(block, BlockParts):
            nodes_here = dict(nodes.get((kind, layer), {}))
            walks[site] = dict(
                nodes=nodes_here, norm=block.norm, mlp_norm=block.mlp_norm, after=block.after
            )
        else:
            walks[site] = {"why": str(block)}
    return walks


def pairs_of(network: Network) -> dict[str, list[int]]:
    """Which dimensions of queries turn together: "kind/layer" -> the number of each one's pair."""
    known: dict[Any, Any] = {}
    found = {
        f"{kind}/{layer}": pairs_of_layer(network, kind, layer, 0, known)
        for kind in network.kinds
        for layer in range(len(network.layers(kind)))
    }
    return {site: pairs.tolist() for site, pairs in found.items() if pairs is not None}
