"""Checks of what a trace shows, against what the model itself computes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

import transformer_lab as tl

from .measures import (
    LENGTH,
    LOGITS,
    MAPS,
    SHORT,
    TARGET,
    attention_settings,
    logits_of,
    pixels_of,
    relative,
    said,
    text_of,
    told_layers,
    two,
)
from .sights import Sight, sight_for, sounds_for
from .truth import (
    STACKS,
    UNKNOWN,
    Eager,
    Expected,
    NoTruth,
    Seen,
    by_places,
    by_turns,
    expected,
    whole,
)


class Refused(Exception):
    """The request was refused with a message of ours."""


class Reading:
    """The checks of one model. `wrong`: what is shown but false, or fails with an error that is not
    ours; `refused`: why heads cannot be edited; `note`: the trace's own note, such as that the maps are
    the model's own (`own_maps`), or that some of the attention is not shown."""

    def __init__(self, model: Any, *, text: bool = True):
        self.model, self.text = model, text
        self.reads = getattr(model, "main_input_name", "input_ids")
        self.both = bool(getattr(model.config, "is_encoder_decoder", False))
        self.wrong: list[str] = []
        self.notes: list[str] = []
        self.errors: dict[str, float] = {}
        self.told: dict[str, str] = {}
        self.kinds: dict[str, list[int]] = {}
        self.refused = self.note = ""
        self.own_maps = False
        self.width: Any = None  # dtype of the floats beside the tokens, if not the model's
        self.settings = attention_settings(model)
        self.first, self.other = text_of(LENGTH, 3), text_of(LENGTH, 4)
        self.target = text_of(TARGET, 5) if self.both else None
        with torch.no_grad():
            heard = sounds_for(model, self.target)
        # Whether images or audio replace the text; they have no padding.
        self.pixels = self.reads == "pixel_values" or heard is not None
        self.sight: Sight | None = None  # an image among the tokens
        if heard is not None:
            self.reads, self.first, self.other = heard
        elif self.pixels:
            self.first, self.other = (pixels_of(model.config, seed) for seed in (3, 4))
        elif not text and (found := sight_for(model, self.first)) is not None:
            self.sight = found
            self.first, self.other = found.among(self.first), found.among(self.other)
            self.notes.append(f"it reads an image as {found.n} tokens")
        self.cache = {"use_cache": False} if hasattr(model.config, "use_cache") else {}
        self.clean: Any = None
        self.expected: Expected | None = None
        self.seen: Seen | None = None

    # -- the truth ------------------------------------------------------------------------------

    def given(self, first: Tensor, **more: Any) -> dict[str, Any]:
        """The arguments for the model: ids, pixels or audio."""
        target = self.target
        both = {} if target is None else {"decoder_input_ids": target.expand(len(first), -1)}
        name = self.reads if self.pixels else "input_ids"
        seen = self._beside(first, model=True)
        return {name: first, **both, **seen, **self.cache, **more}

    def _beside(self, first: Tensor, *, model: bool) -> dict[str, Tensor]:
        """The image among these tokens, as input for the model itself or for a trace."""
        if self.sight is None or not bool((first == self.sight.wanted).any()):
            return {}
        given = self.sight.known(first) if model else self.sight.given(first)
        wide = next(self.model.parameters()).dtype if self.width is None else self.width
        return {n: x.to(wide) if x.is_floating_point() else x for n, x in given.items()}

    def traced(self, first: Tensor, model: Any = None, **options: Any) -> Any:
        """A trace of the same input."""
        target = self.target if len(first) == 1 or self.target is None else two(self.target)
        model = self.model if model is None else model
        if self.pixels:
            return tl.trace(model, None, target, **{self.reads: first}, **options)
        return tl.trace(model, first, target, **self._beside(first, model=False), **options)

    @torch.no_grad()
    def plain(self) -> None:
        """Run the unmodified model, with its own attention and with eager attention."""
        self.inputs = self.given(self.first)
        try:
            self.clean = logits_of(self.model(**self.inputs))
        except Exception as error:
            if self.reads != "pixel_values":
                raise
            stills = self.first, self.other
            frames = getattr(self.model.config, "num_frames", None) or 2  # of a video
            self.first, self.other = (pixels_of(self.model.config, s, frames) for s in (3, 4))
            self.inputs = self.given(self.first)
            with suppress(Exception):
                self.clean = logits_of(self.model(**self.inputs))
            if self.clean is None:
                self.first, self.other = stills
                self.inputs = self.given(self.first)
                raise error
        if not torch.equal(logits_of(self.model(**self.inputs)), self.clean):
            raise ValueError("every forward pass gives a different output")
        if not self.clean.isfinite().all():
            raise ValueError("its logits are not finite")
        for again in (False, True):
            self.eager = Eager(self.model, again=again)
            try:
                self.seen = self.eager.run(self.inputs)
            except Exception as error:
                self._say(f"its own eager pass fails: {type(error).__name__}: {error}"[:200])
                continue
            off = relative(logits_of(self.seen.output), self.clean)
            if off <= LOGITS and (self.seen.native or self.seen.calls):
                break
        if self.seen is None:
            return
        if off > LOGITS:
            self._say(f"its own eager pass differs from its plain one by {off:.2g}")
            return
        try:
            self.expected = expected(self.seen, self.both)
        except NoTruth as error:
            self._say(f"no truth for maps: {error}")

    @property
    def has_attention(self) -> bool:
        if self.seen is not None and (self.seen.attention or self.seen.native):
            return True
        return any("attention" in type(m).__name__.lower() for m in self.model.modules())

    # -- what is shown --------------------------------------------------------------------------

    def trace(self) -> None:
        """Trace the model, and check the logits.

        Raises:
            Refused: with our message.
        """
        try:
            self.shown = self.traced(self.first, keep="all")
        except ValueError as error:
            raise Refused(" ".join(str(error).split())) from error
        shown = self.shown
        self.note = " ".join((shown.note or "").split())
        self.own_maps = any(shown.d_head(kind) is None for kind in shown.kinds)
        self.kinds = {k: [layer.heads or 0 for layer in shown.layers(k)] for k in shown.kinds}
        self.expected = self._truth_of(self.seen, self.expected)
        found = said(shown)
        if found is None:
            self.notes.append("the trace has no output to compare")
        else:
            self._hold("logits", relative(found, self.clean), LOGITS)

    def _truth_of(self, seen: Seen | None, truth: Expected | None) -> Expected | None:
        """The truth, with the layer numbers of the trace if there are several stacks."""
        if seen is not None and self._in_windows:
            (kind,) = self.shown.kinds
            heads = {i: self.shown.heads_of(i) for i in self.shown.attending()}
            truth = by_turns(seen, kind, heads) or truth
        if seen is None or truth is None:
            return truth
        self._of_decoder(truth)
        self._of_pictures(truth)
        for kind in self.shown.kinds:
            layers = self.shown.layers(kind)
            if kind in truth.maps and any(layer.where for layer in layers):
                places = {layer.number: layer.where for layer in layers}
                found = by_places(seen, places, self.shown.shape(kind))
                if not found.maps[STACKS]:
                    continue
                truth.maps[kind] = found.maps[STACKS]
                truth.counts[kind] = len(layers)
                truth.calls |= {(kind, number): i for (_, number), i in found.calls.items()}
        return truth

    @property
    def _in_windows(self) -> bool:
        if not self.pixels or len(self.shown.kinds) != 1:
            return False
        calls = [self.shown.call(layer) for layer in self.shown.attending()]
        return any(getattr(call, "windows", None) is not None for call in calls)

    def expecting(self, seen: Seen) -> Expected | None:
        """What a trace of a pass must show; None if the model returns nothing to compare."""
        try:
            found = expected(seen, self.both)
        except NoTruth:
            found = None
        return self._truth_of(seen, found)

    def _of_decoder(self, truth: Expected) -> None:
        """A model whose weights look ahead only between parts of one image is a decoder (Gemma 3)."""
        if self.sight is None or set(truth.maps) != {"encoder"}:
            return
        held = self.first[0] == self.sight.wanted
        for maps in truth.maps["encoder"].values():
            ahead = (maps.float() > 1e-6).any(0).any(0).triu(1)
            if bool((ahead & ~(held[:, None] & held)).any()):
                return
        truth.maps = {"decoder": truth.maps["encoder"]}
        truth.calls = {("decoder", number): call for (_, number), call in truth.calls.items()}
        truth.counts = {"decoder": truth.counts.get("encoder", 0)}

    def _of_pictures(self, truth: Expected) -> None:
        """Convert maps within windows to maps of the whole image."""
        for kind in set(self.shown.kinds) & set(truth.maps):
            for layer in set(self.shown.attending(kind)) & set(truth.maps[kind]):
                windows = getattr(self.shown.call(layer, kind=kind), "windows", None)
                one = truth.maps[kind][layer]
                if windows is not None and one.shape[-1] == windows.places.shape[1]:
                    truth.within[kind, layer] = tuple(one.shape)
                    truth.maps[kind][layer] = whole(one, windows.places, windows.n)

    def maps(self) -> None:
        """Check kinds, layers and every map."""
        shown, truth = self.shown, self.expected
        for kind in shown.kinds:
            queries, keys = shown.shape(kind)
            length = self.first.shape[1]
            n_keys = length if kind != "decoder" or not self.both else TARGET
            n_queries = TARGET if self.both and kind != "encoder" else length
            if not self.pixels and (queries, keys) != (n_queries, n_keys):
                self.wrong.append(f"{kind} maps are {queries} × {keys}, not {n_queries} × {n_keys}")
            for layer in shown.attending(kind):
                rows = shown.pattern(layer, kind=kind)
                if rows.min() < 0 or rows.sum(-1).max() > 1 + 1e-3:
                    self.wrong.append(f"{kind} layer {layer}: rows are not weights")
                    break
        if truth is None:
            return
        if UNKNOWN in truth.maps:
            self.notes.append("its own maps are not tokens × tokens")
            return
        # The note may say that a kind is not shown.
        left_out = {kind for kind in truth.maps if kind in self.note.lower()}
        if set(shown.kinds) != set(truth.maps) - (left_out - set(shown.kinds)):
            self.wrong.append(f"kinds are {', '.join(shown.kinds)}, not {', '.join(truth.maps)}")
        for kind in set(shown.kinds) & set(truth.maps):
            size = shown.shape(kind)
            fit = {i: m for i, m in truth.maps[kind].items() if tuple(m.shape[-2:]) == size}
            if len(fit) < len(truth.maps[kind]):
                self._say(f"some of its own {kind} maps cover other positions")
            self._compare(kind, fit, truth.counts[kind])

    def _compare(self, kind: str, maps: dict[int, Tensor], count: int) -> None:
        shown = self.shown
        if shown.attending(kind) != sorted(maps):
            self.wrong.append(f"{kind} layers are {shown.attending(kind)}, not {sorted(maps)}")
            return
        told = told_layers(self.model.config, kind, self.both)
        if told and shown.n_layers(kind) not in (told, count):
            self.wrong.append(f"{kind} has {shown.n_layers(kind)} layers, the config says {told}")
        worst = 0.0
        for layer, truth in maps.items():
            found = shown.pattern(layer, kind=kind)
            worst = max(worst, (found - truth[0].float()).abs().max().item())
        self._hold(f"{kind} maps", worst, MAPS)
        sharp = max(m.float().max(-1).values.median().item() for m in maps.values())
        if sharp < 1.5 / LENGTH:
            self.notes.append(f"{kind} maps are nearly uniform")

    @torch.no_grad()
    def batch(self) -> None:
        """Check that a text in a batch gives the same as alone."""
        both = torch.cat((self.first, self.other))
        shown = self.traced(both, keep="maps")
        plain = logits_of(self.model(**self.given(both)))
        found = said(shown)
        if found is not None:
            self._hold("batch", relative(found, plain), LOGITS)
        if self.expected is None:
            return
        seen = self.eager.run(self.given(both))
        truth = self.expecting(seen)
        assert truth is not None
        for kind in set(shown.kinds) & set(truth.maps):
            for layer in set(shown.attending(kind)) & set(truth.maps[kind]):
                for row in (0, 1):
                    found = shown.pattern(layer, kind=kind, batch=row)
                    off = (found - truth.maps[kind][layer][row].float()).abs().max().item()
                    self._hold(f"{kind} maps of a batch", off, MAPS)

    @torch.no_grad()
    def padding(self) -> None:
        """Check padding on the right and on the left against the text alone."""
        if self.pixels:
            return
        short = text_of(SHORT, 6)
        alone = logits_of(self.model(**self.given(short)))
        pad, n = torch.zeros(1, LENGTH - SHORT, dtype=torch.long), LENGTH - SHORT
        real = torch.ones(1, SHORT, dtype=torch.bool)
        maps: dict[str, dict[int, Tensor]] = {}
        if self.expected is not None:
            maps = expected(self.eager.run(self.given(short)), self.both).maps
            if any(layer.where for kind in self.shown.kinds for layer in self.shown.layers(kind)):
                maps = {}
        for side in ("right", "left"):
            order = slice(None) if side == "right" else slice(None, None, -1)
            tokens = torch.cat((short, pad)[order], 1)
            mask = torch.cat((real, pad.bool())[order], 1)
            real_keys = slice(0, SHORT) if side == "right" else slice(n, None)
            here = slice(None) if self.both else real_keys
            own = self._own_padding(tokens, mask, alone, here)
            try:
                shown = self.traced(tokens, mask=mask, keep="maps")
            except ValueError as error:
                if own is None:
                    self.notes.append(f"{side} padding: the model itself does not support it")
                else:
                    self.notes.append(f"{side} padding is refused: {error}")
                continue
            if shown.logits is None or own is None:
                continue
            off = relative(shown.logits[:, here], alone)
            possible = min(relative(one[:, here], alone) for one in own) <= LOGITS
            if off > LOGITS and not (possible and "encoder" not in shown.kinds):
                # An encoder with absolute positions gives other logits when its text is shifted.
                self.notes.append(f"{side} padding changes the model's own output")
                off = min(relative(shown.logits[:, here], one[:, here]) for one in own)
            else:
                self._padded_maps(f"maps with {side} padding", shown, maps, real_keys)
            self._hold(f"{side} padding", off, LOGITS)

    def _padded_maps(
        self, name: str, shown: Any, maps: dict[str, dict[int, Tensor]], real: slice
    ) -> None:
        """Check the maps of the real tokens against those of the text alone."""
        for kind in set(shown.kinds) & set(maps):
            queries = slice(None) if self.both and kind != "encoder" else real
            keys = slice(None) if self.both and kind == "decoder" else real
            for layer in set(shown.attending(kind)) & set(maps[kind]):
                found = shown.pattern(layer, kind=kind)[:, queries, keys]
                truth = maps[kind][layer][0].float()
                if found.shape == truth.shape:
                    self._hold(name, (found - truth).abs().max().item(), MAPS)

    def _own_padding(
        self, tokens: Tensor, mask: Tensor, alone: Tensor, here: slice
    ) -> list[Tensor] | None:
        """The unmodified model's logits for the same padded text, with and without position ids."""
        places = (mask.long().cumsum(-1) - 1).clamp(min=0)
        found = []
        for more in ({}, {"position_ids": places}):
            try:
                given = self.given(tokens, attention_mask=mask.long(), **more)
                found.append(logits_of(self.model(**given)))
            except Exception:
                continue
        return found or None

    # -- inside ---------------------------------------------------------------------------------

    def _hold(self, name: str, off: float, bar: float, what: str = "") -> None:
        """Record the largest difference of a comparison, and report it once if it is too large."""
        if off <= self.errors.get(name, -1.0):
            return
        before = self.told.get(name)
        self.errors[name] = off
        if not off <= bar:
            self.told[name] = f"{what or name}: {off:.2g} off"
            if before in self.wrong:
                self.wrong[self.wrong.index(before)] = self.told[name]
            else:
                self.wrong.append(self.told[name])

    def _say(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
