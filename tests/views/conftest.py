"""Small traces of real models, with random weights and readable tokens."""

from functools import partial

import pytest
import torch

import transformer_lab as tl
from tests.every_view import made  # noqa: F401
from tests.factories import FRENCH, WORDS, small

small_model = partial(small, sharpness=3.0, n_ctx=1200)


@pytest.fixture(scope="session")
def trace():
    """A decoder on thirteen words."""
    ids = torch.arange(len(WORDS))
    return tl.trace(small_model(), ids, labels=WORDS)


@pytest.fixture(scope="session")
def translation():
    """An encoder-decoder: three kinds of attention, with padding on the source."""
    ids, target = torch.arange(len(WORDS)), torch.arange(len(FRENCH))
    mask = torch.ones(1, len(WORDS), dtype=torch.bool)
    mask[0, -1] = False
    model = small_model("encoder-decoder")
    return tl.trace(model, ids, target, mask=mask, labels=WORDS, target_labels=FRENCH)


@pytest.fixture(scope="session")
def long_trace():
    """A decoder on 600 tokens: queries and keys are sent."""
    ids = torch.arange(600) % 50
    labels = [WORDS[i % len(WORDS)] for i in range(600)]
    return tl.trace(
        small_model(n_layers=4, n_heads=8, d_model=64, sharpness=1.5), ids, labels=labels
    )
