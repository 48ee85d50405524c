"""The scene of a ModelView."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..marks.scene import Axis, Bars, Mark, Matrix, Note, Panel, Routes, Scene
from ..shared.exports import Array, Numbers
from ..shared.messages import percent
from .data import Pass

SEEN = 0.12  # smallest edge drawn, as a fraction of its layer's largest
THIN = 0.45  # width of the widest curve, relative to the widest line
GONE = 0.5  # an edge that carries less than this fraction of what it did counts as gone


def model_scene(
    say: Callable[..., str],
    title: str,
    sentence: str,
    found: Pass,
    windows: dict[str, tuple[int, Sequence[str]]],
    answers: Sequence[Sequence[Any]],
    main: str,
    edited: bool,
    n_heads: int,
) -> Scene:
    """Draw every stack with its residual streams and edges, and the predictions.

    Args:
        windows: stack -> the number of its first token shown, and the tokens shown.
        main: the stack that predicts.
    """
    now = int(edited)
    rows: list[list[Panel]] = []
    for stack, (first, tokens) in windows.items():
        name = say("stack", stack=stack) if len(windows) > 1 else ""
        rows.append([Panel(name, _routes(found, stack, first, tokens, now, n_heads))])
    labels = [str(name) for name, *_ in answers]
    values = np.array([[row[1 + i] for row in answers] for i in range(1 + now)])
    predicted: Mark = Note(say("no_answers"))
    if answers:
        texts = [[percent(x) for x in row] for row in values.tolist()]
        groups = [say("before"), say("after")] if edited else [""]
        predicted = Bars(
            values if edited else values[0],
            Axis("", labels, tokens=True),
            groups=groups,
            colours=["quiet", "edited"] if edited else [],
            means=say("probability"),
            text=texts if edited else texts[0],
        )
    sizes = found.norms[main][now].numpy()
    after = Axis(say("after_layer"), [say("start_row"), *range(len(sizes) - 1)])
    _, tokens = windows[main]
    matrix = Matrix(sizes, after, Axis("", tokens, tokens=True), say("is_size"))
    rows.append([Panel(say("probability"), predicted, 0.4), Panel(say("is_size"), matrix, 0.6)])
    numbers = _numbers(say, found, windows, main, answers, edited)
    return Scene(say("title", title=title), sentence, rows, numbers)


def _routes(
    found: Pass, stack: str, first: int, tokens: Sequence[str], now: int, n_heads: int
) -> Routes:
    """Draw one stack: its streams, and its edges relative to the largest of their layer."""
    norms = found.norms[stack][now].numpy()
    sizes = norms / max(float(norms.max()), 1e-9)
    places, values, gone = [], [], []
    for at, edges in found.edges.items():
        step = found.steps[at]
        if step["stack"] != stack or step["kind"] == "cross":
            continue
        before, after = (x.tolist() for x in edges.carried)
        most = max([*before, *after, 1e-9])
        for (head, query, key), was, is_now in zip(
            edges.places.tolist(), before, after, strict=True
        ):
            if not 0 <= key - first < len(tokens):
                continue
            place = (step["layer"], head, query - first, key - first)
            if now and is_now < GONE * was and was > SEEN * most:
                gone.append(place)
            elif is_now > SEEN * most:
                places.append(place)
                values.append(THIN * is_now / most)
    part = found.shares[stack].get("MLP", found.shares[stack].get("block"))
    layers = len(norms) - 1
    added = np.zeros((layers, len(tokens))) if part is None else part[now].numpy()
    return Routes(
        tokens,
        sizes,
        sizes[1:],
        added / max(float(added.max(initial=0)), 1e-9),
        places,
        values,
        cuts=gone,
        heads=None,
        n_heads=n_heads,
        at=len(tokens) - 1,
        says="",
        down=True,
    )


def _numbers(
    say: Callable[..., str],
    found: Pass,
    windows: dict[str, tuple[int, Sequence[str]]],
    main: str,
    answers: Sequence[Sequence[Any]],
    edited: bool,
) -> Numbers:
    """Every edge, the length of the stream of the stack that predicts, and the predictions."""
    kinds, layers, parts = [], [], []
    for at, edges in found.edges.items():
        step, n = found.steps[at], len(edges.places)
        kinds += [step["kind"]] * n
        layers += [step["layer"]] * n
        parts.append(torch.cat((edges.places.T.float(), edges.carried)))
    rows = torch.cat(parts, 1).numpy()
    e = ("edge",)
    arrays = [
        Array("kind", np.array(kinds), e, say("is_kind")),
        Array("layer", np.array(layers), e, say("is_layer")),
        *(
            Array(name, rows[i].astype(int), e, say(f"is_{name}"))
            for i, name in enumerate(("head", "query", "key"))
        ),
        Array("carried", rows[3], e, say("is_carried")),
    ]
    place, probability = ("after", "position"), [row[1:] for row in answers]
    arrays.append(Array("size", found.norms[main][0], place, say("is_size")))
    if answers:
        arrays.append(
            Array(
                "probability", np.array(probability)[:, 0], ("prediction",), say("is_probability")
            )
        )
    if edited:
        arrays.append(Array("carried_edited", rows[4], e, say("is_carried_edited")))
        arrays.append(Array("size_edited", found.norms[main][1], place, say("is_size_edited")))
        if answers:
            arrays.append(
                Array(
                    "probability_edited",
                    np.array(probability)[:, 1],
                    ("prediction",),
                    say("is_probability_edited"),
                )
            )
    after = [say("start_row"), *(str(i) for i in range(found.norms[main].shape[1] - 1))]
    axes = {
        "after": after,
        "position": list(windows[main][1]),
        "prediction": [str(a[0]) for a in answers],
    }
    return Numbers(arrays, axes)
