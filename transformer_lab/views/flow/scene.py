"""The scene of a FlowView."""

from __future__ import annotations

from collections.abc import Sequence

from ..marks.scene import Axis, Bars, Matrix, Panel, Routes, Scene
from ..shared.exports import Array, Numbers
from ..shared.messages import messages, with_sign
from .data import FlowFound

say = messages("flow")

LISTED = 16  # edges shown as bars


def flow_scene(
    title: str,
    sentence: str,
    tokens: Sequence[str],
    found: FlowFound,
    shown: int,
    name: str,
    heads: frozenset[tuple[int, int]] | None,
    circuit: str,
) -> Scene:
    """Draw the flow, its largest edges, and each token's part of the logit before the first layer
    and after each.

    Args:
        shown: the number of edges to draw, largest first.
        name: of the logit.
        heads: (layer, head) of a circuit, which stand out; or None.
        circuit: a sentence about it.
    """
    flow = found.flow
    places, values = found.places[:shown].tolist(), found.values[:shown].tolist()
    routes = Routes(
        tokens,
        flow.stream,
        flow.stays,
        flow.mlps,
        places,
        values,
        cuts=found.cuts,
        heads=heads,
        n_heads=flow.edges.shape[1],
        at=flow.position,
        says=f"{name} {with_sign(flow.logit)}",
    )
    rows = Axis("after layer", ["start", *range(len(flow.mlps))])
    stream = Matrix(
        flow.stream, rows, Axis("token", tokens, tokens=True), "toward the logit", signed=True
    )
    names = [
        f"L{layer} H{head} {tokens[key]} {key} → {tokens[query]} {query}"
        for layer, head, query, key in places[:LISTED]
    ]
    carried = Bars(values[:LISTED], Axis("", names), means="carried toward the logit")
    return Scene(
        f"{title} · flow",
        f"{sentence} {circuit}".strip(),
        [
            [Panel("", routes)],
            [
                Panel("the edges that carry most", carried, 0.45),
                Panel("the stream at a token, toward the logit", stream, 0.55),
            ],
        ],
        _numbers(tokens, found, shown),
    )


def _numbers(tokens: Sequence[str], found: FlowFound, shown: int) -> Numbers:
    """The edges that are shown, and the numbers at every token."""
    flow, e = found.flow, ("edge",)
    places, values = found.places[:shown], found.values[:shown]
    names = ("layer", "head", "query", "key")
    parts = [Array(name, places[:, i], e, say(f"is_{name}")) for i, name in enumerate(names)]
    parts += [
        Array("carried", values, e, say("is_carried")),
        Array("stream", flow.stream, ("after", "position"), say("is_stream")),
        Array("stays", flow.stays, ("layer", "position"), say("is_stays")),
        Array("mlp", flow.mlps, ("layer", "position"), say("is_mlp")),
    ]
    after = ["start", *(f"layer {i}" for i in range(len(flow.mlps)))]
    return Numbers(parts, {"after": after, "position": list(tokens)})
