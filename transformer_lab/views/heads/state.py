"""What the parts of a view that shows the heads of a text may ask of the view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .heads import Heads, Place, Shows


class NamedHeads(Protocol):
    """The weights on view, and those that a browser asks about by their name."""

    @property
    def name(self) -> str: ...

    def named(self, name: str) -> Heads:
        """
        Raises:
            ValueError: where they are no longer on view.
        """
        ...


class HeadsOnView(Protocol):
    """A view whose reader chooses a head, pins heads, and marks the spans `a` and `b`."""

    kind: Any
    a: Any
    b: Any
    pins: Any

    @property
    def kinds(self) -> dict[str, dict[str, Any]]: ...
    @property
    def shown(self) -> Place: ...
    @property
    def shows(self) -> Shows: ...

    def observe(self, handler: Any, names: Any = ..., type: str = ...) -> None: ...
    def hold_sync(self) -> Any: ...
    def hold_trait_notifications(self) -> Any: ...
