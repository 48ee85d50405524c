"""Attribution as graphs: the flow to a logit, and every score split by what was written.

Both come from a model's graph with frozen norms (`frozen_norms`), which is linear. The flow is a
gradient of it; a score is split by running it with one more axis, along which every part is alone.
Both are compared with what `Network.parts` and `flow_of` measure on the model itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..adapters.flows import flow_of
from ..adapters.network import Inputs, Network
from ..adapters.sources import PartsError, Source
from ..attention import AttentionCall, Site, Tap
from ..softmax import spread_heads
from .block_walks import NAME
from .export import Graph, Written, first_line
from .frozen_norms import HeldProgram, Splitting, is_node
from .functions import function_graph
from .operations import running_with
from .rows import ATTEND, TOLERANCE, apart

Results = dict[str, Tensor]
LENGTHS = (13, 17, 19, 23, 29, 31, 37, 11, 7, 5, 3)  # of texts; none is a size of a weight


def with_written(graph: Graph, network: Network, inputs: Inputs) -> Graph:
    """A model's graph with both graphs, each compared with what the model computes by itself.

    Args:
        graph: of the model's pass. inputs: what it was exported with.
    """
    made, weights = Written(), dict(graph.weights)
    for name, make in (("flow", _flow), ("sources", _sources)):
        try:
            found = make(graph, network, inputs, made)
        except PartsError as error:
            made.refused[name] = str(error).replace(network.name, NAME)
        except Exception as error:  # torch raises many kinds for what it cannot trace
            made.refused[name] = f"it cannot be exported ({first_line(error)})"
        else:
            made.graphs[name] = found.description()
            weights |= found.weights
    return replace(graph, weights=weights, written=made)


class Recorded(Tap):
    """The values of a graph's pass, by the names that the two graphs read them by.

    For a layer of a kind, "z/kind/layer": the heads' output, [1, position, head, d_head];
    "pattern/kind/layer": their patterns, [head, query, key]; "resid_pre/kind/layer" and other
    points.
    """

    def __init__(self, graph: Graph, inputs: Inputs):
        given = {"tokens": inputs.tokens, "target": inputs.target, **inputs.given}
        read = {name: given[name] for name in graph.inputs}
        self.values: dict[str, Tensor] = dict(read)
        with running_with(self):
            self.answer = graph.run(*read.values())

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        assert call.site is not None
        at = f"{call.site.kind}/{call.site.layer}"
        self.values[f"z/{at}"] = z.transpose(1, 2)
        self.values[f"pattern/{at}"] = call.pattern(0)
        return z

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        self.values[f"{name}/{site.kind}/{site.layer}"] = x
        return x


# -- the flow to a logit ---------------------------------------------------------------------------


def _flow(graph: Graph, network: Network, inputs: Inputs, _: Written) -> Graph:
    texts = _texts(graph, inputs)
    flow_of(
        network, texts[0], texts[0].n_outputs - 1, 0
    )  # raises where a logit is not a sum of parts
    function, names = flow_function(graph, network.logit_softcap)
    numbers = dict(
        position=torch.tensor([1]), toward=torch.tensor([1, 0]), by=torch.tensor([1.0, -1.0])
    )
    given = Recorded(graph, texts[0]).values
    example = {name: given[name] for name in (*graph.inputs, *names)} | numbers
    made = function_graph(function, example, weights=graph.weights)
    text, last = texts[-1], texts[-1].n_outputs - 1
    wanted = flow_of(network, text, last, 1, 0)
    given = Recorded(graph, text).values | numbers | dict(position=torch.tensor([last]))
    found = _run(made, given)
    for name in ("edges", "stream", "mlps"):
        _same(found[name], getattr(wanted, name))
    return made


def flow_function(
    graph: Graph, softcap: float | None = None
) -> tuple[Callable[..., Results], list[str]]:
    """The function of the graph "flow", and the names in `Recorded` that it reads.

    It also reads `position` [1], and `toward` [2] and `by` [2]: ids whose logits are followed, and
    the factors of these logits. It returns what `Flow` has; `stays` [layer, position], what
    continues at each token; and `total`, the sum of edges.
    """
    held = HeldProgram(graph)
    kinds = {site.split("/")[0] for site in held.calls}
    kind, every = min(kinds), range(len(held.calls))
    names = [*(f"resid_pre/{kind}/{i}" for i in every), f"resid_post/{kind}/{len(every) - 1}"]
    if len(kinds) > 1 or not {*names} <= {*held.points}:
        raise PartsError("the stream before each layer is not known")
    sites = [f"{kind}/{i}" for i in every]
    logits = graph.results.get("logits", "")

    def flow(position: Tensor, toward: Tensor, by: Tensor, **given: Tensor) -> Results:
        texts = {name: given[name] for name in graph.inputs}
        held.patterns = {site: given[f"pattern/{site}"] for site in sites}
        with torch.enable_grad():
            leaves = {
                node: given[name].detach().requires_grad_()
                for name, node in (*held.mlps.items(), (names[0], held.points[names[0]]))
            }
            streams = [held.points[name] for name in names]
            heads = [held.calls[site][1] for site in sites]
            end = graph.tail or logits
            values = held.values([*streams, *heads, end], leaves, texts)
            # What comes after the last layer treats each position by itself.
            here = (torch.arange(values[end].shape[-2]) == position).to(values[end])[None]
            row = here @ values[end]
            short = {name: x[:, :1] for name, x in texts.items()}
            row = held.values([logits], {end: row}, short)[logits] if graph.tail else row
            chosen = row.flatten().index_select(0, toward)
            if softcap is not None:
                chosen = _uncapped(chosen, softcap)
            logit = (chosen * by).sum()
            mlps = [held.mlps.get(f"mlp_out/{site}") for site in sites]
            asked = [values[n] for n in (*streams, *heads, *(n for n in mlps if n))]
            slopes = torch.autograd.grad(logit, asked, allow_unused=True)
        slopes = [
            torch.zeros_like(x) if g is None else g for x, g in zip(asked, slopes, strict=True)
        ]
        along = [(x.detach() * g).sum(-1)[0] for x, g in zip(asked, slopes, strict=True)]
        n = len(streams)
        stream, wrote = torch.stack(along[:n]), iter(along[n + len(heads) :])
        mlp = torch.stack([next(wrote) if node else stream[0] * 0 for node in mlps])
        edges = []
        for site, slope in zip(sites, slopes[n:], strict=False):
            value = values[held.calls[site][2][2]["n"]].detach()
            toward_value = slope @ spread_heads(value, slope.shape[1]).transpose(-1, -2)
            edges.append(given[f"pattern/{site}"] * toward_value[0])
        most = max(len(x) for x in edges)
        edges = torch.stack([F.pad(x, (0, 0, 0, 0, 0, most - len(x))) for x in edges])
        return {
            "edges": edges,
            "stream": stream,
            "mlps": mlp,
            "stays": stream[1:] - edges.sum((1, 3)) - mlp,
            "total": edges.sum(),
            "logit": logit.detach(),
            "constant": logit.detach() - stream[0].sum() - mlp.sum(),
        }

    return flow, [names[0], *held.mlps, *(f"pattern/{site}" for site in sites)]


def _uncapped(logits: Tensor, softcap: float) -> Tensor:
    """Logits before a softcap: its inverse, softcap · atanh(logits / softcap)."""
    x = logits / softcap
    within = x.detach().clamp(-1 + 1e-7, 1 - 1e-7)
    x = torch.where(x == within, x, within)  # the gradient of clamp writes, and is traced twice
    return (x.log1p() - (-x).log1p()) * (softcap / 2)


# -- scores by source ------------------------------------------------------------------------------


def _sources(graph: Graph, network: Network, inputs: Inputs, made: Written) -> Graph:
    texts = _texts(graph, inputs)
    function, names, written = sources_function(graph)
    given = Recorded(graph, texts[0]).values
    example = {name: given[name] for name in (*graph.inputs, *names)}
    example |= dict(head=torch.tensor([1]), query=torch.tensor([1]))
    for kind in graph.kinds:
        example[f"keys/{kind}"] = torch.ones(2, given[f"pattern/{kind}/0"].shape[2])
    function(**example)  # on numbers, which show what else reaches the first layer
    found = function_graph(function, example, weights=graph.weights)
    _compare_sources(found, graph, network, texts[-1], written)
    made.sources.update(_listed(written))
    return found


def _compare_sources(
    found: Graph, graph: Graph, network: Network, text: Inputs, written: Mapping[str, Any]
) -> None:
    """Compare the last layer of every kind with what the model's parts sum to."""
    given, parts = Recorded(graph, text).values, network.parts(text)
    sites = {site.split("/")[0]: site for site in written}
    shapes = {kind: given[f"pattern/{site}"].shape for kind, site in sites.items()}
    head, query = (min(shape[i] for shape in shapes.values()) - 1 for i in (0, 1))
    given |= dict(head=torch.tensor([head]), query=torch.tensor([query]))
    for kind, shape in shapes.items():
        one = torch.eye(shape[2])[1]
        given[f"keys/{kind}"] = torch.stack((one, one - 1 / shape[2]))
    tables = _run(found, given)
    for kind, site in sites.items():
        layer, n = int(site.split("/")[1]), shapes[kind][2]
        queries = parts.of_head(kind, layer, head, "query", [query])
        keys = parts.of_head(kind, layer, head, "key", range(n))
        if (queries.sources, keys.sources) != written[site]:
            raise PartsError("its graph does not know all who wrote")
        scale = next(node[2][6] for node in graph.nodes if node[0] == ATTEND and node[2][8] == kind)
        mixed = (given[f"keys/{kind}"] @ keys.values).permute(1, 2, 0)
        _same(tables[site], queries.values[:, 0] @ mixed * scale)


def _listed(written: Mapping[str, tuple[tuple[Source, ...], ...]]) -> dict[str, dict[str, Any]]:
    """The value of `Written.sources`."""
    found: dict[str, dict[str, Any]] = {}
    for site, both in written.items():
        kind, _, layer = site.partition("/")
        for side, (*sources, biases) in zip(("query", "key"), both, strict=True):
            known = found.setdefault(kind, {}).setdefault(side, {"all": [], "counts": {}})
            known["biases"] = biases
            if sources[: len(known["all"])] != known["all"][: len(sources)]:
                raise PartsError("its layers do not read what was written in one order")
            known["all"] = max(known["all"], sources, key=len)
            known["counts"][layer] = len(sources)
    for sides in found.values():
        for known in sides.values():
            sources = [*known.pop("all"), known.pop("biases")]
            known["names"] = [source.name for source in sources]
            known["short"] = [source.short for source in sources]
    return found


def sources_function(
    graph: Graph,
) -> tuple[Callable[..., Results], list[str], dict[str, tuple[tuple[Source, ...], ...]]]:
    """The function of the graph "sources", the names in `Recorded` that it reads and, once it has
    run, the sources of queries and keys in each of its results. It must run on numbers before it is
    traced.

    It also reads `head` [1], `query` [1] and `keys/kind` [table, key]: the key of a table is the
    sum of all keys weighted by its row. For the layers of each kind it returns "kind/layer",
    [table, query source, key source]: the scores times the scale, without soft caps. The last
    source is the biases.
    """
    held = HeldProgram(graph)
    calls = {site: node for site, node in held.calls.items() if all(map(is_node, node[2][:2]))}
    written: dict[str, tuple[tuple[Source, ...], ...]] = {}
    split = Splitting(held)

    def sources(head: Tensor, query: Tensor, **given: Tensor) -> Results:
        known = {node: given[name] for name, node in held.mlps.items()}
        texts = {name: given[name] for name in graph.inputs}
        for site, node in held.calls.items():
            known[node[1]] = given[f"z/{site}"].transpose(1, 2)
        both = [x["n"] for node in calls.values() for x in node[2][:2]]
        split.run(both, known, texts)
        tables = {}
        for site, node in calls.items():
            (q_sources, q), (k_sources, k) = (split.whole(x["n"]) for x in node[2][:2])
            own = head if q.shape[1] == k.shape[1] else head // (q.shape[1] // k.shape[1])
            q = q.index_select(1, head)[:, 0].index_select(1, query)[:, 0]
            k = given[f"keys/{node[2][8]}"] @ k.index_select(1, own)[:, 0]
            tables[site] = q @ k.permute(1, 2, 0) * node[2][6]
            stack = "encoder" if node[2][8] == "cross" else ""
            written[site] = q_sources, tuple(replace(x, stack=stack) for x in k_sources)
        return tables

    return sources, [*held.mlps, *(f"z/{site}" for site in held.calls)], written


# -- comparing -------------------------------------------------------------------------------------


def _texts(graph: Graph, inputs: Inputs) -> list[Inputs]:
    """Texts to trace and to compare with, whose lengths are neither a size of a weight nor a number
    of heads: a trace is valid for other lengths only if its own is not another size."""
    if not graph.any_length or inputs.tokens is None:
        return [inputs]
    used = {n for x in graph.weights.values() for n in x.shape}
    used |= {
        n
        for name, x in Recorded(graph, inputs).values.items()
        if name[:1] == "p"
        for n in x.shape[:1]
    }
    used |= {
        x
        for node in graph.nodes
        if node[0] in ("view", "expand")
        for x in node[2][1]
        if isinstance(x, int)
    }
    free = [n for n in LENGTHS if n not in used and n <= min(y for _, y in graph.lengths.values())]
    if len(free) < 2 + 2 * (inputs.target is not None):
        raise PartsError("no length of a text differs from every size of its weights")

    def cut(x: Tensor | None, n: int) -> Tensor | None:
        return None if x is None else x.repeat(1, -(-n // x.shape[1]))[:, :n]

    pairs = [free[:2], free[2:4] if inputs.target is not None else free[1::-1]]
    return [Inputs(cut(inputs.tokens, a), cut(inputs.target, b)) for a, b in pairs]


def _run(graph: Graph, given: Mapping[str, Tensor]) -> Results:
    found = graph.run_all(*(given[name] for name in graph.inputs))
    return dict(zip(graph.results, found, strict=True))


def _same(found: Tensor, wanted: Tensor) -> None:
    if not (off := apart(wanted, found)) <= 10 * TOLERANCE:
        raise PartsError(f"its graph differs from the model by {off:.1e}")
