"""A run over its steps: maps of a probe at some of them, and the scores of heads on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...heads.measures import MEASURES
from ...tracing.packing import unpack_weights
from ...tracing.trace import Trace
from ...training.run import Run
from ...training.snapshots import trace_of_maps

CURVE_POINTS = 600
MOST_KEPT = 64  # most snapshots that a TrainingView holds
KEPT_BYTES = 64 * 2**20


class Snapshots:
    """Maps of a probe at some steps, and the scores of every head on them.

    Args:
        steps: ascending.
        trace_at: step -> the probe's `Trace` at that step.
    """

    def __init__(self, steps: Sequence[int], trace_at: Callable[[int], Trace]):
        self.steps, self._trace_at = list(steps), trace_at
        self.scores: dict[str, dict[str, Tensor]] = {}  # kind -> measure -> [step, layer, head]
        self._measure()

    @classmethod
    def of_run(cls, run: Run, **labels: Sequence[str] | None) -> Snapshots:
        """The snapshots of a run.

        Raises:
            ValueError: for a run without snapshots.
        """
        if not run.snapshots:
            raise ValueError(
                f"run={str(run.folder)!r} has no snapshots; train with run=, probe=token ids and "
                "snapshot_every=a number of steps"
            )
        return cls(run.snapshots, lambda step: run.trace(step, **labels))

    @classmethod
    def of_kept(
        cls,
        kept: Mapping[int, Mapping[str, Tensor]],
        ids: Sequence[Tensor],
        labels: Mapping[str, Sequence[str]],
    ) -> Snapshots:
        """Snapshots from packed maps: step -> kind -> uint16 [layer, head, query, key]."""

        def trace_at(step: int) -> Trace:
            maps = {kind: unpack_weights(codes) for kind, codes in kept[step].items()}
            return trace_of_maps(maps, *ids, **labels, name=f"step {step}")

        return cls(sorted(kept), trace_at)

    def at(self, step: int) -> Trace:
        return self._trace_at(step)

    def nearest(self, step: int) -> int:
        """The nearest step that has a snapshot; the earlier of two."""
        return min(self.steps, key=lambda known: (abs(known - step), known))

    def measures(self, kind: str) -> list[str]:
        return list(self.scores[kind])

    def telling(self, kind: str) -> str:
        """The first score with unit "share" that rises by at least 0.2 in some head, or ""."""
        return next(
            (
                name
                for name, score in self.scores.get(kind, {}).items()
                if MEASURES[name].unit == "share" and (score[-1] - score[0]).max() >= 0.2
            ),
            "",
        )

    def packed(self) -> tuple[dict[str, list[str]], bytes]:
        """kind -> its measures, and every score as fp32: [kind][measure][step, layer, head]."""
        names = {kind: list(found) for kind, found in self.scores.items()}
        parts = [t for found in self.scores.values() for t in found.values()]
        data = b"".join(t.float().numpy().astype("<f4").tobytes() for t in parts)
        return names, data

    def _measure(self) -> None:
        lists: dict[tuple[str, str], list[Tensor]] = {}
        for step in self.steps:
            trace = self.at(step)
            for kind in trace.kinds:
                for name, measure in MEASURES.items():
                    if "ids" in measure.on and measure.applies(trace, kind):
                        lists.setdefault((kind, name), []).append(measure.score(trace, kind=kind))
        for (kind, name), found in lists.items():
            self.scores.setdefault(kind, {})[name] = torch.stack(found)


def curves(history: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """([point, (step, loss)], [point, (step, held-out loss)]) from the metrics of a run.

    Of long runs, losses are means over equal stretches of steps.
    """
    if not history:
        return np.zeros((0, 2)), np.zeros((0, 2))
    number = lambda value: float("nan") if value is None else value  # noqa: E731
    points = np.array([(row["index"], number(row["loss"])) for row in history], dtype=np.float64)
    if len(points) > CURVE_POINTS:
        points = np.stack([part.mean(0) for part in np.array_split(points, CURVE_POINTS)])
    held = [(row["index"], row["eval_loss"]) for row in history if row.get("eval_loss") is not None]
    return points, np.array(held, dtype=np.float64).reshape(-1, 2)[-CURVE_POINTS:]


def thinned(kept: dict[int, Any], size: int) -> dict[int, Any]:
    """Drop the snapshots closest to their neighbours while there are too many.

    The first and the last stay.

    Args:
        size: bytes per snapshot.
    """
    most = max(3, min(MOST_KEPT, KEPT_BYTES // max(1, size)))
    steps = sorted(kept)
    while len(steps) > most:
        gaps = [after - before for before, after in zip(steps, steps[2:], strict=False)]
        del steps[1 + gaps.index(min(gaps))]
    return {step: kept[step] for step in steps}
