"""Watch a model train: its loss, and what its heads do with a text."""

from __future__ import annotations

import contextlib
import math
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any

import torch

from ...tracing.packing import pack_weights
from ...tracing.running import trace
from ..heads.heads import Heads
from ..shared.codecs import shown_text
from .data import Snapshots, curves, thinned
from .replay import Replay

if TYPE_CHECKING:
    from torch import nn

    from ...training.state import Step

SHORTEST_PAUSE = 0.1  # seconds between two updates of the page
TRACE_PAUSE = 0.5  # … between two traces of the probe
TRACE_SHARE = 0.05  # largest fraction of the time that tracing may take


class TrainingView(Replay):
    """A `watch` for `tl.train`: live loss, speed, time left, and the heads on a probe.

    The metrics of the run stay in `history`, also after an interrupt. The model being trained is
    never switched to another mode: a copy of it is traced.

    The heads' maps on the probe are kept for up to 64 steps and can be scrubbed through afterwards:
    `step`, `measure`, `snapshots` and `score` then work as in a `RunView`.

    Args:
        probe: the input on which heads are shown: text, or token ids [position]; for an
            encoder-decoder a pair of them, source and target. None: show the loss only.
        tokenizer: encodes the probe's text, and names the tokens.
        corpus: any object with a `tokenizer` (and a `target_tokenizer`, if there are two).
        layer, head, kind: the head shown at first.

    Raises:
        ValueError: for a text without a tokenizer.
    """

    def __init__(
        self,
        probe: Any = None,
        *,
        tokenizer: Any = None,
        corpus: Any = None,
        layer: int = 0,
        head: int = 0,
        kind: str | None = None,
        title: str = "Training",
    ):
        source = tokenizer or getattr(corpus, "tokenizer", None)
        target = getattr(corpus, "target_tokenizer", None) or source
        self._probe = _probe(probe, source, target)
        self.history: list[Step] = []
        self.steps = 0
        self._kept: dict[int, dict[str, torch.Tensor]] = {}
        self._begin_with = (kind, layer, head)
        self._shown_at = self._traced_at = -math.inf
        self._trace_pause = TRACE_PAUSE
        self._handle: Any = None
        self._model: weakref.ref | None = None
        self._named = title
        self._status: dict[str, Any] = {"state": "waiting"}
        super().__init__(title=title, _status=self._status)

    # -- the three calls of a watch ---------------------------------------------------------------

    def start(self, model: nn.Module, steps: int) -> None:
        """Called by `train` before the first step.

        Raises:
            ValueError: if the probe does not fit the model.
        """
        self.steps = steps
        self._model = weakref.ref(model)
        self._call(self._named, (model,))
        self._snapshots = None  # a resumed run is shown live again
        self._steps = []
        self._publish(_steps=[])
        self._trace_probe(model, self.history[-1].index if self.history else 0)
        self._tell("training")
        if self._handle is None and _in_notebook():
            self._show(*self._without_picture())  # `finish` adds its picture

    def update(self, step: Step, model: nn.Module) -> None:
        """Called by `train` after every step; updates the page at most ten times per second."""
        while self.history and self.history[-1].index >= step.index:  # resumed from further back
            self.history.pop()
        self.history.append(step)
        now = time.monotonic()
        if now - self._shown_at < SHORTEST_PAUSE:
            return
        if now - self._traced_at >= self._trace_pause:
            self._trace_probe(model, step.index)
        self._tell("training")

    def finish(self, reason: str) -> None:
        """Called by `train` at the end, for any reason; shows everything up to the last step."""
        done = bool(self.history) and self.history[-1].index >= self.steps
        state = "finished" if reason == "finished" and done else "stopped"
        model = self._model() if self._model else None
        if model is not None and self.history and not sys.is_finalizing():
            # Show the last step; if tracing fails, an earlier step stays.
            with contextlib.suppress(ValueError, RuntimeError):
                self._trace_probe(model, self.history[-1].index)
        self._open_replay()
        self._tell(state, reason)
        if self._handle is not None:
            data, metadata = self._repr_mimebundle_()
            self._handle.update(data, metadata=metadata, raw=True)

    # -- for people -------------------------------------------------------------------------------

    def _ipython_display_(self) -> None:
        self._show(*self._repr_mimebundle_())

    def _show(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Display under an id, so that `finish` can replace it with the final picture."""
        from IPython.display import display

        self._handle = display(data, metadata=metadata, raw=True, display_id=True)

    # -- inside -----------------------------------------------------------------------------------

    def _open_replay(self) -> None:
        """Let the reader scrub through the maps that were kept."""
        if len(self._kept) < 2 or self._probe is None or not self.heads.data.all_maps:
            return
        kept = Snapshots.of_kept(self._kept, self._probe["ids"], self._probe["labels"])
        self._replay(kept, [vars(step) for step in self.history])

    def _keep(self, step: int, heads: Heads) -> None:
        """Keep the maps of this step, 16 bits per weight."""
        if not heads.data.all_maps:
            return
        found = heads.trace
        for later in [known for known in self._kept if known > step]:  # resumed from further back
            del self._kept[later]
        maps = {kind: pack_weights(found.patterns(kind=kind).cpu()) for kind in found.kinds}
        self._kept[step] = maps
        size = sum(2 * codes.numel() for codes in maps.values())
        self._kept = thinned(self._kept, size)

    def _trace_probe(self, model: nn.Module, step: int) -> None:
        if self._probe is None:
            return
        began = time.monotonic()
        with torch.random.fork_rng(devices=[]):
            found = trace(model, *self._probe["ids"], **self._probe["labels"], keep="maps")
        heads = Heads(found)
        self._keep(step, heads)
        kind, layer, head = self.shown if self.kinds else self._begin_with
        with self.hold_sync():
            self._look_at(heads, (heads.usual_kind(kind), layer, head))
            self._publish(_note=f"The heads on the probe, at step {step}.")
        self._traced_at = time.monotonic()
        spent = self._traced_at - began
        self._trace_pause = max(
            TRACE_PAUSE, spent / TRACE_SHARE, len(self._results["_maps"]) / 2**20
        )

    def _tell(self, state: str, reason: str = "") -> None:
        last = self.history[-1] if self.history else None
        evals = [s.eval_loss for s in self.history if s.eval_loss is not None]
        status = {"state": state, "steps": self.steps, "step": last.index if last else 0}
        if last is not None:
            recent = self.history[-20:]
            speed = sum(s.tokens_per_second for s in recent) / len(recent)
            rate = last.seconds / last.index if last.index else 0
            status |= {
                "loss": _finite(last.loss),
                "first": _finite(self.history[0].loss),
                "eval_loss": _finite(evals[-1]) if evals else None,
                "tokens_per_second": speed,
                "padding": sum(s.padding for s in recent) / max(1, sum(s.tokens for s in recent)),
                "seconds": last.seconds,
                "left": rate * (self.steps - last.index),
            }
        points, held = curves([vars(step) for step in self.history])
        self._status = {**status, "reason": shown_text(reason)}
        self._publish(
            _status=self._status,
            _curve=points.astype("<f4").tobytes(),
            _evals=held.astype("<f4").tobytes(),
        )
        self._shown_at = time.monotonic()


def _probe(probe: Any, tokenizer: Any, target_tokenizer: Any) -> dict[str, Any] | None:
    if probe is None:
        return None
    pair = isinstance(probe, tuple)
    parts = probe if pair else (probe,)
    if len(parts) > 2 or not parts:
        raise ValueError(f"probe has {len(parts)} parts; give one text, or (source, target)")
    ids, labels = [], {}
    names = (("labels", tokenizer), ("target_labels", target_tokenizer))
    for part, (name, coder) in zip(parts, names, strict=False):
        if isinstance(part, str):
            if coder is None:
                raise ValueError(
                    f"probe={part!r} is text; give tokenizer= or corpus= with it, or token ids"
                )
            part = coder.encode(part)
        found = torch.as_tensor(part).long().flatten()
        if not len(found):
            raise ValueError("probe is empty; give at least one token")
        ids.append(found)
        if coder is not None:
            labels[name] = coder.tokens(found.tolist())
    return {"ids": ids, "labels": labels}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")
