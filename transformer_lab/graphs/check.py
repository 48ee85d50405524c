"""Compare a graph with the untouched model that it was exported from."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from ..adapters.interrupts import no_grad
from ..adapters.lookup import network_of
from ..adapters.network import Inputs, Network
from ..edits.constructors import ablate
from ..edits.interventions import tap_for
from .attribution import with_written
from .export import Graph, GraphError, answer_of, calls_of, export_graph, first_line
from .layers import exported_name
from .operations import running_with
from .rows import TOLERANCE, apart, beyond_windows


def checked_graph(network: Network, inputs: Inputs, written: bool = False) -> Graph:
    """Export a model and compare the graph with it: its first layers, repeated, if that is right,
    or else all of them.

    Args:
        written: also the attribution graphs, for a model of texts; they take twice as long as the
            rest.

    Raises:
        GraphError: as `export_graph` and `check_graph`.
    """
    graph = export_graph(network, inputs)
    try:
        check_graph(graph, network, inputs)
    except GraphError:
        if all(exported_name(node[1]) == node[1] for node in graph.nodes):
            raise
        graph = export_graph(network, inputs, repeat=False)
        check_graph(graph, network, inputs)
    return with_written(graph, network, inputs) if written and inputs.tokens is not None else graph


def agrees(graph: Graph, network: Network, inputs: Inputs, texts: Iterable[Inputs] = ()) -> bool:
    """Whether a graph gives the answers of the model as it is now, whatever has changed in it: at
    the lengths of `check_graph`, and for each of these texts whose length the graph reads."""
    with no_grad():
        return all(
            apart(answer_of(network.run(text))[1].detach(), _answer(graph, text)) <= TOLERANCE
            for text in (*texts_of_lengths(graph, network, inputs), *texts)
            if reads(graph, text)
        )


def reads(graph: Graph, inputs: Inputs) -> bool:
    """Whether a graph is valid for texts of these lengths."""
    sizes = {"tokens": inputs.tokens, "target": inputs.target}
    return all(
        (x := sizes[name]) is not None and shortest <= x.shape[1] <= longest
        for name, (shortest, longest) in graph.lengths.items()
    )


def check_graph(graph: Graph, network: Network, inputs: Inputs) -> float:
    """Compare answers, with every head and with one off, at up to three lengths.

    The model runs as a copy with eager attention, in which a head is switched off by zeroing its
    rows of W_O; the attention interface is not involved. One length is beyond every window.

    Args:
        network: of the model that the graph was exported from.
        inputs: a batch of one, that the model reads.

    Returns:
        The largest difference, as a fraction of the largest answer (or of 1).

    Raises:
        GraphError: if they differ by more than `TOLERANCE`.
    """
    plain = copy.deepcopy(network.module).eval()
    if hasattr(plain, "set_attn_implementation"):
        plain.set_attn_implementation("eager")
    twin = network_of(plain)
    texts = texts_of_lengths(graph, network, inputs)
    worst = max(
        apart(answer_of(twin.run(text))[1].detach(), _answer(graph, text)) for text in texts
    )
    worst = max(worst, _with_a_head_off(graph, network, twin, texts[-1]))
    if not worst <= TOLERANCE:  # NaN is refused as well
        raise GraphError(f"its graph differs from the model by {worst:.1e} of the largest answer")
    return worst


def _answer(graph: Graph, text: Inputs) -> Tensor:
    """A graph's answer.

    Raises:
        GraphError: if it does not run.
    """
    try:
        return graph.run(*tensors_of(text, graph))
    except (RuntimeError, IndexError) as error:
        raise GraphError(f"its graph fails on some texts ({first_line(error)})") from error


def texts_of_lengths(graph: Graph, network: Network, inputs: Inputs) -> list[Inputs]:
    """The text cut or repeated: short, as given, and longer than any window of the model."""
    return [_of_length(inputs, n, graph) for n in _lengths(graph, network, inputs)]


def _lengths(graph: Graph, network: Network, inputs: Inputs) -> list[int]:
    """The lengths to compare: short, as given, and longer than any window of the model."""
    if inputs.tokens is None or not graph.any_length:
        return [0]
    n = inputs.tokens.shape[1]
    shortest, longest = graph.lengths["tokens"]
    config = getattr(network.module, "config", None)
    return sorted({shortest, n, beyond_windows(config, n, longest)})


def _of_length(inputs: Inputs, n: int, graph: Graph) -> Inputs:
    """The same text cut or repeated to n tokens; its target a little longer."""
    if not n or inputs.tokens is None:
        return inputs
    sizes = {"tokens": n, "target": min(n + 1, graph.lengths.get("target", (0, n))[1])}
    read = {"tokens": inputs.tokens, "target": inputs.target}
    cut = {
        name: None if x is None else x.repeat(1, -(-sizes[name] // x.shape[1]))[:, : sizes[name]]
        for name, x in read.items()
    }
    return Inputs(cut["tokens"], cut["target"], given=inputs.given)


def tensors_of(inputs: Inputs, graph: Graph) -> list[Any]:
    """The inputs of a graph, in its order."""
    read = {"tokens": inputs.tokens, "target": inputs.target, **inputs.given}
    return [read[name] for name in graph.inputs]


def _with_a_head_off(graph: Graph, network: Network, twin: Network, text: Inputs) -> float:
    """The difference with the last layer's last head off, in the graph by an edit and in the model
    by zeroing its rows of W_O; 0 if no linear W_O follows its heads."""
    *before, call = calls_of(network, text)
    if call.site is None or network.stands_between(call.site):
        return 0.0
    weight = _same_view(network.output_weight(call), network, twin)
    if weight is None:
        return 0.0
    head = call.n_heads - 1
    width = weight.shape[0] // call.n_heads
    rows = weight[head * width : (head + 1) * width]
    kept = rows.clone()
    rows.zero_()
    wanted = answer_of(twin.run(text))[1].detach()
    rows.copy_(kept)
    own = network.output_weight(call)
    sites = [call.site]  # and layers that share its weights
    for one in before:
        if one.site is None or own is None:
            continue
        other = network.output_weight(one)
        if other is not None and other.data_ptr() == own.data_ptr():
            sites.append(one.site)
    off = [tap_for(network, ablate(site.layer, head, kind=site.kind)) for site in sites]
    with running_with(*off):
        return apart(wanted, _answer(graph, text))


def _same_view(weight: Tensor | None, network: Network, twin: Network) -> Tensor | None:
    """The twin's counterpart of a view of one of the network's parameters; None for other views."""
    if weight is None:
        return None
    for name, own in network.module.named_parameters():
        if own.data_ptr() == weight.data_ptr() and own.numel() == weight.numel():
            theirs = twin.module.get_parameter(name).detach()
            return theirs.as_strided(weight.shape, weight.stride(), theirs.storage_offset())
    return None
