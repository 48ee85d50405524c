"""Edit a head and see what changes: the heads of a text model, its predictions, and edits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets as t
from torch import Tensor

from ...edits.kinds import Edit
from ...text_model import TextModel
from ...training.usage import ModelIsTraining
from ..heads.heads import Heads, Place, Shows, name_of, place_of
from ..heads.pins import Pins, pin, pinned_beside
from ..heads.scene import PinnedMap, ShownHead
from ..heads.spans import Spans, span
from ..pages.carrying import for_readers
from ..pages.export import Block
from ..shared.base import Answer, css, esm, one_line
from ..shared.embedded_model import joined
from ..shared.selection import SelectionView, link_of
from .facts import Facts
from .maps import EditedMaps
from .runs import Outcome, Prediction
from .scene import explorer_scene
from .session import Session
from .standby import SessionModel
from .written import Writing

if TYPE_CHECKING:
    from ...heads.spans import Span
    from ...tracing.trace import Trace
    from ..marks.scene import Scene

WRITTEN_BY = ("n", "temperature", "top_k", "top_p", "seed")
CHANGED_BY = ("text", "target", "masked", "edits", "position", "ids", "segments")
SMALL_MAPS_UP_TO = 512  # tokens: thumbnails of longer texts are those before the edits
WHOLE_TEXT = "Maps of the whole text: tl.views.HeadView(view.trace)."
NO_MAPS: dict[str, Any] = {"_thumbs": b"", "_maps": b"", "_norms": b"", "_first": {}}
EVERY_FACT = ("effects", "estimates", "scores", "score_names", "labels", "samples")
MOST_TABLES = 64  # up to so many positions, a page contains the predictions at each


def _read(name: str, meaning: str) -> Any:
    """A property of a view that its session has."""
    return property(lambda view: getattr(view.session, name), doc=meaning)


def _changed(name: str, meaning: str) -> Any:
    """The same, for a property that can be set."""
    return _read(name, meaning).setter(lambda view, value: view.session.change(**{name: value}))


class Explorer(SelectionView):
    """Type a text, choose a head, switch it off, and see the predictions change.

    Readable and settable from Python, and following the reader's choices: `text`, `target`,
    `segments`, `masked`, `edits`, `position`, and `layer`, `head`, `kind`, `selected`, `pins`, `a`
    and `b` as in `HeadView`; the method `mark` is the same, too.

    Args:
        model: a `TextModel`.
        text: its input; or messages ({"role": …, "content": …}) or a `Chat`, which are formatted by
            the model's chat template, with the cuts of the `Chat`.
        target: what an encoder-decoder writes; by default its own greedy answer.
        layer, head, kind: the initial head; by default the one that matters most by an estimate, if
            the model predicts and is quick.
        position: the token after (for a masked model: at) which predictions are shown; by default
            the last of a decoder, the first that an encoder-decoder writes, the first mask.
        edits: from `tl.ablate`, `tl.knock_out` …; they are in force from the start.
        a, b: (start, end), as in slices, of queries and of keys: the initial block of the pattern.
        pins: (layer, head) of heads whose patterns stay next to that of the chosen one.
        title: by default the model's name.

    Raises:
        ValueError: for empty or too long text, a layer or head that does not exist, and for `a`
            and `b` as in `mark`.
    """

    _esm: ClassVar[str] = esm("explorer/view.js")
    _css: ClassVar[str] = css("explorer")

    absent: ClassVar[str] = "this page does not hold it; that needs a live kernel"
    first_results: ClassVar = SelectionView.first_results | {
        f"_after{name}": value for name, value in NO_MAPS.items()
    }

    a = span()
    b = span()
    pins = Pins().tag(sync=True)

    _options = t.Dict().tag(sync=True)  # hidden keys, weighting, colours: see heads/viewer.js

    def __init__(
        self,
        model: TextModel,
        text: Any,
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
        self.session = Session(model, text, target, edits, position)
        self._maps_on_view = EditedMaps(
            self.session, lambda: self._options, lambda: self._facts.count
        )
        self._facts = Facts(
            self.session, lambda: self.shown, lambda message: self.send(message), self._show_facts
        )
        self._writing = Writing(self.session)
        self._model = SessionModel(self.session)
        self._spans = Spans(self, self._maps_on_view)
        trace, heads = self.session.reading.trace, self.session.heads
        if kind is None and "cross" in trace.kinds:
            kind = "cross"
        kind = heads.usual_kind(kind)
        if layer is None and head is None:
            layer, head = self._facts.most_promising(kind)
        super().__init__(title=title or model.name or "Explorer", of=(trace,), link=link_of(trace))
        self._show_text((kind, layer or 0, head or 0))
        self._show_result()
        self._show_facts(*EVERY_FACT)
        self.session.observers.append(self._session_changed)
        self.mark(a, b)
        pin(self, pins)

    # -- the session, in traits -------------------------------------------------------------------

    def _session_changed(self) -> None:
        with self.hold_sync():
            if self.trace is not self.session.reading.trace:
                self.selected = None
                self._show_text(self.shown)
            moved = self._facts.follow()
            self._show_result()
            if moved:
                self._show_facts(*EVERY_FACT)

    def _show_text(self, place: Place) -> None:
        """Publish the model's input, with this head on view."""
        session = self.session
        before = self.kinds
        self._look_at(session.heads, place)
        self._spans.text_changed(before)
        if session.heads.data.is_cut:
            self._publish(_note=joined(self._results["_note"], WHOLE_TEXT))
        if self.link:
            self.link = link_of(self.trace)
        self._publish(
            _text=session.state.text.encode("utf-8", "replace").decode(),
            _target=session.target_text,
            _masked=list(session.state.masked),
            _about=session.about(self._caution),
        )

    def _show_result(self) -> None:
        """Publish the predictions, and the patterns with the edits."""
        session = self.session
        self._publish(
            **self._edited_maps(),
            _edits=session.sent_edits,
            _effects=self._facts.effects,
            _outcome={**session.result(), "written": self._writing.on_view()},
            _standby=self._model.on_standby(),
            _stamp=session.count,
            _facts_of=self._facts.count,
        )

    def _edited_maps(self) -> dict[str, Any]:
        """The patterns with the edits; {} if they are those that were sent last."""
        after, maps = self.session.after, NO_MAPS
        if after is self._sent:
            return {}
        self._sent = after
        if after is not None:
            # Value norms are sent only when weights are multiplied by them; the page can request
            # them.
            weighted = self._options.get("weights") == "value"
            maps = maps | (after.weights if weighted else after.maps)(self.shown)
            if max(max(after.trace.shape(kind)) for kind in after.trace.kinds) <= SMALL_MAPS_UP_TO:
                maps["_thumbs"] = after.data.thumbnails()
        return {f"_after{name}": value for name, value in maps.items()}

    _sent: Heads | None = None  # the edited heads that were sent last

    def _show_facts(self, *names: str) -> None:
        """Publish facts about the heads; names: those that have changed."""
        self._publish(**{f"_{name}": getattr(self._facts, name) for name in names})

    @t.observe("layer", "head", "kind")
    def _another_head(self, _change: Any) -> None:
        self._facts.background.wake()

    @t.validate("a", "b")
    def _check_spans(self, proposal: Any) -> Span | None:
        return self._spans.checked(proposal)

    def close(self) -> None:
        """Remove the view, and end its background work."""
        if "_facts" in vars(self):  # False if the arguments were refused
            self._facts.close()
        super().close()

    # -- for people -------------------------------------------------------------------------------

    shown = SelectionView.chosen_head

    @property
    def trace(self) -> Trace:
        """The trace without edits."""
        return self.heads.trace

    text_model: TextModel = _read("text_model", "The model that is explored.")
    text: str = _changed(
        "text",
        "What the model reads. A new one is run at once; edits that cut edges are dropped, since they "
        "name tokens of the old one. It may be messages or a `Chat`.",
    )
    segments: dict[str, Span] = _changed(
        "segments",
        "name -> (start, end) of named parts of the text, such as the turns of a conversation. They "
        "follow a text that goes on, or that changes within one part.",
    )
    target: str | None = _changed(
        "target", "What an encoder-decoder is given to write; None for its own greedy answer."
    )
    masked: list[int] = _changed(
        "masked", "Positions whose token is hidden behind the mask token (masked models)."
    )
    edits: list[Edit] = _changed("edits", "The edits in force, oldest first.")
    position: int | None = _changed(
        "position", "The token whose prediction is shown; None where there is nothing to predict."
    )
    ids: list[int] = _read(
        "ids",
        "The tokens of what is predicted on, masks apart: of the text, or of what an encoder-decoder "
        "writes, with its start token.",
    )
    predictions: list[Prediction] = _read(
        "predictions",
        "The rows on view: the likeliest tokens before, then those that rise into them.",
    )
    code: str = _read(
        "code",
        "The edits in force as Python that runs where `model` is the text model: it makes them, and "
        "prints the predictions without and with them.",
    )

    @property
    def effect(self) -> Outcome | None:
        """The effect at `position` of the edits in force; None if there are none."""
        return self.session.outcome if self.session.after is not None else None

    def effect_of(self, layer: int, head: int, kind: str | None = None) -> Outcome:
        """The effect at `position` of switching off this head alone (its z set to 0).

        Raises:
            EditError: if there is no such head.
        """
        return self.session.effect_of(kind or self.kind, layer, head)

    def append(self, token: int | str) -> None:
        """Write one token after the text (an encoder-decoder: after what it writes).

        Args:
            token: its id, or a text that is one token.

        Raises:
            ValueError: for an unknown token, for a masked model, and if no room is left.
        """
        self.session.append(token)

    def write(
        self,
        n: int | None = None,
        *,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> str:
        """Continue the text (of an encoder-decoder: its output), and read all of it. If edits are
        in force, it is generated again with them and the same seed, and shown next to the first.

        Args:
            n: how many tokens at most; the model may end the text earlier. By default 20, or as
                many as there is room for.
            temperature, top_k, top_p, seed: how tokens are sampled; by default the likeliest is
                taken.

        Returns:
            A sentence about what was written; with edits, also about where the two texts diverge.

        Raises:
            ValueError: for a masked model, an option out of its range, or no room in the context.
        """
        return self._writing.write(n, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)

    def mark(self, a: Span | None = None, b: Span | None = None) -> None:
        """Show the attention from span a to span b; with neither, the whole pattern again.

        Raises:
            ValueError: as `HeadView.mark`.
        """
        self._spans.mark(a, b)

    @property
    def block(self) -> tuple[Span, Span] | None:
        """The spans (a, b) on view; None for the whole pattern."""
        return self._spans.block

    @property
    def shows(self) -> Shows:
        """Which keys are left out, and whether weights are multiplied by value norms."""
        return Shows.of(self._options, self.kinds[self.kind])

    @property
    def map_mode(self) -> str:
        """The weights on view: "before", "after" or "difference"; "before" without edits."""
        return self._maps_on_view.mode

    def row(self, query: int) -> Tensor:
        """A query's weights on every key as displayed, [key]: before, after, or the difference."""
        return self._maps_on_view.map(self.shown, self.shows, query)

    @property
    def head_sentence(self) -> str:
        """What the head on view attends to, or how the edits change that, in words."""
        return self._maps_on_view.sentence(self.shown, self.shows, self.selected, self._spans)

    @property
    def sentence(self) -> str:
        alone = self._facts.effects.get(name_of(self.shown), {}).get("if_off", "")
        return joined(self.head_sentence, self.session.effect_sentence or alone)

    def _scene(self) -> Scene:
        off = self.session.heads_off(self.kind)
        where = self._where()
        session = self.session
        return explorer_scene(
            self._shown_head(), self.map_mode, off, session.outcome, where, session.named_texts
        )

    def _shown_head(self) -> ShownHead:
        """The chosen head and pinned ones, before or after the edits, or the difference."""
        place, shows, maps, known = self.shown, self.shows, self._maps_on_view, self._facts.known
        head = self.heads.scene(
            place,
            shows,
            self.selected,
            self._title,
            self.sentence,
            weights=maps.map(place, shows),
            thumbnails=maps.heads.data.thumbnail(place[0]),
            nothing=maps.nothing(place, shows),
            known=known(place),
            pins=[
                PinnedMap(*at[1:], maps.map(at, shows), maps.nothing(at, shows), known(at))
                for at in pinned_beside(self, place)
            ],
        )
        return head if self.block is None else head.part(*self.block)

    def _where(self) -> str:
        """The position of the prediction, in words."""
        if self.position is None:
            return ""
        words = {"encoder": "at", "decoder": "after"}.get(self.session.runs.kind, "written after")
        return f"{words} “{self.session.tokens[self.position]}”"

    def _subjects(self) -> Sequence[Any]:
        return (self.session.reading.trace,)

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
        """Write one self-contained page: every head and pattern, and the predictions.

        A page with the model embedded reads other texts, masks, edits and writes by itself, with
        nothing but a browser; labels, estimates and scores are those of the saved text. Without the
        model it shows the effects of single heads, and says what needs a live kernel.

        Args:
            path: the file.
            layers: keep only the heads of these layers; the page says so. Default: every head.
            effects: whether the page contains the effects of single heads, which cost one forward
                pass per head. By default if that takes less than three minutes and the model is not
                embedded: with the model, a page measures them itself.
            model: whether to embed the model. By default if that is possible (an unmodified
                `Transformer`, with a tokenizer that a page supports) and its weights take less than
                16 MB; True for up to 200 MB.
            precision: of the embedded weights: "float32", "float16" or "int8" (each row of a
                matrix scaled to −127 … 127). "auto" is float16, and int8 for a model that takes
                more than 200 MB in 16 bits. A page in 8 bits reports how they change the top
                predictions of its text, which is measured before it is written.
            theme: "light" or "dark"; by default as the reader's system.

        Raises:
            ValueError: for a layer that the trace does not have, a path that cannot hold a file, an
                unknown precision, and with model=True for a model that cannot be embedded or is
                too large.
        """
        return super().save_html(
            path, layers=layers, effects=effects, model=model, precision=precision, theme=theme
        )

    # -- for the browser --------------------------------------------------------------------------

    def _requests(self) -> dict[str, Callable[[Any], Answer]]:
        changes = {
            "run": lambda message: self.session.change(**_named(message, CHANGED_BY)),
            "write": lambda message: self.write(**_named(message.get("options", {}), WRITTEN_BY)),
            "sweep": self._sweep,
            "facts": lambda _: self._facts.start(),
            "labels": lambda message: self._facts.want_names(not message.get("stop")),
        }
        parts = {
            "standby": lambda message: self._model.part(str(message["part"]), self.send),
            "effect/": self._effect_part,
            "after/": self._edited_part,
        }
        done = {name: _done(name, change) for name, change in changes.items()}
        return super()._requests() | done | parts | self._spans.requests()

    def _sweep(self, message: dict[str, Any]) -> None:
        self.session.sweep(str(message["kind"]), int(message["layer"]))
        self._show_facts("effects")

    def _effect_part(self, name: str) -> Answer:
        block = self._effect_block(place_of(name.partition("/")[2]))
        return dict(block.info), block.buffers

    def _effect_block(self, place: Place) -> Block:
        session = self.session
        with session.lock:
            return session.effects.block(session.reading, place, session.place)

    def _edited_part(self, name: str) -> Answer:
        if self.session.after is None:
            raise ValueError("nothing is edited any more")
        return self.session.after.answer(name.partition("/")[2])

    def _part_named(self, name: str) -> Answer:
        return self.heads.answer(name)

    # -- for pages --------------------------------------------------------------------------------

    def _page(
        self,
        *,
        model: bool | None = None,
        precision: str = "auto",
        effects: bool | None = None,
        **options: Any,
    ) -> Iterable[str]:
        keeps, _ = self._keeps_effects(effects)
        self.carried, self.stays = self._model.take(model, precision, keeps)
        if self.carried and effects is None:
            effects = False
        return super()._page(effects=effects, **options)

    def _page_state(
        self, layers: Sequence[int] | None = None, effects: bool | None = None
    ) -> dict[str, Any]:
        session, after = self.session, self.session.after
        keeps, self.left_out = self._keeps_effects(effects)
        if keeps:
            every = self.heads.every(self.kind)
            session.effects.compute(session.reading, every, session.place)
            self._show_facts("effects")
        self._facts.compute_quick()
        state = super()._page_state()
        state |= self.heads.page_traits(self.shown, layers, state["_note"])
        if self.heads.is_in_blocks(layers):
            state |= {"_after_maps": b"", "_after_norms": b"", "_after_first": {}}
        elif after is not None:
            state["_after_norms"] = after.weights(self.shown)["_norms"]
        positions = session.runs.positions(session.reading)
        if len(positions) <= MOST_TABLES:
            tables = (session.runs.compare(self.trace, None, at) for at in positions)
            state["_tables"] = {str(table.position): table.to_dict() for table in tables}
        left_out = for_readers(self.left_out)
        state["_note"] = joined(for_readers(self.stays), state["_note"], left_out)
        able = {
            "effects": self._keeps_effects(True)[0],
            "model": self._model.may_travel(self.stays),
        }
        ways = [name for name, can in able.items() if can]  # to save a page that can do more
        measured = self.carried is not None
        more = {"effects": keeps, "ways": ways, "measures_all": measured}
        state["_about"] = {**state["_about"], **more}
        state["_carried"] = {
            "travels": self.carried is not None,
            "note": self.carried.note if self.carried else "",
            "stays": bool(self.stays),  # whether the note says what needs a kernel, and why
            "moved": False,  # whether the page has read another text
            **self._model.text(),
        }
        return state

    def _keeps_effects(self, wanted: bool | None) -> tuple[bool, str]:
        """Whether a page contains the effects of single heads, and a sentence if they take too
        long."""
        session = self.session
        nowhere = session.predicts and session.position is None
        if wanted is False or not session.can_edit or nowhere:
            return False, ""
        every = list(self.heads.every(self.kind))
        why = session.effects.why_not(session.reading, every, session.place, wanted)
        return not why, why

    def _blocks(
        self, layers: Sequence[int] | None = None, effects: bool | None = None
    ) -> Iterable[Block]:
        after = self.session.after
        yield from self.heads.page_blocks(self.shown, layers)
        yield from self._spans.page_blocks(self.heads, layers)
        yield from self._spans.page_block_of_every_head()
        if after is not None and self.heads.is_in_blocks(layers):
            for place in self.heads.every(self.kind, layers):
                yield after.block(place, "after/")
        if self._keeps_effects(effects)[0]:
            for place in self.heads.every(self.kind):
                yield self._effect_block(place)


def _named(values: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _done(name: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Any], Answer]:
    """Turn a change into the handler of a request; while the model is training, it reports that
    instead."""

    def answer(message: dict[str, Any]) -> Answer:
        done = {"type": "done", "asked": name}
        try:
            change(message)
        except ModelIsTraining as error:
            done["training"] = one_line(error)
        return done, []

    return answer
