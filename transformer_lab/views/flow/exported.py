"""A FlowView as numbers for files."""

from __future__ import annotations

from ..shared.exports import Array, Numbers
from .figure import FlowScene


def flow_numbers(scene: FlowScene) -> Numbers:
    """The edges on view, and what stands at every token."""
    flow, e = scene.found.flow, ("edge",)
    places, values = scene.found.places[: scene.shown], scene.found.values[: scene.shown]
    parts = [
        Array(name, places[:, i], e, means)
        for i, (name, means) in enumerate(
            (
                ("layer", "of the head that carries"),
                ("head", "that carries"),
                ("query", "position that it is carried to"),
                ("key", "position that it is carried from"),
            )
        )
    ]
    at = ("after", "position")
    parts += [
        Array("carried", values, e, "toward the logit; all edges, and not only those shown, sum with the rest to it"),
        Array("stream", flow.stream, at, "what stands at a token, toward the logit"),
        Array("stays", flow.stays, ("layer", "position"), "what goes on at its token past a layer"),
        Array("mlp", flow.mlps, ("layer", "position"), "what an mlp writes, toward the logit"),
    ]  # fmt: skip
    after = ["start", *(f"layer {i}" for i in range(len(flow.mlps)))]
    return Numbers(parts, {"after": after, "position": list(scene.tokens)})
