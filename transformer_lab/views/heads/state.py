"""What the parts of a view that shows the heads of a text may ask of the view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .heads import Heads, Place, Shows


class HeadsOnView(Protocol):
    """A view whose reader chooses a head, pins heads, and marks spans."""

    kind: Any
    a: Any
    b: Any
    pins: Any

    @property
    def kinds(self) -> dict[str, dict[str, Any]]:
        """What is known of each kind of attention; see `Heads.kinds`."""
        ...

    @property
    def shown(self) -> Place:
        """The chosen head."""
        ...

    @property
    def shows(self) -> Shows:
        """How the reader wants maps."""
        ...

    @property
    def heads_name(self) -> str:
        """A name of the weights on view, which a browser gives back when it asks about them."""
        ...

    def heads_named(self, name: str) -> Heads:
        """The heads of that name.

        Raises:
            ValueError: where they are no longer on view.
        """
        ...

    def observe(self, handler: Any, names: Any = ..., type: str = ...) -> None: ...

    def hold_sync(self) -> Any: ...

    def hold_trait_notifications(self) -> Any: ...
