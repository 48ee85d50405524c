"""What a cell of a patching grid does, in words and numbers. The counterpart of patching/words.js."""

from __future__ import annotations

from dataclasses import dataclass

from ...desk.grid import CLOSE
from ..shared.messages import fixed, quoted

# How each site is named on its button, and in a sentence.
NAMES = {
    "resid_pre": "stream before", "resid_mid": "stream inside", "resid_post": "stream after",
    "attn_out": "attention out", "mlp_out": "feed-forward out",
    "z": "z", "q": "q", "k": "k", "v": "v", "pattern": "pattern",
}  # fmt: skip
STREAM = {
    "resid_pre": "The stream before layer {}", "resid_mid": "The stream inside layer {}",
    "resid_post": "The stream after layer {}", "attn_out": "What attention of layer {} adds",
    "mlp_out": "What the feed-forward part of layer {} adds",
}  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """The number that is moved: in words, in the run that is patched and in the one that is put in."""

    told: str
    direction: str
    into: float
    source: float

    @property
    def between(self) -> float:
        return self.source - self.into

    @property
    def alike(self) -> bool:
        """Whether there is nothing to put back."""
        return abs(self.between) <= CLOSE * max(1.0, abs(self.source))

    @property
    def runs(self) -> tuple[str, str]:
        """(from, into)"""
        return ("clean", "corrupted") if self.direction == "denoising" else ("corrupted", "clean")

    @property
    def sign(self) -> int:
        """Of a change toward the other run."""
        return -1 if self.between < 0 else 1

    def amount(self, x: float) -> str:
        """As many decimals for all numbers of a view, by what lies between the runs."""
        size = abs(self.between)
        decimals = 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.1 else 4
        return fixed(x, decimals)

    def moved(self, change: float) -> str:
        """What a change of the metric is, seen from the other run."""
        if self.alike:
            return f"moves it by {self.amount(change)}"
        x, whole = self.sign * change, self.amount(abs(self.between))
        back = self.amount(x)
        if self.direction == "denoising":
            away = f"takes it {self.amount(-x)} further away"
            return away if back.startswith("−") else f"puts {back} of {whole} back"
        other = f"moves it {self.amount(-x)} the other way"
        return other if back.startswith("−") else f"takes {back} of {whole} away"


@dataclass(frozen=True)
class Spot:
    """A cell: `place` is the head, or where `label` stands in the clean prompt; None: not known;
    `shared`: by several heads."""

    site: str
    layer: int
    place: int
    label: str
    exact: float | None
    estimate: float | None
    shared: bool = False

    @property
    def who(self) -> str:
        if self.site in STREAM:
            return f"{STREAM[self.site].format(self.layer)} at {quoted(self.label)} ({self.place})"
        of = "" if self.site == "z" else f", {self.site}"
        return (
            f"{'Key-value head' if self.shared else 'Head'} {self.place} of layer {self.layer}{of}"
        )


def spot_words(metric: Metric, spot: Spot, colon: str = ":") -> str:
    """ "Head 2 of layer 1: puts 12.4 of 12.4 back (estimate 28.5)." """
    if spot.exact is None and spot.estimate is None:
        return f"{spot.who}{colon or ' is'} not measured."
    if spot.exact is None:
        assert spot.estimate is not None
        return f"{spot.who}{colon} {metric.moved(spot.estimate)} by an estimate, not measured."
    if spot.estimate is None:
        return f"{spot.who}{colon} {metric.moved(spot.exact)}."
    estimate = metric.amount((1 if metric.alike else metric.sign) * spot.estimate)
    return f"{spot.who}{colon} {metric.moved(spot.exact)} (estimate {estimate})."


def metric_words(metric: Metric) -> str:
    """The metric, with its value in both runs."""
    first = (metric.source, metric.into)
    clean, corrupted = first if metric.direction == "denoising" else first[::-1]
    told = metric.told[:1].upper() + metric.told[1:]
    same = ", so there is nothing to recover" if metric.alike else ""
    return (
        f"{told}: {metric.amount(clean)} in the clean run, {metric.amount(corrupted)} in the "
        f"corrupted one{same}."
    )


def patching_sentence(metric: Metric, spot: Spot) -> str:
    source, into = metric.runs
    told = spot_words(metric, spot, "")
    return f"{metric_words(metric)} From the {source} run into the {into} one, {told[:1].lower()}{told[1:]}"
