"""A run to scrub through: its loss, and the scores and maps of its heads, step by step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ...training.run import Run
from ..heads.heads import Heads
from ..shared.selection import link_of
from .data import Snapshots
from .replay import Replay, check_size


class RunView(Replay):
    """The steps of a run that have a snapshot, one at a time: drag the slider, press the arrow
    keys, or let it play, and watch a head form. Loss, head scores and maps move together.

    Scores are those of `transformer_lab.heads` on the run's probe, as far as the probe allows
    (induction needs repeated tokens). They measure where heads attend on this probe; ablation shows
    whether that matters.

    Args:
        run: a `Run` or its folder, trained with `probe=` and `snapshot_every=`.
        tokenizer: names the tokens of the probe.
        corpus: any object with a `tokenizer` (and a `target_tokenizer`, if there are two).
        labels, target_labels: a label for each token instead; the token ids by default.
        step: shown at first; by default the last snapshot.
        measure: the score that is drawn: "induction", "previous token", …
        layer, head, kind: the head shown at first; by default the one with the highest final score.
        title: the folder's name by default.

    Raises:
        ValueError: for a run without snapshots, or a probe that is too long to show.
    """

    def __init__(
        self,
        run: Run | str | os.PathLike,
        *,
        tokenizer: Any = None,
        corpus: Any = None,
        labels: Sequence[str] | None = None,
        target_labels: Sequence[str] | None = None,
        step: int | None = None,
        measure: str | None = None,
        layer: int | None = None,
        head: int | None = None,
        kind: str | None = None,
        title: str | None = None,
    ):
        run = run if isinstance(run, Run) else Run(run)
        names = {"labels": labels, "target_labels": target_labels}
        source = tokenizer or getattr(corpus, "tokenizer", None)
        target = getattr(corpus, "target_tokenizer", None) or source
        if run.snapshots:
            first = run.trace(run.snapshots[0])
            check_size(first)
            ids = {"labels": first.tokens, "target_labels": first.target}
            for (name, tokens), coder in zip(ids.items(), (source, target), strict=True):
                if names[name] is None and coder is not None and tokens is not None:
                    names[name] = coder.tokens(tokens[0].tolist())
        snapshots = Snapshots.of_run(run, **names)
        begin = snapshots.nearest(snapshots.steps[-1] if step is None else step)
        trace = snapshots.at(begin)
        kind = kind or ("decoder" if "decoder" in trace.kinds else trace.kinds[0])
        found = snapshots.scores.get(kind, {})
        if measure is not None and measure not in found:
            raise ValueError(f"measure={measure!r} is not here; choose one of {', '.join(found)}")
        measure = measure or next(iter(found), "")
        if measure and layer is None and head is None:
            best = int(found[measure][-1].argmax())
            layer, head = divmod(best, found[measure].shape[-1])
        heads = Heads(trace)
        kind = heads.usual_kind(kind)
        super().__init__(
            title=title or run.folder.resolve().name or "Run", of=(trace,), link=link_of(trace)
        )
        self._look_at(heads, (kind, layer or 0, head or 0))
        self.run = run
        self.measure = measure
        self._replay(snapshots, run.metrics(), begin)
        self._publish(_note="")

    @property
    def sentence(self) -> str:
        return f"{self.run_sentence} {self.head_sentence}" if self._snapshots else ""
