"""The content of an Explorer: every head, the chosen one in full, the predictions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..heads.scene import (
    ShownHead,
    head_arrays,
    head_axes,
    heads_panel,
    in_rows,
    left_out,
    map_panels,
)
from ..marks.scene import Axis, Bars, Note, Panel, Scene
from ..shared.exports import Array, Numbers
from ..shared.map_sentences import say as say_of_map
from ..shared.messages import percent
from .runs import Outcome, say

MAP_TITLES = {
    "before": "attention weight",
    "after": "attention weight, edited",
    "difference": "change of the attention weight",
}
PARTS, LINE = 12, 118  # maximum number of segments listed, and characters of each


def explorer_scene(
    shown: ShownHead,
    mode: str,
    off: Sequence[tuple[int, int]],
    effect: Outcome,
    where: str,
    parts: Sequence[tuple[str, str]] = (),
) -> Scene:
    """A scene with thumbnails of all heads, the chosen one before or after the edits or their
    difference, and the predictions.

    Args:
        shown: its weights are signed if the mode is "difference".
        off: (layer, head) of the heads that are switched off.
        where: the position of the prediction, in words.
        parts: (name, text) of the text's named segments, such as the turns of a conversation.
    """
    signed = mode == "difference"
    means = MAP_TITLES[mode] if signed or not shown.value_weighted else shown.means
    maps = map_panels(shown, means, signed=signed)
    first = [heads_panel(shown, off)]
    predicted = _predictions(effect, where)
    if len(maps) == 1:
        rows = [[*first, *maps], [predicted]] if predicted else [[*first, *maps]]
    else:
        rows = [[*first, predicted] if predicted else first, *in_rows(maps, 2)]
    if parts:
        rows = [[_texts(parts)], *rows]
    title = f"{shown.title} · layer {shown.layer}, head {shown.head}"
    return Scene(
        title, shown.sentence + left_out(shown), rows, _numbers(shown, signed, effect, where)
    )


def _texts(parts: Sequence[tuple[str, str]]) -> Panel:
    """The text by its named segments, one per line."""
    lines = []
    for name, text in parts[:PARTS]:
        line = f"{name}: “{'↵'.join(text.splitlines())}"
        lines.append(f"{line}”" if len(line) < LINE else f"{line[: LINE - 1]}…")
    lines += [f"… and {len(parts) - PARTS} more"] if len(parts) > PARTS else []
    return Panel("the text, by its parts", Note("\n".join(lines), wide=True))


def _predictions(effect: Outcome, where: str) -> Panel | None:
    if effect.rows:
        edited = effect.rows[0].after is not None
        names = Axis("", [row.token for row in effect.rows], tokens=True)
        before = [row.before for row in effect.rows]
        if not edited:
            bars = Bars(
                before, names, ("before",), colours=("quiet",), text=[percent(x) for x in before]
            )
            return Panel(f"predictions {where}", bars)
        after = [row.after or 0.0 for row in effect.rows]
        labels = [[percent(x) for x in line] for line in (before, after)]
        bars = Bars(
            [before, after], names, ("before", "after"), colours=("quiet", "edited"), text=labels
        )
        return Panel(f"predictions {where} · KL {say('kl', kl=effect.kl or 0.0)} nats", bars)
    if effect.states:
        moved = [state.change for state in effect.states]
        names = Axis("", [state.token for state in effect.states], tokens=True)
        labels = [f"{100 * x:.1f}%" for x in moved]
        return Panel(
            "how far final states move", Bars(moved, names, colours=("edited",), text=labels)
        )
    return None


def _numbers(shown: ShownHead, signed: bool, effect: Outcome, where: str) -> Numbers:
    """Arrays of the chosen head, [query, key], and of the predictions without and with the
    edits."""
    arrays, axes = head_arrays(shown, signed), dict(head_axes(shown))

    def of_each(name: str, values: list, means: str) -> None:
        numbers = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
        arrays.append(Array(name, numbers, ("prediction",), means))

    if effect.rows:
        axes["prediction"] = [row.token for row in effect.rows]
        means = partial(say_of_map, "is_prediction", where=where)
        of_each("before", [row.before for row in effect.rows], means(edited=False))
        if effect.rows[0].after is not None:
            after = [row.after for row in effect.rows]
            of_each("after", after, means(edited=True))
    elif effect.states:
        axes["prediction"] = [state.token for state in effect.states]
        moved = [state.change for state in effect.states]
        of_each("moved", moved, say_of_map("is_moved"))
    return Numbers(arrays, axes)
