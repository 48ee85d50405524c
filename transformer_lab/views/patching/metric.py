"""The metric that patching moves, and the sentence about a cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...analysis.patching.results import CLOSE
from ..shared.messages import fixed, messages

say = messages("patching")
# toward the other run, and away from it
EFFECTS = {"denoising": ("restores", "further"), "noising": ("removes", "opposes")}


@dataclass(frozen=True)
class Metric:
    """The metric that patching moves: in words, in the patched run and in the source run."""

    description: str
    direction: str
    into: float
    source: float

    @property
    def between(self) -> float:
        return self.source - self.into

    @property
    def alike(self) -> bool:
        """Whether there is nothing to restore."""
        return abs(self.between) <= CLOSE * max(1.0, abs(self.source))

    @property
    def runs(self) -> tuple[str, str]:
        """(source, into)"""
        return ("clean", "corrupted") if self.direction == "denoising" else ("corrupted", "clean")

    @property
    def sign(self) -> int:
        """The sign of a change toward the other run."""
        return -1 if self.between < 0 and not self.alike else 1

    def amount(self, x: float) -> str:
        """Format x, with as many decimals as the difference between the runs calls for."""
        size = abs(self.between)
        return fixed(x, 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.1 else 4)

    def spot(self, exact: float | None, estimate: float | None, **cell: Any) -> str:
        """A sentence about a cell's effect on the metric.

        Args:
            cell: its `site` and `layer`; its `place` (a head, or the position of `label` in the
                clean prompt); whether several heads share it (`shared`).
        """
        values: dict[str, Any] = {"effect": None, "both": None not in (exact, estimate)}
        if estimate is not None:
            values["estimate"] = self.amount(self.sign * estimate)
        change = estimate if exact is None else exact
        if change is not None:
            x = self.amount(self.sign * change)
            effect = "changes" if self.alike else EFFECTS[self.direction][x.startswith("−")]
            x = x if self.alike else x.lstrip("−")
            values |= dict(effect=effect, measured=exact is not None, x=x)
        return say("spot", whole=self.amount(abs(self.between)), **values, **cell)
