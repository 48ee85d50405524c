"""Base class of views that draw what one position attends to over an image of the input."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
import traitlets as t
from torch import Tensor

from ...adapters.network import Network
from ...edits.constructors import edit_from_dict
from ...edits.interventions import editable, tap_for
from ...edits.kinds import Edit, EditError
from ..pages.export import Block
from .embedded_model import Answer, joined
from .map_sentences import long_time
from .scripted import ScriptedView
from .selection import SelectionView
from .traits import Float

PAGE_SECONDS = 60  # limit for computing a saved page's effects


class OverlayView(ScriptedView, SelectionView):
    """An image with the weights of the chosen position over it, and the effect of edits.

    Subclasses set `_network`, `_data` (rows: `packed` and `kept`), `_effects` (`of`, `every` and
    `seconds`; None if nothing can be measured) and `_kinds`, and define `query`.
    """

    absent: ClassVar[str] = "this page does not hold it; open the view in a notebook"

    fade = Float(0.8, within=(0, 1)).tag(sync=True)

    _edits = t.List().tag(sync=True)

    first_results: ClassVar = SelectionView.first_results | {
        "_effect": {},
        "_every": [],
        "_unit": "",
    }
    _network: Network
    _data: Any
    _effects: Any

    @property
    def query(self) -> int:
        """The position whose attention is shown."""
        raise NotImplementedError

    @property
    def edits(self) -> list[Edit]:
        """The edits in the model's pass, from `tl.ablate`, `tl.knock_out` and similar functions."""
        return [edit_from_dict(values) for values in self._edits]

    @edits.setter
    def edits(self, edits: Sequence[Edit]) -> None:
        self._check_edits(edits)
        effect = self._effect_of(edits) if edits else {}
        with self.hold_sync():
            self._edits = [one.to_dict() for one in edits]
            self._publish(_effect=effect)

    @t.observe("_edits")
    def _other_edits(self, _change: Any) -> None:
        self._publish(_effect={})

    def _trait(self, name: str) -> Any:
        if name == "_effect" and self._edits and not self._results["_effect"]:
            return self._effect_of(self.edits)
        return super()._trait(name)

    def _effect_of(self, edits: Sequence[Edit]) -> dict[str, Any]:
        """The effect of edits, and what the scene needs to name them."""
        return self._measured().of(edits).plain()

    def _check_edits(self, edits: Sequence[Edit]) -> None:
        if edits and self._effects is None:
            raise EditError(self._no_effects())
        for one in edits:
            tap_for(editable(self._network), one)

    @t.validate("_edits")
    def _check_sent_edits(self, proposal: Any) -> list[dict[str, Any]]:
        try:
            self._check_edits([edit_from_dict(values) for values in proposal["value"]])
        except EditError as error:
            raise t.TraitError(f"edits: {error}") from None
        return proposal["value"]

    def _no_effects(self) -> str:
        return "what edits change cannot be measured"

    # -- for the browser ------------------------------------------------------------------------

    def _every_plain(self, layer: int | None = None) -> list:
        return plain(self._effects.every(layer))

    def _requests(self) -> dict[str, Any]:
        return super()._requests() | {"block": self._effect_or_block}

    def _effect_or_block(self, message: dict[str, Any]) -> Answer:
        if not str(message.get("name", "")).startswith("effect/"):
            return self._answer_block(message)
        plain = message.get("edits", [])
        effect = self._effect_of([edit_from_dict(values) for values in plain])
        if plain == self._edits:
            self._results["_effect"] = effect  # the page takes it from here
        return {"type": "block", "info": effect}, []

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        what, _, at = name.partition("/")
        if what == "rows":
            return {}, [self._data.packed(_place("position", at, self.kinds[self.kind]["queries"]))]
        if what == "every":
            self._measured()
            layer = _place("layer", at, len(self._heads())) if at else None
            self._results["_every"] = self._every_plain(layer)
            return {"values": self._results["_every"]}, []
        return super()._part_named(name)

    def _measured(self) -> Any:
        if self._effects is None:
            raise ValueError(self._no_effects())
        return self._effects

    def _blocks(self, effects: bool | None = None) -> Iterable[Block]:
        for query in self._data.kept():
            if query != self.query:
                yield Block(f"rows/{query}", {}, [self._data.packed(query)])
        slow = effects is None and (self.carried or self._too_slow())
        if self._effects is None or effects is False or slow:
            return
        # A model whose attention does not go through the attention interface cannot be edited.
        with contextlib.suppress(EditError):
            values = self._every_plain()
            yield Block("every", {"values": values}, [])
            for layer, head, edit in self._effects.alone():
                yield Block(f"effect/{layer}.{head}", self._effect_of([edit]), [])

    def _heads(self) -> list[int]:
        """The number of heads in each layer."""
        raise NotImplementedError

    def _too_slow(self) -> str:
        """A sentence saying why a page omits the effects of single heads; "" if it does not."""
        count = sum(self._heads())
        seconds = 0 if self._effects is None else count * self._effects.seconds
        if seconds <= PAGE_SECONDS:
            return ""
        return (
            f"What happens without each of the {count} heads is left out: it takes about "
            f"{long_time(seconds)}; save_html(path, effects=True) computes it."
        )

    def _page_state(self, effects: bool | None = None) -> dict[str, Any]:
        self.left_out = self._too_slow() if effects is None and not self.carried else ""
        state = super()._page_state()
        return {**state, "_note": joined(state["_note"], self.left_out)}


def plain(values: Tensor) -> list:
    """Nested lists, with None for NaN and infinities."""
    if values.dim() > 1:
        return [plain(row) for row in values]
    known = torch.isfinite(values).tolist()
    return [float(x) if ok else None for x, ok in zip(values.tolist(), known, strict=True)]


def _place(name: str, text: str, count: int) -> int:
    if not text.isdigit() or not int(text) < count:
        raise ValueError(f"{name} {text[:20]} is outside 0 … {count - 1}")
    return int(text)
