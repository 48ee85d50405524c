"""Heads that stay on view beside the chosen one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import traitlets as t

from ..shared.selection import SelectionView
from ..shared.traits import Int
from .heads import Place

MOST_PINS = 4  # more would be too small to read


class PinTraits(SelectionView):
    """A view whose reader can pin heads: their maps stand beside that of the chosen head.

    `pins` are pairs (layer, head), of the kind on view, at most four.
    """

    pins = t.List(t.Tuple(Int(), Int())).tag(sync=True)

    def _pin(self, pins: Iterable[tuple[int, int]]) -> None:
        """Begin with these.

        Raises:
            ValueError: for more than four, for one twice, and for a head that is not there.
        """
        try:
            self.pins = list(pins)
        except (t.TraitError, TypeError) as error:
            told = str(error) if str(error).startswith("pins=") else ""
            raise ValueError(
                told or f"pins={pins!r} are no heads; give pairs (layer, head), such as [(0, 3)]"
            ) from None

    @t.validate("pins")
    def _check_pins(self, proposal: Any) -> list[tuple[int, int]]:
        pins = proposal["value"]
        if len(pins) > MOST_PINS:
            raise t.TraitError(
                f"pins={pins} are {len(pins)} heads; at most {MOST_PINS} stand side by side"
            )
        layers, heads = (
            max((k[name] for k in self._kinds.values()), default=None)
            for name in ("layers", "heads")
        )
        for at, (layer, head) in enumerate(pins):
            if (layer, head) in pins[:at]:
                raise t.TraitError(f"pins={pins} name ({layer}, {head}) twice; name it once")
            for name, value, count in (("layer", layer, layers), ("head", head, heads)):
                if value < 0 or (count is not None and value >= count):
                    raise t.TraitError(
                        f"pins={pins}: {name} {value} is outside 0 … {(count or 1) - 1}"
                    )
        return pins

    def _pins_beside(self, shown: Place) -> list[Place]:
        """The pinned heads that stand beside this one, of its kind."""
        kind = self._kinds[shown[0]]
        there = [(a, h) for a, h in self.pins if a < kind["layers"] and h < kind["heads"]]
        return [(shown[0], a, h) for a, h in there if (a, h) != shown[1:]]
