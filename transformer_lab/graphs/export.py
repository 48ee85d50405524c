"""Export a model's forward pass as a graph."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from inspect import signature
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._guards import detect_fake_mode
from torch.export import ExportedProgram
from torch.fx import config as fx_config
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.traceback import preserve_node_meta

from ..adapters.hooks import hooked
from ..adapters.interrupts import no_grad
from ..adapters.network import AdapterError, Inputs, Network, Output
from ..attention import AttentionCall, Site, Tap
from .as_data import clean, graph_as_data, writes
from .folding import folded
from .layers import Stack, exported_name, lengthened, owners_of, shortened
from .rows import TOLERANCE, Growth, apart, beyond_windows, growth_of, of_length, tail_of
from .running import GraphError, Program

POINTS = ("resid_pre", "attn_out", "cross_out", "resid_mid", "mlp_out", "resid_post")
LONGEST = 4096  # positions, where a model sets no limit
# A guard on the length that torch cannot prove may be ignored: `check_graph` tries lengths.
_LENIENT = "prefer_deferred_runtime_asserts_over_guards"
_MORE_TOKENS = re.compile(r"the generated guard (\d+) <= L\[")
_UNGUARDED: dict[str, Any] = (
    {_LENIENT: True} if _LENIENT in signature(torch.export.export).parameters else {}
)


@dataclass(frozen=True, eq=False)
class Written:
    """Attribution graphs: see `attribution`.

    Attributes:
        graphs: descriptions of "flow" and "sources", if the model has them.
        refused: why not, as the end of a sentence with `block_walks.NAME` for the model's name.
        sources: for each kind of attention and side, the names and short names of the sources,
            biases last, and how many of the others the heads of each layer read.
    """

    graphs: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Graph:
    """A forward pass as a list of operations.

    Args:
        inputs: names of its inputs, in order: "tokens", "target" or "pixel_values".
        nodes: [operation, name of its result, arguments, named arguments]; a result is named in
            arguments as {"n": name}.
        weights: name -> tensor, by the model's own names. Tied weights have one of their names.
        results: name -> the name of the node that computes it. A model's pass has one: "logits",
            "states" or "answers", as in `Output`.
        lengths: of "tokens" and "target", the (shortest, longest) in tokens; equal if the graph is
            valid for one length only.
        lacking: points of the stream that the model does not show, "kind.name", and why.
        pairs: for each layer whose queries positions turn, "kind/layer", the number of each
            dimension's pair; see `VectorProbe.pairs`.
        tail: the node that answers are made from, each from one row of it; "" if they need more.
        growth: how to continue with a text that grows at its end; None if it is read again.
        walks: for each block, "kind/layer", the nodes and names that a walk through it shows, or
            why there is none; see `block_walks`.
        updates: names of weights -> nodes, whose results replace them after a pass of the engine.
        fixed: why the graph is valid for one length of text only; "" if it is not so.
        written: the attribution graphs; None if they were not requested.
    """

    inputs: tuple[str, ...]
    nodes: list[list[Any]] = field(repr=False)
    weights: Mapping[str, Tensor] = field(repr=False)
    results: Mapping[str, str]
    lengths: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    lacking: Mapping[str, str] = field(default_factory=dict)
    pairs: Mapping[str, list[int]] = field(default_factory=dict, repr=False)
    walks: Mapping[str, Any] = field(default_factory=dict, repr=False)
    tail: str = ""
    growth: Growth | None = field(default=None, repr=False)
    updates: Mapping[str, str] = field(default_factory=dict)
    fixed: str = ""
    written: Written | None = field(default=None, repr=False)

    @property
    def any_length(self) -> bool:
        """Whether it reads texts of more than one length."""
        return any(shortest < longest for shortest, longest in self.lengths.values())

    @property
    def kinds(self) -> set[str]:
        """The kinds of attention in it, without those that a model computes by itself."""
        return {node[2][8] for node in self.nodes if node[0] == "transformer_lab.attend"}

    @property
    def operations(self) -> set[str]:
        """The kinds of operations in it."""
        return {node[0] for node in self.nodes}

    @cached_property
    def _program(self) -> Program:
        return Program(self.nodes, self.results)

    def run(self, *inputs: Tensor) -> Tensor:
        """The first result in PyTorch; of a pass: logits [batch, position, vocab], states or answers."""
        return self.run_all(*inputs)[0]

    def run_all(self, *inputs: Tensor) -> list[Tensor]:
        """The results in PyTorch, in their order."""
        with no_grad():
            return self._program.run(dict(zip(self.inputs, inputs, strict=True)), self.weights)

    def description(self) -> dict[str, Any]:
        """All but the weights, as plain JSON."""
        return {
            "format": 2,
            "inputs": list(self.inputs),
            "nodes": self.nodes,
            "results": dict(self.results),
            "updates": dict(self.updates),
            "lengths": {name: list(ends) for name, ends in self.lengths.items()},
            "tail": self.tail,
            "growth": self.growth
            and {
                "input": self.growth.input,
                "letters": "".join(self.growth.letters[node[1]] for node in self.nodes),
                "axes": dict(self.growth.axes),
            },
            "weights": {
                name: {"shape": list(x.shape), "type": _type_of(x)}
                for name, x in self.weights.items()
            },
        }


def export_graph(network: Network, inputs: Inputs, *, repeat: bool = True) -> Graph:
    """The graph of a model's pass over one text (or image), for any length if that can be exported.

    Args:
        network: the adapter of a model in evaluation mode.
        inputs: a batch of one, at least two tokens long, that the model reads.
        repeat: whether the first few of layers that are built alike may be exported and repeated.

    Raises:
        GraphError: for a model that cannot be exported, whose attention does not pass through the
            attention interface, or that attends within windows.
    """
    given = _given(inputs)
    if not given:
        raise GraphError("a model must read tokens or pixel_values to be exported")
    with warnings.catch_warnings():  # of torch.export about itself
        warnings.filterwarnings("ignore", category=FutureWarning)
        return _export(network, inputs, given, shortened(network) if repeat else None)


def _export(
    network: Network,
    inputs: Inputs,
    given: dict[str, Tensor],
    short: tuple[Network, list[Stack]] | None,
) -> Graph:
    why, least = "", 2
    for any_length in (True, True, False) if inputs.tokens is not None else (False,):
        if any_length and why and least == 2:
            continue
        for points in (True, False):
            try:
                graph = None
                with suppress(Exception):  # any error: the whole model reports it better
                    if short is not None:
                        graph = _exported(network, given, any_length, points, short, least)
                graph = graph or _exported(network, given, any_length, points, least=least)
                return replace(graph, fixed="" if any_length else why)
            except GraphError:
                raise
            except AdapterError as error:  # a stream that is not the text's: without its points
                why = why or str(error)
            except Exception as error:  # torch.export raises many kinds for a model it refuses
                why = why or first_line(error)
                if guard := _MORE_TOKENS.search(str(error)):  # retry with as many tokens or more
                    least = int(guard[1])
                if "data-dependent" in why:  # one length would fail too
                    raise GraphError(f"torch.export refuses it ({why})") from error
                break
    raise GraphError(f"torch.export refuses it ({why})")


def _type_of(x: Tensor) -> str:
    return "float" if x.is_floating_point() else "bool" if x.dtype == torch.bool else "int"


def _given(inputs: Inputs) -> dict[str, Tensor]:
    found = {"tokens": inputs.tokens, "target": inputs.target}
    found["pixel_values"] = inputs.given.get("pixel_values")
    return {name: x for name, x in found.items() if isinstance(x, Tensor)}


def inputs_of(given: Mapping[str, Tensor]) -> Inputs:
    """The model's inputs, from those of a graph by name."""
    rest = {name: x for name, x in given.items() if name not in ("tokens", "target")}
    return Inputs(given.get("tokens"), given.get("target"), given=rest)


def first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith("- ")), lines[0] if lines else "")
    return f"{type(error).__name__}: {shorten(said.removeprefix('- '), 200, placeholder=' …')}".removesuffix(
        ": "
    )


class _Exporting(Tap):
    """Puts our two operations into the pass that is exported."""

    def __init__(self):
        self.sites: list[Site] = []

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        if call.windows is not None:
            raise GraphError("it attends within windows, which no page computes")
        if call.site is None or call.value is None:
            raise GraphError("a call of its attention has no layer")
        self.sites.append(call.site)
        key = call.key
        if not key.shape[-1]:  # the bias is the whole score, since the model multiplies by itself
            key = key.expand(-1, call.value.shape[1], -1, -1)
        return torch.ops.transformer_lab.attend(
            call.query,
            key,
            call.value,
            call.bias,
            call.sinks,
            call.causal,
            call.scale,
            call.softcap,
            call.site.kind,
            call.site.layer,
        )

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        return torch.ops.transformer_lab.point(x, name, site.kind, site.layer)


class _Pass(nn.Module):
    """A network's pass as a module that takes only tensors, which torch.export needs."""

    def __init__(self, network: Network, names: Sequence[str]):
        super().__init__()
        self.module, self.network, self.names = network.module, network, names

    def forward(self, *tensors: Tensor) -> Tensor:
        given = dict(zip(self.names, tensors, strict=True))
        return answer_of(self.network.run(inputs_of(given)))[1]


def answer_of(output: Output) -> tuple[str, Tensor]:
    """What a pass answers, and its name: "logits", "states" or "answers".

    Raises:
        GraphError: if it answers nothing.
    """
    for name in ("logits", "states", "answers"):
        if (found := getattr(output, name)) is not None:
            return name, found
    raise GraphError("a pass answers nothing")


def _exported(
    network: Network,
    given: dict[str, Tensor],
    any_length: bool,
    points: bool,
    short: tuple[Network, list[Stack]] | None = None,
    least: int = 2,
) -> Graph:
    """The graph of a model, exported in one of the ways that `_export` tries.

    Args:
        short: the model's first layers, which are exported in its place and repeated.
        least: the fewest tokens of a text.
    """
    from .block_walks import NO_INTERFACE, marking, pairs_of, parts_of, unmarked, walks_of

    part, stacks = short or (network, [])
    tap, whole = _Exporting(), _Pass(part, tuple(given))
    with no_grad():
        answers, _ = answer_of(network.run(inputs_of(given)))
    parts = parts_of(part, inputs_of(given))
    shapes, longest = _shapes(network, given, any_length, least)
    with no_grad(), ExitStack() as hung:
        hung.enter_context(part.tapping(tap))
        hung.enter_context(hooked(*marking(part, parts)))
        hung.enter_context(_without_stacks())
        lacking = _points(part, tap, hung, POINTS if points else ())
        program = torch.export.export(
            whole, tuple(given.values()), dynamic_shapes=shapes, strict=False, **_UNGUARDED
        )
        if not tap.sites:
            raise GraphError(NO_INTERFACE)
        graph = _primitive(program)
    clean(graph)
    nodes, weights, results = _as_data(graph, program, tuple(given), (answers,))
    shown = {node.name: node.meta.get("val") for node in graph.nodes}
    if stacks:
        owners = owners_of(graph, stacks)
        nodes, weights, results = lengthened(nodes, weights, results, owners, stacks, network)
        shown = {node[1]: shown.get(exported_name(node[1])) for node in nodes}
    nodes, marked = unmarked(nodes)
    learned = dict(network.module.named_parameters(remove_duplicate=False))
    nodes, weights = folded(nodes, weights, results, learned)
    if not any(node[0] == "transformer_lab.attend" for node in nodes):
        raise GraphError(NO_INTERFACE)
    made = Graph(
        inputs=tuple(given),
        nodes=nodes,
        weights=weights,
        results=results,
        lengths={
            name: (least, longest) if any_length else (x.shape[1], x.shape[1])
            for name, x in given.items()
            if name in ("tokens", "target")
        },
        lacking=lacking,
        walks=walks_of(parts_of(network, inputs_of(given)), marked),
        pairs=pairs_of(network) if points and "tokens" in given else {},
    )
    return _with_rows(made, network, given, shown)


@contextmanager
def _without_stacks() -> Iterator[None]:
    """Record no stack of Python calls for each node, which takes a seventh of an export. Older
    versions of torch ignore this setting."""
    name = "do_not_emit_stack_traces"
    before = getattr(fx_config, name, False)
    setattr(fx_config, name, True)
    try:
        yield
    finally:
        setattr(fx_config, name, before)


def _primitive(program: ExportedProgram) -> fx.Graph:
    """An exported program as primitive operations, with the placeholders' own names.

    It is traced again with the sizes that it was exported with, which takes a fifth of the time of
    `run_decompositions`; but only the latter replaces operations that write."""
    module = program.graph_module
    clean(module.graph)
    if _writes(module.graph):  # another trace would keep them
        return program.run_decompositions().graph
    places = module.graph.find_nodes(op="placeholder")
    examples = [node.meta["val"] for node in places]
    table: Any = torch.export.default_decompositions()
    with detect_fake_mode(examples) or nullcontext(), preserve_node_meta():
        run = fx.Interpreter(module).run
        traced = make_fx(
            lambda *given: run(*given), decomposition_table=table, tracing_mode="symbolic"
        )(*examples)
    if _writes(traced.graph):
        return program.run_decompositions().graph
    for node, place in zip(traced.graph.find_nodes(op="placeholder"), places, strict=True):
        node._rename(place.name)
    _sizes_of_inputs(traced.graph)
    return traced.graph


def _writes(graph: fx.Graph) -> bool:
    return any(writes(node.target) for node in graph.nodes)


def _sizes_of_inputs(graph: fx.Graph) -> None:
    """Read lengths from the inputs, not from an intermediate tensor or a sum, where they are the
    same."""
    places = graph.find_nodes(op="placeholder")
    first: dict[str, fx.Node] = {}
    for place in places:
        for axis, size in enumerate(getattr(place.meta["val"], "shape", ())):
            if isinstance(size, torch.SymInt) and str(size) not in first:
                with graph.inserting_after(places[-1]):
                    node = graph.call_function(torch.ops.aten.sym_size.int, (place, axis))
                node.meta["val"], first[str(size)] = size, node
    known = {*first.values()}
    for node in graph.nodes:
        size = node.meta.get("val")
        if isinstance(size, torch.SymInt) and node not in known and (same := first.get(str(size))):
            node.replace_all_uses_with(same)


def _with_rows(
    graph: Graph, network: Network, given: dict[str, Tensor], shown: Mapping[str, Any]
) -> Graph:
    """The graph with its `tail`, its `growth` and the shortest text that it is valid for.

    Args:
        shown: node -> its result with symbolic sizes.
    """
    if not graph.lengths:
        return graph
    name = [*graph.lengths][-1]  # whose positions are answered
    program, weights = Program(graph.nodes, graph.results), graph.weights
    with no_grad():
        graph = replace(graph, tail=tail_of(program, name, given, weights))
        if not graph.any_length:
            return graph
        longest = graph.lengths[name][1]
        config = getattr(network.module, "config", None)
        beyond = beyond_windows(config, given[name].shape[1], longest)
        shortest = _shortest(graph, network, given, beyond)
        graph = replace(graph, lengths=dict.fromkeys(graph.lengths, (shortest, longest)))
        if "decoder" not in network.kinds:
            return graph
        growth = growth_of(program, name, shown)
        if growth and growth.holds(program, of_length(given, name, beyond), weights):
            graph = replace(graph, growth=growth)
    return graph


def _shortest(graph: Graph, network: Network, given: dict[str, Tensor], beyond: int) -> int:
    """The fewest tokens for which it is valid: torch.export treats one token as a special case, and
    some layers need more than that.

    Raises:
        ValueError: if it is not valid for longer texts.
    """
    if not all(_holds(graph, network, of_length(given, name, beyond)) for name in graph.lengths):
        raise ValueError(
            f"its graph of {given['tokens'].shape[1]} tokens does not hold for {beyond}"
        )
    shortest = min(given[name].shape[1] for name in graph.lengths)
    while shortest > 1 and all(
        _holds(graph, network, of_length(given, name, shortest - 1)) for name in graph.lengths
    ):
        shortest -= 1
    return shortest


def _holds(graph: Graph, network: Network, given: dict[str, Tensor]) -> bool:
    try:
        wanted = answer_of(network.run(inputs_of(given)))[1]
        return apart(wanted, graph.run(*given.values())) <= TOLERANCE
    except GraphError:
        raise
    except Exception:  # whatever an operation raises for a shape that does not fit
        return False


def _shapes(network: Network, given: dict[str, Tensor], any_length: bool, least: int):
    longest = min(network.n_ctx or LONGEST, LONGEST)
    if not any_length:
        return None, longest
    dims = {
        name: {1: torch.export.Dim(f"n_{name}", min=least, max=longest)}
        for name in given
        if name in ("tokens", "target")
    }
    return (tuple(dims.get(name) for name in given),), longest


def _points(
    network: Network, tap: _Exporting, hung: ExitStack, wanted: Sequence[str]
) -> dict[str, str]:
    """Let the tap see these points of the stream if the model shows them; return why not for the
    others."""
    lacking = {}
    for kind in network.kinds:
        for name in POINTS:
            if (name == "cross_out") != (kind == "cross"):
                continue
            stack = "decoder" if kind == "cross" else kind
            try:
                if name not in wanted:
                    raise AdapterError("it was not wanted")
                if why := network.refuses_stream([name], stack):
                    raise AdapterError(why)
                hung.enter_context(network.changing_stream(tap, [name], stack, None))
            except AdapterError as error:
                lacking[f"{kind}.{name}"] = str(error)
    return lacking


class _Calls(Tap):
    """The calls of attention in a pass."""

    def __init__(self):
        self.calls: list[AttentionCall] = []

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        self.calls.append(call)
        return call


def calls_of(network: Network, inputs: Inputs) -> list[AttentionCall]:
    """The calls of attention in a pass, in order."""
    with no_grad(), network.tapping(seen := _Calls()):
        network.run(inputs)
    return seen.calls


def outputs_of(
    network: Network, calls: Sequence[AttentionCall], weights: Mapping[str, Tensor]
) -> dict[str, dict[str, Any]]:
    """W_O of each layer of a kind, "kind/layer", as a view of a weight; none if the heads are
    followed by more than a matrix.

    Args:
        calls: as `calls_of` gives them.
        weights: of the model's graph.

    Returns:
        For each its `weight` by name, and the matrix's `shape` and `strides` in numbers.
    """
    stored = {x.data_ptr(): (name, x) for name, x in weights.items()}
    found = {}
    for call in calls:
        site = call.site
        if site is None or network.stands_between(site):
            continue
        matrix = network.output_weight(call)
        if matrix is None or matrix.data_ptr() not in stored:
            continue
        name, weight = stored[matrix.data_ptr()]
        if weight.is_contiguous():
            found[f"{site.kind}/{site.layer}"] = {
                "weight": name,
                "shape": list(matrix.shape),
                "strides": list(matrix.stride()),
            }
    return found


def _as_data(
    graph: fx.Graph, program: ExportedProgram, inputs: Sequence[str], results: Sequence[str]
) -> tuple[list[list[Any]], dict[str, Tensor], dict[str, str]]:
    """`graph_as_data` of the graph of an exported program."""
    signature = program.graph_signature
    stored = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    weights = {
        node: (
            name.removeprefix("module."),
            program.state_dict.get(name, program.constants.get(name)).detach(),
        )
        for node, name in stored.items()
    }
    nodes, kept, found = graph_as_data(graph, weights, inputs, results)
    # What a model chooses may not depend on how equal numbers are ordered.
    ours = [["transformer_lab.topk", *n[1:]] if n[0] == "topk" else n for n in nodes]
    return ours, kept, found
