"""Sources of batches, from which training can continue at any position."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..files.rng import RandomState, seed_everything


def feed(batches: Any) -> Stream | Loader:
    """Wrap batches in a source with `batch(step)` for steps in order, from any first step.

    Raises:
        TypeError: if `batches` can neither be indexed by step nor iterated.
    """
    if callable(getattr(batches, "batch", None)):
        return Stream(batches)
    if hasattr(batches, "__iter__") and not isinstance(batches, dict | str):
        return Loader(batches)
    raise TypeError(
        "batches must be an iterable of batches, or an object whose batch(step) returns one, such as "
        f"corpus.batches(12, 64), got {type(batches).__name__}"
    )


class Stream:
    """Batches that are a pure function of the step, so there is no state to keep."""

    def __init__(self, batches: Any):
        self.batches = batches

    def start(self, step: int, state: dict[str, Any] | None) -> None:
        pass

    def batch(self, step: int) -> Any:
        return self.batches.batch(step)

    def state(self) -> dict[str, Any]:
        return {"kind": "stream", **fingerprint(self.batches)}


class Loader:
    """An iterable of batches, restarted at its end if possible.

    It has random states of its own, seeded by one draw when training starts, so that its batches
    do not depend on the model's dropout and a resumed run can skip ahead to the same batch (for
    batches that are made in this process or by DataLoader workers).
    """

    def __init__(self, batches: Any):
        self.batches = batches
        self.seed = self.epoch = self.position = 0
        self.iterator: Iterator | None = None
        self.random: RandomState | None = None

    def start(self, step: int, state: dict[str, Any] | None) -> None:
        if state is None:
            self.seed = int(torch.randint(2**31, ()).item())
            return
        self.seed, self.epoch = state["seed"], state["epoch"]
        one_shot = iter(self.batches) is self.batches
        if one_shot:  # a generator starts over as a whole
            self.epoch = 0
        for _ in range(step if one_shot else state["position"]):
            self.batch(step)

    def batch(self, step: int) -> Any:
        with self._randomness():
            for attempt in (0, 1):
                if self.iterator is None:
                    self._begin()
                try:
                    batch = next(self.iterator)  # type: ignore[arg-type]
                except StopIteration:
                    if attempt or not self.position or iter(self.batches) is self.batches:
                        raise ValueError(
                            f"batches ended after {self.position}, before step {step + 1}; give more "
                            "batches, fewer steps, or a list (which starts again at its end)"
                        ) from None
                    self.iterator, self.epoch, self.position = None, self.epoch + 1, 0
                    continue
                self.position += 1
                return batch
        raise AssertionError("unreachable")

    def _begin(self) -> None:
        seed_everything(self.seed + self.epoch)
        self.iterator = iter(self.batches)

    @contextmanager
    def _randomness(self) -> Iterator[None]:
        outside = RandomState.now()
        if self.random is not None:
            self.random.restore()
        try:
            yield
            self.random = RandomState.now()
        finally:
            outside.restore()

    def state(self) -> dict[str, Any]:
        return {
            "kind": "loader",
            "seed": self.seed,
            "epoch": self.epoch,
            "position": self.position,
            **fingerprint(self.batches),
        }


def fingerprint(batches: Any) -> dict[str, Any]:
    """What identifies the data: sha256, seed and sizes, if the batches have them."""
    out: dict[str, Any] = {}
    for name in ("sha256", "seed", "batch_size", "n_ctx"):
        value = getattr(batches, name, None)
        if isinstance(value, str | int) and not isinstance(value, bool):
            out[f"data_{name}"] = value
    return out
