"""Heads that are pinned beside the chosen one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import traitlets as t

from ..shared.traits import Int
from .heads import Place

if TYPE_CHECKING:
    from .state import HeadsOnView

MOST_PINS = 4  # more would be too small to read


class Pins(t.List):
    """At most four pairs (layer, head), of the kind of attention shown: the maps of these heads are
    beside that of the chosen one."""

    def __init__(self) -> None:
        super().__init__(t.Tuple(Int(), Int()))

    def validate(self, obj: Any, value: Any) -> list[tuple[int, int]]:
        pins = super().validate(obj, value) or []
        if len(pins) > MOST_PINS:
            raise t.TraitError(
                f"pins={pins} are {len(pins)} heads; at most {MOST_PINS} fit side by side"
            )
        layers, heads = (
            max((kind[name] for kind in obj.kinds.values()), default=None)
            for name in ("layers", "heads")
        )
        for at, (layer, head) in enumerate(pins):
            if (layer, head) in pins[:at]:
                raise t.TraitError(f"pins={pins} name ({layer}, {head}) twice; name it once")
            for name, number, count in (("layer", layer, layers), ("head", head, heads)):
                if number < 0 or (count is not None and number >= count):
                    raise t.TraitError(
                        f"pins={pins}: {name} {number} is outside 0 … {(count or 1) - 1}"
                    )
        return pins


def pin(view: HeadsOnView, pins: Iterable[tuple[int, int]]) -> None:
    """Set the initial pins.

    Raises:
        ValueError: for more than four pins, a repeated pin, or a head that does not exist.
    """
    try:
        view.pins = list(pins)
    except (t.TraitError, TypeError) as error:
        message = str(error) if str(error).startswith("pins=") else ""
        raise ValueError(
            message or f"pins={pins!r} are not heads; give pairs (layer, head), such as [(0, 3)]"
        ) from None


def pinned_beside(view: HeadsOnView, place: Place) -> list[Place]:
    """The pinned heads of the same kind that are shown beside this one."""
    kind = view.kinds[place[0]]
    pins = [(at, head) for at, head in view.pins if at < kind["layers"] and head < kind["heads"]]
    return [(place[0], *pin) for pin in pins if pin != place[1:]]
