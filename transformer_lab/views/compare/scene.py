"""The scene of a CompareView."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..marks.scene import Axis, Matrix, Panel, Scene, causal_gaps
from ..shared.exports import Array, Numbers
from ..shared.map_sentences import TO_NOTHING
from ..shared.messages import messages

say = messages("compare")
DEEP = 5  # from this many layers per head on, cells are not square: they would be tiny


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
    """Draw how much of each head's attention moved, and both maps with their difference.

    Args:
        names: of the two traces.
        moved: [layer, head], the fraction of attention that moved.
        maps, difference: [query, key] of the chosen head.
        nothing: attention to no key of both, [query], for heads with sinks.
    """
    a, b = names
    first, second = nothing or (None, None)
    change = None if first is None or second is None else second - first
    sides = [(a, maps[0], first), (b, maps[1], second), (f"{b} − {a}", difference, change)]
    changes = [difference, *([] if change is None else [change])]
    most = max(0.1, *[float(x.nan_to_num(0).abs().max()) for x in changes])
    cells = [causal_gaps(values) if causal else values.float().numpy() for _, values, _ in sides]
    grid = Matrix(
        moved,
        Axis("layer"),
        Axis("head"),
        end=max(0.05, float(moved.nan_to_num(0).max())),
        chosen=(layer, head),
        square=moved.shape[0] < DEEP * moved.shape[1],
    )
    rows, columns = Axis("query", queries, tokens=True), Axis("key", keys, tokens=True)
    shown = [
        Panel(
            name,
            Matrix(
                values,
                rows,
                columns,
                end=most if i == 2 else 1.0,
                signed=i == 2,
                power=0.5,
                chosen=selected,
                beside=own,
                beside_name=TO_NOTHING,
                name=name,
            ),
        )
        for i, ((name, _, own), values) in enumerate(zip(sides, cells, strict=True))
    ]
    found = []
    for name, values, (_, _, own) in zip(("a", "b", "difference"), cells, sides, strict=True):
        of = dict(name=name, a=a, b=b)
        found.append(Array(name, values, ("query", "key"), say("is_map", **of)))
        if own is not None:
            found.append(Array(f"{name}_nothing", own, ("query",), say("is_nothing", **of)))
    found.append(Array("moved", moved, ("layer", "head"), say("is_moved")))
    return Scene(
        f"{title} · {a} and {b} · layer {layer}, head {head}",
        sentence,
        [[Panel("fraction of attention that moved", grid), shown[0]], shown[1:]],
        Numbers(found, {"query": queries, "key": keys}),
    )
