"""Models of every architecture that edits are tested on, and texts for them."""

import pytest
import torch

import transformer_lab as tl
from tests.factories import small
from transformer_lab import ALiBi, Learned, NoPositions, Relative, Rotary, Sinusoidal

ARCHITECTURES = {
    "decoder": dict(kind="decoder"),
    "decoder-grouped-rms-swiglu": dict(
        kind="decoder", n_kv_heads=2, norm="rms", activation="swiglu", bias=False
    ),
    "decoder-modern": dict(
        kind="decoder",
        qk_norm=True,
        norm="rms",
        norm_affine=False,
        activation="relu2",
        embedding_norm=True,
        logit_softcap=15.0,
    ),
    "decoder-experts": dict(kind="decoder", n_experts=4, activation="swiglu"),
    "decoder-attention-only": dict(kind="decoder", attention_only=True),
    "decoder-alibi": dict(kind="decoder", positions=ALiBi()),
    "decoder-learned": dict(kind="decoder", positions=Learned()),
    "decoder-sinusoidal": dict(kind="decoder", positions=Sinusoidal()),
    "decoder-no-positions": dict(kind="decoder", positions=NoPositions()),
    "decoder-t5": dict(kind="decoder", positions=Relative()),
    "encoder": dict(kind="encoder", positions=Learned(), norm_first=False, head_transform=True),
    "encoder-alibi": dict(kind="encoder", positions=ALiBi()),
    "encoder-decoder": dict(kind="encoder-decoder", positions=Sinusoidal(), norm_first=False),
    "encoder-decoder-rotary": dict(kind="encoder-decoder", positions=Rotary()),
    "encoder-decoder-t5": dict(kind="encoder-decoder", positions=Relative()),
}
EACH_ARCHITECTURE = pytest.mark.parametrize("name", ARCHITECTURES)


def build(name="decoder", **options):
    return small(**{"noise": 0.2, "n_ctx": 32, **ARCHITECTURES[name], **options})


def inputs(model):
    generator = torch.Generator().manual_seed(0)
    text = torch.randint(1, 50, (2, 7), generator=generator)
    if model.config.kind != "encoder-decoder":
        return (text,)
    return text, torch.randint(1, 50, (2, 5), generator=generator)


def kinds(model):
    kind = model.config.kind
    return ("encoder", "decoder", "cross") if kind == "encoder-decoder" else (kind,)


def other_run(model):
    """A trace of texts that differ from `inputs` in every token."""
    return tl.trace(model, *((x * 7) % 49 + 1 for x in inputs(model)), keep="all")


def reference(model):
    pair = tuple((x * 3) % 49 + 1 for x in inputs(model))
    return tl.mean_of(model, [pair if len(pair) == 2 else pair[0]])
