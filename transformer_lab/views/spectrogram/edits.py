"""The wording of edits that act on a sound, and their Python."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...edits.constructors import edit_from_dict
from ..shared.edit_words import edit_words
from ..shared.javascript import call
from ..shared.messages import quoted
from ..shared.modules import VIEWS

Plain = Mapping[str, Any]  # an edit as `Edit.to_dict` gives it


def _runs(edits: Sequence[Plain]) -> list[list[Plain]]:
    """Group edits: edges from one word to adjacent positions, or a single edit."""
    runs: list[list[Plain]] = []
    for one in edits:
        last = runs[-1][-1] if runs else {}
        edge = one["edit"] == "knock_out" and None not in (one.get("key"), last.get("key"))
        if edge and {**one, "key": one["key"] - 1} == last:
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def edits_words(edits: Sequence[Plain], words: Sequence[str], step: float, n: int) -> str:
    """Edits as part of a sentence; edges from one word to adjacent positions are one time span."""
    names, times = (
        [quoted(word) for word in words],
        [_time_words(key, key, step) for key in range(n)],
    )
    parts = []
    for one, *more in _runs(edits):
        if more:
            one, keys = {**one, "key": 0}, [_time_words(one["key"], more[-1]["key"], step)]
            parts.append(edit_words(one, names, keys, "cross"))
            continue
        kind = one.get("kind")
        queries, keys = (
            times if kind == "encoder" else names,
            times if kind in ("encoder", "cross") else names,
        )
        parts.append(edit_words(one, queries, keys, "cross"))
    return " and ".join(parts)


def edits_code(edits: Sequence[Plain]) -> str:
    """Python code that makes these edits; edges to adjacent positions share an expression."""
    parts = []
    for one, *more in _runs(edits):
        code = edit_from_dict(one).code()
        if more:
            each = re.sub(r"\bkey=\d+", "key=k", code)
            code = f"*({each} for k in range({one['key']}, {more[-1]['key'] + 1}))"
        parts.append(code)
    return f"[{', '.join(parts)}]"


def _time_words(first: int, last: int, step: float) -> str:
    """The time span of positions, both included, as the sentence names it."""
    return call(VIEWS / "spectrogram" / "scene.js", "timeWords", first, last, step)
