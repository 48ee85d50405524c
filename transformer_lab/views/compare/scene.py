"""What a CompareView shows."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..heads.masks import causal_gaps
from ..marks.scene import Axis, Matrix, Panel, Scene
from ..shared.exports import Array, Numbers
from ..shared.map_sentences import TO_NOTHING


def compare_scene(
    title: str,
    sentence: str,
    names: tuple[str, str],
    moved: Tensor,
    maps: tuple[Tensor, Tensor],
    difference: Tensor,
    queries: Sequence[str],
    keys: Sequence[str],
    layer: int,
    head: int,
    causal: bool,
    selected: tuple[int | None, int | None] | None,
    nothing: tuple[Tensor, Tensor] | None = None,
) -> Scene:
    """Every head by how much of its attention lies elsewhere; both maps and their difference.

    Args:
        names: of the two traces.
        moved: [layer, head], the share of attention that lies elsewhere.
        maps, difference: [query, key] of the head on view.
        nothing: [query] of both, where heads may look there.
    """
    a, b = names
    first, second = nothing or (None, None)
    change = None if first is None or second is None else second - first
    sides = [(a, maps[0], first), (b, maps[1], second), (f"{b} − {a}", difference, change)]
    changes = [difference, *([] if change is None else [change])]
    most = max(0.1, *[float(x.nan_to_num(0).abs().max()) for x in changes])
    cells = [causal_gaps(values) if causal else values.float().numpy() for _, values, _ in sides]
    grid = Matrix(
        moved, Axis("layer"), Axis("head"), end=max(0.05, float(moved.max())), chosen=(layer, head),
        square=True,
    )  # fmt: skip
    rows, columns = Axis("query", queries, tokens=True), Axis("key", keys, tokens=True)
    shown = [
        Panel(
            name,
            Matrix(
                values, rows, columns, end=most if i == 2 else 1.0, signed=i == 2, chosen=selected,
                beside=own, beside_name=TO_NOTHING, name=name,
            ),
        )
        for i, ((name, _, own), values) in enumerate(zip(sides, cells, strict=True))
    ]  # fmt: skip
    aligned = "on aligned tokens; NaN where a token is missing or a query cannot look"
    means = (f"attention weight of {a}", f"attention weight of {b}", f"{b} less {a}")
    labels = ("a", "b", "difference")
    found = [
        Array(label, values, ("query", "key"), f"{what}, {aligned}")
        for label, values, what in zip(labels, cells, means, strict=True)
    ]
    found += [
        Array(f"{label}_nothing", own, ("query",), f"what goes to no key: {name}")
        for label, (name, _, own) in zip(labels, sides, strict=True)
        if own is not None
    ]
    elsewhere = "share of a head's attention that lies elsewhere in the second"
    found.append(Array("moved", moved, ("layer", "head"), elsewhere))
    return Scene(
        f"{title} · {a} and {b} · layer {layer}, head {head}", sentence,
        [[Panel("attention that lies elsewhere", grid), shown[0]], shown[1:]],
        Numbers(found, {"query": queries, "key": keys}),
    )  # fmt: skip
