"""What RunView and TrainingView share: heads at many steps of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import traitlets as t
from torch import Tensor

from ...heads.measures import MEASURES
from ...tracing.trace import Trace
from ..heads.data import ALL_MAPS_BYTES, HeadData
from ..heads.heads import Heads, Shows
from ..heads.scene import head_arrays, head_axes, heads_panel, map_of
from ..marks.scene import Panel, Scene
from ..pages.export import Block, write_page
from ..shared.base import css, esm
from ..shared.exports import Numbers
from ..shared.scripted import ScriptedView
from ..shared.selection import SelectionView
from ..shared.traits import Int
from .data import Snapshots, curves


class Replay(ScriptedView, SelectionView):
    """Heads of a probe over the steps of a run.

    `step` is one of `snapshots`; setting another value takes the nearest (nothing is interpolated).
    `measure` names the score that is drawn over the steps.
    """

    _esm: ClassVar[str] = esm("runs/view.js")
    _css: ClassVar[str] = css("runs")
    _folder: ClassVar[str] = "runs"

    step = Int(0).tag(sync=True)
    measure = t.Unicode("").tag(sync=True)

    _options = t.Dict().tag(sync=True)  # what is hidden, weighted, coloured: see viewer.js

    first_results: ClassVar = SelectionView.first_results | dict(
        _status=None,
        _steps=[],
        _last_step=0,
        _measures={},
        _units={},
        _losses=[],
        _held_step=-1,
        _first={},
        _thumbs=b"",
        _maps=b"",
        _norms=b"",
        _scores=b"",
        _curve=b"",
        _evals=b"",
    )
    heads: Heads
    _steps: Sequence[int] = ()
    _measures: Mapping[str, Sequence[str]] = {}
    _snapshots: Snapshots | None = None
    _form: Heads | None = None  # heads whose form the maps of every step are sent in

    def _subjects(self) -> Sequence[Any]:
        return (self.trace,) if hasattr(self, "heads") else super()._subjects()

    @property
    def trace(self) -> Trace:
        """The trace that is shown."""
        return self.heads.trace

    shown = SelectionView.chosen_head

    @property
    def shows(self) -> Shows:
        """Which keys are hidden, and whether weights are multiplied by value length."""
        return Shows.of(self._options, self.kinds[self.kind])

    @property
    def head_sentence(self) -> str:
        """A sentence about the chosen head, or about the selected part of its map."""
        return self.heads.said(self.shown, self.shows, self.selected)

    def _replay(
        self, snapshots: Snapshots, history: Sequence[Mapping[str, Any]], step: int | None = None
    ) -> None:
        """Show these snapshots, and the metrics of the run, one dict per step."""
        known = {row["index"]: row["loss"] for row in history}
        names, scores = snapshots.packed()
        points, held = curves(history)
        with self.hold_sync():
            self._snapshots = None  # keep the trace shown: it may be exact where maps are packed
            if self.kinds:  # snapshots hold only maps, no value norms
                last = snapshots.at(snapshots.steps[-1])
                self._form = Heads(last, like=self.heads)
                self._publish(_kinds=self._form.kinds, _norms=b"")
            self._steps, self._measures = snapshots.steps, names
            self._last_step = max([*snapshots.steps[-1:], *(row["index"] for row in history)])
            self._losses = [known.get(at) for at in snapshots.steps]
            self.step = snapshots.nearest(snapshots.steps[-1] if step is None else step)
            self._publish(
                _steps=self._steps,
                _last_step=self._last_step,
                _measures=names,
                _scores=scores,
                _units={name: measure.unit for name, measure in MEASURES.items()},
                _losses=self._losses,
                _curve=points.astype("<f4").tobytes(),
                _evals=held.astype("<f4").tobytes(),
                _held_step=self.step,
            )
            self._snapshots = snapshots
            if not self.measure:  # prefer a score that rises to a curve that stays at 0
                self.measure = snapshots.telling(self.kind)

    @property
    def snapshots(self) -> list[int]:
        """The steps that can be shown."""
        return list(self._steps)

    @t.validate("step")
    def _check_step(self, proposal: Any) -> int:
        return (
            proposal["value"]
            if self._snapshots is None
            else self._snapshots.nearest(proposal["value"])
        )

    @t.validate("measure")
    def _check_measure(self, proposal: Any) -> str:
        known = {name for names in self._measures.values() for name in names}
        if proposal["value"] and known and proposal["value"] not in known:
            raise t.TraitError(
                f"measure={proposal['value']!r} is not here; choose one of {', '.join(sorted(known))}"
            )
        return proposal["value"]

    @t.observe("step")
    def _step_changed(self, change: Any) -> None:
        if self._snapshots is None or not self.kinds:
            return
        # The browser has requested the maps of this step itself; they are not sent again.
        self.heads = Heads(self._snapshots.at(self.step), like=self._form)

    def score(self, measure: str | None = None) -> Any:
        """Scores [snapshot, layer, head] of a measure, by default the one shown, for this kind."""
        assert self._snapshots is not None
        return self._snapshots.scores[self.kind][measure or self._shown("measure")["measure"]]

    @property
    def run_sentence(self) -> str:
        """A sentence about the step shown: its loss, and the chosen head's score."""
        return self._shown("spoken")["spoken"]

    def _scene(self) -> Scene:
        """What scene.js says, above the heads."""
        scene = super()._scene()
        if not self.kinds:
            return scene
        shown = self.heads.scene(self.shown, self.shows, None, "", "")
        of = Panel(
            f"layer {shown.layer}, head {shown.head}", map_of(shown, means=shown.means), 0.64
        )
        arrays, axes, columns = (getattr(scene.numbers, x) for x in ("arrays", "axes", "columns"))
        return replace(
            scene,
            panels=[*scene.panels, [heads_panel(shown), of]],
            numbers=Numbers([*arrays, *head_arrays(shown)], {**axes, **head_axes(shown)}, columns),
        )

    def _numbers(self) -> Numbers:
        return self._scene().numbers

    def row(self, query: int) -> Tensor:
        """A query's weights [key] at this step, as shown."""
        return self.heads.map(self.shown, self.shows, query)

    # -- for pages and the browser ------------------------------------------------------------------

    def _step_bytes(self, step: int) -> list[bytes]:
        """[maps, thumbnails] of a step."""
        assert self._snapshots is not None
        data = Heads(self._snapshots.at(step), like=self._form or self.heads).data
        return [data.maps(), data.thumbnails()]

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        if not (name.startswith("step/") and self._snapshots):
            return self.heads.answer(name)
        step = int(name.removeprefix("step/"))
        if step not in self._steps:
            raise ValueError(f"step={step} has no snapshot; {self._steps} have")
        maps, thumbs = self._step_bytes(step)
        return {"step": step, "maps": len(maps)}, [maps, thumbs]

    def _page_state(self) -> dict[str, Any]:
        state = super()._page_state()
        if self._snapshots is None:
            return state | (self.heads.page_traits(self.shown, None, "") if self.kinds else {})
        maps, thumbs = self._step_bytes(self.step)
        return {**state, "_maps": maps, "_thumbs": thumbs, "_held_step": self.step}

    def _blocks(self) -> Iterable[Block]:
        if self._snapshots is None:
            yield from self.heads.page_blocks(self.shown, None) if self.kinds else ()
            return
        # The steps closest to the one shown come first.
        for step in sorted(self._steps, key=lambda s: abs(s - self.step)):
            yield Block(name := f"step/{step}", *self._part_named(name))

    def save_html(self, path: str | os.PathLike, *, theme: str | None = None) -> Path:
        """Write one self-contained page: offline, interactive, with every snapshot.

        Args:
            path: the file.
            theme: "light" or "dark"; by default that of the reader's system.

        Raises:
            ValueError: for a path that cannot be written.
        """
        return write_page(path, self._page(theme=theme))


def check_size(trace: Trace) -> None:
    """Check that the maps of a step on this probe are small enough.

    Raises:
        ValueError: if they are not, with the limit.
    """
    data = HeadData(trace)
    if not data.all_maps:
        tokens = max(len(tokens) for tokens in data.queries.values())
        raise ValueError(
            f"the probe has {tokens} tokens: its maps take {data.size / 2**20:.1f} MB a step, and "
            f"{ALL_MAPS_BYTES / 2**20:.0f} MB can be shown; train with a shorter probe"
        )
