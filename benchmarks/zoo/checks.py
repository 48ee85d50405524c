"""Checks of edits, saved pages and restored settings, against the model itself."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import transformer_lab as tl
from transformer_lab.edits.kinds import EditError

from .measures import (
    LOGITS,
    SEEN,
    an_edge,
    attention_settings,
    logits_of,
    reader,
    relative,
    said,
    texts,
    typical,
)
from .reading import Reading
from .truth import Change, Eager, NoTruth, ablated_by_hook, twins

# How far a weight may be off in 16 bits: a few steps between neighbouring numbers close to 1.
HALVES = {torch.bfloat16: 8 * 2**-8, torch.float16: 8 * 2**-11}


class Checks(Reading):
    """A reading of a model, plus everything that changes the model."""

    # -- edits -----------------------------------------------------------------------------------

    def edits(self) -> None:
        """Check ablated heads and cut edges against the model's own eager attention."""
        for kind, layer, head in self._places():
            self._ablate(kind, layer, head)
            if self.refused:
                return
            self._cut(kind, layer, head)

    def _places(self) -> list[tuple[str, int, int]]:
        """For each kind, the second head of the first layer and the last head of the last layer."""
        places = []
        for kind in self.shown.kinds:
            layers = self.shown.attending(kind)
            last = self.shown.heads_of(layers[-1], kind) - 1
            places.append((kind, layers[0], min(1, self.shown.heads_of(layers[0], kind) - 1)))
            if len(layers) > 1:
                places.append((kind, layers[-1], last))
        return places

    @torch.no_grad()
    def _ablate(self, kind: str, layer: int, head: int) -> None:
        found = self._edited(tl.ablate(layer, head, kind=kind))
        if found is None:
            return
        truth = self._truth(kind, layer, Change(0, head))
        if truth is not None:
            self._judge_edit(f"ablation of {kind} {layer}.{head}", "ablation", found, truth)

    @torch.no_grad()
    def _cut(self, kind: str, layer: int, head: int) -> None:
        weights = self.shown.pattern(layer, head, kind=kind)
        edge = an_edge(weights)
        if edge is None:
            self.notes.append(f"no edge to cut in {kind} {layer}.{head}")
            return
        found = self._edited(tl.knock_out(layer, head, query=edge[0], key=edge[1], kind=kind))
        if found is None:
            return
        truth = self._truth(kind, layer, Change(0, head, edge))
        if truth is not None:
            self._judge_edit(f"cut of {kind} {layer}.{head} {edge}", "cut", found, truth)

    def _edited(self, edit: Any) -> Tensor | None:
        try:
            with tl.edit(self.model, edit):
                found = logits_of(self.model(**self.inputs))
        except EditError as error:
            self.refused = self.refused or " ".join(str(error).split())
            return None
        if "edits are not available" in self.note:
            self.wrong.append(
                f"{edit.code()} worked, although the note says that edits are not available"
            )
        return found

    def _truth(self, kind: str, layer: int, change: Change) -> Tensor | None:
        call = None if self.expected is None else self.expected.calls.get((kind, layer))
        if call is None or self.seen is None or self.expected is None:
            self._say("edits were not compared: the model's own attention cannot be changed")
            return None
        change.call, change.also = call, twins(self.seen.calls, call)
        change.shape = tuple(self.expected.maps[kind][layer].shape)
        if (kind, layer) in self.expected.within:
            change.shape = self.expected.within[kind, layer]
            places = self.shown.call(layer, kind=kind).windows.places
            if change.edge is not None:
                (window, query), (_, key) = (
                    (places == i).nonzero()[0].tolist() for i in change.edge
                )
                change.edge, change.rows = (query, key), slice(window, None, len(places))
        try:
            truth = logits_of(self.eager.run(self.inputs, change).output)
        except NoTruth as error:
            self._say(f"edits were not compared: {error}")
            return None
        if change.means:
            self._say(f"truth: {change.means}")
        if change.edge is None:
            try:
                again = ablated_by_hook(self.eager, self.inputs, self.seen.calls[call], change.head)
                off = relative(logits_of(again), truth)
                if off > LOGITS:
                    self._say(
                        f"a hook on the output projection gives another result, {off:.2g} off"
                    )
            except Exception:
                pass
        return truth

    def _judge_edit(self, what: str, name: str, found: Tensor, truth: Tensor) -> None:
        effect = relative(truth, self.clean)
        if effect < SEEN:
            self.notes.append(f"{what} has no effect that could be compared")
        off = relative(found, truth)
        if off > LOGITS and relative(found, self.clean) < SEEN:
            self.wrong.append(f"{what} changes nothing, where the truth changes by {effect:.2g}")
        self._hold(name, off, LOGITS, what)

    @torch.no_grad()
    def patch(self) -> None:
        """Check that patching a run into itself changes nothing."""
        if self.own_maps or self.refused:
            return
        for kind in self.shown.kinds:
            try:
                with tl.edit(self.model, tl.patch(self.shown, kind=kind)):
                    found = logits_of(self.model(**self.inputs))
            except EditError as error:
                self.notes.append(f"a patch of {kind} is refused: {error}")
                continue
            self._hold(
                "patch", relative(found, self.clean), LOGITS, f"a run patched into itself, {kind}"
            )

    def half(self) -> None:
        """Check in bfloat16 and in float16."""
        try:
            for width in HALVES:
                self.width = width
                self._in_bits(width)
        finally:
            self.width = None

    @torch.no_grad()
    def _in_bits(self, width: torch.dtype) -> None:
        """Logits may differ from the plain pass about as much as those of eager attention do, or as the
        plain pass differs from itself in 32 bits, because other experts may be chosen. Most rows of the
        maps must match eager attention in the same precision, apart from what earlier layers add."""
        name = str(width).removeprefix("torch.")
        model = copy.deepcopy(self.model).to(width)
        first = self.first.to(width) if self.pixels else self.first
        try:
            plain = logits_of(model(**self.given(first))).float()
            seen = Eager(model).run(self.given(first))
            eager = logits_of(seen.output).float()
        except Exception:
            self.notes.append(f"the model itself does not run in {name}")
            return
        if not (plain.isfinite().all() and eager.isfinite().all()):
            self.notes.append(f"the model's own output is not finite in {name}")
            return
        shown = self.traced(first, model, keep="maps")
        found = said(shown)
        apart = max(typical(eager, plain), typical(plain, self.clean))
        if found is not None:
            self._hold(name, typical(found.float(), plain), max(2 * apart, 0.02))
        if self.expected is None:
            return
        truth = self.expecting(seen)
        if truth is None:
            return
        bar = max(HALVES[width], 4 * apart)
        for kind in set(shown.kinds) & set(truth.maps):
            for layer in set(shown.attending(kind)) & set(truth.maps[kind]):
                one = truth.maps[kind][layer][0].float()
                mine = shown.pattern(layer, kind=kind)
                if mine.shape == one.shape:
                    off = (mine - one).abs().amax(-1).median().item()
                    self._hold(f"{kind} maps in {name}", off, bar)

    @torch.no_grad()
    def written(self) -> None:
        """Compare text generated with a cache under an edit that changes nothing with plain generation."""
        if (
            self.pixels
            or self.sight
            or self.note
            or self.refused
            or "decoder" not in self.shown.kinds
        ):
            return
        for cache in (None, "static"):
            options: dict[str, Any] = dict(
                max_new_tokens=4,
                min_new_tokens=4,
                do_sample=False,
                cache_implementation=cache,
                output_logits=True,
                return_dict_in_generate=True,
            )
            try:
                plain = torch.stack(self.model.generate(self.first, **options).logits)
            except Exception:
                continue  # the model itself cannot
            name = f"text written with a {cache or 'growing'} cache"
            try:
                with tl.edit(self.model, tl.scale(by=1.0)):
                    found = torch.stack(self.model.generate(self.first, **options).logits)
            except EditError as error:
                self._say(f"{name} is refused: {' '.join(str(error).split())}")
                continue
            self._hold(name, relative(found, plain), LOGITS)

    @property
    def not_compared(self) -> str:
        """The parts that are shown but could not be compared, because the truth is unknown."""
        lacks = [
            f"{name}s" if name != "map" else f"{kind} maps"
            for name, kinds in (("map", self.shown.kinds), ("ablation", [""]), ("cut", [""]))
            for kind in kinds
            if (f"{kind} maps" if name == "map" else name) not in self.errors
        ]
        return (
            "" if not lacks else f"not compared, because the truth is unknown: {', '.join(lacks)}"
        )

    # -- pages and restoration -------------------------------------------------------------------

    def pages(self) -> None:
        """Save the view of all heads and the Explorer as pages."""
        with tempfile.TemporaryDirectory() as folder:
            page = tl.views.HeadView(self.shown).save_html(Path(folder) / "heads.html")
            if page.stat().st_size < 10_000:
                self.wrong.append("the page of HeadView is empty")
            if not self.text or self.shown.logits is None:
                return
            try:
                view = tl.views.Explorer(reader(self.model), *texts(self.both))
            except ValueError as error:
                self.notes.append(f"Explorer is refused: {' '.join(str(error).split())}"[:300])
                return
            view.save_html(Path(folder) / "explorer.html", effects=False)

    @torch.no_grad()
    def restored(self) -> None:
        """Check that attention settings and logits are the same afterwards."""
        now = attention_settings(self.model)
        changed = [name for name in self.settings if now.get(name) != self.settings[name]]
        if changed:
            name = changed[0]
            self.wrong.append(
                f"the attention setting of {name} is {now.get(name)} afterwards, and was "
                f"{self.settings[name]}"
            )
        again = logits_of(self.model(**self.inputs))
        if not torch.equal(again, self.clean) and relative(again, self.clean) > 1e-6:
            self.wrong.append("the model's output is different afterwards")
