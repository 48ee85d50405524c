"""A position scheme of a reader's own, for the length of a test."""

from dataclasses import dataclass

import pytest

from transformer_lab import positions


@dataclass(frozen=True)
class Halving(positions.NoPositions):
    """Scores fall with distance, by half a nat a token."""

    name = "halving"

    def build(self, *, d_model, n_heads, d_head, n_ctx, kind="decoder"):
        return Fall()


class Fall(positions.PositionModule):
    def bias(self, queries, keys, causal):
        return -0.5 * (queries[:, None] - keys[None, :]).abs()[None, None].float()


@pytest.fixture
def halving(monkeypatch):
    """Its name, by which models can be made."""
    monkeypatch.setitem(positions.SCHEMES, "halving", Halving)
    return "halving"
