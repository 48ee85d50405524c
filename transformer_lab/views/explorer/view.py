"""Touch a head, and see what changes: the heads of a text model, its predictions, and edits."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from ...adapters.interrupts import start_thread, taken
from ...edits.interventions import default_kind
from ...edits.kinds import Edit
from ...text_model import TextModel
from ...training.usage import ModelIsTraining
from ..heads.heads import Heads, Place, map_sentence, name_of, place_of
from ..heads.pins import PinTraits
from ..heads.scene import PinnedMap, ShownHead
from ..heads.spans import SpanTraits
from ..pages.carried import Carried
from ..pages.carrying import carry, for_readers
from ..pages.export import Block
from ..shared.base import css, esm, one_line
from ..shared.map_sentences import (
    Seen,
    between_change_sentence,
    between_sentence,
    difference_sentence,
)
from ..shared.selection import link_of
from .edits import Edits
from .effects import HeadEffects
from .runs import Runs
from .scene import explorer_scene
from .standby import StandsBy
from .written import Writes

if TYPE_CHECKING:
    from ...heads.spans import Span
    from ...text_model import TextModel
    from ..marks.scene import Scene

WRITTEN_BY = ("n", "temperature", "top_k", "top_p", "seed")
MAP_MODES = ("before", "after", "difference")


class Explorer(Writes, StandsBy, SpanTraits, PinTraits):
    """Type a text, choose a head, switch it off, and see the predictions change.

    Readable and settable from Python, and following what the reader does: `text`, `target`,
    `masked`, `edits`, `position`, and `layer`, `head`, `kind`, `selected`, `pins`, `a` and `b` as in `HeadView`; so is `mark`.

    Args:
        model: a `TextModel`.
        text: what it reads.
        target: what an encoder-decoder writes; by default its own greedy answer.
        layer, head, kind: the head to begin with; unless given, the one that matters most by an
            estimate, where the model predicts and is quick.
        position: the token after (for a masked model: at) which predictions are shown; by default
            the last of a decoder, the first that an encoder-decoder writes, the first mask.
        edits: from `tl.ablate`, `tl.knock_out` …; they are in force from the start.
        a, b: (start, end), as in slices, of queries and of keys: the block of the map to begin with.
        pins: (layer, head) of heads whose maps stay beside that of the chosen one.
        title: by default the model's name.

    Raises:
        ValueError: for empty or too long text, a place that is not there, or where nothing can be said
            from a to b, as `mark`.
    """

    _esm: ClassVar[str] = esm("explorer/view.js")
    _css: ClassVar[str] = css("explorer")

    absent: ClassVar[str] = "this page does not hold it; that needs a live kernel"

    carried: Carried | None = None
    """The model that the last page of this view took along."""
    stays: str = ""
    """Why the last page did not, in a sentence."""

    def __init__(
        self,
        model: TextModel,
        text: str,
        target: str | None = None,
        *,
        layer: int | None = None,
        head: int | None = None,
        kind: str | None = None,
        position: int | None = None,
        edits: Sequence[Edit] = (),
        a: Span | None = None,
        b: Span | None = None,
        pins: Iterable[tuple[int, int]] = (),
        title: str | None = None,
    ):
        if not isinstance(model, TextModel):
            raise ValueError(
                f"model is a {type(model).__name__}; Explorer takes a TextModel: "
                "tl.TextModel(model, tokenizer), or tl.TextModel.from_pretrained(name)"
            )
        self._runs, self._changes = Runs(model), Edits()
        self._single = HeadEffects(self._runs)
        self._lock, self._naming = threading.RLock(), threading.Lock()
        self._reading = self._runs.read(text, target)
        self._after: Heads | None = None
        self._position: int | None = None
        self._made: list[dict[str, Any]] = []
        trace = self._reading.trace
        if kind is None and "cross" in trace.kinds:
            kind = "cross"
        super().__init__(title=title or model.name or "Explorer", of=(trace,), link=link_of(trace))
        heads = Heads(trace)
        kind = heads.usual_kind(kind)
        self._start_facts()
        self._look_again(heads, (kind, layer or 0, head or 0))
        self._show(self._reading, [], position)
        if layer is None and head is None:
            self.layer, self.head = self._most_promising(kind)
            self._tell_estimates(self._reading, self._place())
        if edits:
            self.edits = edits
        self.mark(a, b)
        self._pin(pins)

    # -- what single heads do ---------------------------------------------------------------------

    def _sweep(self, kind: str, layer: int) -> None:
        """Every head of a layer switched off alone."""
        with self._lock:
            reading, place = self._reading, self._place()
            for head in range(self._kinds[kind]["heads"]):
                self._runs.effect(reading, kind, layer, head, [place])
            self._effects = self._single.known(reading, place)

    def _effect_block(self, place: Place) -> Block:
        with self._lock:
            return self._single.block(self._reading, place, self._place())

    def _name_heads(self) -> None:
        """Short labels of the heads, with their evidence; once."""
        from .labels import labels_of

        with taken(self._naming) as free:
            if free and not self._labels:
                self._labels = labels_of(self.text_model, self._reading.trace)

    # -- for people -------------------------------------------------------------------------------

    @property
    def map_mode(self) -> str:
        """What the map shows: "before", "after" or "difference"; "before" without edits."""
        mode = self._options.get("map", "after")
        return mode if self._after is not None and mode in MAP_MODES else "before"

    @property
    def sentence(self) -> str:
        return " ".join(filter(None, [self._attention_sentence(), self._effect_sentence()]))

    def _attention_sentence(self) -> str:
        mode = self.map_mode
        heads = self._after if mode == "after" and self._after is not None else self.heads
        seen = heads.seen(self.shown, self._shows, edited=mode == "after")
        if self.block is not None and not self.selected:
            return self._block_sentence(seen, self.block)
        say = difference_sentence if mode == "difference" else map_sentence
        return say(seen, self._shown_map(), self.selected)

    def _block_sentence(self, seen: Seen, block: tuple[Span, Span]) -> str:
        hidden = self._shows.hidden
        share, even = self._between(self.shown, block, hidden)
        if self.map_mode != "difference":
            return between_sentence(seen, *block, share, even)
        before, _ = self._between(self.shown, block, hidden, self.heads)
        return between_change_sentence(seen, *block, before, share)

    @property
    def _reads(self) -> str:
        """What the weights are of: a text alone, or with the edits of a run."""
        return f"{self._facts_of} before" if self.map_mode == "before" else f"{self._stamp} after"

    def _named_heads(self, reads: str) -> Heads:
        if reads == f"{self._facts_of} before":
            return self.heads
        if reads != f"{self._stamp} after" or self._after is None:
            raise ValueError("this text, or these edits, are no longer on view")
        return self._after

    def row(self, query: int) -> Tensor:
        """[key]: what a query gives to each key, as shown: before, after, or the difference."""
        return self._shown_map(query)

    def _effect_sentence(self) -> str:
        """What the edits in force do, or what the chosen head does, where that was computed."""
        if self._outcome.get("sentence"):
            return self._outcome["sentence"]
        return self._effects.get(name_of(self.shown), {}).get("if_off", "")

    def _scene(self) -> Scene:
        off = self._heads_off(self.shown[0])
        return explorer_scene(
            self._shown_head(), self.map_mode, off, self._compare(), self._where()
        )

    def _shown_head(self) -> ShownHead:
        """The chosen head and pinned ones, before or after the edits, or the difference."""
        kind = self.shown[0]
        small = self.heads if self._after is None or self.map_mode == "before" else self._after
        heads = self.heads.scene(
            self.shown,
            self._shows,
            self.selected,
            self._title,
            self.sentence,
            weights=self._shown_map(),
            thumbnails=small.data.thumbnail(kind),
            nothing=self._shown_nothing(),
            known=self._known(self.shown),
            pins=[self._pinned(place) for place in self._pins_beside(self.shown)],
        )
        return heads if self.block is None else heads.part(*self.block)

    def _heads_off(self, kind: str) -> list[tuple[int, int]]:
        sizes, default = self._kinds[kind], default_kind(list(self._kinds))
        return self._changes.heads_off(self._made, kind, sizes["layers"], sizes["heads"], default)

    def _where(self) -> str:
        """Where the prediction stands, in words."""
        if self.position is None:
            return ""
        token = f"“{self._about['tokens'][self.position]}”"
        words = {"encoder": f"at {token}", "decoder": f"after {token}"}
        return words.get(self._about["kind"], f"written after {token}")

    def save_html(
        self,
        path: str | os.PathLike,
        layers: Sequence[int] | None = None,
        *,
        effects: bool | None = None,
        model: bool | None = None,
        precision: str = "auto",
        theme: str | None = None,
    ) -> Path:
        """Write one self-contained page: every head and map, and the predictions.

        A page that takes its model along reads other texts, masks, edits and writes by itself, with
        nothing but a browser; labels, estimates and scores are those of the text that was saved.
        Without the model it shows what happens without each single head; what else needs a live
        kernel, it says.

        Args:
            path: the file.
            layers: keep only the heads of these layers; the page says so. Default: every head.
            effects: whether the page holds what happens without each head, which costs one forward
                pass a head. By default where that takes less than three minutes, and the model does
                not travel: a page that has it measures them by itself.
            model: whether the page takes the model along. By default where it can travel (a
                `Transformer` that nobody changed, with a tokenizer that a page knows) and its weights
                take less than 16 MB; True for up to 200 MB.
            precision: of the weights that travel: "float32", "float16" or "int8" (each row of a
                matrix scaled to −127 … 127). "auto" is float16, and int8 for a model that takes
                more than 200 MB in 16 bits. A page in 8 bits says what they change of the top
                predictions of its text, which is measured before it is written.
            theme: "light" or "dark"; by default as the reader's system.

        Raises:
            ValueError: for a layer that the trace has not, a path that cannot hold a file, a
                precision that is not known, and with model=True for a model that cannot travel or
                is too large.
        """
        return super().save_html(
            path, layers=layers, effects=effects, model=model, precision=precision, theme=theme
        )

    # -- what is shown ----------------------------------------------------------------------------

    def _shown_map(self, query: int | None = None, place: Place | None = None) -> Tensor:
        """[query, key] of a head (the chosen one), or one row of it, as the browser shows it."""
        place, shows, mode = place or self.shown, self._shows, self.map_mode
        if mode == "before" or self._after is None:
            return self.heads.map(place, shows, query)
        after = self._after.map(place, shows, query)
        return after if mode == "after" else after - self.heads.map(place, shows, query)

    def _shown_nothing(self, place: Place | None = None) -> Tensor | None:
        """[query]: what goes to nothing beside that map; None where heads may not look there."""
        place, shows, mode = place or self.shown, self._shows, self.map_mode
        before = self.heads.nothing(place, shows)
        if mode == "before" or self._after is None or before is None:
            return before
        after = self._after.nothing(place, shows)
        return after if mode == "after" or after is None else after - before

    def _pinned(self, place: Place) -> PinnedMap:
        weights, nothing = self._shown_map(place=place), self._shown_nothing(place)
        return PinnedMap(*place[1:], weights, nothing, self._known(place))

    # -- for the browser --------------------------------------------------------------------------

    def _answer(self, question: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        asked = question.get("type")
        done = {"type": "done", "asked": asked}
        try:
            if asked == "run":
                names = ("text", "target", "masked", "edits", "position", "ids")
                self._run(**{name: question[name] for name in names if name in question})
                return done, []
            if asked == "write":
                given = question.get("options", {})
                self.write(**{k: given[k] for k in WRITTEN_BY if k in given})
                return done, []
            if asked == "sweep":
                self._sweep(str(question["kind"]), int(question["layer"]))
                return done, []
            if asked == "facts":
                self._background.open()
                return done, []
            if asked == "labels":
                # It takes seconds and edits nothing: clicks need not wait for it.
                start_thread(threading.Thread(target=self._name_heads, daemon=True))
                return done, []
        except ModelIsTraining as error:
            return {"type": "done", "asked": asked, "training": one_line(error)}, []
        if asked == "standby":
            return self._standby_part(str(question["part"]))
        return super()._answer(question)

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        if "|" in name:
            return super()._part_named(name)
        what, _, rest = name.partition("/")
        if what == "effect":
            block = self._effect_block(place_of(rest))
            return dict(block.info), block.buffers
        if what != "after":
            return self.heads.answer(name)
        if self._after is None:
            raise ValueError("nothing is edited any more")
        return self._after.answer(rest)

    def _page(
        self,
        *,
        model: bool | None = None,
        precision: str = "auto",
        effects: bool | None = None,
        **options: Any,
    ) -> Iterable[str]:
        stale = not self._runs.is_fresh(self._reading)
        quiet, read = self._runs.quiet(self._reading.version), [self._reading.trace]
        heads = "cutting" if self._keeps_effects(effects)[0] else "switching heads off, cutting"
        lacks = f"{heads} edges, writing on, or another text needs a live kernel"
        self.carried, self.stays = carry(quiet, model, stale, read, lacks, precision)
        if self.carried and effects is None:
            effects = False
        return super()._page(effects=effects, **options)

    def _page_state(
        self, layers: Sequence[int] | None = None, effects: bool | None = None
    ) -> dict[str, Any]:
        keeps, why = self._keeps_effects(effects)
        self.left_out = why
        if keeps:
            every = self.heads.every(self.kind)
            self._single.compute(self._reading, every, self._place())
            self._effects = self._single.known(self._reading, self._place())
        self._all_facts()
        state = {**super()._page_state(), **self._first_screen(layers), "_live": False}
        if self._in_blocks(layers):
            state.update(_after_maps=b"", _after_norms=b"")
        elif self._after is not None:
            state["_after_norms"] = self._after.all_norms()
        trace = self._reading.trace
        positions = self._runs.positions(self._reading)
        if len(positions) <= 64:
            found = (self._runs.compare(trace, None, p) for p in positions)
            state["_tables"] = {str(e.position): e.to_dict() for e in found}
        state["_note"] = " ".join(filter(None, [for_readers(self.stays), state["_note"], why]))
        state["_about"] = {**self._about, "effects": keeps}
        given, first = self._reading.given, self._runs.first_position(self._reading)
        state["_carried"] = {
            "travels": self.carried is not None,
            "told": self.carried.told if self.carried else "",
            "stays": bool(self.stays),  # whether the note says what needs a kernel, and why
            "moved": False,  # whether the page has read another text
            "given": None if given is None else list(given),
            "first": first,
            "wished": self._position,
        }
        return state

    def _keeps_effects(self, wanted: bool | None) -> tuple[bool, str]:
        """Whether a page holds what each head does, and why not."""
        if wanted is False or not self._can_edit(self._reading) or self._nothing_to_predict():
            return False, ""
        every = list(self.heads.every(self.kind))
        why = self._single.why_not(self._reading, every, self._place(), wanted)
        return not why, why

    def _nothing_to_predict(self) -> bool:
        return self._reading.trace.logits is not None and self.position is None

    def _blocks(
        self, layers: Sequence[int] | None = None, effects: bool | None = None
    ) -> Iterable[Block]:
        yield from self.carried.blocks if self.carried else ()
        yield from self._head_blocks(layers)
        yield from self._span_blocks(layers)
        yield from self._every_block()
        if self._after is not None and self._in_blocks(layers):
            for place in self.heads.every(self.kind, layers):
                yield self._after.block(place, "after/")
        if self._keeps_effects(effects)[0]:
            for place in self.heads.every(self.kind):
                yield self._effect_block(place)
