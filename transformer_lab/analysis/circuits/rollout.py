"""Follow attention through the layers: what a token may have taken from each token of the text.

One layer's pattern says which *positions* it attends to; by then these hold mixtures. Rollout and
flow follow the mixtures back to the input, taking each block as half attention and half residual
connection. Neither accounts for values, norms or feed-forward layers: they bound where information
can have come from, and do not measure what it did. Source: Abnar and Zuidema 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...tracing.maps import within_budget
from ...tracing.trace import Trace, TraceError

LARGEST_FLOW = 2**15  # edges; beyond that one row takes more than a few seconds


def rollout(
    trace: Trace,
    *,
    kind: str | None = None,
    batch: int = 0,
    heads: Tensor | None = None,
    residual: float = 0.5,
) -> Tensor:
    """Multiply attention through the layers: fp32 [layer + 1, query, key].

    Entry 0 is the identity (each token is itself); entry l + 1 is what each token holds, after
    block l, of the tokens of the input: Ã_l · … · Ã_0 with Ã = (1 − residual) · A + residual · I,
    where A is the mean over heads. Rows sum to 1.

    With kind="cross" it is what the *target's* tokens hold of the *source's*: the decoder's self-
    and cross-attention, and then the encoder's, one after the other. What rows lack to 1 came from
    the target itself. kind="decoder" follows self-attention alone.

    One head's pattern is in memory at a time, besides the result.

    Args:
        heads: weights of the heads in the mean, [layer, head], not negative: to leave heads out, or
            weight them by their values. Equal by default. For kind="cross" they are of the
            cross-attention's heads.
        residual: the weight of the residual connection, from 0 to 1; ½ in the paper.

    Raises:
        TraceError: for a kind that does not exist.
        ValueError: for weights of another shape, or a residual outside 0 … 1.
        MemoryBudgetError: if the result would be larger than `trace.budget_mib`.
    """
    if not 0 <= residual <= 1:
        raise ValueError(f"residual must be between 0 and 1, got {residual}")
    kind = trace.kind(kind)
    n_query, n_key = trace.shape(kind)
    within_budget(
        (trace.n_layers(kind) + 1) * n_query * n_key,
        trace.budget_mib,
        "shorten the text, or raise trace.budget_mib",
    )
    weights = _weights(trace, kind, heads)
    if kind == "cross":
        return _across(trace, batch, weights, residual)
    held = torch.eye(n_query)
    found = [held]
    for layer in range(trace.n_layers(kind)):
        held = _mixed(trace, layer, kind, batch, weights, residual) @ held
        found.append(held)
    return torch.stack(found)


def flow(
    trace: Trace,
    position: int = -1,
    *,
    layer: int | None = None,
    kind: str | None = None,
    batch: int = 0,
    heads: Tensor | None = None,
    residual: float = 0.5,
) -> Tensor:
    """The largest flow from one token, after a block, down to each token of the input: fp32 [key].

    The layers are a network whose edges carry at most Ã (see `rollout`). A path carries as much as
    its narrowest edge, while a rollout multiplies the weights of its edges; so flows do not shrink
    with depth and do not add up to 1.

    Args:
        position: of the token the flow comes from; negative ones count from the end.
        layer: after which block; the last by default.
        kind: "encoder" or "decoder".
        heads, residual: as in `rollout`.

    Raises:
        ValueError: for a position or layer that does not exist, or a network of over 32,768 edges
            (layers × tokens²), saying what would fit.
        TraceError: for a kind that does not exist, and for "cross".
    """
    # A dependency of torch, and the one maximum-flow algorithm at hand that takes real numbers.
    import networkx
    from networkx.algorithms.flow import build_residual_network, shortest_augmenting_path

    kind = trace.kind(kind)
    if kind == "cross":
        raise TraceError(
            "attention flow is not defined for kind='cross'; give kind='encoder' or 'decoder'"
        )
    n_tokens, n_layers = trace.shape(kind)[0], trace.n_layers(kind)
    last = n_layers - 1 if layer is None else layer
    if not 0 <= last < n_layers:
        raise ValueError(f"layer={layer} is outside 0 … {n_layers - 1}")
    if not -n_tokens <= position < n_tokens:
        raise ValueError(
            f"position={position} is outside the {n_tokens} tokens (−{n_tokens} … {n_tokens - 1})"
        )
    n_edges = (last + 1) * n_tokens**2
    if n_edges > LARGEST_FLOW:
        raise ValueError(
            f"{last + 1} layers of {n_tokens} tokens make {n_edges:,} edges, more than the "
            f"{LARGEST_FLOW:,} that attention flow can handle: shorten the text to "
            f"{int((LARGEST_FLOW / (last + 1)) ** 0.5)} tokens, choose an earlier layer, or use "
            "rollout"
        )
    position %= n_tokens
    weights = _weights(trace, kind, heads)
    network = networkx.DiGraph()
    for at in range(last + 1):
        mixed = _mixed(trace, at, kind, batch, weights, residual)
        for query, key in mixed.nonzero().tolist():
            network.add_edge((at + 1, query), (at, key), capacity=mixed[query, key].item())
    rest = build_residual_network(network, "capacity")
    found = torch.zeros(n_tokens)
    for key in range(n_tokens):
        ends = (last + 1, position), (0, key)
        if ends[1] in network and ends[0] in network:
            solved = shortest_augmenting_path(network, *ends, residual=rest, value_only=True)
            found[key] = solved.graph["flow_value"]
    return found


def _weights(trace: Trace, kind: str, heads: Tensor | None) -> Tensor:
    """[layer, head], each row summing to 1.

    Raises:
        TraceError: if some layers have no attention: what they mix is not known.
    """
    shape = (trace.n_layers(kind), trace.n_heads(kind))
    for layer in trace.layers(kind):
        if layer.heads != shape[1]:
            raise TraceError(
                f"rollout and flow need the same number of heads in every layer, got {layer.label}"
            )
    if heads is None:
        return torch.full(shape, 1 / shape[1])
    heads = torch.as_tensor(heads).detach().float().cpu()
    if tuple(heads.shape) != shape:
        raise ValueError(
            f"heads must have a weight for each head, shape {list(shape)}, got {list(heads.shape)}"
        )
    if heads.min() < 0 or (heads.sum(-1) == 0).any():
        raise ValueError(
            "heads must hold no negative weight, and in every layer at least one above 0"
        )
    return heads / heads.sum(-1, keepdim=True)


def _mean_map(trace: Trace, layer: int, kind: str, batch: int, weights: Tensor) -> Tensor:
    mean = torch.zeros(trace.shape(kind))
    for head in range(trace.n_heads(kind)):
        if weights[layer, head] > 0:
            mean += weights[layer, head] * trace.pattern(layer, head, kind=kind, batch=batch).cpu()
    return mean


def _mixed(
    trace: Trace, layer: int, kind: str, batch: int, weights: Tensor, residual: float
) -> Tensor:
    """Return Ã. A token that may attend to nothing keeps what it has."""
    mean = _mean_map(trace, layer, kind, batch, weights)
    mixed = (1 - residual) * mean
    mixed.diagonal().add_(1 - mixed.sum(-1))
    return mixed


def _across(trace: Trace, batch: int, weights: Tensor, residual: float) -> Tensor:
    """The rollout of an encoder-decoder: [layer + 1, target, source]."""
    source = rollout(trace, kind="encoder", batch=batch, residual=residual)[-1]
    own = _weights(trace, "decoder", None)
    held = torch.zeros(trace.shape("cross"))
    found = [held]
    for layer in range(trace.n_layers("cross")):
        held = _mixed(trace, layer, "decoder", batch, own, residual) @ held
        mean = _mean_map(trace, layer, "cross", batch, weights)
        kept = 1 - (1 - residual) * mean.sum(-1, keepdim=True)
        held = kept * held + (1 - residual) * mean @ source
        found.append(held)
    return torch.stack(found)
