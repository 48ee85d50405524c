"""What is changed in a model, made of it and left behind, compared with the truth."""

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
)  # fmt: skip
from .reading import Reading
from .truth import Change, Eager, NoTruth, ablated_by_hook, twins

# What a weight may be off in as many bits: a few of the steps between numbers next to 1.
HALVES = {torch.bfloat16: 8 * 2**-8, torch.float16: 8 * 2**-11}


class Checks(Reading):
    """The same model, touched."""

    # -- what is changed ------------------------------------------------------------------------

    def edits(self) -> None:
        """Heads switched off and edges cut, against the model's own eager attention."""
        for kind, layer, head in self._places():
            self._ablate(kind, layer, head)
            if self.refused:
                return
            self._cut(kind, layer, head)

    def _places(self) -> list[tuple[str, int, int]]:
        """The second head of the first layer of each kind, the last one of the last layer."""
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
            self.wrong.append(f"{edit.code()} is said to be not available, and was made")
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
        """A run patched into itself changes nothing."""
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
        """In 16 bits, of either kind."""
        try:
            for width in HALVES:
                self.width = width
                self._in_bits(width)
        finally:
            self.width = None

    @torch.no_grad()
    def _in_bits(self, width: torch.dtype) -> None:
        """About as far from the plain pass as eager attention is, or as that is from itself in 32
        bits; experts may be chosen otherwise there. Maps of most rows are those of eager attention in
        as many bits, up to what the layers before differ by."""
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
            self.notes.append(f"the model itself says what is not finite in {name}")
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
        """What it writes with a cache, under an edit that changes nothing, and without it."""
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
                max_new_tokens=4, min_new_tokens=4, do_sample=False, cache_implementation=cache,
                output_logits=True, return_dict_in_generate=True,
            )  # fmt: skip
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
        """What was shown and agreed with nothing, for want of a truth."""
        lacks = [
            f"{name}s" if name != "map" else f"{kind} maps"
            for name, kinds in (("map", self.shown.kinds), ("ablation", [""]), ("cut", [""]))
            for kind in kinds
            if (f"{kind} maps" if name == "map" else name) not in self.errors
        ]
        return "" if not lacks else f"not compared, for want of a truth: {', '.join(lacks)}"

    # -- what is made and left ------------------------------------------------------------------

    def pages(self) -> None:
        """The view of all heads, and the explorer, each saved as a page."""
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
        """Attention settings, and the very same logits."""
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
            self.wrong.append("the model says something else afterwards")
