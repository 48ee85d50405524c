"""A run to scrub through: its loss, what its heads score, and their maps, step by step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..run import Run
from .base import css, esm
from .codecs import shown_text
from .replay import Replay, check_size
from .run_data import Snapshots
from .run_figure import run_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RunView(Replay):
    """The steps of a run that have a snapshot, one at a time: drag the slider, press the arrow
    keys, or let it play, and watch a head form. Loss, head scores and maps move together.

    Scores are those of `transformer_lab.heads` on the run's probe; each is shown where the probe
    has what it asks for (induction needs tokens that come again). What they say is where attention
    went on this probe; whether that matters, ablation says.

    Args:
        run: a `Run` or its folder, trained with `probe=` and `snapshot_every=`.
        tokenizer: names the tokens of the probe.
        corpus: whatever has a `tokenizer` (and a `target_tokenizer`, where there are two).
        labels, target_labels: what to show for each token instead; the token ids by default.
        step: where to begin; the last snapshot by default.
        measure: the score whose course is drawn: "induction", "previous token", …
        layer, head, kind: the head to begin with; by default the one that scores most at the end.
        title: by default the folder's name.

    Raises:
        ValueError: for a run without snapshots, or a probe that is too long to show.
    """

    _esm: ClassVar[str] = esm("run_view.js")
    _css: ClassVar[str] = css("view.css", "training_view.css", "position_view.css", "run_view.css")

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
        super().__init__(
            trace, layer=layer or 0, head=head or 0, kind=kind,
            title=title or run.folder.resolve().name or "Run",
        )  # fmt: skip
        self.run = run
        self.measure = measure
        self._replay(snapshots, run.metrics(), begin)
        self._note = ""
        self._sentence = self.sentence

    @property
    def sentence(self) -> str:
        return f"{self.run_sentence} {super().sentence}" if self._snapshots else ""

    def figure(self) -> Figure:
        """Loss and scores over the steps with the present one marked, and the chosen head's map."""
        return run_figure(self, title=shown_text(self._title))
