"""The scene of a CloudView."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..marks.scene import Panel, Points, Scene
from ..shared.exports import Array, Numbers
from ..shared.messages import messages
from .data import Plane

SHOWS = ("scores", "values")
say = messages("cloud")


def cloud_scene(
    title: str,
    sentence: str,
    plane: Plane,
    tokens: dict[str, Any],
    shows: str,
    colour: str,
    query: int | None,
) -> Scene:
    """Draw the points of queries and keys, or of outputs and values.

    Args:
        tokens: "query_tokens" and "key_tokens".
        query: the chosen query.
    """
    sides = ("queries", "keys") if shows == "scores" else ("outputs", "values")
    names = [tokens["query_tokens"], tokens["key_tokens"]]
    places = [getattr(plane, side).numpy() for side in sides]
    numbers = [np.arange(len(x), dtype=float) for x in names]
    weights = plane.pattern.mean(0) if query is None else plane.pattern[query]
    on_keys = [np.full(len(names[0]), np.nan), weights.numpy()]
    if colour == "attention":
        numbers = on_keys
    elif colour == "token":
        known = {token: i for i, token in enumerate(dict.fromkeys([*names[1], *names[0]]))}
        numbers = [np.array([known[x] for x in side], dtype=float) for side in names]
    mark = Points(
        np.concatenate(places),
        [*names[0], *names[1]],
        np.full(sum(map(len, names)), 0.1),
        groups=[
            say("group", group=side) for side, of in zip(sides, names, strict=True) for _ in of
        ],
        shades=np.concatenate(numbers),
        shades_mean=colour,
    )
    point, hint = ("point",), say(f"{shows}_hint")
    found = [
        Array("side", np.array(mark.groups), point, say("side")),
        Array("x", mark.places[:, 0].astype("f4"), point, hint),
        Array("y", mark.places[:, 1].astype("f4"), point, hint),
        Array(
            "received" if query is None else "weight",
            np.concatenate(on_keys).astype("f4"),
            point,
            say("weight", query=None if query is None else names[0][query], position=query or 0),
        ),
    ]
    numbers_of_points = Numbers(found, {"point": mark.names})
    return Scene(title, sentence, [[Panel(say(shows), mark)]], numbers_of_points)
