"""A user's own position scheme, registered for the length of a test."""

from dataclasses import dataclass

import pytest

from transformer_lab import positions


@dataclass(frozen=True)
class Halving(positions.NoPositions):
    """Scores fall by half a nat per token of distance."""

    name = "halving"

    def build(self, *, d_model, n_heads, d_head, n_ctx, kind="decoder"):
        return Fall()


class Fall(positions.PositionModule):
    def bias(self, queries, keys, causal):
        return -0.5 * (queries[:, None] - keys[None, :]).abs()[None, None].float()


@pytest.fixture
def halving(monkeypatch):
    """The scheme's name, registered so that models can use it."""
    monkeypatch.setitem(positions.SCHEMES, "halving", Halving)
    return "halving"
