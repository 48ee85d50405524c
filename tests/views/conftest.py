"""Small traces of real models, with random weights and tokens that read like text."""

import pytest
import torch

import transformer_lab as tl

WORDS = [
    "The",
    "animal",
    "did",
    "n't",
    "cross",
    "the",
    "street",
    "because",
    "it",
    "was",
    "too",
    "tired",
    ".",
]
FRENCH = ["<s>", "L'", "animal", "n'", "a", "pas", "traversé", "la", "rue"]


def sharp(model, factor=3.0):
    """Untrained heads look everywhere alike; larger queries and keys make them choose."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "query" in name or "key" in name:
                parameter.mul_(factor)
    return model.eval()


def small_model(kind="decoder", sharpness=3.0, **options):
    torch.manual_seed(0)
    settings = dict(vocab_size=50, n_layers=2, n_heads=4, d_model=32, n_ctx=1200) | options
    return sharp(tl.Transformer(tl.ModelConfig(kind=kind, **settings)), sharpness)


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
