"""Touch a head, and see what changes: the heads of a text model, its predictions, and edits."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets as t
from torch import Tensor

from ..edit import Edit, default_kind
from ..in_use import ModelIsTraining, is_training
from .base import css, esm, one_line
from .codecs import shown_text, shown_token
from .explorer_edits import Edits, plural, print_code, run_code
from .explorer_figure import explorer_figure
from .explorer_runs import Effect, Prediction, Reading, Runs
from .export import Block
from .head_data import HeadData
from .head_view import HeadView, _first_traits
from .selection import link_of
from .words import Seen, difference_sentence, head_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..text_model import TextModel
    from ..trace import Trace

MAP_MODES = ("before", "after", "difference")
SMALL_MAPS_UP_TO = 512  # tokens: of longer texts the small maps are those before the edits
EFFECTS_WITHIN = 180.0  # seconds that a page may take to compute what each head does
QUICK = 0.25  # seconds a forward pass: the effect of a chosen head is then shown unasked
VERY_QUICK = 0.05  # … and its label too


class Explorer(HeadView):
    """Type a text, choose a head, switch it off, and see the predictions change.

    Readable and settable from Python, and following what the reader does: `text`, `target`,
    `masked`, `edits`, `position`, and `layer`, `head`, `kind` and `selected` as in `HeadView`.

    Args:
        model: a `TextModel`.
        text: what it reads.
        target: what an encoder-decoder writes; by default its own greedy answer.
        layer, head, kind: the head to begin with.
        position: the token after (for a masked model: at) which predictions are shown; by default
            the last of a decoder, the first that an encoder-decoder writes, the first mask.
        edits: from `tl.ablate`, `tl.knock_out` …; they are in force from the start.
        title: by default the model's name.

    Raises:
        ValueError: for empty or too long text, or a place that is not there.
    """

    _esm: ClassVar[str] = esm("explorer.js")
    _css: ClassVar[str] = css("view.css", "explorer.css")

    absent: ClassVar[str] = "this page does not hold it; that needs a live kernel"

    _text = t.Unicode("").tag(sync=True)
    _target = t.Unicode("", allow_none=True).tag(sync=True)
    _masked = t.List(t.Int()).tag(sync=True)
    _edits = t.List(t.Dict()).tag(sync=True)
    _code = t.Unicode("").tag(sync=True)  # Python that runs the text without and with `edits`
    _outcome = t.Dict().tag(sync=True)  # predictions at the position, without and with the edits
    _tables = t.Dict().tag(sync=True)  # on a page: the predictions before, by position
    _effects = t.Dict().tag(sync=True)  # "kind/layer/head" -> what happens without this one head
    _labels = t.Dict().tag(sync=True)
    _after_edits = t.List(t.Dict()).tag(sync=True)  # those that the maps below were made with
    _after_thumbs = t.Bytes(b"").tag(sync=True)
    _after_maps = t.Bytes(b"").tag(sync=True)
    _after_norms = t.Bytes(b"").tag(sync=True)
    _after_first = t.Dict().tag(sync=True)
    _after_first_data = t.Bytes(b"").tag(sync=True)
    _after_first_norms = t.Bytes(b"").tag(sync=True)
    _about = t.Dict().tag(sync=True)  # what the model can do: see explorer_viewer.js
    _live = t.Bool(True).tag(sync=True)
    _stamp = t.Int(0).tag(sync=True)  # counts results

    def __init__(
        self,
        model: TextModel,
        text: str,
        target: str | None = None,
        *,
        layer: int = 0,
        head: int = 0,
        kind: str | None = None,
        position: int | None = None,
        edits: Sequence[Edit] = (),
        title: str | None = None,
    ):
        if not hasattr(model, "trace_ids"):
            raise ValueError(
                f"model is a {type(model).__name__}; Explorer takes a TextModel: "
                "tl.TextModel(model, tokenizer), or tl.TextModel.from_pretrained(name)"
            )
        self._runs, self._changes = Runs(model), Edits()
        self._lock, self._naming = threading.RLock(), threading.Lock()
        self._reading = self._runs.read(text, target)
        self._after: Trace | None = None
        self._after_data: HeadData | None = None
        self._position: int | None = None
        trace = self._reading.trace
        if kind is None and "cross" in trace.kinds:
            kind = "cross"
        super().__init__(
            trace, layer=layer, head=head, kind=kind, title=title or model.name or "Explorer"
        )
        self._show(self._reading, [], position)
        if edits:
            self.edits = edits

    # -- state ------------------------------------------------------------------------------------

    @property
    def text_model(self) -> TextModel:
        """The model that is explored."""
        return self._runs.text_model

    @property
    def text(self) -> str:
        """What the model reads. A new one is run at once; edits that cut edges are dropped, since
        they name tokens of the old one."""
        return self._reading.text

    @text.setter
    def text(self, text: str) -> None:
        self._run(text=text)

    @property
    def target(self) -> str | None:
        """What an encoder-decoder is given to write; None for its own greedy answer."""
        return self._reading.target

    @target.setter
    def target(self, target: str | None) -> None:
        self._run(target=target)

    @property
    def masked(self) -> list[int]:
        """Positions whose token is hidden behind the mask token (masked models)."""
        return list(self._masked)

    @masked.setter
    def masked(self, masked: Iterable[int]) -> None:
        if not isinstance(masked, Iterable):
            raise ValueError(f"masked={masked!r} is no list of positions; use [3], or [] for none")
        self._run(masked=tuple(masked))

    @property
    def edits(self) -> list[Edit]:
        """The edits in force, oldest first."""
        return self._changes.objects(self._edits)

    @edits.setter
    def edits(self, edits: Iterable[Edit]) -> None:
        self._run(edits=self._changes.dicts(edits))

    @property
    def position(self) -> int | None:
        """The token whose prediction is shown; None where there is nothing to predict."""
        return self._outcome.get("position")

    @position.setter
    def position(self, position: int | None) -> None:
        self._run(position=position)

    @property
    def predictions(self) -> list[Prediction]:
        """The rows on view: the likeliest tokens before, then those that rise into them."""
        return list(self._compare().rows)

    @property
    def effect(self) -> Effect | None:
        """What the edits in force do at `position`; None when there are none."""
        return self._compare() if self._after is not None else None

    def effect_of(self, layer: int, head: int, kind: str | None = None) -> Effect:
        """What happens at `position` when this head alone is switched off (its z set to 0).

        Raises:
            EditError: when there is no such head.
        """
        where = self._place()
        found = self._runs.effect(self._reading, kind or self.kind, layer, head, [where])
        return found[where]

    @property
    def code(self) -> str:
        """The edits in force as Python that runs where `model` is the text model: it makes them,
        and prints the predictions without and with them."""
        parts = [self._changes.code(self._edits)]
        if self._edits:
            parts.append(self._code)
            parts += [print_code(self.position)] if self.position is not None else []
        return "\n".join(parts)

    def _place(self) -> int:
        position = self.position
        return self._runs.first_position(self._reading) if position is None else position

    def _compare(self) -> Effect:
        return self._runs.compare(self._reading.trace, self._after, self._place())

    # -- running ----------------------------------------------------------------------------------

    def _run(self, **wanted: Any) -> None:
        """Bring the view to a state; on an error everything stays as it was."""
        with self._lock:
            now = self._reading
            new_text = "text" in wanted and wanted["text"] != now.text
            new_words = new_text or ("target" in wanted and wanted["target"] != now.target)
            target = wanted.get("target", None if new_text else now.target)
            masked = wanted.get("masked", () if new_text else now.masked)
            edits = wanted.get("edits", self._edits)
            note = ""
            if new_words:
                kept = [e for e in edits if not self._changes.names_tokens(e)]
                dropped = len(edits) - len(kept)
                if dropped:
                    note = (
                        f"{plural(dropped, 'cut')} went with the old text, whose tokens were named."
                    )
                edits = kept
            position = wanted.get("position", None if new_words else self._position)
            reading = self._runs.read(wanted.get("text", now.text), target, tuple(masked))
            self._show(reading, edits, position, note)

    def _show(
        self, reading: Reading, edits: list[dict], position: int | None, note: str = ""
    ) -> None:
        positions = self._runs.positions(reading)
        place = self._runs.first_position(reading) if position is None else position
        limit = reading.trace.logits.shape[1] if reading.trace.logits is not None else None
        if limit is not None and not (type(place) is int and 0 <= place < limit):
            raise ValueError(f"position={place!r} is outside the {limit} tokens (0 … {limit - 1})")
        after = None
        if edits:
            objects = self._changes.objects(edits)
            after = self._runs.edited(reading, objects, json.dumps(edits))
        nowhere = limit is not None and not positions and position is None
        effect = self._runs.compare(reading.trace, after, place)
        with self.hold_sync():
            if reading is not self._reading or not self._stamp:
                self._look_again(reading)
            self._edits, self._position = edits, position
            self._take_after(after)
            self._effects = self._effects_at(reading, place)
            self._code = run_code(
                self._text,
                None if reading.target is None else self._target,
                self._masked,
                self.text_model.kind,
            )
            self._outcome = {
                **effect.to_dict(),
                "position": None if nowhere or limit is None else place,
                "positions": positions,
                "sentence": effect.sentence(self._subject()) if after is not None else "",
                "note": note,
            }
            self._stamp += 1

    def _look_again(self, reading: Reading) -> None:
        """Take everything from a new reading; the chosen head stays where it is."""
        kind, layer, head = self.shown
        self._reading = reading
        self.selected = None
        self._look_at(reading.trace, kind, layer, head)
        if self.link:
            self.link = link_of(reading.trace)
        model = self.text_model
        self._text = reading.text.encode("utf-8", "replace").decode()
        self._target = self._target_text(reading)
        self._masked = list(reading.masked)
        mask_id = model.tokenizer.mask_id if model.kind == "encoder" else None
        self._about = {
            "kind": model.kind,
            "predicts": reading.trace.logits is not None,
            "mask": None if mask_id is None else shown_token(model.tokenizer.tokens([mask_id])[0]),
            "own_target": reading.target is None,
            "quick": reading.seconds < QUICK,
            "names": reading.seconds < VERY_QUICK,
            "note": "" if self._can_edit(reading) else shown_text(reading.trace.note or ""),
            "tokens": [shown_token(x) for x in self._prediction_tokens(reading)],
            "unread": self._runs.unread(reading),
        }

    @staticmethod
    def _can_edit(reading: Reading) -> bool:
        return reading.trace.d_head() is not None

    @staticmethod
    def _prediction_tokens(reading: Reading) -> list[str]:
        kind = "decoder" if "decoder" in reading.trace.kinds else "encoder"
        return reading.trace.query_tokens(kind)

    def _target_text(self, reading: Reading) -> str | None:
        if reading.target_ids is None:
            return None
        if reading.target is not None:
            return reading.target.encode("utf-8", "replace").decode()
        return self.text_model.decode(reading.target_ids[1:])

    def _take_after(self, after: Trace | None) -> None:
        self._after_edits = list(self._edits)
        if after is self._after and after is not None:
            return
        self._after = after
        if after is None:
            self._after_data = None
            self._after_maps = self._after_norms = self._after_thumbs = b""
            first = None
        else:
            data = self._after_data = HeadData(after, self._batch)
            data.by_scores = self._data.by_scores  # both sides show the same part of the text
            data.all_maps = self._data.all_maps
            self._after_maps, self._after_norms = data.maps() if data.all_maps else (b"", b"")
            few = max(max(after.shape(kind)) for kind in after.kinds) <= SMALL_MAPS_UP_TO
            self._after_thumbs = data.thumbnails() if few else b""
            first = None if data.all_maps else data.head(*self.shown)
        self.set_trait("_after_first", {})
        for name, value in _first_traits(*self.shown, first).items():
            self.set_trait(f"_after{name}", value)

    # -- what single heads do ---------------------------------------------------------------------

    def _effects_at(self, reading: Reading, position: int) -> dict[str, Any]:
        return {
            _name(*place): self._summary(place, found[position])
            for place, found in reading.effects.items()
            if position in found
        }

    def _summary(self, place: tuple[str, int, int], effect: Effect) -> dict[str, Any]:
        several = len(self._kinds) > 1
        told = effect.sentence(f"Without {head_name(*place, several=several, first=False)}")
        row = effect.rows[0] if effect.rows else None
        return {
            "kl": effect.kl,
            "mean": effect.mean_change,
            "token": row.token if row else None,
            "before": row.before if row else None,
            "after": row.after if row else None,
            "sentence": told,
        }

    def _sweep(self, kind: str, layer: int) -> None:
        """Every head of a layer switched off alone."""
        with self._lock:
            reading, place = self._reading, self._place()
            for head in range(self._kinds[kind]["heads"]):
                self._runs.effect(reading, kind, layer, head, [place])
            self._effects = self._effects_at(reading, place)

    def _effect_block(self, kind: str, layer: int, head: int) -> Block:
        """The predictions without one head, for every position where there are not too many."""
        with self._lock:
            reading = self._reading
            wanted = self._runs.wanted_positions(reading, self._place())
            found = self._runs.effect(reading, kind, layer, head, wanted)
            tables = {
                str(p): {**e.to_dict(), **self._summary((kind, layer, head), e)}
                for p, e in found.items()
            }
        data = json.dumps(tables, ensure_ascii=True, separators=(",", ":")).encode()
        return Block(f"effect/{_name(kind, layer, head)}", {}, [data])

    def _name_heads(self) -> None:
        """Short labels of the heads, with their evidence; once."""
        from .explorer_labels import labels_of

        if not self._labels and self._naming.acquire(blocking=False):
            try:
                self._labels = labels_of(self.text_model, self._reading.trace)
            finally:
                self._naming.release()

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
        if self.map_mode != "difference":
            return super().sentence
        return difference_sentence(self._seen(), self._shown_map(), self.selected)

    def _seen(self) -> Seen:
        return replace(super()._seen(), edited=self.map_mode == "after")

    def _effect_sentence(self) -> str:
        """What the edits in force do, or what the chosen head does, where that was computed."""
        if self._outcome.get("sentence"):
            return self._outcome["sentence"]
        return self._effects.get(_name(*self.shown), {}).get("sentence", "")

    def _subject(self) -> str:
        return self._changes.subject(self._edits, self._kinds)

    def figure(self) -> Figure:
        """Every head small, the chosen one as a map, and the predictions before and after."""
        kind, layer, head = self.shown
        return explorer_figure(
            title=self._title,
            sentence=self.sentence,
            thumbnails=(self._after_data or self._data).thumbnail(kind)
            if self.map_mode != "before"
            else self._data.thumbnail(kind),
            weights=self._shown_map(),
            queries=self._data.queries[kind],
            keys=self._data.keys[kind],
            layer=layer,
            head=head,
            causal=self._kinds[kind]["causal"],
            hidden=self._hidden,
            selected=self.selected,
            value_weighted=self._value_weighted,
            mode=self.map_mode,
            off=self._heads_off(kind),
            effect=self._compare(),
            where=self._where(),
        )

    def _heads_off(self, kind: str) -> list[tuple[int, int]]:
        sizes, default = self._kinds[kind], default_kind(list(self._kinds))
        return self._changes.heads_off(self._edits, kind, sizes["layers"], sizes["heads"], default)

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
        theme: str | None = None,
    ) -> Path:
        """Write one self-contained page: every head and map, the predictions, and what happens to
        them without each single head. Other edits need a live kernel, and the page says so.

        Args:
            path: the file.
            layers: keep only the heads of these layers; the page says so. Default: every head.
            effects: whether the page holds what happens without each head, which costs one forward
                pass a head. By default where that takes less than three minutes.
            theme: "light" or "dark"; by default as the reader's system.

        Raises:
            ValueError: for a layer that the trace has not, or a path that cannot hold a file.
        """
        return super(HeadView, self).save_html(path, layers=layers, effects=effects, theme=theme)

    # -- what is shown ----------------------------------------------------------------------------

    def _shown_map(self, query: int | None = None) -> Tensor:
        mode = self.map_mode
        if mode == "before" or self._after is None:
            return super()._shown_map(query)
        after = self._map_of(self._after, query)
        return after if mode == "after" else after - super()._shown_map(query)

    # -- for the browser --------------------------------------------------------------------------

    def _answer(self, question: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        asked = question.get("type")
        done = {"type": "done", "asked": asked}
        try:
            if asked == "run":
                names = ("text", "target", "masked", "edits", "position")
                self._run(**{name: question[name] for name in names if name in question})
                return done, []
            if asked == "sweep":
                self._sweep(str(question["kind"]), int(question["layer"]))
                return done, []
            if asked == "labels":
                # It takes seconds and edits nothing: clicks need not wait for it.
                threading.Thread(target=self._name_heads, daemon=True).start()
                return done, []
        except ModelIsTraining as error:
            return {"type": "done", "asked": asked, "training": one_line(error)}, []
        if asked == "block":
            what, _, rest = str(question["name"]).partition("/")
            if what in ("effect", "after"):
                return self._block(what, *_place_of(rest))
        return super()._answer(question)

    def _block(self, what: str, kind: str, layer: int, head: int) -> tuple[dict, list[bytes]]:
        if what == "effect":
            block = self._effect_block(kind, layer, head)
            return {"type": "block", "info": block.info}, block.buffers
        if self._after_data is None:
            raise ValueError("nothing is edited any more")
        found = self._after_data.head(kind, layer, head)
        return {"type": "block", "info": found.info}, found.buffers

    def _page_state(
        self, layers: Sequence[int] | None = None, effects: bool | None = None
    ) -> dict[str, Any]:
        keeps, why = self._keeps_effects(effects)
        if keeps:
            self._compute_effects()
        state = super()._page_state(layers)
        state.update(_live=False, _after_maps=b"", _after_norms=b"") if self._in_blocks(
            layers
        ) else state.update(_live=False)
        trace = self._reading.trace
        positions = self._runs.positions(self._reading)
        if len(positions) <= 64:
            found = (self._runs.compare(trace, None, p) for p in positions)
            state["_tables"] = {str(e.position): e.to_dict() for e in found}
        if why:
            state["_note"] = f"{state['_note']} {why}".strip()
        state["_about"] = {**self._about, "effects": keeps}
        return state

    def _keeps_effects(self, wanted: bool | None) -> tuple[bool, str]:
        """Whether a page holds what each head does, and why not."""
        if wanted is False or not self._can_edit(self._reading) or self._nothing_to_predict():
            return False, ""
        if is_training(self.text_model.model):
            return False, "What happens without each head is left out: the model was training."
        count = sum(kind["layers"] * kind["heads"] for kind in self._kinds.values())
        if wanted is None and count * self._reading.seconds > EFFECTS_WITHIN:
            self._time_again()
        seconds = count * self._reading.seconds
        if wanted is None and seconds > EFFECTS_WITHIN:
            return False, (
                f"What happens without each of the {count} heads is left out: it takes about "
                f"{long_time(seconds)}; save_html(path, effects=True) computes it."
            )
        return True, ""

    def _time_again(self) -> None:
        """A model's first pass is its slowest. The second is of use: it gives one head's effect."""
        first = next(iter(self._every_head()))
        if first in self._reading.effects:
            return
        began = time.perf_counter()
        wanted = self._runs.wanted_positions(self._reading, self._place())
        self._runs.effect(self._reading, *first, wanted)
        self._reading.seconds = min(self._reading.seconds, time.perf_counter() - began)

    def _nothing_to_predict(self) -> bool:
        return self._reading.trace.logits is not None and self.position is None

    def _every_head(self) -> Iterable[tuple[str, int, int]]:
        for kind in sorted(self._kinds, key=lambda name: name != self.kind):
            for layer in range(self._kinds[kind]["layers"]):
                for head in range(self._kinds[kind]["heads"]):
                    yield kind, layer, head

    def _compute_effects(self) -> None:
        place = self._place()
        for kind, layer, head in self._every_head():
            wanted = self._runs.wanted_positions(self._reading, place)
            self._runs.effect(self._reading, kind, layer, head, wanted)
        self._effects = self._effects_at(self._reading, place)

    def _blocks(
        self, layers: Sequence[int] | None = None, effects: bool | None = None
    ) -> Iterable[Block]:
        yield from super()._blocks(layers)
        if self._after_data is not None and self._in_blocks(layers):
            for kind, layer, head in self._every_head():
                if layers is None or layer in layers:
                    found = self._after_data.head(kind, layer, head)
                    yield Block(f"after/{_name(kind, layer, head)}", found.info, found.buffers)
        if self._keeps_effects(effects)[0]:
            for place in self._every_head():
                yield self._effect_block(*place)


def long_time(seconds: float) -> str:
    """A time that one may have to wait, in words: "4 minutes", "3 hours"."""
    minutes = seconds / 60
    if minutes < 90:
        return plural(max(1, round(minutes)), "minute")
    return plural(round(minutes / 60), "hour")


def _name(kind: str, layer: int, head: int) -> str:
    return f"{kind}/{layer}/{head}"


def _place_of(name: str) -> tuple[str, int, int]:
    kind, layer, head = name.split("/")
    return kind, int(layer), int(head)
