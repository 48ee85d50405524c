"""What the parts of a view of heads may use of the view, as protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .heads import Heads, Place, Shows


class NamedHeads(Protocol):
    """The heads that are shown, and those that a browser requests by name."""

    @property
    def name(self) -> str: ...

    def named(self, name: str) -> Heads:
        """The heads with this name.

        Raises:
            ValueError: if they are no longer shown.
        """
        ...


class HeadsOnView(Protocol):
    """A view where a reader chooses a head, pins heads, and marks the spans `a` and `b`."""

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
